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
    modes: ['image', 'image_edit'],
  },
  recraft: {
    protocol: 'recraft',
    base: 'https://external.api.recraft.ai/v1',
    keys: ['RECRAFT_API_KEY', 'RECRAFT_API_TOKEN'],
    bases: ['RECRAFT_API_BASE'],
    modes: ['image', 'image_edit'],
  },
  runwayml: {
    protocol: 'runwayml',
    base: 'https://api.dev.runwayml.com/v1',
    keys: ['RUNWAYML_API_KEY', 'RUNWAYML_API_SECRET'],
    headers: { 'x-runway-version': '2024-11-06' },
    modes: ['image', 'image_edit'],
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
} as const satisfies Readonly<Record<string, ProviderRow>>
