import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RuntimeSnapshot } from '../../proto/deployment.ts'
import { type AccountingFixture, startAccounting } from '../gateway-fixture.ts'

const DOLLAR = 1_000_000_000
const config = {
  model_list: [
    { model_name: 'own', litellm_params: { model: 'openai/gpt-4o', input_cost_per_token: 1e-6, output_cost_per_token: 2e-6 } },
    { model_name: 'listed', litellm_params: { model: 'openai/gpt-4o-mini' } },
    { model_name: 'openai/*', litellm_params: { model: 'openai/*' } },
    { model_name: 'cut', litellm_params: { model: 'anthropic/claude-3-haiku-20240307' } },
  ],
  litellm_settings: {
    cost_discount_config: { anthropic: 0.05 },
    cost_margin_config: { anthropic: { percentage: 0.1, fixed_amount: 0.001 } },
  },
}

let fixture: AccountingFixture
beforeAll(async () => {
  fixture = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'], { config })
})
afterAll(() => fixture.close())

async function snapshot(): Promise<RuntimeSnapshot> {
  const bus = fixture.hub.join('router')
  const bucket = await bus.bucket(bus.subjects.runtimeBucket)
  const value = (await bucket.get('runtime')) as RuntimeSnapshot
  await bus.close()
  return value
}

const calculate = async (model: string, prompt: number, completion: number): Promise<unknown> => {
  const completion_response = { model, usage: { prompt_tokens: prompt, completion_tokens: completion } }
  return (await fixture.call('POST', '/spend/calculate', { completion_response })).body
}

describe('prices set through the API', () => {
  it('hold at once on every router, with a version, until they are taken away', async () => {
    const made = await fixture.call('POST', '/model/prices', {
      model: 'openai/gpt-4o-mini',
      input_cost_per_token: '0.000003',
      output_cost_per_token: '0.000004',
    })
    expect(made.status).toBe(200)
    const row = made.body as { id: string; rate_version: string; prices: Record<string, unknown> }
    expect(row).toMatchObject({ provider: 'openai', model: 'gpt-4o-mini', prices: { input: 3 * DOLLAR, output: 4 * DOLLAR } })
    expect(row.rate_version).toMatch(/^api:[0-9a-f]{12}$/)

    const published = await snapshot()
    const listed = published.deployments.find(({ modelGroup }) => modelGroup === 'listed')
    expect(listed?.prices).toMatchObject({ input: 3 * DOLLAR, rateVersion: row.rate_version })
    expect(published.pricing?.overrides).toMatchObject([{ provider: 'openai', model: 'gpt-4o-mini' }])
    expect(await calculate('listed', 1000, 100)).toEqual({ cost: 0.0034 })

    expect((await fixture.call('GET', '/model/prices?model=gpt-4o-mini')).body).toMatchObject([{ id: row.id }])
    expect((await fixture.call('DELETE', `/model/prices/${row.id}`)).status).toBe(200)
    expect((await fixture.call('GET', '/model/prices')).body).toEqual([])
    expect((await snapshot()).deployments.find(({ modelGroup }) => modelGroup === 'listed')?.prices).toMatchObject({
      input: 0.15 * DOLLAR,
    })
    const log = await fixture.test.db.query<{ action: string }>(
      `select action from audit_log where table_name = 'price_overrides' order by at`,
    )
    expect(log.map(({ action }) => action)).toEqual(['created', 'deleted'])
  })

  it('may begin later, and nobody pays them before', async () => {
    const later = new Date(Date.now() + 3_600_000).toISOString()
    const made = await fixture.call('POST', '/model/prices', {
      model: 'gpt-4o-mini',
      input_cost_per_token: 1,
      effective_from: later,
    })
    expect(made.body).toMatchObject({ effective_from: later, provider: 'openai' })
    expect((await snapshot()).pricing?.overrides).toEqual([])
    expect(await calculate('listed', 1000, 0)).toEqual({ cost: 0.00015 })
    await fixture.call('DELETE', `/model/prices/${(made.body as { id: string }).id}`)
  })

  it('are refused when they are none, no decimal, or of an unknown provider, naming what', async () => {
    const refused = async (body: unknown): Promise<unknown> => (await fixture.call('POST', '/model/prices', body)).body
    expect(await refused({ model: 'openai/gpt-4o' })).toMatchObject({
      error: { message: expect.stringContaining('No price is given') },
    })
    expect(await refused({ model: 'openai/gpt-4o', input_cost_per_image: 'dear' })).toMatchObject({
      error: { message: expect.stringContaining('input_cost_per_image') },
    })
    expect(await refused({ model: 'nobody/x', input_cost_per_token: 1 })).toMatchObject({
      error: { message: expect.stringContaining('nobody') },
    })
    expect((await fixture.call('DELETE', '/model/prices/none')).status).toBe(404)
  })

  it('are for admins', async () => {
    const key = (await fixture.call('POST', '/key/generate', {})).body as { key: string }
    expect(key.key).toMatch(/^sk-/)
    expect((await fixture.call('POST', '/model/prices', { model: 'openai/o3', input_cost_per_token: 0 }, key.key)).status).toBe(
      401,
    )
  })
})

describe('/spend/calculate', () => {
  it('prices an answer by what the deployment costs, with its discount and margin', async () => {
    expect(await calculate('own', 1000, 100)).toEqual({ cost: 0.0012 })
    expect(await calculate('gpt-4o', 1000, 100)).toEqual({ cost: 0.0035 })
    // 1000 × $0.25 and 100 × $1.25 per million = $0.000375; less 5 % = $0.00035625; 10 % and $0.001 more.
    expect(await calculate('cut', 1000, 100)).toEqual({ cost: 0.001391875 })
    expect(await calculate('no-such-model', 1, 1)).toMatchObject({ error: { code: expect.anything() } })
  })

  it('estimates what messages cost to send', async () => {
    const body = { model: 'own', messages: [{ role: 'user', content: 'x'.repeat(400) }] }
    expect((await fixture.call('POST', '/spend/calculate', body)).body).toEqual({ cost: 0.000104 })
    expect((await fixture.call('POST', '/spend/calculate', { model: 'own' })).status).toBe(400)
  })
})

describe('/cost/estimate', () => {
  it('says what calls cost each, a day and a month', async () => {
    const body = { model: 'own', input_tokens: 1000, output_tokens: 500, num_requests_per_day: 10, num_requests_per_month: 300 }
    expect((await fixture.call('POST', '/cost/estimate', body)).body).toMatchObject({
      cost_per_request: 0.002,
      input_cost_per_request: 0.001,
      output_cost_per_request: 0.001,
      margin_cost_per_request: 0,
      daily_cost: 0.02,
      monthly_cost: 0.6,
      monthly_output_cost: 0.3,
      input_cost_per_token: 0.000001,
      provider: 'openai',
    })
  })
})
