import { entryOf } from '../../../shared/entry.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { ContentPart, Message } from '../../canonical/chat.ts'
import type { InputContent } from '../../canonical/responses.ts'
import { type Fields, isFields, text } from '../json.ts'

/** Content as this API takes it: a string as it is, parts each by its kind. Throws GatewayError `bad_request` naming the part. */
export function encodeContent(content: Message['content'], path: string): string | InputContent[] {
  if (!Array.isArray(content)) return text(content)
  return content.map((part, index) => encodePart(part, `${path}[${index}]`))
}

/** All text of a content. Throws `bad_request` naming a part that is none. */
export function textOf(content: Message['content'], path: string): string {
  if (!Array.isArray(content)) return text(content)
  return content
    .map((part, index) => {
      if (part.type === 'refusal') return text(part['refusal'])
      if (typeof part['text'] !== 'string') throw refusePart(`${path}[${index}]`, part.type, 'which has text only')
      return part['text']
    })
    .join('')
}

function encodePart(part: ContentPart, path: string): InputContent {
  switch (part.type) {
    case 'text':
      return { type: 'input_text', text: text(part['text']) }
    case 'image_url':
      return image(part['image_url'], path)
    case 'file':
      return file(isFields(part['file']) ? part['file'] : {}, path)
    case 'refusal':
      return { type: 'input_text', text: text(part['refusal']) }
    default:
      // Already in this API's words.
      if (part.type.startsWith('input_') && part.type !== 'input_audio') return part
      throw refusePart(path, part.type, 'which the Responses API does not take')
  }
}

function image(given: unknown, path: string): InputContent {
  const source: Fields = typeof given === 'string' ? { url: given } : isFields(given) ? given : {}
  const detail = text(source['detail'], 'auto')
  const id = text(source['file_id'])
  if (id !== '') return { type: 'input_image', file_id: id, detail }
  const url = text(source['url'])
  if (url === '') throw refuse(path, `${path} is an image without a URL.`)
  return { type: 'input_image', image_url: url, detail }
}

/** The API refuses data without a name. */
const EXTENSIONS: Readonly<Record<string, string>> = { 'text/plain': 'txt', 'text/markdown': 'md', 'application/json': 'json' }

function file(source: Fields, path: string): InputContent {
  const id = text(source['file_id'])
  const named = text(source['filename']) === '' ? {} : { filename: text(source['filename']) }
  // LiteLLM's clients put addresses into `file_id`.
  if (/^https?:\/\//.test(id)) return { type: 'input_file', file_url: id }
  if (id !== '') return { type: 'input_file', file_id: id }
  const data = text(source['file_data'])
  if (data === '') throw refuse(path, `${path} is a file without file_id or file_data.`)
  const inside = /^data:([^;,]+)/.exec(data)?.[1]
  const type = text(source['format'], inside ?? 'application/pdf')
  const whole = inside === undefined ? `data:${type};base64,${data}` : data
  return { type: 'input_file', filename: `file.${entryOf(EXTENSIONS, type) ?? 'pdf'}`, ...named, file_data: whole }
}

function refusePart(path: string, type: string, why: string): GatewayError {
  return refuse(path, `${path} is of type ${JSON.stringify(type)}, ${why}.`)
}

export function refuse(param: string, problem: string): GatewayError {
  return new GatewayError('bad_request', `litellm.BadRequestError: ${problem}`, { param })
}
