import { hash } from 'node:crypto'
import { join } from 'node:path'
import type { CacheSettings } from '../../proto/routing.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Sealer } from '../../shared/config/secrets.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { HttpClient } from '../../shared/http/client.ts'
import type { Log } from '../../shared/log.ts'
import type { RedisConnection } from '../../shared/redis.ts'
import type { Cache } from './cache.ts'
import type { CacheCounts } from './cache-counts.ts'
import { createDiskCache } from './disk.ts'
import { createGuard, type GuardedCache, guardCache } from './guard.ts'
import { createMemoryCache } from './memory.ts'
import { createMemoryVectors } from './memory-vectors.ts'
import { connectOwn } from './own-redis.ts'
import { createRedisCache } from './redis.ts'
import { createRedisVectors, searchesVectors } from './redis-vectors.ts'
import { createS3Cache } from './s3.ts'
import { createSemantic, type Embed, type Semantic } from './semantic.ts'
import type { Vectors } from './vectors.ts'

/** What calls and /cache routes use of a cache that is open. */
export interface CacheStore {
  readonly type: CacheSettings['type']
  /** For calls. */
  readonly cache: GuardedCache
  /** Null = answers to similar prompts are not given. */
  readonly semantic: Semantic | null
  /** For /cache routes: what goes wrong is told. */
  readonly raw: Cache
  readonly vectors: Vectors | null
  /** Routers see each other's answers. */
  readonly shared: boolean
  /** Where it keeps them in Redis. */
  readonly redis: RedisConnection | null
}

export interface StoresDeps {
  clock: Clock
  log: Log
  counts: CacheCounts
  http: HttpClient
  sealer: Sealer
  env: Readonly<Record<string, string | undefined>>
  /** The counters' own, and its address; null = they are in this process. */
  redis: RedisConnection | null
  redisUrl: string | null
  /** Tells the gateways that share a Redis apart. */
  prefix: string
  /** Folder of a disk cache whose settings name none. */
  directory: string
  /** Null = there is nobody to make embeddings. */
  embed: Embed | null
}

export interface CacheStores {
  /** The store these settings ask for, opened when they ask for another one than before; null = it cannot be opened, which the log has. */
  of(settings: CacheSettings): CacheStore | null
  /** No settings ask for one: what is open is closed, in the background. */
  none(): void
  close(): Promise<void>
}

/** Holds the one store in force. */
export function createCacheStores(deps: StoresDeps): CacheStores {
  let settings: CacheSettings | null = null
  let place = ''
  let opened: (CacheStore & { close(): Promise<void> }) | null = null

  async function closeOld(): Promise<void> {
    const old = opened
    opened = null
    await old?.close()
  }

  function replaceOld(): void {
    closeOld().catch((thrown: Error) => deps.log.warn({ reason: thrown.message }, 'the old response cache did not close'))
  }

  return {
    of(wanted) {
      if (wanted === settings) return opened
      settings = wanted
      let asked = ''
      try {
        asked = placeOf(wanted, deps)
        if (asked === place) return opened
        replaceOld()
        opened = openStore(wanted, deps)
        deps.log.info({ type: wanted.type }, 'the response cache is open')
      } catch (thrown) {
        replaceOld()
        deps.log.error(
          { type: wanted.type, reason: (thrown as Error).message },
          'the response cache cannot be opened; nothing is cached',
        )
      }
      place = asked
      return opened
    },
    none() {
      if (settings === null) return
      settings = null
      place = ''
      if (opened === null) return
      replaceOld()
      deps.log.info({}, 'the response cache is closed')
    },
    async close() {
      settings = null
      place = ''
      await closeOld()
    },
  }
}

/** What of the settings says where answers are: a change of anything else keeps them. Hashed, for it holds secrets. */
function placeOf(
  { type, maxEntries, maxBytes, directory, redisUrl, s3, semantic }: CacheSettings,
  { sealer }: StoresDeps,
): string {
  // The same text is sealed differently each time.
  const open = (sealed: string | null | undefined) => (sealed == null ? null : sealer.open(sealed))
  const secrets = [open(redisUrl), open(s3?.secretAccessKey), open(s3?.sessionToken)]
  const bucket = s3 === null ? null : [s3.bucket, s3.prefix, s3.region, s3.endpoint, s3.accessKeyId]
  const vectors = [semantic?.store, semantic?.index, semantic?.embeddingModel]
  return hash('sha256', JSON.stringify([type, maxEntries, maxBytes, directory, bucket, vectors, secrets]), 'hex')
}

/** Throws GatewayError `bad_request` when something is missing. */
function openStore(settings: CacheSettings, deps: StoresDeps): CacheStore & { close(): Promise<void> } {
  const { clock } = deps
  const kind = settings.type === 'semantic' ? (settings.semantic?.store ?? 'memory') : settings.type
  const url = kind === 'redis' && settings.redisUrl !== null ? deps.sealer.open(settings.redisUrl) : null
  const own = url === null || (url === deps.redisUrl && deps.redis !== null) ? null : ownRedis(url, deps)
  const redis = kind === 'redis' ? (own ?? deps.redis) : null
  const besideCounters = url === null || (deps.redisUrl !== null && serverOf(url) === serverOf(deps.redisUrl))
  const raw = openCache(kind, settings, redis, deps, besideCounters)
  const vectors =
    settings.semantic === null
      ? null
      : chosenVectors(createMemoryVectors({ clock, maxEntries: settings.maxEntries }), settings.semantic.index, redis, deps)
  const guard = createGuard(deps)
  const cache = guardCache(raw, guard)
  if (vectors !== null && deps.embed === null)
    deps.log.warn({}, 'no model makes embeddings; only identical calls are answered from the cache')
  const semantic =
    vectors === null || deps.embed === null
      ? null
      : createSemantic({ vectors, cache, guard: createGuard(deps), embedGuard: createGuard(deps), embed: deps.embed })
  return {
    type: settings.type,
    cache,
    semantic,
    raw,
    vectors,
    shared: kind === 'redis' || kind === 's3',
    redis,
    async close() {
      await raw.close()
      await own?.close()
    },
  }
}

function openCache(
  kind: Exclude<CacheSettings['type'], 'semantic'>,
  settings: CacheSettings,
  redis: RedisConnection | null,
  { clock, prefix, http, sealer, env, directory }: StoresDeps,
  bounded: boolean,
): Cache {
  const { maxEntries, maxBytes } = settings
  switch (kind) {
    case 'memory':
      return createMemoryCache({ clock, maxEntries, maxBytes })
    case 'disk':
      return createDiskCache({ directory: settings.directory ?? join(directory, 'cache'), clock, maxEntries, maxBytes })
    case 'redis':
      if (redis === null) throw missing('a Redis: set cache_params.host or url, or the redis settings of the router')
      return createRedisCache({ redis, prefix, clock, maxBytes: bounded ? maxBytes : null })
    case 's3':
      return createS3Cache({ http, clock, ...s3Of(settings.s3, sealer, env) })
  }
}

/** As the settings say, else as the AWS tools' environment variables do. */
function s3Of(s3: CacheSettings['s3'], sealer: Sealer, env: StoresDeps['env']) {
  if (s3 === null) throw missing('a bucket: set cache_params.s3_bucket_name')
  const accessKeyId = s3.accessKeyId ?? env['AWS_ACCESS_KEY_ID']
  const secretAccessKey = s3.secretAccessKey === null ? env['AWS_SECRET_ACCESS_KEY'] : sealer.open(s3.secretAccessKey)
  if (accessKeyId === undefined || secretAccessKey === undefined)
    throw missing('AWS credentials: set s3_aws_access_key_id and s3_aws_secret_access_key')
  const sessionToken = s3.sessionToken === null ? env['AWS_SESSION_TOKEN'] : sealer.open(s3.sessionToken)
  const ownToken = s3.accessKeyId === null || s3.sessionToken !== null ? sessionToken : undefined
  return {
    bucket: s3.bucket,
    prefix: s3.prefix === '' || s3.prefix.endsWith('/') ? s3.prefix : `${s3.prefix}/`,
    region: s3.region ?? env['AWS_REGION'] ?? env['AWS_DEFAULT_REGION'] ?? 'us-east-1',
    endpoint: s3.endpoint,
    credentials: { accessKeyId, secretAccessKey, ...(ownToken === undefined ? {} : { sessionToken: ownToken }) },
  }
}

function ownRedis(url: string, { log, clock }: StoresDeps): RedisConnection {
  return connectOwn({ url, log: log.child({ redis: 'cache' }), clock })
}

/** The server of an address, whatever the user and the database. */
function serverOf(url: string): string {
  return URL.canParse(url) ? new URL(url).host : url
}

/** Redis's vectors once it is known that it can search them; until then, and where it cannot, those of this process. */
function chosenVectors(memory: Vectors, index: string, redis: RedisConnection | null, { prefix, log }: StoresDeps): Vectors {
  if (redis === null) return memory
  let chosen = memory
  const stop = redis.onReady(() => {
    searchesVectors(redis).then(
      (able) => {
        stop()
        if (able) chosen = createRedisVectors({ redis, prefix, index })
        else log.warn({}, 'this Redis cannot search vectors; each router compares the prompts it saw itself')
      },
      () => undefined,
    )
  })
  return {
    find: (...asked) => chosen.find(...asked),
    add: (...added) => chosen.add(...added),
    delete: (keys) => chosen.delete(keys),
    flush: () => chosen.flush(),
  }
}

function missing(what: string): GatewayError {
  return new GatewayError('bad_request', `The response cache needs ${what}.`)
}
