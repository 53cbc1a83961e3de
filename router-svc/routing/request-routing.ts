import type { RoutingOverrides, RoutingSettings } from '../../proto/routing.ts'
import { GatewayError } from '../../shared/errors.ts'
import { isObject } from '../../shared/json-object.ts'
import { numeric } from '../../shared/numeric.ts'
import type { Call, CallOptions } from '../call.ts'
import { invalid } from '../dialects/request-fields.ts'
import type { RouterRuntime } from '../runtime.ts'
import { readPreferences } from './preferences.ts'
import { applyConfig, configHeader } from './request-config.ts'
import { type NamedTarget, readFallbacks, readOverrides, withoutModels } from './request-fallbacks.ts'
import { checkNamed } from './resolve.ts'

/**
 * What this request, its key and its team ask of routing, once per call after its body was read: `call.routing`, `call.preferences`,
 * `call.requestFallbacks`, retries and time limits of `call.options`, and where a config of the request says so the group it begins with
 * (`call.modelGroup`). `random` in [0, 1) picks between the targets of a config that balances. Throws GatewayError `bad_request` naming what
 * is malformed, `model_denied` for a model the key may not name, `unsafe_parameter` for credentials.
 */
export function readRouting(call: Call, runtime: RouterRuntime, random: () => number): void {
  const { parsed } = call
  checkNumbers(call)
  call.routing = merged(runtime.settings.routing, call.identity.routing)
  const provider = parsed['provider']
  if (isObject(provider)) call.preferences = readPreferences(provider)
  const asked = call.requestedModel
  const found = readFallbacks(parsed, [asked, runtime.aliased(asked), asked.slice(asked.indexOf('/') + 1)])
  if (found !== null) {
    call.requestFallbacks = found.fallbacks
    checkTargets(call, runtime, found.named)
  }
  call.request = withoutModels(call.request)
  const config = configHeader(call.message.headers)
  if (config !== null) applyConfig(call, runtime, config, random)
  if (call.identity.routing !== undefined) fillOptions(call.options, call.identity.routing)
}

/** Each target must be one the client may call, and what it replaces must make a request that can be read. */
function checkTargets(call: Call, runtime: RouterRuntime, named: readonly NamedTarget[]): void {
  for (const { target, place } of named) {
    checkNamed(call, runtime, target.model, place)
    if (target.overrides !== undefined) target.overrides = readOverrides(call, target.model, target.overrides, place)
  }
}

/** Settings as a team and key change them; the very same object when they change nothing. */
export function merged(settings: RoutingSettings, overrides: RoutingOverrides | undefined): RoutingSettings {
  if (overrides === undefined) return settings
  const { strategy, retryPolicy, groupRetryPolicy, maxFallbacks, tagFiltering, tagMatchAny, cooldownTime, allowedFails } =
    overrides
  return {
    ...settings,
    ...(strategy === undefined ? {} : { strategy }),
    ...(retryPolicy === undefined ? {} : { retryPolicy }),
    ...(groupRetryPolicy === undefined ? {} : { groupRetryPolicy: { ...settings.groupRetryPolicy, ...groupRetryPolicy } }),
    ...(maxFallbacks === undefined ? {} : { maxFallbacks }),
    ...(tagFiltering === undefined ? {} : { tagFiltering }),
    ...(tagMatchAny === undefined ? {} : { tagMatchAny }),
    ...(cooldownTime === undefined ? {} : { cooldownTime }),
    ...(allowedFails === undefined ? {} : { allowedFails }),
    ...(overrides.hedgeAfter === undefined ? {} : { hedgeAfter: overrides.hedgeAfter }),
    ...(overrides.failover === undefined ? {} : { failover: { ...settings.failover, enabled: overrides.failover } }),
    // A list of theirs stands in for ours as a whole: what a team does not want it can leave out.
    ...(overrides.fallbacks === undefined ? {} : { fallbacks: { ...settings.fallbacks, ...overrides.fallbacks } }),
  }
}

/** What the request does not say its key or team says. */
function fillOptions(options: CallOptions, { numRetries, timeout, streamTimeout }: RoutingOverrides): void {
  options.numRetries ??= numRetries ?? null
  options.timeout ??= timeout ?? null
  options.streamTimeout ??= streamTimeout ?? null
}

/** The mock switches in the order they are looked at; the first that is true counts. */
const MOCK_SWITCHES = [
  ['mock_testing_fallbacks', 'provider_error', 'InternalServerError'],
  ['mock_testing_context_fallbacks', 'context_window_exceeded', 'ContextWindowExceededError'],
  ['mock_testing_content_policy_fallbacks', 'content_policy', 'ContentPolicyViolationError'],
  ['mock_testing_rate_limit_error', 'provider_rate_limited', 'RateLimitError'],
] as const

/** The failure that a `mock_testing_*` switch of the request wants of its first group, so that its fallbacks run; null = none. Pure. */
export function mockedFailure(call: Pick<Call, 'parsed' | 'fallbacks' | 'modelGroup'>): GatewayError | null {
  if (call.fallbacks > 0) return null
  for (const [name, code, label] of MOCK_SWITCHES) {
    if (call.parsed[name] === true)
      return new GatewayError(code, `litellm.${label}: ${call.modelGroup} fails because the request says ${name}.`)
  }
  return null
}

/** What `decode` reads leniently: a number that is none would silently be the settings' instead. */
function checkNumbers({ parsed, message }: Call): void {
  const retries = parsed['num_retries'] ?? message.headers[RETRIES_HEADER]
  if (retries != null && !isWhole(retries, 100)) {
    const place = parsed['num_retries'] == null ? RETRIES_HEADER : 'num_retries'
    throw invalid(place, 'whole number from 0 to 100', retries)
  }
  for (const name of TIMES) {
    const value = parsed[name]
    if (value != null && !(numeric(value) > 0 && Number.isFinite(numeric(value))))
      throw invalid(name, 'number of seconds above 0', value)
  }
  for (const [name] of MOCK_SWITCHES) {
    const value = parsed[name]
    if (value != null && typeof value !== 'boolean') throw invalid(name, 'boolean', value)
  }
  const priority = parsed['priority']
  if (priority != null && (typeof priority !== 'number' || !isWhole(priority, Number.MAX_SAFE_INTEGER)))
    throw invalid('priority', 'whole number, 0 or more', priority)
}

const RETRIES_HEADER = 'x-litellm-num-retries'
const TIMES = ['timeout', 'request_timeout', 'stream_timeout'] as const

function isWhole(value: unknown, most: number): boolean {
  const number = typeof value === 'string' && value !== '' ? Number(value) : value
  return typeof number === 'number' && Number.isInteger(number) && number >= 0 && number <= most
}
