import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { GatewayError } from '../errors.ts'
import { silentLog } from '../log.ts'
import { createPostgres } from './postgres.ts'
import { alreadyExists, refusedValue, sqlState } from './sql-state.ts'
import { createTestDatabase, type TestDatabase } from './test-database.ts'

const AWAY = 'postgres://someone:swordfish@127.0.0.1:1/nowhere'

let test: TestDatabase

beforeAll(async () => {
  test = await createTestDatabase(process.env['TURNPIKE_TEST_POSTGRES_URL'])
  await test.db.query('create table item (id int primary key, amount bigint)')
})
afterAll(() => test.drop())

describe('statements', () => {
  it('reads a bigint as a number', async () => {
    const rows = await test.db.query('select $1::bigint as one, $2::bigint[] as many', [Number.MAX_SAFE_INTEGER, [1, null, -2]])
    expect(rows).toEqual([{ one: Number.MAX_SAFE_INTEGER, many: [1, null, -2] }])
  })

  it('refuses to read a bigint that is not a safe integer', async () => {
    await expect(test.db.query('select 9007199254740992::bigint')).rejects.toThrow('safe integer')
    expect(await test.db.query('select 1 as one')).toEqual([{ one: 1 }])
  })

  it('reads a date as the text it is', async () => {
    expect(await test.db.query(`select date '2026-03-01' as day`)).toEqual([{ day: '2026-03-01' }])
  })

  it('answers in UTC whatever the server is set to', async () => {
    expect(await test.db.query('show timezone')).toEqual([{ TimeZone: 'UTC' }])
  })

  it('keeps a named statement prepared on its connection', async () => {
    await test.db.transaction(async (tx) => {
      await tx.query('select $1::int as value', [1], 'value')
      const rows = await tx.query(`select name from pg_prepared_statements where name = 'value'`)
      expect(rows).toEqual([{ name: 'value' }])
    })
  })

  it('passes on what the server says, with its SQLSTATE', async () => {
    await test.db.query('insert into item values (1, 1)')
    const error = await test.db.query('insert into item values (1, 1)').catch((thrown: unknown) => thrown)
    expect(sqlState(error)).toBe('23505')
    expect(alreadyExists(error)).toBe(true)
    expect(refusedValue(error)).toBe(true)
    expect(test.db.connected).toBe(true)
  })
})

describe('transactions', () => {
  it('keeps everything when the work resolves', async () => {
    await test.db.transaction(async (tx) => {
      await tx.query('insert into item values (10, 1)')
      await tx.query('insert into item values (11, 1)')
    })
    expect(await test.db.query('select count(*)::int as count from item where id in (10, 11)')).toEqual([{ count: 2 }])
  })

  it('keeps nothing when the work rejects, and gives its error on', async () => {
    const work = test.db.transaction(async (tx) => {
      await tx.query('insert into item values (20, 1)')
      throw new Error('changed my mind')
    })
    await expect(work).rejects.toThrow('changed my mind')
    expect(await test.db.query('select from item where id = 20')).toEqual([])
  })

  it('keeps nothing when the connection dies in the middle', async () => {
    const work = test.db.transaction(async (tx) => {
      await tx.query('insert into item values (30, 1)')
      const [row] = await tx.query<{ pid: number }>('select pg_backend_pid() as pid')
      await test.db.query('select pg_terminate_backend($1, 5000)', [row?.pid])
      await tx.query('select 1')
    })
    await expect(work).rejects.toMatchObject({ code: 'accounting_away' })
    expect(await test.db.query('select from item where id = 30')).toEqual([])
  })
})

describe('a server that is away', () => {
  it('is reported by code, and neither message nor cause holds the password', async () => {
    const db = createPostgres({ url: AWAY, log: silentLog, connectLimit: 1000 })
    for (const attempt of [db.ping(), db.query('select 1'), db.transaction(async () => 1)]) {
      const error = await attempt.catch((thrown: unknown) => thrown)
      expect(error).toBeInstanceOf(GatewayError)
      expect(error).toMatchObject({ code: 'accounting_away' })
      expect((error as Error).cause).toBeInstanceOf(Error)
      expect(`${String(error)} ${String((error as Error).cause)}`).toMatch(/Database connection error.*ECONNREFUSED/)
      expect(inspect(error, { depth: 9, showHidden: true })).not.toMatch(/swordfish|someone/)
    }
    expect(db.connected).toBe(false)
    await db.close()
  })

  it('gives up a statement that gets no answer in time', async () => {
    const db = createPostgres({ url: test.url, log: silentLog, statementLimit: 50 })
    await expect(db.query('select pg_sleep(5)')).rejects.toMatchObject({ code: 'accounting_away' })
    await db.close()
  })
})

it.each(['not a url', 'mysql://u:swordfish@host/db'])('refuses %s without repeating it', (url) => {
  let message = ''
  try {
    createPostgres({ url, log: silentLog })
  } catch (error) {
    message = String(error)
  }
  expect(message).toContain('database URL')
  expect(message).not.toMatch(/swordfish|not a url/)
})
