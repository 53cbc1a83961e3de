import type { CacheNews, CacheReply, CacheRequest } from '../../proto/cache.ts'
import type { CacheSettings } from '../../proto/routing.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import { fromWire, GatewayError } from '../../shared/errors.ts'
import { type Route, route, z } from './route.ts'

export interface CacheRoutesDeps {
  bus: Bus
  /** Of the runtime as published; null = answers are not cached. */
  cacheSettings(): CacheSettings | null
}

/** Milliseconds a router has to answer; to flush a store takes longer than to ask it. */
const LIMIT = 5_000
const FLUSH_LIMIT = 120_000
/** Keys of one request. */
const KEYS_MAX = 10_000

const DONE = z.object({ status: z.literal('success') })
const FACTS = z.record(z.string(), z.unknown())

/**
 * /cache routes (surface reference §1.10). The stores are the routers': one is asked, and where each router holds its own, all are told.
 */
export function cacheRoutes({ bus, cacheSettings }: CacheRoutesDeps): Route[] {
  async function ask(
    what: CacheRequest['what'],
    limit = LIMIT,
    keys?: string[],
  ): Promise<{ type: string; facts: Record<string, unknown> }> {
    const request: CacheRequest = { v: WIRE_VERSION, what, ...(keys === undefined ? {} : { keys }) }
    let reply: CacheReply
    try {
      reply = (await bus.request(bus.subjects.cache, request, { timeout: limit })) as CacheReply
    } catch (cause) {
      throw new GatewayError('cache_away', 'No router answers for the cache.', { cause })
    }
    if ('error' in reply) throw fromWire(reply.error)
    return reply
  }

  const tell = (keys: string[] | null): void => {
    const news: CacheNews = { v: WIRE_VERSION, keys }
    bus.announce('cache', news)
  }

  return [
    route({
      method: 'GET',
      path: '/cache/ping',
      tag: 'cache',
      summary: 'Whether the response cache answers, and keeps what it is given',
      access: 'key',
      input: z.object({}),
      output: z.object({
        status: z.literal('healthy'),
        cache_type: z.string(),
        ping_response: z.boolean(),
        set_cache_response: z.literal('success'),
        litellm_cache_params: FACTS,
        health_check_cache_params: FACTS,
      }),
      async handle() {
        const { type, facts } = await ask('ping')
        return {
          status: 'healthy',
          cache_type: type,
          ping_response: true,
          set_cache_response: 'success',
          litellm_cache_params: shown(cacheSettings()),
          health_check_cache_params: facts,
        }
      },
    }),
    route({
      method: 'POST',
      path: '/cache/delete',
      tag: 'cache',
      summary: 'Forgets answers by the keys of their x-litellm-cache-key headers',
      access: 'admin',
      input: z.object({ keys: z.array(z.string().min(1).max(2_000)).max(KEYS_MAX).describe('Values of x-litellm-cache-key') }),
      output: DONE,
      async handle({ input }) {
        // The header of an embedding call lists the keys of its inputs.
        const keys = input.keys.flatMap((key) => key.split(','))
        await ask('delete', LIMIT, keys)
        tell(keys)
        return { status: 'success' }
      },
    }),
    route({
      method: 'POST',
      path: '/cache/flushall',
      tag: 'cache',
      summary: 'Forgets all answers',
      access: 'admin',
      input: z.object({}),
      output: DONE,
      async handle() {
        await ask('flush', FLUSH_LIMIT)
        tell(null)
        return { status: 'success' }
      },
    }),
    route({
      method: 'GET',
      path: '/cache/redis/info',
      tag: 'cache',
      summary: 'What the Redis of the cache says of itself and its clients',
      access: 'admin',
      input: z.object({}),
      output: z.object({ num_clients: z.number(), clients: z.array(FACTS), info: FACTS }),
      async handle() {
        const { facts } = await ask('info')
        const clients = Array.isArray(facts['clients']) ? facts['clients'] : []
        return { num_clients: clients.length, clients, info: facts['info'] }
      },
    }),
  ]
}

/** Settings without what is secret or tells where things are. */
function shown(settings: CacheSettings | null): Record<string, unknown> {
  if (settings === null) return {}
  const { type, defaultOn, ttl, namespace, modes, tenancy, singleFlight, maxEntries, maxBytes, semantic } = settings
  return {
    type,
    mode: defaultOn ? 'default_on' : 'default_off',
    ttl: ttl / 1000,
    namespace,
    supported_call_types: modes,
    tenancy,
    single_flight: singleFlight,
    max_entries: maxEntries,
    max_bytes: maxBytes,
    ...(semantic === null ? {} : { similarity_threshold: semantic.threshold, embedding_model: semantic.embeddingModel }),
  }
}
