import { describe, expect, it } from 'vitest'
import type { CacheSettings } from '../../proto/routing.ts'
import { silentLog } from '../../shared/log.ts'
import { answer, chat, delta, deployment, JSON_TYPE, make as makeHandle, STREAM, settled, sse } from '../handle.testkit.ts'
import { noCacheCounts } from './cache-counts.ts'
import { SETTINGS } from './call.testkit.ts'
import { createGuard, guardCache } from './guard.ts'
import { createLookup } from './lookup.ts'
import { createMemoryCache } from './memory.ts'

/** A router's handle with a cache in memory. */
function make(changes: Partial<CacheSettings> = {}, deployments = [deployment('one')]) {
  return makeHandle(deployments, { cache: { ...SETTINGS, ...changes } }, (clock) => {
    const raw = createMemoryCache({ clock, maxEntries: 100, maxBytes: 1_000_000 })
    const cache = guardCache(raw, createGuard({ clock, log: silentLog, counts: noCacheCounts }))
    const store = { type: 'memory' as const, cache, semantic: null, raw, vectors: null, shared: false, redis: null }
    return { cache: createLookup({ store: () => store, clock, counts: noCacheCounts }) }
  })
}

type Made = ReturnType<typeof make>

async function sentTo(made: Made, index: number): Promise<Made['sent'][number]> {
  while (made.sent.length <= index) await settled()
  return made.sent[index] as Made['sent'][number]
}

describe('a call that is cached', () => {
  it('reaches a provider once, whole or streamed, and costs once', async () => {
    const made = make()
    const first = made.call(chat)
    const { sink } = await sentTo(made, 0)
    sink.head(200, JSON_TYPE)
    sink.data(answer())
    sink.end()
    await first.done
    const key = first.head?.headers['x-litellm-cache-key']
    expect(key).toMatch(/^[0-9a-f]{64}$/)
    expect(first.head?.headers).not.toHaveProperty('x-litellm-cache-hit')
    expect(JSON.parse(first.text)).toMatchObject({ id: 'x', model: 'gpt', choices: [{ message: { content: 'hello' } }] })

    const second = made.call(chat)
    await second.done
    expect(JSON.parse(second.text)).toEqual(JSON.parse(first.text))
    expect(second.head?.headers).toMatchObject({
      'x-litellm-cache-key': key,
      'x-litellm-cache-hit': 'True',
      'x-litellm-response-cost': '0',
    })

    const streamed = made.call({ ...chat, stream: true })
    await streamed.done
    expect(streamed.text).toContain('"content":"hello"')
    expect(streamed.text.endsWith('data: [DONE]\n\n')).toBe(true)
    expect(made.sent).toHaveLength(1)
    expect(made.events.map(({ cacheHit, attempts }) => [cacheHit, attempts.length])).toEqual([
      [undefined, 1],
      [true, 0],
      [true, 0],
    ])
  })

  it('is told a stream as it comes, and the next one like it gets the whole of it', async () => {
    const made = make()
    const first = made.call({ ...chat, stream: true })
    const { sink } = await sentTo(made, 0)
    sink.head(200, STREAM)
    sink.data(delta('hel'))
    await settled()
    expect(first.text).toContain('"content":"hel"')
    expect(first.head?.headers).toHaveProperty('x-litellm-cache-key')
    sink.data(delta('lo', 'stop'))
    sink.data(
      sse({
        id: 'x',
        object: 'chat.completion.chunk',
        created: 1,
        model: 'gpt-4o',
        choices: [],
        usage: { prompt_tokens: 10, completion_tokens: 2, total_tokens: 12 },
      }),
    )
    sink.data(sse('[DONE]'))
    sink.end()
    await first.done
    const second = made.call(chat)
    await second.done
    expect(JSON.parse(second.text)).toMatchObject({
      id: 'x',
      object: 'chat.completion',
      choices: [{ message: { content: 'hello' }, finish_reason: 'stop' }],
      usage: { total_tokens: 12 },
    })
    expect(made.sent).toHaveLength(1)
    expect(made.events[0]?.attempts[0]?.usage).toMatchObject({ input: 10, output: 2, estimated: false })
  })

  it('is not kept when it fails, breaks off or is left', async () => {
    const made = make({}, [deployment('one', { maxRetries: 0 })])
    const refused = made.call(chat)
    const first = await sentTo(made, 0)
    first.sink.head(400, JSON_TYPE)
    first.sink.data(Buffer.from('{"error":{"message":"no"}}'))
    first.sink.end()
    await refused.done
    expect(refused.head?.status).toBe(400)
    const cut = made.call({ ...chat, stream: true })
    const second = await sentTo(made, 1)
    second.sink.head(200, STREAM)
    second.sink.data(delta('half'))
    second.sink.end()
    await cut.done
    expect(cut.text).not.toContain('[DONE]')
    const left = made.call(chat)
    await sentTo(made, 2)
    left.stream.onCancel?.('left')
    await left.done
    const last = made.call(chat)
    const fourth = await sentTo(made, 3)
    fourth.sink.head(200, JSON_TYPE)
    fourth.sink.data(answer())
    fourth.sink.end()
    await last.done
    expect(last.head?.status).toBe(200)
  })

  it('waits for an identical one where that is wanted, and goes itself when that one’s client leaves', async () => {
    const made = make({ singleFlight: true })
    const first = made.call(chat)
    const others = [made.call(chat), made.call({ ...chat, stream: true })]
    await sentTo(made, 0)
    await settled()
    expect(made.sent).toHaveLength(1)
    first.stream.onCancel?.('left')
    await first.done
    const { sink } = await sentTo(made, 1)
    sink.head(200, JSON_TYPE)
    sink.data(answer())
    sink.end()
    await Promise.all(others.map(({ done }) => done))
    expect(made.sent).toHaveLength(2)
    expect(others.map(({ text }) => text.includes('hello'))).toEqual([true, true])
    expect(made.events.map(({ outcome }) => outcome)).toEqual(['cancelled', 'success', 'success'])
  })

  it('asks only for the embeddings it has not, and is billed for those', async () => {
    const made = make({}, [deployment('one', { model: 'text-embedding-3-small', mode: 'embedding' })])
    const fields = { endpoint: 'aembedding' as const }
    const embedded = (vectors: number[][]) =>
      Buffer.from(
        JSON.stringify({
          object: 'list',
          model: 'e',
          data: vectors.map((embedding, index) => ({ object: 'embedding', index, embedding })),
          usage: { prompt_tokens: vectors.length, total_tokens: vectors.length },
        }),
      )
    const first = made.call({ model: 'gpt', input: ['a', 'b'] }, fields)
    const one = await sentTo(made, 0)
    one.sink.head(200, JSON_TYPE)
    one.sink.data(embedded([[1], [2]]))
    one.sink.end()
    await first.done
    const second = made.call({ model: 'gpt', input: ['b', 'c', 'a'] }, fields)
    const two = await sentTo(made, 1)
    expect(JSON.parse(String(two.request.body))).toMatchObject({ input: ['c'] })
    two.sink.head(200, JSON_TYPE)
    two.sink.data(embedded([[3]]))
    two.sink.end()
    await second.done
    expect(JSON.parse(second.text)).toMatchObject({
      model: 'gpt',
      data: [
        { index: 0, embedding: [2] },
        { index: 1, embedding: [3] },
        { index: 2, embedding: [1] },
      ],
      usage: { prompt_tokens: 3 },
    })
    expect(made.events[1]?.attempts[0]?.usage).toMatchObject({ input: 1 })
  })

  it('tells what is wrong with its cache controls', async () => {
    const made = make()
    const call = made.call({ ...chat, cache: { ttl: 'soon' } })
    await call.done
    expect([call.head?.status, JSON.parse(call.text).error.param]).toEqual([400, 'cache.ttl'])
    expect(made.sent).toHaveLength(0)
  })
})

/** A form of one file, as a client sends it. */
function form(file: string, fields: Record<string, string> = {}): { body: string; headers: Record<string, string> } {
  const parts = Object.entries({ model: 'gpt', ...fields }).map(
    ([name, value]) => `--b\r\ncontent-disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`,
  )
  const sound = `--b\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\ncontent-type: audio/wav\r\n\r\n${file}\r\n`
  return { body: `${parts.join('')}${sound}--b--\r\n`, headers: { 'content-type': 'multipart/form-data; boundary=b' } }
}

describe('rankings and transcriptions', () => {
  const modes = [...SETTINGS.modes, 'rerank', 'transcription']
  const ranked = { results: [{ index: 0, relevance_score: 0.5 }], meta: { billed_units: { search_units: 1 } } }

  async function ask(
    made: Made,
    endpoint: string,
    asked: { body: Record<string, unknown> | string; headers?: Record<string, string> },
    says?: unknown,
  ) {
    const before = made.sent.length
    const client = made.call(asked.body, { endpoint, headers: asked.headers ?? {} })
    if (says !== undefined) {
      const { sink } = await sentTo(made, before)
      sink.head(200, JSON_TYPE)
      sink.data(Buffer.from(JSON.stringify(says)))
      sink.end()
    }
    await client.done
    return { text: client.text, headers: client.head?.headers ?? {}, asked: made.sent.length - before }
  }

  it.each([true, false])('are kept by query and documents, whatever counts of other calls (%s)', async (providerParams) => {
    const made = make({ modes, providerParams }, [deployment('one', { provider: 'cohere', model: 'rerank-v3.5' })])
    const body = { model: 'gpt', query: 'q', documents: ['a', 'b'] }
    const first = await ask(made, 'arerank', { body }, ranked)
    const again = await ask(made, 'arerank', { body })
    expect(again).toMatchObject({ asked: 0, text: first.text, headers: { 'x-litellm-cache-hit': 'True' } })
    expect(first.text).not.toContain('billing')
    expect(made.events[1]?.savedUsage?.units).toEqual({ query: 1 })
    for (const other of [{ query: 'r' }, { documents: ['a', 'c'] }, { top_n: 1 }, { return_documents: true }])
      expect(await ask(made, 'arerank', { body: { ...body, ...other } }, ranked)).toMatchObject({ asked: 1 })
  })

  it('are kept by the bytes of the file: two files with the same fields are two keys', async () => {
    const made = make({ modes, providerParams: false }, [deployment('one', { model: 'whisper-1' })])
    const says = (text: string) => ({ task: 'transcribe', text, duration: 1, language: 'english' })
    const first = await ask(made, 'atranscription', form('RIFF one'), says('one'))
    const second = await ask(made, 'atranscription', form('RIFF two'), says('two'))
    expect(second.headers['x-litellm-cache-key']).not.toBe(first.headers['x-litellm-cache-key'])
    expect(await ask(made, 'atranscription', form('RIFF one'))).toMatchObject({ asked: 0, text: first.text })
    expect((await ask(made, 'atranscription', form('RIFF two'))).text).toContain('two')
    expect(await ask(made, 'atranscription', form('RIFF one', { language: 'de' }), says('eins'))).toMatchObject({ asked: 1 })
    // Its own form, under its own content type.
    const text = form('RIFF one', { response_format: 'text' })
    const plain = await ask(made, 'atranscription', text, says('one'))
    expect(plain).toMatchObject({ text: 'one\n', headers: { 'content-type': 'text/plain; charset=utf-8' } })
    expect(await ask(made, 'atranscription', text)).toMatchObject({
      asked: 0,
      text: 'one\n',
      headers: { 'content-type': 'text/plain; charset=utf-8' },
    })
    // A translation of the same file is another call.
    expect((await ask(made, 'atranslation', form('RIFF one'), says('one'))).headers['x-litellm-cache-hit']).toBeUndefined()
  })

  it('of images and speech are not kept unless they are named', async () => {
    const image = { data: [{ url: 'https://x.test/1.png' }] }
    const body = { model: 'gpt', prompt: 'a cat' }
    const usual = make({ modes }, [deployment('one', { model: 'dall-e-3' })])
    await ask(usual, 'aimage_generation', { body }, image)
    expect(await ask(usual, 'aimage_generation', { body }, image)).toMatchObject({ asked: 1 })
    const named = make({ modes: ['image'] }, [deployment('one', { model: 'dall-e-3' })])
    const first = await ask(named, 'aimage_generation', { body }, image)
    expect(await ask(named, 'aimage_generation', { body })).toMatchObject({ asked: 0, text: first.text })
  })
})
