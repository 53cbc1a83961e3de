import { describe, expect, it } from 'vitest'
import { testClock } from '../../shared/clock.ts'
import { answerOf, cacheSuite } from './cache.suite.ts'
import { decodeEntry, encodeEntry } from './entry.ts'
import { createMemoryCache } from './memory.ts'

cacheSuite('memory', async (clock) => {
  const cache = createMemoryCache({ clock, maxEntries: 100, maxBytes: 1_000_000 })
  return {
    cache,
    other: cache,
    corrupt: (key) => cache.set(key, { ...answerOf(), response: 'x' as never }, 60_000),
    close: () => cache.close(),
  }
})

describe('the memory cache', () => {
  it('lets go of the answers used longest ago when there are too many', async () => {
    const cache = createMemoryCache({ clock: testClock(), maxEntries: 2, maxBytes: 1_000_000 })
    await cache.set('a', answerOf('a'), 60_000)
    await cache.set('b', answerOf('b'), 60_000)
    await cache.get('a')
    await cache.set('c', answerOf('c'), 60_000)
    expect(await cache.get('b')).toBeNull()
    expect(await cache.get('a')).toEqual(answerOf('a'))
    expect(await cache.get('c')).toEqual(answerOf('c'))
  })

  it('stays under its bytes, whatever comes', async () => {
    const cache = createMemoryCache({ clock: testClock(), maxEntries: 1_000, maxBytes: 5_000 })
    for (let index = 0; index < 50; index++) {
      await cache.set(`k${index % 7}`, answerOf('x'.repeat(index * 40)), 60_000)
      expect((await cache.ping())['bytes']).toBeLessThanOrEqual(5_000)
    }
    await cache.set('large', answerOf('x'.repeat(10_000)), 60_000)
    expect(await cache.get('large')).toBeNull()
    await cache.flush()
    expect(await cache.ping()).toEqual({ entries: 0, bytes: 0 })
  })
})

describe('an entry', () => {
  it('is only read when it is whole and of this version', () => {
    const text = encodeEntry(answerOf(), 5).toString()
    expect(decodeEntry(text)).toEqual({ until: 5, answer: answerOf() })
    for (const wrong of [
      '',
      'null',
      '[]',
      text.slice(0, -1),
      text.replace('"v":1', '"v":2'),
      text.replace('"until":5', '"until":"5"'),
    ])
      expect(decodeEntry(wrong)).toBeNull()
  })
})
