import type { ChatChunk, ChatRequest, Message } from '../canonical/chat.ts'
import { roughTokens } from '../count-tokens.ts'
import type { ResumePoint, StreamEncoder } from '../dialects/dialect.ts'
import type { Prefill } from '../providers/provider.ts'

/** A stream that died where another attempt may go on: what the client has of the answer. */
export interface Continuation {
  /** The answer's text so far, `pending` included. */
  readonly text: string
  /** Some of its thinking went out. */
  readonly reasoning: boolean
  /** What every chunk of one answer shares; null = no chunk went out. */
  readonly envelope: Envelope | null
  /** The encoder that wrote the beginning and goes on; null = bytes passed through, and a new one starts at `point`. */
  readonly encoder: StreamEncoder<ChatChunk> | null
  readonly point: ResumePoint
  /** Encoded, but the stream died before it was handed out: it goes before whatever follows. */
  readonly pending: string
}

export interface Envelope {
  id: string
  created: number
  fingerprint: string | null
}

/** Characters of text up to which an answer is continued: it is sent along as input. */
export const TEXT_LIMIT = 1024 * 1024

/** Thinking needs its budget and room for an answer, or the API refuses the request; tokens. */
const ANSWER_ROOM = 1024

/**
 * The request that continues an answer which got as far as `text`: with the text as the beginning of the assistant's turn where the provider
 * goes on from there, else with an instruction. Never changes `request`.
 */
export function continueRequest(request: ChatRequest, text: string, prefill: Prefill | null): ChatRequest {
  if (!isContinued(text)) return request
  const { messages, begun } = withBeginning(request.messages, text)
  const continued: ChatRequest = { ...request, messages: [...messages, begun] }
  for (const name of ['max_tokens', 'max_completion_tokens'] as const) {
    const limit = request[name]
    if (typeof limit === 'number') continued[name] = remaining(limit, text, request)
  }
  switch (prefill) {
    case 'native':
      break
    case 'prefix':
    case 'echo':
      begun['prefix'] = true
      break
    case 'partial':
      begun['partial'] = true
      break
    case 'final':
      continued['continue_final_message'] = true
      continued['add_generation_prompt'] = false
      break
    case null:
      continued.messages.push({ role: 'user', content: instruction(text) })
  }
  return continued
}

/** White space alone is no beginning to go on from (and Anthropic refuses it): the answer starts anew. */
export function isContinued(text: string): boolean {
  return text.trim() !== ''
}

/** The assistant's turn as far as it got; one that the client itself began is part of it. */
function withBeginning(messages: readonly Message[], text: string): { messages: readonly Message[]; begun: Message } {
  const last = messages.at(-1)
  if (last?.role !== 'assistant' || typeof last.content !== 'string')
    return { messages, begun: { role: 'assistant', content: text } }
  const { prefix: _prefix, partial: _partial, ...own } = last
  return { messages: messages.slice(0, -1), begun: { ...own, role: 'assistant', content: last.content + text } }
}

function remaining(limit: number, text: string, request: ChatRequest): number {
  const thinking = request.thinking ?? (request.anthropic?.['thinking'] as ChatRequest['thinking'])
  const budget = thinking?.budget_tokens
  const least = typeof budget === 'number' ? Math.min(limit, budget + ANSWER_ROOM) : 1
  return Math.max(least, limit - roughTokens(text.length))
}

/** Characters of the end quoted to a model, so that it knows whether it stands inside a word. */
const QUOTED = 80

function instruction(text: string): string {
  const end = JSON.stringify(text.slice(-QUOTED))
  return `Your last message was cut off by a lost connection, and the reader has it up to exactly this point: …${end}. Write what comes next, starting with the very next character, and with a space or a line break where one belongs there. Repeat nothing of it, and do not speak of the interruption.`
}
