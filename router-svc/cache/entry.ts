import { isObject } from '../../shared/json-object.ts'
import type { CachedAnswer } from './cache.ts'

/** Raised when what is stored is written differently; others are misses then. */
const VERSION = 1

/** An answer as stores that hold bytes keep it. `until`: Unix milliseconds. */
export function encodeEntry(answer: CachedAnswer, until: number): Buffer {
  return Buffer.from(JSON.stringify({ v: VERSION, until, answer }))
}

/** The answer in `bytes`, and until when it holds; null when they are not an entry of ours: cut short, foreign, of another version. */
export function decodeEntry(bytes: string): { answer: CachedAnswer; until: number } | null {
  let entry: unknown
  try {
    entry = JSON.parse(bytes)
  } catch {
    return null
  }
  if (!isObject(entry) || entry['v'] !== VERSION || typeof entry['until'] !== 'number') return null
  const { answer, until } = entry
  return isAnswer(answer) ? { answer, until } : null
}

function isAnswer(value: unknown): value is CachedAnswer {
  if (!isObject(value) || typeof value['at'] !== 'number' || typeof value['mode'] !== 'string') return false
  return isObject(value['response']) && typeof value['modelGroup'] === 'string'
}
