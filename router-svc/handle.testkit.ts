import type { CallMessage, StartHead } from '../proto/call.ts'
import { type Deployment, PLAIN_DEPLOYMENT, type RuntimeSettings } from '../proto/deployment.ts'
import type { WireError } from '../proto/errors.ts'
import type { Identity } from '../proto/identity.ts'
import { DEFAULT_ROUTING } from '../proto/routing.ts'
import type { UsageEvent } from '../proto/usage.ts'
import { receiveWhole } from '../shared/bus/body.ts'
import type { IncomingStream } from '../shared/bus/bus.ts'
import { createCodec } from '../shared/bus/codec.ts'
import { DeadlineWheel, type TestClock, testClock } from '../shared/clock.ts'
import { createSealer } from '../shared/config/secrets.ts'
import { GatewayError } from '../shared/errors.ts'
import type { HttpClient, OutgoingRequest, ResponseSink } from '../shared/http/client.ts'
import { silentLog } from '../shared/log.ts'
import { noResponseCache } from './cache/response-cache.ts'
import { createHandle, type HandleDeps } from './handle.ts'
import { noObserver } from './observe.ts'
import { createProviders } from './providers/index.ts'
import { createMemoryResponses } from './responses/memory.ts'
import { createResponses } from './responses/turn.ts'
import { createAffinity } from './routing/affinity.ts'
import { createSelector } from './routing/select.ts'
import { createStates } from './routing/states.ts'
import { createWaitingRoom } from './routing/waiting.ts'
import { compileRuntime } from './runtime.ts'

/** One upstream call as the test plays the provider. */
export interface Sent {
  request: OutgoingRequest
  sink: ResponseSink
  paused: boolean
  aborted: boolean
}

export interface Client {
  head: StartHead | null
  text: string
  ended: boolean
  error: WireError | null
  /** What `data` answers: false = the client is behind. */
  keepsUp: boolean
  /** How often the stream was ended, and what was sent over one that was over. */
  ends: number
  late: number
  stream: IncomingStream
}

export const identity = {
  keyHash: 'hash',
  keyAlias: null,
  models: [],
  aliases: {},
  tags: [],
  spend: 5_000_000_000,
  maxBudget: null,
  tpmLimit: null,
  rpmLimit: null,
  limits: [],
  enforcedParams: [],
  estimatedOutputTokens: null,
  estimatedOutputTokensPerModel: {},
  projectId: null,
  metadata: {},
  userId: null,
  teamId: null,
  organizationId: null,
} as unknown as Identity

export const settings = {
  numRetries: 2,
  timeout: 60_000,
  streamTimeout: 10_000,
  stallTimeout: 5_000,
  retryAfter: 0,
  modelGroupAlias: {},
  maxRequestBytes: 1_000_000,
  customerLimits: false,
  tagLimits: false,
  holdOutputTokens: 1_000,
  countersAway: 'refuse',
  providerBudgets: [],
  enforcedParams: [],
  serviceAccountEnforcedParams: [],
  customerHeaders: [],
  routing: DEFAULT_ROUTING,
  cache: null,
} as unknown as RuntimeSettings

export function deployment(id: string, fields: Partial<Deployment> = {}): Deployment {
  return {
    ...PLAIN_DEPLOYMENT,
    id,
    modelGroup: 'gpt',
    provider: 'openai',
    model: 'gpt-4o',
    apiBase: `http://${id}.test/v1`,
    apiKey: 'k',
    prices: { rateVersion: 'r1', input: 2_000_000_000, output: 8_000_000_000 },
    ...fields,
  }
}

export function make(
  deployments: Deployment[] = [deployment('one')],
  changes: Partial<RuntimeSettings> = {},
  others: (clock: TestClock, own: HandleDeps) => Partial<HandleDeps> = () => ({}),
  random: () => number = () => 0,
) {
  const clock: TestClock = testClock()
  const sent: Sent[] = []
  const events: UsageEvent[] = []
  const intents: UsageEvent[] = []
  const http: HttpClient = {
    send(request, sink) {
      const call: Sent = { request, sink, paused: false, aborted: false }
      sent.push(call)
      return {
        pause: () => {
          call.paused = true
        },
        resume: () => {
          call.paused = false
        },
        abort: () => {
          call.aborted = true
        },
        sent: true,
      }
    },
    close: async () => {},
  }
  const states = createStates({ clock })
  states.use(deployments, { ...DEFAULT_ROUTING, ...changes.routing })
  const runtime = compileRuntime(
    { v: 1, revision: 1, deployments, settings: { ...settings, ...changes } },
    {
      providers: createProviders(),
      sealer: createSealer(null),
      env: {},
      catalog: { prices: () => null, facts: () => null },
      states,
    },
  )
  const affinity = createAffinity({ clock })
  const own: HandleDeps = {
    routerId: 'router-1',
    codec: createCodec(),
    runtime: () => runtime,
    spool: {
      append: (event, written) => {
        events.push(event)
        written?.()
      },
      intend: (event, written) => {
        intents.push(event)
        written?.()
      },
    },
    tokens: { count: async (text) => Math.ceil(text.length / 4) },
    admission: {
      admit: () => null,
      enter: async () => null,
      leave() {},
      rehold: () => true,
      again: () => true,
      settle() {},
      running: 0,
      stop: async () => {},
    },
    selector: createSelector({ clock, random, states, affinity, observe: noObserver, log: silentLog }),
    affinity,
    waiting: createWaitingRoom({ clock }),
    mirroring: { mirror() {} },
    idempotency: { begin: () => null },
    cache: noResponseCache,
    observe: noObserver,
    random,
    log: silentLog,
    http,
    clock,
    wheel: new DeadlineWheel(clock),
    responses: createResponses({ store: createMemoryResponses({ clock }), sealer: createSealer('test'), clock, log: silentLog }),
  }
  const handle = createHandle({ ...own, ...others(clock, own) })

  function call(body: Record<string, unknown> | string, fields: Partial<CallMessage> = {}): Client & { done: Promise<void> } {
    const client: Client = {
      head: null,
      text: '',
      ended: false,
      error: null,
      keepsUp: true,
      ends: 0,
      late: 0,
      stream: null as unknown as IncomingStream,
    }
    const over = () => client.ends > 0 || client.stream.closed
    const end = () => {
      if (over()) client.late += 1
      client.ends += 1
    }
    const add = (bytes: Uint8Array) => {
      if (over()) client.late += 1
      client.text += Buffer.from(bytes).toString()
    }
    const head: CallMessage = { v: 1, callId: 'call-1', take: 1, endpoint: 'acompletion', identity, headers: {}, ...fields }
    client.stream = {
      id: 'call-1',
      head,
      deadline: 600_000,
      body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)),
      closed: false,
      onWritable: null,
      onCancel: null,
      receive: (take) => receiveWhole(Buffer.alloc(0), take),
      collect: () => Promise.reject(new GatewayError('internal')),
      refuse: (error) => {
        end()
        client.error = error
      },
      start: (started) => {
        if (over() || client.head !== null) client.late += 1
        client.head = started
      },
      data: (bytes) => {
        add(bytes)
        return client.keepsUp
      },
      end: () => {
        end()
        client.ended = true
      },
      fail: (error) => {
        end()
        client.error = error
      },
      whole: (started, bytes) => {
        client.head = started
        add(bytes)
        end()
        client.ended = true
      },
    }
    const done = new Promise<void>((resolve) => handle(client.stream, resolve))
    return Object.assign(client, { done })
  }
  return { clock, sent, events, intents, call, handle, states, wheel: own.wheel }
}

export const chat = { model: 'gpt', messages: [{ role: 'user', content: 'hi' }] }
export const answer = (fields = {}) =>
  Buffer.from(
    JSON.stringify({
      id: 'x',
      object: 'chat.completion',
      created: 1,
      model: 'gpt-4o-2024',
      choices: [{ index: 0, message: { role: 'assistant', content: 'hello' }, finish_reason: 'stop' }],
      usage: { prompt_tokens: 100, completion_tokens: 50, total_tokens: 150 },
      ...fields,
    }),
  )
export const sse = (payload: unknown) =>
  Buffer.from(`data: ${typeof payload === 'string' ? payload : JSON.stringify(payload)}\n\n`)
export const delta = (content: string, finish: string | null = null) =>
  sse({
    id: 'x',
    object: 'chat.completion.chunk',
    created: 1,
    model: 'gpt-4o',
    choices: [{ index: 0, delta: { content }, finish_reason: finish }],
  })
export const STREAM = { 'content-type': 'text/event-stream' }
export const JSON_TYPE = { 'content-type': 'application/json' }
export const settled = () => new Promise<void>((resolve) => setImmediate(resolve))
