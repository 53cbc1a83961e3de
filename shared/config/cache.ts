import type { CacheSettings } from '../../proto/routing.ts'
import type { Config } from './config.ts'
import { redisUrl, serverUrl } from './redis-url.ts'
import type { Environment } from './references.ts'
import type { Sealer } from './secrets.ts'

/** Seconds an answer is kept where nothing is said. */
const DEFAULT_TTL = 600
/** Seconds between the chunks of a replayed stream (LiteLLM's pace). */
const DEFAULT_PACE = 0.02
const DEFAULT_ENTRIES = 10_000
const DEFAULT_MEGABYTES = 100
const DEFAULT_INDEX = 'turnpike_semantic'
/** LiteLLM's default. */
const DEFAULT_EMBEDDING = 'text-embedding-ada-002'

/** Names of calls (`supported_call_types`) → the mode they have here; others name calls that are never cached. */
const MODES: Readonly<Record<string, string>> = {
  completion: 'chat',
  acompletion: 'chat',
  responses: 'chat',
  aresponses: 'chat',
  anthropic_messages: 'chat',
  text_completion: 'completion',
  atext_completion: 'completion',
  embedding: 'embedding',
  aembedding: 'embedding',
  rerank: 'rerank',
  arerank: 'rerank',
  transcription: 'transcription',
  atranscription: 'transcription',
}

/** Cached only where they are named: whoever asks for the same picture twice mostly wants another. */
const NAMED: Readonly<Record<string, string>> = { image_generation: 'image', aimage_generation: 'image' }

/**
 * `litellm_settings.cache` and `cache_params` (surface reference §8.1) as routers use them; null = answers are not cached. Passwords are
 * sealed.
 */
export function cacheOf(config: Config, sealer: Sealer, env: Environment = {}): CacheSettings | null {
  const { litellm_settings: calls, router_settings: router, turnpike_settings: own } = config
  if (calls.cache !== true) return null
  const params = calls.cache_params ?? {}
  const extras = own.cache ?? {}
  const modes =
    params.supported_call_types == null
      ? [...new Set(Object.values(MODES))]
      : [...new Set(params.supported_call_types.flatMap((name) => MODES[name] ?? NAMED[name] ?? []))]
  // LiteLLM's way of saying: use Redis for the router's state only.
  if (modes.length === 0) return null
  const redis = ownRedis(params) ?? redisUrl(config, env)
  const type = typeOf(params.type, redis !== null)
  const semantic = type === 'semantic'
  const inRedis = type === 'redis' || params.type === 'redis-semantic'
  return {
    type,
    defaultOn: params.mode !== 'default_off',
    ttl: milliseconds(params.ttl ?? defaultTtl(calls, type) ?? DEFAULT_TTL),
    namespace: params.namespace ?? null,
    modes,
    tenancy: extras.tenancy ?? 'tenant',
    singleFlight: extras.single_flight ?? false,
    replayPace: milliseconds(extras.replay_pace ?? DEFAULT_PACE),
    maxEntries: extras.max_entries ?? DEFAULT_ENTRIES,
    maxBytes: Math.floor((extras.max_size_mb ?? DEFAULT_MEGABYTES) * 1024 * 1024),
    groups: router.caching_groups ?? [],
    // LiteLLM's default would answer a call with top_k 1 from one with top_k 40.
    providerParams: calls.enable_caching_on_provider_specific_optional_params ?? true,
    directory: type === 'disk' ? (params.disk_cache_dir ?? null) : null,
    redisUrl: inRedis && redis !== null ? sealer.seal(redis) : null,
    s3: type === 's3' ? bucketOf(params, sealer) : null,
    semantic: semantic
      ? {
          threshold: params.similarity_threshold ?? 1,
          embeddingModel: params.redis_semantic_cache_embedding_model ?? DEFAULT_EMBEDDING,
          store: params.type === 'redis-semantic' ? 'redis' : 'memory',
          index: params.redis_semantic_cache_index_name ?? DEFAULT_INDEX,
        }
      : null,
  }
}

type Parameters = NonNullable<Config['litellm_settings']['cache_params']>

function typeOf(name: Parameters['type'], redis: boolean): CacheSettings['type'] {
  if (name == null) return redis ? 'redis' : 'memory'
  if (name === 'local') return 'memory'
  return name === 'redis-semantic' ? 'semantic' : name
}

function defaultTtl(calls: Config['litellm_settings'], type: CacheSettings['type']): number | null | undefined {
  const params = calls.cache_params ?? {}
  if (type === 'memory') return params.default_in_memory_ttl ?? calls.default_in_memory_ttl
  return type === 'redis' ? (params.default_in_redis_ttl ?? calls.default_redis_ttl) : null
}

/** The Redis that `cache_params` names itself. */
function ownRedis(params: Parameters): string | null {
  if (params.url) return params.url
  if (!params.host) return null
  const address = serverUrl(params.ssl === true ? 'rediss' : 'redis', {
    host: params.host,
    port: String(params.port ?? 6379),
    username: params.username ?? null,
    password: params.password ?? null,
  })
  return params.db == null || params.db === 0 ? address : `${address}/${params.db}`
}

function bucketOf(params: Parameters, sealer: Sealer): CacheSettings['s3'] {
  const sealed = (secret: string | null | undefined): string | null =>
    secret == null || secret === '' ? null : sealer.seal(secret)
  return {
    bucket: params.s3_bucket_name ?? '',
    prefix: params.s3_path ?? '',
    region: params.s3_region_name ?? null,
    endpoint: params.s3_endpoint_url?.replace(/\/+$/, '') ?? null,
    accessKeyId: params.s3_aws_access_key_id ?? null,
    secretAccessKey: sealed(params.s3_aws_secret_access_key),
    sessionToken: sealed(params.s3_aws_session_token),
  }
}

function milliseconds(seconds: number): number {
  return Math.round(seconds * 1000)
}
