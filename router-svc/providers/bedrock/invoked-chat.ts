import type { ProviderRow } from '../../../shared/catalog/providers.ts'
import type { SseEvent } from '../../../shared/http/sse.ts'
import type { ChatChunk, ChatRequest, ChatResponse } from '../../canonical/chat.ts'
import { eventObject, jsonObject } from '../json.ts'
import { openai } from '../openai.ts'
import type { Adapter } from '../provider.ts'
import { usageFrom } from '../text-protocol.ts'
import { decodeError } from './errors.ts'
import { InvokeStream, invokeRequest, isForService } from './invoke.ts'
import { encodeRequest as encodeConverse } from './request.ts'
import { decodeResponse as decodeConverse } from './response.ts'
import { ConverseStream } from './stream.ts'
import { type Fields, isFields } from './wire.ts'

type Chat = Adapter<ChatRequest, ChatResponse, ChatChunk>

/** Members of Converse's body that InvokeModel takes in headers, or not at all. */
const CONVERSE_ONLY = [
  'guardrailConfig',
  'performanceConfig',
  'serviceTier',
  'requestMetadata',
  'promptVariables',
  'outputConfig',
]

/** Amazon's own models through InvokeModel: Converse's words in a body of their own, and its events one by one. */
export const INVOKED_NOVA: Chat = {
  mode: 'chat',
  framing: 'aws',
  encodeRequest(request, target) {
    const { additionalModelRequestFields: more, ...body } = jsonObject(
      String(encodeConverse(request, target).body),
      'The request',
    )
    for (const name of CONVERSE_ONLY) delete body[name]
    const fields = isFields(more) ? more : {}
    const inference = { ...(body['inferenceConfig'] as Fields | undefined), ...(fields['inferenceConfig'] as Fields | undefined) }
    const whole = { schemaVersion: 'messages-v1', ...body, ...fields }
    return invokeRequest(Object.keys(inference).length === 0 ? whole : { ...whole, inferenceConfig: inference }, request, target)
  },
  decodeResponse: decodeConverse,
  decodeStream: (context) => new InvokeStream(new ConverseStream(context), novaEvent),
}

/** The name of an event is the member that holds it, beside what the service says itself. */
function novaEvent(data: string): SseEvent {
  const [event = '', payload] = Object.entries(eventObject(data)).find(([name]) => !name.startsWith('amazon-bedrock-')) ?? []
  return { event, data: JSON.stringify(payload ?? {}) }
}

/** How models of others answer that take OpenAI's body: a name for thinking of their own, calls in pieces. */
const ROW: ProviderRow = {
  protocol: 'openai',
  base: null,
  keys: [],
  keyless: true,
  deviates: ['finish_reason', 'usage', 'tool_calls', 'reasoning', 'role'],
}

/** Models that take OpenAI's body, which does not name them: the address does. */
export function invokedOpenai(name: string): Chat {
  const { chat } = openai(name, ROW)
  if (chat?.decodeStream === undefined) throw new Error('a row without chat')
  const { encodeRequest, decodeStream, decodeResponse } = chat
  return {
    mode: 'chat',
    framing: 'aws',
    encodeRequest(request, target) {
      const own = { ...request }
      for (const field in own) if (isForService(field)) delete own[field]
      const { body } = encodeRequest(own, target)
      const { model: _model, stream: _stream, stream_options: _options, ...sent } = jsonObject(String(body), 'The request')
      return invokeRequest(sent, request, target)
    },
    decodeResponse(body, headers, context) {
      const { message, __type: kind } = jsonObject(Buffer.from(body).toString('utf8'), 'The answer')
      if (message !== undefined || kind !== undefined) throw decodeError(200, headers, Buffer.from(body).toString('utf8'))
      return decodeResponse(body, headers, context)
    },
    decodeStream: (context) => new InvokeStream(decodeStream(context), openaiEvent),
  }
}

/** The last event says what the service counted, where the model says nothing. */
function openaiEvent(data: string): SseEvent {
  const payload = eventObject(data)
  const metrics = payload['amazon-bedrock-invocationMetrics']
  if (!isFields(metrics)) return { event: '', data }
  const usage = payload['usage'] ?? usageFrom(metrics['inputTokenCount'], metrics['outputTokenCount'])
  return { event: '', data: JSON.stringify({ choices: [], ...payload, usage }) }
}
