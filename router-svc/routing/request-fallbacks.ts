import type { FallbackTarget } from '../../proto/routing.ts'
import { GatewayError } from '../../shared/errors.ts'
import { isObject } from '../../shared/json-object.ts'
import type { Call } from '../call.ts'
import { CREDENTIAL_FIELDS } from '../canonical/gateway-fields.ts'
import { invalid } from '../dialects/request-fields.ts'
import type { RequestFallbacks } from './fallback.ts'

type Fields = Readonly<Record<string, unknown>>

/** A target of a client, and where the request names it. */
export interface NamedTarget {
  target: FallbackTarget
  place: string
}

/** Fallbacks one request may name: each is a call at worst, and `max_fallbacks` of them are tried. */
const TARGETS_MAX = 50

/**
 * What the body says about fallbacks (surface reference §1.2): `fallbacks`, `context_window_fallbacks`, `content_policy_fallbacks`, each a
 * list of names, of `{model, …fields replaced}`, or of LiteLLM's `{group: [names]}`, of which the entry for one of `groups` counts, else
 * that of `*`; `disable_fallbacks`; and OpenRouter's `models`. Null = it says nothing. Throws GatewayError `bad_request`. Pure.
 */
export function readFallbacks(
  body: Fields,
  groups: readonly string[],
): { fallbacks: RequestFallbacks; named: NamedTarget[] } | null {
  const models = Array.isArray(body['models']) ? body['models'] : undefined
  if (
    body['fallbacks'] == null &&
    body['context_window_fallbacks'] == null &&
    body['content_policy_fallbacks'] == null &&
    body['disable_fallbacks'] == null &&
    models === undefined
  ) {
    return null
  }
  const disabled = body['disable_fallbacks'] ?? false
  if (typeof disabled !== 'boolean') throw invalid('disable_fallbacks', 'boolean', disabled)
  const named: NamedTarget[] = []
  const list = (field: string): readonly FallbackTarget[] | null => {
    const found = listOf(body[field], field, groups)
    if (found === null) return null
    named.push(...found)
    return found.map(({ target }) => target)
  }
  const own = list('fallbacks')
  const contextWindow = list('context_window_fallbacks')
  const contentPolicy = list('content_policy_fallbacks')
  const more = models === undefined ? null : modelsOf(models, groups)
  named.push(...(more ?? []))
  return {
    fallbacks: { own: own ?? more?.map(({ target }) => target) ?? null, contextWindow, contentPolicy, disabled },
    named,
  }
}

function listOf(value: unknown, place: string, groups: readonly string[]): NamedTarget[] | null {
  if (value === undefined || value === null) return null
  if (!Array.isArray(value)) throw invalid(place, 'list of model names or of objects with a model', value)
  checkLength(value, place)
  const targets: NamedTarget[] = []
  const byGroup = new Map<string, NamedTarget[]>()
  for (const [index, item] of value.entries()) {
    const at = `${place}[${index}]`
    if (typeof item === 'string' || (isObject(item) && 'model' in item)) targets.push({ target: targetOf(item, at), place: at })
    else if (isObject(item)) {
      for (const [group, names] of Object.entries(item)) {
        const where = `${at}.${group}`
        if (!Array.isArray(names)) throw invalid(where, 'list of model names', names)
        checkLength(names, where)
        byGroup.set(
          group,
          names.map((name: unknown, at) => ({ target: targetOf(name, `${where}[${at}]`), place: `${where}[${at}]` })),
        )
      }
    } else throw invalid(at, 'model name or object with a model', item)
  }
  if (byGroup.size === 0) return targets
  if (targets.length > 0)
    throw new GatewayError('bad_request', `Invalid '${place}': names and lists by group do not mix.`, { param: place })
  for (const group of [...groups, '*']) {
    const found = byGroup.get(group)
    if (found !== undefined) return found
  }
  return []
}

function targetOf(item: unknown, place: string): FallbackTarget {
  if (typeof item === 'string' && item !== '') return { model: item }
  if (!isObject(item)) throw invalid(place, 'non-empty string', item)
  const { model, ...overrides } = item
  if (typeof model !== 'string' || model === '') throw invalid(`${place}.model`, 'non-empty string', model)
  refuseCredentials(overrides, place)
  return Object.keys(overrides).length === 0 ? { model } : { model, overrides }
}

/** Throws GatewayError `unsafe_parameter` for a field that would send a call elsewhere or on another account. */
export function refuseCredentials(fields: Fields, place: string): void {
  for (const name of CREDENTIAL_FIELDS) {
    if (fields[name] == null) continue
    throw new GatewayError(
      'unsafe_parameter',
      `Authentication Error, Rejected Request: ${place}.${name} is not allowed in a request.`,
      {
        param: `${place}.${name}`,
      },
    )
  }
}

/**
 * What `overrides`, in the client's own terms, replace in the canonical request; whether it is a stream stays as it is. Throws GatewayError
 * `bad_request` when the request with them in it is malformed; says where they stand.
 */
export function readOverrides(call: Call, model: string, overrides: Fields, place: string): Record<string, unknown> {
  const body = { ...call.parsed, ...overrides, model }
  try {
    const decoded = call.dialect.decodeRequest(body) as Record<string, unknown>
    // What clients of OpenAI send is canonical as it is; others are translated as a whole.
    const { model: _model, stream: _stream, ...rest } = decoded === body ? overrides : decoded
    return { ...withoutModels(rest) }
  } catch (thrown) {
    if (!(thrown instanceof GatewayError)) throw thrown
    throw new GatewayError(thrown.code, `${place}: ${thrown.message}`, { param: `${place}.${thrown.param ?? 'model'}` })
  }
}

/**
 * OpenRouter's `models` are read here and go no further: sent on to a provider that falls back by itself, a key would have models it may not
 * call, at prices nobody counted. What an operator configures under that name is the deployment's and stays. `request` itself where it names none.
 */
export function withoutModels(request: Fields): Fields {
  let left = request
  if (Array.isArray(left['models'])) {
    const { models: _, ...rest } = left
    left = rest
  }
  const extra = left['extra_body']
  if (!isObject(extra) || !('models' in extra)) return left
  const { models: _, ...rest } = extra
  return { ...left, extra_body: rest }
}

/** OpenRouter's list of models to go on with. The one that is asked for anyway may stand in it. */
function modelsOf(models: readonly unknown[], groups: readonly string[]): NamedTarget[] {
  checkLength(models, 'models')
  return models.flatMap((model, index) => {
    if (typeof model !== 'string' || model === '') throw invalid(`models[${index}]`, 'non-empty string', model)
    return groups.includes(model) ? [] : [{ target: { model }, place: `models[${index}]` }]
  })
}

function checkLength(list: readonly unknown[], place: string): void {
  if (list.length > TARGETS_MAX)
    throw new GatewayError('bad_request', `Invalid '${place}': at most ${TARGETS_MAX} entries.`, { param: place })
}
