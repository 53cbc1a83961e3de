import { describe, expect, it } from 'vitest'
import { createMemoryResponses } from './memory.ts'
import { responseStoreSuite } from './store.suite.ts'

responseStoreSuite('memory', async () => createMemoryResponses({ clock: { monotonic: () => 0 }, maxBytes: 1_000 }))

describe('responses in memory', () => {
  it('are gone when their time is over', async () => {
    let now = 0
    const store = createMemoryResponses({ clock: { monotonic: () => now } })
    await store.put('a', 'one', 10)
    now = 9
    expect(await store.get('a')).toBe('one')
    now = 10
    expect(await store.get('a')).toBeNull()
  })

  it('make room where those used longest ago were', async () => {
    const store = createMemoryResponses({ clock: { monotonic: () => 0 }, maxBytes: 10 })
    for (const key of ['a', 'b']) await store.put(key, 'xxxxx', 10)
    await store.get('a')
    await store.put('c', 'xxxxx', 10)
    expect(await store.get('b')).toBeNull()
    expect(await store.get('a')).toBe('xxxxx')
  })
})
