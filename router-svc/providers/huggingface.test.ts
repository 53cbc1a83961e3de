import { describe, expect, it } from 'vitest'
import type { ChatChunk } from '../canonical/chat.ts'
import { chat, delta, deployment, make, STREAM, sse } from '../handle.testkit.ts'
import { providerOf } from './index.ts'
import { fileNames, haveRecordings, recordings } from './openai/recordings.suite.ts'
import { PLAIN_TARGET } from './plain-target.ts'
import { cuts, decodePieces, foldChunks } from './provider.suite.ts'
import type { Provider, Target } from './provider.ts'

const ROUTER = 'https://router.huggingface.co'
const context = (request = {}) => ({ id: 'i', created: 1, model: 'asked', request })

function provider(): Provider & Required<Pick<Provider, 'chat' | 'embedding'>> {
  return providerOf('huggingface') as ReturnType<typeof provider>
}

function target(changes: Partial<Target> = {}): Target {
  return {
    ...PLAIN_TARGET,
    provider: 'huggingface',
    model: 'org/name',
    base: ROUTER,
    ...changes,
  }
}

describe('a chat at Hugging Face', () => {
  const sent = (changes: Partial<Target>) => {
    const { url, body } = provider().chat.encodeRequest({ model: 'g', messages: [] }, target(changes))
    return [url, JSON.parse(body as string).model]
  }

  it('goes to the router, who is to run the model behind its name', () => {
    expect(sent({})).toEqual([`${ROUTER}/v1/chat/completions`, 'org/name'])
    expect(sent({ model: 'together/deepseek-ai/DeepSeek-R1' })).toEqual([
      `${ROUTER}/v1/chat/completions`,
      'deepseek-ai/DeepSeek-R1:together',
    ])
    expect(sent({ model: 'org/name:cheapest' })[1]).toBe('org/name:cheapest')
    const to = target({ model: 'groq/org/name', base: `${ROUTER}/v1` })
    const completion = providerOf('huggingface')?.completion?.encodeRequest({ model: 'g', prompt: 'once' }, to)
    expect(JSON.parse(String(completion?.body)).model).toBe('org/name:groq')
  })

  it('goes to an operator’s endpoint with its model as it is', () => {
    expect(sent({ base: 'https://x.endpoints.huggingface.cloud', model: 'a/b/c' })).toEqual([
      'https://x.endpoints.huggingface.cloud/v1/chat/completions',
      'a/b/c',
    ])
    expect(sent({ base: 'http://tgi:8080/v1', model: 'tgi' })[0]).toBe('http://tgi:8080/v1/chat/completions')
  })

  it('streams through a whole call with the key as bearer', async () => {
    const {
      sent: upstream,
      events,
      call,
    } = make([deployment('one', { provider: 'huggingface', model: 'org/name', apiBase: ROUTER })])
    const client = call({ ...chat, stream: true })
    expect(upstream[0]?.request).toMatchObject({ url: `${ROUTER}/v1/chat/completions`, headers: { authorization: 'Bearer k' } })
    upstream[0]?.sink.head(200, STREAM)
    upstream[0]?.sink.data(delta('hello'))
    upstream[0]?.sink.data(delta('', 'eos_token'))
    upstream[0]?.sink.data(sse('[DONE]'))
    upstream[0]?.sink.end()
    await client.done
    expect(client.text).toContain('"hello"')
    expect(client.text).toContain('"finish_reason":"stop"')
    expect(events[0]?.outcome).toBe('success')
  })
})

describe('embeddings of Hugging Face', () => {
  it('are a task of the router’s, or what an endpoint does at its root', () => {
    const request = { model: 'g', input: 'a', truncate: true, user: 'me', encoding_format: 'float' as const }
    const upstream = provider().embedding.encodeRequest(request, target({ model: 'org/na me' }))
    expect(upstream.url).toBe(`${ROUTER}/hf-inference/models/org/na%20me/pipeline/feature-extraction`)
    expect(JSON.parse(upstream.body as string)).toEqual({ inputs: ['a'], truncate: true })
    expect(provider().embedding.encodeRequest(request, target({ base: `${ROUTER}/v1`, model: 'a/b' })).url).toContain(
      '.co/hf-inference/',
    )
    expect(provider().embedding.encodeRequest(request, target({ base: 'http://tei' })).url).toBe('http://tei')
    expect(() => provider().embedding.encodeRequest({ model: 'g', input: [1] }, target())).toThrow(/no tokens/)
    expect(() => provider().embedding.encodeRequest({ ...request, dimensions: 2 }, target())).toThrow(/'dimensions'/)
  })

  it.each([
    [
      'one for each text',
      '[[1,2],[3,4]]',
      [
        [1, 2],
        [3, 4],
      ],
    ],
    ['for one text without a list', '[1,2]', [[1, 2]]],
    ['for each token, which are averaged', '[[[1,2],[3,6]]]', [[2, 4]]],
  ])('are read %s', (_, body, vectors) => {
    const response = provider().embedding.decodeResponse(Buffer.from(body), {}, context())
    expect(response.data.map((item) => item.embedding)).toEqual(vectors)
  })

  it('are an error when the answer holds one, and malformed when it is no list', () => {
    const read = (body: string) => provider().embedding.decodeResponse(Buffer.from(body), {}, context())
    expect(() => read('{"error":"boom"}')).toThrow(expect.objectContaining({ code: 'provider_error' }))
    expect(() => read('{}')).toThrow(expect.objectContaining({ code: 'provider_malformed' }))
    expect(() => read('[["a"')).toThrow(expect.objectContaining({ code: 'provider_malformed' }))
  })
})

describe('an error of Hugging Face', () => {
  it('is the service’s where it stands behind the router, and tells a context that was too long', () => {
    const { decodeError } = provider()
    expect(decodeError(424, {}, '{"error":"backend"}')).toMatchObject({ code: 'provider_bad_gateway', retryable: true })
    const long = 'Input validation error: `inputs` tokens + `max_new_tokens` must be <= 1512.'
    expect(decodeError(422, {}, JSON.stringify({ error: long, error_type: 'validation' })).code).toBe('context_window_exceeded')
    expect(decodeError(503, {}, '{"error":"Model is loading","estimated_time":20}').code).toBe('provider_unavailable')
  })
})

/** What was recorded, put together without the adapter. */
interface Said {
  content: string
  calls: { name: string; arguments: unknown }[]
  finish: string
}

interface RawMessage {
  content?: string | null
  tool_calls?: { function: { name?: string | null; arguments: unknown } }[] | null
}

/** Words of the service itself for an end; none at all, or one after calls, says less than the calls do. */
function saidOf(payloads: { choices?: { message?: RawMessage; delta?: RawMessage; finish_reason?: string | null }[] }[]): Said {
  const said: Said = { content: '', calls: [], finish: 'stop' }
  const pieces: string[] = []
  for (const choice of payloads.flatMap((payload) => payload.choices ?? [])) {
    const message = choice.message ?? choice.delta ?? {}
    said.content += message.content ?? ''
    for (const { function: called } of message.tool_calls ?? []) {
      const named = typeof called.name === 'string' && called.name !== ''
      if (choice.message !== undefined || (named && said.calls.length === 0))
        said.calls.push({ name: called.name ?? '', arguments: '' })
      const piece = typeof called.arguments === 'string' ? called.arguments : JSON.stringify(called.arguments)
      if (choice.message === undefined) pieces.push(piece)
      else (said.calls.at(-1) as Said['calls'][number]).arguments = JSON.parse(piece)
    }
    if (choice.finish_reason === 'length') said.finish = 'length'
  }
  const [first] = said.calls
  if (first !== undefined && pieces.length > 0) first.arguments = JSON.parse(pieces.join(''))
  if (said.calls.length > 0) said.finish = 'tool_calls'
  return said
}

describe.skipIf(!haveRecordings())('recorded chats of Hugging Face and its server', () => {
  const found = ['huggingface', 'tgi'].flatMap((folder) =>
    fileNames(folder).flatMap((file) => recordings(folder, file, 'chat').map((recording) => ({ folder, ...recording }))),
  )
  const answers = found.filter(({ status }) => status < 400)

  it('are there, whole, streamed and with calls', () => {
    expect(answers.filter(({ stream }) => stream === null).length).toBeGreaterThanOrEqual(6)
    expect(answers.filter(({ stream }) => stream !== null).length).toBeGreaterThanOrEqual(4)
    expect(found.some(({ status }) => status >= 400)).toBe(true)
  })

  it.each(answers.map((recording, at) => [`${recording.file} (${at})`, recording] as const))(
    'read as they were: %s',
    (_, { body, stream }) => {
      if (body !== null) {
        const [choice] = provider().chat.decodeResponse(Buffer.from(body), {}, context()).choices
        const calls = (choice?.message.tool_calls ?? []).map((call) => ({
          name: call.function?.name,
          arguments: JSON.parse(call.function?.arguments ?? ''),
        }))
        expect({ content: choice?.message.content ?? '', calls, finish: choice?.finish_reason }).toEqual(
          saidOf([JSON.parse(body)]),
        )
        return
      }
      const text = stream ?? ''
      const events = text.split('\n').filter((line) => line.startsWith('data:') && !line.includes('[DONE]'))
      const said = saidOf(events.map((line) => JSON.parse(line.slice('data:'.length))))
      for (const pieces of cuts(Buffer.from(text), 11)) {
        const decoder = provider().chat.decodeStream?.(context())
        if (decoder === undefined) throw new Error('chats are not streamed')
        const { chunks, error } = decodePieces<ChatChunk>(decoder, pieces)
        expect(error).toBeNull()
        const folded = foldChunks(chunks).choices.get(0)
        const calls = folded?.toolCalls.map((call) => ({
          name: call.function?.name,
          arguments: JSON.parse(call.function?.arguments ?? ''),
        }))
        expect({ content: folded?.content, calls, finish: folded?.finish }).toEqual(said)
      }
    },
  )

  it('fail as they failed', () => {
    for (const { status, body } of found.filter((recording) => recording.status >= 400)) {
      const error = provider().decodeError(status, {}, body ?? '')
      expect(error.code).toMatch(/^(provider_|context_window_exceeded)/)
      expect(error.message).toContain('HuggingfaceException - ')
    }
  })
})
