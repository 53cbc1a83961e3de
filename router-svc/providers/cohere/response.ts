import { entryOf } from '../../../shared/entry.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { ChatResponse, FinishReason, ResponseMessage, ToolCall } from '../../canonical/chat.ts'
import { type Fields, isFields } from '../json.ts'
import { argumentsOf, contentOf } from '../openai/normalise.ts'
import type { DecodeContext, Headers } from '../provider.ts'
import { decodeError, failedFinish } from './errors.ts'
import { decodeUsage } from './usage.ts'
import { answerFields, list, text } from './wire.ts'

const FINISH: Readonly<Record<string, FinishReason>> = {
  COMPLETE: 'stop',
  STOP_SEQUENCE: 'stop',
  MAX_TOKENS: 'length',
  TOOL_CALL: 'tool_calls',
  ERROR_TOXIC: 'content_filter',
}

const FAILED = new Set(['ERROR', 'TIMEOUT'])

/** Canonical finish reason. Throws for the reasons that say that the answer failed; `told` is what was said of that. */
export function finishReason(raw: unknown, calls: number, told: unknown): FinishReason {
  const reason = text(raw)
  if (FAILED.has(reason)) throw failedFinish(reason, told)
  const finish = entryOf(FINISH, reason) ?? (reason === '' ? 'stop' : reason.toLowerCase())
  return finish === 'stop' && calls > 0 ? 'tool_calls' : finish
}

/** Reads a whole answer. Throws `provider_malformed`, or the provider's error when the body is one. */
export function decodeChat(body: Uint8Array, headers: Headers, context: DecodeContext): ChatResponse {
  const answer = answerFields(body, headers, decodeError)
  const source = answer['message']
  if (!isFields(source)) throw new GatewayError('provider_malformed', "The provider's answer holds no message.")
  const { message, calls } = decodeMessage(source)
  const choice: ChatResponse['choices'][number] = {
    index: 0,
    message,
    finish_reason: finishReason(answer['finish_reason'], calls, answer['error']),
  }
  const logprobs = decodeLogprobs(answer['logprobs'])
  if (logprobs !== null) choice.logprobs = logprobs
  const response: ChatResponse = {
    id: text(answer['id']) || context.id,
    object: 'chat.completion',
    created: context.created,
    model: context.model,
    choices: [choice],
  }
  const usage = decodeUsage(answer['usage'])
  if (usage !== null) response.usage = usage
  return response
}

const PLACED = new Set(['role', 'content', 'tool_calls', 'tool_plan'])

function decodeMessage(source: Fields): { message: ResponseMessage; calls: number } {
  const { text: said, reasoning } = contentOf(source['content'])
  const calls = list(source['tool_calls']).map(decodeCall)
  // What the model says before it calls is content to everybody else, and comes back as the plan (messages.ts).
  const content = text(source['tool_plan']) + (said ?? '')
  const message: ResponseMessage = { role: 'assistant', content: content === '' && calls.length > 0 ? null : content }
  if (calls.length > 0) message.tool_calls = calls
  if (reasoning !== '') message.reasoning_content = reasoning
  const kept: Fields = {}
  for (const [name, value] of Object.entries(source)) {
    if (!PLACED.has(name) && value !== null && !(Array.isArray(value) && value.length === 0)) kept[name] = value
  }
  if (Object.keys(kept).length > 0) message.provider_specific_fields = kept
  return { message, calls: calls.length }
}

function decodeCall(raw: unknown, index: number): ToolCall {
  const call = isFields(raw) ? raw : {}
  const named = isFields(call['function']) ? call['function'] : {}
  return {
    id: text(call['id']) || `call_${index}`,
    type: 'function',
    function: { name: text(named['name']), arguments: argumentsOf(named['arguments'], true) },
  }
}

/** One entry of ours an entry of theirs, which may span several tokens: their logarithms add up. Null when there are none. */
export function decodeLogprobs(raw: unknown): { content: Fields[] } | null {
  const entries = (isFields(raw) ? [raw] : list(raw)).filter(isFields)
  if (entries.length === 0) return null
  return {
    content: entries.map((entry) => ({
      token: text(entry['text']),
      logprob: list(entry['logprobs']).reduce<number>((sum, value) => sum + (typeof value === 'number' ? value : 0), 0),
      bytes: [...Buffer.from(text(entry['text']))],
      top_logprobs: [],
    })),
  }
}
