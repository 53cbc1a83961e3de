import type { TokenUsage } from '../../proto/usage.ts'
import { NO_TOKENS } from '../../proto/usage.ts'
import { tokensOf } from '../canonical/usage.ts'
import { decodeUsage } from '../providers/anthropic/usage.ts'
import { type Fields, isFields } from '../providers/json.ts'
import { readUsage } from '../providers/openai/usage.ts'
import { eachLine } from './json-lines.ts'

/** What one model used for requests that are billed by the same prices. */
export interface ModelUsage {
  model: string
  usage: TokenUsage
}

/** Sums of a batch, by model and price class. */
export type BatchUsage = Map<string, ModelUsage>

/** Input tokens above which a request has other prices with some provider: requests of different classes are not added up. */
const CLASSES = [128_000, 200_000, 256_000, 272_000, 512_000]
/** A sum beyond this goes on in another entry: the ledger takes a billion tokens for a mistake. */
const SUM_MAX = 500_000_000

/**
 * Adds up the usage in a batch's output: JSON lines of OpenAI's form (`response.body`) or Anthropic's (`result.message`). A line that cannot be read
 * is an error, so that nothing is booked by half. Rejects with RangeError.
 */
export async function usageOfResults(bytes: Uint8Array, sums: BatchUsage = new Map()): Promise<BatchUsage> {
  await eachLine(bytes, (line) => addLine(line, sums))
  return sums
}

function addLine(line: string, sums: BatchUsage): void {
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
  const priceClass = CLASSES.filter((above) => tokens.input > above).length
  let part = 0
  const key = (): string => `${model} ${priceClass} ${part}`
  const room = (sum: TokenUsage): boolean => sum.input + tokens.input <= SUM_MAX && sum.output + tokens.output <= SUM_MAX
  for (let sum = sums.get(key()); sum !== undefined && !room(sum.usage); sum = sums.get(key())) part += 1
  const before = sums.get(key())?.usage ?? NO_TOKENS
  const largestInput = Math.max(before.largestInput ?? 0, tokens.input)
  sums.set(key(), { model, usage: { ...added(before, tokens), largestInput } })
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
