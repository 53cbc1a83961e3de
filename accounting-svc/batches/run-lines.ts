import type { Identity } from '../../proto/identity.ts'
import type { Timer } from '../../shared/clock.ts'
import type { Database } from '../../shared/db/db.ts'
import type { Identities } from '../identity/publish.ts'
import {
  type BatchError,
  type BatchState,
  type ClaimedLine,
  changeBatch,
  claimLines,
  countOpenLines,
  deferLine,
  holdBatch,
  letGoOfBatch,
  listOpenBatches,
  type OwnBatchRow,
  recordLine,
  releaseHeld,
  renewHeld,
} from '../sql/own-batches.ts'
import { callerOf } from './caller.ts'
import { judge, type Verdict } from './judge-answer.ts'
import { type LineCall, type LineCallDeps, openLine } from './line-call.ts'
import { listBatch } from './own-batches.ts'
import { readBatch } from './read-batch.ts'
import type { BatchSettings } from './settings.ts'
import { writeResults } from './write-results.ts'

/**
 * Takes the batches of the gateway from state to state (own-batches.ts) and their lines to the routers. Every accounting process runs one; they
 * share the work by leases in the database.
 */
export interface LineRunner {
  /** There may be something to do. */
  wake(): void
  /** Begins nothing more; resolves when what runs here has ended. */
  drain(): Promise<void>
  /** Ends what runs: others take it over at once. */
  stop(): Promise<void>
}

export interface LineRunnerDeps extends LineCallDeps {
  db: Database
  identities: Pick<Identities, 'find'>
  settings: () => BatchSettings
}

/** Milliseconds between looks at what is to be done. */
const TICK = 500
/** Milliseconds after which the lines of a dead process are another's. */
const LEASE = 15_000
const RENEW = 5_000
/** Batches looked at in one go, oldest first. */
const OPEN_MAX = 500
/** Milliseconds a caller is believed to be who it was. */
const CALLER_TTL = 1_000
/** Refusals for want of budget, with nothing else of the batch running, that say it is spent; and milliseconds between. */
const UNPAID_MAX = 3
const UNPAID_DELAY = 1_000
/** Milliseconds until a result is tried to be written again. */
const WRITE_AGAIN = 1_000

/** One batch as this process runs it. */
interface Running {
  calls: Set<LineCall>
  /** Lines at once: less where there is no room, more again with every answer. */
  room: number
  /** Unix milliseconds; nothing is begun before. */
  pausedUntil: number
  /** In a row, each alone. */
  unpaid: number
  caller: { identity: Identity; at: number } | null
}

export function createLineRunner(deps: LineRunnerDeps): LineRunner {
  const { db, bus, clock, log } = deps
  const holder = bus.id
  const batches = new Map<string, Running>()
  /** Reading inputs and writing results. */
  const works = new Map<string, Promise<void>>()
  const lines = new Set<Promise<void>>()
  let passing: Promise<void> | null = null
  let woken = false
  let draining = false
  let stopped = false
  let failing = false

  function wake(): void {
    if (draining) return
    woken = true
    passing ??= passes().finally(() => {
      passing = null
    })
  }

  async function passes(): Promise<void> {
    while (woken && !draining) {
      woken = false
      try {
        await pass()
        failing = false
      } catch (err) {
        // The database is away, as a rule: said once.
        if (!failing) log.warn({ err }, 'batches could not be looked at; they are looked at again')
        failing = true
      }
    }
  }

  async function pass(): Promise<void> {
    const open = await listOpenBatches(db, OPEN_MAX)
    const ids = new Set(open.map(({ id }) => id))
    for (const [id, { calls }] of batches) if (!ids.has(id) && calls.size === 0) batches.delete(id)
    for (const batch of open) {
      if (draining) return
      await look(batch)
    }
  }

  async function look(batch: OwnBatchRow): Promise<void> {
    const { id, state } = batch
    const begun = state === 'validating' || state === 'in_progress'
    if (begun && batch.expiresAt <= clock.now()) await goOn(id, ['validating', 'in_progress'], 'expired')
    else if (state === 'validating') alone(batch, () => readBatch(deps, batch))
    else if (state === 'in_progress') await begin(batch)
    else if ((await countOpenLines(db, id)).running === 0)
      alone(batch, () => writeResults({ ...deps, lifetime: deps.settings().fileLifetime }, batch))
  }

  /** To its end. */
  async function goOn(
    id: string,
    from: BatchState[],
    ending: 'completed' | 'expired' | 'failed',
    errors?: BatchError[],
  ): Promise<void> {
    const now = clock.now()
    const change = { state: 'finalizing', ending, moment: 'finalizing_at', now } as const
    await db.transaction(async (tx) => {
      const changed = await changeBatch(tx, id, from, errors === undefined ? change : { ...change, errors })
      if (changed !== undefined) await listBatch(tx, changed, 'seen', now)
    })
    woken = true
  }

  /** What only one process may do for a batch at a time. */
  function alone({ id }: OwnBatchRow, work: () => Promise<void>): void {
    if (works.has(id)) return
    const done = (async () => {
      if (!(await holdBatch(db, id, holder, LEASE))) return
      try {
        await work()
      } finally {
        await letGoOfBatch(db, id, holder)
      }
      wake()
    })()
      .catch((err: unknown) => log.warn({ err, batch: id }, 'a batch could not go on; it is tried again'))
      .finally(() => works.delete(id))
    works.set(id, done)
  }

  async function begin(batch: OwnBatchRow): Promise<void> {
    const { atOnce, inAll } = deps.settings()
    const now = clock.now()
    const running = runningOf(batch.id, atOnce)
    if (now < running.pausedUntil) return
    const most = Math.min(running.room, atOnce) - running.calls.size
    if (most <= 0) return
    const caller = await callerNow(batch, running, now)
    if (caller === null) return
    const by = { holder, lease: LEASE, now, most, atOnce, inAll }
    const claimed = await claimLines(db, batch.id, by)
    for (const line of claimed) start(batch, caller, line, running)
    if (claimed.length > 0 || running.calls.size > 0) return
    const left = await countOpenLines(db, batch.id)
    if (left.waiting === 0 && left.running === 0) await goOn(batch.id, ['in_progress'], 'completed')
  }

  function runningOf(id: string, atOnce: number): Running {
    let running = batches.get(id)
    if (running === undefined) {
      running = { calls: new Set(), room: atOnce, pausedUntil: 0, unpaid: 0, caller: null }
      batches.set(id, running)
    }
    return running
  }

  /** Null = there is none any more, and the batch fails. */
  async function callerNow(batch: OwnBatchRow, running: Running, now: number): Promise<Identity | null> {
    const known = running.caller
    if (known !== null && now < known.at + CALLER_TTL) return known.identity
    const caller = await callerOf(deps.identities, batch.maker.keyHash, batch.endpoint, now)
    if ('keyHash' in caller) {
      running.caller = { identity: caller, at: now }
      return caller
    }
    await goOn(batch.id, ['in_progress'], 'failed', [caller])
    return null
  }

  function start(batch: OwnBatchRow, identity: Identity, line: ClaimedLine, running: Running): void {
    const single = running.calls.size === 0
    const call = openLine(deps, { id: batch.id, endpoint: batch.endpoint, identity }, line)
    running.calls.add(call)
    const done = call.answer
      .then(async (answer) => {
        if (stopped) return
        const verdict = judge(batch.id, line, answer)
        heed(batch.id, running, verdict, single)
        await write(() => keep(batch, line, verdict))
        if (verdict.what === 'unpaid' && running.unpaid >= UNPAID_MAX) {
          const errors = [{ code: 'budget_exceeded', message: verdict.message, param: null, line: null }]
          await write(() => goOn(batch.id, ['in_progress'], 'failed', errors))
        }
      })
      .finally(() => {
        running.calls.delete(call)
        lines.delete(done)
        wake()
      })
    lines.add(done)
  }

  /** More at once with every answer, half where there is no room. */
  function heed(id: string, running: Running, verdict: Verdict, single: boolean): void {
    const { atOnce } = deps.settings()
    if (verdict.what === 'record') {
      running.room = Math.min(atOnce, running.room + 1)
      if (verdict.state === 'answered') running.unpaid = 0
    } else if (verdict.what === 'unpaid') {
      running.room = 1
      running.pausedUntil = clock.now() + UNPAID_DELAY
      if (single) running.unpaid += 1
    } else if (verdict.busy) {
      running.room = Math.max(1, Math.floor(running.room / 2))
      running.pausedUntil = clock.now() + verdict.delay
      log.debug({ batch: id, room: running.room, delay: verdict.delay }, 'there is no room for the lines of a batch now')
    }
  }

  async function keep(batch: OwnBatchRow, { line, callId }: ClaimedLine, verdict: Verdict): Promise<void> {
    if (verdict.what === 'record') {
      await recordLine(db, batch.id, { line, callId, state: verdict.state, result: verdict.result })
      return
    }
    const { delay, known, failed } = verdict.what === 'defer' ? verdict : { delay: UNPAID_DELAY, known: true, failed: false }
    await deferLine(db, batch.id, { line, callId, holder, notBefore: clock.now() + delay, known, failed })
  }

  /** A result is paid for: it is tried to be written for as long as this process lives. */
  async function write(work: () => Promise<void>): Promise<void> {
    while (!stopped) {
      try {
        await work()
        return
      } catch (err) {
        log.warn({ err }, 'the result of a line could not be written; it is tried again')
        await new Promise<void>((resolve) => void clock.after(WRITE_AGAIN, resolve))
      }
    }
  }

  const timers: Timer[] = [
    clock.every(TICK, wake),
    clock.every(RENEW, () => {
      if (lines.size === 0 && works.size === 0) return
      renewHeld(db, holder, LEASE).catch((err: unknown) => log.warn({ err }, 'the leases of lines were not renewed'))
    }),
  ]
  wake()

  async function drain(): Promise<void> {
    draining = true
    await passing
    await Promise.all([...works.values(), ...lines])
  }

  return {
    wake,
    drain,
    async stop() {
      draining = true
      stopped = true
      for (const timer of timers) timer.cancel()
      await passing
      for (const { calls } of batches.values()) for (const call of calls) call.cancel()
      await Promise.all(works.values())
      await releaseHeld(db, holder).catch((err: unknown) => log.warn({ err }, 'lines are free when their leases run out'))
    },
  }
}
