import type { DeploymentReport, RoutingNews } from '../../proto/routing.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import type { Bus, Service } from '../../shared/bus/bus.ts'
import type { Clock } from '../../shared/clock.ts'
import { rowId } from '../../shared/ids.ts'

/** What one router knows of the deployments. */
export interface RouterReport {
  routerId: string
  deployments: DeploymentReport[]
}

export interface RouterStates extends Service {
  /** Asks every router; those that do not answer within ANSWER_LIMIT are left out. */
  ask(): Promise<RouterReport[]>
}

/** How long routers may take to answer, milliseconds. They answer at once; one that hangs does not answer at all. */
const ANSWER_LIMIT = 500

/** Asks routers, over the broadcast that they share their news on, what they know of deployments. */
export function watchRouterStates({ bus, clock }: { bus: Bus; clock: Clock }): RouterStates {
  const asked = new Map<string, (news: RoutingNews) => void>()
  const answers = bus.onChange('routing', (payload) => {
    const news = payload as RoutingNews
    if (news.reports !== undefined && news.ask !== undefined) asked.get(news.ask)?.(news)
  })
  return {
    async ask() {
      const expected = new Set(bus.fleet().flatMap(({ role, id }) => (role === 'router' ? [id] : [])))
      const found = new Map<string, DeploymentReport[]>()
      if (expected.size === 0) return []
      const number = rowId()
      await new Promise<void>((resolve) => {
        const timer = clock.after(ANSWER_LIMIT, resolve)
        asked.set(number, ({ routerId, reports = [], last }) => {
          found.set(routerId, [...(found.get(routerId) ?? []), ...reports])
          if (last !== true) return
          expected.delete(routerId)
          if (expected.size > 0) return
          timer.cancel()
          resolve()
        })
        bus.announce('routing', { v: WIRE_VERSION, routerId: bus.id, ask: number } satisfies RoutingNews)
      })
      asked.delete(number)
      return [...found].map(([routerId, deployments]) => ({ routerId, deployments }))
    },
    stop: () => answers.stop(),
  }
}
