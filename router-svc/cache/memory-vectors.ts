import type { Clock } from '../../shared/clock.ts'
import { type Neighbour, normalized, type Vectors } from './vectors.ts'

interface Entry {
  key: string
  partition: string
  vector: Float32Array
  /** Monotonic milliseconds. */
  until: number
}

/**
 * Vectors of this process, compared one by one: a thousand of 1,536 numbers take about a millisecond, so a partition is bounded; `maxEntries` is
 * for all together. The oldest go first.
 */
const PARTITION_MAX = 5_000

export function createMemoryVectors({ clock, maxEntries }: { clock: Clock; maxEntries: number }): Vectors {
  /** By key, oldest first; and the same by partition. */
  const entries = new Map<string, Entry>()
  const partitions = new Map<string, Map<string, Entry>>()

  function drop(key: string): void {
    const entry = entries.get(key)
    if (entry === undefined) return
    entries.delete(key)
    const partition = partitions.get(entry.partition)
    partition?.delete(key)
    if (partition?.size === 0) partitions.delete(entry.partition)
  }

  return {
    async find(partition, asked, threshold) {
      const vector = normalized(asked)
      const known = partitions.get(partition)
      if (vector === null || known === undefined) return null
      const now = clock.monotonic()
      let best: Neighbour | null = null
      for (const entry of known.values()) {
        if (entry.until <= now) {
          drop(entry.key)
          continue
        }
        if (entry.vector.length !== vector.length) continue
        const similarity = dot(entry.vector, vector)
        if (similarity >= threshold && (best === null || similarity > best.similarity)) best = { key: entry.key, similarity }
      }
      return best
    },
    async add(partition, given, key, ttl) {
      const vector = normalized(given)
      if (vector === null) return
      drop(key)
      const entry = { key, partition, vector, until: clock.monotonic() + ttl }
      entries.set(key, entry)
      let known = partitions.get(partition)
      if (known === undefined) {
        known = new Map()
        partitions.set(partition, known)
      }
      known.set(key, entry)
      if (known.size > PARTITION_MAX) drop(known.keys().next().value as string)
      if (entries.size > maxEntries) drop(entries.keys().next().value as string)
    },
    async delete(keys) {
      for (const key of keys) drop(key)
    },
    async flush() {
      entries.clear()
      partitions.clear()
    },
  }
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0
  for (let at = 0; at < a.length; at++) sum += (a[at] as number) * (b[at] as number)
  return sum
}
