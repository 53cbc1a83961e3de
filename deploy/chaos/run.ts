import { type Audit, audit, isClosed, readBooks, type Served } from './books.ts'
import { SPENT, WHOLE } from './endings.ts'
import { type Fault, pause, type Span, titleOf } from './fault.ts'
import { type ClientKey, createLoad, type KeyKind, type Load, STEADY } from './load.ts'
import { judge, type Observed, type Verdict } from './verdict.ts'
import type { World } from './world.ts'

/** Milliseconds of load before a fault: edges learn the keys, connections are made. */
const BEFORE = 1_500
/** Milliseconds without a failing call after which the load ends, and how long that is waited for. */
const QUIET = 3_000
const QUIET_LIMIT = 30_000
/** Milliseconds until the books are closed: a lease of a dead router ends after 30 s, and its spool is delivered when it is back. */
const BOOKS_LIMIT = 150_000
/** Dollars. About a third of the calls of a fault fit into the budget of the poor key. */
const BUDGETS: Record<KeyKind, number | null> = { free: null, rich: 1_000, poor: 0.25 }

/** Runs faults one after another on one world; books are closed in the background while the next fault runs. */
export interface Runner {
  run(fault: Fault, span: Span): Promise<void>
  /** Waits for all books, looks at them once more, and returns every verdict in order. */
  finish(): Promise<Verdict[]>
  stop(): void
}

export interface RunnerOptions {
  /** Numbers from 0 to 1. */
  next: () => number
  /** Told each verdict when its books are closed, in order. */
  told?: (verdict: Verdict) => void
}

export function createRunner(world: World, { next, told = () => undefined }: RunnerOptions): Runner {
  const load = createLoad(world, next)
  const closing: Promise<{ observed: Observed; keys: readonly ClientKey[] }>[] = []
  let telling = Promise.resolve()
  return {
    async run(fault, span) {
      const label = labelOf(fault.name, closing.length)
      const keys = await makeKeys(world)
      const begun = performance.now()
      load.aim(label, keys, {
        rates: fault.load === 'long-streams' ? longStreams(span) : STEADY,
        proxied: fault.proxied === true,
      })
      await pause(BEFORE)
      // What could not be done, as a process that does not come up, is a failure of the fault and no end of the run.
      const stopped = await fault.run(world, span).then(
        () => null,
        (error: unknown) => String(error),
      )
      if (stopped !== null) await world.mend()
      const over = performance.now()
      await quiet(load, label)
      load.rest()
      const ended = performance.now()
      await load.ended(label)
      const { name, allows } = fault
      const title = titleOf(fault, span)
      const seen = { name, title, allows, calls: load.seen(label), begun, over, ended, stalled: load.stalled(label), stopped }
      const closed = closeBooks(world, keys, seen).then((last) => ({
        observed: { ...seen, audit: last, booked: performance.now() - ended },
        keys,
      }))
      closing.push(closed)
      telling = telling.then(async () => told(judge((await closed).observed)))
    },
    async finish() {
      await telling
      const verdicts: Verdict[] = []
      for (const { observed, keys } of await Promise.all(closing)) {
        const books = await readBooks(world, keys, servedOf(world, observed))
        verdicts.push(judge({ ...observed, audit: audit(books) }))
      }
      return verdicts
    },
    stop: () => load.stop(),
  }
}

function labelOf(name: string, index: number): string {
  return `${name}.${index}`
}

function longStreams({ streams, streamLasts }: Span) {
  const interval = 500
  return { whole: 10, streams: (streams * 1000) / streamLasts, chunks: Math.round(streamLasts / interval), interval }
}

async function makeKeys(world: World): Promise<ClientKey[]> {
  const kinds: readonly KeyKind[] = ['free', 'rich', 'poor']
  return Promise.all(
    kinds.map(async (kind) => {
      const budget = BUDGETS[kind]
      const limits = budget === null ? {} : { max_budget: budget, max_parallel_requests: 10_000 }
      return { kind, budget, ...(await world.key(limits)) }
    }),
  )
}

/** Resolves when no call that began in the last QUIET milliseconds failed. */
async function quiet(load: Load, label: string): Promise<void> {
  const begun = performance.now()
  for (;;) {
    await pause(100)
    const now = performance.now()
    const since = Math.max(
      begun,
      ...load
        .seen(label)
        .filter(({ ending }) => ending !== WHOLE && ending !== SPENT)
        .map(({ startedAt }) => startedAt),
    )
    if (now - since > QUIET || now - begun > QUIET_LIMIT) return
  }
}

/** What the provider's own record says of these calls. */
function servedOf(world: World, { calls }: Pick<Observed, 'calls'>): Map<string, Served> {
  return new Map(
    calls.map(({ marker }) => {
      const attempts = world.provider.served(marker)
      return [marker, { begun: attempts.length, completed: attempts.filter(({ outcome }) => outcome === 'completed').length }]
    }),
  )
}

/** Looks at the books until they are closed, or for BOOKS_LIMIT. */
async function closeBooks(world: World, keys: readonly ClientKey[], seen: Pick<Observed, 'calls' | 'allows'>): Promise<Audit> {
  const deadline = performance.now() + BOOKS_LIMIT
  for (;;) {
    const last = await readBooks(world, keys, servedOf(world, seen)).then(audit, () => null)
    const late = performance.now() > deadline
    if (last !== null && (late || isClosed(last, seen.allows.unheard === true))) return last
    if (late) throw new Error('the books could not be read')
    await pause(500)
  }
}
