import { asEndpoint, type CarrierName } from '../proto/carried.ts'
import type { RuntimeSnapshot } from '../proto/deployment.ts'
import { BEAT_INTERVAL } from '../proto/frames.ts'
import { PRODUCT_VERSION, readable } from '../proto/version.ts'
import type { Bus } from '../shared/bus/bus.ts'
import { createCodec } from '../shared/bus/codec.ts'
import type { Clock } from '../shared/clock.ts'
import { GatewayError, toGatewayError } from '../shared/errors.ts'
import type { Log } from '../shared/log.ts'
import type { Metrics } from '../shared/metrics.ts'
import type { Tracer } from '../shared/tracer.ts'
import { createAdmin } from './admin.ts'
import { answerError } from './answer.ts'
import { createAuthenticate } from './auth/authenticate.ts'
import { HEALTH_GROUPS, MODELS_GROUPS } from './auth/check-identity.ts'
import { createKeyGuesses } from './auth/key-guesses.ts'
import { createIdentities, type IdentitySettings } from './auth/virtual-key.ts'
import { compressedBody } from './body.ts'
import { type ConfiguredRoutes, configuredRoutes } from './configured-routes.ts'
import { answerPreflight, corsHeaders } from './cors.ts'
import type { Exchange } from './exchange.ts'
import { answerLiveness, answerReadiness, readiness } from './health.ts'
import { createInference, type ObservedCall, readsHeader, withoutKeys } from './inference.ts'
import { answerMetrics } from './metrics.ts'
import { answerModel, answerModels } from './models.ts'
import { createObserver } from './observe.ts'
import { createRealtime } from './realtime.ts'
import { createRefusals } from './refusals.ts'
import { createRoutes, methodsOf, type Target } from './routes.ts'
import { createServer, type ServerSettings } from './server.ts'
import { createTraceObserver } from './trace.ts'

export interface EdgeSettings extends ServerSettings, IdentitySettings {
  /** Most milliseconds any call may take, whatever settings or client say. */
  callLimit: number
}

export const EDGE_DEFAULTS: EdgeSettings = {
  host: '0.0.0.0',
  port: 4000,
  tls: null,
  bodyLimit: 128 * 1024 * 1024,
  headerLimit: 64 * 1024,
  bodyTimeout: 30_000,
  stallTimeout: 120_000,
  idleGrace: 2_000,
  socketGrace: 30_000,
  identityTtl: 60_000,
  identityStaleTtl: 3_600_000,
  identityNegativeTtl: 5_000,
  identityCacheSize: 100_000,
  identityTimeout: 2_000,
  callLimit: 6_000_000,
}

/** Whose requests go on as they came. */
const FORWARDED: ReadonlySet<CarrierName> = new Set(['pass-through', 'configured'])
const ANSWER_HEADERS = { 'x-litellm-version': PRODUCT_VERSION }

export interface EdgeDeps {
  bus: Bus
  clock: Clock
  log: Log
  metrics: Metrics
  settings: EdgeSettings
  /** Default: nothing is traced. */
  tracer?: Tracer | null
  /** Default: over HTTP. Another one hands over exchanges of its own (deploy/simulation). */
  listen?: typeof createServer
}

export interface Edge {
  readonly port: number
  /** Whether calls can be served now. */
  ready(): boolean
  /** Stops listening, tells load balancers so, and waits for running answers, at most `limit` milliseconds. */
  drain(limit: number): Promise<void>
  stop(): Promise<void>
}

/** The edge: HTTP in, frames out. Resolves when it listens; rejects when the port is taken. */
export async function createEdge(deps: EdgeDeps): Promise<Edge> {
  const { bus, clock, log, metrics, settings, tracer = null, listen = createServer } = deps
  let runtime: RuntimeSnapshot | null = null
  let draining = false
  let configured: ConfiguredRoutes = configuredRoutes([])
  const refusals = createRefusals({ bus, clock })
  const mirror = await (await bus.bucket(bus.subjects.runtimeBucket)).mirror('runtime', (value) => {
    const snapshot = value as RuntimeSnapshot | undefined
    refusals.clear()
    if (snapshot !== undefined && readable(snapshot.v)) {
      runtime = snapshot
      configured = configuredRoutes(snapshot.settings.configuredEndpoints ?? [])
    }
  })
  const runtimeSettings = () => runtime?.settings ?? null
  const guesses = createKeyGuesses({ clock, settings: runtimeSettings, metrics })
  const identities = createIdentities({ bus, clock, log, settings, guesses })
  const authenticate = createAuthenticate({ identities, clock, settings: runtimeSettings })
  const count = createObserver(metrics)
  const traced = tracer === null ? null : createTraceObserver(tracer, clock)
  const observe = (observed: ObservedCall): void => {
    count(observed)
    if (observed.trace !== null) traced?.(observed)
  }
  const calling = {
    bus,
    codec: createCodec(),
    clock,
    log,
    authenticate,
    refusals,
    settings: runtimeSettings,
    observe,
    tracer,
    callLimit: settings.callLimit,
  }
  const infer = createInference(calling)
  const realtime = createRealtime(calling)
  const admin = createAdmin({ bus, identities, guesses, settings: runtimeSettings })
  const routeOf = createRoutes()

  function handle(exchange: Exchange): void {
    exchange.answerHeaders = ANSWER_HEADERS
    const target = routeOf(exchange.path, exchange.method) ?? configured(exchange.path)
    const compressed = compressedBody(exchange)
    if (compressed !== null && !(target?.kind === 'carried' && FORWARDED.has(target.endpoint.carrier))) {
      answerError(exchange, compressed)
    } else if (target?.kind === 'inference' && exchange.method === 'POST') void infer(exchange, target.endpoint, target.model)
    else if (target?.kind === 'carried' && target.endpoint.methods.includes(exchange.method)) {
      const { endpoint, params } = target
      const { method, path, query } = exchange
      const isTheirs = endpoint.carrier === 'pass-through' && runtime?.settings.clientCredentials === true
      void infer(exchange, asEndpoint(endpoint), null, {
        method,
        path,
        query: isTheirs ? query : withoutKeys(query),
        params,
        pattern: endpoint.path,
        groups: endpoint.groups,
        ...(isTheirs ? { ownCredentials: true as const, isOpen: true } : {}),
        ...(endpoint.carrier === 'pass-through' ? { key: { in: endpoint.keyIn ?? null, header: null } } : {}),
        ...target.access,
      })
    } else if (!answerPreflight(exchange)) void answer(exchange, target)
  }

  async function answer(exchange: Exchange, target: Target | null): Promise<void> {
    try {
      if (target === null) return await admin(exchange)
      const methods = methodsOf(target)
      if (methods.includes(exchange.method)) return await serve(exchange, target)
      answerError(exchange, new GatewayError('method_not_allowed'), { allow: methods.join(', ') })
    } catch (thrown) {
      const error = toGatewayError(thrown)
      if (error.code === 'internal') log.error({ err: error.cause, path: exchange.path }, 'a request failed inside the edge')
      answerError(exchange, error)
    }
  }

  async function serve(exchange: Exchange, target: Target): Promise<void> {
    switch (target.kind) {
      case 'inference':
      case 'carried':
        return
      case 'liveness':
        return answerLiveness(exchange, draining)
      case 'readiness':
        return answerReadiness(exchange, readiness(bus, runtime, draining))
      case 'models':
        return answerModels(exchange, mirrored(), await authenticate(exchange, MODELS_GROUPS))
      case 'model':
        return answerModel(exchange, mirrored(), await authenticate(exchange, MODELS_GROUPS), target.model)
      // Clients' word about themselves to their vendor (Claude Code): nobody reads it here, and they shall not try again.
      case 'telemetry':
        return exchange.respond(200, { 'content-type': 'application/json' }, '{}')
      case 'metrics':
        if (runtime?.settings.requireAuthForMetrics === true) await authenticate(exchange, HEALTH_GROUPS)
        return answerMetrics(exchange, metrics)
    }
  }

  function mirrored(): RuntimeSnapshot {
    if (runtime === null)
      throw new GatewayError('overloaded', 'No configuration has arrived yet. Retry later.', { retryAfter: 1000 })
    return runtime
  }

  const reads = (name: string) => readsHeader(name, runtime?.settings ?? null)
  const copies = (method: string, path: string) => (method === 'POST' && routeOf(path)?.kind === 'inference' ? reads : null)
  const server = await listen({
    settings,
    clock,
    log,
    handler: handle,
    copies,
    extraHeaders: corsHeaders,
    sockets: realtime,
  })
  metrics.onScrape(() => metrics.inFlight.with({}).set(server.running))
  const beats = clock.every(BEAT_INTERVAL, () =>
    bus.beat({ inFlight: server.running, connections: server.connections, version: PRODUCT_VERSION, draining }),
  )
  log.info({ host: settings.host, port: server.port, tls: settings.tls !== null }, 'edge listens')

  return {
    port: server.port,
    ready: () => readiness(bus, runtime, draining).ready,
    async drain(limit) {
      draining = true
      await server.drain(limit)
    },
    async stop() {
      beats.cancel()
      server.stop()
      await Promise.all([identities.stop(), refusals.stop(), realtime.stop(), mirror.stop()])
    },
  }
}
