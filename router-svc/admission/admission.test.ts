import { afterEach, describe, expect, it } from 'vitest'
import type { Deployment, RuntimeSettings } from '../../proto/deployment.ts'
import type { Limit } from '../../proto/limits.ts'
import { type TestClock, testClock } from '../../shared/clock.ts'
import type { Counters } from '../../shared/counters/counters.ts'
import { createMemoryCounters } from '../../shared/counters/memory.ts'
import { GatewayError } from '../../shared/errors.ts'
import { silentLog } from '../../shared/log.ts'
import type { Call } from '../call.ts'
import type { Resolution, Route } from '../runtime.ts'
import { type Admission, createAdmission, mustEnter } from './admission.ts'
import type { NamedLimits } from './limit-source.ts'

const DOLLAR = 1_000_000_000

const limit = (fields: Partial<Limit> = {}): Limit => ({
  scope: 'key|k',
  kind: 'key',
  owner: 'k',
  spent: 0,
  revision: 0,
  resetAt: null,
  ...fields,
})

const settings = {
  customerLimits: false,
  tagLimits: false,
  holdOutputTokens: 1_000,
  countersAway: 'refuse',
  providerBudgets: [],
} as unknown as RuntimeSettings

/** A cent a request, and nothing else unless said. */
const route = (prices: object = { perRequest: DOLLAR / 100 }, provider = 'openai', fields: Partial<Route> = {}): Route =>
  ({
    deployment: { id: `${provider}-1` } as Deployment,
    provider: { name: provider },
    prices: { rateVersion: 'r', ...prices },
    target: { maxOutputTokens: null },
    limits: null,
    ...fields,
  }) as unknown as Route

const resolution = (...routes: Route[]): Resolution => ({
  group: 'gpt',
  routes: routes.length > 0 ? routes : [route()],
  served: [],
})

let number = 0
function call(
  limits: Limit[],
  fields: { body?: object; headers?: Record<string, string>; endUser?: string; tags?: string[] } = {},
): Call {
  const request = { model: 'gpt', messages: [{ role: 'user', content: 'hi' }], max_tokens: 10, ...fields.body }
  number += 1
  return {
    message: { callId: `call-${number}`, take: 1, headers: fields.headers ?? {} },
    identity: {
      keyHash: 'k',
      keyAlias: null,
      limits,
      metadata: {},
      estimatedOutputTokens: null,
      estimatedOutputTokensPerModel: {},
    },
    endpoint: { mode: 'chat' },
    request,
    requestedModel: 'gpt',
    modelGroup: 'gpt',
    stream: (request as Record<string, unknown>)['stream'] === true,
    options: { endUser: fields.endUser ?? null, tags: fields.tags ?? [] },
    inputTokens: null,
    ticket: null,
    refusedFor: 0,
    attempts: [],
    resume: null,
    end: null,
  } as unknown as Call
}

interface Scene {
  clock: TestClock
  counters: Counters
  admission: Admission
  named: { value: NamedLimits }
  change: (payload: object) => void
}

let open: Scene | null = null
afterEach(async () => {
  await open?.admission.stop()
  await open?.counters.close()
  open = null
})

async function scene(): Promise<Scene> {
  const clock = testClock()
  const counters = createMemoryCounters({ clock })
  await counters.rebuild(async () => [])
  const named: Scene['named'] = { value: { customer: null, limits: [] } }
  let change: (payload: unknown) => void = () => undefined
  const admission = createAdmission({
    bus: {
      onChange: (_, handler) => {
        change = handler
        return { stop: async () => undefined }
      },
    },
    counters,
    limits: { find: () => named.value, stop: async () => undefined },
    clock,
    log: silentLog,
  })
  open = { clock, counters, admission, named, change: (payload) => change(payload) }
  return open
}

async function admit(admission: Admission, one: Call, changes: Partial<RuntimeSettings> = {}, to = resolution()): Promise<Call> {
  one.ticket = await admission.admit(one, { settings: { ...settings, ...changes }, anyFree: false }, to)
  return one
}

describe('admission', () => {
  it('asks the counters nothing for a call that nothing limits', async () => {
    const { admission } = await scene()
    expect(admission.admit(call([]), { settings, anyFree: false }, resolution())).toBeNull()
    expect(admission.admit(call([limit({ model: 'other', budget: 1 })]), { settings, anyFree: false }, resolution())).toBeNull()
    expect(admission.running).toBe(0)
  })

  it('lets exactly 500 calls of a cent into a budget of five dollars, and none after they were settled', async () => {
    const { admission, counters } = await scene()
    const budget = [limit({ budget: 5 * DOLLAR })]
    const calls = await Promise.allSettled(Array.from({ length: 1_000 }, () => admit(admission, call(budget))))
    const admitted = calls.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    expect(admitted).toHaveLength(500)
    for (const one of admitted) admission.settle(one, DOLLAR / 100, 12)
    await expect(admit(admission, call(budget))).rejects.toMatchObject({ code: 'budget_exceeded', status: 429 })
    expect((await counters.peek(['key|k']))[0]).toMatchObject({ held: 5 * DOLLAR, parallel: 0 })
  })

  it('holds the price of images, so that of ten at once a budget has room for three', async () => {
    const { admission } = await scene()
    const budget = [limit({ budget: (3 * DOLLAR) / 25 })]
    const images = resolution(route({ perUnit: { image_out: DOLLAR * 40_000 } }))
    const image = (fields: object) => {
      const one = call(budget, { body: { messages: undefined, max_tokens: undefined, prompt: 'a cat', ...fields } })
      return { ...one, endpoint: { mode: 'image' } } as unknown as Call
    }
    await expect(admit(admission, image({ n: 4 }), {}, images)).rejects.toMatchObject({ code: 'budget_exceeded' })
    const calls = await Promise.allSettled(Array.from({ length: 10 }, () => admit(admission, image({}), {}, images)))
    const admitted = calls.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    expect(admitted.map(({ ticket }) => ticket?.request.hold)).toEqual([DOLLAR / 25, DOLLAR / 25, DOLLAR / 25])
    // A stream of them holds all of it, for it tells nothing of its cost before its end.
    for (const one of admitted) admission.settle(one, 0, 0)
    const streamed = await admit(admission, { ...image({ n: 3 }), stream: true } as Call, {}, images)
    expect(streamed.ticket).toMatchObject({ metered: false, request: { hold: (3 * DOLLAR) / 25 } })
  })

  it('puts no limit of tokens into a request that knows none', async () => {
    const { admission } = await scene()
    const image = call([limit({ tokens: 1_000 })], { body: { messages: undefined, max_tokens: undefined, prompt: 'a cat' } })
    Object.assign(image.endpoint, { mode: 'image' })
    await admit(admission, image, {}, resolution(route({ perUnit: { image_out: 1 } })))
    expect(image.request['max_tokens']).toBeUndefined()
  })

  it('gives back what a call held beyond its cost', async () => {
    const { admission } = await scene()
    const budget = [limit({ budget: DOLLAR / 100 })]
    const first = await admit(admission, call(budget))
    await expect(admit(admission, call(budget))).rejects.toMatchObject({ code: 'budget_exceeded' })
    admission.settle(first, 0, 0)
    await admit(admission, call(budget))
  })

  it('holds in every scope or in none', async () => {
    const { admission, counters } = await scene()
    const both = [limit({ budget: DOLLAR }), limit({ scope: 'team|t', kind: 'team', owner: 't', requests: 0 })]
    await expect(admit(admission, call(both))).rejects.toMatchObject({ code: 'rate_limited' })
    expect((await counters.peek(['key|k']))[0]).toMatchObject({ held: 0 })
  })

  it('does not ask budgets for a model that is explicitly free, but does for one without a price', async () => {
    const { admission } = await scene()
    const spent = [limit({ budget: DOLLAR, spent: 2 * DOLLAR, revision: 1 })]
    const free = resolution(route({ input: 0, output: 0 }))
    expect((await admit(admission, call(spent), {}, free)).ticket?.request.hold).toBe(0)
    await expect(
      admit(admission, call(spent), {}, resolution(route({ input: 1_000_000, output: 1_000_000 }))),
    ).rejects.toMatchObject({
      code: 'budget_exceeded',
    })
  })

  it('uses a temporary increase until it ends', async () => {
    const { admission, clock } = await scene()
    const raised = [limit({ budget: DOLLAR, budgetUntil: clock.now() + 1_000, budgetAfter: 0 })]
    await admit(admission, call(raised))
    clock.advance(1_001)
    await expect(admit(admission, call(raised))).rejects.toMatchObject({ code: 'budget_exceeded' })
  })

  it('matches a model limit with and without the provider’s name', async () => {
    const { admission } = await scene()
    const none = [limit({ scope: 'key|k|model|openai/gpt', model: 'openai/gpt', requests: 0 })]
    await expect(admit(admission, call(none))).rejects.toThrow('model_per_key: k:openai/gpt')
  })

  it('takes customers and tags into account, and refuses a blocked customer', async () => {
    const { admission, named } = await scene()
    named.value = { customer: null, limits: [limit({ scope: 'tag|x', kind: 'tag', owner: 'x', requests: 1 })] }
    const tagged = () => admit(admission, call([], { tags: ['x'] }), { tagLimits: true })
    await tagged()
    await expect(tagged()).rejects.toThrow('Rate limit exceeded for tag: x')
    named.value = { customer: { limits: [], blocked: true, region: null, defaultModel: null }, limits: [] }
    await expect(admit(admission, call([], { endUser: 'c' }), { customerLimits: true })).rejects.toMatchObject({
      code: 'blocked_customer',
    })
  })

  it('limits an answer that names no limit where the token limit is small', async () => {
    const { admission } = await scene()
    const one = await admit(admission, call([limit({ tokens: 400 })], { body: { max_tokens: undefined } }))
    expect(one.request['max_tokens']).toBe(100)
    const asked = await admit(admission, call([limit({ tokens: 400 })]))
    expect(asked.request['max_tokens']).toBe(10)
  })

  it('gives a key the deployment’s default limit on a model it has none of its own on', async () => {
    const { admission } = await scene()
    const one = route()
    one.deployment.keyRpm = 1
    const limited = () => admit(admission, call([]), {}, resolution(one))
    await limited()
    await expect(limited()).rejects.toThrow('model_per_key: k:gpt')
    const own = limit({ scope: 'key|k|model|gpt', model: 'gpt', requests: 5 })
    await admit(admission, call([own]), {}, resolution(one))
  })

  it('refuses calls with limits while the counters are away, or lets them pass when the operator says so', async () => {
    const { admission, counters } = await scene()
    counters.admit = () => Promise.reject(new GatewayError('counters_away'))
    await expect(admit(admission, call([limit({ requests: 1 })]))).rejects.toMatchObject({ code: 'counters_away', status: 503 })
    expect((await admit(admission, call([limit({ requests: 1 })]), { countersAway: 'allow' })).ticket).toBeNull()
  })

  it('names further scopes for the ledger: models, windows, runs, the proxy', async () => {
    const { admission } = await scene()
    const limits = [
      limit({ budget: DOLLAR }),
      limit({ scope: 'key|k|model|gpt', model: 'gpt', budget: DOLLAR }),
      limit({ scope: 'key|k|window|1d', budget: DOLLAR }),
      limit({ scope: 'proxy', kind: 'proxy', owner: 'proxy', budget: DOLLAR }),
    ]
    const one = await admit(admission, call(limits, { headers: { 'x-run-id': 'r1', 'x-run-cap': '0.5' } }))
    expect(one.ticket?.extraScopes).toEqual(['key|k|model|gpt', 'key|k|window|1d', 'proxy', 'run|k|r1'])
  })

  it('keeps leases of running calls alive, and makes them anew when the counters are rebuilt', async () => {
    const { admission, counters, clock, change } = await scene()
    const one = await admit(admission, call([limit({ budget: DOLLAR })]))
    for (let minute = 0; minute < 6; minute += 1) clock.advance(10_000)
    await counters.sweep(10)
    expect(await counters.totals()).toMatchObject({ leases: 1 })
    change({ rebuild: true })
    admission.settle(one, 0, 0)
    expect(await counters.totals()).toMatchObject({ leases: 0, held: 0 })
  })
})

describe('the cap of a run', () => {
  const run = { headers: { 'x-run-id': 'r1', 'x-run-cap': '0.02' } }

  it('refuses calls once the run has spent it, and no call of another run or key', async () => {
    const { admission } = await scene()
    for (let time = 0; time < 2; time += 1) admission.settle(await admit(admission, call([], run)), DOLLAR / 100, 1)
    await expect(admit(admission, call([], run))).rejects.toMatchObject({ code: 'run_cap_reached', status: 429 })
    await admit(admission, call([], { headers: { 'x-run-id': 'r2', 'x-run-cap': '0.02' } }))
  })

  it('must be an amount of dollars', async () => {
    const { admission } = await scene()
    const bad = call([], { headers: { 'x-run-id': 'r1', 'x-run-cap': 'much' } })
    await expect(admit(admission, bad)).rejects.toThrow('x-run-cap is not an amount of dollars')
  })

  it('lets a stream begin with what is left, and ends it there with a clear reason', async () => {
    const { admission } = await scene()
    const perToken = resolution(route({ input: 0, output: DOLLAR * 100 }))
    const ends: GatewayError[] = []
    const one = call([], { body: { stream: true, max_tokens: 5_000 }, headers: { 'x-run-id': 'r1', 'x-run-cap': '0.02' } })
    one.end = (error) => ends.push(error)
    await admit(admission, one, {}, perToken)
    // 200 tokens at $100 a million are 2 cents.
    expect(one.ticket?.reserved).toBe(128)
    for (let tokens = 0; tokens < 300; tokens += 1) {
      one.ticket?.progress(tokens)
      await new Promise((resolve) => setImmediate(resolve))
      if (ends.length > 0) {
        expect(tokens).toBeLessThanOrEqual(200)
        expect(tokens).toBeGreaterThan(180)
        break
      }
    }
    expect(ends[0]).toMatchObject({ code: 'run_cap_reached' })
    expect(ends[0]?.message).toContain('r1')
  })
})

describe('budgets of providers', () => {
  const within = { settings, anyFree: false }
  const budgets = [limit({ scope: 'provider|openai', kind: 'provider', owner: 'openai', budget: DOLLAR / 100 })]
  const budgeted = (prices?: object) => route(prices, 'openai', { limits: { budgets, rates: [], here: null } })
  const elsewhere = (prices?: object) => route(prices, 'anthropic')

  it('are held with the call’s own limits under one lease, and refuse only that provider', async () => {
    const { admission, counters } = await scene()
    const one = await admit(admission, call([limit({ requests: 10 })]))
    expect(await admission.enter(one, within, budgeted())).toBeNull()
    expect(one.ticket?.extraScopes).toEqual(['provider|openai'])
    expect((await counters.peek(['key|k']))[0]?.requests).toBe(1)
    const other = await admit(admission, call([limit({ requests: 10 })]))
    const refused = await admission.enter(other, within, budgeted())
    expect(refused).toMatchObject({ code: 'no_deployment', status: 429 })
    expect(refused?.message).toContain('crossed budget for provider: Exceeded budget for provider openai')
    expect(await admission.enter(other, within, elsewhere())).toBeNull()
    admission.settle(one, 0, 0)
    admission.settle(other, 0, 0)
    expect(await counters.totals()).toEqual({ leases: 0, held: 0 })
  })

  it('are held by a stream as it grows, like any other', async () => {
    const { admission } = await scene()
    const perToken = budgeted({ input: 0, output: DOLLAR * 100 })
    const one = call([], { body: { stream: true, max_tokens: 5_000 } })
    const ends: GatewayError[] = []
    one.end = (error) => ends.push(error)
    // A cent at $100 a million is 100 tokens: all 5,000 would never fit.
    expect(await admission.enter(one, within, perToken)).toBeNull()
    expect(one.ticket?.reserved).toBe(16)
    for (let tokens = 0; tokens <= 100 && ends.length === 0; tokens += 1) {
      one.ticket?.progress(tokens)
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(ends[0]).toMatchObject({ code: 'budget_exceeded' })
  })

  it('hold for calls without any other limit too', async () => {
    const { admission, counters } = await scene()
    const one = call([])
    expect(await admission.enter(one, within, budgeted())).toBeNull()
    admission.settle(one, DOLLAR / 100, 5)
    expect((await counters.peek(['provider|openai']))[0]?.held).toBe(DOLLAR / 100)
  })

  it('are given back by a call that goes on elsewhere, which is still told to the ledger', async () => {
    const { admission, counters } = await scene()
    const one = call([])
    await admission.enter(one, within, budgeted())
    expect(mustEnter(one, elsewhere())).toBe(true)
    expect(await admission.enter(one, within, elsewhere())).toBeNull()
    expect(await counters.totals()).toEqual({ leases: 0, held: 0 })
    expect(one.ticket?.extraScopes).toEqual(['provider|openai'])
    const limited = await admit(admission, call([limit({ budget: DOLLAR })]))
    await admission.enter(limited, within, budgeted())
    await admission.enter(limited, within, elsewhere())
    expect(await counters.peek(['provider|openai', 'key|k'])).toMatchObject([{ held: 0 }, { held: DOLLAR / 100 }])
    expect(limited.ticket?.extraScopes).toEqual(['provider|openai'])
    expect(mustEnter(limited, elsewhere())).toBe(false)
    admission.settle(limited, 0, 0)
    admission.settle(one, 0, 0)
    expect(await counters.totals()).toEqual({ leases: 0, held: 0 })
  })
})

describe('a fallback to dearer models', () => {
  const within = { settings, anyFree: false }
  const dear = resolution(route({ perRequest: DOLLAR / 10 }))

  it('raises what the call holds', async () => {
    const { admission, counters } = await scene()
    const one = await admit(admission, call([limit({ budget: DOLLAR })]))
    expect(await admission.rehold(one, within, dear)).toBe(true)
    expect((await counters.peek(['key|k']))[0]?.held).toBe(DOLLAR / 10)
    expect(await admission.rehold(one, within, resolution())).toBe(true)
    expect((await counters.peek(['key|k']))[0]?.held).toBe(DOLLAR / 10)
  })

  it('holds what a fallback may answer that replaces the limit of the answer', async () => {
    const { admission, counters } = await scene()
    // $100 a million: 100 tokens are a cent.
    const perToken = resolution(route({ input: 0, output: DOLLAR * 100 }))
    const one = await admit(admission, call([limit({ budget: DOLLAR })], { body: { max_tokens: 100 } }), {}, perToken)
    expect((await counters.peek(['key|k']))[0]?.held).toBe(DOLLAR / 100)
    one.request = { ...one.request, max_tokens: 500 }
    expect(await admission.rehold(one, within, perToken)).toBe(true)
    expect((await counters.peek(['key|k']))[0]?.held).toBe(DOLLAR / 20)
    one.request = { ...one.request, max_tokens: 1_000_000 }
    expect(await admission.rehold(one, within, perToken)).toBe(false)
    expect(one.ticket?.request.hold).toBe(DOLLAR / 20)
  })

  it('is skipped where the budget has no room for it, and the call keeps what it holds', async () => {
    const { admission, counters } = await scene()
    const one = await admit(admission, call([limit({ budget: DOLLAR / 50 })]))
    expect(await admission.rehold(one, within, dear)).toBe(false)
    expect((await counters.peek(['key|k']))[0]?.held).toBe(DOLLAR / 100)
    expect(one.ticket?.request.hold).toBe(DOLLAR / 100)
  })

  it('asks the budgets of a call that was free so far', async () => {
    const { admission, counters } = await scene()
    const free = resolution(route({ input: 0, output: 0 }))
    const spent = await admit(admission, call([limit({ budget: DOLLAR, spent: 2 * DOLLAR, revision: 1 })]), {}, free)
    expect(await admission.rehold(spent, within, dear)).toBe(false)
    const rich = await admit(admission, call([limit({ scope: 'key|r', owner: 'r', budget: DOLLAR })]), {}, free)
    expect(await admission.rehold(rich, within, dear)).toBe(true)
    expect((await counters.peek(['key|r']))[0]?.held).toBe(DOLLAR / 10)
  })

  it('costs nothing where nothing is held', async () => {
    const { admission } = await scene()
    expect(admission.rehold(call([]), within, dear)).toBe(true)
    const counted = await admit(admission, call([limit({ requests: 10 })]))
    expect(admission.rehold(counted, within, dear)).toBe(true)
  })
})

describe('a further take of a call', () => {
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
  const takeOf = (limits: Limit[], take: number): Call => {
    const made = call(limits)
    return { ...made, message: { ...made.message, callId: 'again', take } } as Call
  }

  it('waits a moment for what the take before it still holds', async () => {
    for (const limits of [[limit({ budget: DOLLAR / 100 })], [limit({ parallel: 1 })]]) {
      const { admission, clock } = await scene()
      const before = await admit(admission, takeOf(limits, 1))
      const admitted = admit(admission, takeOf(limits, 2))
      await turn()
      admission.settle(before, 0, 0)
      clock.advance(200)
      expect((await admitted).ticket).not.toBeNull()
    }
  })

  it('is refused when there is no room after a second, and the first take at once', async () => {
    const { admission, clock } = await scene()
    const limits = [limit({ budget: DOLLAR / 100 })]
    await admit(admission, call(limits))
    await expect(admit(admission, takeOf(limits, 1))).rejects.toThrow('Budget has been exceeded')
    let refusal: unknown = null
    const refused = admit(admission, takeOf(limits, 2)).catch((thrown: unknown) => {
      refusal = thrown
    })
    for (let at = 0; at < 800; at += 200) {
      await turn()
      clock.advance(200)
    }
    await turn()
    expect(refusal).toBeNull()
    clock.advance(200)
    await refused
    expect(refusal).toMatchObject({ code: 'budget_exceeded' })
  })
})

describe('another attempt', () => {
  const within = { settings, anyFree: false }
  const cent = DOLLAR / 100
  const { routes } = resolution()
  const failedFor = (cost: number): Call['attempts'][number] => ({ cost }) as Call['attempts'][number]

  it('is held for beside what the attempts before it cost, so that no number of them passes the budget', async () => {
    const { admission, counters } = await scene()
    const one = await admit(admission, call([limit({ budget: 2.5 * cent })]))
    one.attempts = [failedFor(cent)]
    expect(await admission.again(one, within, routes)).toBe(true)
    expect((await counters.peek(['key|k']))[0]?.held).toBe(2 * cent)
    one.attempts = [failedFor(cent), failedFor(cent / 2)]
    expect(await admission.again(one, within, routes)).toBe(true)
    expect((await counters.peek(['key|k']))[0]?.held).toBe(2.5 * cent)
    one.attempts = [failedFor(cent), failedFor(cent / 2), failedFor(1)]
    expect(await admission.again(one, within, routes)).toBe(false)
    expect((await counters.peek(['key|k']))[0]?.held).toBe(2.5 * cent)
    admission.settle(one, 1.5 * cent, 0)
  })

  it('that runs beside the first holds as much again', async () => {
    const { admission, counters } = await scene()
    const one = await admit(admission, call([limit({ budget: 1.5 * cent })]))
    expect(await admission.again(one, within, routes, true)).toBe(false)
    const rich = await admit(admission, call([limit({ scope: 'key|r', owner: 'r', budget: DOLLAR })]))
    expect(await admission.again(rich, within, routes, true)).toBe(true)
    expect((await counters.peek(['key|r']))[0]?.held).toBe(2 * cent)
  })

  it('keeps what is held beside it when it goes to a dearer group, or to a provider with a budget', async () => {
    const { admission, counters } = await scene()
    const one = await admit(admission, call([limit({ budget: DOLLAR })]))
    one.attempts = [failedFor(cent)]
    await admission.again(one, within, routes)
    expect(await admission.rehold(one, within, resolution(route({ perRequest: 10 * cent })))).toBe(true)
    expect((await counters.peek(['key|k']))[0]?.held).toBe(11 * cent)
    const other = await admit(admission, call([limit({ scope: 'key|o', owner: 'o', budget: DOLLAR })]))
    other.attempts = [failedFor(cent)]
    await admission.again(other, within, routes)
    const budgets = [limit({ kind: 'provider', scope: 'provider|openai', owner: 'openai', budget: DOLLAR })]
    const budgeted = route(undefined, 'openai', { limits: { budgets, rates: [], here: null } })
    expect(await admission.enter(other, within, budgeted)).toBeNull()
    expect(await counters.peek(['provider|openai', 'key|o'])).toMatchObject([{ held: 2 * cent }, { held: 2 * cent }])
  })

  it('that goes on with an answer holds for its beginning as input', async () => {
    const { admission, counters } = await scene()
    // A cent for 100 tokens of input: "hi" and ten tokens of answer cost little beside 3,000 characters that were said.
    const perToken = resolution(route({ input: DOLLAR * 100, output: DOLLAR * 100 }))
    const one = await admit(admission, call([limit({ budget: DOLLAR })]), {}, perToken)
    const [before] = await counters.peek(['key|k'])
    one.attempts = [failedFor(cent)]
    one.resume = { text: 'so it went on '.repeat(215) } as Call['resume']
    expect(await admission.again(one, within, perToken.routes)).toBe(true)
    const [after] = await counters.peek(['key|k'])
    expect((after?.held ?? 0) - (before?.held ?? 0)).toBeGreaterThan(cent + 7 * cent)
    one.resume = { text: 'so it went on '.repeat(5_000) } as Call['resume']
    expect(await admission.again(one, within, perToken.routes)).toBe(false)
  })

  it('that is free needs no room beside what the ones before it cost', async () => {
    const { admission, counters } = await scene()
    const one = await admit(admission, call([limit({ budget: cent })]))
    one.attempts = [failedFor(cent)]
    expect(await admission.again(one, within, routes)).toBe(false)
    const { routes: free } = resolution(route({ input: 0, output: 0 }))
    expect(await admission.again(one, within, free)).toBe(true)
    expect(await admission.again(one, within, free, true)).toBe(true)
    expect((await counters.peek(['key|k']))[0]?.held).toBe(cent)
  })

  it('after attempts that cost nothing asks nobody', async () => {
    const { admission } = await scene()
    const one = await admit(admission, call([limit({ budget: cent })]))
    one.attempts = [failedFor(0), {} as Call['attempts'][number]]
    expect(admission.again(one, within, routes)).toBe(true)
    expect(admission.again(call([]), within, routes)).toBe(true)
  })
})
