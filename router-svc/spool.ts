import {
  closeSync,
  fdatasync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import type { Clock, Timer } from '../shared/clock.ts'
import type { Log } from '../shared/log.ts'
import { createFraming, readRecords } from './spool-records.ts'

/**
 * The durable way of usage events from this process to accounting.
 *
 * An event is written to a file before the client gets the end of its answer, so a `kill -9` at any instant loses none: what the
 * page cache holds outlives the process. `fdatasync` follows within `syncEvery` for events not yet delivered, which bounds what
 * a power cut can take. A forwarder delivers batches; what is delivered and acknowledged is deleted by whole segments. After a
 * crash everything in the files is delivered again, and accounting drops what it has (unique key). Nothing is ever dropped here:
 * at `maxBytes` the spool is `full`, and the router takes no new calls.
 *
 * Before a call reaches a provider its *intent* is written: the event to book if the call is never reported. The event of the call closes the
 * intent. Those a dead process left open are delivered as they stand.
 *
 *   file     `<number>.spool`, records back to back (spool-records.ts)
 *   event    written → pending → delivered (acknowledged) → gone with its segment
 *   intent   written → open → closed, once the event is in the file or delivered
 *                           ↘ delivered as it stands, by the next process
 *
 * Segments go oldest first, so none with an event goes before that with its intent: else a crash in between would deliver both. Intents of calls
 * that run for long do not keep what is around them: once at most a quarter of the oldest delivered segments is open intents, these are copied
 * to the current segment and the old ones go. So the files hold what is not delivered, at most four times what is open, and a segment.
 *
 * Up to `memoryEvents` are also held in memory, as they came; what exceeds that waits in the files alone and is read back in order.
 */
export interface Spool<Event> {
  /**
   * Writes one event, together with all others of this turn of the event loop, and calls `written` when it is in the file. When the disk refuses
   * it, it is kept in memory, `full` is true, and `written` is called too: the answer must not wait for a disk. Closes the intent of its identity.
   */
  append(event: Event, written?: () => void): void
  /**
   * Writes, in the same way, what to book for a call if no event of its identity is ever appended. Again for the same call (another attempt)
   * replaces the former. When the disk refuses it the call is not covered, and goes on.
   */
  intend(intent: Event, written?: () => void): void
  /** Writes what this turn has brought so far, now: what follows may rely on it. Nothing to do = no system call. */
  writeNow(): void
  /** No room, or the disk fails: take no new work. */
  readonly full: boolean
  /** Events not yet acknowledged. */
  readonly pending: number
  /** Intents not yet closed. */
  readonly open: number
  /** Delivers everything; resolves when nothing is pending, or after `limit` milliseconds with what is left (it stays on disk). */
  flush(limit: number): Promise<number>
  close(): void
}

export interface SpoolOptions<Event> {
  directory: string
  /** Text that says everything; `decode` reads it again. */
  encode(event: Event): string
  decode(text: string): Event
  /** What a call's intent and its event have in common, and no other call. */
  idOf(event: Event): string
  /** Delivers a batch durably; rejecting keeps it for later. */
  deliver(batch: Event[]): Promise<void>
  clock: Clock
  log: Log
  maxBytes?: number
  memoryEvents?: number
  /** Runs once this turn's events have been gathered; default `setImmediate`. */
  soon?: (run: () => void) => void
  segmentBytes?: number
  /** Milliseconds between forwarding rounds. */
  forwardEvery?: number
  syncEvery?: number
  batch?: number
}

interface Segment {
  number: number
  bytes: number
  /** Bytes that could not be read as records; the file is then kept aside instead of deleted. */
  torn: number
  /** Records to deliver: its events, and the intents an earlier process left open. */
  records: number
  acknowledged: number
  /** Bytes of intents of this process that are open. */
  open: number
  /** Offsets of the intents an earlier process left open. */
  left: Set<number> | null
}

/** An open intent, and where it stands; `segment` is null while it stands nowhere. */
interface Intent {
  id: string
  number: number
  segment: Segment | null
  at: number
  bytes: number
}

/** An event to append, or an intent to write; `intent` is what the event closes. */
interface Gathered<Event> {
  event: Event
  announced: boolean
  intent: Intent | null
  written: (() => void) | undefined
}

interface Pending<Event> {
  event: Event
  segment: Segment | null
  /** The intent of an event that the disk refused: open until the event is delivered. */
  cover: Intent | null
}

/** Batches under way at once: enough to cover a database commit of 20 ms at ten thousand events a second. */
const IN_FLIGHT = 4
/** Records of a turn up to which each event is written as it comes: one call at a time makes two. */
const QUIET_TURN = 2
const RETRY_FIRST = 100
const RETRY_MAX = 2_000
/** Part of the oldest delivered segments that may be open intents when these are copied: the copies are a third of what goes, at most. */
const OPEN_SHARE = 1 / 4

/** Opens the spool in `directory` (made when missing) and takes up what an earlier process left. */
export function openSpool<Event>(options: SpoolOptions<Event>): Spool<Event> {
  const { directory, deliver, clock, log } = options
  const maxBytes = options.maxBytes ?? 1024 * 1024 * 1024
  // A part of the whole, so that what is delivered can go before the spool is full.
  const segmentBytes = Math.min(options.segmentBytes ?? 8 * 1024 * 1024, maxBytes / 8)
  const batchSize = options.batch ?? 500
  const memoryEvents = options.memoryEvents ?? 20_000
  mkdirSync(directory, { recursive: true })

  const soon = options.soon ?? setImmediate
  const frame = createFraming()
  /** Events and intents of this turn. One write for all of them: a system call costs as much as encoding an event. */
  let gathered: Gathered<Event>[] = []
  let gatheredEvents = 0
  /** The turn under way, and how much it and the one before brought. */
  let inTurn = false
  let thisTurn = 0
  let lastTurn = 0
  let queue: Pending<Event>[] = []
  let queueStart = 0
  /** Every segment there is, oldest first; the current one is the last. */
  let segments: Segment[] = []
  /** Segments whose events are only on disk, oldest first. While there are any, new events go there too: order is kept. */
  const onDisk: Segment[] = []
  /** Open intents by identity. */
  const open = new Map<string, Intent>()
  let bytes = 0
  let unacknowledged = 0
  let inFlight = 0
  let failing = false
  let retryDelay = RETRY_FIRST
  let retryTimer: Timer | null = null
  let forwardTimer: Timer | null = null
  let closed = false
  let waiters: (() => void)[] = []

  let current: Segment | null = null
  let descriptor = -1
  let dirty = false
  let nextSegment = 1
  let nextIntent = 1

  recover()
  const syncTimer = clock.every(options.syncEvery ?? 50, sync)
  if (unacknowledged > 0) wake()

  function recover(): void {
    const numbers = readdirSync(directory)
      .map((name) => /^(\d+)\.spool$/.exec(name)?.[1])
      .filter((digits): digits is string => digits !== undefined)
      .map(Number)
      .sort((a, b) => a - b)
    const left = new Map<number, { segment: Segment; at: number }>()
    for (const number of numbers) {
      const segment = newSegment(number)
      const file = readFileSync(path(number))
      let whole = 0
      for (const record of readRecords(file)) {
        whole += record.bytes
        if (record.number >= nextIntent) nextIntent = numberAfter(record.number)
        // Written again by another attempt, or copied: the last one counts.
        if (record.intent) left.set(record.number, { segment, at: record.at })
        else {
          segment.records += 1
          if (record.number !== 0) left.delete(record.number)
        }
      }
      segment.torn = file.length - whole
      if (segment.torn > 0)
        log.warn({ segment: number, torn: segment.torn }, 'a spool segment ends in a record cut off by a crash')
      segment.bytes = file.length
      bytes += segment.bytes
      nextSegment = number + 1
      segments.push(segment)
    }
    for (const { segment, at } of left.values()) {
      segment.left ??= new Set()
      segment.left.add(at)
      segment.records += 1
    }
    for (const segment of segments) {
      unacknowledged += segment.records
      if (segment.records > 0) onDisk.push(segment)
    }
    clean()
    if (unacknowledged > 0)
      log.info({ events: unacknowledged, unsettled: left.size }, 'delivering usage events left by an earlier process')
  }

  function append(event: Event, written?: () => void): void {
    unacknowledged += 1
    gatheredEvents += 1
    gather({ event, announced: false, intent: open.get(options.idOf(event)) ?? null, written })
  }

  function intend(event: Event, written?: () => void): void {
    const id = options.idOf(event)
    let intent = open.get(id)
    if (intent === undefined) {
      intent = { id, number: nextIntent, segment: null, at: 0, bytes: 0 }
      nextIntent = numberAfter(nextIntent)
      open.set(id, intent)
    }
    gather({ event, announced: true, intent, written })
  }

  function gather(entry: Gathered<Event>): void {
    gathered.push(entry)
    thisTurn += 1
    if (!inTurn) {
      inTurn = true
      soon(endTurn)
    }
    // Nobody to share the write with: waiting for the end of the turn would only make the call longer.
    if (!entry.announced && lastTurn <= QUIET_TURN && thisTurn <= QUIET_TURN) writeGathered()
  }

  function endTurn(): void {
    inTurn = false
    lastTurn = thisTurn
    thisTurn = 0
    writeGathered()
  }

  function writeGathered(): void {
    if (gathered.length === 0) return
    const entries = gathered
    const events = gatheredEvents
    gathered = []
    gatheredEvents = 0
    const inMemory = onDisk.length === 0 && queue.length - queueStart < memoryEvents
    let segment: Segment | null = null
    try {
      if (events > 0 && !inMemory && !onDisk.includes(current as Segment)) rotate()
      segment = writeEntries(entries)
      segment.records += events
      failing = false
    } catch (thrown) {
      refused(thrown)
    }
    const queued = inMemory || segment === null
    if (events > 0 && segment !== null && !queued && onDisk[onDisk.length - 1] !== segment) onDisk.push(segment)
    for (const { event, announced, intent } of entries) {
      if (announced) continue
      if (intent !== null && segment !== null) close(intent)
      if (queued) queue.push({ event, segment, cover: segment === null ? intent : null })
    }
    if (events > 0) wake()
    for (const { written } of entries) written?.()
  }

  /** Writes these entries as one; an intent stands from then on where it was written last. */
  function writeEntries(entries: readonly Gathered<Event>[]): Segment {
    const { bytes: framed, ends } = frame(
      entries.map(({ event, announced, intent }) => ({
        intent: announced,
        number: intent === null ? 0 : intent.number,
        text: options.encode(event),
      })),
    )
    const segment = write(framed)
    const from = segment.bytes - framed.length
    let at = 0
    for (const [index, { announced, intent }] of entries.entries()) {
      const end = ends[index] as number
      if (announced) place(intent as Intent, segment, from + at, end - at)
      at = end
    }
    return segment
  }

  function place(intent: Intent, segment: Segment | null, at: number, size: number): void {
    if (intent.segment !== null) intent.segment.open -= intent.bytes
    if (segment !== null) segment.open += size
    Object.assign(intent, { segment, at, bytes: size })
  }

  /** The event of this intent is safe. */
  function close(intent: Intent): void {
    place(intent, null, 0, 0)
    open.delete(intent.id)
  }

  /** Takes the oldest segment that is only on disk into memory. */
  function load(): void {
    const segment = onDisk.shift()
    if (segment === undefined) return
    if (segment === current) closeCurrent()
    // What a failed write left behind the last whole one is in memory.
    const file = readFileSync(path(segment.number)).subarray(0, segment.bytes)
    for (const { intent, payload, at } of readRecords(file)) {
      if (!intent || segment.left?.has(at) === true)
        queue.push({ event: options.decode(payload.toString('utf8')), segment, cover: null })
    }
  }

  /** Writes whole records behind each other into the current segment, which it returns. */
  function write(records: Uint8Array): Segment {
    if (current === null || current.bytes >= segmentBytes) rotate()
    const segment = current as unknown as Segment
    let written = 0
    while (written < records.length) written += writeSync(descriptor, records, written)
    segment.bytes += records.length
    bytes += records.length
    dirty = true
    return segment
  }

  function refused(thrown: unknown): void {
    if (!failing) log.error({ err: thrown }, 'the spool cannot be written; taking no new calls')
    failing = true
    // Part of a record may stand in the file; what followed it could not be read back.
    closeCurrent()
  }

  /** Writes nothing more to the current segment. */
  function closeCurrent(): void {
    const [closing, segment] = [descriptor, current]
    descriptor = -1
    current = null
    if (segment === null) return
    if (dirty && !isDone(segment)) fdatasync(closing, () => closeSync(closing))
    else closeSync(closing)
    dirty = false
  }

  function rotate(): void {
    closeCurrent()
    const number = nextSegment++
    descriptor = openSync(path(number), 'ax')
    current = newSegment(number)
    segments.push(current)
  }

  function isDone(segment: Segment): boolean {
    return segment !== current && segment.acknowledged >= segment.records
  }

  /** Deletes the oldest segments, as many as are delivered, once little of them is open. */
  function clean(): void {
    let count = 0
    let [size, kept] = [0, 0]
    for (const segment of segments) {
      if (!isDone(segment)) break
      count += 1
      size += segment.bytes
      kept += segment.open
    }
    while (count > 0 && (segments[0] as Segment).open === 0) {
      const segment = segments.shift() as Segment
      count -= 1
      size -= segment.bytes
      remove(segment)
    }
    if (count === 0 || failing || closed || kept > size * OPEN_SHARE) return
    const old = segments.slice(0, count)
    try {
      copyOpen(old)
    } catch (thrown) {
      refused(thrown)
      return
    }
    segments = segments.slice(count)
    for (const segment of old) remove(segment)
  }

  /** Copies the intents that are open in these segments to the current one. */
  function copyOpen(old: readonly Segment[]): void {
    const intents = [...open.values()].filter(({ segment }) => segment !== null && old.includes(segment))
    const copies = Buffer.allocUnsafe(intents.reduce((sum, intent) => sum + intent.bytes, 0))
    let filled = 0
    for (const segment of old) {
      if (segment.open === 0) continue
      const source = openSync(path(segment.number), 'r')
      try {
        for (const intent of intents) {
          if (intent.segment !== segment) continue
          const read = readSync(source, copies, filled, intent.bytes, intent.at)
          if (read < intent.bytes) throw new Error(`segment ${segment.number} has become shorter`)
          filled += read
        }
      } finally {
        closeSync(source)
      }
    }
    const target = write(copies)
    let at = target.bytes - copies.length
    for (const segment of old) {
      for (const intent of intents) {
        if (intent.segment !== segment) continue
        const size = intent.bytes
        place(intent, target, at, size)
        at += size
      }
    }
  }

  function wake(): void {
    if (forwardTimer !== null || retryTimer !== null || closed) return
    forwardTimer = clock.after(options.forwardEvery ?? 10, () => {
      forwardTimer = null
      forward()
    })
  }

  function forward(): void {
    if (queueStart >= queue.length) load()
    while (inFlight < IN_FLIGHT && queueStart < queue.length && retryTimer === null && !closed) {
      const batch = queue.slice(queueStart, queueStart + batchSize)
      queueStart += batch.length
      if (queueStart > 4096 && queueStart * 2 > queue.length) {
        queue = queue.slice(queueStart)
        queueStart = 0
      }
      inFlight += 1
      deliver(batch.map((entry) => entry.event)).then(
        () => delivered(batch),
        (thrown) => undelivered(batch, thrown),
      )
    }
  }

  function delivered(batch: Pending<Event>[]): void {
    inFlight -= 1
    retryDelay = RETRY_FIRST
    for (const { segment, cover } of batch) {
      if (cover !== null) close(cover)
      if (segment !== null) segment.acknowledged += 1
    }
    unacknowledged -= batch.length
    clean()
    // What is all delivered must not be replayed after a restart. Emptying the file is one system call; a new file would be four.
    if (unacknowledged === 0 && current !== null && current.bytes > 0 && current.open === 0 && segments.length === 1) {
      ftruncateSync(descriptor, 0)
      bytes -= current.bytes
      Object.assign(current, { bytes: 0, records: 0, acknowledged: 0 })
    }
    if (unacknowledged === 0) {
      // Nothing is at risk any more, and only a new call can tell whether the disk takes writes again.
      failing = false
      for (const resolve of waiters) resolve()
      waiters = []
    }
    if (queueStart < queue.length || onDisk.length > 0) forward()
  }

  function undelivered(batch: Pending<Event>[], thrown: unknown): void {
    inFlight -= 1
    queue = batch.concat(queue.slice(queueStart))
    queueStart = 0
    if (retryTimer !== null || closed) return
    log.warn(
      { error: thrown instanceof Error ? thrown.message : String(thrown), pending: unacknowledged, retryIn: retryDelay },
      'usage events wait: delivery failed',
    )
    retryTimer = clock.after(retryDelay, () => {
      retryTimer = null
      forward()
    })
    retryDelay = Math.min(retryDelay * 2, RETRY_MAX)
  }

  function sync(): void {
    if (!dirty || descriptor < 0) return
    dirty = false
    fdatasync(descriptor, (error) => {
      // EBADF: the segment was delivered and closed meanwhile.
      if (error !== null && error.code !== 'EBADF') log.error({ error: error.message }, 'the spool cannot be synced')
    })
  }

  function remove(segment: Segment): void {
    bytes -= segment.bytes
    try {
      if (segment.torn > 0) renameSync(path(segment.number), `${path(segment.number)}.damaged`)
      else unlinkSync(path(segment.number))
    } catch (thrown) {
      log.warn({ error: (thrown as Error).message, segment: segment.number }, 'a delivered spool segment stays')
    }
  }

  function path(number: number): string {
    return join(directory, `${String(number).padStart(10, '0')}.spool`)
  }

  return {
    append,
    intend,
    writeNow: writeGathered,
    get full() {
      return failing || bytes >= maxBytes
    },
    get pending() {
      return unacknowledged
    },
    get open() {
      return open.size
    },
    flush(limit) {
      if (unacknowledged === 0) return Promise.resolve(0)
      forward()
      return new Promise((resolve) => {
        const timer = clock.after(limit, () => resolve(unacknowledged))
        waiters.push(() => {
          timer.cancel()
          resolve(0)
        })
      })
    },
    close() {
      writeGathered()
      closed = true
      syncTimer.cancel()
      forwardTimer?.cancel()
      retryTimer?.cancel()
      closeCurrent()
      clean()
    },
  }
}

function newSegment(number: number): Segment {
  return { number, bytes: 0, torn: 0, records: 0, acknowledged: 0, open: 0, left: null }
}

/** Numbers go round, past 0: four thousand million calls later no intent of that time is open. */
function numberAfter(number: number): number {
  return number === 0xffff_ffff ? 1 : number + 1
}
