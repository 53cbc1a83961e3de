import type { Database, Transaction } from '../../shared/db/db.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Random } from './random.ts'
import type { SimulatedProcess, World } from './world.ts'

/**
 * The real PostgreSQL in virtual time. Statements and transactions run one after the other in the order they arrive; a transaction has the
 * server to itself until it ends. A process that dies in the middle of one leaves it to be rolled back, unless its commit was on the way:
 * then it is committed and nobody hears of it.
 */
export interface SimulatedDatabase {
  connect(process: SimulatedProcess): Database
  /** True: nothing reaches the server, and what it was told is answered with an error. */
  away: boolean
  /** Called when a commit of a process is about to be done, and when it was done and has not been told. */
  onCommit: ((process: SimulatedProcess, done: boolean) => void) | null
  readonly counts: { statements: number; transactions: number; lost: number }
  /** Transactions open. */
  readonly open: number
  /** A statement of the observer's: at once, outside of virtual time; only between events. */
  look<Row>(text: string, values?: readonly unknown[]): Promise<Row[]>
}

interface Task {
  session: Session | null
  run: () => Promise<void>
}

interface Session {
  process: SimulatedProcess
  /** A transaction is begun on the server. */
  open: boolean
  over: boolean
  /** When the last word of this session arrives: they stay in order. */
  lastAt: number
}

/** Milliseconds to and from the server, most. */
const LATENCY = 2
/** Statements that may ask for the time, by a default of a column too. */
const TIMED = /now\(|clock_timestamp|insert|create/i
/** Milliseconds that SQL's clock may be behind outside of transactions, as that of another machine may be. */
const SKEW = 1_000
/** Milliseconds until a client notices that the server is away. */
const AWAY_DELAY = 50

export function createSimulatedDatabase(world: World, real: Database, random: Random, start: number): SimulatedDatabase {
  const queue: Task[] = []
  const counts = { statements: 0, transactions: 0, lost: 0 }
  let holder: Session | null = null
  let busy = false
  let told = -1
  let open = 0

  const latency = (): number => LATENCY * (0.1 + 0.9 * random.next())

  /** A statement on the one connection, at this moment of virtual time. */
  async function execute<Row>(text: string, values?: readonly unknown[], name?: string): Promise<Row[]> {
    counts.statements += 1
    if (TIMED.test(text)) await tellTime()
    return real.query<Row>(text, values, name)
  }

  /** What SQL's clock says from here on. */
  async function tellTime(): Promise<void> {
    const now = Math.floor(world.now)
    if (told >= 0 && now - told < SKEW) return
    told = now
    await real.query(`set simulated.now = '${start + now}'`)
  }

  function pump(): void {
    while (!busy) {
      const at = holder === null ? 0 : queue.findIndex(({ session }) => session === holder)
      const task = queue[at]
      if (at < 0 || task === undefined) return
      queue.splice(at, 1)
      busy = true
      void world
        .hold(
          task.run().finally(() => {
            busy = false
          }),
        )
        .then(pump)
    }
  }

  /** Sends one piece of work to the server and its result back. */
  function ask<Result>(process: SimulatedProcess, session: Session | null, what: string, work: () => Promise<Result>) {
    return new Promise<Result>((resolve, reject) => {
      const fail = (delay: number): void => {
        world.after(delay, process, `sql ${what} away`, () =>
          reject(new GatewayError('accounting_away', 'Database connection error.')),
        )
      }
      if (database.away) {
        fail(AWAY_DELAY)
        return
      }
      let arrival = world.now + latency()
      if (session !== null) {
        arrival = Math.max(arrival, session.lastAt)
        session.lastAt = arrival
      }
      world.after(arrival - world.now, null, `sql ${process.name} ${what}`, () => {
        if (database.away) {
          fail(AWAY_DELAY)
          return
        }
        queue.push({
          session,
          async run() {
            let finish: () => void
            try {
              const result = await work()
              finish = () => resolve(result)
            } catch (thrown) {
              finish = () => reject(thrown)
            }
            const delay = latency()
            world.after(delay, process, `sql ${what} done`, () => {
              // The server went away before the answer had left it.
              if (database.away) {
                counts.lost += 1
                reject(new GatewayError('accounting_away', 'Database connection error.'))
              } else finish()
            })
          },
        })
        pump()
      })
    })
  }

  /** The server ends what a client left open. */
  function abandon(session: Session): void {
    if (session.over) return
    session.over = true
    const at = Math.max(world.now + latency(), session.lastAt)
    world.after(at - world.now, null, `sql ${session.process.name} gone`, () => {
      for (let index = queue.length - 1; index >= 0; index--) if (queue[index]?.session === session) queue.splice(index, 1)
      if (!session.open) return
      queue.push({
        session,
        async run() {
          if (!session.open) return
          await rollBack(session)
        },
      })
      pump()
    })
  }

  async function rollBack(session: Session): Promise<void> {
    await execute('rollback')
    // With it goes what was set.
    told = -1
    leave(session)
  }

  function leave(session: Session): void {
    session.open = false
    if (holder === session) holder = null
    open -= 1
  }

  const database: SimulatedDatabase = {
    away: false,
    onCommit: null,
    counts,
    get open() {
      return open
    },
    look: (text, values) => world.hold(real.query(text, values)),
    connect(process) {
      let connected = true
      const track = async <Result>(work: Promise<Result>): Promise<Result> => {
        try {
          const result = await work
          connected = true
          return result
        } catch (thrown) {
          connected = !(thrown instanceof GatewayError)
          throw thrown
        }
      }
      const sessions = new Set<Session>()
      process.onKill(() => {
        for (const session of sessions) abandon(session)
      })
      return {
        query: (text, values, name) => track(ask(process, null, name ?? text.slice(0, 40), () => execute(text, values, name))),
        async transaction<Result>(work: (tx: Transaction) => Promise<Result>): Promise<Result> {
          const session: Session = { process, open: false, over: false, lastAt: world.now }
          sessions.add(session)
          const run = <Row>(what: string, statement: () => Promise<Row[]>): Promise<Row[]> => {
            if (session.over) return Promise.reject(new GatewayError('accounting_away', 'Database connection error.'))
            return track(ask(process, session, what, statement))
          }
          try {
            await run('begin', async () => {
              // Whoever is here found the server free.
              holder = session
              session.open = true
              open += 1
              counts.transactions += 1
              counts.statements += 1
              told = Math.floor(world.now)
              return real.query(`begin; set simulated.now = '${start + told}'`)
            })
            const result = await work({
              query: (text, values, name) => run(name ?? text.slice(0, 40), () => execute(text, values, name)),
            })
            await run('commit', async () => {
              database.onCommit?.(process, false)
              // A process that dies here has sent its commit already.
              const rows = await execute<never>('commit')
              leave(session)
              database.onCommit?.(process, true)
              return rows
            })
            session.over = true
            return result
          } catch (thrown) {
            const lost = thrown instanceof GatewayError && thrown.code === 'accounting_away'
            if (lost || session.over) abandon(session)
            else {
              session.over = true
              await ask(process, session, 'rollback', async () => {
                if (!session.open) return
                await rollBack(session)
              }).catch(() => {
                session.over = false
                abandon(session)
              })
            }
            throw thrown
          } finally {
            sessions.delete(session)
          }
        },
        get connected() {
          return connected
        },
        async ping() {
          await track(ask(process, null, 'ping', async () => undefined))
        },
        async close() {},
      }
    },
  }
  return database
}
