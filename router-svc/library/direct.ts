import { hash } from 'node:crypto'
import type { Deployment } from '../../proto/deployment.ts'
import { endpoint } from '../../proto/endpoints.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import { canonicalJson } from '../../shared/config/canonical-json.ts'
import { checkConfig } from '../../shared/config/config.ts'
import { isPriceName, KNOWN_PARAMS } from '../../shared/config/known.ts'
import type { Environment } from '../../shared/config/references.ts'
import { deploymentOf, settingsOf } from '../../shared/config/runtime.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Asked } from './desk.ts'
import type { Parts } from './parts.ts'
import { createServing, type Serving } from './serving.ts'

type Fields = Readonly<Record<string, unknown>>

/** Request fields that say where a call goes and how it is written for its provider. Prices and KNOWN_PARAMS (`aws_region_name`, …) do, too. */
const DEPLOYMENT_FIELDS: ReadonlySet<string> = new Set([
  'api_key',
  'api_base',
  'base_url',
  'api_version',
  'organization',
  'custom_llm_provider',
  'extra_headers',
  'headers',
  'drop_params',
  'additional_drop_params',
  'allowed_openai_params',
  'base_model',
  'region_name',
])

/** Of KNOWN_PARAMS: parts of the request where a request has them. */
const REQUEST_FIELDS: ReadonlySet<string> = new Set([
  'mock_tool_calls',
  'mock_timeout',
  'mock_delay',
  'guardrails',
  'input_type',
  'prompt_id',
])

const FALLBACK_FIELDS = ['fallbacks', 'context_window_fallbacks', 'content_policy_fallbacks'] as const

/** Ways to call that are kept compiled; programs have few. */
const KEPT_MAX = 200

/** Calls that name their provider themselves: `anthropic/claude-…`, with what its deployment would have beside the request's fields. */
export interface Direct {
  /** Where the call goes, and what is asked there. Throws GatewayError `bad_request` for a model or parameter that is none. */
  prepare(asked: Asked): { serving: Serving; asked: Asked }
}

interface Kept {
  serving: Serving
  unchanged(): boolean
}

export function createDirect(parts: Parts): Direct {
  const kept = new Map<string, Kept>()
  const config = checkConfig({ router_settings: { disable_cooldowns: true } })
  if (!config.ok) throw new Error(config.problems.map(({ message }) => message).join('; '))
  const settings = settingsOf(config.config, parts.sealer)

  function servingOf(targets: readonly Target[]): Serving {
    // Hashed: keys of providers are no names of anything.
    const key = hash('sha256', canonicalJson(targets))
    const found = kept.get(key)
    kept.delete(key)
    if (found?.unchanged()) {
      kept.set(key, found)
      return found.serving
    }
    const { env, unchanged } = watched(parts.env)
    const deployments = targets.map((target) => deployment(target, env, parts))
    const snapshot = { v: WIRE_VERSION, revision: 1, deployments, settings }
    const serving = createServing({ ...parts, env }, snapshot, { lasting: false })
    kept.set(key, { serving, unchanged })
    if (kept.size > KEPT_MAX) kept.delete(kept.keys().next().value as string)
    return serving
  }

  return {
    prepare(asked) {
      const { body, targets } = split(asked.body, endpoint(asked.endpoint)?.defaultModel)
      return { serving: servingOf(targets), asked: { ...asked, body } }
    },
  }
}

interface Target {
  group: string
  params: Fields
}

function deployment({ group, params }: Target, env: Environment, { sealer, catalog }: Parts): Deployment {
  return deploymentOf({ model_name: group, litellm_params: params }, env, sealer, { catalog })
}

/** The request as a router takes it, and the deployments behind the names in it. */
function split(request: Fields, defaultModel: string | undefined): { body: Record<string, unknown>; targets: Target[] } {
  const model = request['model'] ?? defaultModel
  if (typeof model !== 'string' || model === '') {
    throw new GatewayError('bad_request', 'The field "model" is required: provider/model, for example openai/gpt-4o.', {
      param: 'model',
    })
  }
  const targets: Target[] = []
  const add = (name: string, fields: Fields): { group: string; rest: Record<string, unknown> } => {
    const params: Record<string, unknown> = { model: name }
    const rest: Record<string, unknown> = {}
    for (const [field, value] of Object.entries(fields)) {
      if (value === undefined) continue
      if (isOfDeployment(field)) params[field] = value
      else rest[field] = value
    }
    // The same model on another account is another group.
    const times = targets.filter((target) => target.params['model'] === name).length
    const group = times === 0 ? name : `${name}#${times + 1}`
    targets.push({ group, params })
    return { group, rest }
  }
  const { model: _, ...fields } = request
  const { group, rest: body } = add(model, fields)
  for (const field of FALLBACK_FIELDS) {
    const given = body[field]
    if (!Array.isArray(given)) continue
    body[field] = given.map((item: unknown) => {
      if (typeof item === 'string') return add(item, shared(fields)).group
      if (typeof item !== 'object' || item === null || typeof (item as Fields)['model'] !== 'string') return item
      const { model: name, ...own } = item as Fields
      const { group: to, rest } = add(name as string, { ...shared(fields), ...own })
      return Object.keys(rest).length === 0 ? to : { model: to, ...rest }
    })
  }
  return { body: { ...body, model: group }, targets }
}

/** What holds for every model of a call; keys, addresses and prices are one provider's. */
function shared(fields: Fields): Fields {
  const names = ['drop_params', 'additional_drop_params', 'allowed_openai_params']
  return Object.fromEntries(Object.entries(fields).filter(([name]) => names.includes(name)))
}

function isOfDeployment(name: string): boolean {
  return DEPLOYMENT_FIELDS.has(name) || isPriceName(name) || (KNOWN_PARAMS.has(name) && !REQUEST_FIELDS.has(name))
}

/** An environment that knows what was read of it: what was compiled from a key that is another one now must not be used any more. */
function watched(env: Environment): { env: Environment; unchanged(): boolean } {
  const read = new Map<string, string | undefined>()
  return {
    env: new Proxy(env, {
      get(target, name) {
        if (typeof name !== 'string') return undefined
        const value = target[name]
        read.set(name, value)
        return value
      },
    }),
    unchanged: () => [...read].every(([name, value]) => env[name] === value),
  }
}
