import { describe, expect, it } from 'vitest'
import type { Deployment, RuntimeSettings, RuntimeSnapshot } from '../proto/deployment.ts'
import { DEFAULT_ROUTING } from '../proto/routing.ts'
import { testClock } from '../shared/clock.ts'
import { checkConfig } from '../shared/config/config.ts'
import { settingsOf } from '../shared/config/runtime.ts'
import type { Sealer } from '../shared/config/secrets.ts'
import type { Provider } from './providers/provider.ts'
import { createStates } from './routing/states.ts'
import { type CompileDeps, compileRuntime, serves } from './runtime.ts'

const sealer = { seal: (text: string) => `sealed:${text}`, open: (text: string) => text.replace('sealed:', '') } as Sealer

function provider(name: string, fields: Partial<Provider> = {}): Provider {
  return {
    name,
    auth: { type: 'bearer' },
    base: `https://${name}.test/v1`,
    keyNames: [`${name.toUpperCase()}_KEY`],
    ...fields,
  } as Provider
}

const providers = new Map([
  ['alpha', provider('alpha', { chat: {} as never })],
  ['beta', provider('beta', { auth: { type: 'header', name: 'x-api-key' }, embedding: {} as never })],
  ['homeless', provider('homeless', { base: null, baseNames: ['HOMELESS_BASE'] })],
])

const SETTINGS = {
  modelGroupAlias: { nick: 'gpt' },
  numRetries: 2,
  providerBudgets: [],
  routing: DEFAULT_ROUTING,
} as unknown as RuntimeSettings

function deployment(modelGroup: string, fields: Partial<Deployment> = {}): Deployment {
  return {
    id: `id-${modelGroup}`,
    modelGroup,
    provider: 'alpha',
    model: 'upstream',
    apiBase: null,
    apiKey: 'sealed:secret',
    organization: null,
    extraHeaders: {},
    accessGroups: [],
    ...fields,
  } as Deployment
}

function compile(deployments: Deployment[], env: CompileDeps['env'] = {}, settings = SETTINGS) {
  const snapshot: RuntimeSnapshot = { v: 1, revision: 1, deployments, settings }
  return compileRuntime(snapshot, {
    providers,
    sealer,
    env,
    catalog: { prices: () => null, facts: () => null },
    states: createStates({ clock: testClock() }),
  })
}

describe('compileRuntime', () => {
  it('resolves an exact name to all deployments of the group', () => {
    const runtime = compile([deployment('gpt', { id: 'one' }), deployment('gpt', { id: 'two' }), deployment('other')])
    expect(runtime.resolve('gpt')?.routes.map((route) => route.deployment.id)).toEqual(['one', 'two'])
  })

  it('resolves a deployment id to that deployment alone, an alias to its group, an upstream name to its group', () => {
    const runtime = compile([deployment('gpt', { id: 'one' }), deployment('gpt', { id: 'two' })])
    expect(runtime.resolve('two')?.routes.map((route) => route.deployment.id)).toEqual(['two'])
    expect(runtime.resolve('nick')?.group).toBe('gpt')
    expect(runtime.resolve('alpha/upstream')?.group).toBe('gpt')
    expect(runtime.resolve('nothing')).toBeNull()
  })

  it('tells access rules the upstream name of every route, wildcards filled', () => {
    const runtime = compile([deployment('alpha/*', { model: '*', accessGroups: ['beta'] }), deployment('gpt')])
    expect(runtime.resolve('alpha/large')?.served).toEqual([{ provider: 'alpha', model: 'large', accessGroups: ['beta'] }])
    expect(runtime.resolve('nick')?.served).toEqual([{ provider: 'alpha', model: 'upstream', accessGroups: [] }])
    expect([runtime.aliased('nick'), runtime.aliased('gpt'), runtime.aliased('constructor')]).toEqual([
      'gpt',
      'gpt',
      'constructor',
    ])
  })

  it('holds calls to what the configuration says of time, retries and aliases', () => {
    const checked = checkConfig({
      litellm_settings: { request_timeout: 30, num_retries: 9 },
      router_settings: { num_retries: 0, timeout: 0.3, stream_timeout: 0.1, retry_after: 2, model_group_alias: { nick: 'gpt' } },
      turnpike_settings: { stall_timeout: 0.5 },
    })
    if (!checked.ok) throw new Error('the configuration is not valid')
    const runtime = compile([deployment('gpt')], {}, settingsOf(checked.config, sealer))
    expect(runtime.settings).toMatchObject({
      numRetries: 0,
      timeout: 300,
      streamTimeout: 100,
      stallTimeout: 500,
      retryAfter: 2_000,
    })
    expect(runtime.resolve('nick')?.group).toBe('gpt')
  })

  it('does not take names of Object.prototype for aliases', () => {
    expect(compile([deployment('gpt')]).resolve('constructor')).toBeNull()
  })

  it('prefers the exact name to a wildcard and the longer wildcard to the shorter', () => {
    const runtime = compile([
      deployment('*', { model: '*', id: 'any' }),
      deployment('alpha/*', { model: '*', id: 'alpha' }),
      deployment('alpha/small-*', { model: 'tiny-*', id: 'small' }),
      deployment('alpha/exact', { id: 'exact' }),
    ])
    expect(runtime.resolve('alpha/exact')?.routes[0]?.deployment.id).toBe('exact')
    expect(runtime.resolve('alpha/small-3')?.routes[0]).toMatchObject({ model: 'tiny-3', deployment: { id: 'small' } })
    expect(runtime.resolve('alpha/large')?.routes[0]).toMatchObject({ model: 'large', deployment: { id: 'alpha' } })
    expect(runtime.resolve('whatever')?.routes[0]).toMatchObject({ model: 'whatever', deployment: { id: 'any' } })
  })

  it('takes pattern characters of a model name literally', () => {
    const runtime = compile([deployment('a.b/*', { model: '*' })])
    expect(runtime.resolve('axb/m')).toBeNull()
    expect(runtime.resolve('a.b/m')?.routes[0]?.model).toBe('m')
  })

  it('opens the sealed key into the header the provider reads', () => {
    const runtime = compile([deployment('gpt'), deployment('emb', { provider: 'beta' })])
    expect(runtime.resolve('gpt')?.routes[0]?.headers).toEqual({ authorization: 'Bearer secret' })
    expect(runtime.resolve('emb')?.routes[0]?.headers).toEqual({ 'x-api-key': 'secret' })
  })

  it('takes key and base from the environment when the deployment names none', () => {
    const runtime = compile([deployment('gpt', { apiKey: null }), deployment('home', { provider: 'homeless' })], {
      ALPHA_KEY: 'from-env',
      HOMELESS_BASE: 'http://127.0.0.1:1/v1/',
    })
    expect(runtime.resolve('gpt')?.routes[0]?.headers['authorization']).toBe('Bearer from-env')
    expect(runtime.resolve('home')?.routes[0]?.target.base).toBe('http://127.0.0.1:1/v1')
  })

  it('says what a deployment lacks instead of failing later', () => {
    const runtime = compile([deployment('gpt', { apiKey: null }), deployment('home', { provider: 'homeless' })])
    expect(runtime.resolve('gpt')?.routes[0]?.problem).toContain('ALPHA_KEY')
    expect(runtime.resolve('home')?.routes[0]?.problem).toContain('api_base')
  })

  it('refuses a provider this router does not have', () => {
    expect(() => compile([deployment('x', { provider: 'gamma' })])).toThrow('gamma')
  })
})

describe('serves', () => {
  it('offers only the modes of the provider, and text completion through chat', () => {
    const runtime = compile([deployment('gpt'), deployment('emb', { provider: 'beta' })])
    const [chat] = runtime.resolve('gpt')?.routes ?? []
    const [embedding] = runtime.resolve('emb')?.routes ?? []
    if (chat === undefined || embedding === undefined) throw new Error('routes are missing')
    expect(serves(chat, 'chat')).toBe(true)
    expect(serves(chat, 'completion')).toBe(true)
    expect(serves(chat, 'embedding')).toBe(false)
    expect(serves(embedding, 'chat')).toBe(false)
  })
})
