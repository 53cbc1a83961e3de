import { describe, expect, it } from 'vitest'
import { SseParser } from '../../../shared/http/sse.ts'
import type { ChatChunk, ChatRequest, ChatResponse, Message } from '../../canonical/chat.ts'
import type { EmbeddingRequest, EmbeddingResponse } from '../../canonical/embedding.ts'
import { providerOf } from '../index.ts'
import type { Fields } from '../json.ts'
import { haveRecordings } from '../openai/recordings.suite.ts'
import { cuts, decodePieces, foldChunks } from '../provider.suite.ts'
import type { DecodeContext, Provider } from '../provider.ts'
import { target } from './encode.testkit.ts'
import { allRecorded, type Recorded } from './recordings.testkit.ts'

const cohere = providerOf('cohere') as Provider & Required<Pick<Provider, 'chat' | 'embedding'>>
const CONTEXT: DecodeContext = { id: 'made', created: 1, model: 'asked', request: {} }
const FINISH: Record<string, string> = { COMPLETE: 'stop', STOP_SEQUENCE: 'stop', TOOL_CALL: 'tool_calls' }

interface Said {
  content: string
  reasoning: string
  calls: unknown[]
  citations: unknown[]
  finish: string | null
  usage: ChatResponse['usage'] | null
}

function whole(body: string): Said {
  const { choices, usage } = cohere.chat.decodeResponse(Buffer.from(body), {}, CONTEXT)
  const choice = choices[0] as ChatResponse['choices'][number]
  const { content, reasoning_content: reasoning = '', tool_calls: calls = [], provider_specific_fields: own } = choice.message
  const citations = (own?.['citations'] as unknown[] | undefined) ?? []
  return { content: content ?? '', reasoning, calls, citations, finish: choice.finish_reason, usage: usage ?? null }
}

function streamed(pieces: Uint8Array[]): { chunks: ChatChunk[]; said: Said } {
  const { chunks, error } = decodePieces(cohere.chat.decodeStream?.(CONTEXT) as never, pieces) as ReturnType<
    typeof decodePieces<ChatChunk>
  >
  expect(error).toBeNull()
  const { choices, usage } = foldChunks(chunks)
  const choice = choices.get(0)
  if (choice === undefined) throw new Error('nothing was said')
  expect(choice.roles).toBe(1)
  const citations = chunks.flatMap((chunk) =>
    chunk.choices.flatMap(({ delta }) => (delta.provider_specific_fields?.['citations'] as unknown[] | undefined) ?? []),
  )
  const { content, reasoning, toolCalls: calls, finish } = choice
  return { chunks, said: { content, reasoning, calls, citations, finish, usage } }
}

/** The whole answer a stream amounts to, put together without the adapter. */
function assembled(stream: string): string {
  const parser = new SseParser()
  const message: Fields = { role: 'assistant' }
  const content: Fields[] = []
  const calls: { function: { arguments: string } }[] = []
  const citations: unknown[] = []
  let plan = ''
  let end: Fields = {}
  for (const event of [...parser.push(Buffer.from(stream)), ...parser.end()]) {
    if (event.data === '[DONE]') continue
    // biome-ignore lint/suspicious/noExplicitAny: the wire, read by hand.
    const { type, index, id, delta } = JSON.parse(event.data) as any
    if (type === 'message-start') end['id'] = id
    if (type === 'content-start') content[index] = { ...delta.message.content }
    if (type === 'content-delta')
      for (const [name, value] of Object.entries(delta.message.content)) (content[index] as Fields)[name] += String(value)
    if (type === 'tool-plan-delta') plan += delta.message.tool_plan
    if (type === 'tool-call-start') calls[index] = structuredClone(delta.message.tool_calls)
    if (type === 'tool-call-delta') {
      const call = calls[index] as (typeof calls)[number]
      call.function.arguments += delta.message.tool_calls.function.arguments
    }
    if (type === 'citation-start') citations.push(delta.message.citations)
    if (type === 'message-end') end = { ...end, ...delta }
  }
  if (plan !== '') message['tool_plan'] = plan
  if (calls.length > 0) message['tool_calls'] = calls
  if (citations.length > 0) message['citations'] = citations
  return JSON.stringify({ ...end, message: { ...message, content } })
}

/** What an OpenAI client would have said to get a recorded request. */
function canonicalOf({ stop_sequences: stop, response_format: format, p, ...request }: Fields): ChatRequest {
  const schema = (format as Fields | undefined)?.['json_schema']
  return {
    ...request,
    ...(stop === undefined ? {} : { stop }),
    ...(p === undefined ? {} : { top_p: p }),
    ...(format === undefined
      ? {}
      : { response_format: schema ? { type: 'json_schema', json_schema: { name: 'out', schema } } : format }),
  } as unknown as ChatRequest
}

/** The same request in one spelling: text is a string, an empty one beside calls is none, no stream is a stream that is false. */
function spelled(request: Fields): Fields {
  const { stream, messages, ...rest } = request
  return {
    ...rest,
    stream: stream === true,
    messages: (messages as Message[]).map((message) => {
      const { content, ...others } = message
      const texts = Array.isArray(content) && content.every((part) => part.type === 'text')
      const said = texts ? content.map((part) => part['text']).join('') : content
      return {
        ...others,
        ...(message.tool_calls !== undefined && said === '' ? {} : said === undefined ? {} : { content: said }),
      }
    }),
  }
}

describe.skipIf(!haveRecordings())('recorded answers of Cohere', () => {
  const all = haveRecordings() ? allRecorded() : []
  const accepted = all.filter(({ status }) => status === 200)
  const chats = accepted.filter(({ endpoint, body }) => endpoint === 'chat' && body !== null)
  const streams = accepted.filter(({ stream }) => stream !== null)

  it('are all there', () => {
    expect([chats.length, streams.length, all.length]).toEqual([19, 8, 30])
  })

  for (const [index, { file, body }] of chats.entries()) {
    it(`are read whole, and lose nothing: ${file} (${index})`, () => {
      const raw = JSON.parse(body as string)
      const said = whole(body as string)
      const blocks: Fields[] = raw.message.content ?? []
      const joined = (kind: string) => blocks.map((block) => block[kind] ?? '').join('')
      expect(said.content).toBe((raw.message.tool_plan ?? '') + joined('text'))
      expect(said.reasoning).toBe(joined('thinking'))
      expect(said.calls).toEqual(raw.message.tool_calls ?? [])
      expect(said.citations).toEqual(raw.message.citations ?? [])
      expect(said.finish).toBe(FINISH[raw.finish_reason])
      const { input_tokens: input, output_tokens: output } = raw.usage.billed_units
      expect(said.usage).toMatchObject({
        ...raw.usage,
        prompt_tokens: input,
        completion_tokens: output,
        total_tokens: input + output,
      })
    })
  }

  for (const [index, { file, stream }] of streams.entries()) {
    const bytes = Buffer.from(stream ?? '')

    it(`stream the same in any pieces, and to the whole answer: ${file} (${index})`, () => {
      const [first, ...others] = cuts(bytes, index + 1).map(streamed)
      for (const other of others) expect(other.chunks).toEqual(first?.chunks)
      expect(first?.said).toEqual(whole(assembled(stream as string)))
      expect(first?.said.usage?.prompt_tokens).toBeGreaterThan(0)
    })

    it(`are truncated without their last event: ${file} (${index})`, () => {
      const cut = bytes.subarray(0, bytes.lastIndexOf('event: message-end'))
      const decoder = cohere.chat.decodeStream?.(CONTEXT)
      if (decoder === undefined) throw new Error('chats stream')
      expect(decodePieces(decoder, [cut]).error?.code).toBe('provider_truncated')
    })
  }

  for (const [index, { file, request }] of accepted
    .filter(({ endpoint, request: asked }) => endpoint === 'chat' && asked)
    .entries()) {
    it(`were asked for as we ask: ${file} (${index})`, () => {
      const sent = cohere.chat.encodeRequest(canonicalOf(request as Fields), target({ model: String(request?.['model']) }))
      expect(sent.url).toBe('https://api.cohere.com/v2/chat')
      expect(spelled(JSON.parse(sent.body as string))).toEqual(spelled(request as Fields))
    })
  }

  for (const { file, request, body } of all.filter(({ endpoint }) => endpoint === 'embed')) {
    it(`hold every vector: ${file}`, () => {
      const raw = JSON.parse(body as string)
      const response: EmbeddingResponse = cohere.embedding.decodeResponse(Buffer.from(body as string), {}, CONTEXT)
      expect(response.data.map(({ embedding }) => embedding)).toEqual(raw.embeddings.float)
      expect(response.data.map(({ index }) => index)).toEqual(raw.texts.map((_: string, index: number) => index))
      expect(response.usage.prompt_tokens).toBe(raw.meta.billed_units.input_tokens)
      if (request === null) return
      const asked = { model: 'alias', input: request['texts'] } as EmbeddingRequest
      const sent = cohere.embedding.encodeRequest(asked, target({ model: String(request['model']) }))
      expect(sent.url).toBe('https://api.cohere.com/v2/embed')
      expect(JSON.parse(sent.body as string)).toEqual({ ...request, embedding_types: ['float'] })
    })
  }

  it('that are errors say which', () => {
    const failed: Recorded[] = all.filter(({ status }) => status !== 200)
    const errors = failed.map(({ status, body }) => cohere.decodeError(status, {}, body ?? ''))
    expect(errors.map(({ code, status }) => [code, status])).toEqual([['provider_authentication', 401]])
    expect(errors[0]?.message).toMatch(
      /^litellm\.AuthenticationError: AuthenticationError: CohereException - Incorrect API key provided/,
    )
  })
})
