import type { ChatChunk, ThinkingBlock, ToolCallDelta } from '../../canonical/chat.ts'
import { type Fields, isFields, sourceOf, text } from '../json.ts'
import type { StreamDecoder } from '../provider.ts'
import { wrappedStream } from '../wrapped-stream.ts'

/**
 * Content as lists of parts: `{type: reasoning, summary: [{type: summary_text, text, signature}]}` and `{type: text, text, citations}`. Read before
 * OpenAI's decoder sees it, for which content is a string.
 */
interface Parts {
  content: string | null
  reasoning: string
  /** One a part of thinking, in the form it must be replayed. */
  thinking: ThinkingBlock[]
  citations: unknown[]
}

function partsOf(content: readonly unknown[]): Parts {
  const parts: Parts = { content: null, reasoning: '', thinking: [], citations: [] }
  for (const part of content.filter(isFields)) {
    if (part['type'] === 'reasoning') {
      for (const summary of (Array.isArray(part['summary']) ? (part['summary'] as unknown[]) : []).filter(isFields)) {
        const thinking = text(summary['text'])
        const signature = text(summary['signature'])
        parts.reasoning += thinking
        parts.thinking.push({ type: 'thinking', thinking, ...(signature === '' ? {} : { signature }) })
      }
    } else if (typeof part['text'] === 'string') {
      parts.content = (parts.content ?? '') + part['text']
      if (Array.isArray(part['citations'])) parts.citations.push(...(part['citations'] as unknown[]))
    }
  }
  return parts
}

/** A whole answer whose content is text; the same bytes when it is already. */
export function plainAnswer(body: Uint8Array): Uint8Array {
  let answer: unknown
  try {
    answer = JSON.parse(sourceOf(body))
  } catch {
    return body
  }
  if (!isFields(answer) || !Array.isArray(answer['choices'])) return body
  const messages = (answer['choices'] as unknown[]).map((choice) => (isFields(choice) ? choice['message'] : undefined))
  const listed = messages.filter(isFields).filter((message) => Array.isArray(message['content']))
  if (listed.length === 0) return body
  for (const message of listed) {
    const parts = partsOf(message['content'] as unknown[])
    settle(message, parts)
    if (parts.thinking.some(({ signature }) => signature !== undefined)) message['thinking_blocks'] = parts.thinking
  }
  return Buffer.from(JSON.stringify(answer))
}

function settle(message: Fields, { content, reasoning, citations }: Parts): void {
  message['content'] = content
  if (reasoning !== '') message['reasoning_content'] = reasoning
  if (citations.length > 0) message['provider_specific_fields'] = { citations }
}

/** What is known of one choice of a stream. */
interface ChoiceState {
  thought: string
  /** Calls whose arguments began as `{}`, by index: a way to say "none yet", unless nothing follows. */
  hollow: Set<number>
}

/** A decoder that reads lists of parts, and arguments of calls that begin as an empty object. */
export function readable(inner: StreamDecoder<ChatChunk>): StreamDecoder<ChatChunk> {
  const choices = new Map<number, ChoiceState>()
  const stateOf = (index: number): ChoiceState => {
    let state = choices.get(index)
    if (state === undefined) {
      state = { thought: '', hollow: new Set() }
      choices.set(index, state)
    }
    return state
  }
  const filled = (chunks: ChatChunk[]): ChatChunk[] => {
    for (const chunk of chunks) {
      for (const choice of chunk.choices) {
        const calls = fillHollow(choice.delta.tool_calls ?? [], stateOf(choice.index).hollow, choice.finish_reason !== null)
        if (calls.length > 0) choice.delta.tool_calls = calls
      }
    }
    return chunks
  }
  return wrappedStream(inner, filled, (event) =>
    event.data.includes('"content":') ? { ...event, data: plainEvent(event.data, stateOf) } : event,
  )
}

/** An event whose content is text; the same string when it is already. */
function plainEvent(data: string, stateOf: (index: number) => ChoiceState): string {
  if (!/"content"\s*:\s*\[/.test(data)) return data
  let event: unknown
  try {
    event = JSON.parse(data)
  } catch {
    return data
  }
  if (!isFields(event) || !Array.isArray(event['choices'])) return data
  for (const [position, choice] of (event['choices'] as unknown[]).entries()) {
    const delta = isFields(choice) ? choice['delta'] : undefined
    if (!isFields(choice) || !isFields(delta) || !Array.isArray(delta['content'])) continue
    const state = stateOf(typeof choice['index'] === 'number' ? choice['index'] : position)
    const parts = partsOf(delta['content'] as unknown[])
    settle(delta, parts)
    const blocks: ThinkingBlock[] = []
    for (const { thinking = '', signature } of parts.thinking) {
      state.thought += thinking
      if (signature === undefined) continue
      // Whole, so that whoever replays it has the text its signature covers.
      blocks.push({ type: 'thinking', thinking: state.thought, signature })
      state.thought = ''
    }
    if (blocks.length > 0) delta['thinking_blocks'] = blocks
  }
  return JSON.stringify(event)
}

function fillHollow(pieces: readonly ToolCallDelta[], hollow: Set<number>, last: boolean): ToolCallDelta[] {
  const calls = pieces.map((piece) => {
    const given = piece.function?.arguments
    if (piece.id !== undefined && given === '{}') {
      hollow.add(piece.index)
      return { ...piece, function: { ...piece.function, arguments: '' } }
    }
    if (given !== undefined && given !== '') hollow.delete(piece.index)
    return piece
  })
  if (!last) return calls
  for (const index of hollow) {
    const piece = calls.find((call) => call.index === index)
    if (piece === undefined) calls.push({ index, function: { arguments: '{}' } })
    else piece.function = { ...piece.function, arguments: '{}' }
  }
  hollow.clear()
  return calls
}
