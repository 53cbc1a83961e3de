import { NO_TOKENS, type TokenUsage } from '../../../proto/usage.ts'
import type { Usage } from '../../canonical/chat.ts'
import { tokensOf } from '../../canonical/usage.ts'
import { type Fields, isFields } from '../json.ts'

/**
 * Usage of images and sounds → what is billed; null where it says nothing that can be. OpenAI counts `input_tokens` and `output_tokens` here,
 * or seconds; others count as in a chat, or tell the cost. `made`: what the answer's tokens are where no details say so.
 */
export function mediaTokens(usage: unknown, made: 'image_tokens' | 'audio_tokens' | 'text_tokens'): TokenUsage | null {
  if (!isFields(usage)) return null
  const details = usage['input_tokens_details'] ?? usage['input_token_details'] ?? usage['prompt_tokens_details']
  const output = usage['output_tokens'] ?? usage['completion_tokens']
  const answered = usage['output_tokens_details'] ??
    usage['output_token_details'] ??
    usage['completion_tokens_details'] ?? { [made]: output }
  const tokens = tokensOf({
    ...usage,
    prompt_tokens: usage['input_tokens'] ?? usage['prompt_tokens'] ?? 0,
    completion_tokens: output ?? 0,
    total_tokens: usage['total_tokens'] ?? 0,
    ...(isFields(details) ? { prompt_tokens_details: details } : {}),
    completion_tokens_details: isFields(answered) ? answered : {},
  } as Usage)
  // Rankings and embeddings of some tell the sum alone.
  if (tokens.input === 0 && tokens.output === 0 && typeof usage['total_tokens'] === 'number') {
    tokens.input = Math.max(0, Math.round(usage['total_tokens']))
  }
  const counted = tokens.input + tokens.output > 0 || tokens.units !== undefined || tokens.reportedCost !== undefined
  return counted ? tokens : null
}

/** What is billed by the unit. `estimated`: nobody said how many. */
export function billedUnits(units: Readonly<Record<string, number>>, estimated = false): TokenUsage {
  return { ...NO_TOKENS, units: { ...units }, estimated }
}

/** The same beside tokens; what these say of a unit themselves wins. */
export function withUnits(tokens: TokenUsage, units: Readonly<Record<string, number>>): TokenUsage {
  return { ...tokens, units: { ...units, ...tokens.units } }
}

/** Width and height of `1024x1536`. */
export function sidesOf(size: unknown): readonly [width: number, height: number] | null {
  const sides = typeof size === 'string' ? /^(\d{1,5})x(\d{1,5})$/.exec(size) : null
  return sides === null ? null : [Number(sides[1]), Number(sides[2])]
}

/** Images by number, size and quality, and by their pixels where the size is known: prices are by either. */
export function imageUnits(count: number, request: Readonly<Fields>, answer: Readonly<Fields>): Record<string, number> {
  const size = [answer['size'], request['size']].find((value) => sidesOf(value) !== null) as string | undefined
  const quality = [answer['quality'], request['quality']].find((value) => typeof value === 'string' && /^\w{1,32}$/.test(value))
  const sides = sidesOf(size)
  const name = ['image_out', size ?? '1024x1024', quality ?? 'standard'].join(':')
  return { [name]: count, ...(sides === null ? {} : { pixel_out: count * sides[0] * sides[1] }) }
}
