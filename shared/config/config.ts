import { STRATEGIES } from '../../proto/routing.ts'
import { check, flag, numeric, type SchemaProblem, textOrList, z } from '../schema.ts'
import { customProviderMap } from './handlers.ts'
import { ownProviders } from './own-providers.ts'
import { passThroughEndpoint } from './pass-through.ts'
import {
  cacheExtras,
  cacheParameters,
  ejection,
  failover,
  failurePolicy,
  fallbackLists,
  fallbackTargets,
  modelAliases,
  preCallChecks,
  routingRules,
  strategyArguments,
} from './routing-shapes.ts'

/**
 * The whole configuration. The names are LiteLLM's, because its `config.yaml` is read unchanged; `turnpike_settings` is ours.
 * A field that is declared here is acted on and checked; other names pass through (`known.ts` tells the ones LiteLLM knows from
 * misspelt ones). The sentence beside a field is its documentation and part of every message about it. Times are seconds, as LiteLLM
 * writes them; `runtime.ts` makes them milliseconds. Null means absent: that is what `os.environ/NAME` gives when NAME is not set.
 */

const text = () => z.string()
const name = () => z.string().min(1)
const count = () => numeric({ min: 0, integer: true })
const seconds = () => numeric({ min: 0 })
const dollars = () => numeric({ min: 0 })
const mapping = () => z.record(z.string(), z.unknown())
const headers = () => z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]).transform(String))
const address = () =>
  z.string().refine((value) => /^https?:\/\/[^\s/]+/.test(value), 'expected a URL that starts with http:// or https://')

const duration = () =>
  z
    .string()
    .refine((value) => /^\d{1,9}(mo|[smhdw])/.test(value.trim()), 'expected a number and a unit, for example 30s, 12h, 7d or 1mo')

const expression = () =>
  z.string().refine((value) => {
    try {
      return new RegExp(value) !== null
    } catch {
      return false
    }
  }, 'expected a regular expression')

/** One port number; 0 lets the system pick. */
const port = () => numeric({ min: 0, max: 65_535, integer: true })

/** A zone of the IANA database, as the runtime knows it. */
const zone = () =>
  z.string().refine((value) => {
    try {
      return new Intl.DateTimeFormat('en-US', { timeZone: value }) !== null
    } catch {
      return false
    }
  }, 'expected the IANA name of a time zone, for example UTC or America/New_York')

/** Prices in dollars per token, read as exact decimals: 0.0000025, 2.5e-06 or "0.0000025". */
const price = () =>
  z.union([z.number(), z.string()], { error: 'expected dollars per token, for example 0.0000025' }).refine((value) => {
    const number = typeof value === 'number' ? value : value.trim() === '' ? Number.NaN : Number(value)
    return Number.isFinite(number) && number >= 0 && number < 1
  }, 'expected dollars per token, 0 or more and less than 1, for example 0.0000025 for $2.50 per million')

const prices = {
  input_cost_per_token: price()
    .nullish()
    .describe('Dollars per input token. 0 together with output_cost_per_token 0 makes the model free.'),
  output_cost_per_token: price().nullish().describe('Dollars per output token.'),
  output_cost_per_reasoning_token: price().nullish().describe('Dollars per reasoning token; default the output price.'),
  cache_read_input_token_cost: price()
    .nullish()
    .describe('Dollars per input token read from the provider’s cache; default the input price.'),
  input_cost_per_token_cache_hit: price().nullish().describe('Another name of cache_read_input_token_cost.'),
  cache_creation_input_token_cost: price().nullish().describe('Dollars per input token written to the cache for five minutes.'),
  cache_creation_input_token_cost_above_1hr: price()
    .nullish()
    .describe('Dollars per input token written to the cache for one hour.'),
  input_cost_per_audio_token: price().nullish().describe('Dollars per audio token of the input; default the input price.'),
  output_cost_per_audio_token: price().nullish().describe('Dollars per audio token of the output; default the output price.'),
  input_cost_per_request: dollars().nullish().describe('Dollars per request, beside the tokens.'),
  input_cost_per_query: dollars()
    .nullish()
    .describe('Dollars per query or search unit, where usage counts them (rerank, search).'),
}

/** `litellm_params` of one deployment. Names that are not declared: see `runtime.ts`, `sortParams`. */
export const deploymentParamsSchema = z.looseObject({
  model: name().describe('What to call: provider/model, for example openai/gpt-4o.'),
  custom_llm_provider: text().nullish().describe('The provider, when the model name does not begin with it.'),
  api_key: text().nullish().describe('The provider’s key; default the provider’s environment variable (OPENAI_API_KEY, …).'),
  api_base: address().nullish().describe('Base URL of the provider’s API, for example https://api.openai.com/v1.'),
  base_url: address().nullish().describe('Another name of api_base.'),
  api_version: text().nullish().describe('The provider’s API version, where it has one.'),
  organization: text().nullish().describe('The provider’s organization id, where it has one.'),
  litellm_credential_name: text().nullish().describe('An entry of credential_list whose values fill what is not given here.'),
  weight: numeric({ min: 0 }).nullish().describe('Share of the traffic among deployments of one name; default equal shares.'),
  rpm: count().nullish().describe('Requests per minute this deployment takes.'),
  tpm: count().nullish().describe('Tokens per minute this deployment takes.'),
  itpm: count().nullish().describe('Input tokens per minute this deployment takes.'),
  otpm: count().nullish().describe('Output tokens per minute this deployment takes.'),
  max_parallel_requests: count().nullish().describe('Calls this deployment serves at once.'),
  default_api_key_rpm_limit: count()
    .nullish()
    .describe('Requests per minute of a key that has no limit of its own on this model.'),
  default_api_key_tpm_limit: count().nullish().describe('Tokens per minute of a key that has no limit of its own on this model.'),
  max_budget: dollars().nullish().describe('Dollars this deployment may cost per budget_duration.'),
  budget_duration: duration().nullish().describe('Window of max_budget, for example 1d; default for ever.'),
  order: numeric({ integer: true }).nullish().describe('Lower is preferred; higher ones are used when the lower ones fail.'),
  tags: textOrList().nullish().describe('Request tags this deployment serves.'),
  tag_regex: z
    .union([expression().transform((one) => [one]), z.array(expression())], {
      error: 'expected a regular expression or a list of them, for example ["^User-Agent: claude-code/.*"]',
    })
    .nullish()
    .describe('Regular expressions over `Name: value` of the request’s headers; a match counts as a tag of the deployment.'),
  cooldown_time: seconds().nullish().describe('Seconds this deployment rests after failing; 0 = never; default the router’s.'),
  silent_model: name().nullish().describe('A model group that gets a copy of every call; its answers reach nobody.'),
  region_name: text().nullish().describe('Where the deployment runs, for example eu or us-east-1.'),
  timeout: seconds().nullish().describe('Seconds for a whole call.'),
  stream_timeout: seconds().nullish().describe('Seconds to the first byte of a stream.'),
  max_retries: count().nullish().describe('Retries on this deployment; num_retries is read too.'),
  num_retries: count().nullish().describe('Retries on this deployment.'),
  extra_headers: headers().nullish().describe('Headers sent with every call.'),
  headers: headers().nullish().describe('Another name of extra_headers.'),
  extra_body: mapping().nullish().describe('Fields added to every request body.'),
  drop_params: flag()
    .nullish()
    .describe('Leave out parameters the provider does not support instead of refusing; default false.'),
  additional_drop_params: z.array(z.string()).nullish().describe('Parameters never sent to this deployment.'),
  allowed_openai_params: z
    .array(z.string())
    .nullish()
    .describe('Parameters sent although the provider is not known to support them.'),
  mock_response: text().nullish().describe('Answer every call with this text, without calling the provider.'),
  base_model: text()
    .nullish()
    .describe('The model whose prices and limits hold, when the name does not tell (Azure deployments).'),
  ...prices,
})

/** `model_info` of one deployment; other names are kept and returned by /model/info. */
export const modelInfoSchema = z.looseObject({
  id: text().nullish().describe('Id of the deployment; default a SHA-256 over its parameters.'),
  mode: text().nullish().describe('What the model does: chat, completion, embedding, …'),
  base_model: text().nullish().describe('The model whose prices and limits hold.'),
  access_groups: z.array(z.string()).nullish().describe('Names that keys may list to be allowed this model.'),
  max_tokens: count().nullish().describe('Most output tokens; max_output_tokens beats it.'),
  max_input_tokens: count().nullish().describe('Most input tokens.'),
  max_output_tokens: count().nullish().describe('Most output tokens.'),
  blocked: flag().nullish().describe('Take no calls.'),
  team_id: name().nullish().describe('Only keys of this team may use the deployment.'),
  team_public_model_name: name().nullish().describe('The name under which that team asks for it.'),
  cooldown_time: seconds().nullish().describe('Seconds this deployment rests after failing; beats the one in litellm_params.'),
  allowed_fails: count().nullish().describe('Failures per cooldown time before it rests; default the router’s.'),
  allowed_fails_policy: failurePolicy('AllowedFails').nullish().describe('The same by kind of failure.'),
  health_check_model: text().nullish().describe('The model a health check asks for, where the name holds *.'),
  health_check_timeout: seconds().nullish().describe('Seconds a health check waits; default 60.'),
  health_check_max_tokens: count().nullish().describe('Output tokens a health check asks for.'),
  disable_background_health_check: flag().nullish().describe('Leave it out of background health checks; default false.'),
  ...prices,
})

export const modelEntrySchema = z.looseObject({
  model_name: name().describe('The public name clients ask for. Entries with one name are balanced; it may hold *.'),
  litellm_params: deploymentParamsSchema.describe('How to call it: at least `model: provider/model`.'),
  model_info: modelInfoSchema.nullish().describe('Facts about it.'),
})

/** A budget under any of the names LiteLLM has for its parts. */
const budgetEntry = z.looseObject({
  budget_limit: dollars().nullish().describe('Dollars per time_period.'),
  max_budget: dollars().nullish().describe('Another name of budget_limit.'),
  time_period: duration().nullish().describe('The window, for example 1d; default for ever.'),
  budget_duration: duration().nullish().describe('Another name of time_period.'),
})

/** A share: 0.05 is five percent. */
const share = () => numeric({ min: 0, max: 1 })

const margin = z.looseObject({
  percentage: numeric({ min: 0 }).nullish().describe('Share added, 0.1 for ten percent.'),
  fixed_amount: dollars().nullish().describe('Dollars added to every call.'),
})

const litellmSettings = z.looseObject({
  cost_discount_config: z
    .record(z.string(), share())
    .nullish()
    .describe('Share taken off the cost of every call, by provider: 0.05 for five percent.'),
  cost_margin_config: z
    .record(z.string(), z.union([numeric({ min: 0 }), margin]))
    .nullish()
    .describe('What is added to the cost of every call, by provider or `global`: a share, or percentage and fixed_amount.'),
  custom_provider_map: customProviderMap()
    .nullish()
    .describe('Providers of one’s own: [{provider: mine, custom_handler: ./mine.mjs}] serves models mine/….'),
  callbacks: textOrList().nullish().describe('Who is told of calls: otel traces them (OTEL_EXPORTER, OTEL_ENDPOINT, …).'),
  success_callback: textOrList().nullish().describe('The same: otel here traces failed calls too.'),
  forward_traceparent_to_llm_provider: flag()
    .nullish()
    .describe('Providers get the traceparent of traced calls; default true, and never without tracing.'),
  redact_user_api_key_info: flag().nullish().describe('Traces do not say whose calls they are; default false.'),
  drop_params: flag().nullish().describe('Leave out parameters a provider does not support instead of refusing; default false.'),
  num_retries: count().nullish().describe('Tries after the first; default 2. The one in router_settings beats it.'),
  request_timeout: seconds().nullish().describe('Seconds for a whole call; default 600. timeout in router_settings beats it.'),
  fallbacks: fallbackLists().nullish().describe('Where calls go when a group fails: [{"gpt-4o": ["claude"]}, {"*": ["mini"]}].'),
  default_fallbacks: fallbackTargets().nullish().describe('Groups tried for every group without fallbacks of its own.'),
  context_window_fallbacks: fallbackLists().nullish().describe('The same for calls whose context is too long.'),
  content_policy_fallbacks: fallbackLists().nullish().describe('The same for calls refused by a content policy.'),
  allowed_fails: count().nullish().describe('Failures per cooldown time before a deployment rests; default by failure rate.'),
  cache: flag().nullish().describe('Cache answers, as cache_params says; default false.'),
  cache_params: cacheParameters().nullish().describe('Where and how long answers are cached: type, ttl, mode, namespace, …'),
  enable_caching_on_provider_specific_optional_params: flag()
    .nullish()
    .describe(
      'Parameters that are not OpenAI’s are part of the cache’s key; default true (LiteLLM: false): calls that differ in top_k are not the same.',
    ),
  default_in_memory_ttl: seconds().nullish().describe('Seconds a cache in memory keeps answers, where cache_params has no ttl.'),
  default_redis_ttl: seconds().nullish().describe('Seconds a cache in Redis keeps answers, where cache_params has no ttl.'),
  require_auth_for_metrics_endpoint: flag().nullish().describe('Ask for a key on /metrics; default false.'),
  default_key_generate_params: mapping().nullish().describe('Fields that new keys get when none are given.'),
  upperbound_key_generate_params: mapping().nullish().describe('The most a new key may be given.'),
  max_budget: dollars().nullish().describe('Dollars that all calls together may cost per budget_duration.'),
  budget_duration: duration().nullish().describe('Window of max_budget, for example 30d; default for ever.'),
  timezone: zone().nullish().describe('Zone whose midnights close budget windows, for example Europe/Berlin; default UTC.'),
  max_end_user_budget: dollars().nullish().describe('Dollars a customer may cost who has no budget row.'),
  max_end_user_budget_id: text().nullish().describe('The budget row of customers who have none of their own.'),
  tag_budget_config: z
    .record(z.string(), budgetEntry)
    .nullish()
    .describe('Budgets by tag: max_budget and budget_duration; the budget row of a tag beats it.'),
  key_generation_settings: z
    .looseObject({
      team_key_generation: z
        .looseObject({
          allowed_team_member_roles: z
            .array(z.string())
            .nullish()
            .describe('Roles in the team that may make its keys: admin, user.'),
          required_params: z.array(z.string()).nullish().describe('Fields a request for a key of a team must hold.'),
        })
        .nullish(),
      personal_key_generation: z
        .looseObject({
          allowed_user_roles: z.array(z.string()).nullish().describe('Roles that may make keys without a team.'),
          required_params: z.array(z.string()).nullish().describe('Fields a request for such a key must hold.'),
        })
        .nullish(),
    })
    .nullish()
    .describe('Who may make keys, and what a request for one must say.'),
  enable_key_alias_format_validation: flag()
    .nullish()
    .describe('Refuse key aliases that are not 2 to 255 letters, digits and _-/.@; default false.'),
  default_team_params: z
    .looseObject({
      max_budget: dollars().nullish().describe('Dollars per budget_duration.'),
      budget_duration: duration().nullish().describe('Window of max_budget, for example 30d.'),
      tpm_limit: count().nullish().describe('Tokens per minute.'),
      rpm_limit: count().nullish().describe('Requests per minute.'),
      models: z.array(z.string()).nullish().describe('Models the team may use.'),
      team_member_permissions: z.array(z.string()).nullish().describe('Management routes its members may call.'),
      team_member_budget: dollars().nullish().describe('Dollars each member may cost.'),
      team_member_budget_duration: duration().nullish().describe('Window of team_member_budget.'),
      team_member_rpm_limit: count().nullish().describe('Requests per minute of each member.'),
      team_member_tpm_limit: count().nullish().describe('Tokens per minute of each member.'),
    })
    .nullish()
    .describe('Fields that new teams get when none are given.'),
  default_team_settings: z
    .array(z.looseObject({ team_id: name().describe('The team these are for.') }))
    .nullish()
    .describe('Callbacks of single teams that set none themselves: team_id, success_callback, failure_callback.'),
  default_internal_user_params: z
    .looseObject({
      user_role: z
        .enum(['proxy_admin', 'proxy_admin_viewer', 'internal_user', 'internal_user_viewer'])
        .nullish()
        .describe('proxy_admin, proxy_admin_viewer, internal_user or internal_user_viewer.'),
      max_budget: dollars().nullish().describe('Dollars per budget_duration.'),
      budget_duration: duration().nullish().describe('Window of max_budget, for example 30d.'),
      tpm_limit: count().nullish().describe('Tokens per minute.'),
      rpm_limit: count().nullish().describe('Requests per minute.'),
      max_parallel_requests: count().nullish().describe('Calls at once.'),
      models: z.array(text()).nullish().describe('Models they may call; empty = all.'),
      teams: z
        .array(z.union([name(), z.looseObject({ team_id: name(), max_budget_in_team: dollars().nullish() })]))
        .nullish()
        .describe('Teams they join: ids, or mappings with `team_id`, `max_budget_in_team` and `user_role`.'),
      available_teams: z.array(text()).nullish().describe('Ids of teams that anybody may join by themselves.'),
    })
    .nullish()
    .describe('Fields that new users get when none are given; not proxy admins.'),
  max_internal_user_budget: dollars().nullish().describe('Dollars: max_budget of new internal users who are given none.'),
  internal_user_budget_duration: duration()
    .nullish()
    .describe('budget_duration of new internal users who are given none, for example 30d.'),
})

const healthRouting = {
  enable_health_check_routing: flag()
    .nullish()
    .describe('Deployments whose background health check fails take no calls; default false.'),
  health_check_staleness_threshold: seconds()
    .nullish()
    .describe('Seconds after which a health check no longer counts; default two intervals.'),
  health_check_ignore_transient_errors: flag()
    .nullish()
    .describe('429 and 408 of a health check are no sign of ill health; default false.'),
}

const routerSettings = z.looseObject({
  routing_strategy: z
    .enum(STRATEGIES, { error: `expected one of ${STRATEGIES.join(', ')}` })
    .nullish()
    .describe('How a deployment of a group is chosen; default simple-shuffle.'),
  routing_strategy_args: strategyArguments().nullish().describe('Arguments of latency-based-routing.'),
  retry_policy: failurePolicy('Retries').nullish().describe('Tries after the first by kind of failure; beats num_retries.'),
  model_group_retry_policy: z
    .record(z.string(), failurePolicy('Retries'))
    .nullish()
    .describe('The same for single model groups.'),
  fallbacks: fallbackLists().nullish().describe('Where calls go when a group fails: [{"gpt-4o": ["claude"]}, {"*": ["mini"]}].'),
  default_fallbacks: fallbackTargets().nullish().describe('Groups tried for every group without fallbacks of its own.'),
  context_window_fallbacks: fallbackLists().nullish().describe('The same for calls whose context is too long.'),
  content_policy_fallbacks: fallbackLists().nullish().describe('The same for calls refused by a content policy.'),
  allowed_fails: count().nullish().describe('Failures per cooldown time before a deployment rests; default by failure rate.'),
  max_fallbacks: count().nullish().describe('Groups tried after the first; default 5.'),
  allowed_fails_policy: failurePolicy('AllowedFails')
    .nullish()
    .describe('Failures per cooldown time before a deployment rests, by kind of failure.'),
  cooldown_time: seconds().nullish().describe('Seconds a failing deployment rests; default 5.'),
  disable_cooldowns: flag().nullish().describe('Deployments never rest; default false.'),
  enable_pre_call_checks: flag()
    .nullish()
    .describe('Leave out deployments whose context window, region or rate limits do not fit a call; default false.'),
  optional_pre_call_checks: preCallChecks().nullish().describe('Further checks before a deployment is chosen.'),
  deployment_affinity_ttl_seconds: seconds().nullish().describe('Seconds for which affinities hold; default 3600.'),
  model_group_affinity_config: z
    .record(z.string(), preCallChecks())
    .nullish()
    .describe('Checks that hold for single model groups: {gpt-4o: [session_affinity]}.'),
  enable_tag_filtering: flag().nullish().describe('Choose among deployments whose tags fit the call’s; default false.'),
  tag_filtering_match_any: flag()
    .nullish()
    .describe('One common tag is enough; false = a deployment needs all tags of the call. Default true.'),
  default_max_parallel_requests: count().nullish().describe('Calls at once on a deployment that does not say; default no limit.'),
  default_priority: numeric({ integer: true }).nullish().describe('Priority of calls that name none; lower goes first.'),
  caching_groups: z
    .array(z.array(name()))
    .nullish()
    .describe('Model groups that share cached answers: [["gpt-4o", "gpt-4o-eu"]].'),
  ...healthRouting,
  provider_budget_config: z
    .record(z.string(), budgetEntry)
    .nullish()
    .describe('Budgets by provider, for example `openai: {budget_limit: 100, time_period: 1d}`.'),
  model_group_alias: modelAliases().nullish().describe('Other names of model groups, for example `gpt-4: gpt-4o`.'),
  num_retries: count().nullish().describe('Tries after the first; default 2.'),
  retry_after: seconds().nullish().describe('Least seconds between tries; default 0.'),
  timeout: seconds().nullish().describe('Seconds for a whole call; default 600.'),
  stream_timeout: seconds().nullish().describe('Seconds to the first byte of a stream; default the timeout.'),
  default_litellm_params: mapping().nullish().describe('litellm_params of every deployment that does not set them.'),
  redis_url: text().nullish().describe('Redis for limits and budgets, for example redis://localhost:6379.'),
  redis_host: text().nullish().describe('Host of that Redis.'),
  redis_port: port().nullish().describe('Port of that Redis; default 6379.'),
  redis_password: text().nullish().describe('Password of that Redis.'),
})

const generalSettings = z.looseObject({
  background_health_checks: flag()
    .nullish()
    .describe('Call every deployment now and then to see whether it works; default false.'),
  health_check_interval: numeric({ min: 1 }).nullish().describe('Seconds between background health checks; default 300.'),
  health_check_concurrency: numeric({ min: 1, integer: true }).nullish().describe('Health checks at once; default 4.'),
  background_health_check_model_groups: z
    .array(name())
    .nullish()
    .describe('The only model groups that are checked in the background; default all.'),
  ...healthRouting,
  alerting: textOrList().nullish().describe('Where budget alerts go beside the log: webhook (posted to WEBHOOK_URL).'),
  maximum_spend_logs_retention_period: duration()
    .nullish()
    .describe('How long the ledger keeps entries, for example 12mo; whole months are dropped. Default for ever.'),
  max_parallel_requests: count().nullish().describe('Calls at once for every key that does not say.'),
  apply_user_budget_to_team_keys: flag()
    .nullish()
    .describe('Let the budget of a user count for their keys of teams too; default false.'),
  default_team_disabled: flag().nullish().describe('Refuse to make keys without a team; default false.'),
  master_key: text()
    .nullish()
    .describe('The administrator’s key; default LITELLM_MASTER_KEY. Without one every caller is an administrator.'),
  database_url: text()
    .nullish()
    .describe('PostgreSQL, for example postgresql://user:password@host:5432/name; default DATABASE_URL.'),
  database_connection_pool_limit: numeric({ min: 1, integer: true }).nullish().describe('Connections to PostgreSQL; default 10.'),
  check_provider_endpoint: flag()
    .nullish()
    .describe('Ask providers of wildcards which models they have, every hour, and list those at /v1/models; default false.'),
  always_include_stream_usage: flag().nullish().describe('End every stream with a usage chunk, asked for or not; default false.'),
  allow_client_side_credentials: flag()
    .nullish()
    .describe(
      'Not supported yet: a body with api_key or api_base is refused, as a bad request where this is true; default false.',
    ),
  litellm_key_header_name: text().nullish().describe('The only header a key is read from.'),
  use_x_forwarded_for: flag().nullish().describe('A proxy in front says in x-forwarded-for who the client is; default false.'),
  pass_through_endpoints: z
    .array(passThroughEndpoint)
    .nullish()
    .describe('Paths of the operator’s own, served by other servers.'),
  use_client_credentials_pass_through_routes: flag()
    .nullish()
    .describe(
      'Clients of the providers’ pass-through routes need no key of the gateway: their own credentials go on; default false.',
    ),
  allowed_routes: z.array(z.string()).nullish().describe('The only routes that may be called; pages that need no key stay open.'),
  public_routes: z
    .array(z.string())
    .nullish()
    .describe('Routes served without a key: models to anybody, management only as far as a viewer who owns nothing may look.'),
  enforced_params: z
    .array(z.string())
    .nullish()
    .describe('Fields every request body must hold, dotted paths like `metadata.generation_name`.'),
  service_account_settings: z
    .looseObject({ enforced_params: z.array(z.string()).nullish().describe('Fields the bodies of service accounts must hold.') })
    .nullish()
    .describe('Rules for keys of service accounts.'),
  enforce_user_param: flag().nullish().describe('Refuse bodies without `user`; default false.'),
  reject_clientside_metadata_tags: flag().nullish().describe('Refuse tags sent by clients; default false.'),
  user_header_mappings: z
    .array(z.looseObject({ header_name: name(), litellm_user_role: text() }))
    .nullish()
    .describe('Headers that name the customer (role customer).'),
  proxy_batch_polling_interval: numeric({ min: 1 })
    .nullish()
    .describe('Seconds between looks at batches under way, whose cost is booked when they are done; default 3600.'),
  user_header_name: text().nullish().describe('The older name of one header that names the customer.'),
  max_request_size_mb: numeric({ min: 0 }).nullish().describe('Largest request body in megabytes; default 128.'),
})

/** Where and how the processes run. `process.ts` says which environment variable each may come from. */
const turnpikeSettings = z.looseObject({
  host: text().nullish().describe('Address the edge listens on; default 0.0.0.0.'),
  port: port().nullish().describe('Port the edge listens on; default 4000.'),
  tls_key_file: text().nullish().describe('PEM file with the edge’s private key.'),
  tls_certificate_file: text().nullish().describe('PEM file with the edge’s certificate chain.'),
  nats_url: textOrList().nullish().describe('NATS servers of the cluster, for example nats://localhost:4222.'),
  nats_prefix: text().nullish().describe('First part of every subject; default tp.'),
  redis_url: text().nullish().describe('Redis for limits and budgets; default router_settings.'),
  data_directory: text().nullish().describe('Where this process keeps its files; default .turnpike.'),
  log_level: z
    .enum(['debug', 'info', 'warn', 'error', 'silent'])
    .nullish()
    .describe('What is logged: debug, info, warn, error or silent; default info.'),
  trace_sample_rate: share()
    .nullish()
    .describe(
      'Share of calls that are traced where the caller’s traceparent does not decide: 0.01 for one in a hundred; default 1.',
    ),
  drain_timeout: seconds().nullish().describe('Seconds that running calls may take after a stop signal; default 900.'),
  stall_timeout: seconds().nullish().describe('Seconds of silence inside a stream before it is given up; default 300.'),
  midstream_failover: failover()
    .nullish()
    .describe('A stream that breaks goes on elsewhere where that is safe: true, false, or {max: 2} continuations; default true.'),
  hedge_after: seconds()
    .nullish()
    .describe(
      'Seconds without a beginning of an answer after which a second attempt starts elsewhere; both are billed. Default never.',
    ),
  outlier_ejection: ejection()
    .nullish()
    .describe('Take out deployments that fail far more than their group, and let them return gradually; default false.'),
  routing_rules: routingRules()
    .nullish()
    .describe(
      'Calls whose metadata or headers look so go to another group: [{models: [gpt], when: {"metadata.plan": "paid"}, then: big}].',
    ),
  routing_strategy_module: name().nullish().describe('File of the strategy, where routing_strategy is custom.'),
  cache: cacheExtras()
    .nullish()
    .describe('Of the response cache: tenancy, single_flight, max_entries, max_size_mb, replay_pace.'),
  hold_output_tokens: numeric({ min: 1, integer: true })
    .nullish()
    .describe('Output tokens reserved against budgets and token limits for a call that sets no max_tokens; default 4096.'),
  counters_away: z
    .enum(['refuse', 'allow'])
    .nullish()
    .describe('What happens to calls with limits or budgets while Redis is away: refuse (503) or allow; default refuse.'),
  unknown_keys_burst: numeric({ min: 0, integer: true })
    .nullish()
    .describe('Unknown keys one address may try at once before its others are refused with 429; 0 = any number; default 50.'),
  unknown_keys_per_second: numeric({ min: 0.001 })
    .nullish()
    .describe('Unknown keys an address may try every second from then on; default 1.'),
  idempotency_ttl: numeric({ min: 1, max: 2_592_000 })
    .nullish()
    .describe('Seconds for which a repeat with the same Idempotency-Key gets the answer of the first; default 86400.'),
  providers: ownProviders()
    .nullish()
    .describe(
      'Providers of your own that speak OpenAI’s protocol: {acme: {base: https://api.acme.dev/v1, api_key_env: ACME_API_KEY}}.',
    ),
  prove_host: name()
    .nullish()
    .describe('Address at which routers reach accounting’s own provider while the self-test runs; default 127.0.0.1.'),
  provider_object_ids: flag()
    .nullish()
    .describe(
      'Everybody may use ids of files, batches, … as the provider gives them; false = only proxy admins, others those they made here. Default false.',
    ),
  batch_file_mb: numeric({ min: 1, max: 2048, integer: true })
    .nullish()
    .describe('Megabytes of one file for batches that the gateway runs itself; default 200.'),
  batch_storage_mb: numeric({ min: 1, integer: true })
    .nullish()
    .describe('Megabytes of all such files of one team, or of one user or key without a team; default 2048.'),
  batch_file_days: numeric({ min: 1, max: 3_650, integer: true })
    .nullish()
    .describe('Days such files, and those with results, are kept; default 30.'),
  batch_parallel_lines: numeric({ min: 1, max: 1_000, integer: true })
    .nullish()
    .describe('Lines of one such batch that are called at once, in the whole cluster; default 8.'),
  batch_parallel_lines_total: numeric({ min: 1, max: 10_000, integer: true })
    .nullish()
    .describe('Lines of all such batches that are called at once; default 32.'),
  accounting_host: text().nullish().describe('Address of accounting’s own port; default 127.0.0.1.'),
  accounting_port: port().nullish().describe('Accounting’s own port for management and dashboard; none by default.'),
  health_host: text().nullish().describe('Address of the health port; default 127.0.0.1.'),
  health_port: port().nullish().describe('Port of health and metrics of a router or accounting process; none by default.'),
})

/** Credentials for what a provider serves beside its models. */
const service = z.looseObject({
  custom_llm_provider: name().describe('The provider: openai, azure, …'),
  api_key: text().nullish().describe('Its key; default the provider’s environment variable.'),
  api_base: address().nullish().describe('Its address; default the provider’s own.'),
  api_version: text().nullish().describe('Version of its API.'),
  organization: text().nullish().describe('Organization the calls count for.'),
  timeout: seconds().nullish().describe('Seconds for a call.'),
})

const vectorStore = z.looseObject({
  vector_store_name: text().nullish().describe('A name for people.'),
  litellm_params: service
    .extend({
      vector_store_id: name().describe('The provider’s id of the store, which clients may use as it is.'),
      vector_store_description: text().nullish().describe('What is in it.'),
      vector_store_metadata: z.unknown().optional().describe('Facts about it.'),
    })
    .describe('Where the store is.'),
})

const credential = z.looseObject({
  credential_name: name().describe('The name litellm_credential_name refers to.'),
  credential_values: mapping().describe('api_key, api_base, …'),
})

export const configSchema = z.looseObject({
  model_list: z.array(modelEntrySchema).nullish().describe('The deployments: each a model_name and its litellm_params.'),
  litellm_settings: litellmSettings.nullish().describe('Settings of calls and of new keys.'),
  router_settings: routerSettings.nullish().describe('How deployments are chosen and tried again.'),
  general_settings: generalSettings.nullish().describe('Settings of the gateway itself.'),
  environment_variables: z
    .record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()]))
    .nullish()
    .describe('Environment variables set before everything else is read.'),
  credential_list: z.array(credential).nullish().describe('Credentials that deployments refer to by name.'),
  files_settings: z.array(service).nullish().describe('Credentials for files and batches, one entry a provider.'),
  batch_settings: z.array(service).nullish().describe('Credentials for batches, where they are not those of files_settings.'),
  finetune_settings: z.array(service).nullish().describe('Credentials for fine-tuning, one entry a provider.'),
  assistant_settings: z
    .looseObject({
      custom_llm_provider: name().describe('Who serves assistants and threads: openai or azure.'),
      litellm_params: mapping().nullish().describe('api_key, api_base, api_version.'),
    })
    .nullish()
    .describe('Where assistants and threads go.'),
  vector_store_registry: z.array(vectorStore).nullish().describe('Vector stores that clients may use by their ids.'),
  turnpike_settings: turnpikeSettings.nullish().describe('Where and how Turnpike’s own processes run.'),
})

type Parsed = z.output<typeof configSchema>
type Section<Key extends keyof Parsed> = NonNullable<Parsed[Key]>

/** One `model_list` entry, checked. */
export type ModelEntry = z.output<typeof modelEntrySchema>
export type DeploymentParams = z.output<typeof deploymentParamsSchema>
export type ModelInfo = z.output<typeof modelInfoSchema>
export type Credential = z.output<typeof credential>

/** The checked configuration: every section is present, names and times are as written. Frozen. */
export interface Config {
  model_list: ModelEntry[]
  litellm_settings: Section<'litellm_settings'>
  router_settings: Section<'router_settings'>
  general_settings: Section<'general_settings'>
  environment_variables: Record<string, string>
  credential_list: Credential[]
  turnpike_settings: Section<'turnpike_settings'>
  files_settings?: Section<'files_settings'>
  batch_settings?: Section<'batch_settings'>
  finetune_settings?: Section<'finetune_settings'>
  assistant_settings?: Section<'assistant_settings'>
  vector_store_registry?: Section<'vector_store_registry'>
  /** Other top-level sections (`guardrails`, …), as written. */
  other: Record<string, unknown>
}

/** Checks a whole tree; references must be resolved. */
export function checkConfig(tree: unknown): { ok: true; config: Config } | { ok: false; problems: SchemaProblem[] } {
  const result = check(configSchema, tree)
  if (!result.ok) return result
  const {
    model_list,
    litellm_settings,
    router_settings,
    general_settings,
    environment_variables,
    credential_list,
    turnpike_settings,
    files_settings,
    batch_settings,
    finetune_settings,
    assistant_settings,
    vector_store_registry,
    ...other
  } = result.value
  const config: Config = {
    model_list: model_list ?? [],
    litellm_settings: litellm_settings ?? {},
    router_settings: router_settings ?? {},
    general_settings: general_settings ?? {},
    environment_variables: environmentOf(environment_variables ?? {}),
    credential_list: credential_list ?? [],
    turnpike_settings: turnpike_settings ?? {},
    ...given({ files_settings, batch_settings, finetune_settings, assistant_settings, vector_store_registry }),
    other,
  }
  return { ok: true, config }
}

/** Sections that nearly nobody has are absent where they are not written. */
function given<T extends object>(sections: T): { [Key in keyof T]?: NonNullable<T[Key]> } {
  const present = Object.entries(sections).filter(([, value]) => value != null)
  return Object.fromEntries(present) as { [Key in keyof T]?: NonNullable<T[Key]> }
}

/** Checks one `model_list` entry that did not come from the file (the management API). */
export function checkModelEntry(entry: unknown): { ok: true; value: ModelEntry } | { ok: false; problems: SchemaProblem[] } {
  return check(modelEntrySchema, entry)
}

/** Environment variables are text; null is one that is not set. */
export function environmentOf(variables: Record<string, unknown>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(variables)
      .filter(([, value]) => typeof value !== 'object' && value !== undefined)
      .map(([key, value]) => [key, String(value)]),
  )
}
