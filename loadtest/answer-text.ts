import type { Script } from './script.ts'

/** What an answer is made of, whatever the protocol: its question, its text, its tool calls, its usage. */

export type Protocol = 'chat' | 'completion' | 'embedding' | 'models' | 'anthropic' | 'count'

export interface Question {
  protocol: Protocol
  model: string
  stream: boolean
  /** Whether the caller asked for usage in the stream; Anthropic always sends it. */
  includeUsage: boolean
  /** The decoded body, where the answer depends on more of it (embeddings). */
  body: Record<string, unknown>
  script: Readonly<Script>
  /** The text of the script, as a key for answers that can be reused. */
  words: string
}

/** Usage as the provider states it. `prompt` includes cached and written tokens, `completion` includes reasoning. */
export interface StatedUsage {
  prompt: number
  completion: number
  cached: number
  written: number
  reasoning: number
}

/** A server-sent event of the answer. */
export interface Part {
  kind: 'open' | 'text' | 'finish' | 'usage' | 'end'
  event: string
  data: string
  text: number
}

export const CREATED = 1_700_000_000
const OWN = 'own:'
const ASCII = 'a turnpike counts every cart once and opens the gate for it, '
const UNICODE = Array.from('Zoll für jeden Wagen: 通行料は一度だけ 🚚 añade é la próxima 🇯🇵 ')

/** Characters `from` … `from + length` of the endless answer text; what a test compares an answer with. */
export function answerText(from: number, length: number, text = 'ascii'): string {
  if (text === 'stamp') return '0'.repeat(length)
  if (text === 'same') return 'n'.repeat(length)
  if (text.startsWith(OWN)) return ownText(text.slice(OWN.length), from, length)
  if (text === 'ascii') {
    const start = from % ASCII.length
    return ASCII.repeat(Math.ceil((start + length) / ASCII.length)).slice(start, start + length)
  }
  let result = ''
  for (let index = from; index < from + length; index += 1) result += UNICODE[index % UNICODE.length]
  return result
}

/** `name:000000;name:000001;…`: every place of it says whose text it is and where. */
function ownText(name: string, from: number, length: number): string {
  const width = name.length + 8
  let result = ''
  for (let word = Math.floor(from / width); word * width < from + length; word += 1) {
    result += `${name}:${String(word).padStart(6, '0')};`
  }
  return result.slice(from % width, (from % width) + length)
}

export function usageOf(script: Script): StatedUsage {
  const { prompt, cached, written, reasoning } = script
  const completion = script.completion >= 0 ? script.completion : script.chunks + script.think + script.tools
  return { prompt, completion, cached, written, reasoning }
}

export function* texts(count: number, script: Script): Generator<string> {
  for (let index = 0; index < count; index += 1) yield answerText(index * script.size, script.size, script.text)
}

export function* slices(text: string, size: number): Generator<string> {
  const step = Math.max(1, size)
  for (let from = 0; from < text.length; from += step) yield text.slice(from, from + step)
}

export function toolCalls(script: Script) {
  return Array.from({ length: script.tools }, (_, index) => ({
    id: `call_${script.id ?? 'upstream'}_${index}`,
    type: 'function',
    function: { name: `lookup_${index}`, arguments: JSON.stringify({ query: answerText(index, script.toolsize) }) },
  }))
}
