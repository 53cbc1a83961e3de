import { CHAT_AND_COMPLETION, EXTRAS, LEGACY, LOGPROBS, PENALTIES } from './provider-lists.ts'
import type { ProviderRow } from './providers.ts'

/** Rows of the table (providers.ts) that make images, or hear and speak, with protocols of their own. */
export const MEDIA_PROVIDERS = {
  // Images.
  black_forest_labs: {
    protocol: 'black-forest-labs',
    base: 'https://api.bfl.ai',
    keys: ['BFL_API_KEY'],
    bases: ['BFL_API_BASE'],
    keyHeader: { name: 'x-key' },
    modes: ['image', 'image_edit'],
  },
  fal_ai: {
    protocol: 'fal',
    base: 'https://fal.run',
    keys: ['FAL_AI_API_KEY', 'FAL_KEY'],
    keyHeader: { name: 'authorization', prefix: 'Key ' },
    modes: ['image', 'image_edit', 'transcription'],
  },
  recraft: {
    protocol: 'recraft',
    base: 'https://external.api.recraft.ai/v1',
    keys: ['RECRAFT_API_KEY', 'RECRAFT_API_TOKEN'],
    bases: ['RECRAFT_API_BASE'],
    modes: ['image', 'image_edit'],
  },
  // Chats, too; what a model's input has no name for is refused here, and not ignored there.
  replicate: {
    protocol: 'replicate',
    base: 'https://api.replicate.com/v1',
    keys: ['REPLICATE_API_TOKEN', 'REPLICATE_API_KEY'],
    bases: ['REPLICATE_API_BASE'],
    modes: CHAT_AND_COMPLETION,
    drop: ['user', 'service_tier', 'parallel_tool_calls'],
    unsupported: [
      ...LEGACY,
      ...EXTRAS,
      ...LOGPROBS,
      ...PENALTIES,
      'tools',
      'tool_choice',
      'response_format',
      'logit_bias',
      'n>1',
    ],
  },
  runwayml: {
    protocol: 'runwayml',
    base: 'https://api.dev.runwayml.com/v1',
    keys: ['RUNWAYML_API_KEY', 'RUNWAYML_API_SECRET'],
    headers: { 'x-runway-version': '2024-11-06' },
    modes: ['image', 'image_edit', 'speech'],
  },
  stability: {
    protocol: 'stability',
    base: 'https://api.stability.ai',
    keys: ['STABILITY_API_KEY'],
    bases: ['STABILITY_API_BASE'],
    modes: ['image', 'image_edit'],
  },
  topaz: {
    protocol: 'topaz',
    base: 'https://api.topazlabs.com',
    keys: ['TOPAZ_API_KEY'],
    bases: ['TOPAZ_API_BASE'],
    keyHeader: { name: 'x-api-key' },
    modes: ['image_variation'],
  },

  // Sounds.
  deepgram: {
    protocol: 'deepgram',
    base: 'https://api.deepgram.com/v1',
    keys: ['DEEPGRAM_API_KEY'],
    bases: ['DEEPGRAM_API_BASE'],
    modes: ['speech', 'transcription'],
  },
  elevenlabs: {
    protocol: 'elevenlabs',
    base: 'https://api.elevenlabs.io',
    keys: ['ELEVENLABS_API_KEY'],
    bases: ['ELEVENLABS_API_BASE'],
    modes: ['speech', 'transcription'],
  },
  // Its chats are OpenAI's at a host of their own, with the bare key.
  assemblyai: {
    protocol: 'assemblyai',
    base: 'https://llm-gateway.assemblyai.com/v1',
    keys: ['ASSEMBLYAI_API_KEY'],
    bases: ['ASSEMBLYAI_API_BASE'],
    keyHeader: { name: 'authorization' },
    modes: ['chat', 'transcription'],
    maxTokensName: 'max_tokens',
    deviates: ['finish_reason', 'usage', 'tool_calls'],
  },
  // Amazon's: the base follows the region, requests are signed (router-svc/credentials/aws.ts).
  aws_polly: { protocol: 'aws-polly', base: null, keys: [], keyless: true, modes: ['speech'] },
} as const satisfies Readonly<Record<string, ProviderRow>>
