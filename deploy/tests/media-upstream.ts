import { createHash } from 'node:crypto'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { isUploadedFile } from '../../router-svc/canonical/uploaded-file.ts'
import { readForm } from '../../router-svc/form.ts'

type Fields = Record<string, unknown>

/** One request as the provider got it: files as their name, type, size and SHA-256. */
export interface MediaCall {
  path: string
  fields: Fields
}

export interface MediaUpstream {
  url: string
  calls: MediaCall[]
  stop(): Promise<void>
}

/** Ten bytes of "sound", sent in two pieces. */
export const SOUND = Buffer.from('ID3-speech')
export const HEARD = 'The sun rises in the east. It sets in the west.'
const SEGMENTS = [
  { id: 0, start: 0, end: 3.5, text: ' The sun rises in the east.' },
  { id: 1, start: 3.5, end: 7.25, text: ' It sets in the west.' },
]
const TOKENS = {
  type: 'tokens',
  input_tokens: 75,
  output_tokens: 20,
  total_tokens: 95,
  input_token_details: { audio_tokens: 75 },
}
const IMAGE_TOKENS = {
  input_tokens: 50,
  output_tokens: 1000,
  total_tokens: 1050,
  input_tokens_details: { text_tokens: 10, image_tokens: 40 },
}

/** A provider of images, sounds, verdicts, rankings and vectors, answering as OpenAI does. */
export async function startMediaUpstream(): Promise<MediaUpstream> {
  const calls: MediaCall[] = []
  const server = createServer(async (request, response) => {
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part as Buffer)
    const body = Buffer.concat(parts)
    const form = await readForm(body, request.headers['content-type'])
    const fields = form ?? (JSON.parse(body.toString()) as Fields)
    const path = (request.url as string).replace(/^\/v1/, '')
    calls.push({ path, fields: shown(fields) as Fields })
    const serve = ROUTES[path]
    if (serve === undefined) refuse(response, 404, { message: `no ${path}` })
    else serve(fields, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    calls,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** Of a file, what tells whether it came whole. */
export function shown(value: unknown): unknown {
  if (isUploadedFile(value)) {
    const { name, type, bytes } = value
    return { name, type, size: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') }
  }
  if (Array.isArray(value)) return value.map(shown)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, shown(item)]))
}

function json(response: ServerResponse, body: unknown): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

function refuse(response: ServerResponse, status: number, error: Fields): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ error }))
}

/** `broken`: the connection ends in the middle. */
function events(response: ServerResponse, list: Fields[], broken = false): void {
  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' })
  const written = list.map((event) => `event: ${event['type']}\ndata: ${JSON.stringify(event)}\n\n`)
  if (broken) written.pop()
  response.end(written.join(''))
}

function images(kind: 'image_generation' | 'image_edit') {
  return (fields: Fields, response: ServerResponse): void => {
    const { model, prompt, n = 1, stream } = fields
    if (Number(n) > 10) {
      refuse(response, 400, {
        message: 'n is too large',
        type: 'invalid_request_error',
        param: 'n',
        code: 'integer_above_max_value',
      })
      return
    }
    const tokens = String(model).startsWith('gpt-image') ? { usage: IMAGE_TOKENS } : {}
    if (stream === true) {
      const partial = { type: `${kind}.partial_image`, b64_json: 'AAAA', partial_image_index: 0 }
      events(response, [partial, { type: `${kind}.completed`, b64_json: 'BBBB', ...tokens }], prompt === 'break off')
    } else
      json(response, {
        created: 5,
        data: Array.from({ length: Number(n) }, (_, index) => ({ b64_json: `QUFB${index}AA=` })),
        ...tokens,
      })
  }
}

function hear(fields: Fields, response: ServerResponse): void {
  const { model, response_format: format = 'json', stream } = fields
  const whisper = String(model).startsWith('whisper')
  const usage = whisper ? { type: 'duration', seconds: 8 } : TOKENS
  if (stream === true && !whisper) {
    const deltas = HEARD.split(' ').map((word) => ({ type: 'transcript.text.delta', delta: `${word} ` }))
    events(response, [...deltas, { type: 'transcript.text.done', text: HEARD, usage }])
  } else if (format === 'json') json(response, { text: HEARD, usage })
  else if (format === 'verbose_json')
    json(response, { task: 'transcribe', language: 'english', duration: 7.25, text: HEARD, segments: SEGMENTS, usage })
  else response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' }).end(`as ${format}`)
}

const ROUTES: Readonly<Record<string, (fields: Fields, response: ServerResponse) => void>> = {
  '/images/generations': images('image_generation'),
  '/images/edits': images('image_edit'),
  '/images/variations': images('image_edit'),
  '/audio/transcriptions': hear,
  '/audio/translations': hear,

  '/audio/speech'({ stream_format: format }, response) {
    if (format === 'sse') {
      const usage = { input_tokens: 12, output_tokens: 100, total_tokens: 112 }
      events(response, [
        { type: 'speech.audio.delta', audio: SOUND.toString('base64') },
        { type: 'speech.audio.done', usage },
      ])
      return
    }
    response.writeHead(200, { 'content-type': 'audio/mpeg' })
    response.write(SOUND.subarray(0, 4))
    setImmediate(() => response.end(SOUND.subarray(4)))
  },

  '/moderations'({ input }, response) {
    const verdicts = (Array.isArray(input) ? input : [input]).map((text) => ({
      flagged: String(text).includes('kill'),
      categories: { violence: String(text).includes('kill') },
      category_scores: { violence: 0.9 },
    }))
    json(response, { id: 'modr-1', model: 'omni-moderation-2024', results: verdicts })
  },

  '/rerank'({ documents }, response) {
    const results = (documents as string[]).map((text, index) => ({ index, relevance_score: text.length / 100 }))
    json(response, { id: 'r', results, usage: { total_tokens: 30 } })
  },

  '/embeddings'({ input, encoding_format: format }, response) {
    const list = Array.isArray(input) ? (input as string[]) : [input as string]
    if (list.length > 2048) {
      refuse(response, 400, { message: 'too many inputs', type: 'invalid_request_error', param: 'input' })
      return
    }
    const data = list.map((text, index) => {
      const vector = Float32Array.of(Number(text), 1)
      return {
        object: 'embedding',
        index,
        embedding: format === 'base64' ? Buffer.from(vector.buffer).toString('base64') : [...vector],
      }
    })
    json(response, { object: 'list', model: 'embed', data, usage: { prompt_tokens: list.length, total_tokens: list.length } })
  },
}
