import type { PreCallCheck } from '../../proto/routing.ts'
import type { TokenUsage } from '../../proto/usage.ts'
import type { Clock } from '../../shared/clock.ts'
import { entryOf } from '../../shared/entry.ts'
import type { Call } from '../call.ts'
import type { Route } from '../runtime.ts'
import { type Hash, hashOf } from './hash.ts'
import { createHashMemory } from './hash-memory.ts'
import { createPromptCache, type Savings } from './prompt-cache.ts'
import { type PromptPrefix, promptPrefix } from './prompt-prefix.ts'
import { createRendezvous } from './rendezvous.ts'

/**
 * Keeps together what belongs together (`optional_pre_call_checks`, `model_group_affinity_config`): the calls of a session, of a key, of a
 * conversation whose prompt a provider has cached. A preference only: whoever asks offers the routes that come into question, and one that
 * is not among them is not preferred. Routers need not tell each other: where nothing is remembered all of them pick the same route.
 */
export interface Affinity {
  /** The route of `routes` this call should go to, or null for whatever the strategy says. `now`: monotonic milliseconds. */
  prefer(call: Call, routes: readonly Route[], now: number): Route | null
  /** An attempt on `route` succeeded. */
  learn(call: Call, route: Route, usage: TokenUsage | undefined): void
  /** What prompt-cache-aware routing has brought since the start. */
  savings(): Savings
}

/** What affinity knows of one call. */
export interface CallAffinity {
  /** Group that `pin` is about. */
  group: string
  /** Under which the session's or the key's deployment is remembered; null = no such affinity holds. */
  pin: Hash | null
  prefix: PromptPrefix | null
  /** Deployment that served the beginning of this conversation, when it is preferred now; null = none. */
  warm: string | null
}

/** Prefixes, sessions and keys remembered: 1.8 MB. */
const ENTRIES = 131_072
/** Deployments that can be told apart; past it everything is forgotten. */
const SLOTS_MAX = 65_535
/** How far back from its end a conversation is looked for: messages a client adds between two calls. */
const TURN_MAX = 64
/** A deployment that everybody's first messages lead to takes this much more than the mean of calls at once; a few it may always have. */
const LOAD_FACTOR = 2
const LOAD_FREE = 8
/** One that returns from an ejection is not given whole conversations before half of its traffic is back. */
const SHARE_MIN = 0.5

export function createAffinity({ clock }: { clock: Pick<Clock, 'monotonic'> }): Affinity {
  let memory = createHashMemory(ENTRIES)
  const slots = new Map<string, number>()
  const ids: string[] = []
  const rendezvous = createRendezvous()
  const cache = createPromptCache()

  function prefer(call: Call, routes: readonly Route[], now: number): Route | null {
    if (routes.length < 2) return null
    const affinity = affinityOf(call)
    if (affinity === null) return null
    affinity.warm = null
    const { pin, prefix } = affinity
    const since = now - call.routing.affinityTtl
    if (pin !== null) return remembered(routes, pin, since, now) ?? steady(rendezvous.pick(routes, pin), now)
    return prefix === null ? null : warm(routes, affinity, prefix, since, now)
  }

  function affinityOf(call: Call): CallAffinity | null {
    const { optionalChecks, groupChecks } = call.routing
    const ofGroup = entryOf(groupChecks, call.modelGroup)
    if (optionalChecks.length === 0 && ofGroup === undefined) return null
    const has = (check: PreCallCheck): boolean => optionalChecks.includes(check) || ofGroup?.includes(check) === true
    const pin = pinOf(call, has)
    let prefix = call.affinity?.prefix ?? null
    if (pin === null && prefix === null && has('prompt_caching') && call.affinity === null) {
      prefix = promptPrefix(call.request)
      if (prefix !== null) cache.considered()
    }
    call.affinity = { group: call.modelGroup, pin, prefix, warm: null }
    return call.affinity
  }

  /** The longest remembered beginning of the conversation, else where all routers would begin it. */
  function warm(
    routes: readonly Route[],
    affinity: CallAffinity,
    { at, root }: PromptPrefix,
    since: number,
    now: number,
  ): Route | null {
    for (let index = at.length - 1; index > root && index >= at.length - TURN_MAX; index -= 1) {
      const route = remembered(routes, at[index] as Hash, since, now)
      if (route === null) continue
      if (!cache.worthIt(route.deployment.id, now)) return null
      affinity.warm = route.deployment.id
      return route
    }
    // Many conversations may begin alike: the deployment of this beginning gets them only while it is not much busier than the others.
    const first = at[root] as Hash
    const shared = root === 0
    const most = shared ? loadLimit(routes) : Number.POSITIVE_INFINITY
    const known = remembered(routes, first, since, now)
    const route = known !== null && known.state.inFlight < most ? known : begin(routes, first, most, now)
    if (route === null || !cache.worthIt(route.deployment.id, now)) return null
    if (route === known) affinity.warm = route.deployment.id
    return route
  }

  function begin(routes: readonly Route[], first: Hash, most: number, now: number): Route | null {
    return steady(
      rendezvous.pick(routes, first, ({ state }) => state.inFlight >= most),
      now,
    )
  }

  function remembered(routes: readonly Route[], hash: Hash, since: number, now: number): Route | null {
    const slot = memory.get(hash, since)
    if (slot < 0) return null
    const id = ids[slot]
    return steady(routes.find(({ deployment }) => deployment.id === id) ?? null, now)
  }

  function slotOf(id: string): number {
    let slot = slots.get(id)
    if (slot !== undefined) return slot
    if (ids.length >= SLOTS_MAX) {
      memory = createHashMemory(ENTRIES)
      slots.clear()
      ids.length = 0
    }
    slot = ids.length
    slots.set(id, slot)
    ids.push(id)
    return slot
  }

  function learn(call: Call, route: Route, usage: TokenUsage | undefined): void {
    const { affinity } = call
    if (affinity === null) return
    const now = clock.monotonic()
    const { id } = route.deployment
    const slot = slotOf(id)
    if (affinity.pin !== null && affinity.group === call.modelGroup) memory.set(affinity.pin, slot, now)
    const { prefix } = affinity
    if (prefix === null) return
    if (affinity.warm === id && usage !== undefined) cache.learn(id, usage, route.prices, now)
    const { at, root } = prefix
    memory.set(at[at.length - 1] as Hash, slot, now)
    // A beginning that many share stays where it was first: the overflow of one busy moment must not move it.
    const first = at[root] as Hash
    if (memory.get(first, now - call.routing.affinityTtl) < 0 || affinity.warm === id) memory.set(first, slot, now)
  }

  return { prefer, learn, savings: cache.savings }
}

function pinOf(call: Call, has: (check: PreCallCheck) => boolean): Hash | null {
  if (has('session_affinity')) {
    const session = call.options.sessionId ?? call.options.metadata?.['session_id']
    if (typeof session === 'string' && session !== '') return hashOf('session', call.modelGroup, call.identity.keyHash, session)
  }
  return has('deployment_affinity') ? hashOf('key', call.modelGroup, call.identity.keyHash) : null
}

function steady(route: Route | null, now: number): Route | null {
  return route !== null && route.state.share(now) >= SHARE_MIN ? route : null
}

function loadLimit(routes: readonly Route[]): number {
  let sum = 0
  for (const { state } of routes) sum += state.inFlight
  return Math.max(LOAD_FREE, (LOAD_FACTOR * sum) / routes.length)
}
