import { FAILURE_KINDS, type FailureKind, type FailurePolicy, type FallbackTarget } from '../../proto/routing.ts'
import { queryProblems } from '../../shared/config/rule-query.ts'
import { GatewayError } from '../../shared/errors.ts'
import { isObject } from '../../shared/json-object.ts'
import type { Call } from '../call.ts'
import { invalid } from '../dialects/request-fields.ts'
import type { RouterRuntime } from '../runtime.ts'
import { type ConditionContext, conditionContext, matches } from './conditions.ts'
import { readOverrides, refuseCredentials } from './request-fallbacks.ts'
import { checkNamed } from './resolve.ts'

/**
 * A config for one request, as Portkey's users know it, in the header `x-turnpike-config` or `x-portkey-config`: JSON, or its base64.
 *
 *   { "strategy": {"mode": "fallback", "on_status_codes": [429, 503]},
 *     "targets": [{"model": "gpt-4o"}, {"override_params": {"model": "claude", "max_tokens": 500}}],
 *     "retry": {"attempts": 3, "on_status_codes": [429]}, "request_timeout": 20000, "cache": {"mode": "simple", "max_age": 60} }
 *
 * Modes are `single`, `fallback`, `loadbalance` (by `weight`) and `conditional` (`conditions` of `{query, then}`, `default`); a target may
 * itself have a strategy and targets. Targets are groups of this gateway that the key may call: where calls go and with which credentials is
 * not a client's to say.
 */

type Fields = Readonly<Record<string, unknown>>

/** What a config comes to: where the call begins, where it goes on, and its own retries and limits. Null = it does not say. */
export interface Plan {
  /** In this order; the model is null where the request's own holds. Never empty. */
  targets: readonly PlannedTarget[]
  /** Statuses on which it goes on to the next target; null = as failures usually do. */
  onStatus: readonly number[] | null
  /** The config has several targets or says it falls back: its list replaces configured fallbacks. */
  ownFallbacks: boolean
  retries: number | null
  retryPolicy: FailurePolicy | null
  /** Milliseconds. */
  timeout: number | null
  cache: Fields | null
}

export interface PlannedTarget {
  model: string | null
  overrides: Fields | null
  place: string
}

export interface PlanContext {
  conditions: ConditionContext
  random(): number
}

const MAX_DEPTH = 4
const MAX_TARGETS = 50
const MAX_ATTEMPTS = 10
const MODES = ['single', 'loadbalance', 'fallback', 'conditional'] as const
const KNOWN: ReadonlySet<string> = new Set([
  'strategy',
  'targets',
  'retry',
  'request_timeout',
  'cache',
  'name',
  'weight',
  'model',
  'override_params',
])
/** What belongs to deployments, with Portkey's names. */
const FOREIGN: ReadonlySet<string> = new Set(['provider', 'virtual_key', 'api_key', 'custom_host', 'forward_headers'])

/** The text of the header that holds a config; null = there is none. */
export function configHeader(headers: Readonly<Record<string, string>>): string | null {
  const text = headers['x-turnpike-config'] ?? headers['x-portkey-config']
  return text === undefined || text === '' ? null : text
}

/** Reads the config into the call. Throws GatewayError `bad_request`, `model_denied`, `unknown_model`, `unsafe_parameter` naming the place. */
export function applyConfig(call: Call, runtime: RouterRuntime, text: string, random: () => number): void {
  const found = plan(parseConfig(text), { conditions: conditionContext(call), random })
  const targets = found.targets.map(({ model, overrides, place }) => {
    if (model !== null) checkNamed(call, runtime, model, at(place, 'model'))
    return {
      model,
      overrides:
        overrides === null ? {} : readOverrides(call, model ?? call.requestedModel, overrides, at(place, 'override_params')),
    }
  })
  const [first, ...rest] = targets as [(typeof targets)[number], ...typeof targets]
  const before = call.request
  if (first.model !== null) call.modelGroup = first.model
  if (Object.keys(first.overrides).length > 0) call.request = { ...before, ...first.overrides }
  if (found.ownFallbacks) {
    // What the first target replaces is not the next one's.
    const back = Object.fromEntries(Object.keys(first.overrides).map((name) => [name, before[name]]))
    call.requestFallbacks = {
      ...call.requestFallbacks,
      own: rest.map(({ model, overrides }) => target(model ?? call.requestedModel, { ...back, ...overrides })),
      ...(found.onStatus === null ? {} : { onStatus: found.onStatus }),
    }
  }
  const { options } = call
  options.numRetries ??= found.retries
  options.timeout ??= found.timeout
  if (found.retryPolicy !== null) call.routing = { ...call.routing, retryPolicy: found.retryPolicy, groupRetryPolicy: {} }
  if (found.cache !== null && call.parsed['cache'] == null) call.parsed = { ...call.parsed, cache: found.cache }
}

function target(model: string, overrides: Record<string, unknown>): FallbackTarget {
  return Object.keys(overrides).length === 0 ? { model } : { model, overrides }
}

/** JSON, or base64 of it. Throws GatewayError `bad_request`. */
export function parseConfig(text: string): Fields {
  const json = text.trimStart().startsWith('{') ? text : Buffer.from(text, 'base64').toString('utf8')
  let config: unknown
  try {
    config = JSON.parse(json)
  } catch {
    // Named below.
  }
  if (isObject(config)) return config
  throw wrong(
    '',
    'The config of the request must be a JSON object, or the base64 of one. Stored configs (by id) are not supported.',
  )
}

/** What a config comes to for one call. Throws GatewayError `bad_request`, `unsafe_parameter` naming the place. Pure but for `random`. */
export function plan(config: Fields, context: PlanContext): Plan {
  let count = 0
  const node = (fields: Fields, place: string, depth: number): PlannedTarget[] => {
    checkFields(fields, place)
    if (depth > MAX_DEPTH) throw wrong(place, `targets are nested deeper than ${MAX_DEPTH}.`)
    const { targets, strategy } = fields
    if (targets === undefined || targets === null) return [leaf(fields, place)]
    if (!Array.isArray(targets) || targets.length === 0) throw invalid(at(place, 'targets'), 'list that is not empty', targets)
    count += targets.length
    if (count > MAX_TARGETS) throw wrong(place, `at most ${MAX_TARGETS} targets.`)
    const nodes = targets.map((item: unknown, index) => {
      if (!isObject(item)) throw invalid(`${at(place, 'targets')}[${index}]`, 'object', item)
      return { fields: item, place: `${at(place, 'targets')}[${index}]` }
    })
    // All are read, so that what is wrong with one is told whichever is picked.
    const planned = nodes.map((child) => node(child.fields, child.place, depth + 1))
    const picked = pick(strategy, nodes, place, context)
    return picked === null ? planned.flat() : (planned[picked] as PlannedTarget[])
  }
  const targets = node(config, '', 0)
  const outer = isObject(config['strategy']) ? config['strategy'] : null
  const falling = outer?.['mode'] === 'fallback'
  return {
    targets,
    onStatus: falling ? statuses(outer['on_status_codes'], 'strategy.on_status_codes') : null,
    ownFallbacks: falling || targets.length > 1,
    ...retryOf(config['retry']),
    timeout: timeoutOf(config['request_timeout']),
    cache: cacheOf(config['cache']),
  }
}

/** Which of `nodes` is taken; null = all, in turn. */
function pick(
  strategy: unknown,
  nodes: readonly { fields: Fields; place: string }[],
  place: string,
  context: PlanContext,
): number | null {
  const where = at(place, 'strategy')
  if (strategy === undefined || strategy === null) return 0
  if (!isObject(strategy)) throw invalid(where, 'object', strategy)
  for (const name in strategy) {
    if (!['mode', 'on_status_codes', 'conditions', 'default'].includes(name)) throw wrong(`${where}.${name}`, 'unknown field.')
  }
  const mode = MODES.find((known) => known === strategy['mode'])
  if (mode === undefined) throw invalid(`${where}.mode`, `string out of ${MODES.join(', ')}`, strategy['mode'])
  const codes = strategy['on_status_codes']
  if (codes != null && (mode !== 'fallback' || place !== ''))
    throw wrong(`${where}.on_status_codes`, 'only the outermost strategy may have it, with mode fallback.')
  if (mode === 'single') return 0
  if (mode === 'fallback') return null
  if (mode === 'loadbalance') return weighted(nodes, context.random())
  return conditional(strategy, nodes, where, context.conditions)
}

/** By weight, 1 where a target names none. */
function weighted(nodes: readonly { fields: Fields; place: string }[], random: number): number {
  const weights = nodes.map(({ fields, place }) => {
    const weight = fields['weight'] ?? 1
    if (typeof weight !== 'number' || !(weight >= 0)) throw invalid(`${place}.weight`, 'number, 0 or more', weight)
    return weight
  })
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  if (!(total > 0)) throw wrong('targets', 'at least one weight must be above 0.')
  let point = random * total
  for (const [index, weight] of weights.entries()) {
    point -= weight
    if (point < 0) return index
  }
  return weights.findLastIndex((weight) => weight > 0)
}

function conditional(
  strategy: Fields,
  nodes: readonly { fields: Fields; place: string }[],
  where: string,
  context: ConditionContext,
): number {
  const { conditions } = strategy
  if (!Array.isArray(conditions)) throw invalid(`${where}.conditions`, 'list', conditions)
  const names = nodes.map(({ fields }) => fields['name'])
  const indexOf = (name: unknown, place: string): number => {
    const index = typeof name === 'string' ? names.indexOf(name) : -1
    if (index < 0) throw wrong(place, 'it must be the name of a target.')
    return index
  }
  let picked: number | null = null
  for (const [index, condition] of conditions.entries()) {
    const place = `${where}.conditions[${index}]`
    if (!isObject(condition)) throw invalid(place, 'object', condition)
    const [problem] = queryProblems(condition['query'])
    if (problem !== undefined) throw wrong(`${place}.query`, `${problem}.`)
    const then = indexOf(condition['then'], `${place}.then`)
    if (picked === null && matches(condition['query'] as Fields, context)) picked = then
  }
  if (strategy['default'] === undefined) {
    if (picked === null) throw wrong(where, 'no condition holds for this request, and there is no default.')
    return picked
  }
  const otherwise = indexOf(strategy['default'], `${where}.default`)
  return picked ?? otherwise
}

/** A target without targets: a group of ours, with fields of the request replaced. */
function leaf(fields: Fields, place: string): PlannedTarget {
  if (fields['strategy'] != null && (fields['strategy'] as Fields)['mode'] !== 'single')
    throw wrong(at(place, 'targets'), 'a strategy needs targets.')
  const given = fields['override_params'] ?? {}
  if (!isObject(given)) throw invalid(at(place, 'override_params'), 'object', given)
  const { model: replaced, ...overrides } = given
  const model = replaced ?? fields['model'] ?? null
  if (model !== null && (typeof model !== 'string' || model === '')) throw invalid(at(place, 'model'), 'non-empty string', model)
  refuseCredentials(overrides, at(place, 'override_params'))
  return { model, overrides: Object.keys(overrides).length === 0 ? null : overrides, place }
}

function checkFields(fields: Fields, place: string): void {
  for (const name in fields) {
    const where = at(place, name)
    if (FOREIGN.has(name) || /^(aws|azure|vertex|openai)_/.test(name)) {
      throw wrong(where, 'the deployments of this gateway say where calls go and with which credentials; name one of its models.')
    }
    if (!KNOWN.has(name)) throw wrong(where, `unknown field. Known ones: ${[...KNOWN].join(', ')}.`)
    if (place !== '' && (name === 'retry' || name === 'request_timeout' || name === 'cache') && fields[name] != null)
      throw wrong(where, 'it holds for the whole request: it belongs beside the outermost targets.')
  }
}

function retryOf(value: unknown): Pick<Plan, 'retries' | 'retryPolicy'> {
  if (value === undefined || value === null) return { retries: null, retryPolicy: null }
  if (!isObject(value)) throw invalid('retry', 'object', value)
  for (const name in value) {
    // Ours honours Retry-After anyway.
    if (!['attempts', 'on_status_codes', 'use_retry_after_header'].includes(name)) throw wrong(`retry.${name}`, 'unknown field.')
  }
  const { attempts } = value
  if (typeof attempts !== 'number' || !Number.isInteger(attempts) || attempts < 0 || attempts > MAX_ATTEMPTS)
    throw invalid('retry.attempts', `whole number from 0 to ${MAX_ATTEMPTS}`, attempts)
  const codes = statuses(value['on_status_codes'], 'retry.on_status_codes')
  return { retries: attempts, retryPolicy: codes === null ? null : policyOf(codes, attempts) }
}

/** Retries are counted by kind of failure: the codes of one kind (all from 500) go together. */
function policyOf(codes: readonly number[], attempts: number): FailurePolicy {
  const kinds = new Set(codes.map(kindOf))
  return Object.fromEntries(FAILURE_KINDS.map((kind) => [kind, kinds.has(kind) ? attempts : 0]))
}

function kindOf(status: number): FailureKind {
  if (status === 401) return 'AuthenticationError'
  if (status === 408) return 'TimeoutError'
  if (status === 429) return 'RateLimitError'
  return status >= 500 ? 'InternalServerError' : 'BadRequestError'
}

function statuses(value: unknown, place: string): number[] | null {
  if (value === undefined || value === null) return null
  const fine = Array.isArray(value) && value.every((code) => Number.isInteger(code) && code >= 400 && code <= 599)
  if (!fine) throw invalid(place, 'list of statuses from 400 to 599', value)
  return value as number[]
}

function timeoutOf(value: unknown): number | null {
  if (value === undefined || value === null) return null
  if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0)
    throw invalid('request_timeout', 'number of milliseconds above 0', value)
  return value
}

/** Portkey's cache → the controls of a request (surface reference §8.3). Whether it is semantic is the operator's choice. */
function cacheOf(value: unknown): Fields | null {
  if (value === undefined || value === null) return null
  if (!isObject(value)) throw invalid('cache', 'object', value)
  for (const name in value) if (name !== 'mode' && name !== 'max_age') throw wrong(`cache.${name}`, 'unknown field.')
  if (value['mode'] !== 'simple' && value['mode'] !== 'semantic')
    throw invalid('cache.mode', 'string out of simple, semantic', value['mode'])
  const age = value['max_age'] ?? null
  if (age === null) return { 'use-cache': true }
  if (typeof age !== 'number' || !(age > 0)) throw invalid('cache.max_age', 'number of seconds above 0', age)
  return { 'use-cache': true, ttl: age, 's-maxage': age }
}

function at(place: string, name: string): string {
  return place === '' ? name : `${place}.${name}`
}

function wrong(place: string, text: string): GatewayError {
  const where = place === '' ? '' : `Invalid '${place}' in the config of the request: `
  return new GatewayError('bad_request', `${where}${text}`, { param: place === '' ? 'x-turnpike-config' : place })
}
