import { BEAT_INTERVAL, BEAT_LIMIT } from '../../proto/frames.ts'
import type { Role } from '../../proto/subjects.ts'
import type { Clock } from '../clock.ts'
import type { FleetMember } from './bus.ts'

/** Milliseconds between looks at the fleet and at silent streams. */
export const SWEEP_INTERVAL = BEAT_INTERVAL / 2

/** Sweeps without a beat after which a process counts as lost. */
const LOST_AFTER = Math.ceil(BEAT_LIMIT / SWEEP_INTERVAL)

/** Sweeps without a beat after which a process gets no stream that can go to another: beats come every second sweep. */
const LATE_AFTER = 4

/**
 * Sweeps for which a process that fell silent without a word may still be in its queue groups: a frozen one is, until the NATS server misses the
 * answer to its second ping (2 min apart by default) or cannot write to it any more.
 */
const DOUBTED_FOR = (6 * 60_000) / SWEEP_INTERVAL

/** Field of a beat: the subjects whose streams can be sent to this process alone, each between blanks. */
export const SERVES = 'serves'

/** Field of a beat: how often the process lost its connection. Absent in versions that do not say which streams they still serve when it is back. */
export const CONNECTION = 'connection'

interface Peer {
  role: Role | null
  fields: Record<string, number | string | boolean>
  heardAt: number
  silent: number
}

/** The processes of the bus as their beats tell. */
export interface Fleet {
  heard(role: Role, id: string, fields: Record<string, number | string | boolean>): void
  /** A process whose message proves that it is alive, though its beat may not have come yet. */
  touch(id: string): void
  /** A process that said it leaves. */
  left(id: string): void
  /** Whether the process says which streams it serves after a connection was lost. */
  proves(id: string): boolean
  /** Gives every process the whole limit again: beats may have been lost with the connection. */
  forgive(): void
  sweep(): void
  list(): FleetMember[]
  /**
   * A member of the queue group of `subject` that beats on time, drains not and is not `except`; each in turn. Null when none is known, as while
   * all are of an older version.
   */
  pick(subject: string, except: string | null): string | null
  /** Somebody who serves streams is silent without having said goodbye: the queue group may go on handing it some. */
  readonly doubtful: boolean
}

/**
 * Silence is counted in sweeps of this process, not in time: a process that was frozen itself has swept once when it wakes, so
 * it does not take everybody else for dead. `onReturn` hears of a process that has lost its connection and is back.
 */
export function createFleet(clock: Clock, onLost: (id: string) => void, onReturn: (id: string) => void): Fleet {
  const peers = new Map<string, Peer>()
  /** Who served and was lost, and the sweeps since. */
  const missing = new Map<string, number>()
  let doubtful = false
  let turn = 0
  return {
    heard(role, id, fields) {
      missing.delete(id)
      const before = peers.get(id)
      peers.set(id, { role, fields, heardAt: clock.monotonic(), silent: 0 })
      // Of one that was only touched it is not known how often it lost its connection.
      if (before !== undefined && before.role !== null && before.fields[CONNECTION] !== fields[CONNECTION]) onReturn(id)
    },
    proves: (id) => peers.get(id)?.fields[CONNECTION] !== undefined,
    touch(id) {
      const peer = peers.get(id)
      if (peer === undefined) peers.set(id, { role: null, fields: {}, heardAt: clock.monotonic(), silent: 0 })
      else peer.silent = 0
    },
    left(id) {
      missing.delete(id)
      if (peers.delete(id)) onLost(id)
    },
    forgive() {
      for (const peer of peers.values()) peer.silent = 0
    },
    sweep() {
      for (const [id, sweeps] of missing) {
        if (sweeps < DOUBTED_FOR) missing.set(id, sweeps + 1)
        else missing.delete(id)
      }
      let late = 0
      for (const [id, peer] of peers) {
        peer.silent += 1
        const serves = peer.fields[SERVES] !== undefined
        if (serves && peer.silent >= LATE_AFTER) late += 1
        if (peer.silent < LOST_AFTER) continue
        peers.delete(id)
        if (serves) missing.set(id, 0)
        onLost(id)
      }
      doubtful = late + missing.size > 0
    },
    get doubtful() {
      return doubtful
    },
    pick(subject, except) {
      const able: string[] = []
      for (const [id, { fields, silent }] of peers) {
        const serves = fields[SERVES]
        if (typeof serves !== 'string' || !serves.includes(` ${subject} `)) continue
        if (id !== except && silent < LATE_AFTER && fields['draining'] !== true && fields['ready'] !== false) able.push(id)
      }
      turn += 1
      return able[turn % able.length] ?? null
    },
    list() {
      const now = clock.monotonic()
      const members: FleetMember[] = []
      for (const [id, { role, fields, heardAt }] of peers) {
        if (role !== null) members.push({ role, id, age: Math.max(0, Math.round(now - heardAt)), fields })
      }
      return members
    },
  }
}
