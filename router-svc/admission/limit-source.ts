import type { CustomerLimits, Limit, LimitsReply, LimitsRequest } from '../../proto/limits.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import type { Clock } from '../../shared/clock.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Log } from '../../shared/log.ts'

/** What the customer and the tags of one call bring with them. */
export interface NamedLimits {
  customer: CustomerLimits | null
  limits: readonly Limit[]
}

/** Limits of customers and tags: only the body of a call names them, so they are asked for when first met and then held. */
export interface LimitSource {
  /** At once when everything is held. Rejects with GatewayError `counters_away` when accounting is away and something was never heard of. */
  find(customer: string | null, tags: readonly string[]): NamedLimits | Promise<NamedLimits>
  stop(): Promise<void>
}

/** Milliseconds an answer is used before it is asked for again, and how long it goes on working while accounting is away. */
const TTL = 60_000
const STALE_TTL = 3_600_000
/** Milliseconds to wait for accounting. */
const TIMEOUT = 2_000
/** Most customers, and most tags, held. */
const HELD_MAX = 50_000

interface Held<Value> {
  value: Value
  /** Monotonic milliseconds. */
  fetchedAt: number
}

export function createLimitSource(deps: { bus: Bus; clock: Clock; log: Log }): LimitSource {
  const { bus, clock, log } = deps
  const customers = new Map<string, Held<CustomerLimits>>()
  const tagged = new Map<string, Held<Limit[]>>()
  const pending = new Map<string, Promise<void>>()
  /** Rises with every change heard: an answer asked for before it is used but not held. */
  let changes = 0

  const fresh = (held: Held<unknown> | undefined, now: number): boolean => held !== undefined && now - held.fetchedAt < TTL

  function find(customer: string | null, tags: readonly string[]): NamedLimits | Promise<NamedLimits> {
    const now = clock.monotonic()
    const askCustomer = customer !== null && !fresh(customers.get(customer), now) ? customer : null
    const askTags = tags.filter((tag) => !fresh(tagged.get(tag), now))
    if (askCustomer === null && askTags.length === 0) return collect(customer, tags)
    return ask(askCustomer, askTags).then(() => collect(customer, tags))
  }

  function collect(customer: string | null, tags: readonly string[]): NamedLimits {
    const found = customer === null ? null : (customers.get(customer)?.value ?? null)
    const limits = [...(found?.limits ?? [])]
    for (const tag of tags) limits.push(...(tagged.get(tag)?.value ?? []))
    return { customer: found, limits }
  }

  /** One question for the same names at a time. */
  function ask(customer: string | null, tags: readonly string[]): Promise<void> {
    const key = JSON.stringify([customer, tags])
    const asked = pending.get(key)
    if (asked !== undefined) return asked
    const asking = request(customer, tags).finally(() => pending.delete(key))
    pending.set(key, asking)
    return asking
  }

  async function request(customer: string | null, tags: readonly string[]): Promise<void> {
    const asOf = changes
    const message: LimitsRequest = { v: WIRE_VERSION, customers: customer === null ? [] : [customer], tags: [...tags] }
    let reply: LimitsReply
    try {
      reply = (await bus.request(bus.subjects.limits, message, { timeout: TIMEOUT })) as LimitsReply
    } catch (cause) {
      const now = clock.monotonic()
      const usable = (held: Held<unknown> | undefined) => held !== undefined && now - held.fetchedAt < STALE_TTL
      const known = (customer === null || usable(customers.get(customer))) && tags.every((tag) => usable(tagged.get(tag)))
      if (!known) throw new GatewayError('counters_away', undefined, { retryAfter: 1000, cause })
      log.warn({ err: cause }, 'accounting is away: going on with the limits last known')
      return
    }
    // An answer from before a change serves this call and is asked for again by the next.
    const fetchedAt = asOf === changes ? clock.monotonic() : Number.NEGATIVE_INFINITY
    if (customer !== null) hold(customers, customer, reply.customers[customer] ?? UNLIMITED, fetchedAt)
    for (const tag of tags) hold(tagged, tag, reply.tags[tag] ?? [], fetchedAt)
  }

  function hold<Value>(held: Map<string, Held<Value>>, name: string, value: Value, fetchedAt: number): void {
    held.delete(name)
    if (held.size >= HELD_MAX) held.delete(held.keys().next().value as string)
    held.set(name, { value, fetchedAt })
  }

  const listening = bus.onChange('budget', (payload) => {
    changes += 1
    const { customers: some, tags } = (payload ?? {}) as { customers?: unknown; tags?: unknown }
    if (!Array.isArray(some) && !Array.isArray(tags)) {
      customers.clear()
      tagged.clear()
      return
    }
    for (const name of Array.isArray(some) ? some : []) customers.delete(name)
    for (const name of Array.isArray(tags) ? tags : []) tagged.delete(name)
  })

  return { find, stop: () => listening.stop() }
}

const UNLIMITED: CustomerLimits = Object.freeze({ limits: [], blocked: false, region: null, defaultModel: null })
