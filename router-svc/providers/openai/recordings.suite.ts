import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Mode } from '../../../proto/endpoints.ts'
import { isFields } from '../json.ts'

/** One answer that another project recorded, in a form the fixtures' README describes. */
export interface Recording {
  file: string
  mode: Mode
  status: number
  request: Record<string, unknown>
  /** A whole answer as text, or a streamed one as bytes on the wire. */
  body: string | null
  stream: string | null
  /** The recorder's framing was kept: terminator and comments are the provider's own. */
  framed: boolean
}

/** One entry of ORIGIN.md: what its files show, as `chat ×2 — tool call; finish: stop [model]`. */
export interface Entry {
  files: string[]
  mode: Mode | null
  count: number
  shows: string[]
  /** Canonical finish reasons, sorted. */
  finish: string[]
}

const FOLDER = new URL('../../../../shared/fixtures/', import.meta.url)

/** False where the recordings are not beside the checkout. In CI they must be. */
export function haveRecordings(): boolean {
  if (existsSync(FOLDER)) return true
  if (process.env['CI'] !== undefined) throw new Error('the recorded fixtures are missing')
  return false
}

const MODES: Readonly<Record<string, Mode>> = { chat: 'chat', completions: 'completion', embeddings: 'embedding' }
/** ORIGIN.md says what the provider said; the decoder says it in OpenAI's words. */
const FINISH: Readonly<Record<string, string>> = { eos: 'stop' }

export function entries(provider: string): Entry[] {
  const found: Entry[] = []
  for (const line of readFileSync(new URL(`${provider}/ORIGIN.md`, FOLDER), 'utf8').split('\n')) {
    if (line.startsWith('- ')) {
      const files = [...line.matchAll(/`([^`]+)`/g)].map((match) => match[1] as string)
      found.push({ files, mode: null, count: 1, shows: [], finish: [] })
    }
    const shows = /Shows: (\S+)(?: ×(\d+))?(?: — (.*?))?(?: \[[^\]]*\])?\. Provenance:/.exec(line)
    const last = found.at(-1)
    if (shows === null || last === undefined) continue
    last.mode = MODES[shows[1] as string] ?? null
    last.count = Number(shows[2] ?? 1)
    last.shows = (shows[3] ?? '').split('; ')
    const finish = last.shows.find((text) => text.startsWith('finish: '))
    last.finish = (finish?.slice('finish: '.length).split(', ') ?? []).map((reason) => FINISH[reason] ?? reason).sort()
  }
  return found
}

/** Every file of a provider's folder; those no entry names would never be looked at. */
export function fileNames(provider: string): string[] {
  return readdirSync(fileURLToPath(new URL(`${provider}/`, FOLDER))).filter((name) => name !== 'ORIGIN.md')
}

/** The answers in a file that came from an endpoint of the OpenAI protocol. */
export function recordings(provider: string, file: string, mode: Mode): Recording[] {
  const source = readFileSync(new URL(`${provider}/${file}`, FOLDER), 'utf8')
  const base = { file, mode, status: 200, request: {}, body: null, stream: null, framed: false }
  if (file.endsWith('.chunks.txt')) return [{ ...base, stream: framed(source.split('\n').filter((line) => line !== '')) }]
  const data = JSON.parse(source) as Record<string, unknown>
  switch (data['format']) {
    case 'http-exchanges/1':
      return exchanges(base, data['exchanges'] as Exchange[])
    case 'sdk-parsed/1':
      return parsed(base, data)
    case undefined:
      return [{ ...base, body: source, status: isFields(data['error']) ? 400 : 200 }]
    default:
      return []
  }
}

interface Exchange {
  request: { url: string; body: unknown; body_encoding: string }
  response: { status: number; body: unknown; body_encoding: string; stream?: string }
}

/** Ollama's native `/api/embeddings` is another protocol. */
const ROUTE = /(?<!\/api)\/(chat\/completions|completions|embeddings)$/
const ROUTE_MODES: Readonly<Record<string, Mode>> = {
  'chat/completions': 'chat',
  completions: 'completion',
  embeddings: 'embedding',
}

function exchanges(base: Recording, list: Exchange[]): Recording[] {
  const found: Recording[] = []
  for (const { request, response } of list) {
    const route = ROUTE.exec(request.url.split('?')[0] as string)?.[1]
    if (route === undefined || ROUTE_MODES[route] !== base.mode) continue
    if (typeof response.body !== 'string' && response.body_encoding !== 'json') continue
    const text = typeof response.body === 'string' ? response.body : JSON.stringify(response.body)
    const asked = typeof request.body === 'string' ? safeParse(request.body) : request.body
    const streamed = response.stream === 'sse'
    found.push({
      ...base,
      status: response.status,
      request: isFields(asked) ? asked : {},
      body: streamed ? null : text,
      stream: streamed ? text : null,
      framed: true,
    })
  }
  return found
}

/** lingua keeps answers beside each other, llama-stack one under `response.body`. */
function parsed(base: Recording, data: Record<string, unknown>): Recording[] {
  const request = isFields(data['request']) ? data['request'] : {}
  if (isFields(request['body']) && typeof request['url'] === 'string') {
    if (!ROUTE.test(request['url'])) return []
    const response = data['response'] as { is_exception?: boolean; is_streaming?: boolean; body?: unknown; exception?: unknown }
    const asked = { ...base, request: request['body'] }
    if (response.is_exception === true) {
      const failure = (response.exception as { exception_data: { status_code: number; body: unknown } }).exception_data
      return [{ ...asked, status: failure.status_code, body: JSON.stringify(failure.body) }]
    }
    if (response.is_streaming === true)
      return [{ ...asked, stream: framed((response.body as unknown[]).map((chunk) => JSON.stringify(chunk))) }]
    return [{ ...asked, body: JSON.stringify(response.body) }]
  }
  const found: Recording[] = []
  for (const [whole, streamed] of [
    ['response', 'response_streaming'],
    ['followup_response', 'followup_response_streaming'],
  ] as const) {
    if (isFields(data[whole])) found.push({ ...base, request, body: JSON.stringify(data[whole]) })
    const chunks = data[streamed]
    if (Array.isArray(chunks)) found.push({ ...base, request, stream: framed(chunks.map((chunk) => JSON.stringify(chunk))) })
  }
  const failure = data['error']
  if (isFields(failure) && typeof failure['error'] === 'string') {
    const [, status = '400', message = ''] = /^Error: (\d+) (.*)$/s.exec(failure['error']) ?? []
    found.push({ ...base, request, status: Number(status), body: JSON.stringify({ error: { message } }) })
  }
  return found
}

function framed(events: string[]): string {
  return `${events.map((event) => `data: ${event}\n\n`).join('')}data: [DONE]\n\n`
}

function safeParse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
