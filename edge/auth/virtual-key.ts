import { hash } from 'node:crypto'
import type { Identity, IdentityReply, IdentityRequest } from '../../proto/identity.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import type { Clock } from '../../shared/clock.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Log } from '../../shared/log.ts'
import { createChanges } from './change.ts'
import type { From, KeyGuesses } from './key-guesses.ts'

export interface IdentitySettings {
  /** Milliseconds a resolved identity is used before it is asked for again. */
  identityTtl: number
  /** Milliseconds it goes on working after that while accounting is away. */
  identityStaleTtl: number
  /** Milliseconds an unknown key is remembered as unknown. */
  identityNegativeTtl: number
  /** Most identities held, and most unknown keys remembered. */
  identityCacheSize: number
  /** Milliseconds to wait for accounting. */
  identityTimeout: number
}

export interface Identities {
  /**
   * The identity of a key; at once when it is held. Throws or rejects with GatewayError `unknown_key`, `malformed_credential` (unknown and not
   * of the form of a key), `accounting_away`, `overloaded`, or `rate_limited` where too many unknown ones came from there.
   */
  resolve(key: string, from: From): Identity | Promise<Identity>
  /** Whether a key is held: then it is known, or was. */
  holds(key: string): boolean
  /** Identities held. */
  readonly size: number
  stop(): Promise<void>
}

interface Held {
  identity: Identity
  /** Monotonic milliseconds. */
  fetchedAt: number
  askAgainAt: number
  /** The count of changes as of which it is known to hold. */
  asOf: number
  /** Used since the last eviction round. */
  used: boolean
}

/** Lookups on their way at one time; a flood of made-up keys must not become a flood on the bus. */
const PENDING_MAX = 1_000
/** Milliseconds between questions while accounting is away. */
const AWAY_PAUSE = 1_000

/**
 * Keys → identities. Held ones answer without a question; one question per key at a time; what a broadcast change names is asked for anew. A plain
 * key is hashed on sight and kept nowhere.
 */
export function createIdentities(deps: {
  bus: Bus
  clock: Clock
  log: Log
  settings: IdentitySettings
  guesses: KeyGuesses
}): Identities {
  const { bus, clock, log, settings, guesses } = deps
  const held = new Map<string, Held>()
  const unknown = new Map<string, number>()
  const pending = new Map<string, { asOf: number; answer: Promise<Identity> }>()
  /** An answer asked for before a change of its key may be from before it, and is used but not kept. */
  const changes = createChanges()

  function resolve(key: string, from: From): Identity | Promise<Identity> {
    const keyHash = hash('sha256', key, 'hex')
    const entry = current(keyHash)
    const now = clock.monotonic()
    if (entry !== undefined && now < entry.askAgainAt) {
      entry.used = true
      return entry.identity
    }
    const unknownUntil = unknown.get(keyHash)
    if (unknownUntil !== undefined) {
      if (now < unknownUntil) throw unknownKey(key, keyHash)
      unknown.delete(keyHash)
    }
    const asked = pending.get(keyHash)
    // Asked before a change it may be answered as of before it: whoever asks because of the change must not be told that.
    if (asked !== undefined && asked.asOf === changes.count) return asked.answer
    if (pending.size >= PENDING_MAX) throw new GatewayError('overloaded', undefined, { retryAfter: AWAY_PAUSE })
    const whose = guesses.whose(from)
    if (entry === undefined) guesses.check(whose)
    const answer = ask(key, keyHash, entry, whose).finally(() => {
      if (pending.get(keyHash)?.answer === answer) pending.delete(keyHash)
    })
    pending.set(keyHash, { asOf: changes.count, answer })
    return answer
  }

  async function ask(key: string, keyHash: string, entry: Held | undefined, whose: string): Promise<Identity> {
    const asOf = changes.count
    const request: IdentityRequest = { v: WIRE_VERSION, keyHash }
    let reply: IdentityReply
    try {
      reply = (await bus.request(bus.subjects.identity, request, { timeout: settings.identityTimeout })) as IdentityReply
    } catch (cause) {
      const now = clock.monotonic()
      if (entry === undefined || now - entry.fetchedAt >= settings.identityTtl + settings.identityStaleTtl) {
        throw new GatewayError('accounting_away', undefined, { retryAfter: AWAY_PAUSE, cause })
      }
      log.warn({ keyName: entry.identity.keyName, err: cause }, 'accounting is away: going on with the identity last known')
      entry.askAgainAt = now + AWAY_PAUSE
      return entry.identity
    }
    if ('unknown' in reply) {
      held.delete(keyHash)
      guesses.spend(whose)
      if (asOf === changes.count) remember(unknown, keyHash, clock.monotonic() + settings.identityNegativeTtl)
      throw unknownKey(key, keyHash)
    }
    if (!changes.since(asOf, keyHash, reply.identity)) hold(keyHash, reply.identity)
    return reply.identity
  }

  /** What is held of a key; what is from before a change of it is dropped. */
  function current(keyHash: string): Held | undefined {
    const entry = held.get(keyHash)
    if (entry === undefined || entry.asOf === changes.count) return entry
    if (changes.since(entry.asOf, keyHash, entry.identity)) {
      held.delete(keyHash)
      return undefined
    }
    entry.asOf = changes.count
    return entry
  }

  function hold(keyHash: string, identity: Identity): void {
    const now = clock.monotonic()
    held.delete(keyHash)
    if (held.size >= settings.identityCacheSize) evict()
    held.set(keyHash, { identity, fetchedAt: now, askAgainAt: now + settings.identityTtl, asOf: changes.count, used: false })
  }

  /** Second chance: the oldest not used since the last round goes. A hit costs one store, not a move in the list. */
  function evict(): void {
    for (const [keyHash, entry] of held) {
      held.delete(keyHash)
      if (!entry.used) return
      entry.used = false
      held.set(keyHash, entry)
    }
  }

  function remember(map: Map<string, number>, keyHash: string, until: number): void {
    if (map.size >= settings.identityCacheSize) map.delete(map.keys().next().value as string)
    map.set(keyHash, until)
  }

  const listening = bus.onChange('identity', (payload) => {
    unknown.clear()
    if (changes.hear(payload)) held.clear()
  })

  return {
    resolve,
    holds: (key) => current(hash('sha256', key, 'hex')) !== undefined,
    get size() {
      return held.size
    },
    stop: () => listening.stop(),
  }
}

/** A credential as errors may show it: its last four characters, none of a short one. */
export function masked(key: string): string {
  const tail = key.length < 12 ? '****' : key.slice(-4)
  return key.startsWith('sk-') ? `sk-...${tail}` : `...${tail}`
}

function unknownKey(key: string, keyHash: string): GatewayError {
  if (!key.startsWith('sk-')) {
    return new GatewayError(
      'malformed_credential',
      `Authentication Error, LiteLLM Virtual Key expected. Received=${masked(key)}, expected to start with 'sk-'.`,
    )
  }
  return new GatewayError(
    'unknown_key',
    `Authentication Error, Invalid proxy server token passed. Received API Key = ${masked(key)}, Key Hash (Token) =${keyHash}. ` +
      'Unable to find token in cache or `LiteLLM_VerificationTokenTable`',
    { param: 'key' },
  )
}
