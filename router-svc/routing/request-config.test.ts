import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../shared/errors.ts'
import { type Asked, callOf, deployment, runtimeOf } from './request.testkit.ts'
import { parseConfig, plan } from './request-config.ts'
import { readRouting } from './request-routing.ts'
import { resolve } from './resolve.ts'

const GROUPS = ['gpt', 'a', 'b', 'c'].map((modelGroup) => deployment(modelGroup, { modelGroup }))

function configured(
  config: unknown,
  body: Record<string, unknown> = {},
  { header = 'x-turnpike-config', random = 0, ...asked }: Asked & { header?: string; random?: number } = {},
) {
  const text = typeof config === 'string' ? config : JSON.stringify(config)
  const runtime = runtimeOf(GROUPS)
  const call = callOf(body, { ...asked, headers: { ...asked.headers, [header]: text } })
  readRouting(call, runtime, () => random)
  return { call, group: resolve(call, runtime).group, own: call.requestFallbacks.own }
}

// biome-ignore lint/suspicious/noThenProperty: what Portkey calls the target of a condition.
const when = (query: Record<string, unknown>, name: string) => ({ query, then: name })

describe('a config of the request', () => {
  it('is read from either header, as JSON or its base64', () => {
    const config = { override_params: { model: 'a' } }
    expect(configured(config).group).toBe('a')
    expect(configured(config, {}, { header: 'x-portkey-config' }).group).toBe('a')
    expect(configured(Buffer.from(JSON.stringify(config)).toString('base64')).group).toBe('a')
    for (const text of ['pc-stored-1', '[]', '"x"', '{'])
      expect(() => configured(text)).toThrow(expect.objectContaining({ code: 'bad_request', param: 'x-turnpike-config' }))
  })

  it('begins with one target and replaces fields of the request, the model answered with being the one asked for', () => {
    const { call, group, own } = configured({
      strategy: { mode: 'single' },
      targets: [{ model: 'b', override_params: { max_tokens: 7 } }],
    })
    expect([group, own, call.request['max_tokens'], call.requestedModel]).toEqual(['b', null, 7, 'gpt'])
  })

  it('falls back in the order of its targets, each with its own replacements, on the statuses it names', () => {
    const { call, group, own } = configured(
      {
        strategy: { mode: 'fallback', on_status_codes: [429, 503] },
        targets: [{ override_params: { model: 'a', temperature: 0 } }, { model: 'b', override_params: { max_tokens: 3 } }, {}],
      },
      { temperature: 1 },
    )
    expect([group, call.request['temperature'], call.requestFallbacks.onStatus]).toEqual(['a', 0, [429, 503]])
    expect(own).toEqual([
      { model: 'b', overrides: { temperature: 1, max_tokens: 3 } },
      { model: 'gpt', overrides: { temperature: 1 } },
    ])
  })

  it('balances by weight', () => {
    const config = {
      strategy: { mode: 'loadbalance' },
      targets: [
        { model: 'a', weight: 0.7 },
        { model: 'b', weight: 0.3 },
        { model: 'c', weight: 0 },
      ],
    }
    expect([0, 0.69, 0.71, 0.999].map((random) => configured(config, {}, { random }).group)).toEqual(['a', 'a', 'b', 'b'])
  })

  it('picks by conditions over metadata, headers and the body, else its default', () => {
    const config = {
      strategy: {
        mode: 'conditional',
        conditions: [
          when({ 'metadata.plan': { $eq: 'paid' } }, 'good'),
          when({ $or: [{ 'headers.x-region': 'eu' }, { 'params.temperature': { $gt: 1 } }] }, 'far'),
        ],
        default: 'cheap',
      },
      targets: [
        { name: 'cheap', model: 'a' },
        { name: 'good', model: 'b' },
        { name: 'far', strategy: { mode: 'fallback' }, targets: [{ model: 'c' }, { model: 'a' }] },
      ],
    }
    expect(configured(config).group).toBe('a')
    expect(configured(config, { metadata: { plan: 'paid' } }).group).toBe('b')
    expect(configured(config, {}, { headers: { 'x-region': 'eu' } })).toMatchObject({ group: 'c', own: [{ model: 'a' }] })
    expect(configured(config, { temperature: 1.5 }).group).toBe('c')
  })

  it('sets retries, the time limit and the cache, under what the request itself says', () => {
    const config = {
      retry: { attempts: 3, on_status_codes: [429, 500] },
      request_timeout: 20_000,
      cache: { mode: 'simple', max_age: 60 },
    }
    const { call } = configured(config)
    expect(call.options).toMatchObject({ numRetries: 3, timeout: 20_000 })
    expect(call.routing.retryPolicy).toEqual({
      BadRequestError: 0,
      AuthenticationError: 0,
      TimeoutError: 0,
      RateLimitError: 3,
      ContentPolicyViolationError: 0,
      InternalServerError: 3,
    })
    expect(call.parsed['cache']).toEqual({ 'use-cache': true, ttl: 60, 's-maxage': 60 })
    const own = configured(config, { num_retries: 1, timeout: 2, cache: { 'no-cache': true } }).call
    expect([own.options.numRetries, own.options.timeout, own.parsed['cache']]).toEqual([1, 2_000, { 'no-cache': true }])
    expect(configured({ retry: { attempts: 2 } }).call.routing.retryPolicy).toEqual({})
  })

  it('names only models the key may call', () => {
    const identity = { models: ['gpt', 'a'] }
    const config = { strategy: { mode: 'fallback' }, targets: [{ model: 'a' }, { model: 'b' }] }
    expect(() => configured(config, {}, { identity })).toThrow(
      expect.objectContaining({ code: 'model_denied', param: 'targets[1].model' }),
    )
    expect(() => configured({ override_params: { model: 'zzz' } })).toThrow(expect.objectContaining({ code: 'unknown_model' }))
  })

  it.each([
    [{ provider: 'openai' }, 'provider'],
    [{ api_key: 'sk' }, 'api_key'],
    [{ targets: [{ virtual_key: 'x' }] }, 'targets[0].virtual_key'],
    [{ targets: [{ custom_host: 'http://x' }] }, 'targets[0].custom_host'],
    [{ targets: [{ aws_region: 'x' }] }, 'targets[0].aws_region'],
    [{ strategies: {} }, 'strategies'],
    [{ targets: [] }, 'targets'],
    [{ targets: ['a'] }, 'targets[0]'],
    [{ targets: [{ model: 3 }] }, 'targets[0].model'],
    [{ strategy: { mode: 'fastest' }, targets: [{}] }, 'strategy.mode'],
    [{ strategy: { mode: 'fallback' } }, 'targets'],
    [{ strategy: { mode: 'fallback', on_status_codes: ['429'] }, targets: [{}] }, 'strategy.on_status_codes'],
    [{ strategy: { mode: 'single', on_status_codes: [429] }, targets: [{}] }, 'strategy.on_status_codes'],
    [{ strategy: { mode: 'loadbalance' }, targets: [{ weight: 'x' }] }, 'targets[0].weight'],
    [{ strategy: { mode: 'loadbalance' }, targets: [{ weight: 0 }] }, 'targets'],
    [{ strategy: { mode: 'conditional' }, targets: [{}] }, 'strategy.conditions'],
    [{ strategy: { mode: 'conditional', conditions: [], default: 'x' }, targets: [{ name: 'y' }] }, 'strategy.default'],
    [{ strategy: { mode: 'conditional', conditions: [] }, targets: [{ name: 'y' }] }, 'strategy'],
    [
      { strategy: { mode: 'conditional', conditions: [when({ x: 1 }, 'y')] }, targets: [{ name: 'y' }] },
      'strategy.conditions[0].query',
    ],
    [{ targets: [{ retry: { attempts: 1 } }] }, 'targets[0].retry'],
    [{ retry: { attempts: 99 } }, 'retry.attempts'],
    [{ retry: { attempts: 1, on_status_codes: [200] } }, 'retry.on_status_codes'],
    [{ request_timeout: '5' }, 'request_timeout'],
    [{ cache: { mode: 'fast' } }, 'cache.mode'],
    [{ cache: { mode: 'simple', max_age: 0 } }, 'cache.max_age'],
    [{ override_params: { model: 'a', messages: 'x' } }, 'override_params.messages'],
  ])('refuses %j, naming %s', (config, param) => {
    expect(() => configured(config)).toThrow(expect.objectContaining({ code: 'bad_request', param }))
  })

  it('refuses credentials in what it replaces, and targets without end', () => {
    expect(() => configured({ override_params: { api_base: 'http://x' } })).toThrow(
      expect.objectContaining({ code: 'unsafe_parameter' }),
    )
    let deep: Record<string, unknown> = { model: 'a' }
    for (let level = 0; level < 8; level += 1) deep = { targets: [deep] }
    expect(() => configured(deep)).toThrow('nested deeper')
    expect(() => configured({ targets: Array.from({ length: 51 }, () => ({})) })).toThrow('at most 50')
  })

  it('is either planned or refused as a bad request, whatever it holds', () => {
    const names = ['strategy', 'targets', 'retry', 'cache', 'model', 'override_params', 'weight', 'name', 'request_timeout']
    const node = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        fc.string(),
        fc.integer(),
        fc.constant(null),
        fc.array(tie('value'), { maxLength: 3 }),
        fc.dictionary(fc.constantFrom(...names, 'mode', 'attempts'), tie('value')),
      ),
    }))
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...names), node.value), (config) => {
        try {
          expect(
            plan(config, { conditions: { metadata: {}, headers: {}, params: {} }, random: () => 0.5 }).targets.length,
          ).toBeGreaterThan(0)
        } catch (thrown) {
          expect(thrown).toBeInstanceOf(GatewayError)
          expect((thrown as GatewayError).status).toBeLessThan(500)
        }
      }),
      { numRuns: 200 },
    )
  })
})

describe('parseConfig', () => {
  it('never repeats what it could not read', () => {
    expect(() => parseConfig('{"api_key":"sk-secret"')).toThrow(
      expect.objectContaining({ message: expect.not.stringContaining('secret') }),
    )
  })
})
