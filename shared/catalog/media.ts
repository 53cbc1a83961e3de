import type { Mode } from '../../proto/endpoints.ts'

/**
 * What providers of the table (providers.ts) that speak OpenAI's protocol serve beside text: images, sounds, moderation, rankings. Kept apart
 * because the parameters of these endpoints are not a chat's, and few rows have any.
 */
export interface MediaRow {
  modes: readonly Mode[]
  /** Where it is not at OpenAI's place. A whole address stands for the provider's own base only; `{model}` in it is the model. */
  paths?: Partial<Record<Mode, string>>
  /** Parameters by endpoint. */
  rules?: Partial<Record<Mode, MediaRules>>
  /** Says `width` and `height`, or an object of both, for the size of an image. */
  imageSize?: 'sides' | 'image_size'
  /** Makes images by its own routes (router-svc/providers/images/fireworks.ts). */
  workflows?: true
  /** Its word for `b64_json`. */
  base64?: string
  /** Takes edits as JSON: images as data URLs under `input_references`, or under `image` (several: `images`). */
  edits?: 'references' | 'image'
  /** Knows no `response_format` of transcriptions: the one asked for is written here. `untimed`: it tells no times either. */
  plainHearing?: true | 'untimed'
  /** Its rankings: `{passages}` → logits, or `{queries}` → a list of scores; default Cohere's. */
  ranking?: 'passages' | 'scores'
  /** Ranks strings only: documents that are objects become their text. */
  stringDocuments?: true
}

/** As the fields of the same names in a provider's row; `add`: sent where the request says nothing. */
export interface MediaRules {
  unsupported?: readonly string[]
  drop?: readonly string[]
  rename?: Readonly<Record<string, string>>
  add?: Readonly<Record<string, unknown>>
}

const SOUNDS: readonly Mode[] = ['speech', 'transcription', 'translation']
const IMAGES: readonly Mode[] = ['image', 'image_edit', 'image_variation']
const EVERYTHING: readonly Mode[] = [...IMAGES, ...SOUNDS, 'moderation', 'rerank']

/** What only OpenAI's image models know. */
const GPT_IMAGE = ['background', 'moderation', 'output_compression', 'partial_images', 'stream'] as const
/** Sizes, qualities and styles by OpenAI's names. */
const LOOKS = ['quality', 'style'] as const
/** What only OpenAI's speech and its newer ears know. */
const SPOKEN = ['instructions', 'stream_format'] as const
const HEARD = ['include', 'stream', 'chunking_strategy'] as const

/** Of its second version, which takes strings only and gives no documents back. */
const COHERE: MediaRow = {
  modes: ['rerank', 'transcription'],
  stringDocuments: true,
  plainHearing: 'untimed',
  rules: {
    rerank: { drop: ['return_documents', 'rank_fields'], unsupported: ['max_chunks_per_doc'] },
    transcription: { drop: ['timestamp_granularities'], unsupported: [...HEARD, 'prompt'] },
  },
}

/** By provider name. */
export const MEDIA: Readonly<Record<string, MediaRow>> = {
  openai: { modes: [...IMAGES, ...SOUNDS, 'moderation'] },
  azure: { modes: ['image', 'image_edit', ...SOUNDS] },
  azure_ai: { modes: ['image', 'image_edit', 'rerank', ...SOUNDS] },
  custom_openai: { modes: EVERYTHING },
  openai_like: { modes: EVERYTHING },
  litellm_proxy: { modes: EVERYTHING },
  aihubmix: { modes: ['image', ...SOUNDS, 'moderation', 'rerank'] },

  aiml: {
    modes: ['image', 'speech'],
    imageSize: 'image_size',
    rules: { image: { rename: { n: 'num_images', response_format: 'output_format' }, unsupported: [...GPT_IMAGE, ...LOOKS] } },
  },
  cohere: COHERE,
  cohere_chat: COHERE,
  cometapi: { modes: ['image'] },
  deepinfra: {
    modes: ['image', ...SOUNDS, 'rerank'],
    paths: { rerank: 'https://api.deepinfra.com/v1/inference/{model}' },
    ranking: 'scores',
    stringDocuments: true,
    rules: { rerank: { unsupported: ['max_chunks_per_doc', 'max_tokens_per_doc'] } },
  },
  fireworks_ai: {
    workflows: true,
    modes: ['image', 'image_edit', 'transcription', 'translation', 'rerank'],
    paths: {
      transcription: 'https://audio-prod.us-virginia-1.direct.fireworks.ai/v1/audio/transcriptions',
      translation: 'https://audio-prod.us-virginia-1.direct.fireworks.ai/v1/audio/translations',
    },
    rules: { rerank: { unsupported: ['rank_fields', 'max_chunks_per_doc', 'max_tokens_per_doc'] } },
    stringDocuments: true,
  },
  groq: {
    modes: SOUNDS,
    rules: {
      speech: { unsupported: SPOKEN },
      transcription: { unsupported: HEARD },
      translation: { unsupported: [...HEARD, 'timestamp_granularities'] },
    },
  },
  heroku: { modes: ['image'] },
  hosted_vllm: { modes: ['transcription', 'translation', 'rerank'] },
  vllm: { modes: ['transcription', 'translation', 'rerank'] },
  hyperbolic: {
    modes: ['image', 'speech'],
    paths: { image: '/image/generation', speech: '/audio/generation' },
    imageSize: 'sides',
    rules: {
      image: { rename: { model: 'model_name' }, drop: ['response_format', 'user'], unsupported: [...GPT_IMAGE, ...LOOKS, 'n>1'] },
      speech: { rename: { input: 'text', voice: 'speaker' }, drop: ['model'], unsupported: SPOKEN },
    },
  },
  infinity: {
    modes: ['rerank'],
    stringDocuments: true,
    rules: { rerank: { drop: ['rank_fields'], unsupported: ['max_chunks_per_doc', 'max_tokens_per_doc'] } },
  },
  jina_ai: {
    modes: ['rerank'],
    rules: { rerank: { drop: ['rank_fields'], unsupported: ['max_chunks_per_doc', 'max_tokens_per_doc'] } },
  },
  minimax: { modes: ['speech'] },
  mistral: {
    modes: ['speech', 'transcription', 'moderation'],
    plainHearing: true,
    rules: { transcription: { unsupported: ['include', 'chunking_strategy', 'prompt'] }, speech: { unsupported: SPOKEN } },
  },
  morph: { modes: ['rerank'] },
  nebius: {
    modes: ['image'],
    imageSize: 'sides',
    rules: {
      image: { drop: ['user'], unsupported: [...GPT_IMAGE, ...LOOKS, 'n>1'], rename: { output_format: 'response_extension' } },
    },
  },
  nscale: { modes: ['image'], rules: { image: { unsupported: [...GPT_IMAGE, ...LOOKS] } } },
  nvidia_nim: {
    modes: ['rerank'],
    paths: { rerank: 'https://ai.api.nvidia.com/v1/retrieval/{model}/reranking' },
    ranking: 'passages',
    rules: { rerank: { unsupported: ['rank_fields', 'max_chunks_per_doc', 'max_tokens_per_doc'] } },
  },
  openrouter: {
    modes: ['image', 'image_edit', 'speech', 'transcription', 'rerank'],
    paths: { image: '/images', image_edit: '/images' },
    edits: 'references',
  },
  ovhcloud: { modes: ['transcription'] },
  sambanova: { modes: ['transcription', 'translation'] },
  scaleway: { modes: ['transcription'] },
  together_ai: {
    modes: ['image', ...SOUNDS, 'rerank'],
    imageSize: 'sides',
    base64: 'base64',
    rules: {
      image: { drop: ['user'], unsupported: [...GPT_IMAGE, ...LOOKS] },
      rerank: { unsupported: ['max_chunks_per_doc', 'max_tokens_per_doc'] },
    },
  },
  veniceai: { modes: ['image', 'speech'] },
  vercel_ai_gateway: { modes: ['image'] },
  volcengine: {
    modes: ['image'],
    rules: { image: { drop: ['user'], unsupported: ['quality', 'style', 'background', 'moderation'] } },
  },
  voyage: {
    modes: ['rerank'],
    stringDocuments: true,
    rules: {
      rerank: { rename: { top_n: 'top_k' }, drop: ['rank_fields'], unsupported: ['max_chunks_per_doc', 'max_tokens_per_doc'] },
    },
  },
  xai: {
    modes: ['image', 'image_edit', 'speech', 'transcription'],
    paths: { speech: '/tts', transcription: '/stt' },
    edits: 'image',
    plainHearing: true,
    rules: {
      image: { drop: ['user'], unsupported: [...GPT_IMAGE, ...LOOKS, 'size', 'output_format'] },
      image_edit: { drop: ['user'], unsupported: [...GPT_IMAGE, ...LOOKS, 'size', 'output_format', 'mask', 'input_fidelity'] },
      speech: {
        rename: { input: 'text', voice: 'voice_id', response_format: 'codec' },
        drop: ['model'],
        add: { language: 'auto' },
        unsupported: SPOKEN,
      },
      transcription: { drop: ['model'], unsupported: [...HEARD, 'prompt', 'temperature'] },
    },
  },
  xinference: {
    modes: ['image', ...SOUNDS, 'rerank'],
    stringDocuments: true,
    rules: { image: { unsupported: [...GPT_IMAGE, ...LOOKS, 'user'] }, rerank: { drop: ['rank_fields'] } },
  },
  zai: {
    modes: ['image'],
    rules: { image: { unsupported: [...GPT_IMAGE, 'style', 'n>1'], drop: ['response_format'], rename: { user: 'user_id' } } },
  },
}
