import { describe, expect, it } from 'vitest'
import type { Deployment } from '../proto/deployment.ts'
import type { Identity } from '../proto/identity.ts'
import { DEFAULT_ROUTING } from '../proto/routing.ts'
import { createMemoryCounters } from '../shared/counters/memory.ts'
import { silentLog } from '../shared/log.ts'
import { createAdmission } from './admission/admission.ts'
import { deployment, identity, JSON_TYPE, make, settled } from './handle.testkit.ts'

/** What holds for chats holds for every kind of call: who may make it, how often, and where it goes when a provider fails. */

interface Case {
  endpoint: string
  body: Record<string, unknown> | string
  serves: Partial<Deployment>
  answer: (body: string) => string | Buffer
  type?: string
  /** The model is named by the path. */
  path?: true
  form?: true
  /** Requests of one attempt; default 1. */
  parts?: number
  /** Nobody bills for it. */
  free?: true
}

const FILE = (name: string, fields: Record<string, string>): string => {
  const texts = Object.entries({ model: 'gpt', ...fields }).map(
    ([field, value]) => `--b\r\ncontent-disposition: form-data; name="${field}"\r\n\r\n${value}\r\n`,
  )
  const file = `--b\r\ncontent-disposition: form-data; name="${name}"; filename="a.bin"\r\n\r\nRIFF0000\r\n`
  return `${texts.join('')}${file}--b--\r\n`
}
const json = (value: unknown) => () => JSON.stringify(value)
const image = json({ created: 1, data: [{ url: 'https://x.test/1.png' }] })
const heard = json({ task: 'transcribe', text: 'hello', language: 'english', duration: 3 })
const perUnit = (prices: Record<string, number>) => ({ rateVersion: 'r1', perUnit: prices })
const IMAGES = perUnit({ image_out: 4e13 })

const CASES: Readonly<Record<string, Case>> = {
  image: {
    endpoint: 'aimage_generation',
    body: { model: 'gpt', prompt: 'p' },
    serves: { model: 'dall-e-3', prices: IMAGES },
    answer: image,
  },
  image_edit: {
    endpoint: 'aimage_edit',
    body: FILE('image', { prompt: 'p' }),
    form: true,
    serves: { model: 'dall-e-2', prices: IMAGES },
    answer: image,
  },
  image_variation: {
    endpoint: 'aimage_variation',
    body: FILE('image', {}),
    form: true,
    serves: { model: 'dall-e-2', prices: IMAGES },
    answer: image,
  },
  speech: {
    endpoint: 'aspeech',
    body: { model: 'gpt', input: 'hello', voice: 'alloy' },
    serves: { model: 'tts-1', prices: perUnit({ character_in: 15e9 }) },
    answer: () => Buffer.from('ID3'),
    type: 'audio/mpeg',
  },
  transcription: {
    endpoint: 'atranscription',
    body: FILE('file', {}),
    form: true,
    serves: { model: 'whisper-1', prices: perUnit({ audio_ms_in: 1e8 }) },
    answer: heard,
  },
  translation: {
    endpoint: 'atranslation',
    body: FILE('file', {}),
    form: true,
    serves: { model: 'whisper-1', prices: perUnit({ audio_ms_in: 1e8 }) },
    answer: heard,
  },
  moderation: {
    endpoint: 'amoderation',
    body: { model: 'gpt', input: 'x' },
    serves: { model: 'omni-moderation-latest' },
    answer: json({
      id: 'm',
      model: 'o',
      results: [{ flagged: false, categories: {}, category_scores: {} }],
      usage: { total_tokens: 4 },
    }),
  },
  rerank: {
    endpoint: 'arerank',
    body: { model: 'gpt', query: 'q', documents: ['d'] },
    serves: { provider: 'cohere', model: 'rerank-v3.5', prices: perUnit({ query: 2e12 }) },
    answer: json({ id: 'r', results: [{ index: 0, relevance_score: 0.5 }], meta: { billed_units: { search_units: 1 } } }),
  },
  count_tokens: {
    endpoint: 'anthropic_count_tokens',
    body: { model: 'gpt', messages: [{ role: 'user', content: 'hi' }] },
    serves: { provider: 'anthropic', model: 'claude-sonnet-4-5' },
    answer: json({ input_tokens: 9 }),
    free: true,
  },
  'embeddings in parts': {
    endpoint: 'aembedding',
    body: { model: 'gpt', input: Array.from({ length: 3000 }, String), encoding_format: 'float' },
    serves: { model: 'text-embedding-3-small' },
    parts: 2,
    answer: (body) => {
      const { input } = JSON.parse(body) as { input: string[] }
      const data = input.map((_, index) => ({ object: 'embedding', index, embedding: [1] }))
      return JSON.stringify({
        object: 'list',
        model: 'm',
        data,
        usage: { prompt_tokens: input.length, total_tokens: input.length },
      })
    },
  },
  responses: {
    endpoint: 'aresponses',
    body: { model: 'gpt', input: 'hi' },
    serves: { provider: 'openai', model: 'gpt-4o', apiBase: null },
    answer: json({
      id: 'resp_1',
      object: 'response',
      status: 'completed',
      model: 'gpt-4o',
      output: [
        {
          type: 'message',
          id: 'm',
          role: 'assistant',
          status: 'completed',
          content: [{ type: 'output_text', text: 'hello', annotations: [] }],
        },
      ],
      usage: { input_tokens: 5, output_tokens: 2, total_tokens: 7 },
    }),
  },
  gemini: {
    endpoint: 'agenerate_content',
    body: { contents: [{ role: 'user', parts: [{ text: 'hi' }] }] },
    path: true,
    serves: { provider: 'gemini', model: 'gemini-2.5-flash' },
    answer: json({
      candidates: [{ content: { role: 'model', parts: [{ text: 'hello' }] }, finishReason: 'STOP', index: 0 }],
      usageMetadata: { promptTokenCount: 5, candidatesTokenCount: 2, totalTokenCount: 7 },
    }),
  },
}

type World = ReturnType<typeof make>

describe.each(Object.entries(CASES))('%s', (_name, { endpoint, body, serves, answer, type, path, form, parts = 1, free }) => {
  const one = (id: string, fields: Partial<Deployment> = {}) => deployment(id, { ...serves, ...fields })
  const ask = (world: World, model = 'gpt', who: Partial<Identity> = {}) => {
    const named =
      typeof body === 'string' ? body.replace('\r\n\r\ngpt\r\n', `\r\n\r\n${model}\r\n`) : path ? body : { ...body, model }
    return world.call(named, {
      endpoint,
      identity: { ...identity, ...who } as Identity,
      headers: form === true ? { 'content-type': 'multipart/form-data; boundary=b' } : {},
      ...(path === true ? { pathModel: model } : {}),
    })
  }
  /** The requests of an attempt, once all are out; `from` were sent before. */
  const sentFrom = async (world: World, from: number) => {
    await expect.poll(() => world.sent.length).toBe(from + parts)
    return world.sent.slice(from)
  }
  const refuse = async (world: World, from: number, status: number) => {
    for (const { sink } of await sentFrom(world, from)) {
      sink.head(status, JSON_TYPE)
      sink.data(Buffer.from('{"error":{"message":"no"}}'))
      sink.end()
    }
  }
  const say = async (world: World, from: number) => {
    for (const { sink, request } of await sentFrom(world, from)) {
      sink.head(200, type === undefined ? JSON_TYPE : { 'content-type': type })
      sink.data(Buffer.from(answer(String(request.body))))
      sink.end()
    }
  }

  it('goes to the fallback when its provider fails, and both attempts are booked', async () => {
    const fallbacks = { general: { gpt: [{ model: 'other' }] }, contextWindow: null, contentPolicy: null }
    const routing = { ...DEFAULT_ROUTING, fallbacks }
    const world = make([one('one'), one('two', { modelGroup: 'other' })], { numRetries: 0, routing })
    const client = ask(world)
    await refuse(world, 0, 500)
    await say(world, parts)
    await client.done
    expect(client.head?.status).toBe(200)
    expect(client.head?.headers['x-litellm-attempted-fallbacks']).toBe('1')
    const [event] = world.events
    expect(event).toMatchObject({
      outcome: 'success',
      endpoint,
      modelGroup: 'other',
      attempts: [
        { deploymentId: 'one', outcome: 'failure' },
        { deploymentId: 'two', outcome: 'success' },
      ],
    })
    if (free === true) expect(event?.attempts[1]?.cost).toBe(0)
    else expect(event?.attempts[1]?.cost).toBeGreaterThan(0)
    expect(event?.attempts[0]?.cost).toBeUndefined()
  })

  it('goes to the other deployment when one is over its limit there, which cools down', async () => {
    const world = make([one('one'), one('two')])
    const client = ask(world)
    await refuse(world, 0, 429)
    await say(world, parts)
    await client.done
    expect(client.head?.status).toBe(200)
    expect(world.events[0]?.attempts.map(({ deploymentId, outcome }) => [deploymentId, outcome])).toEqual([
      ['one', 'failure'],
      ['two', 'success'],
    ])
    const next = ask(world)
    await say(world, 2 * parts)
    await next.done
    expect(world.events[1]?.attempts.map(({ deploymentId }) => deploymentId)).toEqual(['two'])
  })

  it('is aborted upstream when the client leaves', async () => {
    const world = make([one('one')])
    const client = ask(world)
    const sent = await sentFrom(world, 0)
    client.stream.onCancel?.('client_gone')
    await client.done
    expect(sent.every(({ aborted }) => aborted)).toBe(true)
    expect(world.sent).toHaveLength(parts)
    expect(world.events).toMatchObject([{ outcome: 'cancelled', attempts: [{ outcome: 'cancelled' }] }])
  })

  it('ends when its time is over', async () => {
    const world = make([one('one', { timeout: 5_000 })], { numRetries: 0 })
    const client = ask(world)
    const sent = await sentFrom(world, 0)
    world.clock.advance(5_100)
    await client.done
    expect(client.head?.status).toBe(408)
    expect(sent.every(({ aborted }) => aborted)).toBe(true)
  })

  it('asks nobody for a model that is unknown, or not the key’s', async () => {
    const world = make([one('one')])
    const unknown = ask(world, 'nothing')
    await unknown.done
    expect(unknown.head?.status).toBe(400)
    const denied = ask(world, 'gpt', { models: ['other'] })
    await denied.done
    expect([401, 403]).toContain(denied.head?.status)
    expect(world.sent).toHaveLength(0)
  })

  it('counts in the requests of its key', async () => {
    const world = make([one('one')], {}, (clock) => {
      const counters = createMemoryCounters({ clock })
      void counters.rebuild(async () => [])
      const bus = { onChange: () => ({ stop: async () => undefined }) }
      const limits = { find: () => ({ customer: null, limits: [] }), stop: async () => undefined }
      return { admission: createAdmission({ bus, counters, limits, clock, log: silentLog }) }
    })
    await settled()
    const limits = [
      { scope: 'key|k', kind: 'key', owner: 'k', requests: 1, spent: 0, revision: 0, resetAt: null },
    ] as Identity['limits']
    const first = ask(world, 'gpt', { limits })
    await say(world, 0)
    await first.done
    const second = ask(world, 'gpt', { limits })
    await second.done
    expect([first.head?.status, second.head?.status]).toEqual([200, 429])
    expect(world.sent).toHaveLength(parts)
  })
})
