import { describe, expect, it } from 'vitest'
import { GatewayError } from '../shared/errors.ts'
import { deployment, JSON_TYPE, make, STREAM, settled } from './handle.testkit.ts'

const TTS = { model: 'tts-1', prices: { rateVersion: 'r1', perUnit: { character_in: 15_000_000_000 } } }
const speech = { model: 'gpt', input: 'hello', voice: 'alloy' }
const picture = { model: 'gpt', prompt: 'a cat', stream: true }
const event = (fields: object) => Buffer.from(`data: ${JSON.stringify(fields)}\n\n`)
const PARTIAL = event({ type: 'image_generation.partial_image', b64_json: 'AA' })

/** A call, once its request is out. */
async function begun(world: ReturnType<typeof make>, body: Record<string, unknown>, endpoint: string) {
  const client = world.call(body, { endpoint })
  await expect.poll(() => world.sent.length).toBe(1)
  return { client, sink: (world.sent[0] as (typeof world.sent)[number]).sink }
}

describe('answers that are bytes', () => {
  it('go out piece by piece, and are billed at their end', async () => {
    const world = make([deployment('one', TTS)])
    const { client, sink } = await begun(world, speech, 'aspeech')
    sink.head(200, { 'content-type': 'audio/mpeg' })
    sink.data(Buffer.from('ID3'))
    expect(client.text).toBe('ID3')
    expect(client.head?.headers['content-type']).toBe('audio/mpeg')
    client.keepsUp = false
    sink.data(Buffer.from('-one'))
    expect(world.sent[0]?.paused).toBe(true)
    sink.end()
    await client.done
    expect(client).toMatchObject({ text: 'ID3-one', ended: true })
    expect(world.events[0]?.attempts[0]).toMatchObject({
      outcome: 'success',
      cost: 75_000,
      usage: { units: { character_in: 5 } },
    })
  })

  it('are no success when nothing came', async () => {
    const world = make([deployment('one', TTS)], { numRetries: 0 })
    const { client, sink } = await begun(world, speech, 'aspeech')
    sink.head(200, { 'content-type': 'audio/mpeg' })
    sink.end()
    await client.done
    expect(client.head?.status).toBeGreaterThanOrEqual(500)
    expect(world.events[0]?.attempts[0]?.outcome).toBe('failure')
  })

  it('are cut off where the connection breaks, and what came is booked', async () => {
    const world = make([deployment('one', TTS)])
    const { client, sink } = await begun(world, speech, 'aspeech')
    sink.head(200, { 'content-type': 'audio/mpeg' })
    sink.data(Buffer.from('ID3'))
    sink.failed(new GatewayError('provider_connection'))
    await client.done
    expect(client.error).not.toBeNull()
    expect(world.sent).toHaveLength(1)
    expect(world.events[0]?.attempts[0]).toMatchObject({ outcome: 'partial', cost: 75_000 })
  })
})

describe('events that go through', () => {
  const two = () => make([deployment('one', { model: 'gpt-image-1' }), deployment('two', { model: 'gpt-image-1' })])

  it('end with an error event when the last one never comes', async () => {
    const world = two()
    const { client, sink } = await begun(world, picture, 'aimage_generation')
    sink.head(200, STREAM)
    sink.data(PARTIAL)
    sink.end()
    await client.done
    expect(client.text.startsWith(PARTIAL.toString())).toBe(true)
    expect(JSON.parse(client.text.trim().split('\n').at(-1)?.replace('data: ', '') as string)).toHaveProperty('error.message')
    expect(world.sent).toHaveLength(1)
    expect(world.events[0]?.attempts[0]?.outcome).toBe('partial')
  })

  it('that begin with a failure are tried elsewhere', async () => {
    const world = two()
    const { client, sink } = await begun(world, picture, 'aimage_generation')
    sink.head(200, STREAM)
    sink.data(event({ type: 'error', error: { message: 'busy', code: 'overloaded' } }))
    await expect.poll(() => world.sent.length).toBe(2)
    const usage = { input_tokens: 10, output_tokens: 100, total_tokens: 110 }
    const other = (world.sent[1] as (typeof world.sent)[number]).sink
    other.head(200, STREAM)
    other.data(event({ type: 'image_generation.completed', b64_json: 'BB', usage }))
    other.end()
    await client.done
    expect(client.text).not.toContain('busy')
    expect(world.events[0]?.attempts.map(({ outcome }) => outcome)).toEqual(['failure', 'success'])
    // 10 at $2,000 and 100 at $8,000 a million.
    expect(world.events[0]?.attempts[1]?.cost).toBe(10 * 2000 + 100 * 8000)
  })
})

describe('several requests of one attempt', () => {
  const vectors = (body: unknown) => {
    const { input } = JSON.parse(String(body)) as { input: string[] }
    const data = input.map((_, index) => ({ object: 'embedding', index, embedding: [1] }))
    const usage = { prompt_tokens: input.length, total_tokens: input.length }
    return Buffer.from(JSON.stringify({ object: 'list', model: 'm', data, usage }))
  }
  const long = { model: 'gpt', input: Array.from({ length: 3000 }, String), encoding_format: 'float' }
  const embedding = (group: string) => deployment(group, { model: 'text-embedding-3-small' })
  const one = (world: ReturnType<typeof make>, at: number) => world.sent[at] as (typeof world.sent)[number]
  const say = ({ sink }: ReturnType<typeof one>, body: Uint8Array) => {
    sink.head(200, JSON_TYPE)
    sink.data(body)
    sink.end()
  }

  it('are billed as far as they were answered when another fails, and what is tried again is billed again', async () => {
    const world = make([embedding('one'), embedding('two')])
    const client = world.call(long, { endpoint: 'aembedding' })
    await expect.poll(() => world.sent.length).toBe(2)
    say(one(world, 0), vectors(one(world, 0).request.body))
    await settled()
    one(world, 1).sink.head(500, JSON_TYPE)
    one(world, 1).sink.end()
    await expect.poll(() => world.sent.length).toBe(4)
    for (const at of [2, 3]) say(one(world, at), vectors(one(world, at).request.body))
    await client.done
    expect(client.head?.status).toBe(200)
    expect(world.events[0]?.attempts).toMatchObject([
      { outcome: 'partial', usage: { input: 2048 }, cost: 2048 * 2000 },
      { outcome: 'success', usage: { input: 3000 }, cost: 3000 * 2000 },
    ])
  })

  it('are billed as far as they were answered when the client leaves', async () => {
    const world = make([embedding('one')])
    const client = world.call(long, { endpoint: 'aembedding' })
    await expect.poll(() => world.sent.length).toBe(2)
    say(one(world, 0), vectors(one(world, 0).request.body))
    await settled()
    client.stream.onCancel?.('client_gone')
    await client.done
    expect(world.sent.map(({ aborted }) => aborted)).toEqual([false, true])
    expect(world.events[0]).toMatchObject({ outcome: 'cancelled', attempts: [{ outcome: 'cancelled', cost: 2048 * 2000 }] })
  })

  it('bill images that were made, and jobs that were taken, though another was refused', async () => {
    const fields = {
      provider: 'stability',
      model: 'stable-image-core',
      prices: { rateVersion: 'r', perUnit: { image_out: 1e12 } },
    }
    const world = make([deployment('one', fields)], { numRetries: 0 })
    const client = world.call({ model: 'gpt', prompt: 'a cat', n: 3 }, { endpoint: 'aimage_generation' })
    await expect.poll(() => world.sent.length).toBe(3)
    for (const at of [0, 2]) say(one(world, at), Buffer.from(JSON.stringify({ image: 'AAAA', finish_reason: 'SUCCESS' })))
    await settled()
    one(world, 1).sink.head(500, JSON_TYPE)
    one(world, 1).sink.end()
    await client.done
    expect(client.head?.status).toBeGreaterThanOrEqual(500)
    expect(world.events[0]?.attempts).toMatchObject([{ outcome: 'partial', cost: 2_000_000 }])
  })
})

describe('a client that leaves', () => {
  const EACH = { rateVersion: 'r', perUnit: { image_out: 40_000_000_000_000, query: 1e12 } }

  it.each([
    ['speech in the middle is booked whole', 'aspeech', speech, TTS, true, 75_000],
    ['speech before it begins is booked whole', 'aspeech', speech, TTS, false, 75_000],
    [
      'images are booked as they were asked for',
      'aimage_generation',
      { model: 'gpt', prompt: 'a cat', n: 2 },
      { model: 'dall-e-3', prices: EACH },
      false,
      80_000_000,
    ],
    [
      'a stream of images is booked as it was asked for',
      'aimage_generation',
      picture,
      { model: 'gpt-image-1', prices: EACH },
      true,
      40_000_000,
    ],
    [
      'a ranking is one search',
      'arerank',
      { model: 'gpt', query: 'q', documents: ['d'] },
      { provider: 'cohere', model: 'rerank-v3.5', prices: EACH },
      false,
      1_000_000,
    ],
  ])('%s', async (_name, endpoint, body, fields, begins, cost) => {
    const world = make([deployment('one', fields)])
    const { client, sink } = await begun(world, body, endpoint)
    if (begins) {
      sink.head(200, endpoint === 'aspeech' ? { 'content-type': 'audio/mpeg' } : STREAM)
      sink.data(endpoint === 'aspeech' ? Buffer.from('ID3') : PARTIAL)
    }
    client.stream.onCancel?.('client_gone')
    await client.done
    expect(world.sent[0]?.aborted).toBe(true)
    expect(world.events[0]).toMatchObject({ outcome: 'cancelled', attempts: [{ outcome: 'cancelled', cost }] })
  })
})

it('a long list of texts is one attempt of several requests', async () => {
  const world = make([deployment('one', { model: 'text-embedding-3-small' })])
  const input = Array.from({ length: 3000 }, (_, index) => String(index))
  const client = world.call({ model: 'gpt', input, encoding_format: 'float' }, { endpoint: 'aembedding' })
  await expect.poll(() => world.sent.length).toBe(2)
  // The second is there before the first.
  for (const { request, sink } of [...world.sent].reverse()) {
    const { input: part } = JSON.parse(String(request.body)) as { input: string[] }
    const data = part.map((text, index) => ({ object: 'embedding', index, embedding: [Number(text)] }))
    sink.head(200, JSON_TYPE)
    sink.data(
      Buffer.from(
        JSON.stringify({ object: 'list', model: 'm', data, usage: { prompt_tokens: part.length, total_tokens: part.length } }),
      ),
    )
    sink.end()
    await settled()
  }
  await client.done
  const { data, usage } = JSON.parse(client.text) as { data: { embedding: number[] }[]; usage: { prompt_tokens: number } }
  expect(data.map(({ embedding }) => embedding[0])).toEqual(input.map(Number))
  expect(usage.prompt_tokens).toBe(3000)
  expect(world.events[0]?.attempts).toHaveLength(1)
  expect(world.events[0]?.attempts[0]).toMatchObject({ outcome: 'success', cost: 3000 * 2000 })
})
