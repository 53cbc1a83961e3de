import { describe, expect, it } from 'vitest'
import { DEFAULT_ROUTING, type RoutingOverrides } from '../../proto/routing.ts'
import { encodeUpstream } from '../upstream-request.ts'
import { type Asked, callOf, deployment, runtimeOf } from './request.testkit.ts'
import { merged, mockedFailure, readRouting } from './request-routing.ts'
import { resolve } from './resolve.ts'

const GROUPS = ['gpt', 'a', 'b', 'c'].map((modelGroup) => deployment(modelGroup, { modelGroup }))

function read(body: Record<string, unknown>, asked: Asked = {}) {
  const call = callOf(body, asked)
  readRouting(call, runtimeOf(GROUPS), () => 0)
  return call
}

describe('readRouting', () => {
  it('asks nothing for a plain request, and uses the very settings in force', () => {
    const runtime = runtimeOf(GROUPS)
    const call = callOf({})
    const { request } = call
    readRouting(call, runtime, () => 0)
    expect(call.routing).toBe(runtime.settings.routing)
    expect(call.request).toBe(request)
    expect(call).toMatchObject({
      preferences: null,
      requestFallbacks: { own: null, contextWindow: null, contentPolicy: null, disabled: false },
    })
  })

  it('reads fallbacks as names and as objects with fields to replace', () => {
    const messages = [{ role: 'user', content: 'Shorter' }]
    const call = read({
      fallbacks: ['a', { model: 'b', messages, max_tokens: 5 }, { model: 'c' }],
      context_window_fallbacks: ['c'],
      content_policy_fallbacks: [],
      disable_fallbacks: false,
    })
    expect(call.requestFallbacks).toEqual({
      own: [{ model: 'a' }, { model: 'b', overrides: { messages, max_tokens: 5 } }, { model: 'c' }],
      contextWindow: [{ model: 'c' }],
      contentPolicy: [],
      disabled: false,
    })
  })

  it('reads LiteLLM’s lists by group: the one of the model asked for, else that of everybody', () => {
    const fallbacks = [{ other: ['c'] }, { gpt: ['a', 'b'] }, { '*': ['c'] }]
    expect(read({ fallbacks }).requestFallbacks.own).toEqual([{ model: 'a' }, { model: 'b' }])
    expect(read({ model: 'a', fallbacks }).requestFallbacks.own).toEqual([{ model: 'c' }])
    expect(read({ model: 'a', fallbacks: [{ gpt: ['b'] }] }).requestFallbacks.own).toEqual([])
  })

  it('takes OpenRouter’s list of models for fallbacks, without the one asked for, and sends it nowhere', () => {
    const call = read({ models: ['gpt', 'a', 'b'], extra_body: { models: ['x'], seed: 1 } })
    expect(call.requestFallbacks.own).toEqual([{ model: 'a' }, { model: 'b' }])
    expect(call.request).not.toHaveProperty('models')
    expect(call.request).toMatchObject({ seed: 1 })
    expect(read({ models: ['a'], fallbacks: ['b'] }).requestFallbacks.own).toEqual([{ model: 'b' }])
  })

  it('lets no fallback carry models past the ones that were checked, nor make a stream of an answer', () => {
    const target = { model: 'a', models: ['x'], extra_body: { models: ['y'], seed: 1 }, stream: true, temperature: 0 }
    expect(read({ fallbacks: [target] }).requestFallbacks.own).toEqual([
      { model: 'a', overrides: { extra_body: { seed: 1 }, temperature: 0 } },
    ])
  })

  it.each([
    [{ fallbacks: 'a' }, 'fallbacks'],
    [{ fallbacks: [3] }, 'fallbacks[0]'],
    [{ fallbacks: [''] }, 'fallbacks[0]'],
    [{ fallbacks: [{ model: 3 }] }, 'fallbacks[0].model'],
    [{ fallbacks: [{ gpt: 'a' }] }, 'fallbacks[0].gpt'],
    [{ fallbacks: ['a', { gpt: ['b'] }] }, 'fallbacks'],
    [{ fallbacks: Array.from({ length: 51 }, () => 'a') }, 'fallbacks'],
    [{ fallbacks: [{ model: 'a', messages: 'x' }] }, 'fallbacks[0].messages'],
    [{ context_window_fallbacks: {} }, 'context_window_fallbacks'],
    [{ content_policy_fallbacks: [null] }, 'content_policy_fallbacks[0]'],
    [{ disable_fallbacks: 'yes' }, 'disable_fallbacks'],
    [{ models: ['a', 4] }, 'models[1]'],
    [{ num_retries: -1 }, 'num_retries'],
    [{ num_retries: 'many' }, 'num_retries'],
    [{ timeout: 0 }, 'timeout'],
    [{ request_timeout: 'soon' }, 'request_timeout'],
    [{ stream_timeout: [1] }, 'stream_timeout'],
    [{ priority: 1.5 }, 'priority'],
    [{ mock_testing_fallbacks: 1 }, 'mock_testing_fallbacks'],
    [{ provider: { sort: 'best' } }, 'provider.sort'],
    [{ provider: { order: 'openai' } }, 'provider.order'],
    [{ provider: { only: [1] } }, 'provider.only'],
    [{ provider: { ignore: Array.from({ length: 101 }, () => 'x') } }, 'provider.ignore'],
    [{ provider: { allow_fallbacks: 'no' } }, 'provider.allow_fallbacks'],
    [{ provider: { require_parameters: 1 } }, 'provider.require_parameters'],
    [{ provider: { max_price: 3 } }, 'provider.max_price'],
    [{ provider: { max_price: { prompt: -1 } } }, 'provider.max_price.prompt'],
    [{ provider: { max_price: { prompt: 'cheap' } } }, 'provider.max_price.prompt'],
    [{ provider: { max_price: { image: 1 } } }, 'provider.max_price.image'],
    [{ provider: { sorting: 'price' } }, 'provider.sorting'],
  ])('refuses %j, naming %s', (body, param) => {
    expect(() => read(body)).toThrow(expect.objectContaining({ code: 'bad_request', status: 400, param }))
  })

  it('lets a key name only fallbacks it may call, and those of settings be any', () => {
    const asked = { identity: { models: ['gpt', 'a'] } }
    expect(read({ fallbacks: ['a'] }, asked).requestFallbacks.own).toHaveLength(1)
    const denied = expect.objectContaining({ code: 'model_denied', status: 403, message: expect.stringContaining("'b'") })
    expect(() => read({ fallbacks: ['a', 'b'] }, asked)).toThrow(denied)
    expect(() => read({ context_window_fallbacks: ['b'] }, asked)).toThrow(denied)
    expect(() => read({ models: ['b'] }, asked)).toThrow(denied)
    expect(() => read({ fallbacks: [{ gpt: ['b'] }] }, asked)).toThrow(denied)
    expect(() => read({ fallbacks: ['nowhere'] })).toThrow(
      expect.objectContaining({ code: 'unknown_model', param: 'fallbacks[0]' }),
    )
  })

  it('lets no fallback carry a credential or an address', () => {
    for (const field of ['api_base', 'api_key', 'base_url', 'user_config'])
      expect(() => read({ fallbacks: [{ model: 'a', [field]: 'x' }] })).toThrow(
        expect.objectContaining({ code: 'unsafe_parameter' }),
      )
  })

  it('reads OpenRouter’s provider object, prices in nano-dollars per million tokens', () => {
    const provider = {
      sort: 'latency',
      order: ['Google-Vertex', 'DeepInfra/turbo'],
      only: ['openai'],
      ignore: ['x/y'],
      allow_fallbacks: false,
      require_parameters: true,
      max_price: { prompt: 0.5, completion: '1.25' },
      data_collection: 'deny',
    }
    expect(read({ provider }).preferences).toEqual({
      sort: 'latency',
      order: ['google_vertex', 'deepinfra/turbo', 'deepinfra'],
      only: ['openai'],
      ignore: ['x/y'],
      allowFallbacks: false,
      requireParameters: true,
      maxPrice: { prompt: 500_000_000, completion: 1_250_000_000 },
    })
    expect(read({ provider: {} }).preferences).toMatchObject({ allowFallbacks: true, order: null })
    expect(read({ provider: 'openai' }).preferences).toBeNull()
  })

  it('keeps `provider` inside, but for a provider that routes by it itself, and for other shapes of it', () => {
    const sent = (body: Record<string, unknown>, provider: string) => {
      const runtime = runtimeOf([deployment('one', { provider, apiBase: 'http://one.test/v1' })])
      const call = callOf(body)
      readRouting(call, runtime, () => 0)
      const [route] = resolve(call, runtime).routes
      if (route === undefined) throw new Error('no route')
      return JSON.parse(Buffer.from(encodeUpstream(call, route).upstream.body).toString()) as Record<string, unknown>
    }
    const body = { provider: { sort: 'price' }, models: ['gpt'], fallbacks: [], allowed_model_region: 'eu' }
    expect(Object.keys(sent(body, 'openai')).sort()).toEqual(['messages', 'model'])
    expect(sent(body, 'openrouter')['provider']).toEqual({ sort: 'price' })
    expect(sent(body, 'openrouter')).not.toHaveProperty('models')
    expect(sent({ provider: 'azure' }, 'openai')['provider']).toBe('azure')
  })

  it('takes as many retries from the header as from the body, which comes first', () => {
    const read100 = (retries: string, body = {}) =>
      read(body, { headers: { 'x-litellm-num-retries': retries } }).options.numRetries
    expect([read100('100'), read100('0'), read100('many', { num_retries: 3 })]).toEqual([100, 0, 3])
    for (const retries of ['101', '-1', '1.5', 'many', ''])
      expect(() => read100(retries), retries).toThrow(
        expect.objectContaining({ code: 'bad_request', status: 400, param: 'x-litellm-num-retries' }),
      )
  })

  it('fills retries and time limits of key and team where the request says nothing', () => {
    const routing: RoutingOverrides = { numRetries: 5, timeout: 9_000, streamTimeout: 3_000 }
    expect(read({}, { identity: { routing } }).options).toMatchObject({ numRetries: 5, timeout: 9_000, streamTimeout: 3_000 })
    expect(read({ num_retries: 0, timeout: 2 }, { identity: { routing } }).options).toMatchObject({
      numRetries: 0,
      timeout: 2_000,
      streamTimeout: 3_000,
    })
  })
})

describe('merged', () => {
  it('changes what is named and nothing else', () => {
    const overrides: RoutingOverrides = {
      strategy: 'least-busy',
      maxFallbacks: 1,
      failover: false,
      hedgeAfter: 100,
      tagFiltering: true,
      fallbacks: { general: { gpt: [{ model: 'a' }] } },
      groupRetryPolicy: { gpt: { TimeoutError: 1 } },
    }
    const settings = {
      ...DEFAULT_ROUTING,
      groupRetryPolicy: { a: {} },
      fallbacks: { general: { x: [] }, contextWindow: { x: [] }, contentPolicy: null },
    }
    expect(merged(settings, overrides)).toEqual({
      ...settings,
      strategy: 'least-busy',
      maxFallbacks: 1,
      failover: { ...settings.failover, enabled: false },
      hedgeAfter: 100,
      tagFiltering: true,
      fallbacks: { general: { gpt: [{ model: 'a' }] }, contextWindow: { x: [] }, contentPolicy: null },
      groupRetryPolicy: { a: {}, gpt: { TimeoutError: 1 } },
    })
    expect(merged(settings, {})).toEqual(settings)
    expect(merged(settings, undefined)).toBe(settings)
  })
})

describe('mockedFailure', () => {
  it.each([
    ['mock_testing_fallbacks', 'provider_error', 500],
    ['mock_testing_context_fallbacks', 'context_window_exceeded', 400],
    ['mock_testing_content_policy_fallbacks', 'content_policy', 400],
    ['mock_testing_rate_limit_error', 'provider_rate_limited', 429],
  ])('fails the first group for %s as %s', (field, code, status) => {
    const call = callOf({ [field]: true })
    expect(mockedFailure(call)).toMatchObject({ code, status })
    call.fallbacks = 1
    expect(mockedFailure(call)).toBeNull()
  })

  it('leaves calls alone that do not ask for it', () => {
    expect(mockedFailure(callOf({ mock_testing_fallbacks: false }))).toBeNull()
  })
})
