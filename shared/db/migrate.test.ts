import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { silentLog } from '../log.ts'
import { migrate } from './migrate.ts'
import { createPostgres } from './postgres.ts'
import { createTestDatabase, type TestDatabase } from './test-database.ts'

let test: TestDatabase
let directory: string

beforeEach(async () => {
  test = await createTestDatabase(process.env['TURNPIKE_TEST_POSTGRES_URL'])
  directory = await mkdtemp(join(tmpdir(), 'migrations-'))
})
afterEach(async () => {
  await test.drop()
  await rm(directory, { recursive: true })
})

const write = (name: string, text: string) => writeFile(join(directory, name), text)
const run = () => migrate(test.db, directory, silentLog)

it('applies the files in order, once, and only the new ones later', async () => {
  await write('000001_first.sql', 'create table first (id int); create table other (id int);')
  await write('000002_second.sql', 'alter table first add column name text;')
  expect(await run()).toBe(2)
  expect(await run()).toBe(0)
  await write('000003_third.sql', 'insert into first values (1, $$one$$);')
  expect(await run()).toBe(1)
  expect(await test.db.query('select * from first')).toEqual([{ id: 1, name: 'one' }])
})

it('lets racing starters wait for each other, so that each file is applied once', async () => {
  await write('000001_first.sql', 'create table first (id int); select pg_sleep(0.1);')
  await write('000002_second.sql', 'insert into first values (1);')
  const others = Array.from({ length: 3 }, () => createPostgres({ url: test.url, log: silentLog }))
  const applied = await Promise.all(others.map((db) => migrate(db, directory, silentLog)))
  expect(applied.reduce((sum, count) => sum + count)).toBe(2)
  expect(await test.db.query('select * from first')).toEqual([{ id: 1 }])
  await Promise.all(others.map((db) => db.close()))
})

it('undoes the whole file that fails and keeps those before it', async () => {
  await write('000001_first.sql', 'create table first (id int);')
  await write('000002_second.sql', 'create table second (id int); select 1 / 0;')
  await expect(run()).rejects.toThrow('division by zero')
  expect(await test.db.query(`select to_regclass('first') is null as first, to_regclass('second') is null as second`)).toEqual([
    { first: false, second: true },
  ])
})

it('refuses a database newer than the files', async () => {
  await write('000001_first.sql', 'select 1;')
  await write('000002_second.sql', 'select 2;')
  await run()
  await rm(join(directory, '000002_second.sql'))
  await expect(run()).rejects.toThrow('newer than this program (it has 000002_second.sql)')
})

it('refuses a file that was changed after it was applied, but not one with other line endings', async () => {
  await write('000001_first.sql', 'select 1;\nselect 2;\n')
  await run()
  await write('000001_first.sql', 'select 1;\r\nselect 2;\r\n')
  expect(await run()).toBe(0)
  await write('000001_first.sql', 'select 3;')
  await expect(run()).rejects.toThrow('changed after it was applied')
})

it('refuses a hole in the numbers', async () => {
  await write('000002_second.sql', 'select 2;')
  await expect(run()).rejects.toThrow('number is missing')
})
