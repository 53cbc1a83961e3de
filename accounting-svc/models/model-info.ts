import type { Deployment, Prices } from '../../proto/deployment.ts'
import { dollarsPerToken } from '../dollars.ts'

/** Our price names → LiteLLM's, dollars per token. */
const PRICE_NAMES = [
  ['input', 'input_cost_per_token'],
  ['output', 'output_cost_per_token'],
  ['cacheRead', 'cache_read_input_token_cost'],
  ['cacheWrite', 'cache_creation_input_token_cost'],
  ['cacheWrite1h', 'cache_creation_input_token_cost_above_1hr'],
  ['reasoning', 'output_cost_per_reasoning_token'],
  ['audioInput', 'input_cost_per_audio_token'],
  ['audioOutput', 'output_cost_per_audio_token'],
] as const satisfies readonly (readonly [keyof Prices, string])[]

/** A deployment as /model/info shows it. What could be a credential (keys, headers, provider settings) is left out. Pure. */
export function modelInfo(deployment: Deployment, supports: readonly string[]): Record<string, unknown> {
  const { provider, model, prices } = deployment
  return {
    model_name: deployment.modelGroup,
    litellm_params: present({
      model: `${provider}/${model}`,
      custom_llm_provider: provider,
      api_base: deployment.apiBase,
      api_version: deployment.apiVersion,
      rpm: deployment.rpm,
      tpm: deployment.tpm,
      max_parallel_requests: deployment.maxParallelRequests,
      weight: deployment.weight,
      order: deployment.order,
      tags: deployment.tags.length === 0 ? null : deployment.tags,
      timeout: deployment.timeout === null ? null : deployment.timeout / 1000,
      stream_timeout: deployment.streamTimeout === null ? null : deployment.streamTimeout / 1000,
      max_retries: deployment.maxRetries,
      ...deployment.defaults,
    }),
    model_info: {
      ...Object.fromEntries(supports.map((name) => [`supports_${name}`, true])),
      max_tokens: deployment.maxOutputTokens,
      max_input_tokens: deployment.maxInputTokens,
      max_output_tokens: deployment.maxOutputTokens,
      mode: deployment.mode,
      litellm_provider: provider,
      base_model: deployment.baseModel,
      access_groups: deployment.accessGroups,
      ...pricesPerToken(prices),
      ...deployment.info,
      id: deployment.id,
      db_model: deployment.fromDatabase,
      blocked: deployment.blocked,
    },
  }
}

function pricesPerToken(prices: Prices | null): Record<string, unknown> {
  return Object.fromEntries(
    PRICE_NAMES.map(([ours, theirs]) => {
      const price = prices?.[ours]
      return [theirs, price === undefined ? null : dollarsPerToken(price)]
    }),
  )
}

function present(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null && value !== undefined))
}
