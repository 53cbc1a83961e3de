import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Gateway, MODES, openGateway } from './gateway.ts'

/** What a gateway tells of its models, in both modes: groups, wildcards by catalogue and by the provider's own list, parameters. */
describe.each(MODES)('%s', (mode) => {
  let provider: Server
  let gateway: Gateway
  let key: string

  beforeAll(async () => {
    provider = createServer((request, response) => {
      const listed = request.url === '/v1/models' && request.headers.authorization === 'Bearer sk-upstream'
      response.statusCode = listed ? 200 : 404
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify(listed ? { data: [{ id: 'live-one' }, { id: 'live-two' }] } : { error: { message: 'no' } }))
    })
    await new Promise<void>((resolve) => provider.listen(0, '127.0.0.1', resolve))
    const base = `http://127.0.0.1:${(provider.address() as AddressInfo).port}/v1`
    const config = {
      litellm_settings: { check_provider_endpoint: true },
      model_list: [
        { model_name: 'fast', litellm_params: { model: 'openai/gpt-4o', api_key: 'sk-upstream', rpm: 10 } },
        { model_name: 'fast', litellm_params: { model: 'anthropic/claude-sonnet-4-5', api_key: 'sk-upstream', rpm: 5 } },
        { model_name: 'claude/*', litellm_params: { model: 'anthropic/*', api_key: 'sk-upstream' } },
        { model_name: 'own/*', litellm_params: { model: 'custom_openai/*', api_base: base, api_key: 'sk-upstream' } },
      ],
    }
    gateway = await openGateway(mode, { config: JSON.stringify(config) })
    key = await gateway.generateKey({})
  }, 120_000)
  afterAll(async () => {
    await gateway?.stop()
    await new Promise((resolve) => provider?.close(resolve))
  })

  const get = async (path: string): Promise<{ status: number; body: Record<string, unknown> }> => {
    const response = await fetch(`${gateway.url}${path}`, { headers: { authorization: `Bearer ${key}` } })
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }
  const names = async (query = ''): Promise<string[]> =>
    ((await get(`/v1/models${query}`)).body['data'] as { id: string }[]).map(({ id }) => id)

  it('lists a wildcard as the models it stands for, and itself where that is asked for', async () => {
    const plain = await names()
    expect(plain).toContain('fast')
    expect(plain).toContain('claude/claude-opus-4-1')
    expect(plain).not.toContain('claude/*')
    expect(await names('?return_wildcard_routes=true')).toContain('claude/*')
  })

  it('lists what a provider says it has, once it was asked', { timeout: 60_000 }, async () => {
    await expect
      .poll(() => names(), { timeout: 50_000, interval: 200 })
      .toEqual(expect.arrayContaining(['own/live-one', 'own/live-two']))
  })

  it('tells of a group: providers, dearest prices, limits together, parameters of any', async () => {
    const { body } = await get('/model_group/info?model_group=fast')
    const [group, ...more] = body['data'] as Record<string, unknown>[]
    expect(more).toEqual([])
    expect(group).toMatchObject({
      model_group: 'fast',
      providers: ['openai', 'anthropic'],
      rpm: 15,
      mode: 'chat',
      supports_function_calling: true,
      input_cost_per_token: 3e-6,
      output_cost_per_token: 15e-6,
    })
    expect(group?.['supported_openai_params']).toEqual(expect.arrayContaining(['temperature', 'tools', 'logit_bias']))
    expect((await get('/model_group/info?model_group=nothing')).status).toBe(404)
  })

  it('tells which parameters a model takes, by group and by provider, and of which it cannot tell', async () => {
    const claude = (await get('/utils/supported_openai_params?model=anthropic/claude-sonnet-4-5')).body['supported_openai_params']
    expect(claude).toEqual(expect.arrayContaining(['tools', 'temperature', 'max_tokens', 'stop']))
    expect(claude).not.toContain('logit_bias')
    expect((await get('/utils/supported_openai_params?model=fast')).body['supported_openai_params']).toContain('logit_bias')
    const unknown = await get('/utils/supported_openai_params?model=nobody/x')
    expect(unknown.status).toBe(400)
    expect(JSON.stringify(unknown.body)).toContain('nobody')
  })
})
