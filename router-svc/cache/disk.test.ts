import { hash } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { testClock } from '../../shared/clock.ts'
import { answerOf, cacheSuite } from './cache.suite.ts'
import { createDiskCache } from './disk.ts'

const folder = (): Promise<string> => mkdtemp(join(tmpdir(), 'turnpike-cache-'))
const fileOf = (directory: string, key: string): string => {
  const name = hash('sha256', key, 'hex')
  return join(directory, name.slice(0, 2), `${name}.json`)
}

cacheSuite('disk', async (clock) => {
  const directory = await folder()
  const open = () => createDiskCache({ directory, clock, maxEntries: 100, maxBytes: 1_000_000 })
  return {
    cache: open(),
    other: open(),
    corrupt: (key) => writeFile(fileOf(directory, key), '{"v":1,"until'),
    close: () => rm(directory, { recursive: true }),
  }
})

describe('the disk cache', () => {
  let directory: string
  const clock = testClock(Date.now())
  beforeEach(async () => {
    directory = await folder()
  })
  afterEach(() => rm(directory, { recursive: true }))

  const open = (maxEntries = 100, maxBytes = 1_000_000) => createDiskCache({ directory, clock, maxEntries, maxBytes })

  it('finds its answers again after a restart, counts them, and clears drafts away that nobody writes any more', async () => {
    const before = open()
    await before.set('a', answerOf('a'), 60_000)
    await before.set('b', answerOf('b'), 60_000)
    await writeFile(`${fileOf(directory, 'a')}.${'1'.repeat(16)}.draft`, '{"v"')
    await writeFile(`${fileOf(directory, 'a')}.${'2'.repeat(16)}.draft`, '{"v"')
    await utimes(`${fileOf(directory, 'a')}.${'1'.repeat(16)}.draft`, 1_000, 1_000)
    const after = open()
    expect((await after.ping())['entries']).toBe(2)
    expect((await after.ping())['bytes']).toBe((await before.ping())['bytes'])
    expect(await after.get('a')).toEqual(answerOf('a'))
    expect((await readdir(directory, { recursive: true })).filter((name) => name.endsWith('.draft')).length).toBe(1)
  })

  it('leaves alone what is not its own, also when it is emptied', async () => {
    const others = [join(directory, 'notes.txt'), join(directory, 'ab', 'object')]
    await mkdir(join(directory, 'ab'))
    for (const path of others) {
      await writeFile(path, 'x')
      await utimes(path, 1_000, 1_000)
    }
    const cache = open()
    await cache.set('a', answerOf('a'), 60_000)
    await cache.flush()
    expect(await cache.get('a')).toBeNull()
    expect(await cache.ping()).toMatchObject({ entries: 0, bytes: 0 })
    for (const path of others) expect(await readFile(path, 'utf8')).toBe('x')
  })

  it('lets go of the answers used longest ago when there are too many or they take too much', async () => {
    const few = open(2)
    await few.set('a', answerOf('a'), 60_000)
    await few.set('b', answerOf('b'), 60_000)
    await few.get('a')
    await few.set('c', answerOf('c'), 60_000)
    expect(await few.get('b')).toBeNull()
    expect(await few.get('a')).toEqual(answerOf('a'))
    const small = open(100, 1_000)
    await small.set('d', answerOf('x'.repeat(500)), 60_000)
    expect((await small.ping())['bytes']).toBeLessThanOrEqual(1_000)
    expect(await small.get('d')).not.toBeNull()
    await small.set('e', answerOf('x'.repeat(5_000)), 60_000)
    expect(await small.get('e')).toBeNull()
  })

  it('is never read half written: many writers of one key leave one whole answer', async () => {
    const [one, two] = [open(), open()]
    const texts = Array.from({ length: 20 }, (_, index) => `${index}`.repeat(2_000))
    const reads = texts.flatMap((text, index) => [(index % 2 === 0 ? one : two).set('a', answerOf(text), 60_000), one.get('a')])
    for (const read of await Promise.all(reads))
      if (read)
        expect(texts).toContain((read.response['choices'] as never as { message: { content: string } }[])[0]?.message.content)
    expect(await two.get('a')).not.toBeNull()
  })
})
