import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Fields, isFields } from './wire.ts'

/** One answer that another project recorded, as the fixtures' README describes their forms. */
export interface Recording {
  file: string
  url: string
  /** The request body, where it was kept. */
  request: Fields | null
  status: number
  /** A whole answer as text, or a streamed one as bytes on the wire. */
  body: string | null
  stream: string | null
}

const FOLDER = new URL('../../../../shared/fixtures/', import.meta.url)

/** False where the recordings are not beside the checkout. In CI they must be. */
export function haveRecordings(): boolean {
  if (existsSync(FOLDER)) return true
  if (process.env['CI'] !== undefined) throw new Error('the recorded fixtures are missing')
  return false
}

/** Every answer of the protocol in the folders of AI Studio and Vertex. */
export function allRecordings(): Recording[] {
  return ['gemini', 'vertex'].flatMap((folder) =>
    readdirSync(fileURLToPath(new URL(`${folder}/`, FOLDER)))
      .filter((name) => name !== 'ORIGIN.md')
      .flatMap((name) => recordings(`${folder}/${name}`)),
  )
}

/** Generated answers among them, of status 200. */
export function chats(): Recording[] {
  // Of one only the headers were kept.
  return allRecordings().filter(({ url, status, body }) => /:(streamG|g)enerateContent/.test(url) && status < 400 && body !== '')
}

interface Exchange {
  request: { url: string; body: unknown }
  response: { status: number; body: unknown; stream?: string | null }
}

function recordings(file: string): Recording[] {
  const source = readFileSync(new URL(file, FOLDER), 'utf8')
  // Another protocol of Google's, or of Anthropic on Vertex.
  if (file.includes('interactions__') || file.includes('vertex-anthropic')) return []
  const generated = { file, url: ':generateContent', request: null, status: 200, body: null, stream: null }
  if (file.endsWith('.chunks.txt'))
    return [{ ...generated, stream: framed(source.split('\n').filter((line) => line.trim() !== '')) }]
  const data = JSON.parse(source) as Fields
  switch (data['format']) {
    case 'http-exchanges/1':
      return (data['exchanges'] as Exchange[]).map((exchange) => fromExchange(file, exchange))
    case 'sdk-parsed/1':
      return ['', 'followup_'].flatMap((turn) => {
        const request = isFields(data[`${turn}request`]) ? (data[`${turn}request`] as Fields) : null
        const whole = data[`${turn}response`]
        const events = data[`${turn}response_streaming`]
        const found: Recording[] = []
        if (isFields(whole)) found.push({ ...generated, request, body: JSON.stringify(whole) })
        if (Array.isArray(events))
          found.push({ ...generated, request, stream: framed(events.map((event) => JSON.stringify(event))) })
        return found
      })
    case undefined:
      if (isFields(data['error'])) return [{ ...generated, status: Number(data['error']['code']), body: source }]
      return Array.isArray(data['candidates']) ? [{ ...generated, body: source }] : []
    default:
      return []
  }
}

function fromExchange(file: string, { request, response }: Exchange): Recording {
  const source = typeof response.body === 'string' ? response.body : JSON.stringify(response.body)
  const streamed = response.stream === 'sse'
  return {
    file,
    url: request.url,
    request: isFields(request.body) ? request.body : null,
    status: response.status,
    body: streamed ? null : source,
    stream: streamed ? source : null,
  }
}

/** Events as the service frames them. */
export function framed(events: readonly string[]): string {
  return events.map((event) => `data: ${event}\r\n\r\n`).join('')
}
