import {
  closeSync,
  fdatasync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import type { Clock, Timer } from '../shared/clock.ts'
import type { Log } from '../shared/log.ts'

/**
 * The durable way of usage events from this process to accounting.
 *
 * An event is written to a file before the client gets the end of its answer, so a `kill -9` at any instant loses none: what the
 * page cache holds outlives the process. `fdatasync` follows within `syncEvery` for events not yet delivered, which bounds what
 * a power cut can take. A forwarder delivers batches; what is delivered and acknowledged is deleted by whole segments. After a
 * crash everything in the files is delivered again, and accounting drops what it has (unique key). Nothing is ever dropped here:
 * at `maxBytes` the spool is `full`, and the router takes no new calls.
 *
 *   file   `<number>.spool`, records back to back: u32 length, u32 CRC-32 of the payload (both big endian), payload
 *   record written → pending → delivered (acknowledged) → gone with its segment
 *
 * Up to `memoryEvents` are also held in memory, as they came; what exceeds that waits in the files alone and is read back in order.
 */
export interface Spool<Event> {
  /**
   * Writes one event, together with all others of this turn of the event loop, and calls `written` when it is in the file. When the disk refuses
   * it, it is kept in memory, `full` is true, and `written` is called too: the answer must not wait for a disk.
   */
  append(event: Event, written?: () => void): void
  /** No room, or the disk fails: take no new work. */
  readonly full: boolean
  /** Events not yet acknowledged. */
  readonly pending: number
  /** Delivers everything; resolves when nothing is pending, or after `limit` milliseconds with what is left (it stays on disk). */
  flush(limit: number): Promise<number>
  close(): void
}

export interface SpoolOptions<Event> {
  directory: string
  encode(event: Event): Uint8Array
  decode(payload: Uint8Array): Event
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
  records: number
  acknowledged: number
}

interface Pending<Event> {
  event: Event
  segment: Segment | null
}

const HEADER = 8
/** Batches under way at once: enough to cover a database commit of 20 ms at ten thousand events a second. */
const IN_FLIGHT = 4
const RETRY_FIRST = 100
const RETRY_MAX = 2_000

/** Opens the spool in `directory` (made when missing) and takes up what an earlier process left. */
export function openSpool<Event>(options: SpoolOptions<Event>): Spool<Event> {
  const { directory, deliver, clock, log } = options
  const maxBytes = options.maxBytes ?? 1024 * 1024 * 1024
  const segmentBytes = options.segmentBytes ?? 8 * 1024 * 1024
  const batchSize = options.batch ?? 500
  const memoryEvents = options.memoryEvents ?? 20_000
  mkdirSync(directory, { recursive: true })

  const soon = options.soon ?? setImmediate
  /** Events of this turn. One write for all of them: a system call costs as much as encoding an event. */
  let gathered: { event: Event; written: (() => void) | undefined }[] = []
  let queue: Pending<Event>[] = []
  let queueStart = 0
  /** Segments whose events are only on disk, oldest first. While there are any, new events go there too: order is kept. */
  const onDisk: Segment[] = []
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
  let nextNumber = 1

  recover()
  const syncTimer = clock.every(options.syncEvery ?? 50, sync)
  if (unacknowledged > 0) wake()

  function recover(): void {
    const numbers = readdirSync(directory)
      .map((name) => /^(\d+)\.spool$/.exec(name)?.[1])
      .filter((digits): digits is string => digits !== undefined)
      .map(Number)
      .sort((a, b) => a - b)
    for (const number of numbers) {
      const segment: Segment = { number, bytes: 0, torn: 0, records: 0, acknowledged: 0 }
      const file = readFileSync(path(number))
      let whole = 0
      for (const payload of readRecords(file)) {
        segment.records += 1
        whole += HEADER + payload.length
      }
      unacknowledged += segment.records
      segment.torn = file.length - whole
      if (segment.torn > 0)
        log.warn({ segment: number, torn: segment.torn }, 'a spool segment ends in a record cut off by a crash')
      segment.bytes = file.length
      nextNumber = number + 1
      if (segment.records === 0) {
        remove(segment)
        continue
      }
      bytes += segment.bytes
      onDisk.push(segment)
    }
    if (unacknowledged > 0) log.info({ events: unacknowledged }, 'delivering usage events left by an earlier process')
  }

  function append(event: Event, written?: () => void): void {
    unacknowledged += 1
    gathered.push({ event, written })
    if (gathered.length === 1) soon(writeGathered)
  }

  function writeGathered(): void {
    const entries = gathered
    gathered = []
    const inMemory = onDisk.length === 0 && queue.length - queueStart < memoryEvents
    let segment: Segment | null = null
    try {
      if (!inMemory && !onDisk.includes(current as Segment)) rotate()
      segment = write(entries.map(({ event }) => options.encode(event)))
      failing = false
    } catch (thrown) {
      if (!failing) log.error({ err: thrown }, 'the spool cannot be written; taking no new calls')
      failing = true
      // Part of a record may stand in the file; what followed it could not be read back.
      closeCurrent()
    }
    if (inMemory || segment === null) for (const { event } of entries) queue.push({ event, segment })
    else if (onDisk[onDisk.length - 1] !== segment) onDisk.push(segment)
    wake()
    for (const { written } of entries) written?.()
  }

  /** Takes the oldest segment that is only on disk into memory. */
  function load(): void {
    const segment = onDisk.shift()
    if (segment === undefined) return
    if (segment === current) closeCurrent()
    for (const payload of readRecords(readFileSync(path(segment.number)))) queue.push({ event: options.decode(payload), segment })
  }

  function write(payloads: readonly Uint8Array[]): Segment {
    if (current === null || current.bytes >= segmentBytes) rotate()
    const segment = current as unknown as Segment
    const records = frame(payloads)
    let written = 0
    while (written < records.length) written += writeSync(descriptor, records, written)
    segment.bytes += records.length
    segment.records += payloads.length
    bytes += records.length
    dirty = true
    return segment
  }

  /** Writes nothing more to the current segment; it goes when all of it is acknowledged. */
  function closeCurrent(): void {
    if (descriptor >= 0) closeSync(descriptor)
    descriptor = -1
    const previous = current
    current = null
    if (previous !== null && previous.acknowledged === previous.records) remove(previous, true)
  }

  function rotate(): void {
    closeCurrent()
    const number = nextNumber++
    descriptor = openSync(path(number), 'ax')
    current = { number, bytes: 0, torn: 0, records: 0, acknowledged: 0 }
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
    for (const { segment } of batch) {
      if (segment === null) continue
      segment.acknowledged += 1
      if (segment !== current && segment.acknowledged === segment.records) remove(segment, true)
    }
    unacknowledged -= batch.length
    // What is all delivered must not be replayed after a restart. Emptying the file is one system call; a new file would be four.
    if (unacknowledged === 0 && current !== null && current.bytes > 0) {
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

  function remove(segment: Segment, counted = false): void {
    if (counted) bytes -= segment.bytes
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
    get full() {
      return failing || bytes >= maxBytes
    },
    get pending() {
      return unacknowledged
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
      if (gathered.length > 0) writeGathered()
      closed = true
      syncTimer.cancel()
      forwardTimer?.cancel()
      retryTimer?.cancel()
      closeCurrent()
    },
  }
}

/** Records of these payloads, back to back. */
function frame(payloads: readonly Uint8Array[]): Buffer {
  let length = 0
  for (const payload of payloads) length += HEADER + payload.length
  const records = Buffer.allocUnsafe(length)
  let at = 0
  for (const payload of payloads) {
    records.writeUInt32BE(payload.length, at)
    records.writeUInt32BE(crc32(payload), at + 4)
    records.set(payload, at + HEADER)
    at += HEADER + payload.length
  }
  return records
}

/** The whole records of a segment; a record cut off or damaged ends the reading, because what follows cannot be framed. */
function* readRecords(file: Buffer): Generator<Uint8Array> {
  let at = 0
  while (at + HEADER <= file.length) {
    const length = file.readUInt32BE(at)
    const end = at + HEADER + length
    if (end > file.length) return
    const payload = file.subarray(at + HEADER, end)
    if (crc32(payload) !== file.readUInt32BE(at + 4)) return
    yield payload
    at = end
  }
}
