import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { ChatRequest, ChatResponse } from '../../canonical/chat.ts'
import { type Fields, isFields, jsonObject, sourceOf, text } from '../json.ts'
import { decodeError } from '../openai/error.ts'
import { authOf } from '../openai.ts'
import { promptOf, textOf } from '../prompt-text.ts'
import type { Conversation, DecodeContext, Provider, Target, UpstreamAnswer, UpstreamRequest } from '../provider.ts'
import { agentParameters, answerOf, lastTurn, sessionOf } from './agent.ts'

/** Milliseconds between two looks at a task. */
const POLL = 500

const RUNNING = new Set(['submitted', 'working'])
const FAILED = new Set(['failed', 'rejected', 'canceled', 'auth-required', 'unknown'])

/**
 * Agents that speak A2A (https://a2a-protocol.org), as Pydantic AI's do: JSON-RPC to the agent's URL. What they answer is a message, or a task that is
 * looked at until it is over; a stream is that answer in pieces. `session_id` is the conversation's context, which every answer tells.
 */
export function a2aAgents(name: string, row: ProviderRow): Provider {
  const readError: Provider['decodeError'] = (status, headers, body) => decodeError(name, status, headers, body)
  const parametersOf = agentParameters(row)
  const neither = (): never => {
    throw new GatewayError('internal')
  }
  return {
    name,
    auth: authOf(row),
    base: row.base,
    keyNames: row.keys,
    chat: {
      mode: 'chat',
      // All of it is a conversation.
      encodeRequest: neither,
      decodeResponse: neither,
      decodeStream: neither,
      converse: (request, target, context) => talk(request, parametersOf(request, target), target, context, readError),
    },
    decodeError: readError,
  }
}

function* talk(
  request: ChatRequest,
  given: Fields,
  target: Target,
  context: DecodeContext,
  readError: Provider['decodeError'],
): Conversation<ChatResponse> {
  const session = sessionOf(request)
  const turn = session === null ? null : lastTurn(request.messages)
  const words =
    turn === null
      ? promptOf(request.messages, target)
      : turn.map((message, at) => textOf(message, at, target.provider)).join('\n\n')
  const message: Fields = { kind: 'message', role: 'user', messageId: context.id, parts: [{ kind: 'text', text: words }] }
  if (session !== null) message['contextId'] = session
  const params = { message, configuration: { acceptedOutputModes: ['text'], blocking: true }, ...given }
  let result = resultOf(yield { send: [call(target, context.id, 'message/send', params)] }, readError)
  while (isFields(result['status']) && RUNNING.has(text(result['status']['state'])))
    result = resultOf(yield { send: [call(target, context.id, 'tasks/get', { id: result['id'] })], after: POLL }, readError)

  const status = isFields(result['status']) ? result['status'] : null
  const state = text(status?.['state'])
  const told = textOfParts(status?.['message'])
  if (FAILED.has(state))
    throw readError(200, {}, JSON.stringify({ error: { message: told || `the task of the agent is ${state}` } }))
  const artifacts = Array.isArray(result['artifacts']) ? (result['artifacts'] as unknown[]) : []
  const said = status === null ? textOfParts(result) : artifacts.map(textOfParts).join('') || told || lastWord(result['history'])
  if (said === '') throw new GatewayError('provider_malformed', 'The answer of the agent holds no text.')
  const contextId = text(result['contextId'] ?? result['context_id'])
  return answerOf(said, null, context, contextId === '' ? {} : { session_id: contextId })
}

function call({ base }: Target, id: string, method: string, params: Fields): UpstreamRequest {
  return {
    method: 'POST',
    url: base,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', id, method, params }),
  }
}

/** Throws the error of a JSON-RPC answer. */
function resultOf([answer]: UpstreamAnswer[], readError: Provider['decodeError']): Fields {
  const { body, headers } = answer as UpstreamAnswer
  const source = sourceOf(body)
  const { error, result } = jsonObject(source, 'The answer')
  if (isFields(error)) throw readError(200, headers, JSON.stringify({ error: { message: text(error['message']) } }))
  if (!isFields(result)) throw new GatewayError('provider_malformed', 'The answer of the agent has no result.')
  return result
}

/** Of a message or an artifact. */
function textOfParts(value: unknown): string {
  if (!isFields(value) || !Array.isArray(value['parts'])) return ''
  return (value['parts'] as unknown[])
    .map((part) => {
      if (!isFields(part)) return ''
      return part['data'] === undefined ? text(part['text']) : JSON.stringify(part['data'])
    })
    .join('')
}

function lastWord(history: unknown): string {
  const messages = Array.isArray(history) ? (history as unknown[]).filter(isFields) : []
  return textOfParts(messages.findLast(({ role }) => role === 'agent'))
}
