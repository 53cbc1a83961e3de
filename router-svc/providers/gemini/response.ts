import type { ChatDelta, ChatResponse, ResponseMessage, ToolCall } from '../../canonical/chat.ts'
import { jsonValue, sourceOf } from '../json.ts'
import type { DecodeContext, Headers } from '../provider.ts'
import { answerFields, blockReason, Choice, malformed } from './answer.ts'
import { decodeError, errorInside } from './errors.ts'
import { searches } from './grounding.ts'
import { traitsOf } from './models.ts'
import { decodeUsage, tierOf } from './usage.ts'
import { type Fields, isFields, objects, text } from './wire.ts'

/**
 * Reads a whole answer. A prompt that was blocked is one choice that says `content_filter`. Throws `provider_malformed`, or the
 * provider's error when the body is one.
 */
export function decodeResponse(provider: string, body: Uint8Array, headers: Headers, context: DecodeContext): ChatResponse {
  const answer = parse(provider, body, headers)
  const candidates = objects(answer['candidates'])
  const blocked = blockReason(answer)
  if (candidates.length === 0 && blocked === '' && !isFields(answer['usageMetadata']))
    throw malformed('The answer holds no candidates.')
  const choices = candidates.map((candidate, position) => {
    const choice = new Choice(typeof candidate['index'] === 'number' ? candidate['index'] : position, context.id)
    return { choice, deltas: choice.read(candidate) }
  })
  const raw = isFields(answer['usageMetadata']) ? answer['usageMetadata'] : {}
  const searched = searches(candidates, traitsOf(context.model).billsSearches)
  const response: ChatResponse = {
    id: text(answer['responseId'], context.id),
    object: 'chat.completion',
    created: context.created,
    model: text(answer['modelVersion'], context.model),
    choices: choices.map(({ choice, deltas }) => ({
      index: choice.index,
      message: assemble([...deltas, ...(choice.rest() === null ? [] : [choice.rest() as ChatDelta])]),
      finish_reason: choice.finishReason,
      ...(choice.logprobs === null ? {} : { logprobs: choice.logprobs }),
    })),
    usage: decodeUsage(raw, searched),
    ...answerFields(choices.map(({ choice }) => choice)),
  }
  // Also when nothing was said at all: an empty answer that is no error has no other word.
  if (choices.length === 0) response.choices = [blockedChoice(answer)]
  const tier = tierOf(raw)
  if (tier !== undefined) response.service_tier = tier
  return response
}

/** The choice of an answer without candidates. */
export function blockedChoice(answer: Fields): ChatResponse['choices'][number] {
  const feedback = answer['promptFeedback']
  const message: ResponseMessage = { role: 'assistant', content: null }
  if (isFields(feedback)) message.provider_specific_fields = { promptFeedback: feedback }
  return { index: 0, message, finish_reason: blockReason(answer) === '' ? 'stop' : 'content_filter' }
}

function parse(provider: string, body: Uint8Array, headers: Headers): Fields {
  const source = sourceOf(body)
  const answer = jsonValue(source, 'The answer')
  if (errorInside(answer) || (Array.isArray(answer) && errorInside(answer[0]))) throw decodeError(provider, 200, headers, source)
  if (!isFields(answer)) throw malformed('The answer is not a JSON object.')
  return answer
}

/** Deltas put together as a client would. */
function assemble(deltas: readonly ChatDelta[]): ResponseMessage {
  const message: ResponseMessage = { role: 'assistant', content: '' }
  let content = ''
  let reasoning = ''
  const calls: ToolCall[] = []
  for (const delta of deltas) {
    content += delta.content ?? ''
    reasoning += delta.reasoning_content ?? ''
    for (const { index: _index, ...call } of delta.tool_calls ?? []) calls.push(call as ToolCall)
    for (const list of ['thinking_blocks', 'annotations', 'images']) {
      if (Array.isArray(delta[list]))
        message[list] = [...((message[list] as unknown[] | undefined) ?? []), ...(delta[list] as unknown[])]
    }
    if (delta['audio'] !== undefined) message['audio'] = delta['audio']
    if (delta.provider_specific_fields !== undefined) {
      message.provider_specific_fields = merged(message.provider_specific_fields ?? {}, delta.provider_specific_fields)
    }
  }
  const silent = content === '' && (calls.length > 0 || message['images'] !== undefined || message['audio'] !== undefined)
  message.content = silent ? null : content
  if (calls.length > 0) message.tool_calls = calls
  if (reasoning !== '') message.reasoning_content = reasoning
  return message
}

/** Lists go on, anything else replaces. */
function merged(fields: Fields, more: Fields): Fields {
  const all = { ...fields }
  for (const [name, value] of Object.entries(more)) {
    const before = all[name]
    all[name] = Array.isArray(before) && Array.isArray(value) ? [...before, ...value] : value
  }
  return all
}
