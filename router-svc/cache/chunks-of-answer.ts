import type { ChatChunk, ChatDelta, ChatResponse } from '../canonical/chat.ts'
import type { CompletionChunk, CompletionResponse } from '../canonical/completion.ts'

/** Characters of a piece, about a sentence's fifth: what a client that shows text as it comes expects. */
const PIECE = 20

/** A whole answer cut into the chunks of a stream: per choice the role, reasoning, text in pieces, tool calls, the finish; usage last. */
export function* chunksOfAnswer(response: Record<string, unknown>): Generator<ChatChunk | CompletionChunk> {
  if (response['object'] === 'text_completion') yield* completionChunks(response as unknown as CompletionResponse)
  else yield* chatChunks(response as unknown as ChatResponse)
}

function* chatChunks({ choices, usage, ...envelope }: ChatResponse): Generator<ChatChunk> {
  const head = { ...envelope, object: 'chat.completion.chunk' as const }
  for (const { index, message, finish_reason, logprobs, ...rest } of choices) {
    const chunk = (delta: ChatDelta, fields: object = {}): ChatChunk => ({
      ...head,
      choices: [{ index, delta, finish_reason: null, ...fields }],
    })
    const {
      role,
      content,
      reasoning_content: reasoning,
      thinking_blocks: thinking,
      tool_calls: calls,
      refusal,
      ...more
    } = message
    yield chunk({ role, ...(calls === undefined || content !== null ? { content: '' } : { content: null }), ...more }, rest)
    for (const piece of pieces(reasoning)) yield chunk({ reasoning_content: piece })
    for (const block of thinking ?? []) yield chunk({ thinking_blocks: [block] })
    let scores = logprobs == null ? {} : { logprobs }
    for (const piece of pieces(content)) {
      yield chunk({ content: piece }, scores)
      // Clients join them over the stream, so where they stand in it does not matter.
      scores = {}
    }
    for (const piece of pieces(refusal)) yield chunk({ refusal: piece })
    for (const [at, call] of (calls ?? []).entries()) yield chunk({ tool_calls: [{ ...call, index: at }] })
    yield chunk({}, { finish_reason })
  }
  if (usage !== undefined) yield { ...head, choices: [], usage }
}

function* completionChunks({ choices, usage, ...envelope }: CompletionResponse): Generator<CompletionChunk> {
  for (const { text, finish_reason, logprobs, ...choice } of choices) {
    let scores: { logprobs?: unknown } = { logprobs: logprobs ?? null }
    for (const piece of pieces(text)) {
      yield { ...envelope, choices: [{ ...choice, ...scores, text: piece, finish_reason: null }] }
      scores = { logprobs: null }
    }
    yield { ...envelope, choices: [{ ...choice, logprobs: null, text: '', finish_reason }] }
  }
  if (usage !== undefined && usage !== null) yield { ...envelope, choices: [], usage }
}

/** Text in pieces that join to it again and never part a pair of surrogates. */
function* pieces(text: string | null | undefined): Generator<string> {
  if (text === null || text === undefined) return
  for (let at = 0; at < text.length; ) {
    let end = Math.min(text.length, at + PIECE)
    const last = text.charCodeAt(end - 1)
    if (end < text.length && last >= 0xd800 && last < 0xdc00) end += 1
    yield text.slice(at, end)
    at = end
  }
}
