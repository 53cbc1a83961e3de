import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { RoutingSettings } from '../../proto/routing.ts'
import type { TokenUsage } from '../../proto/usage.ts'
import { testClock } from '../../shared/clock.ts'
import type { Call } from '../call.ts'
import type { Route } from '../runtime.ts'
import { createAffinity } from './affinity.ts'
import { callOf, deployment, type Played, routesOf } from './request.testkit.ts'

const IDS = ['a', 'b', 'c', 'd', 'e']
const PRICES = { rateVersion: 'r', input: 2_000_000_000, output: 8_000_000_000, cacheRead: 500_000_000 }
const CACHING = { routing: { optionalChecks: ['prompt_caching'] } } satisfies { routing: Partial<RoutingSettings> }
const LONG = 'You are a patient assistant who explains. '.repeat(150)

const routesFor = (names: string[], played: Record<string, Partial<Played>> = {}) =>
  routesOf(
    names.map((id) => deployment(id, { prices: PRICES })),
    {},
    { played },
  )

const usage = (input: number, cacheRead: number, estimated = false): TokenUsage => ({
  input,
  output: 10,
  cacheRead,
  cacheWrite: 0,
  cacheWrite1h: 0,
  reasoning: 0,
  audioInput: 0,
  audioOutput: 0,
  estimated,
})

type Turn = { role: string; content: unknown }
const chat = (...messages: Turn[]): Call => callOf({ messages }, CACHING)
const user = (content: unknown): Turn => ({ role: 'user', content })
const says = (content: string): Turn => ({ role: 'assistant', content })
const system = (content: string): Turn => ({ role: 'system', content })
const idOf = (route: Route | null): string | null => route?.deployment.id ?? null

function make() {
  const clock = testClock()
  const affinity = createAffinity({ clock })
  const prefer = (call: Call, routes: readonly Route[]) => idOf(affinity.prefer(call, routes, clock.monotonic()))
  const serve = (call: Call, routes: readonly Route[], id: string, used?: TokenUsage) => {
    const picked = prefer(call, routes)
    affinity.learn(call, routes.find((route) => route.deployment.id === id) as Route, used)
    return picked
  }
  return { clock, affinity, prefer, serve }
}

describe('affinity', () => {
  it('prefers nothing where no check is on, the group has one route, or the prompt is too short to be cached', () => {
    const { prefer } = make()
    const routes = routesFor(IDS)
    expect(prefer(callOf({ messages: [user(LONG)] }), routes)).toBeNull()
    expect(prefer(chat(user('Hi')), routes)).toBeNull()
    expect(prefer(chat(user(LONG)), routesFor(['a']))).toBeNull()
    expect(prefer(callOf({}, { routing: { optionalChecks: ['session_affinity'] } }), routes)).toBeNull()
  })

  it('picks the same route on every router and in every order of the routes', () => {
    const calls = Array.from({ length: 50 }, (_, n) => [system('Be kind.'), user(`${n} ${LONG}`)])
    const picked = calls.map((messages) => make().prefer(chat(...messages), routesFor(IDS)))
    expect(calls.map((messages) => make().prefer(chat(...messages), routesFor([...IDS].reverse())))).toEqual(picked)
    expect(new Set(picked).size).toBe(IDS.length)
  })

  it('keeps a conversation where it began on routers that never saw it, through all its turns', () => {
    const begin = [system('Be kind.'), user(LONG)]
    const first = make().prefer(chat(...begin), routesFor(IDS))
    expect(make().prefer(chat(...begin, says('Yes.'), user('And then?')), routesFor(IDS))).toBe(first)
    expect(make().prefer(chat(...begin, says('Yes.'), user('And then?'), says('No.'), user('Why?')), routesFor(IDS))).toBe(first)
  })

  it('moves only what a route had when it goes', () => {
    for (let n = 0; n < 40; n += 1) {
      const messages = [user(`${n} ${LONG}`)]
      const before = make().prefer(chat(...messages), routesFor(IDS))
      const after = make().prefer(chat(...messages), routesFor(IDS.filter((id) => id !== 'c')))
      if (before !== 'c') expect(after).toBe(before)
    }
  })

  it('goes on where the conversation was served, wherever it would have begun', () => {
    const { prefer, serve } = make()
    const routes = routesFor(IDS)
    const begin = [system('Be kind.'), user(LONG)]
    for (const id of IDS) {
      const opening = [...begin, user(id)]
      serve(chat(...opening), routes, id)
      const next = chat(...opening, says('Well.'), user('Go on.'))
      expect(prefer(next, routes)).toBe(id)
      expect(next.affinity?.warm).toBe(id)
    }
  })

  it('knows a conversation again when the cache markers have moved, and not when its text has changed', () => {
    const { prefer, serve } = make()
    const routes = routesFor(IDS)
    const text = (words: string, marked: boolean) => [
      { type: 'text', text: words, ...(marked ? { cache_control: { type: 'ephemeral' } } : {}) },
    ]
    serve(chat(user(text(LONG, true))), routes, 'b')
    serve(chat(user(text(LONG, true))), routes, 'd')
    const again = chat(user(text(LONG, false)), says('Yes.'), user(text('More', true)))
    expect(prefer(again, routes)).toBe('d')
    const changed = chat(user(text(`${LONG}!`, false)), says('Yes.'), user('More'))
    prefer(changed, routes)
    expect(changed.affinity?.warm).toBeNull()
  })

  it('never prefers a route that is not offered or is only coming back', () => {
    const { prefer, serve } = make()
    const messages = [user(LONG)]
    serve(chat(...messages), routesFor(IDS), 'b')
    const more = () => chat(...messages, says('Yes.'), user('More'))
    expect(prefer(more(), routesFor(IDS))).toBe('b')
    expect(prefer(more(), routesFor(['a', 'c', 'd', 'e']))).not.toBe('b')
    expect(prefer(more(), routesFor(IDS, { b: { share: 0.2 } }))).not.toBe('b')
  })

  it('forgets after its time', () => {
    const { prefer, serve, clock } = make()
    const routes = routesFor(IDS)
    const begun = make().prefer(chat(user(LONG)), routes)
    const other = IDS.find((id) => id !== begun) as string
    serve(chat(user(LONG)), routes, other)
    clock.advance(3_599_000)
    expect(prefer(chat(user(LONG)), routes)).toBe(other)
    clock.advance(3_000)
    expect(prefer(chat(user(LONG)), routes)).toBe(begun)
  })

  it('gives a beginning that many share to one route only while that is not much busier than the others', () => {
    const { prefer } = make()
    const shared = (question: string) => chat(system(LONG), user(question))
    const home = prefer(shared('One?'), routesFor(IDS)) as string
    expect(prefer(shared('Two?'), routesFor(IDS))).toBe(home)
    const busy = (inFlight: number) => prefer(shared('Three?'), routesFor(IDS, { [home]: { inFlight } }))
    expect(busy(7)).toBe(home)
    expect(busy(100)).not.toBe(home)
    // The next of the same draw, so that the overflow of all routers goes to one place too.
    expect(busy(101)).toBe(busy(100))
  })

  it('does not let the overflow of a busy moment move a shared beginning', () => {
    const { prefer, serve } = make()
    const shared = (question: string) => chat(system(LONG), user(question))
    const home = prefer(shared('One?'), routesFor(IDS)) as string
    serve(shared('One?'), routesFor(IDS), home)
    const away = prefer(shared('Two?'), routesFor(IDS, { [home]: { inFlight: 100 } })) as string
    serve(shared('Two?'), routesFor(IDS, { [home]: { inFlight: 100 } }), away)
    expect(prefer(shared('Three?'), routesFor(IDS))).toBe(home)
  })

  it('leaves a deployment alone for a while whose cache is never read from, and measures it again then', () => {
    const { prefer, serve, clock } = make()
    const routes = routesFor(IDS)
    const turns: Turn[] = [user(LONG)]
    serve(chat(...turns), routes, 'b', usage(2_000, 0))
    for (let turn = 0; turn < 10; turn += 1) {
      turns.push(says('Yes.'), user(`More ${turn}`))
      expect(serve(chat(...turns), routes, 'b', usage(2_000, 0))).toBe('b')
    }
    turns.push(says('Yes.'), user('Last'))
    expect(prefer(chat(...turns), routes)).toBeNull()
    clock.advance(600_000)
    expect(prefer(chat(...turns), routes)).toBe('b')
  })

  it('stays with one that reads from its cache, and counts what that saved against the full price', () => {
    const { affinity, prefer, serve } = make()
    const routes = routesFor(IDS)
    const turns: Turn[] = [user(LONG)]
    serve(chat(...turns), routes, 'b', usage(2_000, 0))
    for (let turn = 0; turn < 20; turn += 1) {
      turns.push(says('Yes.'), user(`More ${turn}`))
      serve(chat(...turns), routes, 'b', usage(2_000, 1_500))
    }
    expect(prefer(chat(...turns), routes)).toBe('b')
    // 20 × 1,500 tokens at 2.00 − 0.50 dollars a million.
    expect(affinity.savings()).toEqual({
      calls: 22,
      hits: 20,
      inputTokens: 40_000,
      cachedTokens: 30_000,
      nanoDollars: 45_000_000,
    })
  })

  it('judges nothing by estimates, nor by calls that another deployment served', () => {
    const { affinity, prefer, serve } = make()
    const routes = routesFor(IDS)
    const turns: Turn[] = [user(LONG)]
    serve(chat(...turns), routes, 'b')
    for (let turn = 0; turn < 30; turn += 1) {
      turns.push(says('Yes.'), user(`More ${turn}`))
      serve(chat(...turns), routes, 'b', turn % 2 === 0 ? usage(2_000, 0, true) : undefined)
    }
    expect(prefer(chat(...turns), routes)).toBe('b')
    const failed = chat(...turns)
    prefer(failed, routes)
    affinity.learn(failed, routes[0] as Route, usage(2_000, 2_000))
    expect(affinity.savings()).toMatchObject({ inputTokens: 0, cachedTokens: 0 })
  })

  it('keeps the calls of a session, and of a key, on one deployment, and moves with them when it fails', () => {
    const { prefer, serve } = make()
    const routes = routesFor(IDS)
    const inSession = (session: string) =>
      callOf({ metadata: { session_id: session } }, { routing: { optionalChecks: ['session_affinity'] } })
    const ofKey = (keyHash: string) => callOf({}, { identity: { keyHash }, routing: { optionalChecks: ['deployment_affinity'] } })
    for (const call of [inSession, ofKey]) {
      const picked = prefer(call('one'), routes) as string
      expect(make().prefer(call('one'), routes)).toBe(picked)
      const other = IDS.find((id) => id !== picked) as string
      serve(call('one'), routes, other)
      expect(prefer(call('one'), routes)).toBe(other)
      expect(new Set(Array.from({ length: 60 }, (_, n) => prefer(call(`s${n}`), routes))).size).toBe(IDS.length)
    }
  })

  it('holds for the groups that say so', () => {
    const routing = { groupChecks: { gpt: ['deployment_affinity' as const] } }
    expect(make().prefer(callOf({}, { routing }), routesFor(IDS))).not.toBeNull()
    expect(make().prefer(callOf({ model: 'other' }, { routing }), routesFor(IDS))).toBeNull()
  })

  it('does not pin the calls of one group to what served a fallback', () => {
    const { affinity, prefer } = make()
    const routes = routesFor(IDS)
    const call = callOf({}, { routing: { optionalChecks: ['deployment_affinity'] } })
    const picked = prefer(call, routes)
    call.modelGroup = 'spare'
    prefer(call, routesFor(['z']))
    affinity.learn(call, routesFor(['z'])[0] as Route, undefined)
    expect(prefer(callOf({}, { routing: { optionalChecks: ['deployment_affinity'] } }), routes)).toBe(picked)
  })

  it('shares new conversations out by weight', () => {
    const weights = { a: 8, b: 1, c: 1, d: 0 }
    const routes = routesOf(Object.entries(weights).map(([id, weight]) => deployment(id, { weight })))
    const { prefer } = make()
    const counts: Record<string, number> = {}
    for (let n = 0; n < 2_000; n += 1) {
      const id = prefer(
        callOf({ metadata: { session_id: `s${n}` } }, { routing: { optionalChecks: ['session_affinity'] } }),
        routes,
      ) as string
      counts[id] = (counts[id] ?? 0) + 1
    }
    expect(counts['d']).toBeUndefined()
    expect((counts['a'] ?? 0) / 2_000).toBeGreaterThan(0.75)
    expect((counts['a'] ?? 0) / 2_000).toBeLessThan(0.85)
  })

  it('only ever prefers a route it was offered', () => {
    const { affinity, clock } = make()
    const all = routesFor(IDS)
    fc.assert(
      fc.property(
        fc.subarray(IDS, { minLength: 1 }),
        fc.nat(5),
        fc.nat(4),
        fc.constantFrom(...IDS),
        (offered, conversation, turns, served) => {
          const routes = all.filter((route) => offered.includes(route.deployment.id))
          const messages: Turn[] = [user(`${conversation} ${LONG}`)]
          for (let turn = 0; turn < turns; turn += 1) messages.push(says('Yes.'), user(`More ${turn}`))
          const call = chat(...messages)
          const picked = affinity.prefer(call, routes, clock.monotonic())
          expect(picked === null || routes.includes(picked)).toBe(true)
          affinity.learn(call, all.find((route) => route.deployment.id === served) as Route, usage(2_000, 1_000))
        },
      ),
      { numRuns: 200 },
    )
  })
})
