import { createHash, randomUUID } from 'node:crypto'
import { createLedger } from '../../accounting-svc/ledger/book.ts'
import type { LedgerShape } from '../../loadtest/ledger-rows.ts'
import type { UsageEvent } from '../../proto/usage.ts'
import { NO_TOKENS } from '../../proto/usage.ts'
import type { Database } from '../../shared/db/db.ts'
import { silentLog } from '../../shared/log.ts'

const BATCH = 500
const BATCHES = 60

/** Milliseconds that booking BATCH calls took, the middle of BATCHES times. */
export interface BookingCost {
  with: number
  without: number
}

/**
 * What reports cost those who book: the same calls are booked on the last day of a filled ledger with what reports need and, after the
 * statements of `remove`, without.
 */
export async function measureBooking(db: Database, shape: LedgerShape, remove: readonly string[]): Promise<BookingCost> {
  const ledger = createLedger({ db, price: () => ({ cost: 10_000_000, rateVersion: 'v1' }), log: silentLog })
  const measured = async (): Promise<number> => {
    const times: number[] = []
    for (let batch = 0; batch < BATCHES; batch++) {
      const events = Array.from({ length: BATCH }, (_, index) => eventOf(shape, batch * BATCH + index))
      const begun = performance.now()
      await ledger.book(events)
      times.push(performance.now() - begun)
    }
    return times.toSorted((a, b) => a - b)[BATCHES / 2] ?? 0
  }
  await measured()
  const loaded = await measured()
  for (const statement of remove) await db.query(statement)
  await measured()
  return { with: loaded, without: await measured() }
}

/** The nth call: owners and models spread as in the made-up ledger. */
function eventOf(shape: LedgerShape, n: number): UsageEvent {
  const key = Math.floor(shape.keys * ((n * 0.618034) % 1) ** 3)
  const user = key % shape.users
  const model = (key * 7) % shape.models
  const startedAt = Date.parse(`${shape.lastDay}T23:00:00Z`) + n
  const failed = n % 50 === 0
  const attempt = {
    index: 0,
    deploymentId: `deployment-${model}`,
    provider: 'openai',
    model: `model-${model}`,
    apiBase: null,
    startedAt,
    firstTokenAt: startedAt + 200,
    endedAt: startedAt + 1000,
    outcome: failed ? ('failure' as const) : ('success' as const),
    usage: { ...NO_TOKENS, input: 1000, output: 200 },
  }
  return {
    v: 1,
    callId: randomUUID(),
    take: 1,
    endpoint: 'acompletion',
    stream: false,
    keyHash: createHash('sha256').update(`key-${key}`).digest('hex'),
    keyAlias: `key-${key}`,
    userId: `user-${user}`,
    teamId: `team-${user % shape.teams}`,
    organizationId: null,
    endUser: key % 3 === 0 ? `customer-${n % shape.customers}` : null,
    tags: n % 2 === 0 ? [] : [`tag-${n % shape.tags}`],
    requestedModel: `group-${model}`,
    modelGroup: `group-${model}`,
    startedAt,
    firstTokenAt: startedAt + 200,
    endedAt: startedAt + 1000,
    outcome: failed ? 'failure' : 'success',
    status: failed ? 429 : 200,
    ...(failed ? { error: { code: 'provider_rate_limited' as const, message: 'slow down' } } : {}),
    attempts: [attempt],
    routerId: 'router-1',
    ...(n % 5 === 0 ? { sessionId: `session-${n % 1000}` } : {}),
    cacheHit: n % 33 === 0,
  }
}
