import type { Admission, AdmitRequest, Counters, RunningLease, ScopeState, Spent } from '../../shared/counters/counters.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Random } from './random.ts'
import type { SimulatedProcess, World } from './world.ts'

/** The one store of counters as its processes reach it: over a network that takes time and may be away. */
export interface SimulatedCounters {
  connect(process: SimulatedProcess): Counters
  /** True: nothing reaches the store, and answers under way are lost, though what was asked may have been done. */
  away: boolean
  /** Share of commands that are done and whose answer is lost. */
  replyLoss: number
  /** `releases`: of `lost`, those whose answer named leases that are gone since. */
  readonly counts: { commands: number; refused: number; lost: number; releases: number }
  /** For sabotage: budgets are not asked, or bookings not told. */
  skip: 'budgets' | 'book' | null
  /** What is in the store, at once. */
  look(): Promise<{ leases: number; held: number }>
  lookAt(scopes: readonly string[]): Promise<ScopeState[]>
}

/** Milliseconds there and back, most, and until a client gives up on an answer. */
const LATENCY = 1
const PATIENCE = 1_000

export function createSimulatedCounters(world: World, store: Counters, random: Random): SimulatedCounters {
  const counts = { commands: 0, refused: 0, lost: 0, releases: 0 }
  const latency = (): number => LATENCY * (0.1 + 0.9 * random.next())

  function ask<Result>(process: SimulatedProcess, what: string, work: () => Result | Promise<Result>): Promise<Result> {
    counts.commands += 1
    return new Promise((resolve, reject) => {
      const fail = (delay: number): void => {
        world.after(delay, process, `counters ${what} away`, () =>
          reject(new GatewayError('counters_away', undefined, { retryAfter: 1_000 })),
        )
      }
      if (simulated.away) {
        counts.refused += 1
        fail(latency())
        return
      }
      world.after(latency(), null, `counters ${process.name} ${what}`, () => {
        if (simulated.away) {
          counts.refused += 1
          fail(latency())
          return
        }
        const lost = simulated.replyLoss > 0 && random.chance(simulated.replyLoss)
        // What the store does takes no time, but its interface may answer with a promise.
        Promise.resolve()
          .then(work)
          .then(
            (result) => {
              if (lost) {
                lose(what)
                fail(PATIENCE)
                return
              }
              world.after(latency(), process, `counters ${what} done`, () => {
                if (simulated.away) {
                  lose(what)
                  reject(new GatewayError('counters_away', undefined, { retryAfter: 1_000 }))
                } else resolve(result)
              })
            },
            (thrown: unknown) => void world.after(latency(), process, `counters ${what} failed`, () => reject(thrown)),
          )
      })
    })
  }

  function lose(what: string): void {
    counts.lost += 1
    if (what === 'sweep') counts.releases += 1
  }

  const simulated: SimulatedCounters = {
    away: false,
    replyLoss: 0,
    counts,
    skip: null,
    look: () => store.totals(),
    lookAt: (scopes) => store.peek(scopes),
    connect: (process) => ({
      admit: (request: AdmitRequest): Promise<Admission> =>
        ask(process, 'admit', () => store.admit(simulated.skip === 'budgets' ? unbudgeted(request) : request)),
      extend: (lease, hold) => ask(process, 'extend', () => store.extend(lease, hold)),
      settle: (lease, outcome) => ask(process, 'settle', () => store.settle(lease, outcome)),
      release: (lease) => ask(process, 'release', () => store.release(lease)),
      renew: (leases: readonly RunningLease[]) => ask(process, 'renew', () => store.renew(leases)),
      peek: (scopes): Promise<ScopeState[]> => ask(process, 'peek', () => store.peek(scopes)),
      get ready() {
        return store.ready && !simulated.away
      },
      onLoss: (handler) => store.onLoss(handler),
      book: (leases: readonly string[], spent: readonly Spent[]) =>
        ask(process, 'book', () => (simulated.skip === 'book' ? undefined : store.book(leases, spent))),
      sweep: (most) => ask(process, 'sweep', () => store.sweep(most)),
      settledBefore: (age, most) => ask(process, 'settledBefore', () => store.settledBefore(age, most)),
      rebuilt: () => ask(process, 'rebuilt', () => store.rebuilt()),
      async rebuild(load) {
        // Read in virtual time, told to the store at once.
        const pages: (readonly Spent[])[] = []
        for (;;) {
          const page = await load()
          pages.push(page)
          if (page.length === 0) break
        }
        await ask(process, 'rebuild', () => store.rebuild(async () => pages.shift() ?? []))
      },
      totals: () => ask(process, 'totals', () => store.totals()),
      async close() {},
    }),
  }
  return simulated
}

function unbudgeted(request: AdmitRequest): AdmitRequest {
  return { ...request, scopes: request.scopes.map((scope) => ({ ...scope, budget: null })) }
}
