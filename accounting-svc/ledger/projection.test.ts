import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { testClock } from '../../shared/clock.ts'
import type { Counters, Spent } from '../../shared/counters/counters.ts'
import { silentLog } from '../../shared/log.ts'
import { createProjection } from './projection.ts'

interface Told {
  leases: string[]
  spent: Spent[]
}

/** Counters that keep what they are told; each telling ends when the test says so. */
function fakeCounters() {
  const told: Told[] = []
  const ends: { resolve(): void; reject(error: Error): void }[] = []
  const book: Counters['book'] = (leases, spent) => {
    told.push({ leases: [...leases], spent: [...spent] })
    return new Promise((resolve, reject) => ends.push({ resolve, reject }))
  }
  return { told, ends, counters: { book } as Counters }
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve))
const at = (revision: number, scope = 's'): Spent => ({ scope, spent: revision * 10, revision })

async function isDone(work: Promise<void>): Promise<boolean> {
  await turn()
  return Promise.race([work.then(() => true), turn().then(() => false)])
}

function start() {
  const clock = testClock()
  const fake = fakeCounters()
  return { clock, ...fake, projection: createProjection({ counters: fake.counters, clock, log: silentLog }) }
}

describe('the projection', () => {
  it('has told the counters before it resolves', async () => {
    const { projection, told, ends, clock } = start()
    const booked = projection.book(['a'], [at(1)])
    expect(told).toEqual([{ leases: ['a'], spent: [at(1)] }])
    expect(await isDone(booked)).toBe(false)
    ends[0]?.resolve()
    await booked
    expect([projection.pending, clock.pending]).toEqual([0, 0])
  })

  it('says nothing when there is nothing to say', async () => {
    const { projection, told } = start()
    await projection.book([], [])
    expect(told).toEqual([])
  })

  it('tells together what comes while a telling is under way, only the newest number of each scope', async () => {
    const { projection, told, ends } = start()
    const booked = [projection.book(['a'], [at(1)]), projection.book(['b'], [at(3)]), projection.book(['c'], [at(2), at(1, 't')])]
    ends[0]?.resolve()
    await booked[0]
    expect(told[1]).toEqual({ leases: ['b', 'c'], spent: [at(3), at(1, 't')] })
    ends[1]?.resolve()
    await Promise.all(booked)
  })

  it('lets booking go on when the counters fail, and tells everything when they are back', async () => {
    const { projection, told, ends, clock } = start()
    const first = projection.book(['a'], [at(1)])
    const meanwhile = projection.book(['b'], [at(2)])
    ends[0]?.reject(new Error('away'))
    await Promise.all([first, meanwhile])
    await projection.book(['c'], [at(3, 't')])
    expect(told).toHaveLength(1)
    expect(projection.pending).toBe(3)
    clock.advance(1000)
    expect(told[1]).toEqual({ leases: ['a', 'b', 'c'], spent: [at(2), at(3, 't')] })
    ends[1]?.resolve()
    await turn()
    expect([projection.pending, clock.pending]).toEqual([0, 0])
  })

  it('waits two seconds for counters that do not answer, once, and not again until they do', async () => {
    const { projection, told, ends, clock } = start()
    const first = projection.book(['a'], [at(1)])
    clock.advance(1999)
    expect(await isDone(first)).toBe(false)
    clock.advance(1)
    await first
    await projection.book(['b'], [at(2)])
    expect(told).toHaveLength(1)
    ends[0]?.resolve()
    await turn()
    expect(told[1]).toEqual({ leases: ['b'], spent: [at(2)] })
    ends[1]?.resolve()
    await turn()
    const later = projection.book(['c'], [at(3)])
    expect(await isDone(later)).toBe(false)
    ends[2]?.resolve()
    await later
    expect(clock.pending).toBe(0)
  })

  it('keeps a bounded number of leases, the newest', async () => {
    const { projection, told, ends, clock } = start()
    const first = projection.book(['first'], [])
    ends[0]?.reject(new Error('away'))
    await first
    await projection.book(
      Array.from({ length: 200_000 }, (_, index) => `${index}`),
      [],
    )
    expect(projection.pending).toBe(200_000)
    clock.advance(1000)
    expect(told[1]?.leases).not.toContain('first')
    ends[1]?.resolve()
    await turn()
  })

  it('tries once more when it stops, and leaves nothing open', async () => {
    const { projection, told, ends, clock } = start()
    const first = projection.book(['a'], [])
    ends[0]?.reject(new Error('away'))
    await first
    const stopped = projection.stop()
    expect(told[1]?.leases).toEqual(['a'])
    ends[1]?.reject(new Error('away'))
    await stopped
    expect(clock.pending).toBe(0)
  })

  it('in the end has told every lease, and of each scope the newest number last, whatever fails', async () => {
    const step = fc.oneof(
      fc.record({ book: fc.tuple(fc.nat(20), fc.constantFrom('s', 't'), fc.nat(20)) }),
      fc.record({ end: fc.boolean() }),
      fc.record({ advance: fc.nat(3000) }),
    )
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const { projection, told, ends, clock } = start()
        const booked = new Set<string>()
        const newest = new Map<string, number>()
        const known = new Map<string, number>()
        const dropped = new Set<string>()
        let ended = 0
        const end = (well: boolean): void => {
          const telling = told[ended]
          if (telling === undefined) return
          if (well) {
            for (const lease of telling.leases) dropped.add(lease)
            for (const { scope, revision } of telling.spent) known.set(scope, Math.max(known.get(scope) ?? 0, revision))
            ends[ended]?.resolve()
          } else ends[ended]?.reject(new Error('away'))
          ended += 1
        }
        for (const next of steps) {
          if ('book' in next) {
            const [lease, scope, revision] = next.book
            booked.add(`${lease}`)
            newest.set(scope, Math.max(newest.get(scope) ?? 0, revision))
            void projection.book([`${lease}`], [at(revision, scope)])
          } else if ('end' in next) end(next.end)
          else clock.advance(next.advance)
          await turn()
        }
        for (let round = 0; round < 20 && (projection.pending > 0 || ended < told.length || clock.pending > 0); round++) {
          end(true)
          await turn()
          clock.advance(3000)
          await turn()
        }
        expect(dropped).toEqual(booked)
        expect(known).toEqual(newest)
        expect(clock.pending).toBe(0)
      }),
      { numRuns: 100 },
    )
  })
})
