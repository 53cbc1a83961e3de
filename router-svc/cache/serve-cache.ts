import type { CacheNews, CacheReply, CacheRequest } from '../../proto/cache.ts'
import type { CacheSettings } from '../../proto/routing.ts'
import { QUEUE } from '../../proto/subjects.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import type { Bus, Service } from '../../shared/bus/bus.ts'
import type { Clock } from '../../shared/clock.ts'
import { GatewayError, toGatewayError, toWire } from '../../shared/errors.ts'
import type { Log } from '../../shared/log.ts'
import type { RedisConnection } from '../../shared/redis.ts'
import type { CachedAnswer } from './cache.ts'
import type { CacheStore, CacheStores } from './stores.ts'

export interface ServeCacheDeps {
  bus: Bus
  stores: CacheStores
  /** Of the runtime in force; null = nothing is cached, or there is no runtime yet. */
  settings(): CacheSettings | null
  clock: Clock
  log: Log
}

const PING_KEY = 'turnpike-ping'
const PING_TTL = 10_000

/** Does what the /cache routes ask: one router for all where the store is shared, and every router in what it holds itself. */
export function serveCache(deps: ServeCacheDeps): Service {
  const { bus, log } = deps
  const asked = bus.respond(bus.subjects.cache, QUEUE.router, async (payload): Promise<CacheReply> => {
    try {
      const store = storeOf(deps)
      return { v: WIRE_VERSION, type: store.type, facts: await answer(payload as CacheRequest, store, deps.clock) }
    } catch (thrown) {
      return { v: WIRE_VERSION, error: toWire(refusal(thrown)) }
    }
  })
  const told = bus.onChange('cache', (payload) => {
    const { keys } = payload as CacheNews
    const settings = deps.settings()
    const store = settings === null ? null : deps.stores.of(settings)
    if (store === null) return
    drop(store, keys).catch((thrown) => {
      log.warn({ reason: toGatewayError(thrown).message }, 'what another part had deleted of the cache is still here')
    })
  })
  return {
    async stop() {
      await Promise.all([asked.stop(), told.stop()])
    },
  }
}

/** Throws GatewayError `cache_away` when nothing is cached. */
function storeOf({ stores, settings }: ServeCacheDeps): CacheStore {
  const wanted = settings()
  if (wanted === null) throw new GatewayError('cache_away', 'Cache not initialized: no cache is configured.')
  const store = stores.of(wanted)
  if (store === null) throw new GatewayError('cache_away', 'The cache cannot be opened; the log of the router says why.')
  return store
}

/** What a store throws is about Redis, files or HTTP; whoever asks wants to know that the cache is away. */
function refusal(thrown: unknown): GatewayError {
  if (thrown instanceof GatewayError && (thrown.code === 'cache_away' || thrown.code === 'bad_request')) return thrown
  return new GatewayError('cache_away', undefined, { cause: thrown })
}

async function answer({ what, keys }: CacheRequest, store: CacheStore, clock: Clock): Promise<Record<string, unknown>> {
  switch (what) {
    case 'ping':
      return ping(store, clock)
    case 'info':
      if (store.redis === null)
        throw new GatewayError('bad_request', `A cache of the type ${store.type} has no Redis to tell of.`)
      return redisInfo(store.redis)
    case 'delete':
      await store.vectors?.delete(keys ?? [])
      return { deleted: await store.raw.delete(keys ?? []) }
    case 'flush':
      await store.raw.flush()
      await store.vectors?.flush()
      return {}
  }
}

/** What this router holds itself; a shared store has lost it already. */
async function drop(store: CacheStore, keys: readonly string[] | null): Promise<void> {
  if (keys === null) await Promise.all([store.shared ? null : store.raw.flush(), store.vectors?.flush()])
  else await Promise.all([store.shared ? null : store.raw.delete(keys), store.vectors?.delete(keys)])
}

/** Asks the store, keeps something in it and reads that again. */
async function ping(store: CacheStore, clock: Clock): Promise<Record<string, unknown>> {
  const facts = await store.raw.ping()
  const written: CachedAnswer = { at: clock.now(), mode: 'ping', response: {}, modelGroup: '', deploymentId: '', cost: 0 }
  await store.raw.set(PING_KEY, written, PING_TTL)
  const read = await store.raw.get(PING_KEY)
  await store.raw.delete([PING_KEY])
  if (read?.at !== written.at) throw new GatewayError('cache_away', 'The cache does not give back what it was given.')
  return facts
}

/** Redis's own facts about itself and its clients. */
async function redisInfo(redis: RedisConnection): Promise<Record<string, unknown>> {
  const [info, clients] = (await Promise.all([redis.call('INFO'), redis.call('CLIENT', 'LIST')])) as [string, string]
  return {
    info: pairsOf(info, /\r?\n/, ':'),
    clients: clients
      .split('\n')
      .filter(Boolean)
      .map((line) => pairsOf(line, ' ', '=')),
  }
}

function pairsOf(text: string, between: string | RegExp, sign: string): Record<string, string> {
  const pairs = text.split(between).filter((part) => part.includes(sign) && !part.startsWith('#'))
  return Object.fromEntries(pairs.map((pair) => [pair.slice(0, pair.indexOf(sign)), pair.slice(pair.indexOf(sign) + 1)]))
}
