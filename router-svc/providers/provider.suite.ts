import { GatewayError } from '../../shared/errors.ts'
import { createSequence } from '../../shared/sequence.ts'
import type { ChatChunk, ToolCall, Usage } from '../canonical/chat.ts'
import { eventParser } from '../framing.ts'
import type { Framing, StreamDecoder } from './provider.ts'

/** Everything a stream decoder made of some bytes. */
export interface Decoded<Chunk> {
  chunks: Chunk[]
  /** Thrown by the decoder, in `push` or at the end. */
  error: GatewayError | null
}

/** Feeds a decoder as the router does. `pieces` joined are the stream. */
export function decodePieces<Chunk>(
  decoder: StreamDecoder<Chunk>,
  pieces: Iterable<Uint8Array>,
  framing: Framing = 'sse',
): Decoded<Chunk> {
  const parser = eventParser(framing)
  const chunks: Chunk[] = []
  try {
    for (const piece of pieces) for (const event of parser.push(piece)) chunks.push(...decoder.push(event))
    for (const event of parser.end()) chunks.push(...decoder.push(event))
    chunks.push(...decoder.end())
  } catch (thrown) {
    if (!(thrown instanceof GatewayError)) throw thrown
    return { chunks, error: thrown }
  }
  return { chunks, error: null }
}

/** The three ways every stream must read the same: whole, byte by byte, and cut at places a seed chooses. */
export function cuts(bytes: Uint8Array, seed: number): Uint8Array[][] {
  const single = Array.from(bytes, (_, index) => bytes.subarray(index, index + 1))
  const random: Uint8Array[] = []
  const next = createSequence(seed)
  for (let at = 0; at < bytes.length; ) {
    const size = 1 + Math.floor(next() * 97)
    random.push(bytes.subarray(at, at + size))
    at += size
  }
  return [[bytes], single, random]
}

/** Sizes in bytes of pieces to cut a stream into, round and round: 1 to 64, as a seed chooses. */
export function pieceSizes(seed: number): number[] {
  const next = createSequence(seed)
  return Array.from({ length: 101 }, () => 1 + Math.floor(next() * 64))
}

/** One choice of a stream, put together as a client does. */
export interface Folded {
  content: string
  reasoning: string
  toolCalls: ToolCall[]
  finish: string | null
  roles: number
}

/** Puts a stream's chunks together. Throws when they cannot be: a call without id or name, a reason twice. */
export function foldChunks(chunks: readonly ChatChunk[]): { choices: Map<number, Folded>; usage: Usage | null } {
  const choices = new Map<number, Folded>()
  let usage: Usage | null = null
  for (const chunk of chunks) {
    if (chunk.usage) usage = chunk.usage
    for (const { index, delta, finish_reason: reason } of chunk.choices) {
      let folded = choices.get(index)
      if (folded === undefined) {
        folded = { content: '', reasoning: '', toolCalls: [], finish: null, roles: 0 }
        choices.set(index, folded)
      }
      if (delta.role !== undefined) folded.roles += 1
      folded.content += delta.content ?? ''
      folded.reasoning += delta.reasoning_content ?? ''
      for (const piece of delta.tool_calls ?? []) foldToolCall(folded.toolCalls, piece)
      if (reason === null) continue
      if (folded.finish !== null) throw new Error(`choice ${index} finished twice`)
      folded.finish = reason
    }
  }
  return { choices, usage }
}

function foldToolCall(calls: ToolCall[], piece: NonNullable<ChatChunk['choices'][number]['delta']['tool_calls']>[number]): void {
  const call = calls[piece.index]
  if (call === undefined) {
    if (piece.index !== calls.length) throw new Error(`tool call ${piece.index} after ${calls.length}`)
    if (piece.id === undefined || piece.function?.name === undefined)
      throw new Error(`tool call ${piece.index} begins without id or name`)
    calls.push({
      id: piece.id,
      type: piece.type ?? '',
      function: { name: piece.function.name, arguments: piece.function.arguments ?? '' },
    })
    return
  }
  if (piece.id !== undefined || piece.function?.name !== undefined)
    throw new Error(`tool call ${piece.index} repeats its id or name`)
  if (call.function !== undefined) call.function.arguments += piece.function?.arguments ?? ''
}
