import { entryOf } from '../../../shared/entry.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { ContentPart } from '../../canonical/chat.ts'
import { type Fields, isFields, type Part, text } from './wire.ts'

const EXTENSIONS: Readonly<Record<string, string>> = {
  pdf: 'application/pdf',
  txt: 'text/plain',
  md: 'text/markdown',
  csv: 'text/csv',
  html: 'text/html',
  json: 'application/json',
  xml: 'text/xml',
  png: 'image/png',
  jpg: 'image/jpeg',
  jpeg: 'image/jpeg',
  gif: 'image/gif',
  webp: 'image/webp',
  heic: 'image/heic',
  mp3: 'audio/mp3',
  wav: 'audio/wav',
  ogg: 'audio/ogg',
  flac: 'audio/flac',
  aac: 'audio/aac',
  m4a: 'audio/m4a',
  mp4: 'video/mp4',
  mov: 'video/quicktime',
  mpeg: 'video/mpeg',
  webm: 'video/webm',
  '3gp': 'video/3gpp',
}

const YOUTUBE = /^https?:\/\/(www\.)?(youtube\.com|youtu\.be)\//i

/**
 * Content of a message as parts, without empty text (the API refuses it). `path` names the content in errors: `messages[2].content`.
 * Throws `bad_request` for what cannot be carried.
 */
export function encodeContent(content: string | ContentPart[] | null | undefined, path: string): Part[] {
  if (content === null || content === undefined) return []
  if (typeof content === 'string') return content === '' ? [] : [{ text: content }]
  if (!Array.isArray(content)) throw refuse(path, 'must be a string or a list of parts')
  const parts: Part[] = []
  for (const [index, given] of content.entries()) {
    const part = encodePart(given, `${path}[${index}]`)
    if (part !== null) parts.push(part)
  }
  return parts
}

function encodePart(part: unknown, path: string): Part | null {
  if (typeof part === 'string') return part === '' ? null : { text: part }
  if (!isFields(part)) throw refuse(path, 'must be an object')
  const type = text(part['type'])
  switch (type) {
    case 'text':
    case 'input_text':
    case 'output_text':
    case 'refusal': {
      const value = text(part['text']) || text(part['refusal'])
      return value === '' ? null : { text: value }
    }
    case 'image_url':
      return encodeUrl(part['image_url'], 'image/jpeg', `${path}.image_url`)
    case 'video_url':
      return withVideo(encodeUrl(part['video_url'], 'video/mp4', `${path}.video_url`), part['video_url'])
    case 'audio_url':
      return encodeUrl(part['audio_url'], 'audio/mp3', `${path}.audio_url`)
    case 'input_audio': {
      const audio = isFields(part['input_audio']) ? part['input_audio'] : {}
      const format = text(audio['format'], 'wav')
      const type = format.includes('/') ? format : (entryOf(EXTENSIONS, format) ?? `audio/${format}`)
      return fromData(text(audio['data']), type, '', `${path}.input_audio.data`)
    }
    case 'file':
      return encodeFile(isFields(part['file']) ? part['file'] : {}, path)
    // A part of this protocol's own client that no other has a word for.
    case 'gemini':
      return isFields(part['part']) ? part['part'] : null
    case 'thinking':
    case 'redacted_thinking':
      return null
    default:
      throw refuse(path, type === '' ? 'has no type' : `is of type ${type}, which Gemini does not support`)
  }
}

function encodeUrl(given: unknown, otherwise: string, path: string): Part {
  const url = typeof given === 'string' ? given : isFields(given) ? text(given['url']) : ''
  const hint = isFields(given) ? text(given['format']) : ''
  if (url.startsWith('data:')) return fromData(url, hint, otherwise, path)
  return fileData(url, hint, otherwise, path)
}

/** LiteLLM's `video_metadata`: which seconds of a video, at how many pictures a second. */
function withVideo(part: Part, given: unknown): Part {
  const metadata = isFields(given) ? given['video_metadata'] : undefined
  return isFields(metadata) ? { ...part, videoMetadata: metadata } : part
}

function encodeFile(file: Fields, path: string): Part {
  const hint = text(file['format']) || extensionOf(text(file['filename']))
  const data = text(file['file_data'])
  const part =
    data === ''
      ? fileData(text(file['file_id']) || text(file['file_url']), hint, 'application/pdf', `${path}.file`)
      : /^(https?|gs):\/\//i.test(data)
        ? fileData(data, hint, 'application/pdf', `${path}.file.file_data`)
        : fromData(data, hint, 'application/pdf', `${path}.file.file_data`)
  return withVideo(part, file)
}

/** Something the service fetches itself: its own Files API, Cloud Storage, YouTube, any URL. */
function fileData(uri: string, hint: string, otherwise: string, path: string): Part {
  if (uri === '') throw refuse(path, 'needs data or a URL')
  if (!/^(https?|gs):\/\//i.test(uri)) throw refuse(path, 'must be a data URI, an http(s) URL or a gs:// URI')
  if (YOUTUBE.test(uri)) return { fileData: { fileUri: uri, mimeType: hint || 'video/mp4' } }
  const type = mediaType(hint) || extensionOf(uri.replace(/[?#].*$/, ''))
  // Files of its own API have their type already.
  if (type === '' && uri.includes('generativelanguage.googleapis.com/')) return { fileData: { fileUri: uri } }
  return { fileData: { mimeType: type || otherwise, fileUri: uri } }
}

/** Takes an RFC 2397 URI, or bare base64, as inline data. `hint` names the media type when the URI does not, or names it wrongly. */
function fromData(data: string, hint: string, otherwise: string, path: string): Part {
  if (data === '') throw refuse(path, 'is empty')
  if (!data.startsWith('data:')) return inline(mediaType(hint) || otherwise, data)
  const comma = data.indexOf(',')
  if (comma < 0) throw refuse(path, 'is not a valid data URI')
  const head = data.slice('data:'.length, comma)
  const type = mediaType(hint) || mediaType(head) || otherwise
  const body = data.slice(comma + 1)
  if (/;base64$/i.test(head)) return inline(type, body)
  try {
    return inline(type, Buffer.from(decodeURIComponent(body), 'utf8').toString('base64'))
  } catch (cause) {
    throw new GatewayError('bad_request', `${path} is not a valid data URI.`, { param: path, cause })
  }
}

function inline(mimeType: string, data: string): Part {
  return { inlineData: { mimeType, data } }
}

function extensionOf(name: string): string {
  return entryOf(EXTENSIONS, name.slice(name.lastIndexOf('.') + 1).toLowerCase()) ?? ''
}

/** `Image/JPG;charset=x` → `image/jpeg`. */
function mediaType(value: string): string {
  const type = (value.split(';')[0] ?? '').trim().toLowerCase()
  return type === 'image/jpg' ? 'image/jpeg' : type
}

function refuse(path: string, problem: string): GatewayError {
  return new GatewayError('bad_request', `litellm.BadRequestError: ${path} ${problem}.`, { param: path })
}
