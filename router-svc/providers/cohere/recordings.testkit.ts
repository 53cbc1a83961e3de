import { readFileSync } from 'node:fs'
import { type Fields, isFields } from '../json.ts'
import { fileNames } from '../openai/recordings.suite.ts'

/** One answer of the v2 API that another project recorded. */
export interface Recorded {
  file: string
  endpoint: 'chat' | 'embed'
  request: Fields | null
  status: number
  /** A whole answer, or a streamed one as bytes on the wire; the other is null. */
  body: string | null
  stream: string | null
}

const FOLDER = new URL('../../../../shared/fixtures/cohere/', import.meta.url)
const ROUTE = /api\.cohere\.com\/v2\/(chat|embed)$/

/** Everything recorded of the two endpoints this folder speaks; rerank, transcription and the first version are others. */
export function allRecorded(): Recorded[] {
  return fileNames('cohere').flatMap(recordedIn)
}

function recordedIn(file: string): Recorded[] {
  const source = readFileSync(new URL(file, FOLDER), 'utf8')
  if (file.endsWith('.txt')) {
    const events = source.split('\n').filter((line) => line !== '')
    const framed = events.map((event) => `event: ${(JSON.parse(event) as { type: string }).type}\ndata: ${event}\n\n`)
    return [{ file, endpoint: 'chat', request: null, status: 200, body: null, stream: framed.join('') }]
  }
  const data = JSON.parse(source) as Fields
  if (data['format'] === undefined) {
    if (data['results'] !== undefined) return []
    const endpoint = data['embeddings'] === undefined ? 'chat' : 'embed'
    return [{ file, endpoint, request: null, status: 200, body: source, stream: null }]
  }
  const found: Recorded[] = []
  for (const { request, response } of data['exchanges'] as Exchange[]) {
    const endpoint = ROUTE.exec(request.url)?.[1] as Recorded['endpoint'] | undefined
    if (endpoint === undefined) continue
    const text = typeof response.body === 'string' ? response.body : JSON.stringify(response.body)
    const streamed = response.stream === 'sse'
    found.push({
      file,
      endpoint,
      request: isFields(request.body) ? request.body : null,
      status: response.status,
      body: streamed ? null : text,
      stream: streamed ? text : null,
    })
  }
  return found
}

interface Exchange {
  request: { url: string; body: unknown }
  response: { status: number; body: unknown; stream?: string | null }
}
