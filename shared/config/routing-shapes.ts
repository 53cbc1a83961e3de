import { FAILURE_KINDS, PRE_CALL_CHECKS } from '../../proto/routing.ts'
import { check, flag, numeric, textOrList, z } from '../schema.ts'
import { queryProblems } from './rule-query.ts'

/** Shapes of routing settings that stand in more than one place: the file, stored settings, `router_settings` of keys and teams. */

const name = () => z.string().min(1)
const count = () => numeric({ min: 0, integer: true })
const seconds = () => numeric({ min: 0 })
const share = () => numeric({ min: 0, max: 1 })
const megabytes = () => numeric({ min: 0 })

/** A mapping of one shape, or something simpler; unlike a union it says what is wrong inside the mapping. */
function simpleOr<Simple extends z.ZodType, Mapping extends z.ZodType>(simple: Simple, mapping: Mapping, error?: string) {
  return z.unknown().transform((value, context): z.output<Simple> | z.output<Mapping> => {
    const checked = isMapping(value) ? check(mapping, value) : check(simple, value)
    if (checked.ok) return checked.value
    for (const { path, message } of checked.problems)
      context.addIssue({ code: 'custom', path, message: isMapping(value) ? message : (error ?? message) })
    return z.NEVER
  })
}

/** `"group"`, or a mapping with `model` and fields that replace those of the request (`messages`, `temperature`, …). */
const fallbackTarget = () =>
  simpleOr(
    name(),
    z.looseObject({ model: name() }),
    'expected the name of a model group, or a mapping with `model` and what is replaced in the request',
  )

/** `["group", {model: "other"}]`. */
export const fallbackTargets = () =>
  z.array(fallbackTarget(), { error: 'expected a list of model groups, for example ["claude", "gpt-4o-mini"]' })

/** `[{"group": ["a", "b"]}, {"*": ["c"]}]`. */
export const fallbackLists = () =>
  z.array(
    z.record(z.string(), fallbackTargets(), { error: 'expected a mapping of a model group to its fallbacks, {group: [a, b]}' }),
    { error: 'expected a list of mappings, for example [{"gpt-4o": ["claude"]}, {"*": ["gpt-4o-mini"]}]' },
  )

/** Counts by kind of failure, under LiteLLM's names: `TimeoutErrorRetries`, `TimeoutErrorAllowedFails`. */
export const failurePolicy = (ending: 'Retries' | 'AllowedFails') =>
  z.looseObject(Object.fromEntries(FAILURE_KINDS.map((kind) => [`${kind}${ending}`, count().nullish()])), {
    error: `expected a mapping, for example {${FAILURE_KINDS[2]}${ending}: 3}`,
  })

export const preCallChecks = () =>
  z.array(z.enum(PRE_CALL_CHECKS, { error: `expected one of ${PRE_CALL_CHECKS.join(', ')}` }), {
    error: 'expected a list of checks, for example ["prompt_caching"]',
  })

export const modelAliases = () =>
  z.record(
    z.string(),
    simpleOr(
      z.string(),
      z.looseObject({ model: z.string(), hidden: flag().nullish() }),
      'expected the name of a model group, or a mapping with `model` and `hidden`',
    ),
  )

export const strategyArguments = () =>
  z.looseObject({
    ttl: seconds().nullish().describe('Seconds for which a latency counts; default 3600.'),
    lowest_latency_buffer: numeric({ min: 0 })
      .nullish()
      .describe('Share above the lowest latency that still counts as equal to it; default 0.'),
    max_latency_list_size: numeric({ min: 1, integer: true })
      .nullish()
      .describe('Latencies kept of each deployment; default 10.'),
  })

/** Types of response cache under LiteLLM's names; `semantic` is ours, an index in each router. */
export const CACHE_TYPES = ['local', 'redis', 'disk', 's3', 'redis-semantic', 'semantic'] as const
/** LiteLLM's others. */
const OTHER_CACHES = ['gcs', 'azure-blob', 'qdrant-semantic', 'valkey-semantic']

const cacheType = () =>
  z.enum(CACHE_TYPES, {
    error: ({ input }) =>
      OTHER_CACHES.includes(String(input))
        ? `this cache is not supported; there are ${CACHE_TYPES.join(', ')}`
        : `expected one of ${CACHE_TYPES.join(', ')}`,
  })

export const cacheParameters = () =>
  z.looseObject({
    type: cacheType().nullish().describe('Where answers are kept; default redis where a Redis is configured, else local.'),
    ttl: seconds().nullish().describe('Seconds an answer is kept; default 600.'),
    default_in_memory_ttl: seconds().nullish().describe('The ttl of type local, where ttl is not given.'),
    default_in_redis_ttl: seconds().nullish().describe('The ttl of type redis, where ttl is not given.'),
    namespace: z.string().nullish().describe('First part of every key of the cache.'),
    mode: z
      .enum(['default_on', 'default_off'])
      .nullish()
      .describe('default_off caches only what asks with `cache: {"use-cache": true}`; default default_on.'),
    supported_call_types: z
      .array(z.string())
      .nullish()
      .describe('Calls that are cached: acompletion, atext_completion, aembedding, …; default all that can be; [] = none.'),
    host: z.string().nullish().describe('Host of the Redis.'),
    port: numeric({ min: 1, max: 65_535, integer: true }).nullish().describe('Port of the Redis; default 6379.'),
    username: z.string().nullish().describe('User of the Redis.'),
    password: z.string().nullish().describe('Password of the Redis.'),
    ssl: flag().nullish().describe('Speak TLS to the Redis; default false.'),
    db: count().nullish().describe('Number of the database in the Redis; default 0.'),
    url: z.string().nullish().describe('The Redis as one address, for example rediss://user:password@host:6379.'),
    similarity_threshold: share().nullish().describe('Least cosine similarity at which a semantic cache answers, 0 to 1.'),
    redis_semantic_cache_embedding_model: name()
      .nullish()
      .describe('Model group that makes embeddings for the semantic cache; default text-embedding-ada-002.'),
    redis_semantic_cache_index_name: name().nullish().describe('Name of the index in Redis; default turnpike_semantic.'),
    s3_bucket_name: name().nullish().describe('Bucket of type s3.'),
    s3_region_name: z.string().nullish().describe('Region of the bucket.'),
    s3_path: z.string().nullish().describe('First part of every name in the bucket.'),
    s3_endpoint_url: z
      .string()
      .nullish()
      .refine(
        (value) => value == null || /^https?:\/\/[^\s/]+/.test(value),
        'expected a URL that starts with http:// or https://',
      )
      .describe('Address of an S3-compatible server; default AWS.'),
    s3_aws_access_key_id: z.string().nullish().describe('Access key id; default AWS_ACCESS_KEY_ID of the routers.'),
    s3_aws_secret_access_key: z.string().nullish().describe('Secret of that access key.'),
    s3_aws_session_token: z.string().nullish().describe('Session token that belongs to the access key.'),
    disk_cache_dir: name().nullish().describe('Folder of type disk; default one in the data folder.'),
  })

/** `turnpike_settings.cache`: what LiteLLM's cache has no settings for. */
export const cacheExtras = () =>
  z.looseObject({
    tenancy: z
      .enum(['tenant', 'key', 'shared'])
      .nullish()
      .describe('Who shares answers: tenant (team, else user, else key), key, or shared (everybody); default tenant.'),
    single_flight: flag().nullish().describe('Identical calls at one time wait for the first one’s answer; default false.'),
    max_entries: numeric({ min: 1, integer: true }).nullish().describe('Answers kept in memory; default 10000.'),
    max_size_mb: megabytes().nullish().describe('Megabytes of answers kept in memory; default 100.'),
    replay_pace: seconds().nullish().describe('Seconds between the chunks of a replayed stream; default 0.02.'),
  })

export const failover = () =>
  simpleOr(
    flag(),
    z.looseObject({ max: numeric({ min: 0, max: 10, integer: true }).nullish() }),
    'expected true, false, or a mapping with `max`, the continuations of one answer',
  )

const ejectionFields = {
  enabled: flag().nullish().describe('Eject outliers; default true where this mapping stands.'),
  failure_share: share().nullish().describe('Share of failed calls from which a deployment is ejected; default 0.5.'),
  minimum_calls: numeric({ min: 1, integer: true }).nullish().describe('Calls within the window it needs first; default 20.'),
  window: numeric({ min: 1 }).nullish().describe('Seconds looked back on; default 30.'),
  base: numeric({ min: 0 }).nullish().describe('Seconds of the first ejection; default 10.'),
  maximum: numeric({ min: 0 }).nullish().describe('Most seconds of an ejection; default 300.'),
  ramp: seconds().nullish().describe('Seconds over which traffic returns; default 30.'),
  max_ejected: share().nullish().describe('Share of a group that may be out at one time; default 0.5.'),
}

export const ejection = () =>
  simpleOr(
    flag(),
    z.looseObject(ejectionFields),
    `expected true, false, or a mapping with ${Object.keys(ejectionFields).join(', ')}`,
  )

export const routingRules = () =>
  z.array(
    z.looseObject({
      models: textOrList().nullish(),
      when: z.record(z.string(), z.unknown()).superRefine((when, context) => {
        for (const message of queryProblems(when)) context.addIssue({ code: 'custom', message })
      }),
      // biome-ignore lint/suspicious/noThenProperty: the word of the rules' grammar; nothing awaits a schema's fields
      then: name(),
    }),
    { error: 'expected a list of rules, for example [{when: {"metadata.plan": "paid"}, then: gpt-4o}]' },
  )

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
