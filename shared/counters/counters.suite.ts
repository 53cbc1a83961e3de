import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { TestClock } from '../clock.ts'
import type { Admission, AdmitScope, Counters, Spent } from './counters.ts'
import { LEASE_TTL, leaseId, RATE_WINDOW } from './counters.ts'

export interface CountersHarness {
  /** Rebuilt and ready. */
  readonly counters: Counters
  /** Moves the time of the store. */
  readonly clock: TestClock
  /** `count` processes' counters over the same store; a store of one process gives the same again. */
  others(count: number): Promise<Counters[]>
  close(): Promise<void>
}

const DOLLAR = 1_000_000_000
const CENT = DOLLAR / 100

/** A scope without limits but those given. */
export function limited(scope: string, limits: Partial<AdmitScope>): AdmitScope {
  return { scope, requests: null, tokens: null, parallel: null, budget: null, spent: 0, revision: 0, ...limits }
}

/** What every implementation of the counters does. */
export function countersSuite(name: string, start: () => Promise<CountersHarness>): void {
  describe(`counters (${name})`, () => {
    let harness: CountersHarness
    let counters: Counters
    let sequence = 0

    beforeEach(async () => {
      harness = await start()
      counters = harness.counters
    })
    afterEach(() => harness.close())

    async function admit(
      scopes: AdmitScope[],
      more: { lease?: string; tokens?: number; hold?: number } = {},
    ): Promise<Admission> {
      return counters.admit({
        lease: more.lease ?? `lease-${sequence++}`,
        scopes,
        tokens: more.tokens ?? 0,
        hold: more.hold ?? 0,
      })
    }

    async function state(scope: string) {
      const [found] = await counters.peek([scope])
      return found
    }

    describe('requests and tokens', () => {
      it('let through exactly as many requests as the limit says, and say when more may come', async () => {
        const scopes = [limited('key|a', { requests: 3 })]
        for (let left = 3; left > 0; left--) expect(await admit(scopes)).toMatchObject({ granted: true })
        harness.clock.advance(10_000)
        expect(await admit(scopes)).toMatchObject({
          granted: false,
          index: 0,
          limit: 'requests',
          state: { requests: 3, requestsReset: RATE_WINDOW - 10_000 },
        })
      })

      it('count in a window that starts with the first request and closes as a whole', async () => {
        const scopes = [limited('key|a', { requests: 2, tokens: 100 })]
        await admit(scopes, { tokens: 40 })
        harness.clock.advance(RATE_WINDOW - 1)
        expect(await admit(scopes, { tokens: 40 })).toMatchObject({
          granted: true,
          states: [{ requests: 2, tokens: 80, requestsReset: 1, tokensReset: 1 }],
        })
        expect(await admit(scopes)).toMatchObject({ granted: false })
        harness.clock.advance(1)
        expect(await state('key|a')).toMatchObject({ requests: 0, tokens: 0, requestsReset: 0, tokensReset: 0 })
        expect(await admit(scopes, { tokens: 100 })).toMatchObject({
          granted: true,
          states: [{ requests: 1, tokens: 100, tokensReset: RATE_WINDOW }],
        })
      })

      it('refuse tokens that would pass the limit, and let through those that just fit', async () => {
        const scopes = [limited('key|a', { tokens: 100 })]
        await admit(scopes, { tokens: 60 })
        expect(await admit(scopes, { tokens: 41 })).toMatchObject({ granted: false, limit: 'tokens', state: { tokens: 60 } })
        expect(await admit(scopes, { tokens: 40 })).toMatchObject({ granted: true, states: [{ tokens: 100 }] })
      })

      it('are reconciled with what was used, in the window they were reserved in only', async () => {
        const scopes = [limited('key|a', { requests: 10, tokens: 100 })]
        await admit(scopes, { lease: 'one', tokens: 60 })
        await admit(scopes, { lease: 'two', tokens: 40 })
        await counters.settle('one', { cost: 0, tokens: 5 })
        expect(await state('key|a')).toMatchObject({ requests: 2, tokens: 45 })
        harness.clock.advance(RATE_WINDOW)
        await admit(scopes, { lease: 'three', tokens: 10 })
        await counters.settle('two', { cost: 0, tokens: 500 })
        expect(await state('key|a')).toMatchObject({ requests: 1, tokens: 10 })
        await counters.settle('three', { cost: 0, tokens: 300 })
        expect(await state('key|a')).toMatchObject({ requests: 1, tokens: 300 })
      })

      it('are not counted where they are not limited', async () => {
        await admit([limited('key|a', { parallel: 5 }), limited('team|t', { tokens: 50 })], { tokens: 10, hold: 7 })
        expect(await counters.peek(['key|a', 'team|t', 'nobody'])).toMatchObject([
          { requests: 0, tokens: 0, parallel: 1, held: 0 },
          { requests: 0, tokens: 10, parallel: 0, held: 0 },
          { requests: 0, tokens: 0, parallel: 0, spent: 0, held: 0, revision: 0 },
        ])
      })
    })

    describe('parallel calls', () => {
      it('take a slot each until they are settled or released', async () => {
        const scopes = [limited('key|a', { parallel: 2 })]
        await admit(scopes, { lease: 'one' })
        await admit(scopes, { lease: 'two' })
        expect(await admit(scopes)).toMatchObject({ granted: false, limit: 'parallel', state: { parallel: 2 } })
        await counters.settle('one', { cost: 5, tokens: 0 })
        expect(await admit(scopes, { lease: 'three' })).toMatchObject({ granted: true, states: [{ parallel: 2 }] })
        await counters.release('two')
        expect(await admit(scopes, { lease: 'four' })).toMatchObject({ granted: true })
        expect(await admit(scopes)).toMatchObject({ granted: false })
      })
    })

    describe('budgets', () => {
      it('hold until the ledger has booked, so that nothing is counted twice or forgotten in between', async () => {
        const scopes = [limited('key|a', { budget: 10 * DOLLAR, spent: 3 * DOLLAR, revision: 4 })]
        expect(await admit(scopes, { lease: 'one', hold: 5 * DOLLAR })).toMatchObject({
          granted: true,
          states: [{ spent: 3 * DOLLAR, held: 5 * DOLLAR, revision: 4 }],
        })
        expect(await admit(scopes, { hold: 2 * DOLLAR + 1 })).toMatchObject({ granted: false, limit: 'budget', index: 0 })
        await counters.settle('one', { cost: DOLLAR, tokens: 0 })
        expect(await state('key|a')).toMatchObject({ spent: 3 * DOLLAR, held: DOLLAR })
        await counters.book(['one'], [{ scope: 'key|a', spent: 4 * DOLLAR, revision: 5 }])
        expect(await state('key|a')).toMatchObject({ spent: 4 * DOLLAR, held: 0, revision: 5 })
        expect(await admit(scopes, { hold: 6 * DOLLAR })).toMatchObject({ granted: true })
        expect(await admit(scopes, { hold: 1 })).toMatchObject({ granted: false })
      })

      it('let through what nobody can price while anything is left, and not after', async () => {
        const scopes = [limited('key|a', { budget: DOLLAR, spent: DOLLAR - 1, revision: 1 })]
        expect(await admit(scopes, { hold: 0 })).toMatchObject({ granted: true })
        await counters.book([], [{ scope: 'key|a', spent: DOLLAR, revision: 2 }])
        expect(await admit(scopes, { hold: 0 })).toMatchObject({ granted: false, limit: 'budget' })
        const free = [limited('key|a', { requests: 5 })]
        expect(await admit(free, { hold: 0 })).toMatchObject({ granted: true })
      })

      it('know the newest number of the ledger, whoever brings it', async () => {
        await counters.book([], [{ scope: 'key|a', spent: 50, revision: 7 }])
        const old = limited('key|a', { budget: 100, spent: 10, revision: 6 })
        expect(await admit([old], { hold: 51 })).toMatchObject({ granted: false, state: { spent: 50, revision: 7 } })
        await counters.book([], [{ scope: 'key|a', spent: 1, revision: 6 }])
        expect(await state('key|a')).toMatchObject({ spent: 50, revision: 7 })
        // A window closed: the ledger starts again at 0.
        expect(await admit([{ ...old, spent: 0, revision: 8 }], { hold: 100 })).toMatchObject({ granted: true })
        expect(await state('key|a')).toMatchObject({ spent: 0, revision: 8, held: 100 })
      })

      it('count exactly up to 2^53', async () => {
        const most = Number.MAX_SAFE_INTEGER
        const scopes = [limited('key|a', { budget: most, spent: most - 3, revision: most })]
        expect(await admit(scopes, { lease: 'one', hold: 4 })).toMatchObject({
          granted: false,
          state: { spent: most - 3, revision: most },
        })
        expect(await admit(scopes, { lease: 'one', hold: 3 })).toMatchObject({ granted: true, states: [{ held: 3 }] })
        await counters.settle('one', { cost: 2, tokens: 0 })
        expect(await state('key|a')).toMatchObject({ spent: most - 3, held: 2 })
        expect(await admit(scopes, { hold: 2 })).toMatchObject({ granted: false })
      })

      it('are extended in every scope or in none', async () => {
        const key = limited('key|a', { budget: 100 })
        const team = limited('team|t', { budget: 60 })
        await admit([key, team, limited('user|u', { requests: 5 })], { lease: 'one', hold: 20 })
        expect(await counters.extend('one', 60)).toBe(true)
        expect(await counters.extend('one', 61)).toBe(false)
        expect(await counters.extend('one', 10)).toBe(true)
        expect(await counters.peek(['key|a', 'team|t', 'user|u'])).toMatchObject([{ held: 60 }, { held: 60 }, { held: 0 }])
        expect(await counters.extend('nobody', 1)).toBe(false)
        await counters.settle('one', { cost: 30, tokens: 0 })
        expect(await counters.extend('one', 50)).toBe(false)
        expect(await counters.peek(['key|a', 'team|t'])).toMatchObject([{ held: 30 }, { held: 30 }])
      })
    })

    describe('an admission', () => {
      it('over many scopes is all or nothing, and names the first without room', async () => {
        const key = limited('key|a', { requests: 10, tokens: 1000, parallel: 10, budget: 100 })
        const team = limited('team|t', { parallel: 1, budget: 1000 })
        const user = limited('user|u', { requests: 1, tokens: 10 })
        await admit([team], { hold: 10 })
        const before = await counters.peek(['key|a', 'team|t', 'user|u'])
        expect(await admit([key, team, user], { tokens: 20, hold: 5 })).toMatchObject({
          granted: false,
          index: 1,
          limit: 'parallel',
        })
        expect(await counters.peek(['key|a', 'team|t', 'user|u'])).toEqual(before)
        expect(await admit([key, user, team], { tokens: 20, hold: 5 })).toMatchObject({
          granted: false,
          index: 1,
          limit: 'tokens',
        })
        expect((await counters.totals()).leases).toBe(1)
      })

      it('checks requests, tokens, parallel and budget in this order', async () => {
        const full = { requests: 1, tokens: 1, parallel: 1, budget: 1 }
        await admit([limited('key|a', full)], { tokens: 1, hold: 1 })
        const again = async (limits: Partial<AdmitScope>) => {
          const answer = await admit([limited('key|a', limits)], { tokens: 1, hold: 1 })
          return answer.granted ? null : answer.limit
        }
        expect(await again(full)).toBe('requests')
        expect(await again({ ...full, requests: null })).toBe('tokens')
        expect(await again({ ...full, requests: 2, tokens: 2 })).toBe('parallel')
        expect(await again({ ...full, requests: null, tokens: null, parallel: null })).toBe('budget')
      })

      it('of a lease that is there replaces it', async () => {
        const key = limited('key|a', { requests: 2, tokens: 100, parallel: 1, budget: 100 })
        const team = limited('team|t', { parallel: 5, budget: 100 })
        await admit([key, team], { lease: 'one', tokens: 90, hold: 90 })
        expect(await admit([key], { lease: 'one', tokens: 101, hold: 50 })).toMatchObject({ granted: false, limit: 'tokens' })
        expect(await counters.peek(['key|a', 'team|t'])).toMatchObject([
          { requests: 1, tokens: 90, parallel: 1, held: 90 },
          { parallel: 1, held: 90 },
        ])
        expect(await admit([key], { lease: 'one', tokens: 50, hold: 40 })).toMatchObject({
          granted: true,
          states: [{ requests: 1, tokens: 50, parallel: 1, held: 40 }],
        })
        expect(await counters.peek(['team|t'])).toMatchObject([{ parallel: 0, held: 0 }])
        expect(await counters.totals()).toEqual({ leases: 1, held: 40 })
        // A take that was settled keeps the request and the tokens it really used.
        await counters.settle('one', { cost: 10, tokens: 20 })
        expect(await admit([key], { lease: 'one', tokens: 30, hold: 90 })).toMatchObject({
          granted: true,
          states: [{ requests: 2, tokens: 50, parallel: 1, held: 90 }],
        })
        expect(await counters.totals()).toEqual({ leases: 1, held: 90 })
      })

      it('takes scopes of any name', async () => {
        const scopes = ['tag|a\0b', 'tag|', 'tag|é中\n"\'', `tag|${'x'.repeat(5_000)}`].map((scope) =>
          limited(scope, { parallel: 1, budget: 10 }),
        )
        const names = scopes.map(({ scope }) => scope)
        await admit(scopes, { lease: 'one ~!^', hold: 10 })
        expect(await admit(scopes.slice(1), { hold: 10 })).toMatchObject({ granted: false, index: 0 })
        for (const state of await counters.peek(names)) expect(state).toMatchObject({ parallel: 1, held: 10 })
        await counters.settle('one ~!^', { cost: 4, tokens: 0 })
        await counters.book(
          ['one ~!^'],
          names.map((scope) => ({ scope, spent: 4, revision: 1 })),
        )
        for (const state of await counters.peek(names)) expect(state).toMatchObject({ parallel: 0, held: 0, spent: 4 })
      })

      it('with no scopes is granted and leaves nothing behind when it ends', async () => {
        expect(await admit([], { lease: 'one', hold: 5 })).toEqual({ granted: true, states: [] })
        await counters.settle('one', { cost: 5, tokens: 5 })
        expect(await counters.totals()).toEqual({ leases: 0, held: 0 })
      })

      it('that is released took nothing', async () => {
        const scopes = [limited('key|a', { requests: 1, tokens: 10, parallel: 1, budget: 10 })]
        await admit(scopes, { lease: 'one', tokens: 10, hold: 10 })
        await counters.release('one')
        await counters.release('one')
        expect(await state('key|a')).toMatchObject({ requests: 0, tokens: 0, parallel: 0, held: 0 })
        expect(await admit(scopes, { lease: 'two', tokens: 10, hold: 10 })).toMatchObject({ granted: true })
        harness.clock.advance(RATE_WINDOW)
        await admit([limited('key|a', { requests: 5 })])
        await counters.release('two')
        // The request of the closed window is not taken from the new one.
        expect(await state('key|a')).toMatchObject({ requests: 1, parallel: 0, held: 0 })
      })
    })

    describe('many at once', () => {
      it.each([1, 4])(
        'never pass a budget nor leave room: 1,000 calls of a cent, five dollars, %i processes',
        async (processes) => {
          const all = await harness.others(processes)
          const scopes = [
            limited('key|a', { requests: 2000, budget: 5 * DOLLAR }),
            limited('team|t', { tokens: 100_000, budget: 100 * DOLLAR }),
            limited('user|u', { parallel: 2000 }),
          ]
          const granted: string[] = []
          await Promise.all(
            Array.from({ length: 1000 }, async (_, index) => {
              const lease = leaseId(`call-${index}`, 1)
              const one = all[index % all.length] as Counters
              if ((await one.admit({ lease, scopes, tokens: 7, hold: CENT })).granted) granted.push(lease)
            }),
          )
          expect(granted.length).toBe(500)
          expect(await state('key|a')).toMatchObject({ held: 5 * DOLLAR, requests: 500 })
          expect(await state('team|t')).toMatchObject({ held: 5 * DOLLAR, tokens: 3500 })
          await Promise.all(
            granted.map((lease, index) => (all[index % all.length] as Counters).settle(lease, { cost: CENT, tokens: 7 })),
          )
          expect(await counters.totals()).toEqual({ leases: 500, held: 2 * 5 * DOLLAR })
          await counters.book(granted, [
            { scope: 'key|a', spent: 5 * DOLLAR, revision: 1 },
            { scope: 'team|t', spent: 5 * DOLLAR, revision: 1 },
          ])
          expect(await counters.totals()).toEqual({ leases: 0, held: 0 })
          expect(await state('key|a')).toMatchObject({ spent: 5 * DOLLAR, parallel: 0 })
          expect(await state('user|u')).toMatchObject({ parallel: 0 })
        },
      )
    })

    describe('leases', () => {
      const scopes = [limited('key|a', { requests: 10, tokens: 100, parallel: 10, budget: 100 })]

      it('expire unless renewed, and give back what they held', async () => {
        await admit(scopes, { lease: 'one', tokens: 10, hold: 30 })
        await admit(scopes, { lease: 'two', tokens: 10, hold: 40 })
        harness.clock.advance(LEASE_TTL - 1)
        expect(await counters.sweep(10)).toEqual([])
        await counters.renew([{ lease: 'two', scopes, tokens: 10, hold: 40 }])
        harness.clock.advance(1)
        expect(await counters.sweep(10)).toEqual(['one'])
        expect(await state('key|a')).toMatchObject({ requests: 2, tokens: 20, parallel: 1, held: 40 })
        harness.clock.advance(LEASE_TTL - 1)
        expect(await counters.sweep(10)).toEqual(['two'])
        expect(await state('key|a')).toMatchObject({ parallel: 0, held: 0 })
        expect(await counters.totals()).toEqual({ leases: 0, held: 0 })
      })

      it('are swept a few at a time', async () => {
        for (let index = 0; index < 5; index++) await admit(scopes, { hold: 1 })
        harness.clock.advance(LEASE_TTL)
        expect((await counters.sweep(3)).length).toBe(3)
        expect((await counters.sweep(3)).length).toBe(2)
        expect(await counters.sweep(3)).toEqual([])
      })

      it('that were lost while their calls run are made anew, room or not', async () => {
        await admit(scopes, { lease: 'one', tokens: 10, hold: 80 })
        harness.clock.advance(LEASE_TTL)
        expect(await counters.sweep(10)).toEqual(['one'])
        await admit(scopes, { hold: 60 })
        await counters.renew([{ lease: 'one', scopes, tokens: 10, hold: 80 }])
        expect(await state('key|a')).toMatchObject({ requests: 2, tokens: 10, parallel: 2, held: 140 })
        await counters.settle('one', { cost: 5, tokens: 3 })
        expect(await state('key|a')).toMatchObject({ requests: 2, tokens: 10, parallel: 1, held: 65 })
        // Over: a renewal that comes late changes nothing.
        await counters.renew([{ lease: 'one', scopes, tokens: 10, hold: 80 }])
        expect(await state('key|a')).toMatchObject({ parallel: 1, held: 65 })
      })

      it('are renewed by the thousand', async () => {
        const leases = Array.from({ length: 1200 }, (_, index) => ({ lease: `many-${index}`, scopes, tokens: 0, hold: 1 }))
        await counters.renew(leases)
        await counters.renew(leases)
        expect(await counters.totals()).toEqual({ leases: 1200, held: 1200 })
      })

      it('that nobody knows are no matter', async () => {
        await counters.settle('nobody', { cost: 5, tokens: 5 })
        await counters.release('nobody')
        await counters.book(['nobody'], [{ scope: 'key|a', spent: 5, revision: 1 }])
        expect(await state('key|a')).toMatchObject({ spent: 5, held: 0, requests: 0 })
        expect(await counters.totals()).toEqual({ leases: 0, held: 0 })
      })

      it('that were settled and never booked are found by their age', async () => {
        await admit(scopes, { lease: 'one', hold: 10 })
        await counters.settle('one', { cost: 10, tokens: 0 })
        harness.clock.advance(1_000)
        await admit(scopes, { lease: 'two', hold: 10 })
        await counters.settle('two', { cost: 10, tokens: 0 })
        harness.clock.advance(1_000)
        expect(await counters.settledBefore(1_500, 10)).toEqual(['one'])
        expect(await counters.settledBefore(0, 10)).toEqual(['one', 'two'])
        expect(await counters.settledBefore(0, 1)).toEqual(['one'])
        harness.clock.advance(10 * LEASE_TTL)
        expect(await counters.sweep(10)).toEqual([])
        expect(await counters.totals()).toEqual({ leases: 2, held: 20 })
      })
    })

    describe('booking', () => {
      const scopes = [limited('key|a', { tokens: 100, parallel: 5, budget: 100 })]
      const spent: Spent[] = [{ scope: 'key|a', spent: 30, revision: 1 }]

      it('changes nothing the second time', async () => {
        await admit(scopes, { lease: 'one', hold: 50 })
        await counters.settle('one', { cost: 30, tokens: 0 })
        await counters.book(['one'], spent)
        const after = await state('key|a')
        await counters.book(['one'], spent)
        await counters.book(['one'], spent)
        expect(await state('key|a')).toEqual(after)
        expect(after).toMatchObject({ spent: 30, held: 0, parallel: 0 })
      })

      it('before the settlement ends the lease too, and the settlement then changes nothing', async () => {
        await admit(scopes, { lease: 'one', tokens: 10, hold: 50 })
        await counters.book(['one'], spent)
        expect(await state('key|a')).toMatchObject({ spent: 30, held: 0, parallel: 0, tokens: 10 })
        await counters.settle('one', { cost: 30, tokens: 2 })
        expect(await state('key|a')).toMatchObject({ spent: 30, held: 0, parallel: 0 })
        expect(await counters.totals()).toEqual({ leases: 0, held: 0 })
      })

      it('of a call without a cost needs no lease', async () => {
        await admit(scopes, { lease: 'one', hold: 50 })
        await counters.settle('one', { cost: 0, tokens: 0 })
        expect(await counters.totals()).toEqual({ leases: 0, held: 0 })
      })

      it('of many calls is one step', async () => {
        const leases = Array.from({ length: 2500 }, (_, index) => `batch-${index}`)
        await Promise.all(
          leases.map((lease, index) =>
            counters.admit({ lease, scopes: [limited(`key|${index % 1500}`, { budget: 100 })], tokens: 0, hold: 10 }),
          ),
        )
        await counters.book(
          leases,
          Array.from({ length: 1500 }, (_, index) => ({ scope: `key|${index}`, spent: index, revision: 1 })),
        )
        expect(await counters.totals()).toEqual({ leases: 0, held: 0 })
        expect(await counters.peek(['key|0', 'key|1499'])).toMatchObject([
          { spent: 0, held: 0 },
          { spent: 1499, held: 0 },
        ])
      })
    })

    describe('a rebuild', () => {
      it('loads what the ledger says page by page, and keeps the leases that are there', async () => {
        await admit([limited('key|a', { budget: 100 })], { lease: 'one', hold: 10 })
        await counters.book([], [{ scope: 'key|new', spent: 9, revision: 9 }])
        const pages: Spent[][] = [
          [
            { scope: 'key|a', spent: 50, revision: 2 },
            { scope: 'key|new', spent: 1, revision: 1 },
          ],
          [{ scope: 'team|t', spent: 60, revision: 3 }],
          [],
        ]
        await counters.rebuild(async () => pages.shift() ?? [])
        expect(await counters.rebuilt()).toBe(true)
        expect(counters.ready).toBe(true)
        expect(await counters.peek(['key|a', 'key|new', 'team|t'])).toMatchObject([
          { spent: 50, held: 10 },
          { spent: 9, revision: 9 },
          { spent: 60, revision: 3 },
        ])
      })
    })
  })
}
