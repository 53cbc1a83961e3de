import { BEAT_INTERVAL, BEAT_LIMIT } from '../../proto/frames.ts'
import type { Role } from '../../proto/subjects.ts'
import type { Clock } from '../clock.ts'
import type { FleetMember } from './bus.ts'

/** Milliseconds between looks at the fleet and at silent streams. */
export const SWEEP_INTERVAL = BEAT_INTERVAL / 2

/** Sweeps without a beat after which a process counts as lost. */
const LOST_AFTER = Math.ceil(BEAT_LIMIT / SWEEP_INTERVAL)

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
  /** Gives every process the whole limit again: beats may have been lost with the connection. */
  forgive(): void
  sweep(): void
  list(): FleetMember[]
}

/**
 * Silence is counted in sweeps of this process, not in time: a process that was frozen itself has swept once when it wakes, so
 * it does not take everybody else for dead.
 */
export function createFleet(clock: Clock, onLost: (id: string) => void): Fleet {
  const peers = new Map<string, Peer>()
  return {
    heard(role, id, fields) {
      peers.set(id, { role, fields, heardAt: clock.monotonic(), silent: 0 })
    },
    touch(id) {
      const peer = peers.get(id)
      if (peer === undefined) peers.set(id, { role: null, fields: {}, heardAt: clock.monotonic(), silent: 0 })
      else peer.silent = 0
    },
    left(id) {
      if (peers.delete(id)) onLost(id)
    },
    forgive() {
      for (const peer of peers.values()) peer.silent = 0
    },
    sweep() {
      for (const [id, peer] of peers) {
        peer.silent += 1
        if (peer.silent < LOST_AFTER) continue
        peers.delete(id)
        onLost(id)
      }
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
