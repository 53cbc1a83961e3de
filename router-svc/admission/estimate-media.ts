import type { Mode } from '../../proto/endpoints.ts'
import { NO_TOKENS, type TokenUsage } from '../../proto/usage.ts'
import { isUploadedFile } from '../canonical/uploaded-file.ts'
import { billedUnits, imageUnits, sidesOf } from '../providers/openai/media-usage.ts'
import { soundLength, soundLengthAtMost } from '../providers/sound-length.ts'

type Fields = Readonly<Record<string, unknown>>

/** What images, sounds and rankings may use at most beside the text that is read. */
export interface MediaEstimate {
  /** Tokens of what is shown or heard, beside the text. */
  inputTokens: number
  outputTokens: number
  /** By names of `TokenUsage.units`; a variant that is the provider's to choose is `auto`. */
  units: Readonly<Record<string, number>>
}

/**
 * Tokens of an image of 1024 × 1024 by quality, and in proportion to the pixels of others
 * (https://platform.openai.com/docs/guides/image-generation#cost-and-latency). Google's are 1,120 to 2,000.
 */
const IMAGE_TOKENS: Readonly<Record<string, number>> = { low: 272, medium: 1056, high: 4160 }
const MOST_IMAGE_TOKENS = 4160
const SQUARE = 1024 * 1024
/** What `auto` may be: 1024 × 1536. */
const AUTO_PIXELS = 1024 * 1536
/** Of each preview of a stream; and of an image that is shown, in high fidelity. */
const PREVIEW_TOKENS = 100
const SHOWN_IMAGE_TOKENS = 6_500
/** Of a second: what Google counts of sound, the most anybody does; words written down; sound made at $12 a million and $0.015 a minute. */
const HEARD_TOKENS = 32
const WRITTEN_TOKENS = 8
const SPOKEN_TOKENS = 1250 / 60
/** Bytes of text read aloud in a second by a slow voice, and seconds of silence around them. */
const BYTES_PER_SECOND = 8
const SILENCE = 2
/** A search ranks a hundred documents, each of 500 tokens with the query; longer ones count as several (https://cohere.com/pricing). */
const DOCUMENTS_PER_SEARCH = 100
const TOKENS_PER_DOCUMENT = 500
const LEAST_DOCUMENT = 100
const BYTES_PER_TOKEN_AT_MOST = 3

const NOTHING: MediaEstimate = { inputTokens: 0, outputTokens: 0, units: {} }

/** Pure. Null = a call billed by its text alone. `request` is the canonical request. */
export function estimateMedia(request: Fields, mode: Mode): MediaEstimate | null {
  switch (mode) {
    case 'image':
    case 'image_edit':
    case 'image_variation':
      return images(request)
    case 'speech':
      return speech(request)
    case 'transcription':
    case 'translation':
      return hearing(request)
    case 'rerank':
      return ranking(request)
    case 'moderation':
      return NOTHING
    default:
      return null
  }
}

/**
 * What a call is billed for that was made, or begun, by a provider that did not get to say: estimated, the text by whoever books it. Null = by
 * its text alone.
 */
export function usageAsked(request: Fields, mode: Mode): TokenUsage | null {
  const most = estimateMedia(request, mode)
  if (most === null || mode === 'moderation') return null
  switch (mode) {
    case 'speech': {
      const { character_in: characters = 0 } = most.units
      return billedUnits({ character_in: characters }, true)
    }
    case 'transcription':
    case 'translation': {
      const { file } = request
      return billedUnits({ audio_ms_in: isUploadedFile(file) ? soundLength(file.bytes).milliseconds : 0 }, true)
    }
    case 'rerank':
      return billedUnits({ query: 1 }, true)
    default: {
      const { outputTokens: output } = most
      return { ...NO_TOKENS, output, imageOutput: output, units: imageUnits(countOf(request), request, {}), estimated: true }
    }
  }
}

function images(request: Fields): MediaEstimate {
  const count = countOf(request)
  const { size, quality, image, mask, partial_images: previews } = request
  const sides = sidesOf(size)
  const pixels = sides === null ? AUTO_PIXELS : sides[0] * sides[1]
  const each = (typeof quality === 'string' ? IMAGE_TOKENS[quality] : undefined) ?? MOST_IMAGE_TOKENS
  const shown = (Array.isArray(image) ? image.length : 0) + (mask === undefined || mask === null ? 0 : 1)
  return {
    inputTokens: shown * SHOWN_IMAGE_TOKENS,
    outputTokens: count * Math.ceil((each * pixels) / SQUARE) + count * whole(previews, 0) * PREVIEW_TOKENS,
    units: {
      // What is left out is billed as the least there is; `auto` is the provider's to choose.
      [['image_out', size ?? '1024x1024', quality ?? 'standard'].join(':')]: count,
      pixel_out: count * (sides === null && size !== 'auto' ? SQUARE : pixels),
    },
  }
}

function speech({ input, speed }: Fields): MediaEstimate {
  const text = typeof input === 'string' ? input : ''
  const slowed = typeof speed === 'number' && speed > 0 && speed < 1 ? speed : 1
  const seconds = (SILENCE + Buffer.byteLength(text) / BYTES_PER_SECOND) / slowed
  return {
    inputTokens: 0,
    outputTokens: Math.ceil(seconds * SPOKEN_TOKENS),
    units: { character_in: [...text].length, audio_ms_out: Math.ceil(seconds * 1000) },
  }
}

function hearing({ file }: Fields): MediaEstimate {
  const length = isUploadedFile(file) ? soundLengthAtMost(file.bytes) : 0
  const seconds = Math.ceil(length / 1000)
  // Seconds begun count whole.
  return {
    inputTokens: seconds * HEARD_TOKENS,
    outputTokens: (SILENCE + seconds) * WRITTEN_TOKENS,
    units: { audio_ms_in: seconds * 1000 },
  }
}

function ranking({ query, documents }: Fields): MediaEstimate {
  const list = Array.isArray(documents) ? documents : []
  const asked = tokensOf(query)
  const room = Math.max(LEAST_DOCUMENT, TOKENS_PER_DOCUMENT - asked)
  let ranked = 0
  for (const document of list) ranked += Math.max(1, Math.ceil(tokensOf(document) / room))
  return {
    // Some count the query once for each document.
    inputTokens: asked * Math.max(0, list.length - 1),
    outputTokens: 0,
    units: { query: Math.max(1, Math.ceil(ranked / DOCUMENTS_PER_SEARCH)) },
  }
}

function tokensOf(text: unknown): number {
  const written = typeof text === 'string' ? text : (JSON.stringify(text) ?? '')
  return Math.ceil(Buffer.byteLength(written) / BYTES_PER_TOKEN_AT_MOST)
}

function countOf({ n }: Fields): number {
  return whole(n, 1)
}

function whole(value: unknown, otherwise: number): number {
  return Number.isSafeInteger(value) && (value as number) > 0 ? (value as number) : otherwise
}
