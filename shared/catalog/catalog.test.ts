import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { createCatalog } from './catalog.ts'
import { OVERLAY } from './overlay.ts'
import { PROVIDERS } from './providers.ts'

const NOVEMBER_2026 = Date.UTC(2026, 10, 21)
const catalog = createCatalog({ now: () => NOVEMBER_2026 })
const DOLLAR = 1_000_000_000

describe('createCatalog', () => {
  it('names the version of the price library that is installed', () => {
    const entry = createRequire(import.meta.url).resolve('@pydantic/genai-prices')
    const { version } = JSON.parse(readFileSync(join(dirname(entry), '..', 'package.json'), 'utf8')) as { version: string }
    expect(catalog.version.startsWith(`genai-prices@${version}+overlay-`)).toBe(true)
  })

  it('gives list prices as integer nano-dollars per million tokens', () => {
    expect(catalog.prices('openai', 'gpt-4o-mini')).toEqual({
      input: 150_000_000,
      output: 600_000_000,
      cacheRead: 75_000_000,
      perToolCall: { web_search: 10_000_000, file_search: 2_500_000 },
      serviceTiers: { priority: { input: 0.25 * DOLLAR, cacheRead: 0.125 * DOLLAR, output: DOLLAR } },
      rateVersion: catalog.version,
    })
    expect(catalog.prices('anthropic', 'claude-haiku-4-5-20251001')).toMatchObject({
      input: DOLLAR,
      output: 5 * DOLLAR,
      cacheRead: 0.1 * DOLLAR,
      cacheWrite: 1.25 * DOLLAR,
      cacheWrite1h: 2 * DOLLAR,
    })
  })

  it('gives tiers as whole price sets, lowest first', () => {
    expect(catalog.prices('anthropic', 'claude-sonnet-4-5')?.tiers).toEqual([
      {
        above: 200_000,
        input: 6 * DOLLAR,
        output: 22.5 * DOLLAR,
        cacheRead: 0.6 * DOLLAR,
        cacheWrite: 7.5 * DOLLAR,
        cacheWrite1h: 12 * DOLLAR,
      },
    ])
  })

  it('picks the prices of the day of the call', () => {
    // o3 fell from $10/$40 to $2/$8 on 10 June 2025.
    expect(catalog.prices('openai', 'o3', Date.UTC(2025, 5, 9, 23, 59))).toMatchObject({
      input: 10 * DOLLAR,
      output: 40 * DOLLAR,
    })
    expect(catalog.prices('openai', 'o3', Date.UTC(2025, 5, 10))).toMatchObject({ input: 2 * DOLLAR, output: 8 * DOLLAR })
    expect(catalog.prices('openai', 'o3')).toMatchObject({ input: 2 * DOLLAR, output: 8 * DOLLAR })
  })

  it('tells what is free from what has no price', () => {
    expect(catalog.prices('mock', 'anything')).toMatchObject({ input: 0, output: 0 })
    expect(catalog.prices('openai', 'omni-moderation-latest')).toMatchObject({ input: 0 })
    expect(catalog.prices('openai', 'no-such-model')).toBeNull()
    expect(catalog.prices('no-such-provider', 'gpt-4o')).toBeNull()
  })

  it('adds to the library what it lacks', () => {
    expect(catalog.prices('openai', 'gpt-4o-audio-preview')).toMatchObject({
      input: 2.5 * DOLLAR,
      output: 10 * DOLLAR,
      audioInput: 40 * DOLLAR,
      audioOutput: 80 * DOLLAR,
    })
  })

  it('prices audio by its length and kind, images by theirs', () => {
    // $0.36 an hour is $0.0001 a second.
    expect(catalog.prices('openai', 'whisper-1')).toMatchObject({ perUnit: { audio_ms_in: 100_000_000 } })
    expect(catalog.prices('openai', 'gpt-realtime')).toMatchObject({ audioCacheRead: 0.4 * DOLLAR, imageCacheRead: 0.5 * DOLLAR })
    expect(catalog.prices('openai', 'gpt-image-1.5')).toMatchObject({ imageInput: 8 * DOLLAR, imageOutput: 32 * DOLLAR })
    expect(catalog.prices('perplexity', 'sonar-deep-research')).toMatchObject({ citation: 2 * DOLLAR, reasoning: 3 * DOLLAR })
  })

  it('knows what service tiers and regions cost, and who says itself what a call cost', () => {
    expect(catalog.prices('openai', 'gpt-5')?.serviceTiers).toEqual({
      priority: { multiplier: 2_000_000 },
      flex: { multiplier: 500_000 },
    })
    expect(catalog.prices('openai', 'gpt-5.4')?.regions).toEqual({ eu: 1_100_000, us: 1_100_000 })
    expect(catalog.prices('anthropic', 'claude-opus-4-6')).toMatchObject({
      serviceTiers: { fast: { multiplier: 6_000_000 } },
      regions: { us: 1_100_000 },
    })
    expect(catalog.prices('azure', 'gpt-5')?.serviceTiers).toBeUndefined()
    expect(catalog.prices('xai', 'grok-4')).toMatchObject({ input: 3 * DOLLAR, reported: true })
    expect(catalog.prices('openrouter', 'nobody/knows')).toEqual({ reported: true, rateVersion: catalog.version })
  })

  it('finds models under the names of providers that sell them again', () => {
    expect(catalog.prices('azure', 'gpt-4o')).toMatchObject({ input: 2.5 * DOLLAR })
    expect(catalog.prices('vertex_ai', 'claude-sonnet-4-5@20250929')).toMatchObject({ input: 3 * DOLLAR })
  })

  it('finds models of Bedrock behind the route and the region that are written before them', () => {
    const name = 'anthropic.claude-haiku-4-5-20251001-v1:0'
    const priced = catalog.prices('bedrock', name)
    expect(priced).not.toBeNull()
    for (const before of ['us-west-2/', 'converse/', 'invoke/']) expect(catalog.prices('bedrock', before + name)).toEqual(priced)
  })

  it('finds models that the provider lists under a longer name, and those given away', () => {
    expect(catalog.prices('fireworks_ai', 'gpt-oss-120b')).toMatchObject({ input: 0.15 * DOLLAR })
    expect(catalog.prices('fireworks_ai', 'accounts/fireworks/models/gpt-oss-120b')).toMatchObject({ input: 0.15 * DOLLAR })
    expect(catalog.prices('openrouter', 'anyone/anything:free')).toEqual({ input: 0, output: 0, rateVersion: catalog.version })
  })

  it('knows limits and capabilities', () => {
    expect(catalog.facts('openai', 'gpt-4o-2024-11-20')).toMatchObject({
      maxInputTokens: 128_000,
      maxOutputTokens: 16_384,
      mode: 'chat',
    })
    expect(catalog.facts('openai', 'gpt-4o-2024-05-13')?.maxOutputTokens).toBe(4096)
    expect(catalog.facts('openai', 'gpt-5-mini')).toMatchObject({ maxInputTokens: 272_000, maxOutputTokens: 128_000 })
    expect(catalog.facts('openai', 'text-embedding-3-large')?.mode).toBe('embedding')
    expect(catalog.facts('anthropic', 'claude-opus-4-1')?.maxOutputTokens).toBe(32_000)
    expect(catalog.facts('anthropic', 'claude-opus-4-6')?.maxOutputTokens).toBe(128_000)
    expect(catalog.facts('anthropic', 'claude-sonnet-4-5')?.supports).toContain('reasoning')
    expect(catalog.facts('openai', 'no-such-model')).toBeNull()
  })

  it('names the maker of a model whose name tells', () => {
    expect(['grok-4', 'gemini-2.5-pro', 'deepseek-chat', 'my-own-model'].map(catalog.maker)).toEqual([
      'xai',
      'gemini',
      'deepseek',
      null,
    ])
  })

  it('looks up more names than it remembers', () => {
    for (let index = 0; index < 5000; index++) expect(catalog.prices('openai', `gpt-4o-${index}`)).toBeNull()
    expect(catalog.prices('openai', 'gpt-4o')).not.toBeNull()
  })
})

describe('overlay', () => {
  it('has integers for limits and decimals for prices, and no row that an earlier one hides', () => {
    const taken = new Set<string>()
    for (const row of OVERLAY) {
      for (const limit of [row.maxInputTokens, row.maxOutputTokens])
        expect(limit === undefined || Number.isSafeInteger(limit)).toBe(true)
      for (const provider of row.providers) {
        for (const pattern of row.models) {
          expect(taken.has(`${provider}/${pattern}`), `${provider}/${pattern} stands twice`).toBe(false)
          taken.add(`${provider}/${pattern}`)
          const sample = pattern.replace('*', '')
          const first = OVERLAY.find(
            (other) =>
              other.providers.includes(provider) &&
              other.models.some((one) => (one.endsWith('*') ? sample.startsWith(one.slice(0, -1)) : one === sample)),
          )
          expect(first, `${provider}/${pattern} is hidden by an earlier row`).toBe(row)
        }
      }
    }
  })

  it('prices the flagship models of the providers that are served', () => {
    const models: [string, string][] = [
      ['openai', 'gpt-4.1'],
      ['openai', 'gpt-5.4'],
      ['anthropic', 'claude-opus-5-5'],
      ['groq', 'llama-3.3-70b-versatile'],
      ['deepseek', 'deepseek-chat'],
      ['mistral', 'mistral-large-latest'],
      ['xai', 'grok-4'],
    ]
    for (const [provider, model] of models) {
      expect(Object.hasOwn(PROVIDERS, provider), provider).toBe(true)
      const prices = catalog.prices(provider, model)
      expect(prices?.input, `${provider}/${model}`).toBeGreaterThan(0)
      expect(prices?.output, `${provider}/${model}`).toBeGreaterThan(0)
    }
  })
})
