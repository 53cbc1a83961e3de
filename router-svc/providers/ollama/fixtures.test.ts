import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { ChatChunk, ChatRequest } from '../../canonical/chat.ts'
import type { CompletionChunk, CompletionRequest } from '../../canonical/completion.ts'
import { haveRecordings } from '../openai/recordings.suite.ts'
import { cuts, decodePieces, foldChunks } from '../provider.suite.ts'
import { bodyOf, context, decoderOf, lines, provider, target } from './encode.testkit.ts'
import type { Fields } from './wire.ts'

/** One exchange another project recorded with the server's own API. */
interface Recording {
  file: string
  route: string
  request: Fields
  /** A whole answer, or the documents of a streamed one with their bytes. */
  body: string | null
  documents: Fields[]
  stream: Buffer | null
}

const FOLDER = new URL('../../../../shared/fixtures/ollama/', import.meta.url)

function recordings(): Recording[] {
  const files = haveRecordings() ? readdirSync(FOLDER).filter((name) => name.endsWith('.json')) : []
  return files.flatMap((file) => {
    const data = JSON.parse(readFileSync(new URL(file, FOLDER), 'utf8'))
    const exchanges: { request: { url: string; body: Fields }; response: { body: unknown } }[] = data.exchanges ?? [data]
    return exchanges.flatMap(({ request, response }) => {
      const route = /\/api\/\w+$/.exec(request?.url ?? '')?.[0]
      if (route === undefined) return []
      const base = { file, route, request: request.body }
      const { body } = response
      const raw = typeof body === 'string' ? body : Array.isArray(body) ? lines(...body).toString() : JSON.stringify(body)
      const documents = raw
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Fields)
      return [
        request.body['stream'] === true
          ? { ...base, body: null, documents, stream: Buffer.from(raw) }
          : { ...base, body: raw, documents, stream: null },
      ]
    })
  })
}

/** What an OpenAI client would have sent for a request recorded here. */
function canonicalOf({ request, route }: Recording): Fields {
  const { options, messages, ...rest } = request
  const canonical: Fields = { ...rest, ...(options as Fields | undefined) }
  if (route !== '/api/chat') return canonical
  canonical['messages'] = (messages as Fields[]).map(({ images, content, ...message }) => ({
    ...message,
    content:
      images === undefined
        ? content
        : (images as string[]).map((data) => ({ type: 'image_url', image_url: { url: `data:image/png;base64,${data}` } })),
  }))
  return canonical
}

/** The request as recorded, without what says nothing: no tools, no content beside a picture. */
function recordedOf({ request }: Recording): Fields {
  const { tools, ...rest } = request
  const recorded: Fields = { ...rest, ...((tools as unknown[] | undefined)?.length ? { tools } : {}) }
  if (Array.isArray(recorded['messages']))
    recorded['messages'] = recorded['messages'].map((message) => ({ content: '', ...message }))
  return recorded
}

const joined = (documents: readonly Fields[], read: (document: Fields) => unknown) =>
  documents.map((one) => read(one) ?? '').join('')

describe.skipIf(!haveRecordings())('recorded exchanges with Ollama’s own API', () => {
  const all = recordings()
  const { chat, completion, embedding } = provider()

  it('are all here', () => {
    expect(all.map(({ route, stream }) => `${route}${stream === null ? '' : ' streamed'}`).sort()).toEqual([
      '/api/chat',
      '/api/chat',
      '/api/chat streamed',
      '/api/embeddings',
      '/api/generate',
      '/api/generate',
      '/api/generate streamed',
      '/api/generate streamed',
    ])
  })

  for (const recording of all.filter(({ route }) => route !== '/api/embeddings')) {
    it(`are asked for as they were: ${recording.file}`, () => {
      const to = target({ model: String(recording.request['model']) })
      const request = canonicalOf(recording)
      const upstream =
        recording.route === '/api/chat'
          ? chat.encodeRequest(request as unknown as ChatRequest, to)
          : completion.encodeRequest(request as unknown as CompletionRequest, to)
      expect(upstream.url.endsWith(recording.route)).toBe(true)
      expect(bodyOf(upstream)).toEqual(recordedOf(recording))
    })

    it(`are read as they are: ${recording.file}`, () => {
      const last = recording.documents.at(-1) as Fields
      const content = joined(recording.documents, (one) =>
        recording.route === '/api/chat' ? (one['message'] as Fields)['content'] : one['response'],
      )
      const usage = { prompt_tokens: last['prompt_eval_count'], completion_tokens: last['eval_count'] }
      expect(content).not.toBe('')
      if (recording.body !== null) {
        const adapter = recording.route === '/api/chat' ? chat : completion
        const response = adapter.decodeResponse(Buffer.from(recording.body), {}, context())
        const choice = response.choices[0] as Fields
        expect(recording.route === '/api/chat' ? (choice['message'] as Fields)['content'] : choice['text']).toBe(content)
        expect(choice['finish_reason']).toBe('stop')
        expect(response).toMatchObject({ model: last['model'], usage })
        return
      }
      for (const seed of [1, 2, 3])
        for (const pieces of cuts(recording.stream as Buffer, seed)) {
          if (recording.route === '/api/chat') {
            const { chunks, error } = decodePieces<ChatChunk>(decoderOf(chat), pieces, 'lines')
            const folded = foldChunks(chunks)
            expect(error).toBeNull()
            expect(folded.choices.get(0)).toEqual({ content, reasoning: '', toolCalls: [], finish: 'stop', roles: 1 })
            expect(folded.usage).toMatchObject(usage)
          } else {
            const { chunks, error } = decodePieces<CompletionChunk>(decoderOf(completion), pieces, 'lines')
            expect(error).toBeNull()
            expect(chunks.map((chunk) => chunk.choices[0]?.text).join('')).toBe(content)
            expect(chunks.at(-1)).toMatchObject({ usage, choices: [{ finish_reason: 'stop' }] })
          }
        }
    })
  }

  it('have one vector from the older route, which is read too', () => {
    const recording = all.find(({ route }) => route === '/api/embeddings') as Recording
    const response = embedding.decodeResponse(Buffer.from(recording.body as string), {}, context())
    expect(response.data.map((item) => item.embedding)).toEqual([recording.documents[0]?.['embedding']])
  })
})
