import type { CacheSettings } from '../../proto/routing.ts'
import type { Clock } from '../../shared/clock.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Call } from '../call.ts'
import type { RouterRuntime } from '../runtime.ts'
import type { CachedAnswer } from './cache.ts'
import type { CacheCounts } from './cache-counts.ts'
import { cacheControls } from './controls.ts'
import { embeddingTurn } from './embedding-turn.ts'
import { createFlights, type Flights } from './flights.ts'
import { cacheKey } from './key.ts'
import { createRecorder } from './recorder.ts'
import type { SemanticTurn } from './semantic.ts'
import type { CacheStore } from './stores.ts'
import { answerOf, type CacheTurn, hit, isFresh, type TurnContext } from './turn.ts'

export interface LookupDeps {
  /** The store that settings ask for; null = it cannot be opened. */
  store(settings: CacheSettings): CacheStore | null
  clock: Clock
  counts: CacheCounts
}

export interface Lookup {
  /**
   * Null: the cache has nothing to do with this call. Throws GatewayError `bad_request` or `cache_control_denied` for the call's cache controls; rejects
   * with GatewayError `cancelled` (or what `call.end` was given) when a call that waits for another's answer is ended.
   */
  begin(call: Call, runtime: Pick<RouterRuntime, 'settings'>): Promise<CacheTurn> | null
}

/** Modes whose answers are streamed again from what is kept. */
const REPLAYED: ReadonlySet<string> = new Set(['chat', 'completion'])

/** Looks answers up, and keeps those of calls that ran. */
export function createLookup({ store, clock, counts }: LookupDeps): Lookup {
  const flights = createFlights()
  return {
    begin(call, runtime) {
      const settings = runtime.settings.cache
      if (settings === null || settings === undefined || !settings.modes.includes(call.endpoint.mode)) return null
      // Their events are the provider's own, and are not looked at.
      if (call.stream && !REPLAYED.has(call.endpoint.mode)) return null
      const controls = cacheControls(call, settings)
      if (!controls.read && !controls.write) return null
      const opened = store(settings)
      if (opened === null) return null
      const context: TurnContext = { call, settings, controls, store: opened, clock, counts }
      return call.endpoint.mode === 'embedding' ? embeddingTurn(context) : answerTurn(context, flights)
    },
  }
}

async function answerTurn(context: TurnContext, flights: Flights): Promise<CacheTurn> {
  const { call, settings, controls } = context
  const key = cacheKey(call, settings, controls.namespace)
  call.cacheKey = key
  const shares = settings.singleFlight && controls.read && controls.write
  if (shares) {
    const waiting = flights.join(key)
    const answer = waiting === null ? null : await others(call, waiting)
    if (answer !== null) return hit(context, key, answer, null)
  }
  let handed = false
  const land = (answer: CachedAnswer | null): void => {
    if (shares && !handed) flights.land(key, answer)
    handed = true
  }
  try {
    const turn = await ownTurn(context, key, land)
    if (turn.hit !== null) land(turn.hit.similarity === null ? turn.hit.answer : null)
    return turn
  } catch (thrown) {
    land(null)
    throw thrown
  }
}

/** The answer another call is making. Rejects when this call is ended meanwhile. */
async function others(call: Call, waiting: NonNullable<ReturnType<Flights['join']>>): Promise<CachedAnswer | null> {
  try {
    return await new Promise<CachedAnswer | null>((resolve, reject) => {
      const leave = (error: GatewayError): void => {
        waiting.leave()
        reject(error)
      }
      if (call.cancelled !== null) return leave(new GatewayError('cancelled'))
      call.stop = () => leave(new GatewayError('cancelled'))
      call.end = leave
      void waiting.answer.then(resolve)
    })
  } finally {
    call.stop = null
    call.end = null
  }
}

/** Exact, then similar, then recorded. */
async function ownTurn(context: TurnContext, key: string, land: (answer: CachedAnswer | null) => void): Promise<CacheTurn> {
  const { call, settings, controls, store, clock, counts } = context
  let similar: SemanticTurn | null = null
  if (controls.read) {
    const answer = await store.cache.get(key)
    if (answer !== null && answer.mode === call.endpoint.mode && isFresh(answer, controls, clock))
      return hit(context, key, answer, null)
  }
  if (store.semantic !== null && REPLAYED.has(call.endpoint.mode)) {
    similar = await store.semantic.begin(call, settings, controls.namespace)
    if (controls.read && similar !== null) {
      const found = await similar.find((candidate) => isFresh(candidate, controls, clock))
      if (found !== null) return hit(context, found.key, found.answer, found.similarity)
    }
  }
  if (controls.read) counts.miss(call)
  if (!controls.write) {
    return { hit: null, finish: () => land(null) }
  }
  const recorder = createRecorder(call)
  call.capture = recorder
  return {
    hit: null,
    finish(outcome) {
      const response = outcome.ok ? recorder.answer() : null
      if (!outcome.ok || response === null) return land(null)
      const answer = answerOf(context, response, outcome)
      void store.cache.set(key, answer, controls.ttl)
      void similar?.add(key, controls.ttl)
      land(answer)
    },
  }
}
