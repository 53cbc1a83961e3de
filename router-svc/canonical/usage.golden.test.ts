import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { Prices } from '../../proto/deployment.ts'
import { type Cost, costOf } from '../../shared/cost.ts'
import { isObject } from '../../shared/json-object.ts'
import { decodeUsage } from '../providers/anthropic/usage.ts'
import { readUsage } from '../providers/openai/usage.ts'
import { tokensOf } from './usage.ts'

/**
 * The golden set: every `usage` that other projects recorded from real providers, as far as an adapter reads its form, with the cost of its
 * parts. A line of `usage.golden.txt` is the form and where it was recorded, the usage without zeros and timings, and the parts that are
 * not 0, nano-dollars. They were worked out apart from this code, from what the providers' documentation says the fields mean.
 *
 * Not covered, because no adapter reads them yet: Gemini's `usageMetadata` and interactions, Bedrock's Converse, Cohere's `billed_units`,
 * guardrail units, usage inside binary event streams, and images and videos of xAI, whose usage is a cost alone.
 */
const PRICES: Prices = {
  rateVersion: 'golden',
  // Per token 2000, 8000, 500, … nano-dollars.
  input: 2_000_000_000,
  output: 8_000_000_000,
  cacheRead: 500_000_000,
  cacheWrite: 2_500_000_000,
  cacheWrite1h: 4_000_000_000,
  reasoning: 12_000_000_000,
  audioInput: 40_000_000_000,
  audioOutput: 80_000_000_000,
  audioCacheRead: 20_000_000_000,
  imageInput: 3_000_000_000,
  imageOutput: 30_000_000_000,
  imageCacheRead: 600_000_000,
  citation: 1_000_000_000,
  perToolCall: { web_search: 10_000_000 },
  // 100,000 a second.
  perUnit: { audio_ms_in: 100_000_000 },
}

interface Row {
  name: string
  form: string
  usage: Fields
  cost: Record<string, number>
}

type Fields = Record<string, unknown>

const ROWS: Row[] = readFileSync(new URL('./usage.golden.txt', import.meta.url), 'utf8')
  .split('\n')
  .filter((line) => line !== '')
  .map((line) => {
    const [name = '', usage = '', cost = ''] = line.split('\t')
    const parts = cost.split(' ').filter((part) => part !== '')
    return {
      name,
      form: name.split(' ')[0] ?? '',
      usage: JSON.parse(usage) as Fields,
      cost: Object.fromEntries(parts.map((part) => [part.split('=')[0] ?? '', Number(part.split('=')[1])])),
    }
  })

/** The parts of the cost of a usage that are not 0, and what the provider says it cost. */
function priced(form: string, usage: Fields): Record<string, number> {
  const canonical = form === 'anthropic' ? decodeUsage(usage) : readUsage(usage)
  if (canonical === null) throw new Error('no usage was read')
  const tokens = tokensOf(canonical, usage['service_tier'])
  const { total, ...parts }: Cost = costOf(tokens, PRICES)
  expect(Object.values(parts).reduce((sum, part) => sum + part, 0)).toBe(total)
  const known = Object.fromEntries(Object.entries(parts).filter(([, part]) => part !== 0))
  return tokens.reportedCost === undefined ? known : { ...known, reported: tokens.reportedCost }
}

describe('the golden set', () => {
  it('prices every usage that was recorded to the nano-dollar', () => {
    expect(ROWS.length).toBeGreaterThan(700)
    for (const { name, form, usage, cost } of ROWS) expect(priced(form, usage), `${name} ${JSON.stringify(usage)}`).toEqual(cost)
  })

  it('takes what a provider reports for the cost where the prices say that it counts', () => {
    let reported = 0
    for (const { form, usage, cost } of ROWS) {
      if (cost['reported'] === undefined) continue
      reported += 1
      const canonical = form === 'anthropic' ? decodeUsage(usage) : readUsage(usage)
      if (canonical === null) throw new Error('no usage was read')
      expect(costOf(tokensOf(canonical), { ...PRICES, reported: true })).toMatchObject({ total: cost['reported'], input: 0 })
    }
    expect(reported).toBeGreaterThan(50)
  })
})

const FOLDER = new URL('../../../shared/fixtures/', import.meta.url)

/** False where the recordings are not beside the checkout. In CI they must be. */
function haveRecordings(): boolean {
  if (existsSync(FOLDER)) return true
  if (process.env['CI'] !== undefined) throw new Error('the recorded fixtures are missing')
  return false
}

describe.skipIf(!haveRecordings())('every recorded usage', () => {
  it('has a line in the golden set, and costs what it says with its zeros and timings too', () => {
    const known = new Map(ROWS.map((row) => [`${row.form} ${JSON.stringify(row.usage)}`, row]))
    const missing: string[] = []
    let found = 0
    for (const { file, form, usage } of recordedUsages()) {
      found += 1
      const left = kept(usage)
      if (left === undefined) {
        expect(priced(form, usage), file).toEqual({})
        continue
      }
      const row = known.get(`${form} ${JSON.stringify(left)}`)
      if (row === undefined) missing.push(`${file}: ${JSON.stringify(usage)}`)
      else expect(priced(form, usage), file).toEqual(row.cost)
    }
    expect(missing).toEqual([])
    expect(found).toBeGreaterThan(800)
  })
})

function* recordedUsages(): Generator<{ file: string; form: string; usage: Fields }> {
  const folders = readdirSync(FOLDER, { withFileTypes: true }).filter((entry) => entry.isDirectory() && entry.name !== 'LICENSES')
  for (const folder of folders) {
    for (const name of readdirSync(new URL(`${folder.name}/`, FOLDER))) {
      if (name.endsWith('.md')) continue
      const file = `${folder.name}/${name}`
      for (const usage of usagesIn(readFileSync(new URL(file, FOLDER), 'utf8'))) {
        const form = formOf(usage)
        if (form !== null) yield { file, form, usage }
      }
    }
  }
}

/** Every object under `usage` in a text: JSON, lines of JSON, events, and such texts inside JSON. */
function* usagesIn(text: string): Generator<Fields> {
  const whole = parsed(text)
  if (whole !== undefined) return yield* usagesUnder(whole)
  for (const line of text.split('\n')) {
    const json = line.replace(/^data:\s*/, '').trim()
    const value = json.startsWith('{') ? parsed(json) : undefined
    if (value !== undefined) yield* usagesUnder(value)
  }
}

function* usagesUnder(value: unknown): Generator<Fields> {
  if (typeof value === 'string') {
    if (value.includes('usage')) yield* usagesIn(value)
  } else if (Array.isArray(value)) {
    for (const item of value) yield* usagesUnder(item)
  } else if (isObject(value)) {
    for (const [key, item] of Object.entries(value)) {
      if (key === 'usage' && isObject(item)) yield item
      yield* usagesUnder(item)
    }
  }
}

function parsed(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' ? value : undefined
  } catch {
    return undefined
  }
}

/** Which adapter reads a usage; null = none does. */
function formOf(usage: Fields): 'openai' | 'anthropic' | null {
  const has = (...names: string[]): boolean => names.some((name) => name in usage)
  if (has('inputTokens', 'billed_units', 'total_input_tokens') || Object.keys(usage).some((name) => name.endsWith('PolicyUnits')))
    return null
  if (has('cache_creation_input_tokens', 'cache_read_input_tokens', 'cache_creation')) return 'anthropic'
  if (usage['type'] === 'duration') return 'openai'
  return has('prompt_tokens', 'completion_tokens', 'input_tokens', 'output_tokens', 'total_tokens') ? 'openai' : null
}

const TIMING = /(time|latency|_ms$|per_sec|checkpoint|duration|is_last|acceptance|throughput|request_count|context_details)/
const TEXTS = new Set(['service_tier', 'type', 'search_context_size', 'inference_geo', 'speed', 'model'])

/** What is left of a usage without zeros and timings, in the order of names; undefined for nothing. */
function kept(value: unknown, key = ''): unknown {
  if (Array.isArray(value)) return key === 'iterations' ? value.map((item) => kept(item)) : undefined
  if (typeof value === 'string') return TEXTS.has(key) ? value : undefined
  if (!isObject(value)) return value === 0 || value === false || value === null ? undefined : value
  const left: Fields = {}
  for (const name of Object.keys(value).sort()) {
    if (name === 'cost_details') {
      const upstream = isObject(value[name]) ? value[name]['upstream_inference_cost'] : undefined
      if (value['is_byok'] === true) left[name] = { upstream_inference_cost: upstream }
    } else if (!TIMING.test(name)) {
      // A cost of 0 beside a key of the caller's own is a statement.
      const stated = name === 'cost' && value['is_byok'] === true
      const item = stated ? value[name] : kept(value[name], name)
      if (item !== undefined) left[name] = item
    }
  }
  return Object.keys(left).length === 0 ? undefined : left
}
