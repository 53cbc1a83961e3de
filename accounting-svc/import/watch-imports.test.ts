import { afterAll, beforeAll, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../../shared/db/test-database.ts'
import { MIGRATIONS } from '../accounting.ts'
import { auditImport } from '../sql/import-target.ts'
import { watchImports } from './watch-imports.ts'

let test: TestDatabase

beforeAll(async () => {
  test = await createTestDatabase(process.env['TURNPIKE_TEST_POSTGRES_URL'], MIGRATIONS)
})
afterAll(async () => {
  await test.drop()
})

it('tells everybody of an import that was written since it began to look, once', async () => {
  await auditImport(test.db, 'before', 1, {})
  const announced: unknown[] = []
  const bus = { announce: (kind: string, payload: unknown) => announced.push([kind, payload]) }
  const job = watchImports({ db: test.db, bus: bus as never })
  await job.run()
  await job.run()
  expect(announced).toEqual([])
  await auditImport(test.db, 'after', 2, {})
  await job.run()
  await job.run()
  expect(announced).toEqual([
    ['identity', {}],
    ['budget', {}],
  ])
})
