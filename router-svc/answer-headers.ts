import type { Cost } from '../shared/cost.ts'
import type { GatewayError } from '../shared/errors.ts'
import { formatDollars } from '../shared/money.ts'
import { keySpend, limitHeaders } from './admission/limit-headers.ts'
import type { Call } from './call.ts'
import type { Headers } from './providers/provider.ts'
import { priorityOf } from './routing/waiting.ts'
import type { Route } from './runtime.ts'

/** Upstream headers that describe their connection or encoding, not the answer. */
const NOT_COPIED = new Set([
  'connection',
  'keep-alive',
  'transfer-encoding',
  'content-length',
  'content-encoding',
  'set-cookie',
  'date',
  'server',
  'trailer',
  'upgrade',
  'proxy-authenticate',
  'alt-svc',
  'strict-transport-security',
  'nel',
  'report-to',
])

/** What headers of providers are called when passed on: a name made anew for each answer must be hashed and looked up to become a property's. */
const PASSED_ON: ReadonlyMap<string, string> = new Map(
  [
    'content-type',
    'cache-control',
    'vary',
    'via',
    'x-request-id',
    'request-id',
    'x-content-type-options',
    'access-control-expose-headers',
    'cf-cache-status',
    'cf-ray',
    'openai-organization',
    'openai-processing-ms',
    'openai-project',
    'openai-version',
    'x-envoy-upstream-service-time',
    ...['limit', 'remaining', 'reset'].flatMap((kind) => [
      `x-ratelimit-${kind}-requests`,
      `x-ratelimit-${kind}-tokens`,
      `anthropic-ratelimit-requests-${kind}`,
      `anthropic-ratelimit-tokens-${kind}`,
      `anthropic-ratelimit-input-tokens-${kind}`,
      `anthropic-ratelimit-output-tokens-${kind}`,
    ]),
    'anthropic-organization-id',
    'apim-request-id',
    'x-ms-region',
  ].map((name) => [name, `llm_provider-${name}`]),
)

/** OpenAI's own limit headers are also passed on under their names (surface reference §3.6). */
const RATE_LIMIT_PREFIX = 'x-ratelimit-'

/**
 * The `x-litellm-*` headers of an answer as far as the router knows them (surface reference §3.6); the edge adds call id and version. Empty values
 * are left out. Cost is only known before the body on answers that are not streams.
 */
export function answerHeaders(call: Call, route: Route | null, upstream: Headers | null, now: number): Record<string, string> {
  const headers: Record<string, string> = {}
  const { identity } = call
  if (upstream !== null) {
    for (const name in upstream) {
      if (NOT_COPIED.has(name)) continue
      const value = upstream[name] as string
      headers[PASSED_ON.get(name) ?? `llm_provider-${name}`] = value
      if (name.startsWith(RATE_LIMIT_PREFIX)) headers[name] = value
    }
  }
  if (route !== null) {
    headers['x-litellm-model-id'] = route.deployment.id
    if (call.affinity?.warm === route.deployment.id) headers['x-turnpike-cache-affinity'] = 'hit'
    if (route.apiBase !== null) headers['x-litellm-model-api-base'] = withoutQuery(route.apiBase)
  }
  if (call.modelGroup !== '') headers['x-litellm-model-group'] = headerSafe(call.modelGroup)
  if (call.cacheKey !== null) headers['x-litellm-cache-key'] = call.cacheKey
  if (identity.maxBudget !== null) headers['x-litellm-key-max-budget'] = formatDollars(identity.maxBudget)
  if (identity.tpmLimit !== null) headers['x-litellm-key-tpm-limit'] = String(identity.tpmLimit)
  if (identity.rpmLimit !== null) headers['x-litellm-key-rpm-limit'] = String(identity.rpmLimit)
  if (call.ticket !== null) limitHeaders(headers, call.ticket, call.modelGroup)
  headers['x-litellm-attempted-retries'] = String(call.retries)
  headers['x-litellm-attempted-fallbacks'] = String(call.fallbacks)
  if (call.fallbacks > 0) headers['x-litellm-max-fallbacks'] = String(call.routing.maxFallbacks)
  if (priorityOf(call) !== Number.POSITIVE_INFINITY) headers['x-litellm-request-prioritization-used'] = 'True'
  const total = now - call.startedMonotonic
  headers['x-litellm-response-duration-ms'] = total.toFixed(3)
  headers['x-litellm-overhead-duration-ms'] = Math.max(0, total - call.upstreamTime).toFixed(3)
  return headers
}

/**
 * What an answer cost, by part: input + cache read + cache creation + output + tools are the cost before discount and margin; reasoning is
 * inside output. Parts that are nothing are left out, input and output excepted.
 */
function costParts(headers: Record<string, string>, cost: Cost): void {
  const original = cost.total - cost.discount - cost.margin
  const cacheRead = cost.cacheRead + cost.audioCacheRead + cost.imageCacheRead
  const cacheCreation = cost.cacheWrite + cost.cacheWrite1h + cost.audioCacheWrite
  const output = cost.output + cost.reasoning + cost.audioOutput + cost.imageOutput + cost.videoOutput + cost.citation
  const input = original - cacheRead - cacheCreation - output - cost.toolUse
  headers['x-litellm-response-cost-input'] = formatDollars(input)
  headers['x-litellm-response-cost-output'] = formatDollars(output)
  if (cacheRead > 0) headers['x-litellm-response-cost-cache-read'] = formatDollars(cacheRead)
  if (cacheCreation > 0) headers['x-litellm-response-cost-cache-creation'] = formatDollars(cacheCreation)
  if (cost.reasoning > 0) headers['x-litellm-response-cost-reasoning'] = formatDollars(cost.reasoning)
  if (cost.toolUse > 0) headers['x-litellm-response-cost-tool-usage'] = formatDollars(cost.toolUse)
  if (cost.discount === 0 && cost.margin === 0) return
  headers['x-litellm-response-cost-original'] = formatDollars(original)
  headers['x-litellm-response-cost-discount-amount'] = formatDollars(-cost.discount)
  headers['x-litellm-response-cost-margin-amount'] = formatDollars(cost.margin)
}

/** Adds what a finished attempt cost. */
export function costHeaders(headers: Record<string, string>, call: Call, cost: number): void {
  headers['x-litellm-response-cost'] = formatDollars(cost)
  if (call.cost !== null) costParts(headers, call.cost)
  headers['x-litellm-key-spend'] = keySpend(call.ticket, call.identity.spend, cost)
}

/** Adds when to come back. */
export function errorHeaders(headers: Record<string, string>, error: GatewayError): Record<string, string> {
  if (error.retryAfter !== undefined) headers['retry-after'] = String(Math.max(1, Math.ceil(error.retryAfter / 1000)))
  headers['x-litellm-response-cost'] = '0'
  if (error.headers !== undefined) Object.assign(headers, error.headers)
  return headers
}

function withoutQuery(url: string): string {
  const query = url.indexOf('?')
  return query < 0 ? url : url.slice(0, query)
}

/** Characters of a client's own text in a header: many clients take no answer whose headers are larger than 8 or 16 KB together. */
const CLIENT_TEXT_MAX = 256

/** Model names come from the client; a line break in one must not become a second header, nor a long one the end of the connection. */
function headerSafe(value: string): string {
  return value.slice(0, CLIENT_TEXT_MAX).replace(/[^\x20-\x7e]/g, '?')
}
