/** The configuration of `routing.test.ts`: one group for each thing that is held, each deployment at a site of its own. */

type Fields = Record<string, unknown>

/** `custom`: the file of the operator's own strategy. */
export function routingConfig(upstream: string, custom: string): string {
  /** `site` is the deployment's id, and the site of the provider its calls come to. */
  const at = (group: string, site: string, params: Fields = {}, info: Fields = {}): Fields => ({
    model_name: group,
    litellm_params: { model: 'openai/gpt-scripted', api_base: `${upstream}/@${site}/v1`, api_key: 'sk-upstream', ...params },
    model_info: { id: site, ...info },
  })
  const price = (input: number): Fields => ({ input_cost_per_token: input, output_cost_per_token: input })
  const rule = (when: Fields, then: string): Fields => ({ models: ['ruled'], when, then })
  // YAML holds JSON.
  return JSON.stringify({
    model_list: [
      at('plain', 'plain1'),
      at('spare', 'spare1'),
      // §4.2: shares and order.
      at('weighted', 'weighted1', { weight: 3 }),
      at('weighted', 'weighted2', { weight: 1 }),
      at('by-rpm', 'rpm1', { rpm: 9_000 }),
      at('by-rpm', 'rpm2', { rpm: 1_000 }),
      at('ordered', 'ordered1', { order: 1 }),
      at('ordered', 'ordered2', { order: 2 }),
      // §5.1: names.
      at('wild/*', 'wild1', { model: 'openai/*' }),
      at('wild/gpt-*', 'wild2', { model: 'openai/mini-*' }),
      at('two/*/x-*', 'wild3', { model: 'openai/*-of-*' }),
      at('house', 'house-open'),
      at('house-internal', 'house-team', {}, { team_id: 'house-team', team_public_model_name: 'house' }),
      at('guest-internal', 'guest-team', {}, { team_id: 'house-team', team_public_model_name: 'guest' }),
      // §5.8, §5.2: tags, region, context window, health.
      at('tagged', 'tagged-free', { tags: ['free'] }),
      at('tagged', 'tagged-paid', { tags: ['paid', 'eu'] }),
      at('tagged', 'tagged-default', { tags: ['default'] }),
      at('tagged-only', 'tagged-only', { tags: ['free'] }),
      at('agents', 'agents-code', { tag_regex: ['^User-Agent: claude-code/.*'] }),
      at('agents', 'agents-others', { tags: ['default'] }),
      at('regional', 'regional-eu', { region_name: 'eu-west-1' }),
      at('regional', 'regional-us', { region_name: 'us-east-1' }),
      at('windowed', 'window-small', {}, { max_input_tokens: 50 }),
      at('windowed', 'window-large', {}, { max_input_tokens: 100_000 }),
      at('narrow', 'narrow1', {}, { max_input_tokens: 50 }),
      at('narrow-saved', 'narrow2', {}, { max_input_tokens: 50 }),
      at('checked', 'checked-sick', { model: 'openai/script:id=sick,fail=500x1' }),
      at('checked', 'checked-well'),
      // §5.4, §5.5: retries and cooldowns. A weight of 0 is for when the other one is out.
      ...[1, 2, 3, 4].map((number) => at('policy', `policy${number}`)),
      ...[1, 2, 3].map((number) => at('retried', `retried${number}`)),
      at('resting', 'resting1', { weight: 1, cooldown_time: 2 }, { allowed_fails: 1 }),
      at('resting', 'resting2', { weight: 0 }),
      at('limited', 'limited1'),
      at('limited', 'limited2'),
      at('limited-saved', 'limited3'),
      at('limited-saved', 'limited4'),
      // §5.3: strategies, chosen by keys.
      at('fast', 'fast1', { model: 'openai/script:latency=150' }),
      at('fast', 'fast2'),
      ...[1, 2, 3].map((number) => at('busy', `busy${number}`)),
      at('counted', 'counted1', { rpm: 2 }),
      at('counted', 'counted2', { rpm: 3 }),
      // §5.7: fallbacks.
      at('general', 'general1'),
      at('long', 'long1'),
      at('unsafe', 'unsafe1'),
      at('late', 'late1'),
      at('alone', 'alone1'),
      ...[1, 2, 3].map((number) => at(`chain${number}`, `chain${number}`)),
      // Preferences, affinity, copies, second attempts, waiting, budgets.
      at('priced', 'dear', price(0.00001)),
      at('priced', 'cheap', { model: 'groq/gpt-scripted', ...price(0.000001) }),
      ...[1, 2, 3].map((number) => at('sessions', `session${number}`)),
      ...[1, 2, 3].map((number) => at('warm', `warm${number}`)),
      at('loud', 'loud1', { silent_model: 'shadow' }),
      at('shadow', 'shadow1'),
      at('hedged', 'hedged1', { weight: 1, ...price(0.000001) }),
      at('hedged', 'hedged2', { weight: 0, ...price(0.000001) }),
      at('queue', 'queue1', { max_parallel_requests: 1 }),
      at('own-way', 'own-way1'),
      at('own-way', 'own-way2', {}, { chosen: true }),
      at('own-way', 'own-way3'),
      at('capped', 'capped1', { model: 'together_ai/gpt-scripted', ...price(0.01) }),
      at('shared-cap', 'cap-own', { weight: 1, max_budget: 1, budget_duration: '1d', ...price(0.01) }),
      at('shared-cap', 'cap-none', { weight: 0 }),
      ...[1, 2, 3].map((number) => at('sticky', `sticky${number}`)),
      at('ruled', 'ruled1'),
    ],
    router_settings: {
      num_retries: 0,
      model_group_alias: { nick: 'plain', nickname: 'alone', secret: { model: 'plain', hidden: true } },
      model_group_retry_policy: {
        policy: { InternalServerErrorRetries: 3, BadRequestErrorRetries: 1, RateLimitErrorRetries: 0 },
      },
      fallbacks: [
        { ordered: ['spare'] },
        { general: ['plain', 'spare'] },
        { nickname: ['spare'] },
        { 'limited-saved': ['spare'] },
        { 'wild/claude-y': ['spare'] },
        { 'wild/*': ['plain'] },
        { chain1: ['chain2', { model: 'spare', temperature: 0.5 }] },
        { chain2: ['chain3', 'chain1'] },
      ],
      context_window_fallbacks: [{ long: ['spare'] }, { 'narrow-saved': ['spare'] }],
      content_policy_fallbacks: [{ unsafe: ['spare'] }],
      enable_pre_call_checks: true,
      enable_tag_filtering: true,
      enable_health_check_routing: true,
      model_group_affinity_config: { sessions: ['session_affinity'], warm: ['prompt_caching'], sticky: ['deployment_affinity'] },
      provider_budget_config: { together_ai: { budget_limit: 1, time_period: '1d' } },
    },
    turnpike_settings: {
      routing_strategy_module: custom,
      routing_rules: [
        rule({ 'metadata.plan': { $eq: 'paid' } }, 'spare'),
        rule({ $or: [{ 'headers.x-plan': 'gold' }, { 'params.temperature': { $gt: 1 } }] }, 'plain'),
      ],
    },
  })
}
