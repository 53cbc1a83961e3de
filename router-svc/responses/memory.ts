import type { Clock } from '../../shared/clock.ts'
import { RECORD_MAX, type ResponseStore } from './store.ts'

export interface MemoryResponsesOptions {
  clock: Pick<Clock, 'monotonic'>
  /** Bytes of all that is kept; default 128 MB. */
  maxBytes?: number
}

const MAX_BYTES = 128 * 1024 * 1024

interface Entry {
  record: string
  /** Monotonic milliseconds. */
  until: number
}

/** Records of one process, gone with it. Past `maxBytes` those used longest ago go first. */
export function createMemoryResponses({ clock, maxBytes = MAX_BYTES }: MemoryResponsesOptions): ResponseStore {
  /** In the order of their use. */
  const entries = new Map<string, Entry>()
  let bytes = 0

  function drop(key: string): boolean {
    const entry = entries.get(key)
    if (entry === undefined) return false
    bytes -= entry.record.length
    entries.delete(key)
    return clock.monotonic() < entry.until
  }

  return {
    async put(key, record, keep) {
      drop(key)
      if (record.length > Math.min(RECORD_MAX, maxBytes)) return false
      entries.set(key, { record, until: clock.monotonic() + keep })
      bytes += record.length
      for (const oldest of entries.keys()) {
        if (bytes <= maxBytes) break
        drop(oldest)
      }
      return true
    },
    async get(key) {
      const entry = entries.get(key)
      if (entry === undefined) return null
      entries.delete(key)
      if (clock.monotonic() >= entry.until) {
        bytes -= entry.record.length
        return null
      }
      entries.set(key, entry)
      return entry.record
    },
    delete: async (key) => drop(key),
  }
}
