import { expect } from 'vitest'
import type { GatewayError } from '../../shared/errors.ts'
import type { ChatChunk, ChatResponse } from '../canonical/chat.ts'
import type { EmbeddingResponse } from '../canonical/embedding.ts'
import { target } from './cohere/encode.testkit.ts'
import type { Fields } from './json.ts'
import { cuts, decodePieces, foldChunks } from './provider.suite.ts'
import type { DecodeContext, Provider, Target } from './provider.ts'

/** What the four platforms are asked and answer, in the tests of each. */

type Mode = 'chat' | 'completion' | 'embedding'
export const CONTEXT: DecodeContext = { id: 'made', created: 7, model: 'asked', request: {} }

/** The request of a mode as it is sent. */
export function sent(provider: Provider, mode: Mode, request: Fields, changes: Partial<Target>): { url: string; body: Fields } {
  const before = structuredClone(request)
  const adapter = provider[mode] as {
    encodeRequest(request: unknown, target: Target): { url: string; body: string | Uint8Array }
  }
  const { url, body } = adapter.encodeRequest(request, target({ provider: provider.name, ...changes }))
  expect(request).toEqual(before)
  return { url, body: JSON.parse(body as string) as Fields }
}

export function answered(provider: Provider, body: unknown, request: Fields = {}): ChatResponse {
  const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
  return provider.chat?.decodeResponse(bytes, {}, { ...CONTEXT, request }) as ChatResponse
}

export function embedded(provider: Provider, body: unknown, request: Fields = {}): EmbeddingResponse {
  const bytes = Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
  return provider.embedding?.decodeResponse(bytes, {}, { ...CONTEXT, request }) as EmbeddingResponse
}

/** The chunks of a stream, which are the same whole, byte by byte, and cut at three seeds' places; and how it ended. */
export function streamed(provider: Provider, source: string): { chunks: ChatChunk[]; error: GatewayError | null } {
  const bytes = Buffer.from(source)
  const read = (pieces: Uint8Array[]) => {
    const decoder = provider.chat?.decodeStream?.(CONTEXT)
    if (decoder === undefined) throw new Error('chats are not streamed')
    return decodePieces<ChatChunk>(decoder, pieces)
  }
  const whole = read([bytes])
  for (const seed of [1, 2, 3]) for (const pieces of cuts(bytes, seed)) expect(read(pieces).chunks).toEqual(whole.chunks)
  return whole
}

/** The one choice of a stream that ends well. */
export function folded(provider: Provider, source: string) {
  const { chunks, error } = streamed(provider, source)
  if (error !== null) throw error
  const { choices, usage } = foldChunks(chunks)
  const [choice] = [...choices.values()]
  if (choice === undefined) throw new Error('no choice')
  const thinking = chunks.flatMap((chunk) => chunk.choices.flatMap(({ delta }) => delta.thinking_blocks ?? []))
  return { ...choice, usage, thinking, chunks }
}

/** What events hold, put together without our decoder. */
export function said(events: readonly string[]) {
  let content = ''
  let finish: string | null = null
  let usage: Fields | null = null
  let calls = ''
  for (const event of events) {
    const { choices, usage: counted } = JSON.parse(event) as { choices: RawChoice[]; usage?: Fields | null }
    if (counted) usage = counted
    for (const { delta, finish_reason: reason } of choices) {
      content += delta.content ?? ''
      finish = reason ?? finish
      for (const call of delta.tool_calls ?? []) calls += call.function.arguments
    }
  }
  return { content, finish, usage, calls }
}

interface RawChoice {
  delta: { content?: string | null; tool_calls?: { function: { arguments: string } }[] | null }
  finish_reason: string | null
}

/** The data of events in a stream of recorded objects. */
export function eventsIn(stream: string): string[] {
  return stream
    .split('\n\n')
    .map((event) => event.replace(/^data: /, ''))
    .filter((event) => event !== '' && event !== '[DONE]')
}
