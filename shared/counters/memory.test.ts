import { describe, expect, it } from 'vitest'
import { testClock } from '../clock.ts'
import { countersSuite, limited } from './counters.suite.ts'
import { LEASE_TTL, RATE_WINDOW, SPENT_IDLE } from './counters.ts'
import { createMemoryCounters } from './memory.ts'

countersSuite('memory', async () => {
  const clock = testClock()
  const counters = createMemoryCounters({ clock })
  await counters.rebuild(async () => [])
  return {
    counters,
    clock,
    others: async (count) => Array.from({ length: count }, () => counters),
    close: () => counters.close(),
  }
})

describe('counters of one process', () => {
  it('admit nothing before the ledger was loaded, nor after they were closed', async () => {
    const counters = createMemoryCounters({ clock: testClock() })
    const call = { lease: 'one', scopes: [], tokens: 0, hold: 0 }
    expect(counters.ready).toBe(false)
    expect(await counters.rebuilt()).toBe(false)
    expect(() => counters.admit(call)).toThrow(expect.objectContaining({ code: 'counters_away', retryAfter: 1000 }))
    await counters.rebuild(async () => [])
    expect(counters.admit(call)).toEqual({ granted: true, states: [] })
    await counters.close()
    expect(counters.ready).toBe(false)
    expect(() => counters.admit(call)).toThrow(expect.objectContaining({ code: 'counters_away' }))
  })

  it('answer at once', () => {
    const counters = createMemoryCounters({ clock: testClock(), alone: true })
    expect(counters.admit({ lease: 'one', scopes: [], tokens: 0, hold: 0 })).not.toBeInstanceOf(Promise)
    void counters.close()
  })

  it('reconcile the call that opened a window, at whatever fraction of a millisecond it did', async () => {
    const clock = testClock()
    const counters = createMemoryCounters({ clock })
    await counters.rebuild(async () => [])
    for (let call = 0; call < 1_000; call++) {
      clock.advance(0.7)
      const scope = `key|${call}`
      counters.admit({ lease: scope, scopes: [limited(scope, { tokens: 100 })], tokens: 47, hold: 0 })
      counters.settle(scope, { cost: 0, tokens: 20 })
      expect(await counters.peek([scope])).toMatchObject([{ tokens: 20 }])
    }
    await counters.close()
  })

  it('forget scopes that nobody uses: rates after two windows, what was spent after a day', async () => {
    const clock = testClock()
    const counters = createMemoryCounters({ clock })
    await counters.rebuild(async () => [])
    counters.admit({ lease: 'rate', scopes: [limited('key|rate', { requests: 5, spent: 1, revision: 0 })], tokens: 0, hold: 0 })
    counters.settle('rate', { cost: 0, tokens: 0 })
    await counters.book([], [{ scope: 'key|spent', spent: 7, revision: 3 }])
    counters.admit({ lease: 'held', scopes: [limited('key|held', { parallel: 1 })], tokens: 0, hold: 0 })
    clock.advance(SPENT_IDLE - 1_000)
    expect(await counters.peek(['key|spent', 'key|held'])).toMatchObject([{ spent: 7 }, { parallel: 1 }])
    clock.advance(2 * RATE_WINDOW)
    expect(await counters.peek(['key|spent', 'key|held'])).toMatchObject([{ spent: 0, revision: 0 }, { parallel: 1 }])
    await counters.close()
    expect(clock.pending).toBe(0)
  })

  it('alone, add what calls cost until the ledger says more, and end leases that expire', async () => {
    const clock = testClock()
    const counters = createMemoryCounters({ clock, alone: true })
    const scope = limited('key|a', { budget: 100, spent: 10, revision: 1 })
    counters.admit({ lease: 'one', scopes: [scope], tokens: 0, hold: 50 })
    counters.settle('one', { cost: 30, tokens: 0 })
    expect(await counters.totals()).toEqual({ leases: 0, held: 0 })
    expect(counters.admit({ lease: 'two', scopes: [scope], tokens: 0, hold: 60 })).toMatchObject({
      granted: true,
      states: [{ spent: 40, held: 60 }],
    })
    clock.advance(LEASE_TTL + 1_000)
    expect(await counters.totals()).toEqual({ leases: 0, held: 0 })
    expect(counters.admit({ lease: 'three', scopes: [{ ...scope, spent: 45, revision: 2 }], tokens: 0, hold: 55 })).toMatchObject(
      {
        granted: true,
        states: [{ spent: 45 }],
      },
    )
    await counters.close()
  })
})
