import type { ProviderRow } from '../../shared/catalog/providers.ts'
import type { Message } from '../canonical/chat.ts'
import { type Fields, isFields, jsonValue, text } from './json.ts'
import { contentOf } from './openai/normalise.ts'
import type { Provider } from './provider.ts'
import { postJson, type Said, textProvider, usageFrom } from './text-protocol.ts'

/**
 * A graph served by LangGraph as a chat: the model is the assistant's id, each call a run without a thread. What the graph's tools did on the way is
 * its own; the answer is what its model says.
 */
export function langgraph(name: string, row: ProviderRow): Provider {
  return textProvider(name, row, {
    textOnly: false,
    request({ messages, stream }, given, target) {
      const body: Fields = { assistant_id: target.model, input: { messages: messages.map(messageOf) }, ...given }
      if (stream) body['stream_mode'] = 'messages-tuple'
      return postJson(`${target.base}/runs/${stream ? 'stream' : 'wait'}`, body)
    },
    answer(state) {
      const messages =
        isFields(state) && Array.isArray(state['messages']) ? (state['messages'] as unknown[]).filter(isFields) : []
      const last = messages.findLast(({ type, role }) => type === 'ai' || role === 'assistant')
      return last === undefined ? [] : [saidBy(last)]
    },
    // A run that fails answers 200 with this in place of the state.
    isError: (answer) => isFields(answer['__error__']) || typeof answer['error'] === 'string',
    error(body) {
      const { error, message } = isFields(body['__error__']) ? body['__error__'] : body
      if (typeof error !== 'string' || typeof message !== 'string') return body
      return { error: { message: `${error}: ${message}` } }
    },
    stream: {
      framing: 'sse',
      untilEnd: true,
      read(data) {
        const event = jsonValue(data, 'An event of the stream')
        const message: unknown = Array.isArray(event) ? event[0] : null
        return isFields(message) && message['type'] === 'AIMessageChunk' ? saidBy(message) : null
      },
    },
  })
}

function messageOf({ role, content, name, tool_calls: calls, tool_call_id: id }: Message): Fields {
  return {
    role,
    content: content ?? '',
    ...(name === undefined ? {} : { name }),
    ...(calls === undefined ? {} : { tool_calls: calls }),
    ...(id === undefined ? {} : { tool_call_id: id }),
  }
}

function saidBy({ content, usage_metadata: usage }: Fields): Said {
  const counted = isFields(usage) ? usageFrom(usage['input_tokens'], usage['output_tokens']) : null
  return { text: contentOf(content).text ?? text(content), usage: counted }
}
