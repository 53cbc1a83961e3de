import type { ChatChunk, ChatRequest, ChatResponse } from '../../canonical/chat.ts'
import { ThinkTags } from '../ollama/think-tags.ts'
import type { Adapter, StreamDecoder } from '../provider.ts'
import { wrappedStream } from '../wrapped-stream.ts'

type Chat = Adapter<ChatRequest, ChatResponse, ChatChunk>

/**
 * The adapter of a model that thinks in its text before it answers: all up to `</think>` is its thinking, the tag before it being part of its prompt.
 * A text without the tag is all thinking only where it was cut off; whole, it is an answer.
 */
export function thinkingApart(chat: Chat): Chat {
  const { decodeStream } = chat
  return {
    ...chat,
    decodeResponse(body, headers, context) {
      const response = chat.decodeResponse(body, headers, context)
      for (const { message } of response.choices) {
        const at = message.content?.indexOf(CLOSE) ?? -1
        if (at < 0 || message.content === null) continue
        message.reasoning_content = message.content.slice(0, at).replace(OPEN, '')
        message.content = message.content.slice(at + CLOSE.length).trimStart()
      }
      return response
    },
    ...(decodeStream === undefined ? {} : { decodeStream: (context) => apart(decodeStream(context)) }),
  }
}

const CLOSE = '</think>'
const OPEN = /^\s*<think>/

/** States: begun (white space, or the tag again, may come) → those of the tags. */
function apart(inner: StreamDecoder<ChatChunk>): StreamDecoder<ChatChunk> {
  const tags = new ThinkTags()
  tags.push('<think>')
  let begun = false
  const told = (chunk: ChatChunk): ChatChunk => {
    const [choice] = chunk.choices
    if (choice === undefined) return chunk
    const { content: piece, ...delta } = choice.delta
    let fresh = piece ?? ''
    if (!begun && fresh.trim() !== '') {
      begun = true
      fresh = fresh.replace(OPEN, '')
    }
    const { content, thinking } = tags.push(fresh)
    const rest = choice.finish_reason === null ? { content: '', thinking: '' } : tags.end()
    const said = content + rest.content
    const thought = thinking + rest.thinking
    const parts = { ...(said === '' ? {} : { content: said }), ...(thought === '' ? {} : { reasoning_content: thought }) }
    return { ...chunk, choices: [{ ...choice, delta: { ...delta, ...parts } }] }
  }
  return wrappedStream(inner, (chunks) => chunks.map(told))
}
