import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type TestClock, testClock } from '../../shared/clock.ts'
import type { Cache, CachedAnswer } from './cache.ts'
import { chatAnswer } from './call.testkit.ts'

export interface CacheHarness {
  readonly cache: Cache
  /** The same store seen from another process; a store of one process gives the same again. */
  readonly other: Cache
  /** Puts something that is no entry where the answer of this key is. */
  corrupt(key: string): Promise<void>
  close(): Promise<void>
}

export function answerOf(text = 'hello there', at = 1_700_000_000_000): CachedAnswer {
  return { at, mode: 'chat', response: chatAnswer(text), modelGroup: 'gpt', deploymentId: 'd1', cost: 1_234 }
}

const KEY = 'a'.repeat(64)
const NAMED = `team one/ü?*[x]:${'b'.repeat(64)}`

/** What every store of answers does. The clock is the store's; a store whose server has its own time is asked by both. */
export function cacheSuite(title: string, start: (clock: TestClock) => Promise<CacheHarness>): void {
  describe(`cache (${title})`, () => {
    let clock: TestClock
    let harness: CacheHarness
    beforeEach(async () => {
      clock = testClock(Date.now())
      harness = await start(clock)
    })
    afterEach(() => harness.close())

    it('gives back what it was given, to every process, under any key', async () => {
      for (const key of [KEY, NAMED]) {
        expect(await harness.cache.get(key)).toBeNull()
        await harness.cache.set(key, answerOf('é€😀\u0000\n'), 60_000)
        expect(await harness.cache.get(key)).toEqual(answerOf('é€😀\u0000\n'))
        expect(await harness.other.get(key)).toEqual(answerOf('é€😀\u0000\n'))
      }
    })

    it('gives each reader a copy', async () => {
      await harness.cache.set(KEY, answerOf(), 60_000)
      const read = (await harness.cache.get(KEY)) as CachedAnswer
      read.response['id'] = 'changed'
      expect(await harness.cache.get(KEY)).toEqual(answerOf())
    })

    it('keeps the newest answer of a key', async () => {
      await harness.cache.set(KEY, answerOf('old'), 60_000)
      await harness.cache.set(KEY, answerOf('new'), 60_000)
      expect(await harness.cache.get(KEY)).toEqual(answerOf('new'))
    })

    it('forgets an answer when its time is over', async () => {
      await harness.cache.set(KEY, answerOf(), 30_000)
      clock.advance(29_999)
      expect(await harness.cache.get(KEY)).toEqual(answerOf())
      clock.advance(1)
      expect(await harness.cache.get(KEY)).toBeNull()
      await harness.cache.set(KEY, answerOf('again'), 30_000)
      expect(await harness.cache.get(KEY)).toEqual(answerOf('again'))
    })

    it('deletes the keys it is told, and no other', async () => {
      await harness.cache.set(KEY, answerOf(), 60_000)
      await harness.cache.set(NAMED, answerOf(), 60_000)
      expect(await harness.cache.delete([KEY])).toBe(1)
      expect(await harness.cache.get(KEY)).toBeNull()
      expect(await harness.cache.get(NAMED)).toEqual(answerOf())
      expect(await harness.cache.delete([])).toBe(0)
    })

    it('forgets everything when flushed, and goes on', async () => {
      for (let index = 0; index < 40; index++) await harness.cache.set(`${KEY}${index}`, answerOf(), 60_000)
      await harness.cache.flush()
      for (let index = 0; index < 40; index++) expect(await harness.cache.get(`${KEY}${index}`)).toBeNull()
      await harness.cache.set(KEY, answerOf(), 60_000)
      expect(await harness.cache.get(KEY)).toEqual(answerOf())
    })

    it('reads what is no entry as nothing, and can replace it', async () => {
      await harness.cache.set(KEY, answerOf(), 60_000)
      await harness.corrupt(KEY)
      expect(await harness.cache.get(KEY)).toBeNull()
      await harness.cache.set(KEY, answerOf(), 60_000)
      expect(await harness.cache.get(KEY)).toEqual(answerOf())
    })

    it('says that it is there', async () => {
      await expect(harness.cache.ping()).resolves.toBeTypeOf('object')
    })
  })
}
