import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { type Fields, isFields } from '../json.ts'

/** One answer of `POST …/responses` that other projects recorded, in a form the fixtures' README describes. */
export interface Recording {
  /** `folder/file`, and which of its answers. */
  name: string
  url: string | null
  request: Fields | null
  /** What a client of chat had asked, where the recording is of a translation. */
  chat: Fields | null
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

/** Every one there is, of whichever provider. */
export function allRecordings(): Recording[] {
  if (!haveRecordings()) return []
  const found: Recording[] = []
  for (const folder of readdirSync(fileURLToPath(FOLDER)).filter((name) => existsSync(new URL(`${name}/ORIGIN.md`, FOLDER)))) {
    for (const file of readdirSync(fileURLToPath(new URL(`${folder}/`, FOLDER)))) {
      if (!/\.(?:json|chunks\.txt)$/.test(file)) continue
      const source = readFileSync(new URL(`${folder}/${file}`, FOLDER), 'utf8')
      const answers = folder === 'openai-responses' || source.includes('responses') ? read(folder, file, source) : []
      for (const [index, answer] of answers.entries()) found.push({ ...answer, name: `${folder}/${file} ${index}` })
    }
  }
  return found
}

type Answer = Omit<Recording, 'name'>
const EMPTY: Answer = { url: null, request: null, chat: null, status: 200, body: null, stream: null }

function read(folder: string, file: string, source: string): Answer[] {
  if (file.endsWith('.chunks.txt')) {
    if (folder !== 'openai-responses') return []
    // A list may hold the answers of a whole tool loop, one after the other.
    const streams: Fields[][] = []
    for (const line of source.split('\n').filter((one) => one.trim() !== '')) {
      const event = JSON.parse(line) as Fields
      if (event['type'] === 'response.created') streams.push([])
      streams.at(-1)?.push(event)
    }
    return streams.map((events) => ({ ...EMPTY, stream: framed(events) }))
  }
  const data = JSON.parse(source) as Fields
  switch (data['format']) {
    case undefined:
      return folder === 'openai-responses' ? [{ ...EMPTY, body: source }] : []
    case 'http-exchanges/1':
      return (data['exchanges'] as Exchange[]).flatMap(exchange)
    case 'translation-pair/1':
      return translated(data)
    case 'sdk-parsed/1':
      return file.includes('.responses.') ? parsed(data) : []
    default:
      return []
  }
}

interface Exchange {
  request: { url: string; method: string; body: unknown }
  response: { status: number; body: unknown; stream?: string | null }
}

function exchange({ request, response }: Exchange): Answer[] {
  const url = request.url.split('?')[0] as string
  if (request.method !== 'POST' || !url.endsWith('/responses') || !isFields(request.body)) return []
  const text = typeof response.body === 'string' ? response.body : JSON.stringify(response.body)
  const streamed = response.stream === 'sse'
  const given = { url, request: request.body, status: response.status }
  return [{ ...EMPTY, ...given, body: streamed ? null : text, stream: streamed ? text : null }]
}

function translated(data: Fields): Answer[] {
  if (data['provider_format'] !== 'responses') return []
  const chat = data['client_format'] === 'chat-completions' ? (data['client_request'] as Fields) : null
  const whole = data['provider_response']
  const events = data['provider_response_streaming']
  const found: Answer[] = []
  if (isFields(whole)) found.push({ ...EMPTY, chat, body: JSON.stringify(whole) })
  if (Array.isArray(events)) found.push({ ...EMPTY, chat, stream: framed(events as Fields[]) })
  return found
}

function parsed(data: Fields): Answer[] {
  const found: Answer[] = []
  for (const turn of ['', 'followup_']) {
    const request = isFields(data[`${turn}request`]) ? (data[`${turn}request`] as Fields) : null
    const whole = data[`${turn}response`]
    const events = data[`${turn}response_streaming`]
    if (isFields(whole)) found.push({ ...EMPTY, request, body: JSON.stringify(whole) })
    if (Array.isArray(events)) found.push({ ...EMPTY, request, stream: framed(events as Fields[]) })
  }
  return found
}

/** Events as the service frames them. */
export function framed(events: readonly Fields[]): string {
  return events.map((event) => `event: ${String(event['type'])}\ndata: ${JSON.stringify(event)}\n\n`).join('')
}
