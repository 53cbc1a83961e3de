import type { Clock } from '../clock.ts'
import { answerBytes, type Begun, type Claim, type IdempotencyStore, type StoredAnswer } from './store.ts'

export interface MemoryIdempotencyOptions {
  clock: Clock
  /** Bytes of all that is kept; default 64 MB. */
  maxBytes?: number
}

interface Entry {
  fingerprint: string
  /** Null once done. */
  running: { callId: string; owner: string } | null
  answer: StoredAnswer | null
  bytes: number
  /** Monotonic milliseconds. */
  until: number
}

const MAX_BYTES = 64 * 1024 * 1024
/** What a record takes without an answer, about. */
const RECORD_BYTES = 512

/**
 * Records of one process, gone with it. Past `maxBytes` the answers used longest ago go first, and their calls are still known as done; only then
 * those records.
 */
export function createMemoryIdempotency({ clock, maxBytes = MAX_BYTES }: MemoryIdempotencyOptions): IdempotencyStore {
  const entries = new Map<string, Entry>()
  /** Done, in the order of their use: with an answer, and without. */
  const answered = new Set<string>()
  const unkept = new Set<string>()
  let bytes = 0

  function find(key: string): Entry | undefined {
    const entry = entries.get(key)
    if (entry === undefined || clock.monotonic() < entry.until) return entry
    drop(key)
    return undefined
  }

  function drop(key: string): void {
    bytes -= entries.get(key)?.bytes ?? 0
    entries.delete(key)
    answered.delete(key)
    unkept.delete(key)
  }

  function put(key: string, fields: Omit<Entry, 'bytes'>): void {
    drop(key)
    const entry = { ...fields, bytes: RECORD_BYTES + (fields.answer === null ? 0 : answerBytes(fields.answer)) }
    bytes += entry.bytes
    entries.set(key, entry)
    if (entry.running === null) (entry.answer === null ? unkept : answered).add(key)
  }

  function run({ key, fingerprint, callId, owner }: Claim, lease: number): void {
    put(key, { fingerprint, running: { callId, owner }, answer: null, until: clock.monotonic() + lease })
  }

  /** Running records are never evicted: there are no more of them than calls. */
  function evict(): void {
    for (const key of answered) {
      if (bytes <= maxBytes) return
      const entry = entries.get(key) as Entry
      if (clock.monotonic() < entry.until) put(key, { ...entry, answer: null })
      else drop(key)
    }
    for (const key of unkept) {
      if (bytes <= maxBytes) return
      drop(key)
    }
  }

  return {
    async begin(claim, lease): Promise<Begun> {
      const entry = find(claim.key)
      if (entry === undefined) {
        run(claim, lease)
        return 'new'
      }
      if (entry.fingerprint !== claim.fingerprint) return 'conflict'
      if (entry.running === null) {
        if (entry.answer === null) return 'unkept'
        answered.delete(claim.key)
        answered.add(claim.key)
        return entry.answer
      }
      if (entry.running.callId !== claim.callId) return 'running'
      run(claim, lease)
      return 'new'
    },
    async renew(claim, lease) {
      const entry = find(claim.key)
      if (entry === undefined) run(claim, lease)
      else if (entry.running?.owner === claim.owner) entry.until = clock.monotonic() + lease
    },
    async finish({ key, fingerprint, owner }, answer, keep) {
      const entry = find(key)
      if (entry !== undefined && entry.running?.owner !== owner) return false
      put(key, { fingerprint, running: null, answer, until: clock.monotonic() + keep })
      evict()
      return answer !== null && answered.has(key)
    },
    async abandon({ key, owner }) {
      if (find(key)?.running?.owner === owner) drop(key)
    },
  }
}
