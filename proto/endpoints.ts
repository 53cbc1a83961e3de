/** What an endpoint asks of a model. An adapter offers some of these. */
export type Mode =
  | 'chat'
  | 'completion'
  | 'embedding'
  | 'rerank'
  | 'moderation'
  | 'image'
  | 'image_edit'
  | 'image_variation'
  | 'speech'
  | 'transcription'
  | 'translation'
  | 'count_tokens'

/** The protocol a client speaks on an endpoint; each is one file in router-svc/dialects. */
export type DialectName =
  | 'openai-chat'
  | 'openai-completion'
  | 'openai-embedding'
  | 'anthropic'
  | 'gemini'
  | 'anthropic-count'
  | 'gemini-count'
  | 'gemini-embedding'
  | 'gemini-embedding-batch'
  | 'openai-responses'
  | 'rerank'
  | 'openai-moderation'
  | 'openai-image'
  | 'openai-image-edit'
  | 'openai-image-variation'
  | 'openai-speech'
  | 'openai-transcription'
  | 'openai-translation'

/** One client-facing inference endpoint. */
export interface Endpoint {
  /** Name on the wire and in the ledger's `call_type`. */
  name: string
  method: 'POST'
  /** Path with `/v1`, also served without it; or one that names the model, like an alias. */
  path: string
  /** Azure-style and engine aliases: `{model}` in the path names the model. */
  aliases: string[]
  mode: Mode
  dialect: DialectName
  /** `form`: `multipart/form-data` with files; JSON is taken too. */
  body: 'json' | 'form'
  /** The model of requests that name none. */
  defaultModel?: string
  /** The path itself says whether the answer is a stream. */
  streams?: boolean
}

/**
 * The inference endpoints. A new one is one row here, plus a dialect when it speaks a new protocol. Whatever is not listed
 * (and is not health, models or metrics) is carried to accounting.
 */
export const ENDPOINTS = [
  {
    name: 'acompletion',
    method: 'POST',
    path: '/v1/chat/completions',
    aliases: ['/openai/deployments/{model}/chat/completions', '/engines/{model}/chat/completions'],
    mode: 'chat',
    dialect: 'openai-chat',
    body: 'json',
  },
  {
    name: 'atext_completion',
    method: 'POST',
    path: '/v1/completions',
    aliases: ['/openai/deployments/{model}/completions', '/engines/{model}/completions'],
    mode: 'completion',
    dialect: 'openai-completion',
    body: 'json',
  },
  {
    name: 'aembedding',
    method: 'POST',
    path: '/v1/embeddings',
    aliases: ['/openai/deployments/{model}/embeddings', '/engines/{model}/embeddings'],
    mode: 'embedding',
    dialect: 'openai-embedding',
    body: 'json',
  },
  {
    name: 'anthropic_messages',
    method: 'POST',
    path: '/v1/messages',
    aliases: [],
    mode: 'chat',
    dialect: 'anthropic',
    body: 'json',
  },
  {
    name: 'aresponses',
    method: 'POST',
    path: '/v1/responses',
    aliases: ['/openai/v1/responses', '/openai/responses', '/openai/deployments/{model}/responses'],
    mode: 'chat',
    dialect: 'openai-responses',
    body: 'json',
  },
  {
    name: 'agenerate_content',
    method: 'POST',
    path: '/v1beta/models/{model}:generateContent',
    aliases: ['/v1/models/{model}:generateContent', '/models/{model}:generateContent'],
    mode: 'chat',
    dialect: 'gemini',
    body: 'json',
    streams: false,
  },
  {
    name: 'agenerate_content_stream',
    method: 'POST',
    path: '/v1beta/models/{model}:streamGenerateContent',
    aliases: ['/v1/models/{model}:streamGenerateContent', '/models/{model}:streamGenerateContent'],
    mode: 'chat',
    dialect: 'gemini',
    body: 'json',
    streams: true,
  },
  {
    name: 'anthropic_count_tokens',
    method: 'POST',
    path: '/v1/messages/count_tokens',
    aliases: [],
    mode: 'count_tokens',
    dialect: 'anthropic-count',
    body: 'json',
  },
  {
    name: 'google_count_tokens',
    method: 'POST',
    path: '/v1beta/models/{model}:countTokens',
    aliases: ['/v1/models/{model}:countTokens', '/models/{model}:countTokens'],
    mode: 'count_tokens',
    dialect: 'gemini-count',
    body: 'json',
  },
  {
    name: 'google_embed_content',
    method: 'POST',
    path: '/v1beta/models/{model}:embedContent',
    aliases: ['/v1/models/{model}:embedContent', '/models/{model}:embedContent'],
    mode: 'embedding',
    dialect: 'gemini-embedding',
    body: 'json',
  },
  {
    name: 'google_batch_embed_contents',
    method: 'POST',
    path: '/v1beta/models/{model}:batchEmbedContents',
    aliases: ['/v1/models/{model}:batchEmbedContents', '/models/{model}:batchEmbedContents'],
    mode: 'embedding',
    dialect: 'gemini-embedding-batch',
    body: 'json',
  },
  {
    name: 'arerank',
    method: 'POST',
    path: '/v1/rerank',
    aliases: ['/v2/rerank'],
    mode: 'rerank',
    dialect: 'rerank',
    body: 'json',
  },
  {
    name: 'amoderation',
    method: 'POST',
    path: '/v1/moderations',
    aliases: [],
    mode: 'moderation',
    dialect: 'openai-moderation',
    body: 'json',
    defaultModel: 'omni-moderation-latest',
  },
  {
    name: 'aimage_generation',
    method: 'POST',
    path: '/v1/images/generations',
    aliases: ['/openai/deployments/{model}/images/generations', '/engines/{model}/images/generations'],
    mode: 'image',
    dialect: 'openai-image',
    body: 'json',
    defaultModel: 'dall-e-2',
  },
  {
    name: 'aimage_edit',
    method: 'POST',
    path: '/v1/images/edits',
    aliases: ['/openai/deployments/{model}/images/edits'],
    mode: 'image_edit',
    dialect: 'openai-image-edit',
    body: 'form',
    defaultModel: 'dall-e-2',
  },
  {
    name: 'aimage_variation',
    method: 'POST',
    path: '/v1/images/variations',
    aliases: [],
    mode: 'image_variation',
    dialect: 'openai-image-variation',
    body: 'form',
    defaultModel: 'dall-e-2',
  },
  {
    name: 'aspeech',
    method: 'POST',
    path: '/v1/audio/speech',
    aliases: ['/openai/deployments/{model}/audio/speech'],
    mode: 'speech',
    dialect: 'openai-speech',
    body: 'json',
  },
  {
    name: 'atranscription',
    method: 'POST',
    path: '/v1/audio/transcriptions',
    aliases: ['/openai/deployments/{model}/audio/transcriptions'],
    mode: 'transcription',
    dialect: 'openai-transcription',
    body: 'form',
  },
  {
    name: 'atranslation',
    method: 'POST',
    path: '/v1/audio/translations',
    aliases: ['/openai/deployments/{model}/audio/translations'],
    mode: 'translation',
    dialect: 'openai-translation',
    body: 'form',
  },
] as const satisfies readonly Endpoint[]

export type EndpointName = (typeof ENDPOINTS)[number]['name']

/** The endpoint row of a name; undefined for a name of a newer edge. */
export function endpoint(name: string): Endpoint | undefined {
  return ENDPOINTS.find((row) => row.name === name)
}
