import { ALL, ASIDES, CHAT_AND_COMPLETION, CHAT_AND_EMBEDDING, EXTRAS, LEGACY, PENALTIES } from './provider-lists.ts'
import type { ProviderRow } from './providers.ts'

/** Hints to OpenAI's own machinery: an answer is the same without. */
const HINTS = [...ASIDES, 'store', 'safety_identifier', 'prompt_cache_key', 'prompt_cache_retention'] as const

const WATSONX = {
  base: null,
  keys: ['WATSONX_APIKEY', 'WATSONX_API_KEY', 'WX_API_KEY'],
  bases: ['WATSONX_API_BASE', 'WATSONX_URL', 'WX_URL', 'WML_URL'],
  versions: ['WATSONX_API_VERSION'],
} as const satisfies Omit<ProviderRow, 'protocol'>

/** Platforms that host models beside much else: the address belongs to an account or a workspace, and credentials are the platform's. */
export const PLATFORMS = {
  watsonx: {
    ...WATSONX,
    protocol: 'watsonx',
    modes: CHAT_AND_EMBEDDING,
    unsupported: ['parallel_tool_calls', ...LEGACY, ...EXTRAS],
    drop: HINTS,
    // Streaming is another address, and tells its usage unasked.
    noStreamOptions: true,
    stripNullFields: true,
    strictMessages: true,
    plainToolSchemas: true,
  },
  watsonx_text: { ...WATSONX, protocol: 'watsonx-text', sharesKey: true, modes: CHAT_AND_COMPLETION },
  databricks: {
    protocol: 'databricks',
    base: null,
    keys: ['DATABRICKS_API_KEY', 'DATABRICKS_TOKEN'],
    bases: ['DATABRICKS_API_BASE'],
    modes: ALL,
    unsupported: ['logit_bias', ...PENALTIES, 'seed', 'parallel_tool_calls', ...LEGACY, ...EXTRAS],
    // Vectors are numbers; base64 is made of them here.
    drop: [...HINTS, 'encoding_format'],
    maxTokensName: 'max_tokens',
    // Some of its endpoints refuse to be asked; usage comes with every event all the same.
    noStreamOptions: true,
    stripName: true,
  },
  // Its key signs requests, and is no secret that is sent (router-svc/credentials/oci.ts).
  oci: {
    protocol: 'oci',
    base: null,
    keys: [],
    keyless: true,
    modes: CHAT_AND_EMBEDDING,
    unsupported: ['logprobs', 'top_logprobs', ...LEGACY, ...EXTRAS],
    drop: HINTS,
    noStreamOptions: true,
    strictMessages: true,
    deviates: ['finish_reason', 'usage', 'content', 'tool_calls', 'role'],
  },
  snowflake: {
    protocol: 'snowflake',
    base: null,
    keys: ['SNOWFLAKE_JWT', 'SNOWFLAKE_TOKEN'],
    bases: ['SNOWFLAKE_API_BASE'],
    modes: CHAT_AND_EMBEDDING,
    unsupported: ['n>1', 'seed', 'stop', 'logprobs', ...PENALTIES, 'parallel_tool_calls', ...LEGACY, ...EXTRAS],
    drop: HINTS,
    maxTokensName: 'max_completion_tokens',
    plainToolSchemas: true,
  },
  cloudflare: {
    protocol: 'cloudflare',
    base: null,
    keys: ['CLOUDFLARE_API_KEY', 'CLOUDFLARE_API_TOKEN'],
    bases: ['CLOUDFLARE_API_BASE'],
    modes: CHAT_AND_EMBEDDING,
    unsupported: ['dimensions', ...LEGACY, ...EXTRAS],
    drop: [...HINTS, 'encoding_format'],
    maxTokensName: 'max_tokens',
    flattenContent: true,
  },
} as const satisfies Readonly<Record<string, ProviderRow>>
