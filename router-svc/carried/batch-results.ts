import type { TokenUsage } from '../../proto/usage.ts'
import { NO_TOKENS } from '../../proto/usage.ts'
import { tokensOf } from '../canonical/usage.ts'
import { decodeUsage } from '../providers/anthropic/usage.ts'
import { type Fields, isFields } from '../providers/json.ts'
import { readUsage } from '../providers/openai/usage.ts'

/** Sums of a batch, by the model that answered. */
export type UsageByModel = Map<string, TokenUsage>

/**
 * Adds up the usage in a batch's output: JSON lines of OpenAI's form (`response.body`) or Anthropic's (`result.message`). A line that cannot be read
 * is an error, so that nothing is booked by half. Throws RangeError.
 */
export function usageOfResults(bytes: Uint8Array, sums: UsageByModel = new Map()): UsageByModel {
  const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  for (let at = 0; at < whole.length; ) {
    const newline = whole.indexOf(10, at)
    const end = newline < 0 ? whole.length : newline
    addLine(whole.toString('utf8', at, end).trim(), sums)
    at = end + 1
  }
  return sums
}

function addLine(line: string, sums: UsageByModel): void {
  if (line === '') return
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    throw new RangeError('a line of the results is not JSON')
  }
  const answer = answerIn(value)
  if (answer === null || !isFields(answer['usage'])) return
  const usage = answer['usage']
  const read =
    'cache_read_input_tokens' in usage || 'cache_creation_input_tokens' in usage ? decodeUsage(usage) : readUsage(usage)
  if (read === null) return
  const { serviceTier: _, ...tokens } = tokensOf(read)
  const model = typeof answer['model'] === 'string' ? answer['model'] : ''
  sums.set(model, added(sums.get(model) ?? NO_TOKENS, tokens))
}

function answerIn(value: unknown): Fields | null {
  if (!isFields(value)) return null
  const response = value['response']
  if (isFields(response) && isFields(response['body'])) return response['body']
  const result = value['result']
  return isFields(result) && isFields(result['message']) ? result['message'] : null
}

/** The sum of two usages. Pure. */
export function added(a: Readonly<TokenUsage>, b: Readonly<TokenUsage>): TokenUsage {
  const sum: Record<string, unknown> = { ...a }
  for (const [name, value] of Object.entries(b)) {
    const before = sum[name]
    if (typeof value === 'number') sum[name] = value + (typeof before === 'number' ? before : 0)
    else if (typeof value === 'boolean') sum[name] = value || before === true
    else if (isFields(value)) sum[name] = added((before ?? {}) as TokenUsage, value as unknown as TokenUsage)
    else sum[name] ??= value
  }
  return sum as unknown as TokenUsage
}
