import { describe, expect, it } from 'vitest'
import { testClock } from '../../shared/clock.ts'
import { type Log, silentLog } from '../../shared/log.ts'
import { answerOf } from './cache.suite.ts'
import { turned } from './call.testkit.ts'
import { createGuard, guardCache } from './guard.ts'
import { createMemoryCache } from './memory.ts'

function make() {
  const clock = testClock()
  const logged: object[] = []
  const counted: string[] = []
  const log: Log = { ...silentLog, warn: (fields) => void logged.push(fields) }
  const guard = createGuard({ clock, log, counts: { trouble: (operation) => void counted.push(operation) } })
  const run = (work: () => Promise<string>) => guard.run('get', 250, 'otherwise', work)
  return { clock, logged, counted, guard, run }
}

const fails = (): Promise<string> => Promise.reject(new Error('away'))

describe('the guard of a store', () => {
  it('gives the result, or something else when there is none in time, and then ignores what comes late', async () => {
    const { clock, run, counted } = make()
    expect(await run(async () => 'fine')).toBe('fine')
    let late: (text: string) => void = () => undefined
    const slow = run(() => new Promise((resolve) => (late = resolve)))
    clock.advance(250)
    expect(await slow).toBe('otherwise')
    late('late')
    await turned()
    expect(counted).toEqual(['get'])
    expect(clock.pending).toBe(0)
  })

  it('counts every failure and logs one in ten seconds, with how many were not said', async () => {
    const { clock, run, logged, counted } = make()
    for (let second = 0; second < 15; second++) {
      expect(await run(fails)).toBe('otherwise')
      clock.advance(1_000)
    }
    expect(counted).toHaveLength(15)
    expect(logged).toEqual([
      { operation: 'get', reason: 'away', unsaid: 0 },
      { operation: 'get', reason: 'away', unsaid: 9 },
    ])
  })

  it('leaves a store alone for a second that failed three times in a row', async () => {
    const { clock, run } = make()
    let asked = 0
    const work = (): Promise<string> => {
      asked += 1
      return fails()
    }
    for (let index = 0; index < 10; index++) await run(work)
    expect(asked).toBe(3)
    clock.advance(1_000)
    expect(await run(async () => 'fine')).toBe('fine')
    await run(work)
    await run(work)
    expect(asked).toBe(5)
    expect(await run(async () => 'fine')).toBe('fine')
  })

  it('keeps a bounded number of answers on their way to a slow store', async () => {
    const { clock, guard } = make()
    const raw = createMemoryCache({ clock, maxEntries: 1_000, maxBytes: 1_000_000 })
    let under = 0
    raw.set = () => {
      under += 1
      return new Promise(() => undefined)
    }
    const cache = guardCache(raw, guard)
    for (let index = 0; index < 300; index++) void cache.set(`k${index}`, answerOf(), 1_000)
    expect(under).toBe(256)
    clock.advance(10_000)
    await turned()
    clock.advance(1_000)
    void cache.set('k', answerOf(), 1_000)
    expect(under).toBe(257)
    clock.advance(10_000)
  })
})
