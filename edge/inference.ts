import type { CallMessage } from '../proto/call.ts'
import type { RuntimeSettings } from '../proto/deployment.ts'
import type { DialectName, Endpoint } from '../proto/endpoints.ts'
import { BODY_INLINE_MAX } from '../proto/frames.ts'
import type { Identity } from '../proto/identity.ts'
import { PRODUCT_VERSION, WIRE_VERSION } from '../proto/version.ts'
import type { Bus } from '../shared/bus/bus.ts'
import type { Codec } from '../shared/bus/codec.ts'
import type { Clock } from '../shared/clock.ts'
import { toGatewayError } from '../shared/errors.ts'
import { callId } from '../shared/ids.ts'
import type { Log } from '../shared/log.ts'
import { type Tracer, traceparentOf } from '../shared/tracer.ts'
import { bookUnsettled } from '../shared/unsettled.ts'
import { answerError } from './answer.ts'
import { type Authenticate, CREDENTIAL_HEADERS, passerBy } from './auth/authenticate.ts'
import { ANTHROPIC_GROUPS, GOOGLE_GROUPS, INFERENCE_GROUPS } from './auth/check-identity.ts'
import { askingOf, type KeyPlace } from './auth/pass-through-key.ts'
import { takeBody } from './body.ts'
import { errorFormOf } from './error-form.ts'
import type { Exchange } from './exchange.ts'
import type { Refusals } from './refusals.ts'
import { Relay, type RelayEnd } from './relay.ts'
import { beginTrace, type CallTrace } from './trace.ts'

export interface InferenceDeps {
  bus: Bus
  codec: Codec
  clock: Clock
  log: Log
  authenticate: Authenticate
  refusals: Refusals
  settings: () => RuntimeSettings | null
  observe: (observed: ObservedCall) => void
  /** Null = nothing is traced. */
  tracer: Tracer | null
  /** Milliseconds a call may take when neither settings nor client say. */
  callLimit: number
}

/** What metrics and traces are made of. */
export interface ObservedCall {
  endpoint: Endpoint
  identity: Identity | null
  /** Milliseconds from the request's arrival to the end of its answer. */
  duration: number
  end: RelayEnd
  /** Null = it is not traced. */
  trace: CallTrace | null
}

export type Infer = (exchange: Exchange, endpoint: Endpoint, pathModel: string | null, carried?: CarriedRoute) => Promise<void>

/** What a carried endpoint needs beside its body, and who may call it. */
export type CarriedRoute = NonNullable<CallMessage['carried']> & {
  groups: readonly string[]
  /** No key of ours is needed. */
  isOpen?: boolean
  key?: KeyPlace
}

/** Route groups of the dialects that are not OpenAI's. */
const GROUPS: Readonly<Partial<Record<DialectName, readonly string[]>>> = {
  anthropic: ANTHROPIC_GROUPS,
  'anthropic-count': ANTHROPIC_GROUPS,
  gemini: GOOGLE_GROUPS,
  'gemini-count': GOOGLE_GROUPS,
  'gemini-embedding': GOOGLE_GROUPS,
  'gemini-embedding-batch': GOOGLE_GROUPS,
}
/** The pool of routers that serves calls. */
const LANE = 'default'
/** Headers a router may need, besides `x-litellm-*`. Nothing else crosses. */
const PASSED_HEADERS: ReadonlySet<string> = new Set([
  'traceparent',
  'tracestate',
  'anthropic-beta',
  'anthropic-version',
  'openai-organization',
  'openai-beta',
  'user-agent',
  'cache-control',
  'content-type',
  'accept',
  'x-run-id',
  'x-run-cap',
  'idempotency-key',
  'x-turnpike-config',
  'x-portkey-config',
  'x-portkey-metadata',
])
/** Parameters of the address a router may need. Nothing else crosses: Google's clients may put a key there. */
const PASSED_PARAMETERS = ['api-version', 'alt']
/** What a call reads of its request besides credentials; the rest is not even copied. */
const OWN_HEADERS: ReadonlySet<string> = new Set(['origin', 'x-forwarded-for', 'content-encoding'])
const NO_HEADERS: readonly string[] = []
/** A client's own call id is echoed when it is a plain token. */
const SANE_ID = /^[A-Za-z0-9_.:-]{1,128}$/
/** Added to what the attempts may take together, milliseconds: for the gateway itself. */
const DEADLINE_SLACK = 10_000

/** Whether a call needs a header of its request. */
export function readsHeader(
  name: string,
  settings: Pick<RuntimeSettings, 'keyHeaderName' | 'customerHeaders' | 'ruleHeaders'> | null,
): boolean {
  return (
    name.startsWith('x-litellm-') ||
    PASSED_HEADERS.has(name) ||
    CREDENTIAL_HEADERS.has(name) ||
    OWN_HEADERS.has(name) ||
    name === settings?.keyHeaderName?.toLowerCase() ||
    settings?.customerHeaders.includes(name) === true ||
    settings?.ruleHeaders?.includes(name) === true
  )
}

/** THE HOT PATH. */
export function createInference(deps: InferenceDeps): Infer {
  const { bus, clock, authenticate, refusals, observe, tracer } = deps
  const subject = bus.subjects.call(LANE)

  return async function infer(exchange, endpoint, pathModel, carried) {
    const startedAt = clock.monotonic()
    const id = callId()
    const own = ownCallId(exchange)
    exchange.answerHeaders = { 'x-litellm-call-id': own ?? id, 'x-litellm-version': PRODUCT_VERSION }
    let identity: Identity | null = null
    const trace = tracer === null ? null : beginTrace(tracer, exchange, own ?? id)
    const done = (end: RelayEnd) => observe({ endpoint, identity, duration: clock.monotonic() - startedAt, end, trace })
    try {
      const groups = carried?.groups ?? GROUPS[endpoint.dialect] ?? INFERENCE_GROUPS
      const asking = carried?.key === undefined ? exchange : askingOf(exchange, carried.key)
      const found = carried?.isOpen === true ? passerBy(exchange.path) : authenticate(asking, groups)
      identity = found instanceof Promise ? await found : found
      const caller = identity
      if (trace !== null) trace.authenticated = clock.monotonic() - startedAt
      const refusal = refusals.find(caller, endpoint.name)
      if (refusal !== null) {
        const { head, body } = refusal
        exchange.respond(head.status, head.headers, body)
        done({ status: head.status, head, error: null, bytes: body.length, refusal: null })
        return
      }
      const asOf = refusals.changes
      const body = await takeBody(exchange, BODY_INLINE_MAX)
      const head = callMessage(deps, exchange, id, endpoint, pathModel, caller)
      if (own !== null) head.clientCallId = own
      if (trace !== null) head.traceparent = traceparentOf(trace)
      if (carried !== undefined) carry(head, exchange, carried, deps.settings()?.keyHeaderName?.toLowerCase())
      const relay = new Relay(exchange, {
        onEnd: (end) => {
          settleLost(deps, end)
          if (end.refusal !== null) refusals.remember(caller, endpoint.name, end.refusal, asOf)
          done(end)
        },
      })
      relay.attach(bus.open(subject, { id, head, body, deadline: deadlineOf(deps, exchange) }, relay))
    } catch (thrown) {
      const error = toGatewayError(thrown)
      if (error.code === 'internal') deps.log.error({ err: error.cause, callId: id }, 'a call failed inside the edge')
      answerError(exchange, error)
      done({ status: errorFormOf(exchange.path).status(error), head: null, error, bytes: 0, refusal: null })
    }
  }
}

/** The call as it travels. */
export function callMessage(
  deps: InferenceDeps,
  exchange: Exchange,
  id: string,
  endpoint: Endpoint,
  pathModel: string | null,
  identity: Identity,
): CallMessage {
  const message: CallMessage = {
    v: WIRE_VERSION,
    callId: id,
    take: 1,
    endpoint: endpoint.name,
    identity,
    headers: passedHeaders(exchange.headers, deps.settings()),
    clientIp: clientIp(exchange, deps.settings()?.useForwardedFor === true),
  }
  if (pathModel !== null) message.pathModel = pathModel
  if (exchange.query !== '') {
    const given = new URLSearchParams(exchange.query)
    for (const name of PASSED_PARAMETERS) {
      const value = given.get(name)
      if (value !== null) message.query = { ...message.query, [name]: value }
    }
  }
  return message
}

/** A carried call takes its request line along, and whatever headers hold no credential. */
function carry(
  message: CallMessage,
  { headers }: Exchange,
  { groups: _, isOpen: __, key, ...carried }: CarriedRoute,
  keyHeader: string | undefined,
): void {
  message.carried = carried
  for (const name in headers) {
    const isCredential = CREDENTIAL_HEADERS.has(name) || name === keyHeader || name === key?.header
    const isTheirs = carried.ownCredentials === true && !OURS_ALONE.has(name)
    if (!isCredential || isTheirs) message.headers[name] ??= headers[name] as string
  }
}

/** Credentials that no provider reads. */
const OURS_ALONE: ReadonlySet<string> = new Set(['x-litellm-api-key', 'litellm_user_api_key', 'cookie'])

/** A query without the parameters that hold credentials. */
export function withoutKeys(query: string): string {
  return query
    .split('&')
    .filter((part) => !/^(?:key|api[-_]?key|access_token)=/i.test(part))
    .join('&')
}

function passedHeaders(headers: Readonly<Record<string, string>>, settings: RuntimeSettings | null): Record<string, string> {
  const passed: Record<string, string> = {}
  const key = settings?.keyHeaderName?.toLowerCase()
  const customer = settings?.customerHeaders ?? NO_HEADERS
  const ruled = settings?.ruleHeaders ?? NO_HEADERS
  for (const name in headers) {
    if (!name.startsWith('x-litellm-') && !PASSED_HEADERS.has(name) && !customer.includes(name) && !ruled.includes(name)) continue
    if (!CREDENTIAL_HEADERS.has(name) && name !== key) passed[name] = headers[name] as string
  }
  return passed
}

/** Milliseconds for the whole call: every attempt its time limit, which the client may set in seconds. */
function deadlineOf(deps: InferenceDeps, exchange: Exchange): number {
  const settings = deps.settings()
  const asked = Number(exchange.headers['x-litellm-timeout'])
  const attempt = asked > 0 ? asked * 1000 : (settings?.timeout ?? deps.callLimit)
  return Math.min(deps.callLimit, attempt * ((settings?.numRetries ?? 0) + 1)) + DEADLINE_SLACK
}

/** The client's own call id, when it is a plain token. */
export function ownCallId(exchange: Exchange): string | null {
  const own = exchange.headers['x-litellm-call-id']
  return own !== undefined && SANE_ID.test(own) ? own : null
}

function clientIp(exchange: Exchange, trustForwardedFor: boolean): string {
  const forwarded = trustForwardedFor ? exchange.headers['x-forwarded-for']?.split(',')[0]?.trim() : undefined
  return forwarded === undefined || forwarded === '' ? exchange.remoteAddress : forwarded
}

/** A router died while it answered: what it announced is booked as unsettled, so that nothing disappears. */
export function settleLost(deps: InferenceDeps, { head, error, bytes }: RelayEnd): void {
  if (error?.code !== 'lost_router' || head?.booking === undefined) return
  void bookUnsettled(deps, head.booking, bytes, error)
}
