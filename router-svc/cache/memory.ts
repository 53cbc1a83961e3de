import type { Clock } from '../../shared/clock.ts'
import type { Cache } from './cache.ts'
import { decodeEntry, encodeEntry } from './entry.ts'

export interface MemoryCacheOptions {
  clock: Clock
  maxEntries: number
  maxBytes: number
}

/** What an entry takes beside its bytes, about. */
const ENTRY_BYTES = 256

/** Answers of one process, gone with it. Past either bound those used longest ago go first. Kept as bytes: so they are counted, and nobody changes them. */
export function createMemoryCache({ clock, maxEntries, maxBytes }: MemoryCacheOptions): Cache {
  /** In the order of their use. */
  const entries = new Map<string, Buffer>()
  let bytes = 0

  function drop(key: string): boolean {
    const entry = entries.get(key)
    if (entry === undefined) return false
    bytes -= entry.length + ENTRY_BYTES
    return entries.delete(key)
  }

  return {
    async get(key) {
      const entry = entries.get(key)
      if (entry === undefined) return null
      const read = decodeEntry(entry.toString())
      if (read === null || read.until <= clock.now()) {
        drop(key)
        return null
      }
      entries.delete(key)
      entries.set(key, entry)
      return read.answer
    },
    async set(key, answer, ttl) {
      drop(key)
      const entry = encodeEntry(answer, clock.now() + ttl)
      if (entry.length + ENTRY_BYTES > maxBytes) return
      entries.set(key, entry)
      bytes += entry.length + ENTRY_BYTES
      for (const oldest of entries.keys()) {
        if (bytes <= maxBytes && entries.size <= maxEntries) break
        drop(oldest)
      }
    },
    async delete(keys) {
      return keys.filter(drop).length
    },
    async flush() {
      entries.clear()
      bytes = 0
    },
    async ping() {
      return { entries: entries.size, bytes }
    },
    async close() {
      entries.clear()
    },
  }
}
