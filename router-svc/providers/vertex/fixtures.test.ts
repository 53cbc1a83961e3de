import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { PROVIDERS } from '../../../shared/catalog/providers.ts'
import * as messages from '../anthropic/encode.testkit.ts'
import * as anthropic from '../anthropic/recordings.testkit.ts'
import * as generate from '../gemini/encode.testkit.ts'
import { allRecordings, haveRecordings, type Recording } from '../gemini/recordings.testkit.ts'
import { type Fields, isFields, objects, type Part, text } from '../gemini/wire.ts'
import { cuts, decodePieces, foldChunks } from '../provider.suite.ts'
import type { DecodeContext, Provider, Target } from '../provider.ts'
import { vertex } from './index.ts'

const provider = vertex('vertex_ai', PROVIDERS['vertex_ai'] as (typeof PROVIDERS)[string])

function served(model: string): Required<Pick<Provider, 'chat' | 'embedding'>> {
  const { provider: family } = provider.serve?.(model, { baseModel: null, settings: {}, info: {} }) ?? { provider }
  return (family ?? provider) as Required<Pick<Provider, 'chat' | 'embedding'>>
}

function context(request: Fields = {}): DecodeContext {
  return { id: 'chatcmpl-1', created: 1_700_000_000, model: 'group', request }
}

/** Of a recorded address: what a deployment would be configured with. */
function targetOf(url: string, changes: Partial<Target> = {}): Target {
  const match = /^(https:\/\/[^/]+)\/v1beta1(\/projects\/[^/]+\/locations\/[^/]+)\/publishers\/google\/models\/([^:]+):/.exec(url)
  if (match === null) throw new Error(`an address of another kind: ${url}`)
  const [, host, path, model] = match as unknown as [string, string, string, string]
  return generate.target({ provider: 'vertex_ai', base: host + path, model, ...changes })
}

/** What the service said, put together without the adapter. */
function said({ body, stream }: Recording): { parts: Part[]; usage: Fields } {
  const source = body === null ? [...(stream ?? '').matchAll(/^data: (.*)$/gm)].map((match) => match[1] as string) : [body]
  const parts: Part[] = []
  let usage: Fields = {}
  for (const payload of source.map((piece) => JSON.parse(piece) as Fields)) {
    if (isFields(payload['usageMetadata'])) usage = { ...usage, ...payload['usageMetadata'] }
    for (const candidate of objects(payload['candidates']))
      if (isFields(candidate['content'])) parts.push(...objects(candidate['content']['parts']))
  }
  return { parts, usage }
}

const words = (parts: Part[], thought: boolean) =>
  parts
    .filter((part) => (part['thought'] === true) === thought)
    .map((part) => text(part['text']))
    .join('')

describe.skipIf(!haveRecordings())('what was recorded of Gemini on Vertex', () => {
  const all = haveRecordings() ? allRecordings().filter(({ file }) => file.startsWith('vertex/')) : []
  const chats = all.filter(({ url, status }) => /enerateContent/.test(url) && status === 200)
  const whole = chats.filter(({ body }) => body !== null)
  const streamed = chats.filter(({ stream }) => stream !== null)

  it('is all here: chats, vectors, a refusal, and the counting of tokens, which is no call of a client’s', () => {
    expect([whole.length, streamed.length]).toEqual([25, 17])
    const others = all
      .filter((recording) => !chats.includes(recording))
      .map(({ url, status }) => [/:(\w+)$/.exec(url)?.[1], status])
    expect(others.sort()).toEqual([
      ['computeTokens', 200],
      ['countTokens', 200],
      ['countTokens', 200],
      ['embedContent', 200],
      ['generateContent', 400],
      ['predict', 200],
      ['predict', 200],
      ['predict', 200],
    ])
  })

  for (const [index, { file, url, request }] of chats.entries()) {
    // One client sends the pieces of a call back as they came; here it is one call by then.
    if (JSON.stringify(request?.['contents']).includes('partialArgs')) continue
    it(`is asked as it was: ${file} (${index})`, () => {
      const { model: _, ...recorded } = request as Fields
      const sent = generate.spelled(recorded)
      const target = targetOf(url)
      const stream = url.includes(':stream')
      const made = served(target.model).chat.encodeRequest({ ...generate.canonicalOf(sent), stream }, target)
      expect(made.url).toBe(url)
      expect(generate.spelled(JSON.parse(made.body as string) as Fields)).toEqual(sent)
    })
  }

  for (const [index, recording] of whole.entries()) {
    it(`is answered as it was: ${recording.file} (${index})`, () => {
      const { parts, usage } = said(recording)
      const answer = served('gemini-2.5-flash').chat.decodeResponse(Buffer.from(recording.body ?? ''), {}, context())
      const { message } = answer.choices[0] as (typeof answer.choices)[number]
      expect(message.content ?? '').toBe(words(parts, false))
      expect(message.reasoning_content ?? '').toBe(words(parts, true))
      expect((message.tool_calls ?? []).length).toBe(parts.filter((part) => isFields(part['functionCall'])).length)
      expect(answer.usage?.total_tokens).toBe(usage['totalTokenCount'])
    })
  }

  for (const [index, recording] of streamed.entries()) {
    it(`is streamed as it was, however the bytes arrive: ${recording.file} (${index})`, () => {
      const { parts, usage } = said(recording)
      const bytes = Buffer.from(recording.stream ?? '')
      const { decodeStream } = served('gemini-2.5-flash').chat
      if (decodeStream === undefined) throw new Error('no stream')
      const read = decodePieces(decodeStream(context()), [bytes])
      expect(read.error).toBeNull()
      const { choices, usage: counted } = foldChunks(read.chunks)
      expect(choices.get(0)?.content).toBe(words(parts, false))
      expect(choices.get(0)?.reasoning).toBe(words(parts, true))
      expect(counted?.total_tokens).toBe(usage['totalTokenCount'])
      for (const seed of [1, 2])
        for (const pieces of cuts(bytes, seed)) expect(decodePieces(decodeStream(context()), pieces)).toEqual(read)
    })
  }

  it('of vectors is asked as it was, and answered in order', () => {
    const vectors = all.filter(({ url }) => /:(predict|embedContent)$/.test(url))
    for (const { url, request, body } of vectors) {
      const asked = request as { instances?: { content: string }[]; content?: { parts: { text: string }[] }; parameters?: Fields }
      const input = asked.instances?.map(({ content }) => content) ?? asked.content?.parts.map((part) => part.text) ?? []
      const dimensions = asked.parameters?.['outputDimensionality']
      const target = targetOf(url)
      const { embedding } = served(target.model)
      const made = embedding.encodeRequest(
        { model: 'group', input, ...(dimensions === undefined ? {} : { dimensions }) } as never,
        target,
      )
      expect(made.url).toBe(url)
      expect(JSON.parse(made.body as string)).toEqual(request)
      const raw = JSON.parse(body ?? '') as Fields
      const values = isFields(raw['embedding'])
        ? [raw['embedding']['values']]
        : objects(raw['predictions']).map((prediction) => (prediction['embeddings'] as Fields)['values'])
      const answer = embedding.decodeResponse(Buffer.from(body ?? ''), {}, context())
      expect(answer.data.map((entry) => entry.embedding)).toEqual(values)
      const counts = objects(raw['predictions']).map(
        (prediction) => ((prediction['embeddings'] as Fields)['statistics'] as Fields)['token_count'] as number,
      )
      const counted = isFields(raw['usageMetadata']) ? raw['usageMetadata']['promptTokenCount'] : 0
      expect(answer.usage?.prompt_tokens).toBe(counts.length === 0 ? counted : counts.reduce((sum, count) => sum + count, 0))
    }
  })

  it('of several vectors in one answer keeps their order, and adds up what they cost', () => {
    const folder = new URL('../../../../shared/fixtures/vertex/', import.meta.url)
    const body = readFileSync(new URL('embeddings__vercel-ai__google-vertex-embedding.json', folder))
    const raw = JSON.parse(body.toString()) as { predictions: { embeddings: { values: number[] } }[] }
    const { data, usage } = served('text-embedding-005').embedding.decodeResponse(body, {}, context())
    expect(data.map(({ index, embedding }) => [index, embedding])).toEqual(
      raw.predictions.map(({ embeddings }, index) => [index, embeddings.values]),
    )
    expect(usage?.prompt_tokens).toBe(11)
  })

  it('of a refusal says which', () => {
    const [{ status, body }] = all.filter((recording) => recording.status === 400) as [Recording]
    const error = provider.decodeError(status, {}, body ?? '')
    expect(error.code).toBe('context_window_exceeded')
    expect(error.message).toMatch(/^litellm\.ContextWindowExceededError: (\w+: )?VertexAIException - /)
  })
})

describe.skipIf(!haveRecordings())('what was recorded of Claude on Vertex', () => {
  const files = haveRecordings() ? anthropic.fileNames('vertex').filter((file) => file.includes('vertex-anthropic')) : []
  const all = files.flatMap((file) => recordings(file))
  const target = generate.target({
    provider: 'vertex_ai',
    base: 'https://us-east5-aiplatform.googleapis.com/projects/p/locations/us-east5',
    model: 'claude-haiku-4-5@20251001',
  })
  const { chat } = served(target.model)

  it('is all here', () => {
    expect(files).toHaveLength(3)
    expect(all.length).toBeGreaterThanOrEqual(10)
  })

  for (const [index, { file, request, body }] of all.entries()) {
    it(`is asked and answered as it was: ${file} (${index})`, () => {
      const made = chat.encodeRequest(messages.canonicalOf(request), target)
      expect(made.url).toBe(
        `${target.base.replace('/projects', '/v1/projects')}/publishers/anthropic/models/${target.model}:rawPredict`,
      )
      const sent = JSON.parse(made.body as string) as Fields
      expect(sent).not.toHaveProperty('model')
      expect(made.headers).not.toHaveProperty('anthropic-version')
      expect(messages.spelled(sent)).toEqual(messages.spelled(request))

      const { content, usage } = body as { content: Part[]; usage: Fields }
      const answer = chat.decodeResponse(Buffer.from(JSON.stringify(body)), {}, context())
      const { message } = answer.choices[0] as (typeof answer.choices)[number]
      expect(message.content ?? '').toBe(content.map((block) => text(block['text'])).join(''))
      expect(message.reasoning_content ?? '').toBe(content.map((block) => text(block['thinking'])).join(''))
      expect((message.tool_calls ?? []).length).toBe(content.filter((block) => block['type'] === 'tool_use').length)
      expect(answer.usage?.completion_tokens).toBe(usage['output_tokens'])
    })
  }

  it('streams as Anthropic does, however the bytes arrive', () => {
    const streams = anthropic
      .fileNames('anthropic')
      .flatMap((file) => anthropic.recordings('anthropic', file))
      .filter(({ stream }) => stream !== null && stream.length < 20_000)
      .slice(0, 5)
    expect(streams).toHaveLength(5)
    for (const { stream } of streams) {
      const bytes = Buffer.from(stream ?? '')
      const read = () => chat.decodeStream?.(context()) as ReturnType<NonNullable<typeof chat.decodeStream>>
      const once = decodePieces(read(), [bytes])
      expect(once.error).toBeNull()
      expect(foldChunks(once.chunks).choices.get(0)?.finish).not.toBeNull()
      for (const pieces of cuts(bytes, 3)) expect(decodePieces(read(), pieces)).toEqual(once)
    }
  })
})

/** The recorder asked for streams without saying so in the body, and got whole messages: each turn was answered twice. */
function recordings(file: string): { file: string; request: Fields; body: Fields }[] {
  return anthropic.recordings('vertex', file).flatMap(({ request, body, stream }) => {
    if (request === null) return []
    if (body !== null) return [{ file, request, body: JSON.parse(body) as Fields }]
    return [...(stream ?? '').matchAll(/^data: (.*)$/gm)]
      .map((match) => JSON.parse(match[1] as string) as Fields)
      .filter(({ type }) => type === 'message')
      .map((answer) => ({ file, request, body: answer }))
  })
}
