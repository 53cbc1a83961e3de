import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { AdminMessage } from '../proto/admin.ts'
import type { CallMessage } from '../proto/call.ts'
import { type Deployment, PLAIN_DEPLOYMENT, type RuntimeSettings, type RuntimeSnapshot } from '../proto/deployment.ts'
import { adminIdentity, type Identity, type IdentityRequest } from '../proto/identity.ts'
import { DEFAULT_ROUTING } from '../proto/routing.ts'
import { QUEUE } from '../proto/subjects.ts'
import type { Bus, IncomingStream } from '../shared/bus/bus.ts'
import { createMemoryHub, type MemoryHub } from '../shared/bus/memory.ts'
import { type Clock, systemClock } from '../shared/clock.ts'
import { hashKey } from '../shared/config/secrets.ts'
import { type Log, silentLog } from '../shared/log.ts'
import { createMetrics } from '../shared/metrics.ts'
import type { Tracer } from '../shared/tracer.ts'
import { createEdge, EDGE_DEFAULTS, type Edge, type EdgeSettings } from './edge.ts'

/** What the tests of the edge share: an identity, a runtime, and an edge on a memory bus whose other side the test plays. */

export const KEY = 'sk-edge-test-key-0001'

export function identityOf(fields: Partial<Identity> = {}): Identity {
  return { ...adminIdentity(hashKey(KEY)), keyName: 'sk-...0001', role: 'internal_user', userId: null, ...fields }
}

export function deploymentOf(fields: Partial<Deployment>): Deployment {
  return {
    ...PLAIN_DEPLOYMENT,
    id: 'd1',
    modelGroup: 'gpt-test',
    provider: 'openai',
    model: 'gpt-test',
    ...fields,
  }
}

export function runtimeOf(deployments: Deployment[], settings: Partial<RuntimeSettings> = {}): RuntimeSnapshot {
  return {
    v: 1,
    revision: 1,
    deployments,
    settings: {
      numRetries: 0,
      timeout: 60_000,
      streamTimeout: 60_000,
      stallTimeout: 60_000,
      retryAfter: 0,
      modelGroupAlias: {},
      dropParams: false,
      alwaysIncludeStreamUsage: false,
      maxRequestBytes: 64 * 1024 * 1024,
      allowClientSideCredentials: false,
      keyHeaderName: null,
      customerLimits: false,
      tagLimits: false,
      holdOutputTokens: 4096,
      countersAway: 'refuse',
      providerBudgets: [],
      enforcedParams: [],
      serviceAccountEnforcedParams: [],
      enforceUserParam: false,
      rejectClientTags: false,
      customerHeaders: [],
      requireAuthForMetrics: false,
      allowedRoutes: [],
      publicRoutes: [],
      open: false,
      routing: DEFAULT_ROUTING,
      cache: null,
      ...settings,
    },
  }
}

export interface Scene {
  hub: MemoryHub
  edge: Edge
  router: Bus
  accounting: Bus
  /** Identity requests accounting got. */
  readonly questions: number
  stop(): Promise<void>
}

export interface SceneOptions {
  settings?: Partial<EdgeSettings>
  clock?: Clock
  log?: Log
  tracer?: Tracer
  /** Null = nothing has been published. */
  runtime?: RuntimeSnapshot | null
  /** Key → identity; default: KEY is known. */
  identities?: Record<string, Identity>
  route?: (stream: IncomingStream, call: CallMessage) => void
  manage?: (stream: IncomingStream, message: AdminMessage) => void
}

/** An edge with a router and accounting played by the test, on a strict memory bus. */
export async function startScene(options: SceneOptions = {}): Promise<Scene> {
  const clock = options.clock ?? systemClock
  const log = options.log ?? silentLog
  const hub = createMemoryHub({ clock, log, strict: true })
  const [edgeBus, router, accounting] = [hub.join('edge'), hub.join('router'), hub.join('accounting')]
  const identities = new Map(
    Object.entries(options.identities ?? { [KEY]: identityOf() }).map(([key, value]) => [hashKey(key), value]),
  )
  let questions = 0
  const runtime = options.runtime === undefined ? runtimeOf([deploymentOf({})]) : options.runtime
  if (runtime !== null) await (await accounting.bucket(accounting.subjects.runtimeBucket)).put('runtime', runtime)
  accounting.respond(accounting.subjects.identity, QUEUE.accounting, async (payload) => {
    questions += 1
    const identity = identities.get((payload as IdentityRequest).keyHash)
    return identity === undefined ? { v: 1, unknown: true } : { v: 1, identity }
  })
  const { route, manage } = options
  if (route !== undefined) {
    router.serve(router.subjects.call('default'), QUEUE.router, (stream) => route(stream, stream.head as CallMessage))
  }
  if (manage !== undefined) {
    accounting.serve(accounting.subjects.admin, QUEUE.accounting, (stream) => manage(stream, stream.head as AdminMessage))
  }
  router.beat({})
  accounting.beat({ db: 'connected' })
  const edge = await createEdge({
    bus: edgeBus,
    clock,
    log,
    metrics: createMetrics(),
    tracer: options.tracer ?? null,
    settings: { ...EDGE_DEFAULTS, host: '127.0.0.1', port: 0, idleGrace: 0, ...options.settings },
  })
  return {
    hub,
    edge,
    router,
    accounting,
    get questions() {
      return questions
    },
    async stop() {
      await edge.stop()
      await hub.close()
    },
  }
}

/** A raw connection that keeps all it hears. */
export interface RawClient {
  readonly socket: Socket
  /** All that came so far, one character per byte. */
  readonly received: string
  send(bytes: string | Uint8Array): void
  /** Resolves when what came fits `pattern`, rejects when the connection ends before. */
  until(pattern: RegExp): Promise<RegExpMatchArray>
  /** Resolves when what came ends with `text`: for answers too long for a pattern at every step. */
  untilEnd(text: string): Promise<void>
  /** Resolves with everything once the server closed. */
  closed(): Promise<string>
  end(): void
}

export async function connectRaw(port: number): Promise<RawClient> {
  const socket = connect(port, '127.0.0.1')
  let received = ''
  let over = false
  let wake: () => void = () => {}
  socket.on('data', (chunk: Buffer) => {
    received += chunk.toString('latin1')
    wake()
  })
  socket.on('error', () => {})
  socket.on('close', () => {
    over = true
    wake()
  })
  await once(socket, 'connect')
  const change = () =>
    new Promise<void>((resolve) => {
      wake = resolve
    })
  return {
    socket,
    get received() {
      return received
    },
    send: (bytes) => void socket.write(bytes),
    async until(pattern) {
      for (;;) {
        const found = received.match(pattern)
        if (found !== null) return found
        if (over) throw new Error(`the connection ended before ${pattern}; got ${JSON.stringify(received.slice(0, 2000))}`)
        await change()
      }
    },
    async untilEnd(text) {
      while (!received.endsWith(text)) {
        if (over) throw new Error(`the connection ended after ${received.length} bytes, without ${JSON.stringify(text)}`)
        await change()
      }
    },
    async closed() {
      while (!over) await change()
      return received
    },
    end: () => socket.destroy(),
  }
}

/** A request as text: headers given, host and key added. */
export function requestText(method: string, path: string, headers: Record<string, string> = {}, body = ''): string {
  const all: Record<string, string> = { host: 'edge', ...headers }
  if (body !== '') all['content-length'] ??= String(Buffer.byteLength(body))
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`)
  return `${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n${body}`
}

/** A chat request with the test's key. */
export function chatText(body = '{"model":"gpt-test"}', headers: Record<string, string> = {}): string {
  return requestText('POST', '/v1/chat/completions', { authorization: `Bearer ${KEY}`, ...headers }, body)
}
