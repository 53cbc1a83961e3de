import type { DeploymentHealth, DeploymentLoad, RoutingNews } from '../../proto/routing.ts'
import { readable, WIRE_VERSION } from '../../proto/version.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Log } from '../../shared/log.ts'
import type { StateNews } from './states.ts'

export interface NewsDeps {
  bus: Pick<Bus, 'id' | 'announce' | 'onChange' | 'fleet'>
  clock: Clock
  news: StateNews
  log: Log
}

/** How often loads are told. */
const INTERVAL = 1_000
/** What has not changed is told again every so many times, before others take it for stale. */
const REFRESH = 3
/** Deployments in one message, which a bus limits to 1 MB: an id of 64 characters and ten samples each. */
const MOST = 2_000

/**
 * What routers tell each other of deployments: cooldowns and ejections at once, loads and checks once a second if they changed. A router
 * that is alone tells nothing and collects nothing.
 */
export function createNews({ bus, clock, news, log }: NewsDeps): { stop(): Promise<void> } {
  let known = new Set<string>()
  let round = 0

  const announce = (fields: Partial<RoutingNews>): void =>
    bus.announce('routing', { v: WIRE_VERSION, routerId: bus.id, ...fields } satisfies RoutingNews)

  const tick = (): void => {
    const others = new Set<string>()
    for (const { role, id } of bus.fleet()) if (role === 'router' && id !== bus.id) others.add(id)
    news.sweep((routerId) => others.has(routerId))
    news.share(others.size > 0)
    const before = known
    known = others
    if (others.size === 0) return
    if ([...others].some((id) => !before.has(id))) announce(news.rotation())
    round += 1
    for (const loads of parts(news.loads(round % REFRESH === 0))) announce({ loads })
    for (const health of parts(news.health())) announce({ health })
  }

  const hear = (payload: unknown): void => {
    const told = payload as RoutingNews
    if (told?.routerId === bus.id) return
    if (!readable(told?.v)) {
      log.warn({ version: told?.v }, 'news of another router is of a newer version than this one can read')
      return
    }
    for (const [id, duration] of Object.entries(told.cooldowns ?? {})) news.cooledDown(id, duration)
    for (const [id, duration] of Object.entries(told.ejected ?? {})) news.ejected(id, duration)
    for (const [id, load] of Object.entries(told.loads ?? {})) news.load(told.routerId, id, load)
    for (const [id, health] of Object.entries(told.health ?? {})) news.checked(id, health)
  }

  news.onRotation = (kind, id, duration) => {
    if (known.size > 0) announce({ [kind]: { [id]: duration } })
  }
  const listening = bus.onChange('routing', hear)
  const timer = clock.every(INTERVAL, tick)
  return {
    async stop() {
      timer.cancel()
      news.onRotation = null
      news.share(false)
      await listening.stop()
    },
  }
}

function* parts<Value extends DeploymentLoad | DeploymentHealth>(
  all: ReadonlyMap<string, Value>,
): Iterable<Record<string, Value>> {
  let part: Record<string, Value> = {}
  let size = 0
  for (const [id, value] of all) {
    part[id] = value
    size += 1
    if (size < MOST) continue
    yield part
    part = {}
    size = 0
  }
  if (size > 0) yield part
}
