import { afterEach, describe, expect, it } from 'vitest'
import { TurnpikeError } from './errors.ts'
import type { CallReport } from './report.ts'
import { createRouter, type RouterClient, type RouterOptions } from './router.ts'
import { chat, hello, json, provider } from './upstream.testkit.ts'

const routers: RouterClient[] = []
let reports: CallReport[] = []

function router(model_list: RouterOptions['model_list'], settings: Partial<RouterOptions> = {}): RouterClient {
  const made = createRouter({ env: {}, onCall: (report) => reports.push(report), model_list, ...settings })
  routers.push(made)
  return made
}

afterEach(async () => {
  for (const one of routers.splice(0)) await one.close()
  reports = []
})

const deployment = (model_name: string, api_base: string, more: object = {}) => ({
  model_name,
  litellm_params: { model: 'openai/gpt-4o', api_base, api_key: 'sk-x', ...more },
})

const answering = (text: string) => provider((_, response) => json(response, chat(text)))
const failing = (status: number) => provider((_, response) => json(response, { error: { message: 'fell over' } }, status))
const say = (made: RouterClient, model: string) => made.completion({ model, messages: hello })

describe('a router', () => {
  it('shares the calls of a group among its deployments, by weight', async () => {
    const [one, two] = [await answering('one'), await answering('two')]
    const made = router([deployment('group', one.base, { weight: 1 }), deployment('group', two.base, { weight: 0 })])
    const even = router([deployment('group', one.base), deployment('group', two.base)])
    for (let call = 0; call < 5; call += 1) expect((await say(made, 'group')).choices[0]?.message.content).toBe('one')
    expect(two.heard).toHaveLength(0)
    await Promise.all(Array.from({ length: 60 }, () => say(even, 'group')))
    expect(one.heard.length + two.heard.length).toBe(65)
    expect(two.heard.length).toBeGreaterThan(5)
  })

  it('tries the others of the group, and leaves one that fails alone for a while', async () => {
    const [broken, fine] = [await failing(500), await answering('fine')]
    const made = router([deployment('group', broken.base), deployment('group', fine.base)], {
      num_retries: 2,
      allowed_fails: 0,
      cooldown_time: 60,
    })
    for (let call = 0; call < 20; call += 1) expect((await say(made, 'group')).choices[0]?.message.content).toBe('fine')
    expect(broken.heard.length).toBeLessThanOrEqual(1)
  })

  it('falls back from group to group', async () => {
    const [broken, fine] = [await failing(500), await answering('fine')]
    const made = router([deployment('first', broken.base), deployment('second', fine.base)], {
      num_retries: 0,
      fallbacks: [{ first: ['second'] }],
      model_group_alias: { alias: 'first' },
    })
    expect((await say(made, 'alias')).model).toBe('second')
    expect(reports).toMatchObject([{ model: 'alias', modelGroup: 'second', outcome: 'success', attempts: [{}, {}] }])
  })

  it('keeps the limits of a deployment', async () => {
    const openai = await answering('one')
    const made = router([deployment('group', openai.base, { rpm: 2 })], {
      num_retries: 0,
      optional_pre_call_checks: ['enforce_model_rate_limits'],
    })
    const ends = await Promise.allSettled(Array.from({ length: 5 }, () => say(made, 'group')))
    expect(ends.filter(({ status }) => status === 'fulfilled')).toHaveLength(2)
    const refused = ends.find((end) => end.status === 'rejected')
    expect(refused?.reason).toMatchObject({ name: 'RateLimitError', status: 429 })
    expect(openai.heard).toHaveLength(2)
  })

  it('prices deployments as its list says, integers in nano-dollars', async () => {
    const openai = await answering('one')
    const costs = { input_cost_per_token: 0.000001, output_cost_per_token: '0.000002' }
    await say(router([deployment('group', openai.base, costs)]), 'group')
    // 100 × 1,000 + 50 × 2,000.
    expect(reports[0]?.cost).toBe(200_000)
    await say(
      router([
        { ...deployment('group', openai.base), litellm_params: { model: 'openai/own', api_base: openai.base, api_key: 'k' } },
      ]),
      'group',
    )
    expect(reports[1]?.cost).toBeNull()
  })

  it('gives an answer again where it caches, for nothing', async () => {
    const openai = await answering('once')
    const made = router([deployment('group', openai.base)], { cache_responses: true })
    const first = await say(made, 'group')
    expect(await say(made, 'group')).toEqual(first)
    expect(openai.heard).toHaveLength(1)
    expect(reports).toMatchObject([
      { cacheHit: false, cost: 750_000 },
      { cacheHit: true, cost: 0, attempts: [] },
    ])
    const redis = { litellm_settings: { cache: true, cache_params: { type: 'redis', host: 'localhost' } } }
    expect(() => router([deployment('group', openai.base)], redis)).toThrow('in memory only')
  })

  it('knows no other models than those of its list, and takes no credentials with a call', async () => {
    const made = router([{ model_name: 'x', litellm_params: { model: 'mock/x' } }])
    await expect(say(made, 'openai/gpt-4o')).rejects.toMatchObject({ code: 'unknown_model' })
    await expect(made.completion({ model: 'x', messages: hello, api_key: 'sk' })).rejects.toMatchObject({ param: 'api_key' })
  })

  it('says which deployments cannot serve', () => {
    const made = router([{ model_name: 'x', litellm_params: { model: 'openai/gpt-4o' } }])
    expect(made.problems()).toEqual([{ modelGroup: 'x', problem: expect.stringContaining('OPENAI_API_KEY') }])
  })

  it('is refused with everything that is wrong with its options', () => {
    let error: unknown
    try {
      router([{ model_name: 'x', litellm_params: { model: 'nobody/x', api_key: 'os.environ/NOT_SET', rpm: -1 } }], {
        routing_stratgy: 'simple-shuffle',
        num_retries: -1,
      })
    } catch (thrown) {
      error = thrown
    }
    expect(error).toBeInstanceOf(TurnpikeError)
    const { message } = error as TurnpikeError
    for (const part of ['nobody', 'NOT_SET', 'rpm', 'did you mean routing_strategy', 'num_retries'])
      expect(message).toContain(part)
  })
})
