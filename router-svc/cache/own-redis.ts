import { GatewayError } from '../../shared/errors.ts'
import type { RedisConnection, RedisOptions } from '../../shared/redis.ts'

/**
 * A connection of the cache's own. The library is loaded now, not at the start of a process: one that caches nothing in Redis starts some
 * 50 ms sooner. Until it is there the server is away. Throws GatewayError `bad_request` when the address is none of a Redis.
 */
export function connectOwn(options: RedisOptions): RedisConnection {
  if (!/^rediss?:\/\//.test(options.url))
    throw new GatewayError('bad_request', 'The Redis URL must start with redis:// or rediss://.')
  let redis: RedisConnection | null = null
  const handlers = new Map<() => void, () => void>()
  const loading = import('../../shared/redis.ts').then(({ createRedis }) => {
    redis = createRedis(options)
    for (const handler of handlers.keys()) handlers.set(handler, redis.onReady(handler))
    return redis
  })
  loading.catch((thrown: Error) => options.log.error({ reason: thrown.message }, 'the Redis of the cache cannot be used'))
  return {
    call: (command, ...args) => loading.then((loaded) => loaded.call(command, ...args)),
    run: (sha, keys, args) => loading.then((loaded) => loaded.run(sha, keys, args)),
    runBinary: (sha, keys, args) => loading.then((loaded) => loaded.runBinary(sha, keys, args)),
    get ready() {
      return redis?.ready === true
    },
    onReady(handler) {
      handlers.set(handler, redis?.onReady(handler) ?? (() => undefined))
      return () => {
        handlers.get(handler)?.()
        handlers.delete(handler)
      }
    },
    close: () =>
      loading.then(
        (loaded) => loaded.close(),
        () => undefined,
      ),
  }
}
