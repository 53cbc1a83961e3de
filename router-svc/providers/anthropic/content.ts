import { entryOf } from '../../../shared/entry.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { ContentPart } from '../../canonical/chat.ts'
import { type Block, type Fields, isFields, text } from './wire.ts'

/** Kinds of other protocols that no Messages model reads. */
const UNSUPPORTED = new Set(['input_audio', 'audio', 'audio_url', 'video', 'video_url', 'input_video'])

/** Text formats whose files are sent as text; any `text/*` is. */
const TEXT_TYPES = new Set(['application/json', 'application/xml', 'application/x-yaml', 'application/javascript'])

const EXTENSIONS: Readonly<Record<string, string>> = {
  pdf: 'application/pdf',
  txt: 'text/plain',
  md: 'text/markdown',
  csv: 'text/csv',
  html: 'text/html',
  json: 'application/json',
  xml: 'application/xml',
  png: 'image/png',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  gif: 'image/gif',
  webp: 'image/webp',
}

/**
 * Content of a message as blocks, without blank text (the API refuses it). `path` names the content in errors: `messages[2].content`.
 * Throws `bad_request` for what cannot be carried.
 */
export function encodeContent(content: string | ContentPart[] | null | undefined, path: string): Block[] {
  if (content === null || content === undefined) return []
  if (typeof content === 'string') return isBlank(content) ? [] : [{ type: 'text', text: content }]
  if (!Array.isArray(content)) throw refuse(path, 'must be a string or a list of parts')
  const blocks: Block[] = []
  for (const [index, part] of content.entries()) {
    const block = encodePart(part, `${path}[${index}]`)
    if (block !== null) blocks.push(block)
  }
  return blocks
}

export function isBlank(value: string): boolean {
  return value.trim() === ''
}

/** One part; null when it is blank. A kind this version does not know passes as it is: it may be one of the provider's own. */
function encodePart(part: unknown, path: string): Block | null {
  if (typeof part === 'string') return isBlank(part) ? null : { type: 'text', text: part }
  if (!isFields(part)) throw refuse(path, 'must be an object')
  const type = text(part['type'])
  switch (type) {
    case 'text':
    case 'input_text':
    case 'output_text': {
      const value = text(part['text'])
      return isBlank(value) ? null : marked({ type: 'text', text: value }, part, ['citations'])
    }
    case 'refusal': {
      const value = text(part['refusal'])
      return isBlank(value) ? null : { type: 'text', text: value }
    }
    case 'image_url':
      return marked(encodeImage(part['image_url'], path), part, [])
    case 'file':
      return marked(encodeFile(isFields(part['file']) ? part['file'] : {}, path), part, ['title', 'context', 'citations'])
    case '':
      throw refuse(path, 'has no type')
    default:
      if (UNSUPPORTED.has(type)) throw refuse(path, `is of type ${type}, which Anthropic does not support`)
      return part as Block
  }
}

/** The block with the part's cache mark (OpenAI's explicit breakpoint is one) and the named fields. */
function marked(block: Block, part: Fields, fields: string[]): Block {
  for (const field of fields) if (part[field] !== undefined && part[field] !== null) block[field] = part[field]
  const breakpoint = part['prompt_cache_breakpoint']
  if (isFields(part['cache_control'])) block['cache_control'] = part['cache_control']
  else if (isFields(breakpoint) && breakpoint['mode'] === 'explicit') block['cache_control'] = { type: 'ephemeral' }
  return block
}

function encodeImage(image: unknown, path: string): Block {
  const url = typeof image === 'string' ? image : isFields(image) ? text(image['url']) : ''
  const hint = isFields(image) ? text(image['format']) : ''
  if (url.startsWith('data:')) return fromData(dataUri(url, hint, `${path}.image_url.url`), null, path)
  if (!/^https?:\/\//i.test(url)) throw refuse(`${path}.image_url.url`, 'must be a data URI or an http(s) URL')
  const source = { type: 'url', url }
  return mediaType(hint) === 'application/pdf' ? { type: 'document', source } : { type: 'image', source }
}

function encodeFile(file: Fields, path: string): Block {
  const name = text(file['filename'])
  const hint = text(file['format']) || (entryOf(EXTENSIONS, name.slice(name.lastIndexOf('.') + 1).toLowerCase()) ?? '')
  const id = text(file['file_id']) || text(file['file_url'])
  const data = text(file['file_data'])
  if (data !== '') {
    const uri = data.startsWith('data:') ? data : `data:${hint || 'application/pdf'};base64,${data}`
    return fromData(dataUri(uri, text(file['format']), `${path}.file.file_data`), name, path)
  }
  if (id === '') throw refuse(`${path}.file`, 'needs file_data or file_id')
  const source = /^https?:\/\//i.test(id) ? { type: 'url', url: id } : { type: 'file', file_id: id }
  return mediaType(hint).startsWith('image/') ? { type: 'image', source } : titled({ type: 'document', source }, name)
}

interface Data {
  type: string
  base64: string
}

function fromData(data: Data, name: string | null, path: string): Block {
  if (data.type.startsWith('image/'))
    return { type: 'image', source: { type: 'base64', media_type: data.type, data: data.base64 } }
  if (data.type === 'application/pdf') {
    return titled({ type: 'document', source: { type: 'base64', media_type: data.type, data: data.base64 } }, name)
  }
  if (data.type.startsWith('text/') || TEXT_TYPES.has(data.type)) {
    const value = Buffer.from(data.base64, 'base64').toString('utf8')
    return titled({ type: 'document', source: { type: 'text', media_type: 'text/plain', data: value } }, name)
  }
  throw refuse(path, `holds ${data.type || 'data of no type'}, which Anthropic does not support`)
}

function titled(block: Block, name: string | null): Block {
  return name === null || name === '' ? block : { ...block, title: name }
}

/** Takes an RFC 2397 URI apart. `hint` names the media type when the URI does not, or names it wrongly. */
function dataUri(uri: string, hint: string, path: string): Data {
  const comma = uri.indexOf(',')
  if (comma < 0) throw refuse(path, 'is not a valid data URI')
  const head = uri.slice('data:'.length, comma)
  const type = mediaType(hint) || mediaType(head) || 'text/plain'
  const body = uri.slice(comma + 1)
  if (/;base64$/i.test(head)) return { type, base64: body }
  try {
    return { type, base64: Buffer.from(decodeURIComponent(body), 'utf8').toString('base64') }
  } catch (cause) {
    throw new GatewayError('bad_request', `${path} is not a valid data URI.`, { param: path, cause })
  }
}

/** `Image/JPG;charset=x` → `image/jpeg`. */
function mediaType(value: string): string {
  const type = (value.split(';')[0] ?? '').trim().toLowerCase()
  return type === 'image/jpg' ? 'image/jpeg' : type
}

function refuse(path: string, problem: string): GatewayError {
  return new GatewayError('bad_request', `litellm.BadRequestError: ${path} ${problem}.`, { param: path })
}
