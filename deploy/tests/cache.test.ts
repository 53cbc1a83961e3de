import Anthropic from '@anthropic-ai/sdk'
import type OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Asked, type CachedGateway, openCachedGateway, prompt } from './cached-gateway.ts'
import { MODES } from './gateway.ts'

type Fields = Record<string, unknown>

const TOOLS = [{ type: 'function' as const, function: { name: 'lookup_0', parameters: { type: 'object', properties: {} } } }]

/** What the response cache promises, of every store, in both modes: the provider is asked once, and everybody who may gets the answer. */
describe.each(MODES)('the cache, %s', (mode) => {
  let cached: CachedGateway
  let key: string
  let openai: OpenAI

  beforeAll(async () => {
    cached = await openCachedGateway(mode)
    key = await cached.gateway.generateKey({})
    openai = cached.sdk(key)
  }, 120_000)
  afterAll(() => cached?.stop())

  const calls = (id: string) => cached.upstream.served(id).filter(({ protocol }) => protocol !== 'embedding').length
  const ask = (fields: Fields, more: Fields = {}) => cached.ask({ ...fields, ...more }, { key })
  const hits = async (...asked: Promise<Asked>[]) =>
    (await Promise.all(asked)).map(({ status, hit }) => (status === 200 ? hit : status))

  async function streamed(fields: object): Promise<{ final: OpenAI.ChatCompletion; chunks: OpenAI.ChatCompletionChunk[] }> {
    const chunks: OpenAI.ChatCompletionChunk[] = []
    const stream = openai.chat.completions.stream({ model: 'gpt', stream_options: { include_usage: true }, ...fields } as never)
    stream.on('chunk', (chunk) => chunks.push(chunk))
    return { final: await stream.finalChatCompletion(), chunks }
  }

  describe('all routers', () => {
    const many = (fields: Fields) => Array.from({ length: 10 }, () => ask(fields))

    it('have one cache where the store is shared', async () => {
      await cached.arrange(cached.paramsOf('redis'))
      const { id, messages } = prompt()
      await ask({ messages })
      await expect.poll(() => cached.stored('redis')).toBeGreaterThan(0)
      expect(await hits(...many({ messages }))).toEqual(Array(10).fill(true))
      expect(calls(id)).toBe(1)
    })

    it('forget what one of them is told to forget', async () => {
      await cached.arrange({ type: 'local' })
      const look = async (fields: Fields) =>
        (await hits(...many({ ...fields, cache: { 'no-store': true } }))).filter((hit) => hit === true).length
      const [one, other] = [prompt(), prompt()]
      const known: string[] = []
      for (const { messages } of [one, other]) {
        const [first] = await Promise.all(many({ messages }))
        known.push(first?.headers.get('x-litellm-cache-key') as string)
        expect(await look({ messages })).toBeGreaterThan(0)
      }
      await cached.gateway.admin('POST', '/cache/delete', { keys: known.slice(0, 1) })
      await expect.poll(() => look({ messages: one.messages })).toBe(0)
      expect(await look({ messages: other.messages })).toBeGreaterThan(0)
      await cached.gateway.admin('POST', '/cache/flushall', {})
      await expect.poll(() => look({ messages: other.messages })).toBe(0)
    })

    // What a router keeps to itself can be told exactly of one only.
    afterAll(() => cached.gateway.cluster?.kill('router', 1, 'SIGTERM'))
  })

  describe.each(['local', 'redis', 'disk', 's3'])('of type %s', (type) => {
    beforeAll(() => cached.arrange(cached.paramsOf(type)))

    /** Runs a call that is kept, until it is. */
    async function keep<T>(call: () => Promise<T>, answers = 1): Promise<T> {
      const before = await cached.stored(type)
      const result = await call()
      if (before !== null) await expect.poll(() => cached.stored(type)).toBe(before + answers)
      return result
    }

    it('answers whole and streamed from a whole answer', async () => {
      const { id, messages } = prompt('chunks=5,prompt=70,completion=9')
      const fresh = await keep(() => ask({ messages }))
      expect(fresh).toMatchObject({ status: 200, hit: false })
      const whole = await ask({ messages })
      expect(whole).toMatchObject({ status: 200, hit: true })
      expect(whole.json).toEqual(fresh.json)
      const { final, chunks } = await streamed({ messages })
      expect(final).toMatchObject({
        model: 'gpt',
        choices: [{ message: { content: fresh.json.choices[0].message.content }, finish_reason: 'stop' }],
        usage: { prompt_tokens: 70, completion_tokens: 9, total_tokens: 79 },
      })
      expect(chunks[0]?.choices[0]?.delta.role).toBe('assistant')
      expect(chunks.filter((chunk) => chunk.usage != null)).toHaveLength(1)
      expect(chunks.filter((chunk) => chunk.choices[0]?.finish_reason === 'stop')).toHaveLength(1)
      const plain = await ask({ messages, stream: true })
      expect(plain.hit).toBe(true)
      expect(plain.text).not.toContain('"usage"')
      expect(plain.text.endsWith('data: [DONE]\n\n')).toBe(true)
      expect(calls(id)).toBe(1)
    })

    it('answers whole and streamed from a stream', async () => {
      const { id, messages } = prompt('chunks=5,prompt=70,completion=9')
      const fresh = await keep(() => streamed({ messages }))
      const again = await streamed({ messages })
      expect(again.final).toMatchObject({ choices: fresh.final.choices, usage: fresh.final.usage as object })
      const whole = await ask({ messages })
      expect(whole.json).toMatchObject({
        id: fresh.final.id,
        object: 'chat.completion',
        model: 'gpt',
        choices: [{ message: { role: 'assistant', content: fresh.final.choices[0]?.message.content }, finish_reason: 'stop' }],
        usage: { prompt_tokens: 70, completion_tokens: 9 },
      })
      expect(calls(id)).toBe(1)
    })

    it('calls tools, from a whole answer and from a stream', async () => {
      for (const first of ['whole', 'stream']) {
        const { id, messages } = prompt('tools=2,chunks=0,toolsize=20')
        const fields = { messages, tools: TOOLS }
        const whole = async () => (await ask(fields)).json as OpenAI.ChatCompletion
        const stream = async () => (await streamed(fields)).final
        const [fresh, other] = first === 'whole' ? [whole, stream] : [stream, whole]
        const [one, two] = [await keep<OpenAI.ChatCompletion>(fresh), await other()]
        expect(one.choices[0]?.message.tool_calls).toHaveLength(2)
        expect(two.choices[0]).toMatchObject({ finish_reason: 'tool_calls', message: { tool_calls: shown(one) } })
        expect(shown(await stream())).toEqual(shown(one))
        expect(calls(id)).toBe(1)
      }
    })

    it('asks for the embeddings only that it has not', async () => {
      const { id } = prompt()
      const inputs = ['one', 'two', 'three'].map((word) => `${word} [[upstream id=${id}]]`)
      const embed = (input: unknown) => openai.embeddings.create({ model: 'embed', input: input as string[] }).withResponse()
      const first = await keep(() => embed(inputs.slice(0, 2)), 2)
      const { data, response } = await keep(() => embed([inputs[1], inputs[2], inputs[0]]))
      expect(response.headers.get('x-litellm-cache-hit')).toBeNull()
      expect(data.data.map(({ index }) => index)).toEqual([0, 1, 2])
      expect(data.data[0]?.embedding).toEqual(first.data.data[1]?.embedding)
      expect(data.data[2]?.embedding).toEqual(first.data.data[0]?.embedding)
      const all = await embed(inputs)
      expect(all.response.headers.get('x-litellm-cache-hit')).toBe('True')
      expect(all.response.headers.get('x-litellm-response-cost')).toBe('0')
      expect(all.data.data.map(({ embedding }) => embedding)).toEqual([2, 0, 1].map((at) => data.data[at]?.embedding))
      expect(cached.upstream.served(id).map(({ body }) => JSON.parse(body).input)).toEqual([inputs.slice(0, 2), [inputs[2]]])
    })

    it('says that it is well, and forgets what it is told to', async () => {
      const [one, other] = [prompt(), prompt()]
      const { headers } = await keep(() => ask({ messages: one.messages }))
      await keep(() => ask({ messages: other.messages }))
      expect(await cached.gateway.admin('GET', '/cache/ping')).toMatchObject({
        status: 'healthy',
        cache_type: type === 'local' ? 'memory' : type,
        ping_response: true,
        set_cache_response: 'success',
      })
      const look = ({ messages }: typeof one) => ask({ messages, cache: { 'no-store': true } })
      expect(await hits(look(one), look(other))).toEqual([true, true])
      await cached.gateway.admin('POST', '/cache/delete', { keys: [headers.get('x-litellm-cache-key')] })
      expect(await hits(look(one), look(other))).toEqual([false, true])
      await cached.gateway.admin('POST', '/cache/flushall', {})
      expect(await hits(look(one), look(other))).toEqual([false, false])
      const info = cached.gateway.admin('GET', '/cache/redis/info')
      if (type === 'redis')
        expect(await info).toMatchObject({ num_clients: expect.any(Number), info: { redis_version: expect.any(String) } })
      else await expect(info).rejects.toThrow('400')
    })
  })

  describe('in memory', () => {
    beforeAll(() => cached.arrange({ type: 'local' }))

    it('speaks the protocol of whoever asks, and gives Anthropic’s clients what OpenAI’s asked where it is the same question', async () => {
      const anthropic = new Anthropic({ baseURL: cached.gateway.url, apiKey: key, maxRetries: 0 })
      for (const model of ['gpt', 'claude']) {
        const { id, messages } = prompt('chunks=3,prompt=70,completion=9')
        const fields = { model, messages, max_tokens: 100 }
        const fresh = await ask(fields)
        const { data, response } = await anthropic.messages.create(fields).withResponse()
        expect(response.headers.get('x-litellm-cache-hit')).toBe('True')
        expect(data).toMatchObject({
          type: 'message',
          role: 'assistant',
          model,
          content: [{ type: 'text', text: fresh.json.choices[0].message.content }],
          stop_reason: 'end_turn',
          usage: { input_tokens: 70, output_tokens: 9 },
        })
        const final = await anthropic.messages.stream(fields).finalMessage()
        expect(final).toMatchObject({
          content: [{ type: 'text', text: fresh.json.choices[0].message.content }],
          stop_reason: 'end_turn',
        })
        expect(calls(id)).toBe(1)
        // Other questions: more of them, or the same words with something to them that OpenAI has no word for.
        const others = [
          { max_tokens: 99 },
          { system: 'Be brief.' },
          { top_k: 3 },
          { thinking: { type: 'enabled', budget_tokens: 1024 }, max_tokens: 2000 },
        ]
        for (const other of others) {
          const { response: answer } = await anthropic.messages.create({ ...fields, ...other } as typeof fields).withResponse()
          expect([other, answer.headers.get('x-litellm-cache-hit')]).toEqual([other, null])
        }
        expect(calls(id)).toBe(1 + others.length)
      }
    })

    it('is shared within a tenant, never between two', async () => {
      const team = async () => ((await cached.gateway.admin('POST', '/team/new', {})) as { team_id: string }).team_id
      const [first, second] = [await team(), await team()]
      const keys = await Promise.all(
        [
          { team_id: first },
          { team_id: first },
          { team_id: second },
          { user_id: 'ada' },
          { user_id: 'ada' },
          { user_id: 'bob' },
          {},
          {},
        ].map((fields) => cached.gateway.generateKey(fields)),
      )
      const { id, messages } = prompt()
      const told: boolean[] = []
      for (const one of keys) told.push((await cached.ask({ messages }, { key: one })).hit)
      expect(told).toEqual([false, true, false, false, true, false, false, false])
      expect(calls(id)).toBe(6)
      await cached.arrange({ type: 'local' }, { tenancy: 'shared' })
      const shared = prompt()
      const answers: boolean[] = []
      for (const one of keys) answers.push((await cached.ask({ messages: shared.messages }, { key: one })).hit)
      expect(answers).toEqual([false, ...Array(7).fill(true)])
      await cached.arrange({ type: 'local' })
    })

    it('does what a request says: no-cache, no-store, ttl, s-maxage, namespace', async () => {
      const { id, messages } = prompt()
      const look = async (cache: Fields = {}, headers: Record<string, string> = {}) =>
        (await cached.ask({ messages, cache: { 'no-store': true, ...cache } }, { key, headers })).hit
      await ask({ messages, cache: { 'no-store': true } })
      expect(await look()).toBe(false)
      await cached.ask({ messages }, { key, headers: { 'cache-control': 'no-store' } })
      expect(await look()).toBe(false)
      await ask({ messages, cache: { ttl: 60 } })
      expect(await look()).toBe(true)
      expect(await look({ 'no-cache': true })).toBe(false)
      expect(await look({}, { 'cache-control': 'no-cache' })).toBe(false)
      expect(await look({ 's-maxage': 60 })).toBe(true)
      await expect.poll(() => look({ 's-maxage': 0.001 })).toBe(false)
      expect(await look({ namespace: 'mine' })).toBe(false)
      const named = await ask({ messages, cache: { namespace: 'mine' } })
      expect(named.headers.get('x-litellm-cache-key')).toMatch(/^mine:[0-9a-f]{64}$/)
      expect(await look({ namespace: 'mine' })).toBe(true)
      expect(await look({ namespace: 'other' })).toBe(false)
      await ask({ messages, cache: { ttl: 0.001, 'no-cache': true } })
      await expect.poll(() => look()).toBe(false)
      expect(calls(id)).toBeGreaterThan(8)
    })

    it('refuses what a key may not say, and what says nothing', async () => {
      const narrow = await cached.gateway.generateKey({ allowed_cache_controls: ['no-cache'] })
      const { id, messages } = prompt()
      const answers = await Promise.all([
        cached.ask({ messages, cache: { 'no-store': true } }, { key: narrow }),
        cached.ask({ messages }, { key: narrow, headers: { 'cache-control': 'no-store' } }),
        ask({ messages, cache: 'yes' }),
        ask({ messages, cache: { ttl: 'soon' } }),
        ask({ messages, cache: { nope: true } }),
        ask({ messages, cache: { 'no-cache': 'perhaps' } }),
      ])
      expect(answers.map(({ status, json }) => [status, json.error.param])).toEqual([
        [403, 'cache.no-store'],
        [403, 'cache.no-store'],
        [400, 'cache'],
        [400, 'cache.ttl'],
        [400, 'cache.nope'],
        [400, 'cache.no-cache'],
      ])
      expect(calls(id)).toBe(0)
      expect((await cached.ask({ messages, cache: { 'no-cache': true } }, { key: narrow })).status).toBe(200)
    })

    it('costs nothing where it answers, and says so; the call counts as one', async () => {
      const own = await cached.gateway.generateKey({ rpm_limit: 3 })
      const { id, messages } = prompt('prompt=70,completion=10')
      const answers: Asked[] = []
      for (const stream of [false, false, true, false]) answers.push(await cached.ask({ messages, stream }, { key: own }))
      expect(answers.map(({ status, hit }) => [status, hit])).toEqual([
        [200, false],
        [200, true],
        [200, true],
        [429, false],
      ])
      const [fresh, whole, replayed] = answers.map(({ headers }) => headers)
      expect(fresh?.get('x-litellm-response-cost')).toBe('0.09')
      for (const headers of [whole, replayed]) {
        expect(headers?.get('x-litellm-response-cost')).toBe('0')
        expect(headers?.get('x-litellm-cache-key')).toBe(fresh?.get('x-litellm-cache-key'))
        const rows = await cached.gateway.ledger(headers?.get('x-litellm-call-id') as string)
        expect(rows).toEqual([expect.objectContaining({ status: 'success', spend: 0, cache_hit: 'True', model_group: 'gpt' })])
      }
      const [row] = await cached.gateway.ledger(fresh?.get('x-litellm-call-id') as string)
      expect(row).toMatchObject({ spend: 0.09, prompt_tokens: 70 })
      expect(row?.['cache_hit']).not.toBe('True')
      const spend = async () =>
        ((await cached.gateway.admin('GET', `/key/info?key=${own}`)) as { info: { spend: number } }).info.spend
      await expect.poll(spend, { timeout: 10_000 }).toBe(0.09)
      expect(calls(id)).toBe(1)
    })

    it.each([
      ['an error', 'fail=500', false],
      ['a filtered answer', 'finish=content_filter', false],
      ['a filtered stream', 'finish=content_filter', true],
      ['a stream that is cut', 'chunks=6,fault=cut', true],
      ['a stream with an error in it', 'chunks=6,fault=error', true],
      ['a stream without its end', 'chunks=6,fault=truncate', true],
      ['an empty answer', 'fault=empty', false],
      ['an answer of no words', 'chunks=0', false],
    ])('never keeps %s', async (_, script, stream) => {
      const { id, messages } = prompt(script)
      const fields = { messages, stream, num_retries: 0 }
      const first = await ask(fields)
      const tried = calls(id)
      const second = await ask(fields)
      expect([first.hit, second.hit, second.status]).toEqual([false, false, first.status])
      expect([tried > 0, calls(id)]).toEqual([true, 2 * tried])
    })

    it('never keeps a stream its client left', async () => {
      const { id, messages } = prompt('chunks=50,interval=20')
      const stream = await openai.chat.completions.create({ model: 'gpt', messages, stream: true })
      for await (const _ of stream) break
      await cached.upstream.when(() => cached.upstream.served(id)[0]?.outcome === 'aborted')
      expect((await ask({ messages })).hit).toBe(false)
    })

    it('looks at and keeps only what asks for it, in mode default_off', async () => {
      await cached.arrange({ type: 'local', mode: 'default_off' })
      const { id, messages } = prompt()
      const wanted = { messages, cache: { 'use-cache': true } }
      const told: (string | null | boolean)[] = []
      for (const fields of [{ messages }, { messages }, wanted, wanted, { messages }]) told.push((await ask(fields)).hit)
      expect(told).toEqual([false, false, false, true, false])
      expect(calls(id)).toBe(4)
    })
  })

  describe('with single_flight', () => {
    beforeAll(() => cached.arrange({ type: 'local' }, { single_flight: true }))

    it('asks the provider once for fifty identical calls', async () => {
      const { id, messages } = prompt('latency=200,chunks=3')
      const answers = await Promise.all(Array.from({ length: 50 }, (_, index) => ask({ messages, stream: index % 2 === 1 })))
      expect(answers.map(({ status }) => status)).toEqual(Array(50).fill(200))
      expect(answers.filter(({ hit }) => !hit)).toHaveLength(1)
      expect(new Set(answers.flatMap(({ json }) => json?.choices[0].message.content ?? [])).size).toBe(1)
      expect(answers.filter(({ text }) => text.endsWith('data: [DONE]\n\n'))).toHaveLength(25)
      expect(calls(id)).toBe(1)
    })

    it('answers those who wait although the first one leaves, or fails', async () => {
      const { id, messages } = prompt('latency=200,chunks=3')
      const leaving = new AbortController()
      const first = cached.ask({ messages }, { key, signal: leaving.signal }).catch(() => 'left')
      await cached.upstream.when(() => calls(id) === 1)
      const others = Array.from({ length: 20 }, () => ask({ messages }))
      leaving.abort()
      expect(await first).toBe('left')
      const answers = await Promise.all(others)
      expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200))
      expect(answers.filter(({ hit }) => !hit)).toHaveLength(1)
      expect(cached.upstream.served(id).map(({ outcome }) => outcome)).toEqual(['aborted', 'completed'])
      const failing = prompt('latency=50,fail=400x1')
      const some = await Promise.all(Array.from({ length: 20 }, () => ask({ messages: failing.messages })))
      expect(some.map(({ status }) => status).sort()).toEqual([...Array(19).fill(200), 400])
      expect(calls(failing.id)).toBe(2)
    })
  })

  describe.each(['semantic', 'redis-semantic'])('of type %s', (type) => {
    const ASKED = 'What is the capital of France'
    const SIMILAR = 'What is the capital city of France'
    const OTHER = 'How do I bake bread with yeast'

    beforeAll(() =>
      cached.arrange({ ...cached.paramsOf(type), similarity_threshold: 0.8, redis_semantic_cache_embedding_model: 'embed' }),
    )

    it('answers what is similar enough, of the same tenant and the same instructions', async () => {
      const { messages } = prompt('', ASKED)
      const say = (words: string, more: Fields = {}, own = key) =>
        cached.ask(
          { messages: [{ role: 'user', content: prompt('', words).messages[0]?.content }], cache: { 'no-store': true }, ...more },
          { key: own },
        )
      const fresh = await ask({ messages })
      expect(fresh.headers.get('x-litellm-semantic-similarity')).toBeNull()
      const near = await say(SIMILAR)
      expect(near).toMatchObject({ status: 200, hit: true })
      const similarity = Number(near.headers.get('x-litellm-semantic-similarity'))
      expect(similarity).toBeGreaterThan(0.8)
      expect(similarity).toBeLessThan(1)
      expect(near.json.choices).toEqual(fresh.json.choices)
      expect(near.headers.get('x-litellm-response-cost')).toBe('0')
      expect(near.headers.get('x-litellm-cache-key')).toBe(fresh.headers.get('x-litellm-cache-key'))
      const exact = await ask({ messages })
      expect([exact.hit, exact.headers.get('x-litellm-semantic-similarity')]).toEqual([true, null])

      const stranger = await cached.gateway.generateKey({})
      const system = [
        { role: 'system', content: 'Answer in French.' },
        { role: 'user', content: SIMILAR },
      ]
      expect(
        await hits(
          say(OTHER),
          say(SIMILAR, {}, stranger),
          say(SIMILAR, { messages: system }),
          say(SIMILAR, { temperature: 0.1 }),
        ),
      ).toEqual([false, false, false, false])
    })

    it('is as strict as a key has it', async () => {
      const { team_id } = (await cached.gateway.admin('POST', '/team/new', {})) as { team_id: string }
      const [lax, strict] = await Promise.all([
        cached.gateway.generateKey({ team_id }),
        cached.gateway.generateKey({ team_id, router_settings: { cache_similarity: 0.99 } }),
      ])
      await cached.ask({ messages: prompt('', ASKED).messages }, { key: lax as string })
      const look = (own: string | undefined) =>
        cached.ask({ messages: prompt('', SIMILAR).messages, cache: { 'no-store': true } }, { key: own as string })
      expect(await hits(look(lax), look(strict))).toEqual([true, false])
    })

    it('books the embedding on the caller, and nothing else', async () => {
      const own = await cached.gateway.generateKey({})
      await cached.ask({ messages: prompt('prompt=70,completion=10', ASKED).messages }, { key: own })
      await cached.ask({ messages: prompt('prompt=70,completion=10', SIMILAR).messages }, { key: own })
      const spend = async () =>
        ((await cached.gateway.admin('GET', `/key/info?key=${own}`)) as { info: { spend: number } }).info.spend
      // Two prompts of 70 tokens embedded at $0.001 each, one of them answered by the model for $0.09.
      await expect.poll(spend, { timeout: 10_000 }).toBeCloseTo(0.09 + 2 * 0.07, 6)
    })
  })

  it('goes on without its Redis, and with it again', async () => {
    await cached.arrange({ type: 'redis', url: cached.relay.url })
    const { id, messages } = prompt()
    await expect.poll(async () => (await ask({ messages })).hit).toBe(true)
    await cached.gateway.admin('GET', '/cache/ping')
    for (const how of ['gone', 'silent'] as const) {
      await cached.relay.be(how)
      const before = calls(id)
      const answers = await Promise.all(Array.from({ length: 20 }, () => ask({ messages })))
      expect(answers.map(({ status, hit }) => [status, hit])).toEqual(Array(20).fill([200, false]))
      expect(calls(id)).toBe(before + 20)
      await expect(cached.gateway.admin('GET', '/cache/ping')).rejects.toThrow('503')
      await cached.relay.be('open')
      await expect.poll(async () => (await ask({ messages })).hit, { timeout: 15_000 }).toBe(true)
    }
  }, 60_000)

  it('changes nothing of what the provider is asked', async () => {
    const anthropic = new Anthropic({ baseURL: cached.gateway.url, apiKey: key, maxRetries: 0 })
    const mark = { cache_control: { type: 'ephemeral' as const } }
    const sent: string[][] = []
    for (const params of [null, { type: 'local' }]) {
      await cached.arrange(params)
      const [whole, stream, message] = [prompt(), prompt(), prompt()]
      await ask({ messages: whole.messages, top_k: 3, logit_bias: { 5: 1 }, user: 'ada', unheard_of: { a: 1 } })
      await ask({ messages: stream.messages, stream: true, max_completion_tokens: 5 })
      const text = message.messages[0]?.content ?? ''
      const fields = {
        system: [{ type: 'text' as const, text: 'Be brief.', ...mark }],
        top_k: 3,
        metadata: { user_id: 'ada' },
        unheard_of: 1,
      }
      const messages = [{ role: 'user' as const, content: [{ type: 'text' as const, text, ...mark }] }]
      await anthropic.messages.create({ model: 'claude', max_tokens: 10, messages, ...fields })
      sent.push([whole, stream, message].map(({ id }) => (cached.upstream.served(id)[0]?.body ?? '').replaceAll(id, '')))
    }
    expect(sent[0]?.every((body) => body.length > 0)).toBe(true)
    expect(sent[1]?.map((body) => JSON.parse(body))).toEqual(sent[0]?.map((body) => JSON.parse(body)))
  })

  it('is off as soon as it is turned off, and on again', async () => {
    await cached.arrange({ type: 'local' })
    const { id, messages } = prompt()
    await ask({ messages })
    expect((await ask({ messages })).hit).toBe(true)
    await cached.arrange(null)
    const answer = await ask({ messages })
    expect([answer.hit, answer.headers.get('x-litellm-cache-key'), calls(id)]).toEqual([false, null, 1])
    await expect(cached.gateway.admin('GET', '/cache/ping')).rejects.toThrow('503')
    await cached.arrange({ type: 'local' })
    await ask({ messages })
    expect((await ask({ messages })).hit).toBe(true)
  })
})

function shown({ choices }: OpenAI.ChatCompletion): unknown {
  return choices[0]?.message.tool_calls?.map((call) => ({
    id: call.id,
    type: call.type,
    function: call.type === 'function' ? { name: call.function.name, arguments: call.function.arguments } : null,
  }))
}
