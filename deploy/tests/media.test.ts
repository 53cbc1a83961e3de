import { randomBytes } from 'node:crypto'
import OpenAI, { toFile } from 'openai'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Gateway, MODES, openGateway } from './gateway.ts'
import { HEARD, type MediaUpstream, SOUND, shown, startMediaUpstream } from './media-upstream.ts'

type Fields = Record<string, unknown>

const CONFIG = (url: string): string => `
model_list:
${Object.entries({
  'dall-e-3': 'openai/dall-e-3',
  'dall-e-2': 'openai/dall-e-2',
  picture: 'openai/gpt-image-1',
  speech: 'openai/tts-1',
  voice: 'openai/gpt-4o-mini-tts',
  whisper: 'openai/whisper-1',
  ears: 'openai/gpt-4o-transcribe',
  judge: 'openai/omni-moderation-latest',
  embed: 'openai/text-embedding-3-small',
  ranker: 'litellm_proxy/ranker',
  groq: 'groq/whisper-large-v3',
})
  .map(([name, model]) => `  - {model_name: ${name}, litellm_params: {model: ${model}, api_base: '${url}/v1', api_key: k}}`)
  .join('\n')}
  - model_name: priced
    litellm_params: {model: openai/my-images, api_base: '${url}/v1', api_key: k, input_cost_per_image: 0.5}
  - model_name: dropping
    litellm_params: {model: groq/playai-tts, api_base: '${url}/v1', api_key: k, drop_params: true, input_cost_per_character: 0.001}
  - model_name: strict
    litellm_params: {model: groq/playai-tts, api_base: '${url}/v1', api_key: k}
router_settings: {num_retries: 0}
`

/** Images, sounds, verdicts and rankings as official clients ask for them, and what the ledger then says. */
describe.each(MODES)('media, %s', (mode) => {
  let upstream: MediaUpstream
  let gateway: Gateway
  let openai: OpenAI

  beforeAll(async () => {
    upstream = await startMediaUpstream()
    gateway = await openGateway(mode, { config: CONFIG(upstream.url) })
    openai = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: gateway.masterKey, maxRetries: 0 })
  }, 120_000)
  afterAll(async () => {
    await gateway?.stop()
    await upstream?.stop()
  })
  beforeEach(() => {
    upstream.calls.length = 0
  })

  const sent = (): Fields => upstream.calls.at(-1)?.fields as Fields
  const wav = () => toFile(waveOf(16_000, 2.5), 'speech.wav', { type: 'audio/wav' })
  const png = (name = 'a.png') => toFile(Buffer.from(`png ${name}`), name, { type: 'image/png' })

  /** Dollars the ledger has for the call of this answer. */
  async function booked(headers: Headers): Promise<number> {
    const rows = await gateway.ledger(headers.get('x-litellm-call-id') as string)
    expect(rows).toHaveLength(1)
    return Number(rows[0]?.spend)
  }

  describe('images', () => {
    it('are made, one price an image by size and quality', async () => {
      const { data, response } = await openai.images
        .generate({ model: 'dall-e-3', prompt: 'a cat', size: '1792x1024', quality: 'hd' })
        .withResponse()
      expect(data).toMatchObject({ created: 5, data: [{ b64_json: 'QUFB0AA=' }] })
      expect(data).not.toHaveProperty('billing')
      expect(sent()).toEqual({ model: 'dall-e-3', prompt: 'a cat', size: '1792x1024', quality: 'hd' })
      expect(response.headers.get('x-litellm-response-cost')).toBe('0.12')
      expect(await booked(response.headers)).toBeCloseTo(0.12, 9)
    })

    it('are made by the token, and streamed as they come', async () => {
      const whole = await openai.images.generate({ model: 'picture', prompt: 'a cat', n: 2 }).withResponse()
      expect(whole.data.usage?.output_tokens).toBe(1000)
      // 10 text tokens at $5, 40 image tokens at $10, 1,000 at $40 a million.
      expect(await booked(whole.response.headers)).toBeCloseTo(0.04045, 9)
      const { data: stream, response } = await openai.images
        .generate({ model: 'picture', prompt: 'a cat', stream: true, partial_images: 1 })
        .withResponse()
      const types: string[] = []
      for await (const event of stream) types.push(event.type)
      expect(types).toEqual(['image_generation.partial_image', 'image_generation.completed'])
      expect(await booked(response.headers)).toBeCloseTo(0.04045, 9)
    })

    it('are edited and varied from forms whose files arrive whole', async () => {
      const edited = await openai.images
        .edit({
          model: 'picture',
          image: [await png('a.png'), await png('b.png')],
          mask: await png('m.png'),
          prompt: 'redder',
          n: 1,
        })
        .withResponse()
      expect(sent()).toEqual({
        model: 'gpt-image-1',
        prompt: 'redder',
        n: '1',
        image: ['a.png', 'b.png'].map((name) => shown({ name, type: 'image/png', bytes: Buffer.from(`png ${name}`) })),
        mask: shown({ name: 'm.png', type: 'image/png', bytes: Buffer.from('png m.png') }),
      })
      expect(await booked(edited.response.headers)).toBeCloseTo(0.04045, 9)
      const varied = await openai.images
        .createVariation({ model: 'dall-e-2', image: await png(), n: 2, size: '256x256' })
        .withResponse()
      expect(varied.data.data).toHaveLength(2)
      expect(await booked(varied.response.headers)).toBeCloseTo(0.032, 9)
    })

    it('cost what an operator says an image costs, under the name LiteLLM has for it', async () => {
      const { response } = await openai.images.generate({ model: 'priced', prompt: 'a cat', n: 3 }).withResponse()
      expect(await booked(response.headers)).toBeCloseTo(1.5, 9)
    })

    it('that break off in the middle of their stream do not end as if they were whole', async () => {
      const stream = await openai.images.generate({ model: 'picture', prompt: 'break off', stream: true })
      await expect(
        (async () => {
          for await (const _ of stream);
        })(),
      ).rejects.toBeInstanceOf(OpenAI.APIError)
    })
  })

  describe('speech', () => {
    it('comes as bytes, billed by the character', async () => {
      const response = await openai.audio.speech.create({ model: 'speech', voice: 'alloy', input: 'héllo 👋' })
      expect(response.headers.get('content-type')).toBe('audio/mpeg')
      expect(Buffer.from(await response.arrayBuffer())).toEqual(SOUND)
      expect(sent()).toEqual({ model: 'tts-1', voice: 'alloy', input: 'héllo 👋' })
      expect(await booked(response.headers)).toBeCloseTo(7 * 0.000015, 12)
    })

    it('comes as events, billed by the tokens they tell', async () => {
      const response = await openai.audio.speech.create({ model: 'voice', voice: 'alloy', input: 'hello', stream_format: 'sse' })
      expect(response.headers.get('content-type')).toContain('text/event-stream')
      expect(await response.text()).toContain(`"audio":"${SOUND.toString('base64')}"`)
      // 12 at $0.60, 100 at $12 a million.
      expect(await booked(response.headers)).toBeCloseTo(0.0012072, 12)
    })

    it('names what a provider has no counterpart for, or leaves it out when told to', async () => {
      const asked = { voice: 'alloy', input: 'hello', instructions: 'sadly' }
      await expect(openai.audio.speech.create({ model: 'strict', ...asked })).rejects.toMatchObject({
        status: 400,
        param: 'instructions',
        message: expect.stringContaining('groq does not support parameters'),
      })
      const response = await openai.audio.speech.create({ model: 'dropping', ...asked })
      await response.arrayBuffer()
      expect(sent()).toEqual({ model: 'playai-tts', voice: 'alloy', input: 'hello' })
      expect(await booked(response.headers)).toBeCloseTo(0.005, 9)
    })
  })

  describe('what was said', () => {
    it.each([
      ['json', undefined, { text: HEARD, usage: { type: 'duration', seconds: 8 } }],
      ['verbose_json', 'verbose_json', expect.objectContaining({ text: HEARD, duration: 7.25, language: 'english' })],
      ['text', 'verbose_json', `${HEARD}\n`],
      [
        'srt',
        'verbose_json',
        '1\n00:00:00,000 --> 00:00:03,500\nThe sun rises in the east.\n\n2\n00:00:03,500 --> 00:00:07,250\nIt sets in the west.\n\n',
      ],
      [
        'vtt',
        'verbose_json',
        'WEBVTT\n\n00:00:00.000 --> 00:00:03.500\nThe sun rises in the east.\n\n00:00:03.500 --> 00:00:07.250\nIt sets in the west.\n\n',
      ],
    ] as const)('is written as %s, billed by the second', async (format, asked, written) => {
      const given = format === 'json' ? {} : { response_format: format }
      const { data, response } = await openai.audio.transcriptions
        .create({ model: 'whisper', file: await wav(), ...given } as never)
        .withResponse()
      expect(data).toEqual(written)
      expect(response.headers.get('content-type')).toContain(format.includes('json') ? 'application/json' : 'text/plain')
      expect(sent()['response_format']).toBe(asked)
      expect(await booked(response.headers)).toBeCloseTo(0.0008, 12)
    })

    it('is written plainly though the provider was asked for its length', async () => {
      const { data, response } = await openai.audio.transcriptions.create({ model: 'groq', file: await wav() }).withResponse()
      expect(data).toEqual({ text: HEARD, usage: { type: 'duration', seconds: 8 } })
      expect(sent()['response_format']).toBe('verbose_json')
      // $0.111 an hour.
      expect(await booked(response.headers)).toBeCloseTo((0.111 * 8) / 3600, 8)
    })

    it('is billed by the token, and text is made of the JSON that tells how many', async () => {
      const { data, response } = await openai.audio.transcriptions
        .create({ model: 'ears', file: await wav(), response_format: 'text', language: 'en' })
        .withResponse()
      expect(data).toBe(`${HEARD}\n`)
      expect(sent()).toMatchObject({ response_format: 'json', language: 'en' })
      // 75 of sound at $6, 20 at $10 a million.
      expect(await booked(response.headers)).toBeCloseTo(0.00065, 12)
    })

    it('streams as it is heard', async () => {
      const { data: stream, response } = await openai.audio.transcriptions
        .create({ model: 'ears', file: await wav(), stream: true })
        .withResponse()
      let text = ''
      let last = ''
      for await (const event of stream) {
        if (event.type === 'transcript.text.delta') text += event.delta
        last = event.type
      }
      expect(text.trim()).toBe(HEARD)
      expect(last).toBe('transcript.text.done')
      expect(await booked(response.headers)).toBeCloseTo(0.00065, 12)
    })

    it('is translated', async () => {
      const { data, response } = await openai.audio.translations
        .create({ model: 'whisper', file: await wav(), response_format: 'verbose_json' })
        .withResponse()
      expect(data).toMatchObject({ text: HEARD, duration: 7.25 })
      expect(upstream.calls.at(-1)?.path).toBe('/audio/translations')
      expect(await booked(response.headers)).toBeCloseTo(0.0008, 12)
    })

    it('in 20 MB arrives whole, with its lists and numbers', async () => {
      const bytes = randomBytes(20 * 1024 * 1024)
      await openai.audio.transcriptions.create({
        model: 'whisper',
        file: await toFile(bytes, 'long.mp3', { type: 'audio/mpeg' }),
        response_format: 'verbose_json',
        timestamp_granularities: ['word', 'segment'],
        temperature: 0.25,
      })
      expect(sent()).toEqual({
        model: 'whisper-1',
        response_format: 'verbose_json',
        timestamp_granularities: ['word', 'segment'],
        temperature: '0.25',
        file: shown({ name: 'long.mp3', type: 'audio/mpeg', bytes }),
      })
    })
  })

  it('judges text, for nothing', async () => {
    const { data, response } = await openai.moderations.create({ model: 'judge', input: ['peace', 'kill'] }).withResponse()
    expect(data).toMatchObject({ id: 'modr-1', model: 'judge', results: [{ flagged: false }, { flagged: true }] })
    expect(await booked(response.headers)).toBe(0)
  })

  it('ranks documents, best first, no more than asked for', async () => {
    const response = await fetch(`${gateway.url}/v1/rerank`, {
      method: 'POST',
      headers: { authorization: `Bearer ${gateway.masterKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'ranker', query: 'q', documents: ['a', 'ccc', 'bb'], top_n: 2, return_documents: true }),
    })
    expect(await response.json()).toMatchObject({
      id: 'r',
      results: [
        { index: 1, relevance_score: 0.03, document: { text: 'ccc' } },
        { index: 2, relevance_score: 0.02, document: { text: 'bb' } },
      ],
    })
  })

  it('embeds more texts than a provider takes at once', async () => {
    const input = Array.from({ length: 5000 }, (_, index) => String(index))
    for (const encoding of [{}, { encoding_format: 'float' as const }]) {
      upstream.calls.length = 0
      const { data, response } = await openai.embeddings.create({ model: 'embed', input, ...encoding }).withResponse()
      expect(data.data.map(({ index, embedding }) => [index, embedding[0]])).toEqual(
        input.map((text) => [Number(text), Number(text)]),
      )
      expect(data.usage).toMatchObject({ prompt_tokens: 5000, total_tokens: 5000 })
      // Sent together, they come in any order.
      const lengths = upstream.calls.map(({ fields }) => (fields['input'] as unknown[]).length)
      expect(lengths.sort((a, b) => a - b)).toEqual([904, 2048, 2048])
      expect(await booked(response.headers)).toBeCloseTo(0.0001, 12)
    }
  })

  describe('refusals', () => {
    it('name what is missing or wrong, in OpenAI’s form', async () => {
      const post = async (path: string, body: FormData | string) => {
        const headers = { authorization: `Bearer ${gateway.masterKey}` }
        const type = typeof body === 'string' ? { 'content-type': 'application/json' } : {}
        const response = await fetch(`${gateway.url}${path}`, { method: 'POST', headers: { ...headers, ...type }, body })
        return { status: response.status, error: ((await response.json()) as { error: Fields }).error }
      }
      const form = (fields: Record<string, string>) => {
        const made = new FormData()
        for (const [name, value] of Object.entries(fields)) made.append(name, value)
        return made
      }
      for (const [path, body, param] of [
        ['/v1/audio/transcriptions', form({ model: 'whisper' }), 'file'],
        ['/v1/audio/transcriptions', form({ model: 'whisper', file: 'no file' }), 'file'],
        ['/v1/images/edits', form({ model: 'picture', prompt: 'x' }), 'image'],
        ['/v1/images/edits', form({ model: 'picture', prompt: 'x', image: 'x', n: 'many' }), 'n'],
        ['/v1/images/generations', JSON.stringify({ model: 'picture', prompt: 'x', n: 0 }), 'n'],
        ['/v1/images/generations', JSON.stringify({ model: 'picture' }), 'prompt'],
        ['/v1/audio/speech', JSON.stringify({ model: 'speech', voice: 'alloy' }), 'input'],
        ['/v1/rerank', JSON.stringify({ model: 'ranker', query: 'q' }), 'documents'],
      ] as const) {
        const { status, error } = await post(path, body)
        expect({ path, status, param: error['param'] }).toEqual({ path, status: 400, param })
        expect(error).toMatchObject({ message: expect.stringContaining(param), type: 'invalid_request_error' })
      }
      expect(upstream.calls).toEqual([])
    })

    it('of the provider keep what it said', async () => {
      await expect(openai.images.generate({ model: 'picture', prompt: 'x', n: 11 })).rejects.toMatchObject({
        status: 400,
        param: 'n',
        message: expect.stringContaining('n is too large'),
      })
    })

    it('of unknown models and of endpoints a provider has not are told before anything is sent', async () => {
      await expect(openai.images.generate({ model: 'nobody', prompt: 'x' })).rejects.toMatchObject({ status: 400 })
      await expect(openai.images.generate({ model: 'groq', prompt: 'x' })).rejects.toThrow(/images\/generations/)
      expect(upstream.calls).toEqual([])
    })
  })
})

/** A WAV file of silence. */
function waveOf(rate: number, seconds: number): Buffer {
  const data = Buffer.alloc(rate * seconds * 2)
  const head = Buffer.alloc(44)
  head.write('RIFF', 0)
  head.writeUInt32LE(36 + data.length, 4)
  head.write('WAVEfmt ', 8)
  head.writeUInt32LE(16, 16)
  head.writeUInt16LE(1, 20)
  head.writeUInt16LE(1, 22)
  head.writeUInt32LE(rate, 24)
  head.writeUInt32LE(rate * 2, 28)
  head.writeUInt16LE(2, 32)
  head.writeUInt16LE(16, 34)
  head.write('data', 36)
  head.writeUInt32LE(data.length, 40)
  return Buffer.concat([head, data])
}
