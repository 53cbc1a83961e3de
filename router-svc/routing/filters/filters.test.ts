import { describe, expect, it } from 'vitest'
import type { Deployment } from '../../../proto/deployment.ts'
import type { GatewayError } from '../../../shared/errors.ts'
import type { Call } from '../../call.ts'
import { InternalStream } from '../../internal-call.ts'
import type { RouterRuntime } from '../../runtime.ts'
import { COPY_TAG } from '../mirror.ts'
import { type Asked, callOf, deployment, ids, runtimeOf } from '../request.testkit.ts'
import { readRouting } from '../request-routing.ts'
import { contextWindow } from './context-window.ts'
import type { Filter } from './filter.ts'
import { filters } from './index.ts'
import { preferences } from './preferences.ts'
import { rateRoom } from './rate-room.ts'
import { isIn, region } from './region.ts'
import { supportedParameters } from './supported-parameters.ts'
import { tags } from './tags.ts'
import { webSearch } from './web-search.ts'

type Extra = Parameters<typeof runtimeOf>[2]

/** Ids left, 'unasked' when the filter does not apply, or the refusal. */
function filtered(filter: Filter, runtime: RouterRuntime, call: Call): string[] | 'unasked' | GatewayError {
  const resolution = runtime.resolve('gpt')
  if (resolution === null) throw new Error('nothing to filter')
  if (!filter.applies(call, resolution, runtime)) return 'unasked'
  const left = filter.keep(resolution.routes, call, runtime, 0)
  if (left.length > 0) return ids(left)
  const refusal = filter.refusal?.(call, resolution)
  if (refusal === undefined) throw new Error('no refusal')
  return refusal
}

function run(
  filter: Filter,
  deployments: Deployment[],
  body: Record<string, unknown> = {},
  { extra, ...asked }: Asked & { extra?: Extra } = {},
) {
  const runtime = runtimeOf(deployments, {}, extra)
  const call = callOf(body, asked)
  const { routing } = call
  readRouting(call, runtime, () => 0)
  call.routing = routing
  return filtered(filter, runtime, call)
}

const CHECKS = { routing: { preCallChecks: true } }

describe('filters', () => {
  it('do not look at a deployment of a call that asks for none of them', () => {
    const runtime = runtimeOf([deployment('one')])
    for (const filter of filters) expect([filter.name, filtered(filter, runtime, callOf({}))]).toEqual([filter.name, 'unasked'])
  })
})

describe('context window', () => {
  const sized = (id: string, maxInputTokens: number | null) => deployment(id, { maxInputTokens })
  const long = { messages: [{ role: 'user', content: 'x'.repeat(4_000) }] }

  it('leaves deployments that take the input, and those of which nothing is known', () => {
    expect(run(contextWindow, [sized('small', 900), sized('large', 2_000), sized('any', null)], long, CHECKS)).toEqual([
      'large',
      'any',
    ])
    expect(run(contextWindow, [sized('small', 900)], {}, CHECKS)).toEqual(['small'])
  })

  it('says that the input is too long when nobody takes it, so that context window fallbacks run', () => {
    expect(run(contextWindow, [sized('a', 500), sized('b', 900)], long, CHECKS)).toMatchObject({
      code: 'context_window_exceeded',
      status: 400,
      message: expect.stringContaining('more than 900'),
    })
  })

  it('is not asked without pre-call checks, and uses what admission counted', () => {
    expect(run(contextWindow, [sized('a', 1)], long)).toBe('unasked')
    const runtime = runtimeOf([sized('a', 100)])
    const call = callOf({}, CHECKS)
    call.inputTokens = 101
    expect(filtered(contextWindow, runtime, call)).toMatchObject({ code: 'context_window_exceeded' })
  })
})

describe('rate room', () => {
  it('leaves deployments with requests and tokens left in this minute', () => {
    const deployments = [
      deployment('full', { rpm: 5 }),
      deployment('tokens', { tpm: 100 }),
      deployment('room', { rpm: 6, tpm: 1_000 }),
      deployment('free'),
    ]
    const played = Object.fromEntries(deployments.map(({ id }) => [id, { requests: 5, tokens: 99 }]))
    expect(run(rateRoom, deployments, {}, { ...CHECKS, extra: { played } })).toEqual(['room', 'free'])
  })

  it('answers 429 until the minute is over', () => {
    const refused = run(rateRoom, [deployment('one', { rpm: 1 })], {}, { ...CHECKS, extra: { played: { one: { requests: 1 } } } })
    expect(refused).toMatchObject({
      code: 'no_deployment',
      status: 429,
      message: expect.stringMatching(/^No deployments available for selected model, Try again in \d+ seconds/),
    })
    expect((refused as GatewayError).retryAfter).toBeGreaterThan(0)
    expect((refused as GatewayError).retryAfter).toBeLessThanOrEqual(60_000)
  })
})

describe('region', () => {
  const deployments = [
    deployment('fra', { region: 'eu-central-1' }),
    deployment('gcp', { region: 'europe-west4' }),
    deployment('iad', { region: 'us-east-1' }),
    deployment('unknown'),
  ]

  it('holds to what key, request and customer each say', () => {
    expect(run(region, deployments, { allowed_model_region: 'eu' })).toEqual(['fra', 'gcp'])
    expect(run(region, deployments, {}, { identity: { metadata: { allowed_model_region: 'us' } } })).toEqual(['iad'])
    expect(
      run(region, deployments, { allowed_model_region: 'us' }, { identity: { metadata: { allowed_model_region: 'eu' } } }),
    ).toMatchObject({ code: 'no_deployment', status: 403 })
    const call = callOf({})
    call.allowedRegion = 'eu'
    expect(filtered(region, runtimeOf(deployments), call)).toEqual(['fra', 'gcp'])
  })

  it.each([
    ['eu-west-1', 'eu', true],
    ['europe-west1', 'eu', true],
    ['swedencentral', 'eu', true],
    ['EU', 'eu', true],
    ['eastus2', 'us', true],
    ['us-west-2', 'us', true],
    ['us-west-2', 'eu', false],
    ['eu-west-1', 'eu-west-1', true],
    ['eu-west-1', 'eu-west', true],
    ['eu-west-11', 'eu-west-1', false],
    ['australiaeast', 'us', false],
    [undefined, 'eu', false],
    ['x', 'constructor', false],
  ])('%s is in %s: %s', (name, area, expected) => {
    expect(isIn(name, area)).toBe(expected)
  })
})

describe('tags', () => {
  const tagged = (id: string, ...list: string[]) => deployment(id, { tags: list })
  const on = (routing = {}) => ({ routing: { tagFiltering: true, ...routing } })
  const deployments = [tagged('free', 'free'), tagged('paid', 'paid', 'eu'), tagged('default', 'default'), tagged('none')]

  it('leaves deployments with one of the tags', () => {
    expect(run(tags, deployments, { tags: ['paid', 'x'] }, on())).toEqual(['paid'])
    expect(run(tags, deployments, { metadata: { tags: ['free', 'eu'] } }, on())).toEqual(['free', 'paid'])
    expect(run(tags, deployments, {}, { ...on(), headers: { 'x-litellm-tags': 'free' } })).toEqual(['free'])
    expect(run(tags, deployments, {}, { ...on(), identity: { tags: ['paid'] } })).toEqual(['paid'])
  })

  it('leaves only those with all of them where any is not enough', () => {
    expect(run(tags, deployments, { tags: ['paid', 'eu'] }, on({ tagMatchAny: false }))).toEqual(['paid'])
    expect(run(tags, deployments, { tags: ['paid', 'free'] }, on({ tagMatchAny: false }))).toEqual(['default'])
  })

  it('goes to the default ones where no tag fits or there is none, else refuses or takes all', () => {
    expect(run(tags, deployments, { tags: ['x'] }, on())).toEqual(['default'])
    expect(run(tags, deployments, {}, on())).toEqual(['default'])
    expect(run(tags, deployments.slice(0, 2), {}, on())).toEqual(['free', 'paid'])
    expect(run(tags, deployments.slice(0, 2), { tags: ['x', 'y'] }, on())).toMatchObject({
      status: 401,
      message: 'Not allowed to access model due to tags configuration. Passed model=gpt and tags=x,y',
    })
  })

  it('lets a caller’s tags choose within the group of a copy, and never refuse it', () => {
    const copied = (list: Deployment[], asked: string[], routing = {}) => {
      const runtime = runtimeOf(list)
      const call = callOf({}, { ...on(routing), identity: { tags: [...asked, COPY_TAG] } })
      const request = { identity: call.identity, endpoint: 'acompletion', body: {}, deadline: 1_000 } as const
      return filtered(tags, runtime, { ...call, incoming: new InternalStream('copy', request, () => undefined) })
    }
    expect(copied([tagged('none')], [])).toEqual(['none'])
    expect(copied([tagged('none')], ['paid'])).toEqual(['none'])
    expect(copied(deployments, ['paid', 'eu'], { tagMatchAny: false })).toEqual(['paid'])
    expect(copied(deployments, ['x'])).toEqual(['default'])
  })

  it('takes a header that a pattern fits for a tag', () => {
    const agents = [
      deployment('claude', { tags: [], tagPatterns: ['^User-Agent: claude-code/.*'] }),
      tagged('default', 'default'),
    ]
    expect(run(tags, agents, {}, { ...on(), headers: { 'user-agent': 'claude-code/1.2' } })).toEqual(['claude'])
    expect(run(tags, agents, {}, { ...on(), headers: { 'user-agent': 'curl/8' } })).toEqual(['default'])
  })

  it('is off unless switched on', () => {
    expect(run(tags, deployments, { tags: ['paid'] })).toBe('unasked')
  })

  it('makes a deployment with a broken pattern unfit instead of the whole runtime', () => {
    expect(runtimeOf([deployment('one', { tagPatterns: ['('] })]).routes[0]?.problem).toContain('is not a regular expression')
  })
})

describe('preferences', () => {
  const priced = (id: string, provider: string, input: number, output: number) =>
    deployment(id, { provider, prices: { rateVersion: 'r', input: input * 1e9, output: output * 1e9 } })
  const deployments = [priced('one', 'openai', 2, 8), priced('two', 'groq', 1, 2), priced('three', 'openai', 3, 9)]

  it('keeps to the providers and deployments wanted', () => {
    expect(run(preferences, deployments, { provider: { only: ['Groq'] } })).toEqual(['two'])
    expect(run(preferences, deployments, { provider: { only: ['groq/fast', 'three'] } })).toEqual(['two', 'three'])
    expect(run(preferences, deployments, { provider: { ignore: ['openai'] } })).toEqual(['two'])
    expect(run(preferences, deployments, { provider: { ignore: ['openai/x'] } })).toEqual(['one', 'two', 'three'])
    expect(run(preferences, deployments, { provider: { order: ['groq'] } })).toBe('unasked')
    expect(run(preferences, deployments, { provider: { order: ['groq'], allow_fallbacks: false } })).toEqual(['two'])
  })

  it('keeps to the highest price, each part apart, unknown prices being above it', () => {
    expect(
      run(preferences, [...deployments, deployment('unpriced', { prices: null })], { provider: { max_price: { prompt: 2 } } }),
    ).toEqual(['one', 'two'])
    expect(run(preferences, deployments, { provider: { max_price: { prompt: 2, completion: 2 } } })).toEqual(['two'])
  })

  it('leaves hosts of a provider that chooses between them itself to it', () => {
    const own = [...deployments, priced('router', 'openrouter', 5, 5)]
    expect(run(preferences, own, { provider: { only: ['anthropic'] } })).toEqual(['router'])
  })

  it('says with 404 that nobody fits', () => {
    expect(run(preferences, deployments, { provider: { only: ['anthropic'] } })).toMatchObject({
      code: 'no_deployment',
      status: 404,
      param: 'provider',
    })
  })
})

describe('supported parameters', () => {
  const schema = { response_format: { type: 'json_schema', json_schema: { name: 'x', schema: {} } } }
  const able = (id: string, supports: boolean | undefined, fields: Partial<Deployment> = {}) =>
    deployment(id, { info: supports === undefined ? {} : { supports_response_schema: supports }, ...fields })

  it('passes over models known not to do the response format, unless parameters may be dropped', () => {
    const deployments = [
      able('no', false),
      able('yes', true),
      able('unknown', undefined),
      able('drops', false, { dropParams: true }),
    ]
    expect(run(supportedParameters, deployments, schema, CHECKS)).toEqual(['yes', 'unknown', 'drops'])
    expect(run(supportedParameters, deployments, { ...schema, drop_params: true }, CHECKS)).toBe('unasked')
    expect(run(supportedParameters, deployments, schema)).toBe('unasked')
    expect(run(supportedParameters, [able('no', false)], schema, CHECKS)).toMatchObject({
      code: 'unsupported_parameter',
      status: 400,
    })
  })

  it('asks the adapter of each whether its provider takes every parameter, where the request requires it', () => {
    const required = { provider: { require_parameters: true }, logit_bias: { '1': 2 } }
    const deployments = [
      deployment('openai'),
      deployment('groq', { provider: 'groq' }),
      deployment('drops', { provider: 'groq', dropParams: true }),
    ]
    expect(run(supportedParameters, deployments, required)).toEqual(['openai'])
    expect(run(supportedParameters, deployments, { ...required, logit_bias: undefined })).toEqual(['openai', 'groq', 'drops'])
  })

  it('goes by what the catalogue knows of the model', () => {
    const extra: Extra = {
      catalog: {
        prices: () => null,
        facts: (_, model) => ({
          maxInputTokens: null,
          maxOutputTokens: null,
          mode: null,
          supports: model === 'tools' ? ['function_calling'] : ['vision'],
        }),
      },
    }
    const body = { provider: { require_parameters: true }, tools: [{ type: 'function', function: { name: 'f' } }] }
    expect(
      run(supportedParameters, [deployment('a', { model: 'tools' }), deployment('b', { model: 'plain' })], body, { extra }),
    ).toEqual(['a'])
  })
})

describe('web search', () => {
  const searching = (id: string, can: boolean | undefined) =>
    deployment(id, { info: can === undefined ? {} : { supports_web_search: can } })

  it('passes over models known not to search, unless that leaves nobody', () => {
    const asked = { web_search_options: {} }
    expect(run(webSearch, [searching('no', false), searching('yes', true), searching('unknown', undefined)], asked)).toEqual([
      'yes',
      'unknown',
    ])
    expect(run(webSearch, [searching('no', false)], { tools: [{ type: 'web_search_preview' }] })).toEqual(['no'])
  })
})
