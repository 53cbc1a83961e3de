import { NO_TOKENS, type TokenUsage } from '../../proto/usage.ts'
import type { Usage } from '../canonical/chat.ts'
import { tokensOf } from '../canonical/usage.ts'
import { mergeUsage, decodeUsage as readMessages } from '../providers/anthropic/usage.ts'
import { decodeUsage as readConverse } from '../providers/bedrock/usage.ts'
import { decodeEmbeddingUsage, decodeUsage as readCohere } from '../providers/cohere/usage.ts'
import { decodeUsage as readGemini, tierOf } from '../providers/gemini/usage.ts'
import { type Fields, isFields } from '../providers/json.ts'
import { readUsage } from '../providers/openai/usage.ts'
import type { Headers } from '../providers/provider.ts'

/** Reads usage from the documents or events of an answer in one protocol. */
export interface UsageReader {
  head?(headers: Headers): void
  /** Events without these words are not looked into; absent = all are. */
  readonly wanted?: RegExp
  see(value: unknown): void
  usage(): TokenUsage | null
  readonly model: string | null
}

/** UTF-8 bytes of a token of text, about. */
const BYTES_PER_TOKEN = 4

/**
 * OpenAI's words, and Anthropic's: a `usage` object beside the answer, in `message` or in `response`; the counts of several events are brought
 * up to date by later ones. `asked`: tokens of the request, counted roughly, of a stream that was not asked to tell its usage; null = it will.
 */
export function openaiReader(asked: number | null = null): UsageReader {
  const merged: Fields = {}
  let model: string | null = null
  let tier: unknown
  let bytes = 0
  return {
    ...(asked === null ? { wanted: /"usage"/ } : {}),
    see(value) {
      if (!isFields(value)) return
      for (const one of [value, value['message'], value['response']]) {
        if (!isFields(one)) continue
        if (typeof one['model'] === 'string') model ??= one['model']
        tier = one['service_tier'] ?? tier
        mergeUsage(merged, one['usage'])
      }
      if (asked !== null) bytes += saidIn(value)
    },
    usage() {
      if (Object.keys(merged).length === 0) {
        if (asked === null || bytes === 0) return null
        return { ...NO_TOKENS, input: asked, output: Math.ceil(bytes / BYTES_PER_TOKEN), estimated: true }
      }
      const cached = 'cache_read_input_tokens' in merged || 'cache_creation_input_tokens' in merged
      const usage = cached ? readMessages(merged) : readUsage(merged)
      return usage === null ? null : tokensOf(usage, merged['service_tier'] ?? tier)
    },
    get model() {
      return model
    },
  }
}

/** Bytes of what the choices of a chat's or completion's chunk say. */
function saidIn(chunk: Fields): number {
  let bytes = 0
  for (const choice of listOf(chunk['choices'])) {
    const delta = isFields(choice['delta']) ? choice['delta'] : choice
    for (const name of ['content', 'reasoning_content', 'refusal', 'text'])
      if (typeof delta[name] === 'string') bytes += Buffer.byteLength(delta[name])
    if (delta['tool_calls'] !== undefined) bytes += Buffer.byteLength(JSON.stringify(delta['tool_calls']))
  }
  return bytes
}

/** Gemini's: `usageMetadata`, whole, in events or in a list of chunks; what Vertex tells of predictions. Claude at Vertex speaks Anthropic's words. */
export function geminiReader(): UsageReader {
  const merged: Fields = {}
  const messages = openaiReader()
  let model: string | null = null
  let predicted: TokenUsage | null = null
  const see = (value: unknown): void => {
    if (Array.isArray(value)) for (const one of value) see(one)
    if (!isFields(value)) return
    if (typeof value['modelVersion'] === 'string') model ??= value['modelVersion']
    mergeUsage(merged, value['usageMetadata'])
    if (Array.isArray(value['predictions'])) predicted = predictionsUsage(value['predictions'])
    messages.see(value)
  }
  return {
    see,
    usage: () =>
      Object.keys(merged).length > 0 ? tokensOf(readGemini(merged), tierOf(merged)) : (predicted ?? messages.usage()),
    get model() {
      return model ?? messages.model
    },
  }
}

/** Of Vertex's predictions: embeddings count their tokens; pictures are counted. */
function predictionsUsage(predictions: readonly unknown[]): TokenUsage | null {
  let tokens = 0
  let images = 0
  for (const one of listOf(predictions)) {
    const embeddings = one['embeddings']
    const statistics = isFields(embeddings) && isFields(embeddings['statistics']) ? embeddings['statistics'] : {}
    tokens += count(statistics['token_count'])
    if (typeof one['mimeType'] === 'string' && one['mimeType'].startsWith('image/')) images += 1
  }
  if (tokens > 0) return { ...NO_TOKENS, input: tokens }
  return images > 0 ? { ...NO_TOKENS, units: { image_out: images } } : null
}

/** Bedrock's: Converse tells `usage` whole or in its event of metadata; what is invoked tells in headers, or in the last part of a stream. */
export function bedrockReader(): UsageReader {
  let converse: Fields | null = null
  let invoked: TokenUsage | null = null
  const messages = openaiReader()
  const see = (value: unknown): void => {
    if (!isFields(value)) return
    if (typeof value['bytes'] === 'string') see(parsed(Buffer.from(value['bytes'], 'base64').toString('utf8')))
    const { usage } = value
    if (isFields(usage) && ('inputTokens' in usage || 'outputTokens' in usage)) converse = usage
    else messages.see(value)
    const metrics = value['amazon-bedrock-invocationMetrics']
    if (isFields(metrics)) {
      const { inputTokenCount: input, outputTokenCount: output } = metrics
      invoked = countsOf(input, output, metrics['cacheReadInputTokenCount'], metrics['cacheWriteInputTokenCount'])
    }
  }
  return {
    head(headers) {
      const input = headers['x-amzn-bedrock-input-token-count']
      const output = headers['x-amzn-bedrock-output-token-count']
      if (input === undefined && output === undefined) return
      const cached = ['read', 'write'].map((kind) => Number(headers[`x-amzn-bedrock-cache-${kind}-input-token-count`] ?? 0))
      invoked = countsOf(Number(input ?? 0), Number(output ?? 0), ...cached)
    },
    see,
    usage: () => (converse !== null ? tokensOf(readConverse(converse)) : (messages.usage() ?? invoked)),
    get model() {
      return messages.model
    },
  }
}

/** Input leaves cache reads and writes out. */
function countsOf(input: unknown, output: unknown, read?: unknown, written?: unknown): TokenUsage {
  const cacheRead = count(read)
  const cacheWrite = count(written)
  return { ...NO_TOKENS, input: count(input) + cacheRead + cacheWrite, output: count(output), cacheRead, cacheWrite }
}

/** Cohere's: `usage` of chats, whole or in the last event; `meta.billed_units` of all else, and of the first version's chats. */
export function cohereReader(): UsageReader {
  let told: Usage | null = null
  let searches = 0
  return {
    wanted: /"(?:usage|billed_units)"/,
    see(value) {
      if (!isFields(value)) return
      const { delta, meta, response } = value
      const usage = value['usage'] ?? (isFields(delta) ? delta['usage'] : undefined)
      const said = isFields(meta) ? meta : isFields(response) && isFields(response['meta']) ? response['meta'] : null
      told = readCohere(usage) ?? (said === null ? told : (readCohere(said) ?? decodeEmbeddingUsage(said)))
      if (said !== null && isFields(said['billed_units'])) searches += count(said['billed_units']['search_units'])
    },
    usage() {
      if (told === null && searches === 0) return null
      const tokens = told === null ? { ...NO_TOKENS } : tokensOf(told)
      return searches === 0 ? tokens : { ...tokens, units: { ...tokens.units, query: searches } }
    },
    model: null,
  }
}

/** watsonx's: chats speak OpenAI's words; texts count per result, their input once and their output as a running total. */
export function watsonxReader(): UsageReader {
  const chat = openaiReader()
  let model: string | null = null
  let input = 0
  let output = 0
  return {
    see(value) {
      if (!isFields(value)) return
      if (typeof value['model_id'] === 'string') model ??= value['model_id']
      for (const result of listOf(value['results'])) {
        input += count(result['input_token_count'])
        output = Math.max(output, count(result['generated_token_count']))
      }
      chat.see(value)
    },
    usage: () => chat.usage() ?? (input + output === 0 ? null : { ...NO_TOKENS, input, output }),
    get model() {
      return model ?? chat.model
    },
  }
}

function listOf(value: unknown): Fields[] {
  return Array.isArray(value) ? value.filter(isFields) : []
}

function count(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) && value > 0 ? Math.round(value) : 0
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
