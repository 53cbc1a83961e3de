import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { awsEvent } from '../../router-svc/aws-event-stream.testkit.ts'
import { type Fields, isFields } from '../../router-svc/providers/json.ts'

const FOLDER = new URL('../../../shared/fixtures/', import.meta.url)

/** False where the recordings are not beside the checkout. In CI they must be. */
export function haveRecordings(): boolean {
  if (existsSync(FOLDER)) return true
  if (process.env['CI'] !== undefined) throw new Error('the recorded fixtures are missing')
  return false
}

/** One answer that somebody recorded, whatever the form of its file (README of the fixtures). */
export interface Recorded {
  folder: string
  file: string
  /** Which of the file's answers. */
  index: number
  method: string
  /** Without its parameters; empty where it was not kept. */
  url: string
  /** The body of the request, read as JSON; null where it is none or was not kept. */
  request: Fields | null
  /** Of a form: its fields, files without their bytes. */
  form?: { name: string; value?: string; filename?: string; content_type?: string }[]
  status: number
  /** Names lower case. */
  headers: Record<string, string>
  body: Uint8Array
  /** What `body` is cut into; null = a whole answer. */
  stream: 'sse' | 'lines' | 'aws' | null
  /** What was asked in OpenAI's words, where the recorded answer is to a translation of it. */
  client?: Fields
  /** The same before it was put into frames of another kind. */
  inner?: Recorded
}

export function folders(): string[] {
  return readdirSync(fileURLToPath(FOLDER)).filter((name) => existsSync(new URL(`${name}/ORIGIN.md`, FOLDER)))
}

export function filesOf(folder: string): string[] {
  return readdirSync(fileURLToPath(new URL(`${folder}/`, FOLDER))).filter((name) => name !== 'ORIGIN.md')
}

export function sourceOf(folder: string, file: string): string {
  return readFileSync(new URL(`${folder}/${file}`, FOLDER), 'utf8')
}

/** Every answer in a file, those of endpoints we do not know among them. Throws on a form the README does not name. */
export function answersOf(folder: string, file: string): Recorded[] {
  return read(folder, file).map((answer, index) => ({ ...EMPTY, folder, file, ...answer, index }))
}

type Answer = Partial<Omit<Recorded, 'folder' | 'file' | 'index'>>
const EMPTY = { method: '', url: '', request: null, status: 200, headers: {}, body: new Uint8Array(), stream: null }

function read(folder: string, file: string): Answer[] {
  const source = sourceOf(folder, file)
  if (file.endsWith('.chunks.txt')) {
    const events = source.split('\n').filter((line) => line.trim() !== '')
    return turnsOf(events.map((line) => JSON.parse(line) as Fields)).map((turn) => streamed(folder, turn))
  }
  const data = JSON.parse(source) as Fields
  if (!isFields(data) || data['format'] === undefined) return [bare(data)]
  switch (data['format']) {
    case 'http-exchanges/1':
      return (data['exchanges'] as Exchange[]).map(exchanged)
    case 'sdk-parsed/1':
      return typeof (data['request'] as Fields)['url'] === 'string' ? [ofLlamaStack(folder, data)] : ofLingua(folder, data)
    case 'translation-pair/1':
      return translated(folder, data)
    case 'websocket-frames/1':
      return []
    default:
      throw new Error(`${folder}/${file} has a form nobody described: ${String(data['format'])}`)
  }
}

interface Exchange {
  request: { method: string; url: string; body: unknown; body_encoding: string }
  response: {
    status: number
    headers: Record<string, string[]>
    body: unknown
    body_encoding: string
    stream?: string | null
  }
}

const STREAMS: Readonly<Record<string, Recorded['stream']>> = { sse: 'sse', ndjson: 'lines', 'aws-eventstream': 'aws' }

function exchanged({ request, response }: Exchange): Answer {
  const { body, body_encoding: encoding } = response
  return {
    method: request.method,
    url: (request.url.split('?')[0] as string).replace(/#.*$/, ''),
    request: requestOf(request.body),
    ...(request.body_encoding === 'multipart-parts' ? { form: request.body as NonNullable<Recorded['form']> } : {}),
    status: response.status,
    headers: Object.fromEntries(Object.entries(response.headers).map(([name, values]) => [name, values.join(', ')])),
    body:
      typeof body === 'string' ? Buffer.from(body, encoding === 'base64' ? 'base64' : 'utf8') : Buffer.from(JSON.stringify(body)),
    stream: STREAMS[response.stream ?? ''] ?? null,
  }
}

function requestOf(body: unknown): Fields | null {
  if (isFields(body)) return body
  if (typeof body !== 'string' || !body.startsWith('{')) return null
  try {
    return JSON.parse(body) as Fields
  } catch {
    // Lines of JSON, as batches are.
    return null
  }
}

/** One call under `request`, `response`; what a call failed with is beside it. */
function ofLlamaStack(folder: string, data: Fields): Answer {
  const request = data['request'] as { method: string; url: string; body: Fields }
  const response = data['response'] as {
    is_exception?: boolean | null
    is_streaming: boolean
    body: unknown
    exception?: { status?: number; exception_data?: { status_code: number; body: unknown } }
  }
  const asked = { method: request.method, url: request.url, request: request.body }
  if (response.is_exception === true) {
    const refused = response.exception?.exception_data
    return { ...asked, ...whole(refused?.body), status: refused?.status_code ?? 500 }
  }
  if (!response.is_streaming) return { ...asked, ...whole(response.body), status: response.exception?.status ?? 200 }
  const events = response.body as (Fields | string)[]
  // Lines as they came.
  if (typeof events[0] === 'string') return { ...asked, stream: 'sse', body: Buffer.from(`${events.join('\n')}\n\n`) }
  return { ...asked, ...streamed(folder, events as Fields[]) }
}

/** A question and the one after it, each asked whole and as a stream. */
function ofLingua(folder: string, data: Fields): Answer[] {
  const found: Answer[] = []
  for (const turn of ['', 'followup_']) {
    const request = isFields(data[`${turn}request`]) ? (data[`${turn}request`] as Fields) : null
    const answer = data[`${turn}response`]
    const events = data[`${turn}response_streaming`]
    if (answer !== undefined) found.push({ request, ...whole(answer) })
    if (Array.isArray(events)) found.push({ request, ...streamed(folder, events as Fields[]) })
  }
  if (isFields(data['error'])) found.push({ request: data['request'] as Fields, ...failure(String(data['error']['error'])) })
  return found
}

function translated(folder: string, data: Fields): Answer[] {
  // What the client asked; what was made of it was not kept.
  const client = data['client_format'] === 'chat-completions' ? { client: data['client_request'] as Fields } : {}
  return translatedAnswer(folder, data).map((answer) => ({ ...answer, ...client }))
}

function translatedAnswer(folder: string, data: Fields): Answer[] {
  const reply = data['provider_response'] ?? data['provider_response_streaming']
  const list = (Array.isArray(reply) ? reply : [reply]) as Fields[]
  const [first] = list
  if (first !== undefined && typeof first['error'] === 'string') return [failure(first['error'])]
  return [Array.isArray(reply) ? streamed(folder, list) : whole(reply)]
}

/** An SDK's words for a refusal: `Error: 400 …`, around the body or its message alone. */
function failure(text: string): Answer {
  const [, status = '400', rest = text] = /(?:^|\b)(4\d\d|5\d\d) (.*)$/s.exec(text) ?? []
  return {
    ...whole(rest.startsWith('{') ? JSON.parse(rest) : { error: { message: rest }, message: rest }),
    status: Number(status),
  }
}

function whole(body: unknown): Answer {
  return { body: Buffer.from(JSON.stringify(body)), headers: { 'content-type': 'application/json' } }
}

/** A body alone: that of a refusal says so itself. */
function bare(data: Fields): Answer {
  const { status, headers, body } = isFields(data) ? data : {}
  if (typeof status === 'number' && typeof body === 'string')
    return { status, headers: headers as Record<string, string>, body: Buffer.from(body) }
  const error = isFields(data) ? data['error'] : null
  if (!isFields(error)) return whole(data)
  return { ...whole(data), status: typeof error['code'] === 'number' ? error['code'] : 400 }
}

/** Where a list holds the answers of a whole tool loop, one after the other. */
function turnsOf(events: Fields[]): Fields[][] {
  const turns: Fields[][] = []
  for (const event of events) {
    const begins = event['type'] === 'message_start' || event['type'] === 'response.created'
    if (begins || turns.length === 0) turns.push([])
    turns.at(-1)?.push(event)
  }
  return turns
}

/** Framed as a service of that protocol frames them; what events those are shows in the first. */
function streamed(folder: string, events: Fields[]): Answer {
  const [first = {}] = events
  // Claude on Vertex answered some of the "streams" with one whole message.
  if (first['type'] === 'message') return whole(first)
  if (folder === 'bedrock' && first['type'] === 'message_start') {
    // InvokeModel's frames hold the events of the model's maker.
    const bytes = (event: Fields) => Buffer.from(JSON.stringify(event)).toString('base64')
    return { stream: 'aws', body: Buffer.concat(events.map((event) => awsEvent('chunk', { bytes: bytes(event) }))) }
  }
  if (AWS.some((name) => isFields(first[name]))) {
    const frames = events.flatMap((event) => Object.entries(event).map(([name, payload]) => awsEvent(name, payload)))
    return { stream: 'aws', body: Buffer.concat(frames), headers: { 'content-type': 'application/vnd.amazon.eventstream' } }
  }
  const lines = events.map((event) => JSON.stringify(event))
  if (first['done'] !== undefined) {
    const text = lines.map((line) => `${line}\n`).join('')
    return { stream: 'lines', body: Buffer.from(text), headers: { 'content-type': 'application/x-ndjson' } }
  }
  const text = lines.map((line, at) => `${nameOf(events[at] as Fields)}data: ${line}\n\n`).join('')
  const end = first['choices'] === undefined ? '' : 'data: [DONE]\n\n'
  return { stream: 'sse', body: Buffer.from(text + end), headers: { 'content-type': 'text/event-stream' } }
}

const AWS = ['messageStart', 'contentBlockStart', 'contentBlockDelta']

function nameOf(event: Fields): string {
  return typeof event['type'] === 'string' ? `event: ${event['type']}\n` : ''
}
