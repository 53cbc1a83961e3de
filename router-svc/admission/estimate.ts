import type { Mode } from '../../proto/endpoints.ts'
import { estimateMedia, type MediaEstimate } from './estimate-media.ts'

/** What a call may use at most, as far as can be told before it runs. */
export interface Estimate {
  /** Input tokens, on average of languages: what is reserved of token limits. */
  inputTokens: number
  /** The same on the safe side: what is held against budgets. */
  inputTokensAtMost: number
  /** Output tokens of all choices together; of a call that names no limit, what settings say. */
  outputTokens: number
  /** The call itself limits its output, so that `outputTokens` cannot be passed. */
  bounded: boolean
  /** What is billed by something else than tokens, at most; null = nothing. */
  units: Readonly<Record<string, number>> | null
}

/** UTF-8 bytes a token has: about four in English, three in code and in Chinese, where a character is a token and three bytes. */
const BYTES_PER_TOKEN = 4
const BYTES_PER_TOKEN_AT_MOST = 3
/** What a picture or a sound inside a message counts; a large picture is 1,100 to 1,600 tokens with the providers that say so. */
const MEDIA_TOKENS = 1_600
/** Role, separators: tokens a message costs beside its text. */
const MESSAGE_TOKENS = 4

export interface EstimateSettings {
  /** Output tokens to reserve where neither call, key nor model says less. */
  output: number
  /** The model's own limit. */
  modelOutput: number | null
  /** Images and sounds are counted in tokens by whoever makes or hears them; default true. */
  mediaTokens?: boolean
}

/** Pure. `request` is the canonical request. */
export function estimate(request: Readonly<Record<string, unknown>>, mode: Mode, settings: EstimateSettings): Estimate {
  // Counting is free, whatever is counted.
  if (mode === 'count_tokens') return { inputTokens: 0, inputTokensAtMost: 0, outputTokens: 0, bounded: true, units: null }
  const weight = { bytes: 0, media: 0, messages: 0 }
  const { messages } = request
  if (Array.isArray(messages)) weight.messages = messages.length
  weigh(messages ?? request['prompt'] ?? request['input'] ?? [request['query'], request['documents']], weight)
  if (request['tools'] !== undefined) weigh(request['tools'], weight)
  const beside = weight.media * MEDIA_TOKENS + weight.messages * MESSAGE_TOKENS
  const media = TEXT.has(mode) ? null : estimateMedia(request, mode)
  if (media !== null) return withMedia(weight.bytes, beside, media, settings.mediaTokens !== false)
  const asked = count(request['max_completion_tokens']) ?? count(request['max_tokens'])
  const output = mode === 'embedding' ? 0 : (asked ?? Math.min(settings.output, settings.modelOutput ?? settings.output))
  return {
    inputTokens: Math.ceil(weight.bytes / BYTES_PER_TOKEN) + beside,
    inputTokensAtMost: Math.ceil(weight.bytes / BYTES_PER_TOKEN_AT_MOST) + beside,
    outputTokens: output * (count(request['n']) ?? 1),
    bounded: mode === 'embedding' || asked !== null,
    units: null,
  }
}

/** What nothing is made or heard in. */
const TEXT: ReadonlySet<Mode> = new Set<Mode>(['chat', 'completion', 'embedding'])

/** Such calls have no limit of their own for what they use: what is asked for is all they can get. */
function withMedia(bytes: number, beside: number, media: MediaEstimate, counted: boolean): Estimate {
  const shown = beside + (counted ? media.inputTokens : 0)
  return {
    inputTokens: Math.ceil(bytes / BYTES_PER_TOKEN) + shown,
    inputTokensAtMost: Math.ceil(bytes / BYTES_PER_TOKEN_AT_MOST) + shown,
    outputTokens: counted ? media.outputTokens : 0,
    bounded: true,
    units: media.units,
  }
}

/** Text by its bytes, media by the piece. A list of numbers (a prompt already in tokens) counts each number as one. */
function weigh(value: unknown, weight: { bytes: number; media: number }): void {
  if (typeof value === 'string') {
    if (value.startsWith('data:')) weight.media += 1
    else weight.bytes += Buffer.byteLength(value)
  } else if (typeof value === 'number') weight.bytes += BYTES_PER_TOKEN
  else if (Array.isArray(value)) for (const item of value) weigh(item, weight)
  else if (typeof value === 'object' && value !== null) {
    for (const name in value) {
      const member = (value as Record<string, unknown>)[name]
      // Base64 of sounds and files.
      if ((name === 'data' || name === 'file_data') && typeof member === 'string') weight.media += 1
      else {
        weight.bytes += name.length
        weigh(member, weight)
      }
    }
  }
}

function count(value: unknown): number | null {
  return Number.isSafeInteger(value) && (value as number) > 0 ? (value as number) : null
}
