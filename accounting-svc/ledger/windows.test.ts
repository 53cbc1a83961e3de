import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../shared/db/test-database.ts'
import { MIGRATIONS } from '../accounting.ts'
import { setWindow } from './windows.ts'

const NOW = Date.UTC(2026, 10, 21, 13, 47)
let test: TestDatabase

beforeAll(async () => {
  test = await createTestDatabase(process.env['TURNPIKE_TEST_POSTGRES_URL'], MIGRATIONS)
})
afterAll(() => test.drop())
beforeEach(() => test.db.query('truncate spend'))

const set = (duration: string | null, now = NOW, zone = 'UTC') =>
  test.db.transaction((tx) => setWindow(tx, 'team|t1', duration, now, zone))
const rows = () => test.db.query('select scope, spent_nano, revision, budget_duration, reset_at from spend')
const window = (budget_duration: string | null, reset_at: string | null) => ({
  scope: 'team|t1',
  spent_nano: 0,
  revision: 0,
  budget_duration,
  reset_at: reset_at === null ? null : new Date(reset_at),
})

describe('setWindow', () => {
  it('opens a window for a scope that spent nothing yet', async () => {
    await set('1d')
    expect(await rows()).toEqual([window('1d', '2026-11-22T00:00:00Z')])
  })

  it('closes it by the clock of the zone', async () => {
    await set('1d', NOW, 'America/New_York')
    expect(await rows()).toEqual([window('1d', '2026-11-22T05:00:00Z')])
  })

  it('keeps the running window, and what was spent in it, when the duration stays', async () => {
    await set('30d')
    await test.db.query('update spend set spent_nano = 5, revision = 3')
    await set('30d', NOW + 86_400_000 * 20)
    expect(await rows()).toEqual([{ ...window('30d', '2026-12-01T00:00:00Z'), spent_nano: 5, revision: 3 }])
  })

  it('opens a new one when the duration changes, keeping what was spent', async () => {
    await set('30d')
    await test.db.query('update spend set spent_nano = 5, revision = 3')
    await set('7d')
    expect(await rows()).toEqual([{ ...window('7d', '2026-11-23T00:00:00Z'), spent_nano: 5, revision: 3 }])
  })

  it('takes the window away, and leaves a scope alone that has none', async () => {
    await set(null)
    expect(await rows()).toEqual([])
    await set('1d')
    await set(null)
    expect(await rows()).toEqual([window(null, null)])
  })

  it('refuses what is not a duration and changes nothing', async () => {
    await expect(set('soon')).rejects.toMatchObject({ code: 'bad_request' })
    expect(await rows()).toEqual([])
  })
})
