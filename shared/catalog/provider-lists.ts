import type { Mode } from '../../proto/endpoints.ts'

/** What rows of the table of providers have in common. */

export const ALL: readonly Mode[] = ['chat', 'completion', 'embedding']
export const CHAT_AND_COMPLETION: readonly Mode[] = ['chat', 'completion']
export const CHAT_AND_EMBEDDING: readonly Mode[] = ['chat', 'embedding']

/** Parameters that most refuse together: the names of tools before they were called so, logprobs, and what only OpenAI has. */
export const LEGACY = ['functions', 'function_call'] as const
export const LOGPROBS = ['logprobs', 'top_logprobs'] as const
export const EXTRAS = ['audio', 'modalities', 'prediction', 'web_search_options'] as const
export const PENALTIES = ['frequency_penalty', 'presence_penalty'] as const
/** What is said about a call and not asked of the model: nobody misses it. */
export const ASIDES = ['user', 'service_tier'] as const
