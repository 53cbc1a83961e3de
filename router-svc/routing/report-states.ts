import type { DeploymentReport, RoutingNews } from '../../proto/routing.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import type { Bus, Service } from '../../shared/bus/bus.ts'

/** Deployments in one message, which a bus limits to 1 MB: some 250 bytes each. */
const MOST = 2_000

/** Answers accounting when an operator looks (GET /router/state): what this router knows of every deployment, however many messages it takes. */
export function reportStates(deps: { bus: Pick<Bus, 'id' | 'announce' | 'onChange'>; view: () => DeploymentReport[] }): Service {
  const { bus, view } = deps
  return bus.onChange('routing', (payload) => {
    const { ask, reports: answered } = payload as RoutingNews
    if (typeof ask !== 'string' || answered !== undefined) return
    const all = view()
    for (let from = 0; from === 0 || from < all.length; from += MOST) {
      const reports = all.slice(from, from + MOST)
      const last = from + MOST >= all.length
      const news: RoutingNews = { v: WIRE_VERSION, routerId: bus.id, ask, reports, ...(last ? { last } : {}) }
      bus.announce('routing', news)
    }
  })
}
