import { entryOf } from '../../../shared/entry.ts'
import { GatewayError } from '../../../shared/errors.ts'
import { type Fields, isFields, text } from './wire.ts'

/** Formats by the subtype of a media type or the ending of a name, as the API calls them. */
const IMAGES: Readonly<Record<string, string>> = { png: 'png', jpeg: 'jpeg', jpg: 'jpeg', gif: 'gif', webp: 'webp' }
const DOCUMENTS: Readonly<Record<string, string>> = {
  pdf: 'pdf',
  csv: 'csv',
  doc: 'doc',
  msword: 'doc',
  docx: 'docx',
  'vnd.openxmlformats-officedocument.wordprocessingml.document': 'docx',
  xls: 'xls',
  'vnd.ms-excel': 'xls',
  xlsx: 'xlsx',
  'vnd.openxmlformats-officedocument.spreadsheetml.sheet': 'xlsx',
  html: 'html',
  txt: 'txt',
  plain: 'txt',
  md: 'md',
  markdown: 'md',
  // No format of their own, and text all the same.
  json: 'txt',
  xml: 'txt',
}
const VIDEOS: Readonly<Record<string, string>> = {
  mp4: 'mp4',
  mov: 'mov',
  quicktime: 'mov',
  mkv: 'mkv',
  'x-matroska': 'mkv',
  webm: 'webm',
  flv: 'flv',
  'x-flv': 'flv',
  mpeg: 'mpeg',
  mpg: 'mpg',
  wmv: 'wmv',
  'x-ms-wmv': 'wmv',
  '3gpp': 'three_gp',
}

/** Stands where the API demands text and the client has none; it refuses blank text. */
export const PLACEHOLDER = '.'

/** What the encoder of a whole request keeps between its parts. */
export interface ContentContext {
  /** Names of documents, which must differ. */
  documents: Set<string>
  /** The model takes cache points in messages. */
  caches: boolean
}

/**
 * Content of a message as blocks, without blank text, a cache point after each block that asks for one. `path` names the content in errors:
 * `messages[2].content`. Throws `bad_request` for what cannot be carried.
 */
export function encodeContent(content: unknown, path: string, context: ContentContext): Fields[] {
  if (content === null || content === undefined) return []
  if (typeof content === 'string') return isBlank(content) ? [] : [{ text: content }]
  if (!Array.isArray(content)) throw refuse(path, 'must be a string or a list of parts')
  const blocks: Fields[] = []
  for (const [index, part] of (content as unknown[]).entries()) {
    const block = encodePart(part, `${path}[${index}]`, context)
    if (block === null) continue
    blocks.push(block)
    if (isFields(part)) blocks.push(...cachePoint(part['cache_control'], context.caches))
  }
  return blocks
}

export function isBlank(value: string): boolean {
  return value.trim() === ''
}

/** The block that stands after what is to be cached; none where nothing asks for it or the model has no cache. */
export function cachePoint(control: unknown, caches: boolean): Fields[] {
  if (!caches || !isFields(control)) return []
  const ttl = control['ttl'] === '1h' ? { ttl: '1h' } : {}
  return [{ cachePoint: { type: 'default', ...ttl } }]
}

function encodePart(part: unknown, path: string, context: ContentContext): Fields | null {
  if (typeof part === 'string') return isBlank(part) ? null : { text: part }
  if (!isFields(part)) throw refuse(path, 'must be an object')
  switch (part['type']) {
    case 'text':
    case 'input_text':
    case 'output_text': {
      const value = text(part['text'])
      return isBlank(value) ? null : { text: value }
    }
    case 'refusal': {
      const value = text(part['refusal'])
      return isBlank(value) ? null : { text: value }
    }
    case 'guarded_text':
      return { guardContent: { text: { text: text(part['text']) } } }
    case 'image_url': {
      const image = part['image_url']
      const url = isFields(image) ? text(image['url']) : text(image)
      const hint = isFields(image) ? text(image['format']) : ''
      return media({ url, hint, name: '' }, `${path}.image_url.url`, context)
    }
    case 'video_url': {
      const video = part['video_url']
      return media(
        { url: isFields(video) ? text(video['url']) : text(video), hint: '', name: '' },
        `${path}.video_url.url`,
        context,
      )
    }
    case 'input_audio': {
      const audio = isFields(part['input_audio']) ? part['input_audio'] : {}
      return { audio: { format: text(audio['format'], 'wav'), source: { bytes: text(audio['data']) } } }
    }
    case 'file':
      return encodeFile(isFields(part['file']) ? part['file'] : {}, path, context)
    case undefined:
      // One of the API's own blocks: guardContent, searchResult, a video in S3.
      if (Object.keys(part).length > 0) return withoutMark(part)
      throw refuse(path, 'has no type')
    default:
      throw refuse(path, `is of type ${text(part['type'])}, which Bedrock does not support`)
  }
}

function withoutMark({ cache_control: _, ...block }: Fields): Fields {
  return block
}

function encodeFile(file: Fields, path: string, context: ContentContext): Fields {
  const name = text(file['filename'])
  const hint = text(file['format'])
  const data = text(file['file_data'])
  const id = text(file['file_id']) || text(file['file_url'])
  if (data === '' && id === '') throw refuse(`${path}.file`, 'needs file_data')
  if (data === '') return media({ url: id, hint, name }, `${path}.file.file_id`, context)
  const url = data.startsWith('data:') ? data : `data:${hint};base64,${data}`
  return media({ url, hint, name }, `${path}.file.file_data`, context)
}

interface Source {
  url: string
  /** Media type the client names; empty = none. */
  hint: string
  name: string
}

/** A data URI or an object in S3 as the block of its kind. Bedrock fetches nothing from the web, and this adapter neither. */
function media({ url, hint, name }: Source, path: string, context: ContentContext): Fields {
  const data = url.startsWith('data:') ? dataUri(url, path) : null
  if (data === null && !url.startsWith('s3://'))
    throw refuse(path, 'must be a data URI or an s3:// URI: Bedrock fetches no other')
  const source = data === null ? { s3Location: { uri: url } } : { bytes: data.base64 }
  const type = (hint || data?.type || '').split(';')[0]?.trim().toLowerCase() ?? ''
  const kind = (type.includes('/') ? type.slice(type.indexOf('/') + 1) : type) || ending(name) || ending(url)
  const image = entryOf(IMAGES, kind)
  if (image !== undefined) return { image: { format: image, source } }
  const video = entryOf(VIDEOS, kind)
  if (video !== undefined) return { video: { format: video, source } }
  const format = entryOf(DOCUMENTS, kind) ?? (type.startsWith('text/') ? 'txt' : undefined)
  if (format === undefined) throw refuse(path, `holds ${type || 'data of no type'}, which Bedrock does not support`)
  return { document: { format, name: documentName(name, context.documents), source } }
}

/** Letters, digits, single spaces, hyphens, parentheses and brackets are all a name may hold; no two of a request may be the same. */
function documentName(given: string, taken: Set<string>): string {
  const stem = given.replace(/\.[a-z0-9]{1,5}$/i, '')
  const clean = stem
    .replace(/[^a-zA-Z0-9\s\-()[\]]/g, '-')
    .replace(/\s+/g, ' ')
    .trim()
    .slice(0, 190)
  const base = clean === '' ? 'document' : clean
  let name = base
  for (let number = 2; taken.has(name); number += 1) name = `${base} ${number}`
  taken.add(name)
  return name
}

function ending(name: string): string {
  return /\.([a-z0-9]{1,5})$/i.exec(name)?.[1]?.toLowerCase() ?? ''
}

/** Takes an RFC 2397 URI apart. */
function dataUri(uri: string, path: string): { type: string; base64: string } {
  const comma = uri.indexOf(',')
  if (comma < 0) throw refuse(path, 'is not a valid data URI')
  const head = uri.slice('data:'.length, comma)
  const type = (head.split(';')[0] ?? '').trim()
  const body = uri.slice(comma + 1)
  if (/;base64$/i.test(head)) return { type, base64: body }
  try {
    return { type, base64: Buffer.from(decodeURIComponent(body), 'utf8').toString('base64') }
  } catch (cause) {
    throw new GatewayError('bad_request', `litellm.BadRequestError: ${path} is not a valid data URI.`, { param: path, cause })
  }
}

export function refuse(path: string, problem: string): GatewayError {
  return new GatewayError('bad_request', `litellm.BadRequestError: ${path} ${problem}.`, { param: path })
}
