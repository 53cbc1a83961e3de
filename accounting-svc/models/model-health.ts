import type { Deployment } from '../../proto/deployment.ts'
import { CHECK_TIMEOUT, CHECKS_MAX, type HealthCheck, type HealthReply, type HealthRequest } from '../../proto/health.ts'
import type { RoutingNews } from '../../proto/routing.ts'
import { readable, WIRE_VERSION } from '../../proto/version.ts'
import type { Bus, Service } from '../../shared/bus/bus.ts'
import type { Clock } from '../../shared/clock.ts'
import { GatewayError } from '../../shared/errors.ts'

/** A check as it is remembered. */
export interface KeptCheck {
  deploymentId: string
  healthy: boolean
  error: string | null
  /** HTTP status of the failure, where this process asked for the check itself. */
  status: number | null
  /** Milliseconds it took, likewise. */
  elapsed: number | null
  /** Unix milliseconds. */
  at: number
}

/** Whether deployments serve: what routers found out, and checks on demand. Kept in memory, so a restart forgets what was before it. */
export interface ModelHealth extends Service {
  /** Has them checked now, by whichever routers are free. Rejects with GatewayError `no_router` when none answers. */
  check(deployments: readonly Deployment[]): Promise<KeptCheck[]>
  /** Whether a deployment that nobody serves yet would work. Rejects likewise, and with what is wrong with it. */
  test(deployment: Deployment): Promise<HealthCheck>
  /** The newest check of a deployment, or null. */
  latest(deploymentId: string): KeptCheck | null
  /** Its checks, newest first. */
  history(deploymentId: string): readonly KeptCheck[]
}

/** Checks of one deployment kept. */
const KEPT = 100
/** Deployments whose checks are kept; beyond it those go whose last check is oldest. */
const KEPT_DEPLOYMENTS = 5_000
/** Requests under way for one caller: with CHECKS_MAX each, a hundred providers are called at once. */
const AT_ONCE = 5
/** Milliseconds a router has beside those of the check itself. */
const MARGIN = 5_000
/** News of a check that this process asked for arrives up to a second after the answer: the same one is kept once. */
const SAME = 3_000

export function createModelHealth({ bus, clock }: { bus: Bus; clock: Clock }): ModelHealth {
  const kept = new Map<string, KeptCheck[]>()

  function keep(check: KeptCheck): void {
    const known = kept.get(check.deploymentId) ?? []
    const [last] = known
    if (last !== undefined && last.healthy === check.healthy && Math.abs(last.at - check.at) < SAME) return
    // The newest at the end of the map, so that the oldest is its first.
    kept.delete(check.deploymentId)
    kept.set(check.deploymentId, [check, ...known].slice(0, KEPT))
    if (kept.size > KEPT_DEPLOYMENTS) kept.delete(kept.keys().next().value as string)
  }

  async function ask(request: Omit<HealthRequest, 'v'>, limit: number): Promise<HealthCheck[]> {
    try {
      const reply = await bus.request(bus.subjects.health, { v: WIRE_VERSION, ...request }, { timeout: limit + MARGIN })
      return (reply as HealthReply).checks
    } catch (thrown) {
      // The bus calls whoever answers requests accounting; here it is a router that is away.
      if (thrown instanceof GatewayError && thrown.code === 'accounting_away') throw new GatewayError('no_router')
      throw thrown
    }
  }

  const listening = bus.onChange('routing', (payload) => {
    const news = payload as RoutingNews
    if (!readable(news?.v)) return
    for (const [deploymentId, { healthy, age, error }] of Object.entries(news.health ?? {})) {
      keep({ deploymentId, healthy, error: error ?? null, status: null, elapsed: null, at: clock.now() - age })
    }
  })

  return {
    async check(deployments) {
      const found: KeptCheck[] = []
      const batches: Deployment[][] = []
      for (let at = 0; at < deployments.length; at += CHECKS_MAX) batches.push(deployments.slice(at, at + CHECKS_MAX))
      const work = async (): Promise<void> => {
        for (let batch = batches.shift(); batch !== undefined; batch = batches.shift()) {
          const limit = Math.max(...batch.map(timeoutOf))
          for (const { error, status, ...check } of await ask({ deployments: batch.map(({ id }) => id) }, limit)) {
            const one = { ...check, error: error ?? null, status: status ?? null, at: clock.now() }
            keep(one)
            found.push(one)
          }
        }
      }
      await Promise.all(Array.from({ length: AT_ONCE }, work))
      return found
    },
    async test(deployment) {
      const [check] = await ask({ test: deployment }, timeoutOf(deployment))
      if (check === undefined) throw new GatewayError('no_router')
      return check
    },
    latest: (id) => kept.get(id)?.[0] ?? null,
    history: (id) => kept.get(id) ?? [],
    stop: () => listening.stop(),
  }
}

/** Milliseconds its check may take. */
function timeoutOf({ info }: Deployment): number {
  const seconds = info['health_check_timeout']
  return typeof seconds === 'number' && seconds > 0 ? seconds * 1000 : CHECK_TIMEOUT
}
