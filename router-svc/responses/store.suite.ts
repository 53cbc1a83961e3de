import { describe, expect, it } from 'vitest'
import { RECORD_MAX, type ResponseStore } from './store.ts'

/** What every store of responses does. `open`: with room for 1,000 bytes. */
export function responseStoreSuite(name: string, open: () => Promise<ResponseStore>): void {
  describe(`responses in ${name}`, () => {
    it('gives back what was put under its key, and nothing under others', async () => {
      const store = await open()
      expect(await store.put('a', '{"text":"é"}', 60_000)).toBe(true)
      expect(await store.get('a')).toBe('{"text":"é"}')
      expect(await store.get('b')).toBeNull()
    })

    it('replaces a record that is put again', async () => {
      const store = await open()
      await store.put('a', 'one', 60_000)
      await store.put('a', 'two', 60_000)
      expect(await store.get('a')).toBe('two')
    })

    it('forgets what is deleted, and tells whether there was anything', async () => {
      const store = await open()
      await store.put('a', 'one', 60_000)
      expect(await store.delete('a')).toBe(true)
      expect(await store.delete('a')).toBe(false)
      expect(await store.get('a')).toBeNull()
    })

    it('has room again after deleting', async () => {
      const store = await open()
      expect(await store.put('a', 'x'.repeat(900), 60_000)).toBe(true)
      await store.delete('a')
      expect(await store.put('b', 'x'.repeat(900), 60_000)).toBe(true)
      expect(await store.get('b')).toHaveLength(900)
    })

    it('takes no record beyond its room', async () => {
      const store = await open()
      expect(await store.put('a', 'x'.repeat(RECORD_MAX + 1), 60_000)).toBe(false)
      expect(await store.put('b', 'x'.repeat(1_001), 60_000)).toBe(false)
      expect(await store.get('b')).toBeNull()
    })
  })
}
