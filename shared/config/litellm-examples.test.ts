import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import type { Deployment, RuntimeSettings } from '../../proto/deployment.ts'
import { DEFAULT_ROUTING } from '../../proto/routing.ts'
import { createCatalog } from '../catalog/catalog.ts'
import { type LoadedConfig, loadConfig } from './load.ts'
import { deploymentsOf, settingsOf } from './runtime.ts'
import { createSealer } from './secrets.ts'

/** Files of the shapes that LiteLLM's documentation shows, and what is made of them. */

const catalog = createCatalog({ now: () => Date.UTC(2026, 10, 21) })
const sealer = createSealer('salt')
const folder = mkdtempSync(join(tmpdir(), 'turnpike-examples-'))
afterAll(() => rmSync(folder, { recursive: true }))

const ENV = {
  OPENAI_API_KEY: 'sk-openai',
  ANTHROPIC_API_KEY: 'sk-anthropic',
  REDIS_HOST: 'redis.internal',
  REDIS_PASSWORD: 'hush',
}

/** Everything of it is in use and nothing is doubted, or the file does not load as it should. */
function load(content: string, env: Record<string, string> = ENV): { deployments: Deployment[]; settings: RuntimeSettings } {
  const loaded: LoadedConfig = read(content, env)
  expect(loaded.warnings).toEqual([])
  expect(loaded.notes).toEqual([])
  return {
    deployments: deploymentsOf(loaded.config, loaded.env, sealer, { catalog }),
    settings: settingsOf(loaded.config, sealer, loaded.env),
  }
}

function read(content: string, env: Record<string, string> = ENV): LoadedConfig {
  const path = join(folder, 'config.yaml')
  writeFileSync(path, content)
  return loadConfig(path, env, { catalog })
}

const MODELS = `
model_list:
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/OPENAI_API_KEY}
  - model_name: gpt-4o-mini
    litellm_params: {model: openai/gpt-4o-mini, api_key: os.environ/OPENAI_API_KEY}
  - model_name: claude
    litellm_params: {model: anthropic/claude-sonnet-4-5, api_key: os.environ/ANTHROPIC_API_KEY}
`

const routing = (content: string) => load(`${MODELS}${content}`).settings.routing
const cache = (params: string, env: Record<string, string> = ENV) =>
  load(`${MODELS}litellm_settings:\n  cache: true\n${params}`, env).settings.cache

describe('load balancing', () => {
  it('by rpm and tpm, weights and order', () => {
    const { deployments } = load(`
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: openai/gpt-4o
      api_base: https://eu.example.com/v1
      api_key: sk-eu
      rpm: 6
      tpm: 100000
      order: 1
  - model_name: gpt-4o
    litellm_params:
      model: openai/gpt-4o
      api_base: https://us.example.com/v1
      api_key: sk-us
      rpm: 900
      itpm: 50000
      otpm: 8000
      order: 2
      max_parallel_requests: 4
  - model_name: weighted
    litellm_params: {model: openai/gpt-4o, api_key: sk-a, weight: 9}
  - model_name: weighted
    litellm_params: {model: openai/gpt-4o, api_key: sk-b, weight: 1}
`)
    expect(deployments).toMatchObject([
      { rpm: 6, tpm: 100_000, order: 1, weight: 1 },
      { rpm: 900, tpm: null, itpm: 50_000, otpm: 8_000, order: 2, maxParallelRequests: 4 },
      { weight: 9 },
      { weight: 1 },
    ])
  })

  it.each([
    ['simple-shuffle'],
    ['least-busy'],
    ['usage-based-routing'],
    ['usage-based-routing-v2'],
    ['latency-based-routing'],
    ['cost-based-routing'],
  ])('with the strategy %s', (name) => {
    expect(routing(`router_settings: {routing_strategy: ${name}}`).strategy).toBe(name)
  })

  it('with arguments of the latency strategy, in seconds there and milliseconds here', () => {
    const text = '{ttl: 10, lowest_latency_buffer: 0.5, max_latency_list_size: 20}'
    expect(routing(`router_settings: {routing_strategy: latency-based-routing, routing_strategy_args: ${text}}`)).toMatchObject({
      latencyTtl: 10_000,
      latencyBuffer: 0.5,
      latencyListSize: 20,
    })
  })

  it('over one Redis, with a limit of calls at once and priorities', () => {
    const { settings } = load(`${MODELS}
router_settings:
  redis_host: os.environ/REDIS_HOST
  redis_password: os.environ/REDIS_PASSWORD
  redis_port: 6379
  default_max_parallel_requests: 20
  default_priority: 10
`)
    expect(settings.routing).toMatchObject({ defaultMaxParallel: 20, defaultPriority: 10 })
    expect(JSON.stringify(settings)).not.toContain('hush')
  })

  it('without any setting, as LiteLLM does', () => {
    const { settings } = load(MODELS)
    expect(settings.routing).toEqual(DEFAULT_ROUTING)
    expect(settings).toMatchObject({ numRetries: 2, timeout: 600_000, streamTimeout: 600_000, retryAfter: 0, cache: null })
  })
})

describe('fallbacks', () => {
  it('of each kind, of all groups, in litellm_settings', () => {
    expect(
      routing(`
litellm_settings:
  num_retries: 3
  request_timeout: 10
  fallbacks: [{"gpt-4o": ["claude", "gpt-4o-mini"]}, {"claude": ["gpt-4o"]}]
  context_window_fallbacks: [{"gpt-4o-mini": ["gpt-4o"]}]
  content_policy_fallbacks: [{"gpt-4o": ["claude"]}]
  default_fallbacks: ["gpt-4o-mini"]
  allowed_fails: 3
`),
    ).toMatchObject({
      fallbacks: {
        general: {
          'gpt-4o': [{ model: 'claude' }, { model: 'gpt-4o-mini' }],
          claude: [{ model: 'gpt-4o' }],
          '*': [{ model: 'gpt-4o-mini' }],
        },
        contextWindow: { 'gpt-4o-mini': [{ model: 'gpt-4o' }] },
        contentPolicy: { 'gpt-4o': [{ model: 'claude' }] },
      },
      allowedFails: 3,
    })
  })

  it('in router_settings beat those; entries may replace parts of the request; "*" may stand among them', () => {
    const { fallbacks, allowedFails, maxFallbacks } = routing(`
litellm_settings:
  fallbacks: [{"gpt-4o": ["gpt-4o-mini"]}]
  default_fallbacks: ["gpt-4o-mini"]
  allowed_fails: 3
router_settings:
  max_fallbacks: 2
  allowed_fails: 1
  fallbacks:
    - gpt-4o:
        - model: claude
          messages: [{role: user, content: "Be brief."}]
        - gpt-4o-mini
    - "*": ["claude"]
`)
    expect(fallbacks).toEqual({
      general: {
        'gpt-4o': [
          { model: 'claude', overrides: { messages: [{ role: 'user', content: 'Be brief.' }] } },
          { model: 'gpt-4o-mini' },
        ],
        '*': [{ model: 'claude' }],
      },
      contextWindow: null,
      contentPolicy: null,
    })
    expect([allowedFails, maxFallbacks]).toEqual([1, 2])
  })

  it('may lead to aliases, ids, wildcards and upstream names', () => {
    load(`
model_list:
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o}
    model_info: {id: the-first}
  - model_name: anthropic/*
    litellm_params: {model: anthropic/*}
router_settings:
  model_group_alias: {nick: gpt-4o}
  fallbacks: [{"gpt-4o": ["anthropic/claude-sonnet-4-5", "nick", "the-first", "openai/gpt-4o"]}]
`)
  })

  it('that lead nowhere are a warning with the place', () => {
    const { warnings } = read(`${MODELS}router_settings:\n  fallbacks: [{"gpt-4o": ["claud"]}, {"gtp-4o": [{model: "gpt"}]}]\n`)
    expect(warnings).toEqual([
      expect.stringMatching(
        /:10:27 router_settings\.fallbacks\[0\]\.gpt-4o\[0\]: no model_name "claud" is configured; did you mean claude/,
      ),
      expect.stringMatching(/router_settings\.fallbacks\[1\]\.gtp-4o: no model_name "gtp-4o" .*did you mean gpt-4o/),
      expect.stringMatching(/router_settings\.fallbacks\[1\]\.gtp-4o\[0\]: no model_name "gpt" is configured/),
    ])
  })
})

describe('reliability', () => {
  it('retries and allowed failures by kind, and for single groups', () => {
    expect(
      routing(`
router_settings:
  retry_policy: {AuthenticationErrorRetries: 0, TimeoutErrorRetries: 2, RateLimitErrorRetries: 3, InternalServerErrorRetries: 4}
  model_group_retry_policy: {gpt-4o: {ContentPolicyViolationErrorRetries: 4, BadRequestErrorRetries: 0}}
  allowed_fails_policy: {BadRequestErrorAllowedFails: 1000, ContentPolicyViolationErrorAllowedFails: 15}
  cooldown_time: 30
  disable_cooldowns: false
  retry_after: 1
`),
    ).toMatchObject({
      retryPolicy: { AuthenticationError: 0, TimeoutError: 2, RateLimitError: 3, InternalServerError: 4 },
      groupRetryPolicy: { 'gpt-4o': { ContentPolicyViolationError: 4, BadRequestError: 0 } },
      allowedFailsPolicy: { BadRequestError: 1000, ContentPolicyViolationError: 15 },
      cooldownTime: 30_000,
      disableCooldowns: false,
    })
  })

  it('a misspelt kind of failure is a warning', () => {
    const { warnings } = read(`${MODELS}router_settings: {retry_policy: {TimeoutErorRetries: 2}}\n`)
    expect(warnings).toEqual([
      expect.stringMatching(/"TimeoutErorRetries" is not a known name; did you mean TimeoutErrorRetries/),
    ])
  })

  it('cooldowns, allowed failures and timeouts of single deployments', () => {
    const { deployments } = load(`
model_list:
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, timeout: 30, stream_timeout: 5, num_retries: 1, cooldown_time: 0}
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, cooldown_time: 60}
    model_info: {cooldown_time: 10, allowed_fails: 2, allowed_fails_policy: {RateLimitErrorAllowedFails: 5}}
`)
    expect(deployments).toMatchObject([
      { timeout: 30_000, streamTimeout: 5_000, maxRetries: 1, cooldownTime: 0 },
      { cooldownTime: 10_000, allowedFails: 2, allowedFailsPolicy: { RateLimitError: 5 } },
    ])
    expect(deployments[0]).not.toHaveProperty('allowedFails')
  })

  it('background health checks that routing minds, with settings at either place', () => {
    expect(
      routing(`
general_settings:
  background_health_checks: true
  health_check_interval: 60
  health_check_concurrency: 2
  background_health_check_model_groups: [gpt-4o]
  enable_health_check_routing: true
  health_check_ignore_transient_errors: true
`).health,
    ).toEqual({
      background: true,
      interval: 60_000,
      concurrency: 2,
      groups: ['gpt-4o'],
      routing: true,
      staleness: 120_000,
      ignoreTransient: true,
    })
    expect(
      routing(`
general_settings: {background_health_checks: true, enable_health_check_routing: false}
router_settings: {enable_health_check_routing: true, health_check_staleness_threshold: 45}
`).health,
    ).toMatchObject({ routing: true, staleness: 45_000, interval: 300_000 })
  })
})

describe('choosing', () => {
  it('checks before the call, affinities, and what holds for single groups', () => {
    expect(
      routing(`
router_settings:
  enable_pre_call_checks: true
  optional_pre_call_checks: ["prompt_caching", "deployment_affinity", "enforce_model_rate_limits"]
  deployment_affinity_ttl_seconds: 600
  model_group_affinity_config: {claude: [session_affinity]}
`),
    ).toMatchObject({
      preCallChecks: true,
      optionalChecks: ['prompt_caching', 'deployment_affinity', 'enforce_model_rate_limits'],
      affinityTtl: 600_000,
      groupChecks: { claude: ['session_affinity'] },
    })
  })

  it('tags, regular expressions over headers, and regions', () => {
    const { deployments, settings } = load(`
model_list:
  - model_name: gpt
    litellm_params: {model: openai/gpt-4o, tags: ["free"], region_name: eu}
  - model_name: gpt
    litellm_params: {model: openai/gpt-4o, tags: ["paid", "default"], tag_regex: ["^User-Agent: claude-code/.*"]}
  - model_name: gpt
    litellm_params: {model: openai/gpt-4o, tag_regex: "^X-Team: research"}
router_settings: {enable_tag_filtering: true, tag_filtering_match_any: false}
`)
    expect(deployments).toMatchObject([
      { tags: ['free'], region: 'eu' },
      { tags: ['paid', 'default'], tagPatterns: ['^User-Agent: claude-code/.*'] },
      { tagPatterns: ['^X-Team: research'] },
    ])
    expect(settings.routing).toMatchObject({ tagFiltering: true, tagMatchAny: false })
  })

  it('aliases of groups, hidden ones among them', () => {
    const { settings } = load(`${MODELS}
router_settings:
  model_group_alias:
    "gpt-4": "gpt-4o"
    "internal": {"model": "claude", "hidden": true}
`)
    expect(settings.modelGroupAlias).toEqual({ 'gpt-4': 'gpt-4o', internal: 'claude' })
    expect(settings.hiddenAliases).toEqual(['internal'])
  })

  it('wildcards, with a limit for what they stand for', () => {
    const { deployments } = load(`
model_list:
  - model_name: "openai/*"
    litellm_params: {model: "openai/*", api_key: os.environ/OPENAI_API_KEY, rpm: 100}
  - model_name: "my-*-latest"
    litellm_params: {model: "anthropic/claude-*", api_key: os.environ/ANTHROPIC_API_KEY}
`)
    expect(deployments).toMatchObject([
      { modelGroup: 'openai/*', model: '*', rpm: 100 },
      { modelGroup: 'my-*-latest', provider: 'anthropic', model: 'claude-*' },
    ])
  })

  it('models of single teams under a name of their own', () => {
    const { deployments } = load(`
model_list:
  - model_name: team-a-gpt
    litellm_params: {model: openai/gpt-4o}
    model_info: {team_id: team-a, team_public_model_name: gpt-4o, access_groups: [beta]}
  - model_name: theirs
    litellm_params: {model: openai/gpt-4o}
    model_info: {team_id: team-b}
`)
    expect(deployments.map(({ team }) => team)).toEqual([
      { id: 'team-a', publicName: 'gpt-4o' },
      { id: 'team-b', publicName: null },
    ])
  })

  it('mirroring', () => {
    const { deployments } = load(`
model_list:
  - model_name: gpt
    litellm_params: {model: openai/gpt-4o, silent_model: candidate}
  - model_name: candidate
    litellm_params: {model: openai/gpt-4o-mini}
`)
    expect(deployments[0]?.mirror).toBe('candidate')
    const { warnings } = read(`model_list: [{model_name: gpt, litellm_params: {model: openai/gpt-4o, silent_model: gone}}]`)
    expect(warnings).toEqual([expect.stringMatching(/model_list\[0\]\.litellm_params\.silent_model: no model_name "gone"/)])
  })

  it('budgets of providers and deployments', () => {
    const { deployments } = load(`
model_list:
  - model_name: gpt
    litellm_params: {model: openai/gpt-4o, max_budget: 0.01, budget_duration: 1d}
router_settings:
  provider_budget_config:
    openai: {budget_limit: 100, time_period: 1d}
    anthropic: {budget_limit: "12.5", time_period: 30d}
  optional_pre_call_checks: [router_budget_limiting]
`)
    expect(deployments[0]?.budget).toEqual({ limit: 10_000_000, duration: '1d' })
  })
})

describe('caching', () => {
  const defaults = {
    defaultOn: true,
    ttl: 600_000,
    namespace: null,
    tenancy: 'tenant',
    singleFlight: false,
    replayPace: 20,
    maxEntries: 10_000,
    maxBytes: 104_857_600,
    groups: [],
    providerParams: true,
    directory: null,
    redisUrl: null,
    s3: null,
    semantic: null,
  }

  it('in memory', () => {
    expect(cache('  cache_params: {type: local, ttl: 60}')).toMatchObject({ ...defaults, type: 'memory', ttl: 60_000 })
    expect(cache('  default_in_memory_ttl: 5\n  cache_params: {type: local}')?.ttl).toBe(5_000)
  })

  it('in a Redis of its own, whose password is sealed', () => {
    const settings = cache(`  cache_params:
    type: redis
    host: cache.internal
    port: 6380
    password: os.environ/REDIS_PASSWORD
    ssl: true
    namespace: "litellm.caching"
    default_in_redis_ttl: 120
    mode: default_off
    supported_call_types: ["acompletion", "completion", "aembedding"]
`)
    expect(settings).toMatchObject({
      type: 'redis',
      namespace: 'litellm.caching',
      ttl: 120_000,
      defaultOn: false,
      modes: ['chat', 'embedding'],
    })
    expect(settings?.redisUrl).toMatch(/^sealed:/)
    expect(sealer.open(settings?.redisUrl ?? '')).toBe('rediss://:hush@cache.internal:6380')
  })

  it('with cache: true alone: in the Redis of the environment, else in memory', () => {
    expect(sealer.open(cache('')?.redisUrl ?? '')).toBe('redis://:hush@redis.internal:6379')
    expect(cache('', { OPENAI_API_KEY: 'sk', ANTHROPIC_API_KEY: 'sk' })?.type).toBe('memory')
  })

  it('on S3, on disk', () => {
    const settings = cache(`  cache_params:
    type: s3
    s3_bucket_name: answers
    s3_region_name: us-west-2
    s3_path: gateway/cache
    s3_endpoint_url: https://s3.example.com/
    s3_aws_access_key_id: AKIA
    s3_aws_secret_access_key: very-secret
`)
    expect(settings?.s3).toMatchObject({
      bucket: 'answers',
      prefix: 'gateway/cache',
      region: 'us-west-2',
      endpoint: 'https://s3.example.com',
      accessKeyId: 'AKIA',
      sessionToken: null,
    })
    expect(sealer.open(settings?.s3?.secretAccessKey ?? '')).toBe('very-secret')
    expect(cache('  cache_params: {type: disk, disk_cache_dir: /var/cache/turnpike}')).toMatchObject({
      type: 'disk',
      directory: '/var/cache/turnpike',
    })
  })

  it('by meaning, in Redis or in the process', () => {
    const semantic = '{similarity_threshold: 0.8, redis_semantic_cache_embedding_model: gpt-4o-mini, type:'
    expect(cache(`  cache_params: ${semantic} redis-semantic}`)).toMatchObject({
      type: 'semantic',
      semantic: { threshold: 0.8, embeddingModel: 'gpt-4o-mini', store: 'redis' },
      redisUrl: expect.stringMatching(/^sealed:/),
    })
    expect(cache(`  cache_params: ${semantic} semantic}`)).toMatchObject({ semantic: { store: 'memory' }, redisUrl: null })
  })

  it('for groups together, with parameters of providers', () => {
    const { settings } = load(`${MODELS}
litellm_settings: {cache: true, enable_caching_on_provider_specific_optional_params: true, cache_params: {type: local}}
router_settings: {caching_groups: [["gpt-4o", "gpt-4o-mini"]]}
turnpike_settings: {cache: {tenancy: shared, single_flight: true, max_entries: 5, max_size_mb: 1, replay_pace: 0}}
`)
    expect(settings.cache).toMatchObject({
      groups: [['gpt-4o', 'gpt-4o-mini']],
      providerParams: true,
      tenancy: 'shared',
      singleFlight: true,
      maxEntries: 5,
      maxBytes: 1_048_576,
      replayPace: 0,
    })
  })

  it('off: for no calls at all, or where it is not switched on', () => {
    expect(cache('  cache_params: {type: redis, supported_call_types: []}')).toBeNull()
    const { config, warnings } = read(`${MODELS}litellm_settings: {cache_params: {type: redis}}`)
    expect(settingsOf(config, sealer).cache).toBeNull()
    expect(warnings).toEqual([expect.stringMatching(/cache_params: nothing is cached without litellm_settings\.cache: true/)])
  })

  it.each([
    ['type: gcs', /cache_params\.type: this cache is not supported; there are local, redis, disk, s3, redis-semantic, semantic/],
    ['type: qdrant-semantic', /this cache is not supported/],
    ['type: azure-blob', /this cache is not supported/],
    ['type: memcached', /expected one of local, redis/],
    ['type: s3', /type s3 needs s3_bucket_name/],
    ['type: redis-semantic', /type redis-semantic needs similarity_threshold/],
    ['ttl: soon', /cache_params\.ttl: expected a number, 0 or more/],
    ['mode: sometimes', /cache_params\.mode: expected "default_on" or "default_off"/],
  ])('refuses %s', (params, message) => {
    expect(() => read(`${MODELS}litellm_settings: {cache: true, cache_params: {${params}}}`)).toThrow(message)
  })
})

describe('beyond LiteLLM', () => {
  it('failover, hedging, ejection and rules', () => {
    expect(
      routing(`
turnpike_settings:
  midstream_failover: {max: 1}
  hedge_after: 1.5
  outlier_ejection: {failure_share: 0.3, window: 10, maximum: 60, ramp: 5}
  routing_rules:
    - models: gpt-4o
      when: {"metadata.plan": {"$ne": "paid"}, "$or": [{"headers.x-region": "eu"}, {"params.stream": true}]}
      then: gpt-4o-mini
`),
    ).toMatchObject({
      failover: { enabled: true, max: 1 },
      hedgeAfter: 1_500,
      ejection: { ...DEFAULT_ROUTING.ejection, enabled: true, failureShare: 0.3, window: 10_000, maximum: 60_000, ramp: 5_000 },
      conditions: [
        {
          models: ['gpt-4o'],
          when: { 'metadata.plan': { $ne: 'paid' }, $or: [{ 'headers.x-region': 'eu' }, { 'params.stream': true }] },
          // biome-ignore lint/suspicious/noThenProperty: the word of the rules' grammar
          then: 'gpt-4o-mini',
        },
      ],
    })
    expect(routing('turnpike_settings: {midstream_failover: false, outlier_ejection: true}')).toMatchObject({
      failover: { enabled: false },
      ejection: { ...DEFAULT_ROUTING.ejection, enabled: true },
    })
  })

  it('a custom strategy needs its file', () => {
    expect(() => read(`${MODELS}router_settings: {routing_strategy: custom}`)).toThrow(/custom needs turnpike_settings/)
    expect(
      routing('router_settings: {routing_strategy: custom}\nturnpike_settings: {routing_strategy_module: ./strategy.ts}'),
    ).toMatchObject({ strategy: 'custom', strategyModule: './strategy.ts' })
  })
})

it('tells every problem of routing at once, each with its place and what is expected', () => {
  const problems = (): string[] => {
    try {
      read(`${MODELS}
router_settings:
  routing_strategy: fastest
  fallbacks: {gpt-4o: [claude]}
  context_window_fallbacks: [{gpt-4o: claude}, {claude: [{temperature: 1}]}]
  retry_policy: {TimeoutErrorRetries: often}
  optional_pre_call_checks: [prompt_cache]
turnpike_settings:
  midstream_failover: {max: many}
  outlier_ejection: {failure_share: 30}
  routing_rules: [{when: {"plan": 1, "metadata.n": {"$like": 2}, "headers.x": {"$regex": "("}}, then: claude}]
`)
      return []
    } catch (error) {
      return (error as Error).message.split('\n').map((one) => one.replace(/^.*config\.yaml:(\d+):\d+ /, '$1 '))
    }
  }
  expect(problems()).toEqual([
    'The configuration has 11 problems:',
    expect.stringMatching(/^11 router_settings\.routing_strategy: expected one of simple-shuffle, .*got "fastest"/),
    expect.stringMatching(/^12 router_settings\.fallbacks: expected a list of mappings/),
    expect.stringMatching(/^13 router_settings\.context_window_fallbacks\[0\]\.gpt-4o: expected a list of model groups/),
    expect.stringMatching(/^13 router_settings\.context_window_fallbacks\[1\]\.claude\[0\]\.model: is missing/),
    expect.stringMatching(
      /^14 router_settings\.retry_policy\.TimeoutErrorRetries: expected a whole number, 0 or more, got "often"/,
    ),
    expect.stringMatching(/^15 router_settings\.optional_pre_call_checks\[0\]: expected one of prompt_caching/),
    expect.stringMatching(/^17 turnpike_settings\.midstream_failover\.max: expected a whole number from 0 to 10, got "many"/),
    expect.stringMatching(/^18 turnpike_settings\.outlier_ejection\.failure_share: expected a number from 0 to 1, got 30/),
    expect.stringMatching(/^19 turnpike_settings\.routing_rules\[0\]\.when: "plan" is no field \(expected metadata\.NAME/),
    expect.stringMatching(/^19 .*metadata\.n: "\$like" is no operator/),
    expect.stringMatching(/^19 .*headers\.x: \$regex is not a regular expression/),
  ])
})
