import type { CallMessage } from '../proto/call.ts'
import type { Deployment, RuntimeSnapshot } from '../proto/deployment.ts'
import { DEFAULT_ROUTING } from '../proto/routing.ts'
import { socketEndpoint } from '../proto/sockets.ts'
import { QUEUE } from '../proto/subjects.ts'
import type { UsageEvent } from '../proto/usage.ts'
import { readable } from '../proto/version.ts'
import type { Bus, IncomingStream, Service } from '../shared/bus/bus.ts'
import { createCodec } from '../shared/bus/codec.ts'
import type { Catalog } from '../shared/catalog/catalog.ts'
import type { ProviderRow } from '../shared/catalog/providers.ts'
import { type Clock, DeadlineWheel } from '../shared/clock.ts'
import type { Sealer } from '../shared/config/secrets.ts'
import { type Counters, leaseId } from '../shared/counters/counters.ts'
import { GatewayError, toWire } from '../shared/errors.ts'
import type { HttpClient } from '../shared/http/client.ts'
import { createSockets, type OpenSocket } from '../shared/http/websocket.ts'
import type { IdempotencyStore } from '../shared/idempotency/store.ts'
import { callId } from '../shared/ids.ts'
import type { Log } from '../shared/log.ts'
import type { Tracer } from '../shared/tracer.ts'
import { createAdmission } from './admission/admission.ts'
import { createLimitSource } from './admission/limit-source.ts'
import { createEmbed, createEmbedTexts } from './cache/embed.ts'
import { createResponseCache, type ResponseCacheDeps } from './cache/response-cache.ts'
import { askAs, createCarry } from './carried/carry.ts'
import { createFinder } from './carried/finder.ts'
import { CARETAKER, serveSettling } from './carried/object-tools.ts'
import { createTokenCounter } from './count-tokens.ts'
import { createTokens } from './credentials/tokens.ts'
import { describeModels } from './describe-models.ts'
import { createHandle } from './handle.ts'
import { createHandlerLoader } from './handlers/load.ts'
import { createIdempotency, KEEP_DEFAULT } from './idempotency.ts'
import { createInternalCalls } from './internal-call.ts'
import { createLoopLag } from './loop-lag.ts'
import { noObserver, type Observer } from './observe.ts'
import { createProviders } from './providers/index.ts'
import type { Provider } from './providers/provider.ts'
import { createRealtime, siblingRoute } from './realtime/realtime.ts'
import { createBackground } from './responses/background.ts'
import { createMemoryResponses } from './responses/memory.ts'
import { createRedisResponses } from './responses/redis.ts'
import { createResponses } from './responses/turn.ts'
import { createResponsesSocket } from './responses-socket/responses-socket.ts'
import { createAffinity } from './routing/affinity.ts'
import { createAutoRouting } from './routing/auto/choose.ts'
import { createHealthChecks } from './routing/health-checks.ts'
import { createMirror } from './routing/mirror.ts'
import { createNews } from './routing/news.ts'
import { reportStates } from './routing/report-states.ts'
import { createSelector } from './routing/select.ts'
import { createStates, type States } from './routing/states.ts'
import { createWaitingRoom } from './routing/waiting.ts'
import { compileRuntime, type Route, type RouterRuntime } from './runtime.ts'
import { openSpool } from './spool.ts'
import { createRouterTrace } from './trace.ts'
import { withWord } from './try-route.ts'

export interface RouterDeps {
  bus: Bus
  http: HttpClient
  /** Default: over the network. */
  sockets?: OpenSocket
  sealer: Sealer
  catalog: Catalog
  clock: Clock
  log: Log
  /** The caller's to close. */
  counters: Counters
  /** The caller's to close. */
  idempotency: IdempotencyStore
  /** Environment, for provider keys no deployment names. */
  env: Readonly<Record<string, string | undefined>>
  random(): number
  settings: RouterProcessSettings
  observe?: Observer
  /** Default: nothing is traced. */
  tracer?: Tracer | null
  /** Redis of the counters and its address, and where and how a response cache counts and keeps. */
  cache: Pick<ResponseCacheDeps, 'redis' | 'redisUrl' | 'prefix' | 'directory' | 'counts'>
}

export interface RouterProcessSettings {
  /** Queue lanes this router serves. */
  lanes: string[]
  spoolDirectory: string
  /** Where relative files of `custom_provider_map` are; absent = the working directory. */
  handlersDirectory?: string
  spoolMaxBytes: number
  /** Calls at once; past it new ones are refused as `overloaded` and go to another router. */
  maxCalls: number
  /** Milliseconds answers under an Idempotency-Key are kept. */
  idempotencyKeep: number
}

export const ROUTER_DEFAULTS = {
  lanes: ['default'],
  spoolMaxBytes: 1024 * 1024 * 1024,
  maxCalls: 20_000,
  idempotencyKeep: KEEP_DEFAULT,
} as const

/**
 * Milliseconds of event-loop lag from which offers are refused: an edge offers a call again after ACCEPT_LIMIT (2 s), so serving what has waited
 * nearly that long is work done twice, and a router that does it falls further behind.
 */
const LAG_LIMIT = 1_500

export interface Router {
  readonly id: string
  /** Serving: the runtime is mirrored, the spool has room, the bus is there. */
  ready(): boolean
  /** Why not, for the readiness page. */
  problem(): string | null
  readonly inFlight: number
  readonly spoolPending: number
  /** What is known of every deployment. */
  readonly states: Pick<States, 'view'>
  /** Leaves the queue group, lets running calls end, delivers usage; milliseconds. */
  drain(limit: number): Promise<void>
  stop(): Promise<void>
}

/** Serves calls from the queue group until drained. Resolves once the runtime is mirrored and the queue group joined. */
export async function createRouter(deps: RouterDeps): Promise<Router> {
  const { bus, clock, log, settings } = deps
  let runtime: RouterRuntime | null = null
  let published: RuntimeSnapshot | null = null
  let inFlight = 0
  let draining = false
  let idle: (() => void) | null = null

  const codec = createCodec()
  const lag = createLoopLag(clock)
  const spool = openSpool<UsageEvent>({
    directory: settings.spoolDirectory,
    // JSON: half the time of msgpack for a message of many small fields, and a person can read what was left behind.
    encode: (event) => JSON.stringify(event),
    decode: (text) => JSON.parse(text) as UsageEvent,
    idOf: ({ callId, take }) => leaseId(callId, take),
    deliver: (batch) => bus.append(bus.id, batch),
    clock,
    log,
    maxBytes: settings.spoolMaxBytes,
  })
  const trace = deps.tracer == null ? null : createRouterTrace(deps.tracer)
  const observe = trace?.observe(deps.observe ?? noObserver) ?? deps.observe ?? noObserver
  const states = createStates({ clock })
  const news = createNews({ bus, clock, news: states.news, log })
  const reports = reportStates({ bus, view: () => states.view() })
  const affinity = createAffinity({ clock })
  const selector = createSelector({ clock, random: deps.random, states, affinity, observe, log })
  let providers = createProviders()
  let ownProviders = '{}'
  const handlers = createHandlerLoader({ directory: settings.handlersDirectory ?? '.' })
  let handled: ReadonlyMap<string, Provider> = new Map()
  /** Of the newest runtime: a module that was still loading when it came belongs to one that holds no more. */
  let turns = 0
  let loading: Promise<void> = Promise.resolve()
  let refusedRuntime: string | null = null
  const compileDeps = {
    providers: { get: (name: string) => handled.get(name) ?? providers.get(name) },
    sealer: deps.sealer,
    env: deps.env,
    catalog: deps.catalog,
    states,
    tokens: createTokens({ http: deps.http }),
  }
  const bucket = await bus.bucket(bus.subjects.runtimeBucket)
  const refuseRuntime = (snapshot: RuntimeSnapshot, thrown: unknown): void => {
    refusedRuntime = thrown instanceof Error ? thrown.message : String(thrown)
    log.error({ error: refusedRuntime, revision: snapshot.revision }, 'the new runtime is refused; the old one stays')
  }
  const useRuntime = (snapshot: RuntimeSnapshot, found: ReadonlyMap<string, Provider>): void => {
    const before = handled
    handled = found
    try {
      const added = JSON.stringify(snapshot.providers ?? {})
      if (added !== ownProviders) {
        providers = createProviders(snapshot.providers as unknown as Record<string, ProviderRow>)
        ownProviders = added
      }
      runtime = compileRuntime(snapshot, compileDeps)
      published = snapshot
      refusedRuntime = null
      const routing = snapshot.settings.routing ?? DEFAULT_ROUTING
      states.use(snapshot.deployments, routing)
      void selector.use(routing)
      for (const route of runtime.routes) {
        if (route.problem !== null)
          log.warn(
            { deployment: route.deployment.id, modelGroup: route.deployment.modelGroup, problem: route.problem },
            'a deployment cannot serve',
          )
      }
      log.info({ revision: snapshot.revision, deployments: snapshot.deployments.length }, 'runtime in force')
    } catch (thrown) {
      handled = before
      refuseRuntime(snapshot, thrown)
    }
  }
  const mirror = await bucket.mirror('runtime', (value) => {
    if (value === undefined) return
    const snapshot = value as RuntimeSnapshot
    if (!readable(snapshot.v)) {
      log.error({ version: snapshot.v }, 'the runtime is of a newer version than this router can read; the old one stays')
      return
    }
    const turn = ++turns
    const { handlers: files } = snapshot.settings
    if (files === undefined) {
      useRuntime(snapshot, new Map())
      return
    }
    loading = handlers.providers(files).then(
      (found) => {
        if (turn === turns) useRuntime(snapshot, found)
      },
      (thrown: unknown) => {
        if (turn === turns) refuseRuntime(snapshot, thrown)
      },
    )
  })
  await loading

  const waiting = createWaitingRoom({ clock })
  const admission = createAdmission({
    freed: (group) => waiting.wake(group),
    bus,
    counters: deps.counters,
    limits: createLimitSource({ bus, clock, log }),
    clock,
    log,
  })
  const idempotency = createIdempotency({ store: deps.idempotency, clock, log, keep: settings.idempotencyKeep })
  const wheel = new DeadlineWheel(clock)
  const internal = createInternalCalls({ take: (incoming) => take(incoming), clock, newId: callId })
  const cache = createResponseCache({
    ...deps.cache,
    bus,
    settings: () => runtime?.settings.cache ?? null,
    clock,
    log,
    http: deps.http,
    sealer: deps.sealer,
    env: deps.env,
    embed: createEmbed(internal),
  })
  const autoRouting = createAutoRouting({ embed: createEmbedTexts(internal, 'auto_router_of'), log })
  const mirroring = createMirror({ calls: internal, log })
  const { redis, prefix } = deps.cache
  const store = redis === null ? createMemoryResponses({ clock }) : createRedisResponses({ redis, prefix })
  const background = createBackground({ store, internal, clock, log })
  const responses = createResponses({ store, sealer: deps.sealer, clock, log, background: true })
  const handle = createHandle({
    autoRouting,
    responses,
    background,
    cache,
    mirroring,
    admission,
    selector,
    affinity,
    waiting,
    idempotency,
    routerId: bus.id,
    codec,
    runtime: () => runtime as RouterRuntime,
    spool,
    tokens: createTokenCounter(),
    observe,
    trace,
    random: deps.random,
    log,
    http: withWord(deps.http, spool),
    clock,
    wheel,
  })
  const compile = (deployment: Deployment): Route => {
    const alone = { ...(published as RuntimeSnapshot), deployments: [deployment] }
    return compileRuntime(alone, compileDeps).routes[0] as Route
  }
  const carry = createCarry({
    routerId: bus.id,
    http: deps.http,
    clock,
    wheel,
    codec,
    sealer: deps.sealer,
    kept: store,
    bus,
    inForce: () => ({ runtime: runtime as RouterRuntime, snapshot: published as RuntimeSnapshot }),
    compile,
    admission,
    spool,
    observe,
    trace,
    log,
  })
  const settling = serveSettling({
    bus,
    settling: () => {
      const found = { runtime: runtime as RouterRuntime, snapshot: published as RuntimeSnapshot }
      const { byDeployment } = createFinder({ identity: CARETAKER }, { ...found, compile })
      const ask = askAs({ http: deps.http, clock })
      const book = (event: UsageEvent): void => spool.append(event, () => undefined)
      return { byDeployment, ask, book, routes: found.runtime.routes, routerId: bus.id, now: () => clock.now() }
    },
    log,
  })
  const describing = describeModels({
    bus,
    providers: compileDeps.providers,
    snapshot: () => published,
    compile,
    http: deps.http,
    clock,
  })
  const realtime = createRealtime({
    routerId: bus.id,
    sockets: deps.sockets ?? createSockets({ clock }),
    clock,
    codec,
    runtime: () => runtime as RouterRuntime,
    routeOf: (route, model) => siblingRoute(compile, route, model),
    admission,
    selector,
    spool,
    observe,
    newId: callId,
    random: deps.random,
    log,
  })
  const responsesSocket = createResponsesSocket({ take: (incoming) => take(incoming), clock, newId: callId, sealer: deps.sealer })
  const sessions = { realtime, responses: responsesSocket }
  const checks = createHealthChecks({
    bus,
    inForce: () => (runtime === null || published === null ? null : { runtime, deployments: published.deployments }),
    compile,
    states,
    selector,
    spool,
    http: deps.http,
    clock,
    wheel,
    newId: callId,
    random: deps.random,
    log,
  })

  const refusal = (): GatewayError | null => {
    if (draining) return new GatewayError('draining')
    if (runtime === null) return new GatewayError('overloaded', 'The router has no runtime yet.')
    if (inFlight >= settings.maxCalls) return new GatewayError('overloaded')
    if (spool.full) return new GatewayError('overloaded', 'Usage events cannot be stored; taking no new calls.')
    if (lag.now() > LAG_LIMIT) return new GatewayError('overloaded', 'The router is behind.')
    return null
  }

  const take = (incoming: IncomingStream): void => {
    const refused = refusal()
    if (refused !== null) {
      incoming.refuse(toWire(refused))
      return
    }
    inFlight += 1
    const message = incoming.head as CallMessage
    const socket = message.carried === undefined ? undefined : socketEndpoint(message.endpoint)
    const serve = message.carried === undefined ? handle : socket === undefined ? carry : sessions[socket.protocol].serve
    serve(incoming, () => {
      inFlight -= 1
      if (inFlight === 0) idle?.()
    })
  }

  const services: Service[] = settings.lanes.map((lane) => bus.serve(bus.subjects.call(lane), QUEUE.router, take))
  const beat = clock.every(1_000, () => {
    bus.beat(fields())
    const savings = affinity.savings()
    if (savings.calls > 0) observe.savings(savings)
    observe.mirroring(mirroring)
    cache.closeUnused()
  })
  const fields = (): Record<string, number | string | boolean> => ({ inFlight, draining, ready: ready(), spool: spool.pending })
  const problem = (): string | null => {
    if (draining) return 'draining'
    if (runtime === null) return refusedRuntime ?? 'no runtime yet'
    if (spool.full) return 'the spool is full'
    return bus.ready ? null : 'the bus is away'
  }
  const ready = (): boolean => problem() === null
  bus.beat(fields())

  const drain = async (limit: number): Promise<void> => {
    if (draining) return
    draining = true
    bus.beat(fields())
    const until = clock.monotonic() + limit
    realtime.drain(limit)
    responsesSocket.drain(limit)
    await Promise.all([checks.stop(), describing.stop(), settling.stop(), ...services.map((service) => service.stop())])
    if (inFlight > 0) {
      await new Promise<void>((resolve) => {
        const timer = clock.after(limit, resolve)
        idle = () => {
          timer.cancel()
          resolve()
        }
      })
    }
    await background.drain(Math.max(0, until - clock.monotonic()))
    const left = await spool.flush(Math.max(2_000, until - clock.monotonic()))
    if (left > 0) log.warn({ events: left }, 'usage events stay in the spool for the next start')
  }

  return {
    id: bus.id,
    states,
    ready,
    problem,
    get inFlight() {
      return inFlight
    },
    get spoolPending() {
      return spool.pending
    },
    drain,
    async stop() {
      await drain(0)
      beat.cancel()
      lag.stop()
      idempotency.stop()
      await cache.stop()
      waiting.stop()
      await news.stop()
      await reports.stop()
      await admission.stop()
      await mirror.stop()
      spool.close()
    },
  }
}
