import type { CallMessage } from '../proto/call.ts'
import type { RuntimeSettings } from '../proto/deployment.ts'
import { type Endpoint, endpoint } from '../proto/endpoints.ts'
import type { Identity } from '../proto/identity.ts'
import type { ObjectNews } from '../proto/objects.ts'
import { DEFAULT_ROUTING, type RoutingSettings } from '../proto/routing.ts'
import type { Attempt } from '../proto/usage.ts'
import type { IncomingStream } from '../shared/bus/bus.ts'
import type { Clock } from '../shared/clock.ts'
import type { Cost } from '../shared/cost.ts'
import { GatewayError } from '../shared/errors.ts'
import { isObject } from '../shared/json-object.ts'
import { refuseDeepBody } from '../shared/nesting.ts'
import type { Ticket } from './admission/ticket.ts'
import { type AnyDialect, dialects } from './dialects/index.ts'
import type { Continuation } from './failover/continuation.ts'
import type { ResponsesTurn } from './responses/turn.ts'
import type { CallAffinity } from './routing/affinity.ts'
import type { RequestFallbacks } from './routing/fallback.ts'
import type { Preferences } from './routing/preferences.ts'

/** One call on its way through the router: what the client asked, and what happened so far. */
export interface Call {
  readonly message: CallMessage
  readonly identity: Identity
  readonly endpoint: Endpoint
  readonly dialect: AnyDialect
  readonly incoming: IncomingStream
  /** Unix milliseconds, and the monotonic start for durations. */
  readonly startedAt: number
  readonly startedMonotonic: number

  /** The body as it came, as JSON, and as canonical request; set by `decode`. */
  raw: Uint8Array
  parsed: Record<string, unknown>
  request: Record<string, unknown>
  /** `request` as the dialect made it: another object there = somebody changed it since. */
  decoded: Record<string, unknown>
  requestedModel: string
  modelGroup: string
  stream: boolean
  includeUsage: boolean
  options: CallOptions

  attempts: Attempt[]
  /** What the last priced attempt cost, by component. */
  cost: Cost | null
  /** Milliseconds spent waiting for upstreams, fractional. */
  upstreamTime: number
  firstTokenAt: number | null
  /** Set when the client left, the edge died or the deadline passed. */
  cancelled: string | null
  /** Stops what is running now; set by whoever runs. */
  stop: (() => void) | null
  /** Ends what is running now with an error of ours, told to the client; set by whoever runs. */
  end: ((error: GatewayError) => void) | null
  /** Input tokens, about; null = not counted yet. */
  inputTokens: number | null
  /** What the call holds of its limits and budgets; null = nothing limits it. */
  ticket: Ticket | null
  /** Milliseconds for which the edge may give the refusal of this call to others of its key. */
  refusedFor: number
  /** The routing settings that hold for this call: the runtime's, as its team and key change them. */
  routing: RoutingSettings
  /** What the request itself asks of routing; null = nothing. */
  preferences: Preferences | null
  /** Fallbacks the request asks for or forbids. */
  requestFallbacks: RequestFallbacks
  /** Fallback groups it went on to, and attempts that repeated one within a tier. */
  fallbacks: number
  retries: number
  /** Region the customer's calls must stay in (`eu`); null = any. */
  allowedRegion: string | null
  /** What affinity knows of this call; null = it was not asked. */
  affinity: CallAffinity | null
  /** Gets every canonical response or chunk the client gets; set = bytes never pass through untranslated. */
  capture: Capture | null
  /** The stream that the next attempt goes on with; null = it answers from the start. */
  resume: Continuation | null
  /** What a call of the Responses API goes on from and leaves behind; null = it is none. */
  responses: ResponsesTurn | null
  /** What the provider goes on making after the answer, and what it will cost; null = nothing. */
  objects: ObjectNews[] | null
  /** Under which the answer is cached, told to the client; null = the cache had nothing to do with it. */
  cacheKey: string | null
}

/** Sees an answer in canonical form: the cache, guardrails. */
export interface Capture {
  /** Returns the response that the client gets. What is billed is what `response` says. */
  response(response: unknown): unknown
  chunk(chunk: unknown): void
}

/** What LiteLLM's own request fields and headers ask for (surface reference §1.2, §3.7). */
export interface CallOptions {
  numRetries: number | null
  /** Milliseconds. */
  timeout: number | null
  streamTimeout: number | null
  tags: string[]
  endUser: string | null
  metadata: Record<string, unknown> | null
  sessionId: string | null
  /** Priority in the queue for a deployment, 0 first; null = the settings'. */
  priority: number | null
}

const NOTHING = new Uint8Array(0)
const NO_REQUEST_FALLBACKS: RequestFallbacks = { own: null, contextWindow: null, contentPolicy: null, disabled: false }
const NO_OPTIONS: CallOptions = {
  numRetries: null,
  timeout: null,
  streamTimeout: null,
  tags: [],
  endUser: null,
  metadata: null,
  sessionId: null,
  priority: null,
}

/** The call a stream carries. Throws GatewayError `bad_request` when this router does not know the endpoint. */
export function openCall(incoming: IncomingStream, clock: Clock): Call {
  const message = incoming.head as CallMessage
  const row = endpoint(message.endpoint)
  if (row === undefined) throw new GatewayError('bad_request', `This router does not know the endpoint ${message.endpoint}.`)
  return newCall(incoming, clock, row)
}

/** A call of which nothing is read yet. */
export function newCall(incoming: IncomingStream, clock: Clock, row: Endpoint): Call {
  const message = incoming.head as CallMessage
  return {
    message,
    identity: message.identity,
    endpoint: row,
    dialect: dialects[row.dialect].forQuery?.(message.query ?? {}) ?? dialects[row.dialect],
    incoming,
    startedAt: clock.now(),
    startedMonotonic: clock.monotonic(),
    raw: NOTHING,
    parsed: {},
    request: {},
    decoded: {},
    requestedModel: '',
    modelGroup: '',
    stream: false,
    includeUsage: false,
    options: NO_OPTIONS,
    attempts: [],
    cost: null,
    upstreamTime: 0,
    firstTokenAt: null,
    cancelled: null,
    stop: null,
    end: null,
    inputTokens: null,
    ticket: null,
    refusedFor: 0,
    routing: DEFAULT_ROUTING,
    preferences: null,
    requestFallbacks: NO_REQUEST_FALLBACKS,
    fallbacks: 0,
    retries: 0,
    allowedRegion: null,
    affinity: null,
    capture: null,
    resume: null,
    responses: null,
    cacheKey: null,
    objects: null,
  }
}

/** The name an answer bears: as the client asked, unless a fallback answers (surface reference §3.6). */
export function answeringModel(call: Pick<Call, 'requestedModel' | 'modelGroup' | 'fallbacks'>): string {
  return call.fallbacks === 0 ? call.requestedModel : call.modelGroup
}

/** Where a call would go and on whose account: not a client's to say. */
const CREDENTIAL_FIELDS = ['api_base', 'base_url', 'api_key', 'user_config'] as const

/** The settings that reading a body depends on. */
export type DecodeSettings = Pick<RuntimeSettings, 'allowClientSideCredentials' | 'alwaysIncludeStreamUsage' | 'customerHeaders'>

/**
 * Reads the body: JSON object (or the fields of a form) → canonical request. Throws GatewayError `invalid_json`, `bad_request` or `unsafe_parameter` naming what is
 * wrong; the text of the body is never echoed.
 */
export function decode(call: Call, raw: Uint8Array, settings: DecodeSettings, form: Record<string, unknown> | null = null): void {
  call.raw = raw
  const parsed = withExtra(form ?? parseObject(raw))
  for (const name of CREDENTIAL_FIELDS) if (parsed[name] != null) throw unsafe(name, settings)
  if (call.message.pathModel !== undefined) parsed['model'] = call.message.pathModel
  else if (parsed['model'] == null && call.endpoint.defaultModel !== undefined) parsed['model'] = call.endpoint.defaultModel
  else if (typeof parsed['model'] !== 'string' || parsed['model'] === '') {
    throw new GatewayError('bad_request', 'The field "model" is required and must be a non-empty string.', { param: 'model' })
  }
  if (call.endpoint.streams !== undefined) parsed['stream'] = call.endpoint.streams
  call.parsed = parsed
  call.requestedModel = parsed['model'] as string
  call.modelGroup = call.requestedModel
  call.decoded = call.dialect.decodeRequest(parsed) as Record<string, unknown>
  call.request = call.decoded
  call.stream = parsed['stream'] === true
  const streamOptions = parsed['stream_options']
  const asked = isObject(streamOptions) ? streamOptions['include_usage'] : undefined
  // A client that says false means it, whatever the operator wants for those who say nothing.
  call.includeUsage = asked === undefined ? settings.alwaysIncludeStreamUsage : asked === true
  call.options = optionsOf(call, settings.customerHeaders)
}

/** What some SDKs send as `extra_body` literally stands beside the other fields, which beat it (surface reference §1.2). */
function withExtra(parsed: Record<string, unknown>): Record<string, unknown> {
  const extra = parsed['extra_body']
  if (!isObject(extra)) return parsed
  const { extra_body: _, ...own } = parsed
  return { ...extra, ...own }
}

function unsafe(param: string, settings: DecodeSettings): GatewayError {
  if (settings.allowClientSideCredentials)
    return new GatewayError('bad_request', `Client-side credentials are not supported yet: leave out ${param}.`, { param })
  return new GatewayError(
    'unsafe_parameter',
    `Authentication Error, Rejected Request: ${param} is not allowed in request body. The operator's deployments say where calls go.`,
    { param },
  )
}

function parseObject(raw: Uint8Array): Record<string, unknown> {
  if (raw.length === 0) throw new GatewayError('invalid_json', 'The request body is empty; a JSON object is expected.')
  let parsed: unknown
  try {
    parsed = JSON.parse(Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength).toString('utf8'))
  } catch (thrown) {
    // V8 quotes the text around the fault; only the position may leave.
    const position = /position (\d+)/.exec((thrown as Error).message)?.[1]
    throw new GatewayError(
      'invalid_json',
      `The request body is not valid JSON${position === undefined ? '' : ` (at character ${position})`}.`,
    )
  }
  if (!isObject(parsed)) throw new GatewayError('invalid_json', 'The request body must be a JSON object.')
  refuseDeepBody(parsed)
  return parsed
}

/** What the request asks of the gateway itself, in its body (`call.parsed`) and headers. */
export function optionsOf(call: Call, customerHeaders: readonly string[]): CallOptions {
  const { parsed, identity } = call
  const { headers } = call.message
  const metadata = metadataOf(call)
  return {
    numRetries: count(parsed['num_retries'] ?? headers['x-litellm-num-retries']),
    timeout: seconds(parsed['timeout'] ?? parsed['request_timeout'] ?? headers['x-litellm-timeout']),
    streamTimeout: seconds(parsed['stream_timeout'] ?? headers['x-litellm-stream-timeout']),
    tags: tagsOf(parsed, metadata, headers['x-litellm-tags'], identity.tags),
    endUser: endUserOf(parsed, metadata, headers, customerHeaders),
    metadata,
    priority: priorityOf(parsed['priority']),
    sessionId: text(headers['x-litellm-trace-id']) ?? text(headers['x-litellm-session-id']) ?? text(parsed['litellm_session_id']),
  }
}

/** On routes whose provider has a `metadata` of its own, what clients tell us is in `litellm_metadata`; both are read. */
function metadataOf({ parsed, dialect }: Call): Record<string, unknown> | null {
  const own = isObject(parsed['metadata']) ? parsed['metadata'] : null
  const told = isObject(parsed['litellm_metadata']) ? parsed['litellm_metadata'] : null
  if (own === null || told === null) return own ?? told
  return dialect.name === 'anthropic' || dialect.name === 'openai-responses' ? { ...own, ...told } : own
}

/** Body tags override header tags; the key's tags and `metadata.tags` are always added (surface reference §1.2, §2.1). */
function tagsOf(
  parsed: Record<string, unknown>,
  metadata: Record<string, unknown> | null,
  header: string | undefined,
  own: string[],
): string[] {
  const asked = Array.isArray(parsed['tags']) ? parsed['tags'] : (header?.split(',').map((tag) => tag.trim()) ?? [])
  const more = Array.isArray(metadata?.['tags']) ? metadata['tags'] : []
  if (asked.length === 0 && more.length === 0) return own
  return [...new Set([...asked, ...more, ...own].filter((tag): tag is string => typeof tag === 'string' && tag !== ''))]
}

/** First match wins (surface reference §3.4). */
function endUserOf(
  parsed: Record<string, unknown>,
  metadata: Record<string, unknown> | null,
  headers: Record<string, string>,
  customerHeaders: readonly string[],
): string | null {
  return (
    text(headers['x-litellm-customer-id']) ??
    text(headers['x-litellm-end-user-id']) ??
    text(customerHeaders.map((name) => headers[name]).find((value) => value !== undefined && value !== '')) ??
    text(parsed['user']) ??
    (isObject(parsed['litellm_metadata']) ? text(parsed['litellm_metadata']['user']) : null) ??
    text(metadata?.['user_id'])
  )
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}

function count(value: unknown): number | null {
  const number = typeof value === 'string' ? Number(value) : value
  return typeof number === 'number' && Number.isInteger(number) && number >= 0 && number <= 100 ? number : null
}

function priorityOf(value: unknown): number | null {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 ? value : null
}

function seconds(value: unknown): number | null {
  const number = typeof value === 'string' ? Number(value) : value
  return typeof number === 'number' && Number.isFinite(number) && number > 0 ? Math.round(number * 1000) : null
}
