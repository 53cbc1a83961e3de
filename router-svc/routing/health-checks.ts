import type { Deployment, RuntimeSettings } from '../../proto/deployment.ts'
import { CHECKS_MAX, type HealthCheck, type HealthReply, type HealthRequest } from '../../proto/health.ts'
import { adminIdentity } from '../../proto/identity.ts'
import type { HealthCheckSettings, RoutingNews } from '../../proto/routing.ts'
import { QUEUE } from '../../proto/subjects.ts'
import type { UsageEvent } from '../../proto/usage.ts'
import { readable, WIRE_VERSION } from '../../proto/version.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import { costOf } from '../../shared/cost.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Log } from '../../shared/log.ts'
import { estimate } from '../admission/estimate.ts'
import { attempt } from '../attempt.ts'
import { attemptLocal, isLocal } from '../attempt-local.ts'
import { type AttemptDeps, type AttemptResult, openAttempt, type StreamOutput } from '../attempt-result.ts'
import { type Call, decode, openCall } from '../call.ts'
import { InternalStream } from '../internal-call.ts'
import { intent, usageEvent } from '../report.ts'
import type { Route, RouterRuntime } from '../runtime.ts'
import type { Spool } from '../spool.ts'
import { checkable, minimalRequest } from './health-request.ts'
import type { Selector } from './select.ts'

/**
 * Calls every deployment now and then with a minimal request, so that one that does not serve is known before a client meets it
 * (surface reference §5.8), and whenever accounting asks. What it costs is booked on `health_check`. One router checks and all know: who
 * hears that a deployment was just checked leaves it for this time, so there is no lock.
 *
 * Of one deployment: waiting (until it is due) → running → waiting; or waiting → heard of (another router checked it) → waiting.
 */
export interface HealthChecks {
  /** Starts no more checks and ends those under way; they are booked. Before the spool is flushed for the last time. */
  stop(): Promise<void>
}

export interface HealthCheckDeps extends AttemptDeps {
  bus: Pick<Bus, 'id' | 'announce' | 'onChange' | 'respond' | 'subjects' | 'fleet'>
  /** What is in force, with all deployments, wildcards among them; null = nothing yet. */
  inForce(): { runtime: RouterRuntime; deployments: readonly Deployment[] } | null
  /** A route for a deployment that need not be in the runtime. Throws when there is none. */
  compile(deployment: Deployment): Route
  states: { health(id: string, health: { healthy: boolean; error?: string }, age: number): void }
  selector: Pick<Selector, 'begin' | 'end'>
  spool: Pick<Spool<UsageEvent>, 'append' | 'intend'>
  newId(): string
  random(): number
  log: Log
}

/** How often is looked for deployments that are due. */
const TICK = 1_000
/** The first round is spread over this, milliseconds: a fleet that starts must not call every provider in the same second. */
const FIRST_SPREAD = 10_000
/** Another router's result counts as this one's while it is not older than this share of the interval. */
const FRESH = 0.9
/** Share of the interval by which rounds differ, so that routers do not go on checking at the same moment. */
const JITTER = 0.1
/** Deployments whose times are kept beyond those there are. */
const SPARE = 100
const ERROR_LENGTH = 1_000

export function createHealthChecks(deps: HealthCheckDeps): HealthChecks {
  const { bus, clock, log } = deps
  /** Monotonic: when a deployment was last checked by anybody, and when it is due here. */
  const checkedAt = new Map<string, number>()
  const dueAt = new Map<string, number>()
  const running = new Set<Call>()
  let inTurn = 0
  let stopped = false
  let idle: (() => void) | null = null

  /** Starts what is due, as far as there is room. */
  function pump(): void {
    const found = deps.inForce()
    if (found === null || stopped) return
    const { health } = found.runtime.settings.routing
    if (!health.background) return
    forgetAbsent(found.deployments)
    const now = clock.monotonic()
    for (const deployment of found.deployments) {
      if (inTurn >= health.concurrency) return
      if (isWanted(deployment, health) && isDue(deployment.id, health, now)) startCheck(deployment, health)
    }
  }

  function isDue(id: string, health: HealthCheckSettings, now: number): boolean {
    const due = dueAt.get(id)
    if (due === undefined) dueAt.set(id, now + deps.random() * Math.min(FIRST_SPREAD, health.interval))
    if (due === undefined || now < due) return false
    const last = checkedAt.get(id)
    if (last === undefined || now - last >= health.interval * FRESH) return true
    dueAt.set(id, last + pauseOf(health))
    return false
  }

  function pauseOf({ interval }: HealthCheckSettings): number {
    return interval * (1 + JITTER * (deps.random() - 0.5))
  }

  function startCheck(deployment: Deployment, health: HealthCheckSettings): void {
    inTurn += 1
    dueAt.set(deployment.id, Number.POSITIVE_INFINITY)
    check(deployment)
      .catch((err: unknown) => log.error({ err, deployment: deployment.id }, 'a health check could not be made'))
      .finally(() => {
        inTurn -= 1
        dueAt.set(deployment.id, clock.monotonic() + pauseOf(health))
        pump()
      })
  }

  function forgetAbsent(deployments: readonly Deployment[]): void {
    if (Math.max(dueAt.size, checkedAt.size) <= deployments.length + SPARE) return
    const present = new Set(deployments.map(({ id }) => id))
    for (const times of [checkedAt, dueAt]) for (const id of times.keys()) if (!present.has(id)) times.delete(id)
  }

  /** Checks a deployment of the runtime and tells everybody. Null = it cannot be checked, or this router stops. */
  async function check(deployment: Deployment): Promise<HealthCheck | null> {
    const found = deps.inForce()
    const asked = checkable(deployment)
    if (found === null || asked === null) return null
    const { settings } = found.runtime
    const { allowedFailsPolicy, health } = settings.routing
    const own = asked === deployment ? found.runtime.resolve(deployment.id)?.routes[0] : undefined
    const route = own?.deployment === deployment ? own : deps.compile(asked)
    // It has no health but that of what it chooses from.
    if (route.auto !== undefined) return null
    const call = callFor(route, settings)
    // With a policy, a failed check is one failure more that the policy counts.
    const counted = Object.keys(allowedFailsPolicy).length > 0
    if (counted) deps.selector.begin(route)
    const result = await make(call, route)
    const error = result.kind === 'failed' ? result.error : null
    const elapsed = clock.monotonic() - call.startedMonotonic
    if (counted) {
      const code = result.kind === 'cancelled' ? 'cancelled' : (error?.code ?? null)
      const end = { error: code, elapsed, firstToken: null, inputTokens: 0, outputTokens: 0 } as const
      deps.selector.end(route, call, end)
    }
    if (result.kind === 'cancelled') return null
    checkedAt.set(deployment.id, clock.monotonic())
    const checked = checkOf(deployment.id, error, elapsed)
    if (!isTransient(error) || !health.ignoreTransient) tell(checked)
    if (error !== null) log.warn({ deployment: deployment.id, error: checked.error }, 'a deployment failed its health check')
    return checked
  }

  /** Whether a deployment that is not in the runtime would serve. Throws when it cannot be compiled. */
  async function test(deployment: Deployment, settings: RuntimeSettings): Promise<HealthCheck | null> {
    const asked = checkable(deployment)
    if (asked === null) throw new GatewayError('bad_request', 'A wildcard is tested with model_info.health_check_model.')
    const route = deps.compile(asked)
    const call = callFor(route, settings)
    const result = await make(call, route)
    const error = result.kind === 'failed' ? result.error : null
    return result.kind === 'cancelled' ? null : checkOf(deployment.id, error, clock.monotonic() - call.startedMonotonic)
  }

  function callFor(route: Route, settings: RuntimeSettings): Call {
    const { endpoint, body, form, timeout } = minimalRequest(route)
    const metadata = { health_check: true }
    const request = { identity: IDENTITY, endpoint, body: form === null ? body : {}, metadata, deadline: timeout }
    const stream = new InternalStream(deps.newId(), request, () => undefined)
    const call = openCall(stream, clock)
    decode(call, stream.body, settings, form)
    call.modelGroup = route.deployment.modelGroup
    return call
  }

  /** One attempt, with what a router that dies in it leaves behind, and its booking. */
  async function make(call: Call, route: Route): Promise<AttemptResult> {
    const local = isLocal(call, route)
    running.add(call)
    try {
      if (!local) {
        const open = openAttempt(route, 0, clock.now())
        await new Promise<void>((resolve) => deps.spool.intend(intent(call, open, bus.id), resolve))
      }
      const { deadline } = call.incoming
      const timeouts = { total: deadline, firstByte: deadline, silence: deadline }
      const result: AttemptResult = stopped
        ? { kind: 'cancelled', record: { ...openAttempt(route, 0, clock.now()), outcome: 'cancelled' } }
        : await (local ? attemptLocal : attempt)(deps, call, route, timeouts, NOWHERE)
      book(call, route, result)
      return result
    } finally {
      running.delete(call)
      if (running.size === 0) idle?.()
    }
  }

  function book(call: Call, { prices }: Route, { record, ...result }: AttemptResult): void {
    call.attempts.push(record)
    const { usage } = record
    if (usage !== undefined) {
      if (usage.estimated && usage.input === 0) {
        usage.input = estimate(call.request, call.endpoint.mode, { output: 0, modelOutput: null }).inputTokens
      }
      if (prices !== null) {
        record.cost = costOf(usage, prices, { elapsed: record.endedAt - record.startedAt }).total
        record.rateVersion = prices.rateVersion
      }
    }
    const error = result.kind === 'failed' ? result.error : null
    const outcome = result.kind === 'failed' ? 'failure' : result.kind === 'cancelled' ? 'cancelled' : 'success'
    deps.spool.append(usageEvent(call, { outcome, status: error?.status ?? 200, error }, bus.id, clock.now()))
  }

  /** Routers hear of each other's checks from the states; accounting, which shows them, also hears of those of a router that is alone. */
  function tell({ deploymentId, healthy, error }: HealthCheck): void {
    const health = { healthy, ...(error === undefined ? {} : { error }) }
    deps.states.health(deploymentId, health, 0)
    if (bus.fleet().some(({ role, id }) => role === 'router' && id !== bus.id)) return
    const news: RoutingNews = { v: WIRE_VERSION, routerId: bus.id, health: { [deploymentId]: { ...health, age: 0 } } }
    bus.announce('routing', news)
  }

  async function answer(payload: unknown): Promise<HealthReply> {
    const { deployments: ids = [], test: tested } = payload as HealthRequest
    const found = deps.inForce()
    if (found === null || stopped) throw new GatewayError('overloaded', 'This router cannot check deployments now.')
    const { settings } = found.runtime
    const asked = new Set(ids.slice(0, CHECKS_MAX))
    const checks = await Promise.all([
      ...found.deployments.filter(({ id }) => asked.has(id)).map(check),
      ...(tested === undefined ? [] : [test(tested, settings)]),
    ])
    return { v: WIRE_VERSION, checks: checks.filter((one) => one !== null) }
  }

  const timer = clock.every(TICK, pump)
  const serving = bus.respond(bus.subjects.health, QUEUE.router, answer)
  const listening = bus.onChange('routing', (payload) => {
    const news = payload as RoutingNews
    if (!readable(news?.v) || news.routerId === bus.id) return
    for (const [id, { age }] of Object.entries(news.health ?? {})) {
      checkedAt.set(id, Math.max(checkedAt.get(id) ?? Number.NEGATIVE_INFINITY, clock.monotonic() - age))
    }
  })

  return {
    async stop() {
      if (stopped) return
      stopped = true
      timer.cancel()
      const ended = running.size === 0 ? null : new Promise<void>((resolve) => (idle = resolve))
      for (const call of running) call.stop?.()
      await Promise.all([ended, serving.stop(), listening.stop()])
    },
  }
}

/** Whose calls these are in every record. */
const IDENTITY = { ...adminIdentity('health_check'), userId: null }

/** Answers to checks are not streams, and nobody reads them. */
const NOWHERE: StreamOutput = { start: () => undefined, write: () => true }

function isWanted(deployment: Deployment, { groups }: HealthCheckSettings): boolean {
  if (deployment.blocked || deployment.hidden === true || deployment.info['disable_background_health_check'] === true)
    return false
  return (groups === null || groups.includes(deployment.modelGroup)) && checkable(deployment) !== null
}

/** Signs of load, not of ill health. */
function isTransient(error: GatewayError | null): boolean {
  return error !== null && (error.status === 429 || error.status === 408)
}

function checkOf(deploymentId: string, error: GatewayError | null, elapsed: number): HealthCheck {
  const check: HealthCheck = { deploymentId, healthy: error === null, elapsed: Math.round(elapsed) }
  return error === null ? check : { ...check, error: error.message.slice(0, ERROR_LENGTH), status: error.status }
}
