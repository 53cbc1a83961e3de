import { entryOf } from '../../../shared/entry.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { FinishReason } from '../../canonical/chat.ts'
import { type Fields, isFields, text } from '../json.ts'

/** Oracle's answers in OpenAI's form, which is then read as everybody's is. */

const FINISH: Readonly<Record<string, FinishReason>> = {
  complete: 'stop',
  stop_sequence: 'stop',
  max_tokens: 'length',
  error_limit: 'length',
  error_toxic: 'content_filter',
  tool_call: 'tool_calls',
}
const FAILED = new Set(['error', 'timeout', 'user_cancel'])

/** Null while there is none. Throws `provider_error` where the answer ended in a failure. */
export function finishOf(raw: unknown): FinishReason | null {
  const reason = text(raw).toLowerCase()
  if (FAILED.has(reason)) throw new GatewayError('provider_error', `The generation failed: ${text(raw)}.`)
  return reason === '' ? null : (entryOf(FINISH, reason) ?? reason)
}

/** A whole answer. Throws `provider_malformed`. */
export function openaiAnswer(answer: Fields): Fields {
  const chat = answer['chatResponse']
  if (!isFields(chat)) throw new GatewayError('provider_malformed', 'The answer holds no chatResponse.')
  const choices = Array.isArray(chat['choices']) ? (chat['choices'] as unknown[]).filter(isFields) : [chat]
  const made: Fields = { choices: choices.map((choice, index) => choiceOf(choice, index, 'message')) }
  const usage = usageOf(chat['usage'] ?? answer['usage'])
  if (usage !== null) made['usage'] = usage
  if (typeof chat['id'] === 'string') made['id'] = chat['id']
  const created = Date.parse(text(chat['timeCreated']))
  if (Number.isFinite(created)) made['created'] = Math.floor(created / 1000)
  return made
}

/** A choice of either form, or a piece of one under `member`. */
function choiceOf(choice: Fields, index: number, member: 'message' | 'delta'): Fields {
  const source = isFields(choice['message']) ? choice['message'] : choice
  const own: Fields = {
    index: typeof choice['index'] === 'number' ? choice['index'] : index,
    [member]: messageOf(source),
    finish_reason: finishOf(choice['finishReason']),
  }
  if (isFields(choice['logprobs'])) own['logprobs'] = choice['logprobs']
  return own
}

export function messageOf(source: Fields): Fields {
  const message: Fields = { role: 'assistant' }
  const parts = Array.isArray(source['content']) ? (source['content'] as unknown[]).filter(isFields) : null
  const joined = (member: string): string => (parts ?? []).map((part) => text(part[member])).join('')
  const said = text(source['toolPlan']) + (parts === null ? text(source['text']) : joined('text'))
  const thought = text(source['reasoningContent']) + joined('thinking')
  if (said !== '') message['content'] = said
  if (thought !== '') message['reasoning_content'] = thought
  if (typeof source['refusal'] === 'string') message['refusal'] = source['refusal']
  const calls = Array.isArray(source['toolCalls']) ? (source['toolCalls'] as unknown[]).filter(isFields) : []
  if (calls.length > 0) message['tool_calls'] = calls.map(callOf)
  const kept = Object.fromEntries(
    ['citations', 'annotations', 'documents', 'searchQueries']
      .map((name) => [name, source[name]])
      .filter(([, value]) => Array.isArray(value) && value.length > 0),
  )
  if (Object.keys(kept).length > 0) message['provider_specific_fields'] = kept
  return message
}

/** `arguments` as text, or Cohere's `parameters` as an object; nested under `function` in its second form. */
function callOf(call: Fields): Fields {
  const named = isFields(call['function']) ? call['function'] : call
  const made: Fields = {}
  const given = named['arguments'] ?? named['parameters']
  if (given !== undefined && given !== null) made['arguments'] = typeof given === 'string' ? given : JSON.stringify(given)
  if (typeof named['name'] === 'string' && named['name'] !== '') made['name'] = named['name']
  return { ...(typeof call['id'] === 'string' ? { id: call['id'] } : {}), type: 'function', function: made }
}

/** Counts under OpenAI's names, details included; null when there are none. */
export function usageOf(usage: unknown): Fields | null {
  if (!isFields(usage)) return null
  const { promptTokens, completionTokens, totalTokens, promptTokensDetails, completionTokensDetails } = usage
  if (typeof promptTokens !== 'number' && typeof totalTokens !== 'number') return null
  const made: Fields = { prompt_tokens: promptTokens, completion_tokens: completionTokens, total_tokens: totalTokens }
  if (isFields(promptTokensDetails)) made['prompt_tokens_details'] = snaked(promptTokensDetails)
  if (isFields(completionTokensDetails)) made['completion_tokens_details'] = snaked(completionTokensDetails)
  return made
}

function snaked(fields: Fields): Fields {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`), value]),
  )
}

/**
 * Events in OpenAI's form, one by one. The last event of Cohere's first form says the whole answer again: only what was not said yet goes on.
 */
export class EventTranslator {
  #said = ''
  #calls = ''

  translate(event: Fields): Fields {
    const usage = usageOf(event['usage'])
    const told = usage === null ? {} : { usage }
    if (isFields(event['message'])) return { choices: [choiceOf(event, 0, 'delta')], ...told }
    const { text: words, toolCalls, finishReason } = event
    if (words === undefined && toolCalls === undefined && finishReason === undefined) return { choices: [], ...told }
    const { citations: _, ...rest } = event
    const piece = this.#fresh(text(words), finishReason !== undefined && finishReason !== null)
    const calls = Array.isArray(toolCalls) && toolCalls.length > 0 ? JSON.stringify(toolCalls) : ''
    const repeated = calls === this.#calls
    if (calls !== '') this.#calls = calls
    const own = finishReason == null && Array.isArray(event['citations']) ? event : rest
    return { choices: [choiceOf({ ...own, text: piece, toolCalls: repeated ? [] : toolCalls }, 0, 'delta')], ...told }
  }

  #fresh(words: string, last: boolean): string {
    if (!last || this.#said === '') {
      this.#said += words
      return words
    }
    return words.startsWith(this.#said) ? words.slice(this.#said.length) : ''
  }
}
