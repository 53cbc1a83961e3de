import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { ObjectNews } from '../../proto/objects.ts'
import { createTestDatabase, type TestDatabase } from '../../shared/db/test-database.ts'
import { MIGRATIONS } from '../accounting.ts'
import { event, NOON } from '../gateway-fixture.ts'
import { findObject, listObjects, listUnsettled, lookedAt } from '../sql/objects.ts'
import { keepObjects } from './objects.ts'

let test: TestDatabase

beforeAll(async () => {
  test = await createTestDatabase(process.env['TURNPIKE_TEST_POSTGRES_URL'], MIGRATIONS)
})
afterAll(() => test.drop())
beforeEach(() => test.db.query('truncate objects'))

const news = (what: ObjectNews['what'], fields: Partial<ObjectNews> = {}): ObjectNews => ({
  kind: 'batch',
  deploymentId: 'dep',
  id: 'batch_1',
  provider: 'openai',
  what,
  ...fields,
})
/** What a call of a team said at a time, seconds after noon. */
const told = (teamId: string, at: number, ...objects: ObjectNews[]) => event({ teamId, endedAt: NOON + at * 1000, objects })
const keep = (...events: unknown[]) => test.db.transaction((tx) => keepObjects(tx, events))
const list = (owners: string[] | null, fields = {}) =>
  listObjects(test.db, { kind: 'batch', owners, after: null, where: null, limit: 10, order: 'desc', ...fields })
const ids = async (owners: string[] | null, fields = {}) => (await list(owners, fields)).map(({ id }) => id)
const facts = async () => (await findObject(test.db, news('seen')))[0]?.facts

describe('objects', () => {
  it('belong to who created them, whoever looks at them later', async () => {
    await keep(told('a', 0, news('created', { facts: { status: 'validating' } })))
    await keep(told('b', 1, news('seen', { facts: { status: 'completed' } })))
    expect(await ids(['team:a'])).toEqual(['batch_1'])
    expect(await ids(['team:b'])).toEqual([])
    expect(await ids(null)).toEqual(['batch_1'])
    expect(await facts()).toEqual({ status: 'completed' })
  })

  it('are as they were last, in whatever order that is heard', async () => {
    await keep(told('a', 5, news('created', { facts: { status: 'validating' } })))
    await keep(told('a', 9, news('seen', { facts: { status: 'completed' } })))
    await keep(told('a', 7, news('seen', { facts: { status: 'in_progress' } })))
    expect(await facts()).toEqual({ status: 'completed' })
  })

  it('stay deleted when the word of their making comes late or again', async () => {
    await keep(
      told('b', 2, news('deleted')),
      told('a', 1, news('created', { facts: {} })),
      told('a', 1, news('created', { facts: {} })),
    )
    expect(await ids(null)).toEqual([])
  })

  it('are listed page by page', async () => {
    for (const [at, id] of ['x', 'y', 'z'].entries()) await keep(told('a', at, news('created', { id, facts: { purpose: id } })))
    expect(await ids(['team:a'], { limit: 2 })).toEqual(['z', 'y'])
    expect(await ids(['team:a'], { after: { deploymentId: 'dep', id: 'y' } })).toEqual(['x'])
    expect(await ids(['team:a'], { order: 'asc', after: { deploymentId: 'dep', id: 'x' } })).toEqual(['y', 'z'])
    expect(await ids(['team:a'], { where: '{"purpose": "y"}' })).toEqual(['y'])
  })

  it('are looked at until what they cost is booked', async () => {
    await keep(told('a', 0, news('created'), news('created', { id: 'batch_2' }), news('created', { id: 'file-1', kind: 'file' })))
    const unsettled = async () => (await listUnsettled(test.db, ['batch'], NOON - 1, 10)).map(({ id }) => id)
    expect((await unsettled()).sort()).toEqual(['batch_1', 'batch_2'])
    await keep(told('a', 1, news('settled')))
    expect(await unsettled()).toEqual(['batch_2'])
    await lookedAt(test.db, news('seen', { id: 'batch_2' }), NOON + 2000, true)
    expect(await unsettled()).toEqual([])
  })

  it('that nobody can read are left out, and what the same call says well is kept', async () => {
    const wrong = [
      null,
      { ...news('created'), what: 'eaten' },
      news('created', { id: 'x'.repeat(3_000) }),
      news('created', { id: 'a\0' }),
    ]
    await keep(told('a', 0, ...(wrong as ObjectNews[]), news('created', { facts: { name: 'a\0b' } })))
    expect(await ids(null)).toEqual(['batch_1'])
    expect(await facts()).toEqual({ name: 'ab' })
  })
})
