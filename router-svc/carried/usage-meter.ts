import type { TokenUsage } from '../../proto/usage.ts'
import { tokensOf } from '../canonical/usage.ts'
import { decodeUsage } from '../providers/anthropic/usage.ts'
import { type Fields, isFields } from '../providers/json.ts'
import { readUsage } from '../providers/openai/usage.ts'
import type { Meter } from './carrier.ts'

/** What is kept of an answer to read its usage from: the end, where every protocol tells it; bytes. */
const KEPT = 256 * 1024

/** Reads the usage that OpenAI's and Anthropic's answers tell, whole or in events. */
export function usageMeter(): Meter {
  let kept = Buffer.alloc(0)
  let model: string | null = null
  return {
    see(bytes) {
      kept = Buffer.concat([kept, bytes])
      if (model === null && kept.length < KEPT)
        model = /"model"\s*:\s*"([^"\\]{1,256})"/.exec(kept.toString('latin1'))?.[1] ?? null
      if (kept.length > KEPT * 2) kept = kept.subarray(kept.length - KEPT)
    },
    usage: () => usageIn(kept.toString('utf8')),
    get model() {
      return model
    },
  }
}

function usageIn(text: string): TokenUsage | null {
  const merged: Fields = Object.assign({}, ...usagesOf(text))
  if (Object.keys(merged).length === 0) return null
  const usage =
    'cache_read_input_tokens' in merged || 'cache_creation_input_tokens' in merged ? decodeUsage(merged) : readUsage(merged)
  return usage === null ? null : tokensOf(usage, merged['service_tier'])
}

/** Every `usage` object, in order. */
function* usagesOf(text: string): Generator<Fields> {
  const whole = parsed(text)
  if (whole !== undefined) return yield* usagesUnder(whole)
  for (const line of text.split('\n')) {
    if (!line.startsWith('data:') || !line.includes('"usage"')) continue
    const value = parsed(line.slice(5))
    if (value !== undefined) yield* usagesUnder(value)
  }
}

function* usagesUnder(value: unknown): Generator<Fields> {
  if (!isFields(value)) return
  if (isFields(value['usage'])) yield value['usage']
  for (const name of ['message', 'response']) {
    const inner = value[name]
    if (isFields(inner) && isFields(inner['usage'])) yield inner['usage']
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
