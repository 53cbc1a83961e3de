import type { StartHead } from '../proto/call.ts'
import type { Identity } from '../proto/identity.ts'
import type { Bus } from '../shared/bus/bus.ts'
import type { Clock } from '../shared/clock.ts'
import { createChanges } from './auth/change.ts'

/** An answer to give instead of asking a router. */
export interface Refusal {
  head: StartHead
  body: Uint8Array
}

/**
 * Refusals that hold for a while, by key and endpoint: a router says for how long (`StartHead.refusedFor`), and until then the edge answers the
 * same itself, so that a flood of a key over its limit does not cross the bus.
 */
export interface Refusals {
  /** What this caller was told on this endpoint, with times as they are now; null when a router is to be asked. */
  find(identity: Identity, endpoint: string): Refusal | null
  /** Counts changes heard. A call remembers it when it leaves: what it is told may be from before a change that came meanwhile. */
  readonly changes: number
  /** Keeps a refusal, unless something changed since `changes` was `asOf`. */
  remember(identity: Identity, endpoint: string, refusal: Refusal, asOf: number): void
  /** Forgets all: models or settings changed. */
  clear(): void
  /** Keys with refusals held. */
  readonly size: number
  stop(): Promise<void>
}

/** Bytes of a body worth keeping; a larger answer is passed on only. */
export const REFUSAL_BODY_MAX = 4 * 1024
/** Milliseconds. Word of a change may be lost, and then costs no more than the cached identity does. */
const HOLD_MAX = 60_000
const KEYS_MAX = 10_000
/** What an answer took, which another does not. */
const DURATIONS: ReadonlySet<string> = new Set(['x-litellm-response-duration-ms', 'x-litellm-overhead-duration-ms'])

interface Held {
  refusal: Refusal
  /** Monotonic milliseconds. */
  since: number
  until: number
}

interface KeyEntry {
  identity: Identity
  /** The count of changes of identities as of which it holds. */
  asOf: number
  endpoints: Map<string, Held>
}

/** An empty memory that hears of changes until it is stopped. */
export function createRefusals({ bus, clock, keys = KEYS_MAX }: { bus: Bus; clock: Clock; keys?: number }): Refusals {
  const held = new Map<string, KeyEntry>()
  const identities = createChanges()
  let changes = 0

  function clear(): void {
    changes += 1
    held.clear()
  }

  const listening = [
    bus.onChange('budget', clear),
    bus.onChange('identity', (payload) => {
      if (identities.hear(payload)) clear()
      else changes += 1
    }),
  ]

  return {
    find({ keyHash }, endpoint) {
      if (held.size === 0) return null
      const entry = held.get(keyHash)
      const found = entry?.endpoints.get(endpoint)
      if (entry === undefined || found === undefined) return null
      if (identities.since(entry.asOf, keyHash, entry.identity)) {
        held.delete(keyHash)
        return null
      }
      entry.asOf = identities.count
      const now = clock.monotonic()
      if (now < found.until) return { head: aged(found.refusal.head, now - found.since), body: found.refusal.body }
      entry.endpoints.delete(endpoint)
      if (entry.endpoints.size === 0) held.delete(keyHash)
      return null
    },
    get changes() {
      return changes
    },
    remember(identity, endpoint, refusal, asOf) {
      const duration = Math.min(refusal.head.refusedFor ?? 0, HOLD_MAX)
      if (duration <= 0 || asOf !== changes || refusal.body.length > REFUSAL_BODY_MAX) return
      const since = clock.monotonic()
      const kept = { head: withoutDurations(refusal.head), body: Uint8Array.from(refusal.body) }
      let entry = held.get(identity.keyHash)
      if (entry === undefined || identities.since(entry.asOf, identity.keyHash, entry.identity)) {
        // The oldest is the nearest to its end.
        if (held.size >= keys) held.delete(held.keys().next().value as string)
        entry = { identity, asOf: identities.count, endpoints: new Map() }
        held.set(identity.keyHash, entry)
      }
      entry.endpoints.set(endpoint, { refusal: kept, since, until: since + duration })
    },
    clear,
    get size() {
      return held.size
    },
    async stop() {
      await Promise.all(listening.map((service) => service.stop()))
    },
  }
}

function withoutDurations(head: StartHead): StartHead {
  return { ...head, headers: Object.fromEntries(Object.entries(head.headers).filter(([name]) => !DURATIONS.has(name))) }
}

/** A head as it would read `elapsed` milliseconds later: durations left, in whole seconds, have become shorter; points in time stay. */
function aged(head: StartHead, elapsed: number): StartHead {
  const headers = { ...head.headers }
  for (const name in headers) {
    const value = headers[name] as string
    if (name === 'retry-after') headers[name] = shorter(value, elapsed, '', 1)
    else if (name.startsWith('x-ratelimit-reset-') && value.endsWith('s'))
      headers[name] = shorter(value.slice(0, -1), elapsed, 's', 0)
  }
  return { ...head, headers }
}

function shorter(seconds: string, elapsed: number, unit: string, least: number): string {
  return /^\d+$/.test(seconds) ? `${Math.max(least, Math.ceil(Number(seconds) - elapsed / 1000))}${unit}` : `${seconds}${unit}`
}
