import { scopes } from '../../proto/limits.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import type { Clock } from '../../shared/clock.ts'
import { type Counters, LEASE_TTL } from '../../shared/counters/counters.ts'
import type { Database } from '../../shared/db/db.ts'
import { countProvenCalls, type KeyRollUp, sumDailySpend, sumTagSpend } from '../sql/prove.ts'
import { findSpent } from '../sql/spend.ts'
import type { Kept } from './compare.ts'
import type { MadeCall } from './load.ts'

/** Everything that keeps numbers of a run. */
export interface BookDeps {
  db: Database
  bus: Pick<Bus, 'consumed'>
  counters: Pick<Counters, 'peek'>
  clock: Clock
}

/** On whose account the calls of a run are. */
export interface RunOwners {
  keyHash: string
  teamId: string
  tag: string
}

/** Milliseconds in which everything is booked: what a dead router held goes when its lease ends. */
const SETTLE_LIMIT = LEASE_TTL + 15_000
const SETTLE_PAUSE = 100
/** Milliseconds for events that nobody expects any more (a second copy) to be booked. */
const LINGER_LIMIT = 5_000
/** Milliseconds without any change after which calls that nobody may ever have taken are waited for no longer. */
const QUIET = 2_000

/**
 * Waits until every call begun at or after `from` (Unix milliseconds) is in the ledger, nothing is held, and the counters know what was
 * spent. False: not in time. Rejects when the database is away.
 */
export async function settle(deps: BookDeps, run: RunOwners, calls: readonly MadeCall[], from: number): Promise<boolean> {
  const { db, bus, clock } = deps
  const until = clock.monotonic() + SETTLE_LIMIT
  const pause = (): Promise<void> => new Promise((resolve) => void clock.after(SETTLE_PAUSE, resolve))
  const consumed = (): Promise<boolean> => bus.consumed('ledger').catch(() => false)
  // A client that leaves at once does not know whether a router took its call, and a router that dies may have forgotten it.
  const sure = calls.filter(({ taken }) => taken).length
  const perhaps = calls.filter(({ taken, end }) => !taken && end === 'left').length
  let settled = false
  let booked = -1
  let since = clock.monotonic()
  while (!settled && clock.monotonic() < until) {
    const now = await countProvenCalls(db, run.keyHash, from)
    const still = now === booked && (await nothingHeld(deps, run))
    if (!still) since = clock.monotonic()
    booked = now
    settled = still && now >= sure && (now >= sure + perhaps || (clock.monotonic() - since >= QUIET && (await consumed())))
    if (!settled) await pause()
  }
  // Other traffic keeps the queue busy: whoever comes late is waited for, not for ever.
  const linger = clock.monotonic() + LINGER_LIMIT
  while (clock.monotonic() < linger && !(await consumed())) await pause()
  return settled
}

/** Whether the counters hold nothing of the run and have heard all that was spent. */
async function nothingHeld({ db, counters }: BookDeps, { keyHash, teamId }: RunOwners): Promise<boolean> {
  const names = [scopes.key(keyHash), scopes.team(teamId)]
  const [states, spents] = await Promise.all([counters.peek(names), findSpent(db, names)])
  return states.every(({ held, parallel, spent }, index) => {
    const known = spents.find(({ scope }) => scope === names[index])?.spent ?? 0
    return held === 0 && parallel === 0 && spent === known
  })
}

/**
 * What the others keep of the run: spend by scope, sums by day and tag, counters. `tagBefore`: what the tag had spent before the run,
 * nano-dollars.
 */
export async function keptOf(
  { db, counters }: BookDeps,
  { keyHash, teamId, tag }: RunOwners,
  tagBefore: number,
): Promise<Kept[]> {
  const key = scopes.key(keyHash)
  const team = scopes.team(teamId)
  const [days, tags, ofKey, ofTeam, ofTag, states] = await Promise.all([
    sumDailySpend(db, keyHash),
    sumTagSpend(db, keyHash, tag),
    spentOf(db, key),
    spentOf(db, team),
    spentOf(db, scopes.tag(tag)),
    counters.peek([key, team]),
  ])
  const kept: Kept[] = [
    { what: 'spend of the key', measure: 'cost', found: ofKey },
    { what: 'spend of the team', measure: 'cost', found: ofTeam },
    { what: 'spend of the tag', measure: 'cost', found: ofTag - tagBefore },
    ...rolledUp('sums by day', days[0]),
    ...rolledUp('sums by tag', tags[0]),
  ]
  for (const [index, owner] of ['key', 'team'].entries()) {
    const { spent, held, parallel } = states[index] ?? { spent: -1, held: -1, parallel: -1 }
    kept.push({ what: `spent of the ${owner} in the counters`, measure: 'cost', found: spent })
    kept.push({ what: `held of the ${owner} in the counters`, measure: 'nothing', found: held })
    kept.push({ what: `slots of the ${owner} in the counters`, measure: 'nothing', found: parallel })
  }
  return kept
}

function rolledUp(what: string, sums: KeyRollUp = { cost: 0, calls: 0, input: 0, output: 0 }): Kept[] {
  const measures = ['cost', 'calls', 'input', 'output'] as const
  return measures.map((measure) => ({ what: `${what}: ${measure}`, measure, found: sums[measure] }))
}

/** Nano-dollars. */
export async function spentOf(db: Database, scope: string): Promise<number> {
  return (await findSpent(db, [scope]))[0]?.spent ?? 0
}
