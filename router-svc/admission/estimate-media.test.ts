import { readdirSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Prices } from '../../proto/deployment.ts'
import type { Mode } from '../../proto/endpoints.ts'
import { NO_TOKENS, type TokenUsage } from '../../proto/usage.ts'
import { costOf, worstCost } from '../../shared/cost.ts'
import { providerOf } from '../providers/index.ts'
import { billedUnits, imageUnits } from '../providers/openai/media-usage.ts'
import { haveRecordings } from '../providers/openai/recordings.suite.ts'
import type { Adapter, DecodeContext } from '../providers/provider.ts'
import { estimate } from './estimate.ts'
import { usageAsked } from './estimate-media.ts'

type Fields = Record<string, unknown>

const CENT = 10_000_000
/** Nano-dollars for a million. */
const each = (cents: number) => cents * CENT * 1_000_000
const settings = { output: 4096, modelOutput: null }
const DALLE: Prices = {
  rateVersion: 'r',
  perUnit: {
    image_out: each(4),
    'image_out:1024x1024:hd': each(8),
    'image_out:1024x1792': each(8),
    'image_out:1024x1792:hd': each(12),
  },
}
/** Every unit and every token costs something. */
const ALL: Prices = {
  rateVersion: 'r',
  input: 5_000_000_000,
  output: 10_000_000_000,
  imageInput: 10_000_000_000,
  imageOutput: 40_000_000_000,
  audioInput: 6_000_000_000,
  audioOutput: 12_000_000_000,
  perUnit: { image_out: each(4), character_in: 15_000_000_000, audio_ms_in: 100_000_000, query: 2_000_000_000_000 },
}

function held(request: Fields, mode: Mode, prices: Prices, mediaTokens = true): number {
  const size = estimate(request, mode, { ...settings, mediaTokens })
  const { inputTokensAtMost: inputTokens, outputTokens, units } = size
  expect(size.bounded).toBe(true)
  return worstCost(prices, { inputTokens, outputTokens }, { media: true, units: units ?? {} })
}

const sound = (bytes: Uint8Array) => ({ name: 'a', type: 'audio/any', bytes })

/** A second of it is `rate` bytes. */
function wav(seconds: number, rate = 1_000): Uint8Array {
  const bytes = Buffer.alloc(44 + seconds * rate)
  bytes.write('RIFF', 0)
  bytes.write('WAVEfmt ', 8)
  bytes.writeUInt32LE(16, 16)
  bytes.writeUInt32LE(rate, 28)
  bytes.write('data', 36)
  bytes.writeUInt32LE(seconds * rate, 40)
  return bytes
}

describe('what is held for images', () => {
  const image = (fields: Fields) => held({ prompt: '', ...fields }, 'image', DALLE, false)

  it('is the price of each by its size and quality, as it will be billed', () => {
    expect(image({})).toBe(4 * CENT)
    expect(image({ n: 10 })).toBe(40 * CENT)
    expect(image({ quality: 'hd' })).toBe(8 * CENT)
    expect(image({ size: '1024x1792', n: 2 })).toBe(16 * CENT)
    expect(image({ size: '1024x1792', quality: 'hd' })).toBe(12 * CENT)
  })

  it('is the dearest where the provider chooses', () => {
    expect(image({ size: 'auto' })).toBe(8 * CENT)
    expect(image({ size: 'auto', quality: 'auto' })).toBe(12 * CENT)
    expect(image({ quality: 'auto' })).toBe(8 * CENT)
  })

  it('is the dearest of what a provider calls otherwise than OpenAI', () => {
    const titan = {
      rateVersion: 'r',
      perUnit: { image_out: each(1), 'image_out:above_512_and_512_pixels_and_premium_image': each(2) },
    }
    expect(held({ prompt: '' }, 'image', titan, false)).toBe(2 * CENT)
  })

  it('is by the pixel where a number has no price', () => {
    const pixels = { rateVersion: 'r', perUnit: { pixel_in: 20_000_000 } }
    expect(held({ prompt: '', size: '512x512' }, 'image', pixels, false)).toBe(512 * 512 * 20)
    expect(held({ prompt: '' }, 'image', pixels, false)).toBe(1024 * 1024 * 20)
  })

  it('is tokens by size and quality where images are counted so', () => {
    const tokens = (fields: Fields) => estimate({ prompt: '', ...fields }, 'image', settings).outputTokens
    expect(tokens({ size: '1024x1024', quality: 'low' })).toBe(272)
    expect(tokens({ size: '1024x1536', quality: 'medium' })).toBe(1584)
    expect(tokens({ size: '1024x1536', quality: 'high', n: 2 })).toBe(12_480)
    expect(tokens({})).toBe(6_240)
    expect(tokens({ quality: 'low', size: '1024x1024', partial_images: 3 })).toBe(572)
  })

  it('is never less than what is booked', () => {
    const request = fc.record({
      prompt: fc.string({ maxLength: 50 }),
      n: fc.option(fc.integer({ min: 1, max: 10 }), { nil: undefined }),
      size: fc.constantFrom(undefined, null, 'auto', '256x256', '1024x1024', '1024x1792'),
      quality: fc.constantFrom(undefined, null, 'auto', 'standard', 'hd', 'low', 'high'),
    })
    const made = fc.record({ size: fc.constantFrom('1024x1024', '1024x1792'), quality: fc.constantFrom('standard', 'hd') })
    fc.assert(
      fc.property(request, made, fc.double({ min: 0, max: 1, noNaN: true }), (asked, said, share) => {
        // Whoever chose itself says what it chose.
        const answer = {
          ...(asked.size === 'auto' ? { size: said.size } : {}),
          ...(asked.quality === 'auto' ? { quality: said.quality } : {}),
        }
        const count = Math.ceil((asked.n ?? 1) * share)
        const { cost } = { cost: costOf(billedUnits(imageUnits(count, asked, answer)), DALLE).total }
        expect(held(asked, 'image', DALLE, false)).toBeGreaterThanOrEqual(cost)
      }),
    )
  })
})

describe('what is held for sounds and rankings', () => {
  it('is every character that is read aloud', () => {
    const prices = { rateVersion: 'r', perUnit: { character_in: 15_000_000_000 } }
    expect(held({ input: 'héllo 👋' }, 'speech', prices, false)).toBe(7 * 15_000)
  })

  it('is every second begun of a sound that says how long it is', () => {
    const prices = { rateVersion: 'r', perUnit: { audio_ms_in: 100_000_000 } }
    expect(held({ file: sound(wav(7)) }, 'transcription', prices, false)).toBe(7_000 * 100)
    // 16,000 bytes of what does not say are at most eight seconds.
    expect(held({ file: sound(new Uint8Array(16_000)) }, 'translation', prices, false)).toBe(8_000 * 100)
  })

  it('is a search for each hundred documents, long ones counted in parts', () => {
    const prices = { rateVersion: 'r', perUnit: { query: each(1) } }
    const documents = (count: number, length: number) => Array.from({ length: count }, () => 'a'.repeat(length))
    expect(held({ query: 'q', documents: documents(100, 30) }, 'rerank', prices, false)).toBe(CENT)
    expect(held({ query: 'q', documents: documents(101, 30) }, 'rerank', prices, false)).toBe(2 * CENT)
    expect(held({ query: 'q', documents: documents(100, 3_000) }, 'rerank', prices, false)).toBe(3 * CENT)
  })

  it('counts the query of a ranking once for each document, as those do that bill by the token', () => {
    const { inputTokensAtMost } = estimate({ query: 'a'.repeat(300), documents: ['b', 'b', 'b'] }, 'rerank', settings)
    expect(inputTokensAtMost).toBeGreaterThanOrEqual(300)
  })
})

it('what broke off is booked by what was asked for', () => {
  expect(usageAsked({ prompt: 'p', n: 2, size: '1024x1792', quality: 'hd' }, 'image')).toMatchObject({
    units: { 'image_out:1024x1792:hd': 2 },
    estimated: true,
  })
  expect(usageAsked({ input: 'hello' }, 'speech')).toMatchObject({ units: { character_in: 5 } })
  expect(usageAsked({ file: sound(wav(7)) }, 'transcription')).toMatchObject({ units: { audio_ms_in: 7_000 } })
  expect(usageAsked({ query: 'q', documents: ['d'] }, 'rerank')).toMatchObject({ units: { query: 1 } })
  expect(usageAsked({ messages: [] }, 'chat')).toBeNull()
  expect(usageAsked({ input: 'x' }, 'moderation')).toBeNull()
})

interface Exchange {
  request: { body: unknown; body_encoding: string }
  response: { status: number; headers: Record<string, string[]>; body: string; body_encoding: string }
}

const FOLDER = new URL('../../../shared/fixtures/', import.meta.url)
const MODES: Readonly<Record<string, Mode>> = { images: 'image', tts: 'speech', rerank: 'rerank', moderation: 'moderation' }
const NAMES: Readonly<Record<string, string>> = { together: 'together_ai' }

/** Recorded calls whose request is in OpenAI's words, or near them: file, provider, mode, request, answer. */
function recordings(): [file: string, provider: string, mode: Mode, request: Fields, answer: Exchange['response']][] {
  if (!haveRecordings()) return []
  const found: ReturnType<typeof recordings> = []
  for (const folder of ['nebius', 'together', 'hyperbolic', 'xai', 'openrouter', 'openai', 'mistral', 'cohere', 'voyage']) {
    const name = NAMES[folder] ?? folder
    for (const file of readdirSync(new URL(`${folder}/`, FOLDER))) {
      const mode = MODES[file.split('__')[0] as string]
      if (mode === undefined || !file.endsWith('.json') || providerOf(name)?.[mode as 'image'] === undefined) continue
      const { exchanges = [] } = JSON.parse(readFileSync(new URL(`${folder}/${file}`, FOLDER), 'utf8')) as {
        exchanges?: Exchange[]
      }
      for (const { request, response } of exchanges) {
        const { body } = request
        if (typeof body !== 'object' || body === null || Array.isArray(body) || response.status !== 200) continue
        found.push([`${folder}/${file}`, name, mode, body as Fields, response])
      }
    }
  }
  return found
}

describe.skipIf(!haveRecordings())('of recorded calls', () => {
  it('there are some of images, speech and rankings', () => {
    expect(new Set(recordings().map(([, , mode]) => mode))).toEqual(new Set(['image', 'speech', 'rerank', 'moderation']))
  })

  it.each(recordings())('%s costs no more than is held', (_file, name, mode, request, { headers, body, body_encoding }) => {
    const adapter = providerOf(name)?.[mode as 'image'] as unknown as Adapter<Fields, { billing: TokenUsage }, never>
    const bytes = Buffer.from(
      typeof body === 'string' ? body : JSON.stringify(body),
      body_encoding === 'base64' ? 'base64' : 'utf8',
    )
    const context: DecodeContext = { id: 'chatcmpl-1', created: 7, model: String(request['model'] ?? 'm'), request }
    const told = Object.fromEntries(Object.entries(headers).map(([header, values]) => [header, values.join(', ')]))
    const forwarded = adapter.forward?.(told, context) ?? null
    forwarded?.see?.(bytes)
    const billing = forwarded?.usage() ?? adapter.decodeResponse(bytes, told, context).billing
    expect(costOf({ ...NO_TOKENS, ...billing }, ALL).total).toBeLessThanOrEqual(held(request, mode, ALL))
  })
})
