import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { systemClock, testClock } from '../../shared/clock.ts'
import type { Database } from '../../shared/db/db.ts'
import { createPostgres } from '../../shared/db/postgres.ts'
import { createTestDatabase, type TestDatabase } from '../../shared/db/test-database.ts'
import { silentLog } from '../../shared/log.ts'
import { MIGRATIONS } from '../accounting.ts'
import { createSchedule, type Job } from './schedule.ts'

let test: TestDatabase
beforeAll(async () => {
  test = await createTestDatabase(process.env['TURNPIKE_TEST_POSTGRES_URL'], MIGRATIONS)
})
afterAll(() => test.drop())
beforeEach(() => test.db.query('truncate leaders'))

/** Waits for something that other processes bring about, at most ten seconds. */
async function until(holds: () => boolean): Promise<void> {
  for (let left = 1000; !holds(); left--) {
    if (left === 0) throw new Error('it did not come about')
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

function counted(name: string, fields: Partial<Job> = {}): Job & { runs: number } {
  const job = { name, every: 0, runs: 0, run: async () => void job.runs++, ...fields }
  return job
}
const schedule = (
  id: string,
  jobs: Job[],
  clock = testClock() as import('../../shared/clock.ts').Clock,
  db: Database = test.db,
) => createSchedule({ db, clock, log: silentLog, id, jobs })

describe('a schedule', () => {
  it('runs jobs on one process, and at once on another when that one stops', async () => {
    const [clockA, clockB] = [testClock(), testClock()]
    const [jobA, jobB] = [counted('a'), counted('b')]
    const a = schedule('a', [jobA], clockA)
    await until(() => jobA.runs === 1)
    const b = schedule('b', [jobB], clockB)
    for (let tick = 0; tick < 3; tick++) {
      clockB.advance(1000)
      await test.db.ping()
    }
    expect([a.leader, b.leader, jobB.runs]).toEqual([true, false, 0])
    await a.stop()
    await until(() => {
      clockB.advance(1000)
      return jobB.runs > 0
    })
    expect([a.leader, b.leader]).toEqual([false, true])
    await b.stop()
    expect(clockA.pending + clockB.pending).toBe(0)
  })

  it('takes over within seconds from a process that died', async () => {
    const dying = createPostgres({ url: test.url, log: silentLog })
    const [jobA, jobB] = [counted('a'), counted('b')]
    const clockA = testClock()
    const a = schedule('a', [jobA], clockA, dying)
    await until(() => jobA.runs === 1)
    // It ends without a word: its clock stands still, its connections are gone.
    await dying.close()
    const started = performance.now()
    const b = schedule('b', [jobB], systemClock)
    await until(() => jobB.runs > 0)
    expect(performance.now() - started).toBeGreaterThan(2_000)
    expect(performance.now() - started).toBeLessThan(9_000)
    await a.stop()
    expect(b.leader).toBe(true)
    await b.stop()
  })

  it('stops leading when it cannot keep the leadership in time', async () => {
    const clock = testClock()
    const job = counted('a')
    const broken = { ...test.db, query: () => Promise.reject(new Error('away')) } as Database
    const db = { ...test.db, query: test.db.query } as Database
    const a = schedule('a', [job], clock, db)
    await until(() => job.runs === 1)
    db.query = broken.query
    clock.advance(4_999)
    await new Promise(setImmediate)
    expect(a.leader).toBe(true)
    clock.advance(1)
    expect(a.leader).toBe(false)
    await a.stop()
  })

  it('runs a job once at a time, the others meanwhile, and waits for it when it stops', async () => {
    const clock = testClock()
    let release = (): void => undefined
    const slow = counted('slow', {
      run: () => {
        slow.runs += 1
        return new Promise((resolve) => {
          release = resolve
        })
      },
    })
    const quick = counted('quick', { every: 1000 })
    const a = schedule('a', [slow, quick], clock)
    await until(() => slow.runs === 1)
    await until(() => {
      clock.advance(1000)
      return quick.runs >= 3
    })
    expect(slow.runs).toBe(1)
    let stopped = false
    const stopping = a.stop().then(() => {
      stopped = true
    })
    await test.db.ping()
    expect(stopped).toBe(false)
    release()
    await stopping
  })

  it('runs a job again that failed', async () => {
    const clock = testClock()
    const job = counted('odd', {
      run: () => {
        job.runs += 1
        return Promise.reject(new Error('odd'))
      },
    })
    const a = schedule('a', [job], clock)
    await until(() => {
      clock.advance(1000)
      return job.runs >= 3
    })
    await a.stop()
  })

  it('runs on every process what is each process’s own', async () => {
    const [jobA, jobB] = [counted('a', { everywhere: true }), counted('b', { everywhere: true })]
    const a = schedule('a', [jobA])
    const b = schedule('b', [jobB])
    await until(() => jobA.runs > 0 && jobB.runs > 0)
    await Promise.all([a.stop(), b.stop()])
  })
})
