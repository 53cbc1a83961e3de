import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startUpstream, type Upstream } from '../../loadtest/upstream.ts'
import { type Gateway, MODES, openGateway } from './gateway.ts'

/** What a deployment may be sent, and whether it serves, is the same for all routers together. */
describe.each(MODES)('%s', (mode) => {
  let upstream: Upstream
  let gateway: Gateway

  beforeAll(async () => {
    upstream = await startUpstream()
    const at = `api_base: ${upstream.url}/v1, api_key: sk-upstream`
    gateway = await openGateway(mode, {
      config: `
model_list:
  - model_name: narrow
    litellm_params: {model: "openai/script:latency=100", ${at}, max_parallel_requests: 2}
  - model_name: minute
    litellm_params: {model: openai/gpt-scripted, ${at}, rpm: 3}
  - model_name: sick
    litellm_params: {model: "openai/script:fail=500,message=broken", ${at}}
    model_info: {id: sick}
  - model_name: well
    litellm_params: {model: openai/gpt-scripted, ${at}}
    model_info: {id: well}
router_settings: {num_retries: 0, optional_pre_call_checks: [enforce_model_rate_limits]}
`,
    })
  }, 120_000)
  afterAll(async () => {
    await gateway?.stop()
    await upstream?.stop()
  })

  /** Over all edges in turn, so that every router gets some. */
  function ask(model: string, index: number): Promise<Response> {
    const urls = gateway.cluster?.urls ?? [gateway.url]
    return fetch(`${urls[index % urls.length]}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${gateway.masterKey}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model, messages: [{ role: 'user', content: 'hi' }], max_tokens: 5 }),
    })
  }

  it('sends a deployment no more at once than it may have, and lets the rest wait instead of failing', async () => {
    upstream.reset()
    const answers = await Promise.all(Array.from({ length: 12 }, (_, index) => ask('narrow', index)))
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
    expect(upstream.stats()).toMatchObject({ requests: 12, peak: 2 })
  })

  it('refuses what is beyond the minute of a deployment, and says when to come back', async () => {
    upstream.reset()
    const answers: Response[] = []
    for (let index = 0; index < 5; index += 1) answers.push(await ask('minute', index))
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 429, 429])
    expect(answers[4]?.headers.get('retry-after')).toBe('60')
    expect(await answers[4]?.json()).toMatchObject({
      error: { message: expect.stringContaining('Deployment over user-defined ratelimit.') },
    })
    expect(upstream.stats().requests).toBe(3)
  })

  it('calls the deployments to say which of them serve, and books that on nobody’s key', async () => {
    const health = (await gateway.admin('GET', '/health?model_id=sick')) as Record<string, unknown>
    expect(health).toMatchObject({ unhealthy_endpoints: [{ model_id: 'sick', error: expect.stringContaining('broken') }] })
    expect(await gateway.admin('GET', '/health?model=well')).toMatchObject({ healthy_endpoints: [{ model_id: 'well' }] })
    expect(await gateway.admin('GET', '/health/latest')).toMatchObject({
      latest_health_checks: { sick: { status: 'unhealthy' }, well: { status: 'healthy' } },
    })
    const rows = (): Promise<unknown> => gateway.admin('GET', '/spend/logs?api_key=health_check')
    await expect.poll(rows, { timeout: 10_000 }).toMatchObject([expect.objectContaining({ api_key: 'health_check' }), {}])
    const test = { mode: 'chat', litellm_params: { model: 'openai/gpt-x', api_base: `${upstream.url}/v1`, api_key: 'sk' } }
    expect(await gateway.admin('POST', '/health/test_connection', test)).toMatchObject({ status: 'success' })
  })
})
