/**
 * Request fields that speak to the gateway and never reach a provider (surface reference §1.2), `mock` being our own. `metadata` is
 * one of them: on this surface it carries tags, trace names and the like.
 */
export const GATEWAY_FIELDS: ReadonlySet<string> = new Set([
  'anthropic',
  'gemini',
  'responses',
  'metadata',
  'litellm_metadata',
  'tags',
  'guardrails',
  'guardrail_config',
  'policies',
  'fallbacks',
  'context_window_fallbacks',
  'content_policy_fallbacks',
  'disable_fallbacks',
  'num_retries',
  'max_retries',
  'timeout',
  'stream_timeout',
  'request_timeout',
  'cooldown_time',
  'mock_response',
  'mock_tool_calls',
  'mock_timeout',
  'mock_delay',
  'mock_testing_fallbacks',
  'mock_testing_context_fallbacks',
  'mock_testing_content_policy_fallbacks',
  'mock_testing_rate_limit_error',
  'mock',
  'cache',
  'caching',
  'ttl',
  's-maxage',
  'no-cache',
  'no-store',
  'prompt_id',
  'prompt_variables',
  'prompt_version',
  'prompt_label',
  'api_key',
  'api_base',
  'api_version',
  'base_url',
  'organization',
  'user_config',
  'drop_params',
  'additional_drop_params',
  'allowed_openai_params',
  'modify_params',
  'merge_reasoning_content_in_choices',
  'priority',
  'fastest_response',
  'litellm_session_id',
  'litellm_trace_id',
  'litellm_call_id',
  'no-log',
  'custom_llm_provider',
  'input_cost_per_token',
  'output_cost_per_token',
  'input_cost_per_second',
  'output_cost_per_second',
  'extra_headers',
  'extra_body',
  'extra_query',
  'proxy_server_request',
  'secret_fields',
  'allowed_model_region',
])

/** Where a call would go and on whose account: not a client's to say. */
export const CREDENTIAL_FIELDS = ['api_base', 'base_url', 'api_key', 'user_config'] as const

/**
 * Whether a top-level request field stays inside the gateway. OpenRouter's `provider` does when it is an object, for it says how to route
 * here; under another shape the name is some provider's own. One that routes by it itself (`ownRouting`) gets it too.
 */
export function isGatewayField(name: string, value?: unknown, ownRouting = false): boolean {
  if (GATEWAY_FIELDS.has(name) || name.startsWith('_litellm_')) return true
  return name === 'provider' && !ownRouting && typeof value === 'object' && value !== null && !Array.isArray(value)
}
