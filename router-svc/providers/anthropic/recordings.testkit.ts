import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { isFields } from './wire.ts'

/** Answers that other projects recorded against the real service, as the fixtures' README describes their forms. */
export interface Recording {
  file: string
  /** The request body, where it was kept. */
  request: Record<string, unknown> | null
  status: number
  /** A whole answer as text, or the events of a streamed one as bytes on the wire. */
  body: string | null
  stream: string | null
}

/** One entry of ORIGIN.md. */
export interface Entry {
  files: string[]
  /** `messages — tool call; finish: tool_use [model]`. */
  shows: string
}

const FOLDER = new URL('../../../../shared/fixtures/', import.meta.url)

/** False where the recordings are not beside the checkout. In CI they must be. */
export function haveRecordings(): boolean {
  if (existsSync(FOLDER)) return true
  if (process.env['CI'] !== undefined) throw new Error('the recorded fixtures are missing')
  return false
}

export function entries(provider: string): Entry[] {
  const found: Entry[] = []
  for (const line of readFileSync(new URL(`${provider}/ORIGIN.md`, FOLDER), 'utf8').split('\n')) {
    if (line.startsWith('- '))
      found.push({ files: [...line.matchAll(/`([^`]+)`/g)].map((match) => match[1] as string), shows: '' })
    const shows = /Shows: (.*?)\. Provenance:/.exec(line)
    const last = found.at(-1)
    if (shows !== null && last !== undefined) last.shows = shows[1] as string
  }
  return found
}

export function fileNames(provider: string): string[] {
  return readdirSync(fileURLToPath(new URL(`${provider}/`, FOLDER))).filter(
    (name) => name.endsWith('.json') || name.endsWith('.txt'),
  )
}

/** Every answer of `POST /v1/messages` in a file; `others` also takes the ones of other routes. */
export function recordings(provider: string, file: string, others = false): Recording[] {
  const source = readFileSync(new URL(`${provider}/${file}`, FOLDER), 'utf8')
  if (file.endsWith('.chunks.txt')) {
    return messages(source).map((events) => ({ file, request: null, status: 200, body: null, stream: framed(events) }))
  }
  const data = JSON.parse(source) as Record<string, unknown>
  if (data['format'] === undefined) return [{ file, request: null, status: 200, body: source, stream: null }]
  if (data['format'] === 'http-exchanges/1') return exchanges(file, data['exchanges'] as Exchange[], others)
  return data['format'] === 'translation-pair/1' ? translated(file, data) : parsed(file, data)
}

/** Some lists hold the answers of a whole tool loop, one after the other. */
function messages(source: string): object[][] {
  const lists: object[][] = []
  for (const line of source.split('\n')) {
    if (line.trim() === '') continue
    const event = JSON.parse(line) as { type: string }
    if (event.type === 'message_start') lists.push([])
    lists.at(-1)?.push(event)
  }
  return lists
}

interface Exchange {
  request: { url: string; method: string; body: unknown }
  response: { status: number; body: unknown; stream?: string | null }
}

function exchanges(file: string, list: Exchange[], others: boolean): Recording[] {
  const found: Recording[] = []
  for (const { request, response } of list) {
    if (!others && !/api\.anthropic\.com\/v1\/messages(\?|$)/.test(request.url)) continue
    const text = typeof response.body === 'string' ? response.body : JSON.stringify(response.body)
    const streamed = response.stream === 'sse'
    found.push({
      file,
      request: isFields(request.body) ? request.body : null,
      status: response.status,
      body: streamed ? null : text,
      stream: streamed ? text : null,
    })
  }
  return found
}

function parsed(file: string, data: Record<string, unknown>): Recording[] {
  const found: Recording[] = []
  for (const turn of ['', 'followup_']) {
    const request = isFields(data[`${turn}request`]) ? (data[`${turn}request`] as Record<string, unknown>) : null
    const whole = data[`${turn}response`]
    const events = data[`${turn}response_streaming`]
    if (isFields(whole)) found.push({ file, request, status: 200, body: JSON.stringify(whole), stream: null })
    if (Array.isArray(events)) found.push({ file, request, status: 200, body: null, stream: framed(events as object[]) })
  }
  return found
}

function translated(file: string, data: Record<string, unknown>): Recording[] {
  const provider = String(data['provider_format'])
  if (!provider.endsWith('anthropic')) return []
  const request = data['client_format'] === 'chat-completions' ? (data['client_request'] as Record<string, unknown>) : null
  const reply = data['provider_response'] ?? data['provider_response_streaming']
  const list = Array.isArray(reply) ? (reply as Record<string, unknown>[]) : [reply as Record<string, unknown>]
  const first = list[0] ?? {}
  // The host on Vertex answered some of the "streams" with one whole message, or an error.
  if (first['type'] === 'message')
    return list.map((body) => ({ file, request, status: 200, body: JSON.stringify(body), stream: null }))
  return Array.isArray(reply) ? [{ file, request, status: 200, body: null, stream: framed(list) }] : []
}

/** Events as the service frames them. */
export function framed(events: readonly object[]): string {
  return events.map((event) => `event: ${(event as { type: string }).type}\ndata: ${JSON.stringify(event)}\n\n`).join('')
}
