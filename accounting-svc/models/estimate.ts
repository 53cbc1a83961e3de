import type { Prices } from '../../proto/deployment.ts'
import { NO_TOKENS, type TokenUsage } from '../../proto/usage.ts'
import type { Catalog } from '../../shared/catalog/catalog.ts'
import { targetOf } from '../../shared/config/target.ts'
import { type Cost, costOf } from '../../shared/cost.ts'
import { mayCall } from '../../shared/model-access.ts'
import type { PriceBook } from './price-book.ts'
import type { Runtime } from './runtime.ts'

type Fields = Readonly<Record<string, unknown>>

/** The prices a model would be charged by, and who serves it. */
export interface Found {
  provider: string
  model: string
  prices: Prices
}

/**
 * The prices that hold now for a model by its public name, if `models` (a key's list) allow it, or else by its provider's name. Null when
 * none are known.
 */
export function findPrices(
  deps: { runtime: Pick<Runtime, 'deployments'>; book: Pick<PriceBook, 'pricesOf'>; catalog: Catalog },
  name: string,
  models: readonly string[],
  now: number,
): Found | null {
  const served = deps.runtime.deployments.find(
    (deployment) => deployment.modelGroup === name && mayCall({ models }, [name], [deployment]),
  )
  if (served?.prices != null) return { provider: served.provider, model: served.model, prices: served.prices }
  const target = targetOf(name, null, deps.catalog)
  if (target.kind !== 'served') return null
  const { provider, model } = target
  const prices = deps.book.pricesOf({ deploymentId: '', provider, model, startedAt: now })
  return prices === null ? null : { provider, model, prices }
}

/** Usage in OpenAI's shape (`usage` of an answer) as it is billed. Pure. */
export function usageOfAnswer(usage: Fields): TokenUsage {
  const prompt = fieldsOf(usage['prompt_tokens_details'] ?? usage['input_tokens_details'])
  const completion = fieldsOf(usage['completion_tokens_details'] ?? usage['output_tokens_details'])
  return {
    ...NO_TOKENS,
    input: count(usage['prompt_tokens'] ?? usage['input_tokens']),
    output: count(usage['completion_tokens'] ?? usage['output_tokens']),
    cacheRead: count(prompt['cached_tokens'] ?? usage['cache_read_input_tokens']),
    cacheWrite: count(prompt['cache_creation_tokens'] ?? prompt['cache_write_tokens'] ?? usage['cache_creation_input_tokens']),
    reasoning: count(completion['reasoning_tokens']),
    audioInput: count(prompt['audio_tokens']),
    audioOutput: count(completion['audio_tokens']),
    imageInput: count(prompt['image_tokens']),
    imageOutput: count(completion['image_tokens']),
  }
}

/** Characters of a token, about, in English; and tokens of a message's frame. */
const CHARACTERS_PER_TOKEN = 4
const TOKENS_PER_MESSAGE = 4

/** Tokens of messages that were never sent, roughly: accounting holds no tokenizer. */
export function roughInput(messages: readonly unknown[]): number {
  let tokens = 0
  for (const message of messages)
    tokens += TOKENS_PER_MESSAGE + Math.ceil(characters(fieldsOf(message)['content']) / CHARACTERS_PER_TOKEN)
  return tokens
}

function characters(content: unknown): number {
  if (typeof content === 'string') return content.length
  if (!Array.isArray(content)) return 0
  return content.reduce((sum: number, part) => sum + characters(fieldsOf(part)['text']), 0)
}

/** What a call of so many tokens costs, by side, nano-dollars; `cost` is all of it. */
export function estimate(
  prices: Prices,
  inputTokens: number,
  outputTokens: number,
): { cost: Cost; input: number; output: number } {
  const cost = costOf({ ...NO_TOKENS, input: inputTokens, output: outputTokens }, prices)
  return { cost, input: cost.input + cost.request, output: cost.output }
}

function fieldsOf(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {}
}

function count(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : 0
}
