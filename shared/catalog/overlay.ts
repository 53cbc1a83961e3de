import type { Mode } from '../../proto/endpoints.ts'
import { IMAGE_PRICES } from './image-prices.ts'

/** Rises whenever a price in this file changes: it is part of every `rateVersion`. */
export const OVERLAY_VERSION = 5

/** Dollars per million tokens, as decimal text (never a float). */
export interface OverlayPrices {
  input?: string
  output?: string
  cacheRead?: string
  cacheWrite?: string
  cacheWrite1h?: string
  reasoning?: string
  audioInput?: string
  audioOutput?: string
  /** Dollars per unit (UNITS in proto/usage.ts), perhaps of a variant. */
  perUnit?: Readonly<Record<string, string>>
  tiers?: (Omit<OverlayPrices, 'tiers' | 'perUnit'> & { above: number })[]
}

/** Token prices of a service tier, dollars per million; or a factor of the standard ones. */
export interface OverlayService {
  input?: string
  output?: string
  cacheRead?: string
  multiplier?: string
}

/** What models cost in other service tiers and regions, which the price library does not know. */
export interface ServiceRow {
  providers: string[]
  /** As in OverlayRow; the first row that matches counts. */
  models: string[]
  tiers?: Record<string, OverlayService>
  /** Factors of the token prices. */
  regions?: Record<string, string>
}

/** What the price library does not know about some models. */
export interface OverlayRow {
  /** Provider names, as in the provider table. */
  providers: string[]
  /** Model names; `*` at the end matches any rest. The first row that matches counts. */
  models: string[]
  maxInputTokens?: number
  maxOutputTokens?: number
  mode?: Mode
  /** LiteLLM's `supports_…` names without the prefix. */
  supports?: string[]
  /** Added to the library's prices; a field here beats the library's. */
  prices?: OverlayPrices
}

const TOOLS = ['function_calling', 'tool_choice', 'system_messages']
const CHAT = [...TOOLS, 'parallel_function_calling', 'response_schema', 'prompt_caching', 'vision']
const REASONING = [...CHAT, 'reasoning', 'pdf_input']
const CLAUDE = [...TOOLS, 'parallel_function_calling', 'prompt_caching', 'vision', 'response_schema', 'pdf_input']
const OPENAI = ['openai', 'azure', 'text-completion-openai']
const ANTHROPIC = ['anthropic', 'vertex_ai', 'azure_ai']

/**
 * Context windows, output limits and capabilities, as the model pages state them
 * (https://platform.openai.com/docs/models, https://platform.claude.com/docs/en/models). Entered by hand and not checked against a live
 * page: a wrong one moves an estimate or a default, never a price. Where one window covers input and output together, and the service refuses
 * longer inputs, the input limit is the smaller number; `gpt-6*` input is the window less the output limit.
 */
export const OVERLAY: readonly OverlayRow[] = [
  { providers: ['mock'], models: ['*'], prices: { input: '0', output: '0' }, supports: CHAT },

  // OpenAI. Snapshots with other limits stand before the family they belong to.
  openai(['gpt-4o-2024-05-13'], 128_000, 4096, CHAT),
  // Audio tokens: $40 in, $80 out per million (https://platform.openai.com/docs/pricing); the library prices their text only.
  {
    ...openai(['gpt-4o-audio-preview*'], 128_000, 16_384, [...TOOLS, 'audio_input', 'audio_output']),
    prices: { audioInput: '40', audioOutput: '80' },
  },
  {
    ...openai(['gpt-4o-mini-audio-preview*'], 128_000, 16_384, [...TOOLS, 'audio_input', 'audio_output']),
    prices: { audioInput: '10', audioOutput: '20' },
  },
  openai(['gpt-4o-search-preview*', 'gpt-4o-mini-search-preview*'], 128_000, 16_384, [...CHAT, 'web_search']),
  openai(['gpt-4o', 'gpt-4o-2*', 'gpt-4o-mini', 'gpt-4o-mini-2*', 'chatgpt-4o-latest'], 128_000, 16_384, CHAT),
  openai(['gpt-4.1*'], 1_047_576, 32_768, [...CHAT, 'pdf_input']),
  openai(['gpt-4-32k*'], 32_768, 32_768, TOOLS),
  openai(['gpt-4-turbo*', 'gpt-4-1106-preview', 'gpt-4-0125-preview', 'gpt-4-vision-preview'], 128_000, 4096, [
    ...TOOLS,
    'parallel_function_calling',
    'vision',
  ]),
  openai(['gpt-4', 'gpt-4-0613', 'gpt-4-0314'], 8192, 8192, TOOLS),
  { ...openai(['gpt-3.5-turbo-instruct*'], 4096, 4096, []), mode: 'completion' },
  openai(['gpt-3.5-turbo*', 'gpt-35-turbo*'], 16_385, 4096, TOOLS),
  openai(['gpt-5-chat*', 'gpt-5.1-chat*', 'gpt-5.2-chat*', 'gpt-5.3-chat*'], 128_000, 16_384, CHAT),
  openai(['gpt-5.4-mini*', 'gpt-5.4-nano*', 'gpt-5.3-codex*'], 272_000, 128_000, REASONING),
  openai(['gpt-5.4', 'gpt-5.4-2*', 'gpt-5.4-pro*'], 922_000, 128_000, REASONING),
  openai(['gpt-5-pro*'], 272_000, 272_000, REASONING),
  openai(
    ['gpt-5', 'gpt-5-2*', 'gpt-5-mini*', 'gpt-5-nano*', 'gpt-5-codex*', 'gpt-5.1', 'gpt-5.1-*', 'gpt-5.2', 'gpt-5.2-*'],
    272_000,
    128_000,
    REASONING,
  ),
  // Prices of https://developers.openai.com/api/docs/pricing as two resellers list them (September 2026): the GPT-6 Sol price.
  {
    ...openai(['gpt-6.1-sol*'], 922_000, 128_000, REASONING),
    prices: {
      input: '2',
      output: '10',
      cacheRead: '0.2',
      cacheWrite: '2.5',
      tiers: [{ above: 272_000, input: '4', output: '15' }],
    },
  },
  openai(['gpt-6*'], 922_000, 128_000, REASONING),
  openai(['o1-mini*'], 128_000, 65_536, ['reasoning']),
  openai(['o1-preview*'], 128_000, 32_768, ['reasoning']),
  openai(['o1', 'o1-2*', 'o1-pro*', 'o3', 'o3-2*', 'o3-pro*', 'o4-mini*'], 200_000, 100_000, REASONING),
  openai(['o3-mini*'], 200_000, 100_000, [...TOOLS, 'response_schema', 'prompt_caching', 'reasoning']),
  { providers: OPENAI, models: ['text-embedding-*'], maxInputTokens: 8192, mode: 'embedding' },
  // The moderation endpoint is free of charge (https://platform.openai.com/docs/guides/moderation).
  {
    providers: OPENAI,
    models: ['omni-moderation*', 'text-moderation*'],
    mode: 'moderation',
    prices: { input: '0', output: '0' },
  },
  // By the image, the character and the second (https://platform.openai.com/docs/pricing). LiteLLM's catalogue has the images by the pixel, in
  // numbers that come within a thousandth of these.
  {
    providers: OPENAI,
    models: ['dall-e-2*'],
    mode: 'image',
    prices: { perUnit: { image_out: '0.02', 'image_out:512x512': '0.018', 'image_out:256x256': '0.016' } },
  },
  {
    providers: OPENAI,
    models: ['dall-e-3*'],
    mode: 'image',
    prices: {
      perUnit: {
        image_out: '0.04',
        'image_out:1024x1024:hd': '0.08',
        'image_out:1024x1792': '0.08',
        'image_out:1024x1792:hd': '0.12',
        'image_out:1792x1024': '0.08',
        'image_out:1792x1024:hd': '0.12',
      },
    },
  },
  { providers: OPENAI, models: ['tts-1-hd*'], mode: 'speech', prices: { perUnit: { character_in: '0.00003' } } },
  { providers: OPENAI, models: ['tts-1*'], mode: 'speech', prices: { perUnit: { character_in: '0.000015' } } },
  { providers: OPENAI, models: ['whisper*'], mode: 'transcription', prices: { perUnit: { audio_ms_in: '0.0000001' } } },
  { providers: OPENAI, models: ['gpt-image*', 'chatgpt-image*'], mode: 'image' },
  { providers: OPENAI, models: ['gpt-4o-transcribe*', 'gpt-4o-mini-transcribe*'], mode: 'transcription' },
  { providers: OPENAI, models: ['gpt-4o-mini-tts*'], mode: 'speech' },

  ...IMAGE_PRICES,

  // By the millisecond heard, the character read, the search or the token ranked: the vendors' price pages, entered by hand and not checked
  // against a live page.
  heard('deepgram', ['nova*'], '0.0000000716667'),
  heard('deepgram', ['enhanced*'], '0.000000241667'),
  heard('deepgram', ['base*'], '0.000000208333'),
  heard('deepgram', ['whisper*'], '0.0000001'),
  heard('elevenlabs', ['scribe*'], '0.0000000611'),
  heard('assemblyai', ['nano'], '0.0000000333333'),
  heard('assemblyai', ['best', 'universal*', 'slam-1'], '0.000000075'),
  spoken('deepgram', ['aura-2*'], '0.00003'),
  spoken('deepgram', ['aura*'], '0.000015'),
  spoken('elevenlabs', ['eleven_flash*', 'eleven_turbo*'], '0.00009'),
  spoken('elevenlabs', ['eleven_*'], '0.00018'),
  spoken('aws_polly', ['generative'], '0.00003'),
  spoken('aws_polly', ['long-form'], '0.0001'),
  spoken('aws_polly', ['neural'], '0.000016'),
  spoken('aws_polly', ['standard'], '0.000004'),
  spoken('azure', ['speech/azure-tts-hd*'], '0.00003'),
  spoken('azure', ['speech/*'], '0.000015'),
  spoken('vertex_ai', ['chirp*'], '0.00003'),
  ranked(['cohere', 'cohere_chat'], ['rerank*'], { perUnit: { query: '0.002' } }),
  ranked(['azure_ai'], ['cohere-rerank*', 'Cohere-rerank*'], { perUnit: { query: '0.002' } }),
  ranked(['bedrock'], ['cohere.rerank*', 'invoke/cohere.rerank*'], { perUnit: { query: '0.002' } }),
  ranked(['bedrock'], ['amazon.rerank*', 'invoke/amazon.rerank*'], { perUnit: { query: '0.001' } }),
  ranked(['vertex_ai'], ['semantic-ranker*'], { perUnit: { query: '0.001' } }),
  ranked(['voyage'], ['rerank-2.5-lite*', 'rerank-2-lite*', 'rerank-lite-1*'], { input: '0.02' }),
  ranked(['voyage'], ['rerank-*'], { input: '0.05' }),
  ranked(['jina_ai'], ['jina-reranker*'], { input: '0.018' }),

  // Anthropic.
  claude(['claude-3-haiku*', 'claude-3-opus*', 'claude-3-sonnet*'], 200_000, 4096, CLAUDE),
  claude(['claude-3-5-sonnet*', 'claude-3-5-haiku*'], 200_000, 8192, CLAUDE),
  claude(['claude-3-7-sonnet*'], 200_000, 64_000, [...CLAUDE, 'reasoning']),
  claude(['claude-opus-4-5*'], 200_000, 64_000, [...CLAUDE, 'reasoning', 'computer_use']),
  claude(['claude-opus-4-6*', 'claude-opus-4-7*', 'claude-opus-4-8*', 'claude-sonnet-4-6*'], 1_000_000, 128_000, [
    ...CLAUDE,
    'reasoning',
    'computer_use',
  ]),
  claude(['claude-opus-4*'], 200_000, 32_000, [...CLAUDE, 'reasoning']),
  claude(['claude-sonnet-4*', 'claude-haiku-4-5*'], 200_000, 64_000, [...CLAUDE, 'reasoning', 'computer_use']),
  claude(['claude-opus-5*', 'claude-sonnet-5*', 'claude-fable-5*'], 1_000_000, 128_000, [...CLAUDE, 'reasoning', 'computer_use']),
]

/** Flex is charged like a batch. */
const FLEX: OverlayService = { multiplier: '0.5' }
/** Requests that must be served in one region (https://developers.openai.com/api/docs/guides/your-data). */
const RESIDENT = { eu: '1.1', us: '1.1' }

/**
 * Priority and flex prices of https://developers.openai.com/api/docs/pricing, fast mode and `inference_geo` of
 * https://platform.claude.com/docs/en/about-claude/pricing. Entered by hand and not checked against a live page. Batches need no row: half the
 * price holds for them everywhere (shared/cost.ts). Priority of families that are not listed is taken for double, which is what the ones since
 * GPT-5 cost.
 */
export const SERVICES: readonly ServiceRow[] = [
  { providers: ['openai'], models: ['gpt-4o-2024-05-13'], tiers: { priority: { input: '8.75', output: '26.25' } } },
  priority(['gpt-4o-mini', 'gpt-4o-mini-2*'], '0.25', '0.125', '1'),
  priority(['gpt-4o', 'gpt-4o-2*'], '4.25', '2.125', '17'),
  priority(['gpt-4.1-nano*'], '0.2', '0.05', '0.8'),
  priority(['gpt-4.1-mini*'], '0.7', '0.175', '2.8'),
  priority(['gpt-4.1*'], '3.5', '0.875', '14'),
  priority(['o3', 'o3-2*'], '3.5', '0.875', '14', FLEX),
  priority(['o4-mini*'], '2', '0.5', '8', FLEX),
  priority(['gpt-5-mini*'], '0.45', '0.045', '3.6', FLEX),
  {
    providers: ['openai'],
    models: ['gpt-5.4*', 'gpt-5.5*', 'gpt-6*'],
    tiers: { priority: { multiplier: '2' }, flex: FLEX },
    regions: RESIDENT,
  },
  { providers: ['openai'], models: ['gpt-5*'], tiers: { priority: { multiplier: '2' }, flex: FLEX } },
  {
    providers: ['anthropic'],
    models: ['claude-opus-4-6*', 'claude-opus-4-7*', 'claude-opus-4-8*'],
    tiers: { fast: { multiplier: '6' } },
    regions: { us: '1.1' },
  },
  {
    providers: ['anthropic'],
    models: ['claude-sonnet-4-6*', 'claude-opus-5*', 'claude-sonnet-5*', 'claude-fable-5*'],
    regions: { us: '1.1' },
  },
]

/** Providers whose usage says what the call cost them to serve, all of it included; that beats any list. */
export const REPORTING: ReadonlySet<string> = new Set(['openrouter', 'perplexity', 'xai', 'recraft', 'black_forest_labs'])

function priority(models: string[], input: string, cacheRead: string, output: string, flex?: OverlayService): ServiceRow {
  const tiers = { priority: { input, cacheRead, output }, ...(flex === undefined ? {} : { flex }) }
  return { providers: ['openai'], models, tiers }
}

function openai(models: string[], maxInputTokens: number, maxOutputTokens: number, supports: string[]): OverlayRow {
  return { providers: OPENAI, models, maxInputTokens, maxOutputTokens, mode: 'chat', supports }
}

/** `dollars`: a millisecond. */
function heard(provider: string, models: string[], dollars: string): OverlayRow {
  return { providers: [provider], models, mode: 'transcription', prices: { perUnit: { audio_ms_in: dollars } } }
}

/** `dollars`: a character. */
function spoken(provider: string, models: string[], dollars: string): OverlayRow {
  return { providers: [provider], models, mode: 'speech', prices: { perUnit: { character_in: dollars } } }
}

function ranked(providers: string[], models: string[], prices: OverlayPrices): OverlayRow {
  return { providers, models, mode: 'rerank', prices }
}

function claude(models: string[], maxInputTokens: number, maxOutputTokens: number, supports: string[]): OverlayRow {
  return { providers: ANTHROPIC, models, maxInputTokens, maxOutputTokens, mode: 'chat', supports }
}
