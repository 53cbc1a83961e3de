import type { Mode } from '../../proto/endpoints.ts'
import { entryOf } from '../entry.ts'
import { AGENTS } from './agent-providers.ts'
import { COMPATIBLE } from './compatible-providers.ts'
import { MEDIA_PROVIDERS } from './media-providers.ts'
import { PLATFORMS } from './platform-providers.ts'
import { ALL, CHAT_AND_COMPLETION, CHAT_AND_EMBEDDING, EXTRAS, LEGACY } from './provider-lists.ts'
import { SMALL } from './small-providers.ts'

/**
 * One provider as data. Every field is read in one place of router-svc/providers; a compatible provider that needs none of the
 * quirks is a row of three fields.
 */
export interface ProviderRow {
  protocol:
    | 'openai'
    | 'anthropic'
    | 'gemini'
    | 'vertex'
    | 'mock'
    | 'azure'
    | 'azure-ai'
    | 'ollama'
    | 'huggingface'
    | 'cohere'
    | 'voyage'
    | 'jina'
    | 'bedrock'
    | 'sagemaker'
    | 'sagemaker-chat'
    | 'fim'
    | 'aleph-alpha'
    | 'bytez'
    | 'gigachat'
    | 'github-copilot'
    | 'langgraph'
    | 'mantle'
    | 'nlp-cloud'
    | 'oci'
    | 'auto-router'
    | 'a2a'
    | 'agent-engine'
    | 'agentcore'
    | 'foundry-agents'
    | 'petals'
    | 'predibase'
    | 'sap'
    | 'triton'
    | 'watsonx'
    | 'watsonx-text'
    | 'databricks'
    | 'snowflake'
    | 'cloudflare'
    | 'deepgram'
    | 'elevenlabs'
    | 'assemblyai'
    | 'aws-polly'
    | 'black-forest-labs'
    | 'fal'
    | 'recraft'
    | 'replicate'
    | 'runwayml'
    | 'stability'
    | 'topaz'
  /** Without trailing slash; null = the operator must give `api_base`. */
  base: string | null
  /** Environment variables that hold the key; the first one set wins. */
  keys: readonly string[]
  /** Environment variables that hold the base URL. */
  bases?: readonly string[]
  /** Environment variables that hold the API version of deployments that name none. */
  versions?: readonly string[]
  /** Works without a key (local servers); one that is configured is sent all the same. */
  keyless?: true
  /** How the key is sent where it is no bearer token; the name lower case, the prefix put before the key as it is. */
  keyHeader?: { name: string; prefix?: string }
  /** Its key belongs to another row, which is the one to offer when the key is found in the environment; or nobody may use it unasked. */
  sharesKey?: true
  /** Endpoints it serves; default chat only. A text completion without one of its own goes through chat. */
  modes?: readonly Mode[]
  /** Where an endpoint is not at `/chat/completions`, `/completions`, `/embeddings`. */
  paths?: Partial<Record<Mode, string>>
  /** Appended to a base that does not end with it: operators write `http://localhost:11434` for Ollama. */
  version?: string
  /** How the address follows from base and model, where it is not base and path (router-svc/providers/openai/addresses.ts). */
  addressing?: 'baseten' | 'clarifai' | 'datarobot' | 'gradient' | 'ragflow'
  /** Constant request headers, names lower case. */
  headers?: Readonly<Record<string, string>>
  /** Put before a model name that holds no slash. */
  modelPrefix?: string

  /**
   * Parameters the provider refuses. `name`, `name=value` (only that value), `name.type` (an object of that `type`), `name>1`
   * (numbers above). Sent anyway when the deployment allows them, left out under `drop_params`, else refused by name.
   */
  unsupported?: readonly string[]
  /** Chooses between hosts of a model itself, by the `provider` object of a request, which it therefore gets. */
  ownRouting?: true
  /** Parameters left out without a word: their absence changes nothing a client can see. */
  drop?: readonly string[]
  /** Our name → the provider's. A value given under the provider's own name wins. */
  rename?: Readonly<Record<string, string>>
  /** The only name it knows for the output limit. */
  maxTokensName?: 'max_tokens' | 'max_completion_tokens'
  /** OpenAI's o-series and gpt-5 take `max_completion_tokens` only, and lose sampling parameters under `drop_params`. */
  reasoningModels?: true
  /** Refuses `stream_options`. */
  noStreamOptions?: true
  /** A content list of nothing but text is sent as one string. */
  flattenContent?: true
  /** Members of messages that are null are left out. */
  stripNullFields?: true
  /** `name` of messages that are no tool results is left out. */
  stripName?: true
  /** Refuses what other vendors put into messages and tools: cache markers, thinking and its signatures. */
  strictMessages?: true
  /** Refuses cache markers in messages and tools, and nothing else of other vendors'. */
  stripCacheMarks?: true
  /** Knows no role `developer`: it is `system`. */
  noDeveloper?: true
  /** Takes its thinking of earlier turns under the name it gave it, `reasoning`. */
  replaysReasoning?: true
  /** `strict` and `additionalProperties` are taken out of tool schemas. */
  plainToolSchemas?: true
  /** Cannot be told to call a tool, only asked: tool choice `required` becomes a last word of the user. */
  asksForTools?: true
  /** Temperatures above `max`, and with several answers below `minOfSeveral`, are brought there: it refuses them. */
  temperature?: { max: number; minOfSeveral: number }
  /** Its names for reasoning efforts it lacks. */
  efforts?: Readonly<Record<string, string>>
  /** Says `any` for tool choice `required`. */
  toolChoiceAny?: true
  /** Says `{type: "json_object", schema}` for a JSON schema response format. */
  jsonSchemaAsObject?: true
  /** Tool call ids must have exactly this many letters and digits; foreign ones are mapped, always to the same. */
  toolIdLength?: number

  /**
   * Speaks OpenAI's Responses API, too: clients that do reach it in their own words. `kept`: its responses can be gone on from by their id;
   * `stateless`: not, or not for sure, so the gateway keeps them.
   */
  responses?: 'kept' | 'stateless'
  /** Opens sessions of OpenAI's Realtime API at `/realtime`. */
  realtime?: true
  /** How it takes the beginning of an answer to go on with (router-svc/providers/provider.ts); absent = it must be told to. */
  prefill?: 'prefix' | 'echo' | 'partial' | 'final'
  /** Where a chat with such a beginning goes, at the row's own base. */
  prefillPath?: string

  /** `completion_tokens` leaves reasoning out: it is added (and priced). */
  reasoningApart?: true
  /** Where its answers differ from OpenAI's; the decoder mends each, and a provider with any is never passed through unread. */
  deviates?: readonly Deviation[]
}

/**
 * `finish_reason`: other words for it. `reasoning`: thinking under another name than `reasoning_content`. `usage`: not where OpenAI
 * puts it. `content`: lists of parts. `tool_calls`: objects for arguments, repeated or missing ids and indexes, "stop" after calls.
 * `role`: repeated in every delta. `vectors`: of signed bytes, in base64.
 */
export type Deviation = 'finish_reason' | 'reasoning' | 'usage' | 'content' | 'tool_calls' | 'role' | 'vectors'

/** A server an operator runs, speaking OpenAI's protocol through vLLM. */
const VLLM = {
  protocol: 'openai',
  base: null,
  keyless: true,
  modes: ALL,
  plainToolSchemas: true,
  prefill: 'final',
  deviates: ['reasoning', 'tool_calls'],
} as const satisfies Omit<ProviderRow, 'keys'>

/** What Ollama has no counterpart for: refused where an answer would be another, left out where it would not. */
const OLLAMA = {
  protocol: 'ollama',
  base: 'http://localhost:11434',
  keys: ['OLLAMA_API_KEY'],
  bases: ['OLLAMA_API_BASE'],
  keyless: true,
  modes: ALL,
  unsupported: ['logit_bias', 'n>1', 'functions', 'function_call', 'audio', 'web_search_options'],
  drop: [
    'user',
    'parallel_tool_calls',
    'service_tier',
    'store',
    'safety_identifier',
    'prompt_cache_key',
    'prompt_cache_retention',
    'prediction',
    'verbosity',
    'modalities',
  ],
} as const satisfies ProviderRow

/** THE TABLE. The order is the order of documentation, nothing else. */
export const PROVIDERS: Readonly<Record<string, ProviderRow>> = {
  // The two protocols' owners, and the built-in stand-in.
  openai: {
    protocol: 'openai',
    responses: 'kept',
    realtime: true,
    base: 'https://api.openai.com/v1',
    keys: ['OPENAI_API_KEY'],
    bases: ['OPENAI_BASE_URL', 'OPENAI_API_BASE'],
    modes: ALL,
    reasoningModels: true,
    strictMessages: true,
    unsupported: ['thinking'],
  },
  anthropic: {
    protocol: 'anthropic',
    base: 'https://api.anthropic.com',
    keys: ['ANTHROPIC_API_KEY', 'ANTHROPIC_AUTH_TOKEN'],
    bases: ['ANTHROPIC_API_BASE', 'ANTHROPIC_BASE_URL'],
  },
  gemini: {
    protocol: 'gemini',
    base: 'https://generativelanguage.googleapis.com/v1beta',
    keys: ['GEMINI_API_KEY', 'GOOGLE_API_KEY', 'PALM_API_KEY'],
    bases: ['GEMINI_API_BASE'],
    modes: CHAT_AND_EMBEDDING,
  },
  // Google's cloud: the base follows project and location; a key, or tokens (router-svc/credentials/google.ts).
  vertex_ai: {
    protocol: 'vertex',
    base: null,
    keys: ['VERTEXAI_API_KEY', 'VERTEX_API_KEY'],
    bases: ['VERTEXAI_API_BASE', 'VERTEX_API_BASE'],
    modes: CHAT_AND_EMBEDDING,
  },
  vertex_ai_beta: {
    protocol: 'vertex',
    base: null,
    keys: ['VERTEXAI_API_KEY', 'VERTEX_API_KEY'],
    bases: ['VERTEXAI_API_BASE', 'VERTEX_API_BASE'],
    sharesKey: true,
    modes: CHAT_AND_EMBEDDING,
  },
  mock: { protocol: 'mock', base: null, keys: [], keyless: true, modes: ALL },

  // Amazon's: the base follows the region, requests are signed or carry this key (router-svc/credentials/aws.ts).
  bedrock: { protocol: 'bedrock', base: null, keys: ['AWS_BEARER_TOKEN_BEDROCK'], modes: CHAT_AND_EMBEDDING },
  bedrock_converse: {
    protocol: 'bedrock',
    base: null,
    keys: ['AWS_BEARER_TOKEN_BEDROCK'],
    sharesKey: true,
    modes: CHAT_AND_EMBEDDING,
  },
  sagemaker: {
    protocol: 'sagemaker',
    base: null,
    keys: [],
    keyless: true,
    modes: ALL,
    rename: { max_tokens: 'max_new_tokens', n: 'best_of' },
    unsupported: [
      ...LEGACY,
      ...EXTRAS,
      'tools',
      'tool_choice',
      'parallel_tool_calls',
      'response_format',
      'reasoning_effort',
      'thinking',
      'logprobs',
      'top_logprobs',
      'logit_bias',
      'frequency_penalty',
      'presence_penalty',
    ],
    drop: ['user', 'service_tier', 'store', 'safety_identifier', 'prompt_cache_key', 'prompt_cache_retention'],
  },
  sagemaker_chat: {
    protocol: 'sagemaker-chat',
    base: null,
    keys: [],
    keyless: true,
    deviates: ['finish_reason', 'usage', 'tool_calls', 'reasoning', 'role'],
  },

  // Microsoft's resale: one resource an operator, so that the base is always given.
  azure: {
    protocol: 'azure',
    responses: 'kept',
    base: null,
    keys: ['AZURE_API_KEY', 'AZURE_OPENAI_API_KEY'],
    bases: ['AZURE_API_BASE'],
    versions: ['AZURE_API_VERSION'],
    modes: ALL,
    reasoningModels: true,
    strictMessages: true,
    unsupported: ['thinking'],
  },
  azure_text: {
    protocol: 'azure',
    base: null,
    keys: ['AZURE_API_KEY', 'AZURE_OPENAI_API_KEY'],
    bases: ['AZURE_API_BASE'],
    versions: ['AZURE_API_VERSION'],
    sharesKey: true,
    modes: ['completion'],
  },
  azure_ai: {
    protocol: 'azure-ai',
    responses: 'kept',
    base: null,
    keys: ['AZURE_AI_API_KEY'],
    bases: ['AZURE_AI_API_BASE'],
    modes: ALL,
    reasoningModels: true,
    // Some of the vendors' servers behind it take lists only where there is more than text.
    flattenContent: true,
    deviates: ['finish_reason', 'reasoning', 'usage', 'content', 'tool_calls', 'role'],
  },
  'text-completion-openai': {
    protocol: 'openai',
    base: 'https://api.openai.com/v1',
    keys: ['OPENAI_API_KEY'],
    bases: ['OPENAI_BASE_URL', 'OPENAI_API_BASE'],
    sharesKey: true,
    modes: ['completion'],
    unsupported: [
      ...LEGACY,
      'tools',
      'tool_choice',
      'response_format',
      'parallel_tool_calls',
      'modalities',
      'audio',
      'reasoning_effort',
    ],
  },

  // Whatever speaks the protocol.
  custom_openai: {
    protocol: 'openai',
    responses: 'kept',
    base: null,
    keys: ['OPENAI_API_KEY'],
    bases: ['OPENAI_API_BASE'],
    keyless: true,
    sharesKey: true,
    modes: ALL,
  },
  openai_like: {
    protocol: 'openai',
    base: null,
    keys: ['OPENAI_LIKE_API_KEY'],
    bases: ['OPENAI_LIKE_API_BASE'],
    keyless: true,
    modes: ALL,
    maxTokensName: 'max_tokens',
    deviates: ['finish_reason', 'usage', 'tool_calls', 'reasoning', 'role'],
  },
  litellm_proxy: {
    protocol: 'openai',
    responses: 'kept',
    base: null,
    keys: ['LITELLM_PROXY_API_KEY'],
    bases: ['LITELLM_PROXY_API_BASE'],
    keyless: true,
    modes: ALL,
  },

  // Servers one runs.
  vllm: { ...VLLM, keys: ['VLLM_API_KEY'], bases: ['VLLM_API_BASE'] },
  hosted_vllm: { ...VLLM, responses: 'stateless', keys: ['HOSTED_VLLM_API_KEY'], bases: ['HOSTED_VLLM_API_BASE'] },
  ollama: OLLAMA,
  ollama_chat: { ...OLLAMA, sharesKey: true },
  lm_studio: {
    protocol: 'openai',
    responses: 'kept',
    base: 'http://localhost:1234/v1',
    keys: ['LM_STUDIO_API_KEY'],
    bases: ['LM_STUDIO_API_BASE'],
    keyless: true,
    modes: ALL,
    unsupported: ['response_format.json_object'],
    deviates: ['reasoning', 'tool_calls'],
  },
  llamafile: {
    protocol: 'openai',
    base: 'http://127.0.0.1:8080/v1',
    keys: ['LLAMAFILE_API_KEY'],
    bases: ['LLAMAFILE_API_BASE'],
    keyless: true,
    modes: ALL,
    deviates: ['tool_calls'],
  },
  lemonade: {
    protocol: 'openai',
    base: 'http://localhost:8000/api/v1',
    keys: ['LEMONADE_API_KEY'],
    bases: ['LEMONADE_API_BASE'],
    keyless: true,
    modes: CHAT_AND_COMPLETION,
    deviates: ['tool_calls', 'reasoning'],
  },
  docker_model_runner: {
    protocol: 'openai',
    base: 'http://localhost:22088/engines/llama.cpp/v1',
    keys: [],
    bases: ['DOCKER_MODEL_RUNNER_API_BASE'],
    keyless: true,
    modes: CHAT_AND_EMBEDDING,
  },
  xinference: {
    protocol: 'openai',
    base: 'http://127.0.0.1:9997/v1',
    keys: ['XINFERENCE_API_KEY'],
    bases: ['XINFERENCE_API_BASE'],
    keyless: true,
    modes: CHAT_AND_EMBEDDING,
    deviates: ['tool_calls', 'reasoning'],
  },

  // Hosted, with quirks.
  groq: {
    protocol: 'openai',
    responses: 'stateless',
    base: 'https://api.groq.com/openai/v1',
    keys: ['GROQ_API_KEY'],
    bases: ['GROQ_API_BASE'],
    modes: CHAT_AND_EMBEDDING,
    stripNullFields: true,
    unsupported: ['logit_bias', 'logprobs', 'top_logprobs', 'n>1'],
    deviates: ['reasoning', 'usage', 'tool_calls'],
  },
  deepseek: {
    protocol: 'openai',
    base: 'https://api.deepseek.com',
    keys: ['DEEPSEEK_API_KEY'],
    bases: ['DEEPSEEK_API_BASE'],
    modes: CHAT_AND_COMPLETION,
    paths: { completion: '/beta/completions' },
    prefill: 'prefix',
    prefillPath: '/beta/chat/completions',
    flattenContent: true,
    drop: ['parallel_tool_calls'],
    unsupported: ['seed', 'n>1', 'logit_bias', 'response_format.json_schema'],
    maxTokensName: 'max_tokens',
    deviates: ['usage'],
  },
  together_ai: {
    protocol: 'openai',
    base: 'https://api.together.xyz/v1',
    keys: ['TOGETHER_API_KEY', 'TOGETHER_AI_API_KEY', 'TOGETHERAI_API_KEY', 'TOGETHER_AI_TOKEN'],
    bases: ['TOGETHER_AI_API_BASE'],
    modes: ALL,
    drop: ['user', 'response_format.text'],
    deviates: ['finish_reason', 'role', 'tool_calls'],
  },
  openrouter: {
    protocol: 'openai',
    responses: 'stateless',
    base: 'https://openrouter.ai/api/v1',
    keys: ['OPENROUTER_API_KEY', 'OR_API_KEY'],
    bases: ['OPENROUTER_API_BASE', 'OPENROUTER_BASE_URL'],
    modes: ALL,
    deviates: ['reasoning', 'role', 'tool_calls'],
    ownRouting: true,
  },
  mistral: {
    protocol: 'openai',
    base: 'https://api.mistral.ai/v1',
    keys: ['MISTRAL_API_KEY'],
    bases: ['MISTRAL_API_BASE'],
    modes: CHAT_AND_EMBEDDING,
    maxTokensName: 'max_tokens',
    rename: { seed: 'random_seed' },
    drop: ['user', 'service_tier', 'store', 'safety_identifier', 'prompt_cache_retention'],
    // It thinks or it does not.
    efforts: { minimal: 'none', low: 'high', medium: 'high', xhigh: 'high', max: 'high' },
    strictMessages: true,
    noDeveloper: true,
    noStreamOptions: true,
    stripNullFields: true,
    stripName: true,
    toolChoiceAny: true,
    toolIdLength: 9,
    prefill: 'echo',
    unsupported: [
      'logit_bias',
      'logprobs',
      'top_logprobs',
      'functions',
      'function_call',
      'web_search_options',
      'modalities',
      'audio',
      'verbosity',
      'moderation',
    ],
    deviates: ['content', 'finish_reason', 'tool_calls', 'usage'],
  },
  codestral: {
    protocol: 'openai',
    base: 'https://codestral.mistral.ai/v1',
    keys: ['CODESTRAL_API_KEY'],
    bases: ['CODESTRAL_API_BASE'],
    maxTokensName: 'max_tokens',
    rename: { seed: 'random_seed' },
    drop: ['user'],
    noStreamOptions: true,
    stripNullFields: true,
    stripName: true,
    toolChoiceAny: true,
    toolIdLength: 9,
    prefill: 'echo',
    unsupported: ['logit_bias', 'logprobs', 'top_logprobs', 'functions', 'function_call'],
    deviates: ['content', 'finish_reason', 'tool_calls', 'usage'],
  },
  fireworks_ai: {
    protocol: 'openai',
    responses: 'kept',
    base: 'https://api.fireworks.ai/inference/v1',
    keys: ['FIREWORKS_API_KEY', 'FIREWORKS_AI_API_KEY', 'FIREWORKSAI_API_KEY', 'FIREWORKS_AI_TOKEN'],
    bases: ['FIREWORKS_API_BASE'],
    modes: ALL,
    modelPrefix: 'accounts/fireworks/models/',
    stripCacheMarks: true,
    efforts: { minimal: 'low', xhigh: 'high' },
    maxTokensName: 'max_tokens',
    toolChoiceAny: true,
    plainToolSchemas: true,
    jsonSchemaAsObject: true,
    deviates: ['tool_calls'],
  },
  xai: {
    protocol: 'openai',
    responses: 'kept',
    realtime: true,
    base: 'https://api.x.ai/v1',
    keys: ['XAI_API_KEY'],
    bases: ['XAI_API_BASE'],
    maxTokensName: 'max_tokens',
    stripName: true,
    plainToolSchemas: true,
    unsupported: ['functions', 'function_call'],
    reasoningApart: true,
    deviates: ['finish_reason', 'usage'],
  },
  perplexity: {
    protocol: 'openai',
    base: 'https://api.perplexity.ai',
    keys: ['PERPLEXITYAI_API_KEY', 'PERPLEXITY_API_KEY'],
    bases: ['PERPLEXITY_API_BASE'],
    modes: CHAT_AND_EMBEDDING,
    paths: { embedding: '/v1/embeddings' },
    noStreamOptions: true,
    // It knows no floats: vectors are bytes in base64, whatever the client would like.
    drop: ['user', 'service_tier', 'encoding_format=float', 'encoding_format=base64'],
    unsupported: [
      'tools',
      'tool_choice',
      'parallel_tool_calls',
      'functions',
      'function_call',
      'logit_bias',
      'logprobs',
      'top_logprobs',
      'n>1',
      'seed',
      'stop',
      'audio',
      'modalities',
      'prediction',
    ],
    deviates: ['usage', 'role', 'vectors'],
  },
  cerebras: {
    protocol: 'openai',
    base: 'https://api.cerebras.ai/v1',
    keys: ['CEREBRAS_API_KEY'],
    bases: ['CEREBRAS_API_BASE'],
    modes: CHAT_AND_COMPLETION,
    replaysReasoning: true,
    drop: ['service_tier', 'parallel_tool_calls'],
    unsupported: ['frequency_penalty', 'presence_penalty', 'functions', 'function_call', 'logit_bias', 'n>1', ...EXTRAS],
    deviates: ['reasoning', 'tool_calls'],
  },
  sambanova: {
    protocol: 'openai',
    base: 'https://api.sambanova.ai/v1',
    keys: ['SAMBANOVA_API_KEY'],
    bases: ['SAMBANOVA_API_BASE'],
    modes: CHAT_AND_EMBEDDING,
    maxTokensName: 'max_tokens',
    drop: ['user', 'service_tier'],
    unsupported: [
      'frequency_penalty',
      'presence_penalty',
      'functions',
      'function_call',
      'logit_bias',
      'logprobs',
      'top_logprobs',
      'n>1',
      'seed',
      ...EXTRAS,
    ],
    deviates: ['reasoning', 'tool_calls'],
  },
  moonshot: {
    protocol: 'openai',
    base: 'https://api.moonshot.ai/v1',
    keys: ['MOONSHOT_API_KEY'],
    bases: ['MOONSHOT_API_BASE'],
    maxTokensName: 'max_tokens',
    asksForTools: true,
    temperature: { max: 1, minOfSeveral: 0.3 },
    unsupported: ['functions', 'function_call', 'seed'],
    deviates: ['usage'],
    prefill: 'partial',
  },
  nvidia_nim: {
    protocol: 'openai',
    base: 'https://integrate.api.nvidia.com/v1',
    keys: ['NVIDIA_NIM_API_KEY', 'NVIDIA_API_KEY'],
    bases: ['NVIDIA_NIM_API_BASE'],
    modes: CHAT_AND_EMBEDDING,
    maxTokensName: 'max_tokens',
    drop: ['user'],
    unsupported: ['logit_bias', 'logprobs', 'top_logprobs', 'n>1'],
    deviates: ['reasoning', 'tool_calls'],
  },
  deepinfra: {
    protocol: 'openai',
    base: 'https://api.deepinfra.com/v1/openai',
    keys: ['DEEPINFRA_API_KEY'],
    bases: ['DEEPINFRA_API_BASE'],
    modes: ALL,
    maxTokensName: 'max_tokens',
    drop: ['user', 'parallel_tool_calls'],
    unsupported: ['tool_choice=required', 'tool_choice.function', 'logprobs', 'top_logprobs', 'seed'],
    deviates: ['reasoning', 'tool_calls'],
  },
  huggingface: {
    protocol: 'huggingface',
    base: 'https://router.huggingface.co',
    keys: ['HF_TOKEN', 'HUGGINGFACE_API_KEY'],
    bases: ['HF_API_BASE', 'HUGGINGFACE_API_BASE'],
    modes: CHAT_AND_EMBEDDING,
    version: '/v1',
    maxTokensName: 'max_tokens',
    deviates: ['finish_reason', 'reasoning', 'tool_calls', 'role', 'usage'],
  },
  hyperbolic: {
    protocol: 'openai',
    base: 'https://api.hyperbolic.xyz/v1',
    keys: ['HYPERBOLIC_API_KEY'],
    bases: ['HYPERBOLIC_API_BASE'],
    modes: CHAT_AND_COMPLETION,
    drop: ['parallel_tool_calls'],
    unsupported: ['logit_bias', 'logprobs', 'top_logprobs', 'functions', 'function_call'],
  },
  novita: {
    protocol: 'openai',
    base: 'https://api.novita.ai/openai/v1',
    keys: ['NOVITA_API_KEY'],
    bases: ['NOVITA_API_BASE'],
    modes: ALL,
    headers: { 'x-novita-source': 'turnpike' },
    deviates: ['tool_calls'],
  },
  nebius: {
    protocol: 'openai',
    base: 'https://api.tokenfactory.nebius.com/v1',
    keys: ['NEBIUS_API_KEY'],
    bases: ['NEBIUS_API_BASE'],
    modes: ALL,
    maxTokensName: 'max_tokens',
    deviates: ['reasoning', 'tool_calls'],
  },
  featherless_ai: {
    protocol: 'openai',
    base: 'https://api.featherless.ai/v1',
    keys: ['FEATHERLESS_API_KEY', 'FEATHERLESS_AI_API_KEY'],
    bases: ['FEATHERLESS_API_BASE'],
    modes: CHAT_AND_COMPLETION,
    maxTokensName: 'max_tokens',
    drop: ['parallel_tool_calls'],
    unsupported: ['tools', 'response_format', 'seed', 'logprobs', 'top_logprobs'],
  },
  volcengine: {
    protocol: 'openai',
    responses: 'kept',
    base: 'https://ark.cn-beijing.volces.com/api/v3',
    keys: ['VOLCENGINE_API_KEY', 'ARK_API_KEY'],
    bases: ['VOLCENGINE_API_BASE'],
    modes: CHAT_AND_EMBEDDING,
    maxTokensName: 'max_tokens',
    drop: ['user', 'parallel_tool_calls', 'service_tier'],
  },
  meta_llama: {
    protocol: 'openai',
    base: 'https://api.llama.com/compat/v1',
    keys: ['LLAMA_API_KEY'],
    bases: ['LLAMA_API_BASE'],
    maxTokensName: 'max_tokens',
    drop: ['response_format.text'],
    unsupported: ['response_format.json_object'],
  },
  zai: {
    protocol: 'openai',
    base: 'https://api.z.ai/api/paas/v4',
    keys: ['ZAI_API_KEY'],
    modes: CHAT_AND_EMBEDDING,
    deviates: ['finish_reason'],
  },
  ovhcloud: {
    protocol: 'openai',
    base: 'https://oai.endpoints.kepler.ai.cloud.ovh.net/v1',
    keys: ['OVHCLOUD_API_KEY'],
    bases: ['OVHCLOUD_API_BASE'],
    keyless: true,
    modes: ALL,
    deviates: ['reasoning'],
  },
  cometapi: {
    protocol: 'openai',
    base: 'https://api.cometapi.com/v1',
    keys: ['COMETAPI_KEY', 'COMETAPI_API_KEY'],
    bases: ['COMETAPI_API_BASE', 'COMETAPI_BASE_URL'],
    modes: CHAT_AND_EMBEDDING,
    deviates: ['reasoning'],
  },
  dashscope: {
    protocol: 'openai',
    responses: 'kept',
    base: 'https://dashscope-intl.aliyuncs.com/compatible-mode/v1',
    keys: ['DASHSCOPE_API_KEY', 'ALIBABA_API_KEY'],
    bases: ['DASHSCOPE_API_BASE'],
    modes: CHAT_AND_EMBEDDING,
    flattenContent: true,
    deviates: ['tool_calls'],
  },
  heroku: {
    protocol: 'openai',
    base: 'https://us.inference.heroku.com',
    keys: ['HEROKU_API_KEY', 'INFERENCE_KEY', 'HEROKU_INFERENCE_KEY'],
    bases: ['HEROKU_API_BASE', 'INFERENCE_URL', 'HEROKU_INFERENCE_URL'],
    modes: CHAT_AND_EMBEDDING,
    version: '/v1',
    flattenContent: true,
  },
  publicai: {
    protocol: 'openai',
    base: 'https://api.publicai.co/v1',
    keys: ['PUBLICAI_API_KEY'],
    bases: ['PUBLICAI_API_BASE'],
    maxTokensName: 'max_tokens',
    flattenContent: true,
    headers: { 'user-agent': 'turnpike' },
  },

  // Protocols of their own, and embeddings alone.
  cohere: {
    protocol: 'cohere',
    base: 'https://api.cohere.com',
    keys: ['COHERE_API_KEY', 'CO_API_KEY'],
    bases: ['COHERE_API_BASE'],
    modes: CHAT_AND_EMBEDDING,
  },
  cohere_chat: {
    protocol: 'cohere',
    base: 'https://api.cohere.com',
    keys: ['COHERE_API_KEY', 'CO_API_KEY'],
    bases: ['COHERE_API_BASE'],
    sharesKey: true,
    modes: CHAT_AND_EMBEDDING,
  },

  // Platforms with credentials of their own.
  ...PLATFORMS,
  ...AGENTS,

  // Small ones with protocols of their own.
  ...SMALL,
  // More that speak OpenAI's protocol, most of them hosted.
  ...COMPATIBLE,

  // Makers of images and sounds.
  ...MEDIA_PROVIDERS,
}

/** The row of a provider name, or undefined. */
export function providerRow(name: string): ProviderRow | undefined {
  return entryOf(PROVIDERS, name)
}

/** Whether a provider's answers are OpenAI's as they stand, so that their bytes may go to an OpenAI client unread. */
export function canPassThrough(row: ProviderRow): boolean {
  return row.protocol === 'openai' && (row.deviates ?? []).length === 0 && row.reasoningApart !== true
}
