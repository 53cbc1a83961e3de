import { describe, expect, it } from 'vitest'
import { testClock } from '../clock.ts'
import { createMemoryIdempotency } from './memory.ts'
import { claimOf, idempotencySuite } from './store.suite.ts'
import type { StoredAnswer } from './store.ts'

idempotencySuite('memory', async () => {
  const clock = testClock()
  const store = createMemoryIdempotency({ clock })
  return {
    store,
    other: store,
    small: (maxBytes) => createMemoryIdempotency({ clock, maxBytes }),
    elapse: async (milliseconds) => clock.advance(milliseconds),
    close: async () => expect(clock.pending).toBe(0),
  }
})

describe('idempotency in memory', () => {
  const answer: StoredAnswer = { status: 200, headers: {}, body: Buffer.alloc(1_000) }

  it('gives up the answers used longest ago first', async () => {
    const store = createMemoryIdempotency({ clock: testClock(), maxBytes: 4 * 1_512 })
    const claims = Array.from({ length: 4 }, (_, index) => claimOf({ key: `k${index}` }))
    for (const claim of claims) {
      await store.begin(claim, 1_000)
      await store.finish(claim, answer, 10_000)
    }
    expect(await store.begin(claims[0] as never, 1_000)).toMatchObject({ status: 200 })
    const last = claimOf({ key: 'last' })
    await store.begin(last, 1_000)
    await store.finish(last, answer, 10_000)
    expect(await Promise.all([...claims, last].map(async (claim) => typeof (await store.begin(claim, 1_000))))).toEqual([
      'object',
      'string',
      'string',
      'object',
      'object',
    ])
  })

  it('stays within its bound whatever is finished, and never forgets a running call for it', async () => {
    const store = createMemoryIdempotency({ clock: testClock(), maxBytes: 10 * 512 })
    const running = claimOf({ key: 'running' })
    await store.begin(running, 1_000)
    for (let index = 0; index < 100; index += 1) {
      const claim = claimOf({ key: `k${index}` })
      await store.begin(claim, 1_000)
      await store.finish(claim, answer, 10_000)
    }
    let known = 0
    for (let index = 0; index < 100; index += 1) {
      const claim = claimOf({ key: `k${index}`, fingerprint: 'other' })
      if ((await store.begin(claim, 1_000)) === 'conflict') known += 1
    }
    expect(known).toBeGreaterThan(3)
    expect(known).toBeLessThan(10)
    expect(await store.begin({ ...running, callId: 'another' }, 1_000)).toBe('running')
  })
})
