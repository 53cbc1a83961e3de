import type { ProviderRow } from '../../shared/catalog/providers.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { ContentPart, Message } from '../canonical/chat.ts'
import { type Fields, isFields, text } from './json.ts'
import { contentOf } from './openai/normalise.ts'
import type { Provider } from './provider.ts'
import { postJson, textProvider } from './text-protocol.ts'

/** Bytez: messages of typed items in, bare text streamed out; parameters go apart. It counts no tokens. */
export function bytez(name: string, row: ProviderRow): Provider {
  return textProvider(name, row, {
    request: ({ messages, stream }, params, target) =>
      postJson(`${target.base}/${target.model}`, { messages: messages.map(messageOf), stream, params }),
    answer(answer) {
      const { output } = isFields(answer) ? answer : {}
      if (typeof output === 'string') return [{ text: output }]
      if (!isFields(output)) return []
      const said = contentOf(output['content']).text
      return said === null ? [] : [{ text: said }]
    },
    stream: { framing: 'raw', untilEnd: true, read: (data) => ({ text: data }) },
    textOnly: false,
  })
}

function messageOf({ role, content }: Message, index: number): Fields {
  const parts = Array.isArray(content) ? content : [{ type: 'text', text: content ?? '' }]
  return { role, content: parts.map((part, at) => itemOf(part, `messages[${index}].content[${at}]`)) }
}

/** OpenAI's parts by the names of their items, the URL (or data) beside the type. */
function itemOf(part: ContentPart, param: string): Fields {
  const held: unknown = part[part.type as never]
  const url = isFields(held) ? text(held['url'], text(held['data'])) : text(held)
  switch (part.type) {
    case 'text':
      return { type: 'text', text: part['text'] }
    case 'image_url':
      return { type: 'image', url }
    case 'video_url':
      return { type: 'video', url }
    case 'input_audio':
      return {
        type: 'audio',
        url: url.includes(':') ? url : `data:audio/${isFields(held) ? text(held['format'], 'wav') : 'wav'};base64,${url}`,
      }
    default:
      throw new GatewayError('bad_request', `litellm.BadRequestError: ${param} is ${part.type}, which bytez does not take.`, {
        param,
      })
  }
}
