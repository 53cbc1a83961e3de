import type { Bus } from '../../shared/bus/bus.ts'
import type { Clock } from '../../shared/clock.ts'
import { type Counters, LOSS_GRACE, type Spent } from '../../shared/counters/counters.ts'
import type { Database } from '../../shared/db/db.ts'
import type { Log } from '../../shared/log.ts'
import { recentSpent } from '../sql/spend.ts'
import type { Job } from './schedule.ts'

/** Milliseconds between looks, and between looks at the backlog. */
const INTERVAL = 1_000
const LOOK = 100
/** Milliseconds that bookings may take to come in before the counters are rebuilt without the rest. */
const PATIENCE = 30_000
const PAGE = 2_000

export interface RebuildDeps {
  counters: Counters
  bus: Bus
  db: Database
  clock: Clock
  log: Log
}

/** Makes the counters anew from the ledger after their store has lost its data. Until then nothing with a limit is admitted. */
export function rebuildCounters(deps: RebuildDeps): Job {
  const { counters, bus, clock, log } = deps
  return {
    name: 'rebuild-counters',
    every: INTERVAL,
    async run() {
      if (await counters.rebuilt()) return
      const from = clock.monotonic()
      log.warn({}, 'the counters have lost their data; they are rebuilt from the ledger')
      // Routers renew what they run at once: leases that are not there would not count.
      bus.announce('budget', { rebuild: true })
      const waited = await everythingBooked(deps)
      if (!waited) log.warn({}, 'some calls are not booked yet; their cost joins the counters when they are')
      await counters.rebuild(pages(deps.db), running(deps) ? LOSS_GRACE : 0)
      log.info({ took: Math.round(clock.monotonic() - from) }, 'the counters are rebuilt')
    },
  }
}

/**
 * The same at the start of accounting, when nothing is known to wait: then it takes no time, and whoever is ready can serve. Otherwise
 * the job does it.
 */
export async function rebuildAtStart(deps: RebuildDeps): Promise<void> {
  const { counters, log } = deps
  try {
    if ((await counters.rebuilt()) || !(await nothingWaits(deps))) return
    await counters.rebuild(pages(deps.db), running(deps) ? LOSS_GRACE : 0)
  } catch (error) {
    log.warn({ err: error }, 'the counters could not be rebuilt at the start; it is tried again')
  }
}

/**
 * Whether every call that had ended when this began is in the ledger, within PATIENCE: what the ledger does not know the rebuilt counters would
 * not. Calls without limits go on meanwhile, so something waits at every moment: each router's spool must have been empty once, and after
 * that what was on the bus then must be booked.
 */
async function everythingBooked(deps: RebuildDeps): Promise<boolean> {
  const { bus, clock } = deps
  const from = clock.monotonic()
  const delivered = new Set<string>()
  let mark: number | null = null
  while (clock.monotonic() - from < PATIENCE) {
    const routers = bus.fleet().filter(({ role }) => role === 'router')
    for (const { id, age, fields } of routers) {
      if (age < clock.monotonic() - from && Number(fields['spool'] ?? 0) === 0) delivered.add(id)
    }
    try {
      if (await nothingWaits(deps)) return true
      if (mark === null && routers.every(({ id }) => delivered.has(id))) mark = await bus.appended()
      if (mark !== null && (await bus.consumed('ledger', mark))) return true
    } catch {
      // The bus cannot say just now.
    }
    await new Promise<void>((resolve) => clock.after(LOOK, resolve))
  }
  return false
}

/** Whether no event waits on the bus, nor in the spool of a router. */
async function nothingWaits({ bus }: RebuildDeps): Promise<boolean> {
  const spooled = bus.fleet().some(({ role, fields }) => role === 'router' && Number(fields['spool'] ?? 0) > 0)
  return !spooled && bus.consumed('ledger')
}

/** Whether a router is there that may be serving calls. */
function running({ bus }: RebuildDeps): boolean {
  return bus.fleet().some(({ role }) => role === 'router')
}

/** What scopes have spent, page after page. Scopes nobody used for two days are told with the identity that uses them. */
function pages(db: Database): () => Promise<readonly Spent[]> {
  let after = ''
  return async () => {
    const page = await recentSpent(db, after, PAGE)
    after = page.at(-1)?.scope ?? after
    return page
  }
}
