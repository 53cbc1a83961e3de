import { describe, expect, it } from 'vitest'
import type { Deployment, Prices } from '../../proto/deployment.ts'
import { createCatalog } from '../../shared/catalog/catalog.ts'
import { deploymentsOf } from '../../shared/config/runtime.ts'
import { createSealer } from '../../shared/config/secrets.ts'
import type { Database } from '../../shared/db/db.ts'
import { pricedCatalog } from '../../shared/pricing.ts'
import { configOf } from '../gateway-fixture.ts'
import type { PriceOverrideRow } from '../sql/prices.ts'
import { adjustmentsOf, createPriceBook, type PriceBook } from './price-book.ts'

const DOLLAR = 1_000_000_000
const MAY = Date.UTC(2026, 4, 1)
const NOON = Date.UTC(2026, 10, 21, 12)
const catalog = createCatalog({ now: () => NOON })

const config = configOf({
  model_list: [
    { model_name: 'own', litellm_params: { model: 'openai/gpt-4o', input_cost_per_token: 1e-6 }, model_info: { id: 'own' } },
    { model_name: 'listed', litellm_params: { model: 'openai/o3' }, model_info: { id: 'listed' } },
    {
      model_name: 'based',
      litellm_params: { model: 'groq/mine', base_model: 'openai/gpt-4.1' },
      model_info: { id: 'based' },
    },
    { model_name: 'openai/*', litellm_params: { model: 'openai/*' }, model_info: { id: 'any' } },
  ],
  litellm_settings: { cost_discount_config: { groq: 0.1 }, cost_margin_config: { global: 0.2, groq: { fixed_amount: 0.001 } } },
})

function override(provider: string, model: string, at: number, prices: Partial<Prices>): PriceOverrideRow {
  return {
    id: `${model}-${at}`,
    provider,
    model,
    prices: { rateVersion: `api:${model}-${at}`, ...prices },
    effective_from: new Date(at),
    created_at: new Date(at),
    created_by: null,
  }
}

async function bookOf(rows: PriceOverrideRow[], now = NOON): Promise<{ book: PriceBook; deployments: Deployment[] }> {
  const db = { query: async () => rows } as unknown as Database
  const book = createPriceBook({ db, catalog, clock: { now: () => now } })
  await book.load()
  const deployments = book.use(config, deploymentsOf(config, {}, createSealer('salt'), { catalog }))
  return { book, deployments }
}

const attempt = (deploymentId: string, provider: string, model: string, startedAt = NOON) => ({
  deploymentId,
  provider,
  model,
  startedAt,
})

describe('the price book', () => {
  it('takes the configured price, else the catalogue’s of the moment the attempt started', async () => {
    const { book } = await bookOf([])
    expect(book.pricesOf(attempt('own', 'openai', 'gpt-4o'))).toMatchObject({ input: DOLLAR, output: 10 * DOLLAR })
    expect(book.pricesOf(attempt('listed', 'openai', 'o3'))).toMatchObject({ input: 2 * DOLLAR })
    // o3 was five times as dear until 10 June 2025.
    expect(book.pricesOf(attempt('listed', 'openai', 'o3', Date.UTC(2025, 5, 9)))).toMatchObject({ input: 10 * DOLLAR })
    expect(book.pricesOf(attempt('based', 'groq', 'mine'))).toMatchObject({ input: 2 * DOLLAR })
    expect(book.pricesOf(attempt('any', 'openai', 'gpt-4o-mini'))).toMatchObject({ input: 0.15 * DOLLAR })
    expect(book.pricesOf(attempt('gone', 'openai', 'made-up'))).toBeNull()
  })

  it('lets the newest price of the API that began before the attempt beat them all', async () => {
    const rows = [
      override('openai', 'gpt-4o', MAY, { input: 3 * DOLLAR }),
      override('openai', 'gpt-4o', NOON, { input: 4 * DOLLAR }),
      override('openai', 'gpt-4.1', MAY, { input: 5 * DOLLAR }),
    ]
    const { book, deployments } = await bookOf(rows, NOON - 1)
    const input = (id: string, provider: string, model: string, at: number) =>
      book.pricesOf(attempt(id, provider, model, at))?.input
    expect(input('own', 'openai', 'gpt-4o', MAY - 1)).toBe(DOLLAR)
    expect(input('own', 'openai', 'gpt-4o', MAY)).toBe(3 * DOLLAR)
    expect(input('own', 'openai', 'gpt-4o', NOON - 1)).toBe(3 * DOLLAR)
    expect(input('own', 'openai', 'gpt-4o', NOON)).toBe(4 * DOLLAR)
    expect(input('based', 'groq', 'mine', NOON)).toBe(5 * DOLLAR)
    expect(deployments.map(({ prices }) => prices?.input)).toEqual([3 * DOLLAR, 2 * DOLLAR, 5 * DOLLAR, undefined])
    expect(book.nextChange()).toBe(NOON)
    expect((await bookOf(rows)).book.nextChange()).toBeNull()
  })

  it('tells routers how to price the models of a wildcard', async () => {
    const { book } = await bookOf([
      override('openai', 'gpt-4o-mini', MAY, { input: 7 }),
      override('openai', 'gpt-4o-mini', NOON + 1, { input: 8 }),
    ])
    const seen = pricedCatalog(catalog, book.pricing())
    expect(seen.prices('openai', 'gpt-4o-mini')).toMatchObject({ input: 7, margin: 200_000 })
    expect(seen.prices('openai', 'gpt-4.1')).toMatchObject({ input: 2 * DOLLAR, margin: 200_000 })
    expect(seen.prices('openai', 'made-up')).toBeNull()
  })

  it('adds discount and margin under a version of its own, and the margin of all others only where there is no own', async () => {
    const { book } = await bookOf([])
    const based = book.pricesOf(attempt('based', 'groq', 'mine'))
    expect(based).toMatchObject({ discount: 100_000, marginFixed: 1_000_000 })
    expect(based?.rateVersion).toBe(`${catalog.version}~100000:0:1000000`)
    expect(book.pricesOf(attempt('listed', 'openai', 'o3'))).toMatchObject({ margin: 200_000 })
    expect(adjustmentsOf(config)).toEqual({
      groq: { discount: 100_000, margin: 0, marginFixed: 1_000_000 },
      global: { margin: 200_000 },
    })
  })

  it('finds the prices of every version it hands out', async () => {
    const { book } = await bookOf([override('openai', 'o3', MAY, { input: 9 })])
    for (const one of [attempt('own', 'openai', 'gpt-4o'), attempt('listed', 'openai', 'o3'), attempt('based', 'groq', 'mine')]) {
      const prices = book.pricesOf(one)
      expect(book.atVersion(prices?.rateVersion ?? '')?.(one)).toEqual(prices)
    }
    expect(book.atVersion(`api:o3-${MAY}`)?.(attempt('own', 'openai', 'gpt-4o'))).toBeNull()
    expect(book.atVersion('genai-prices@0.0.1')).toBeUndefined()
  })
})
