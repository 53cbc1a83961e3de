import pg from 'pg'
import { GatewayError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Database, Transaction } from './db.ts'
import { sqlState } from './sql-state.ts'

export interface PostgresOptions {
  /** `postgres://user:password@host:port/database`. Never logged and never part of an error. */
  url: string
  log: Log
  /** Most connections at once. */
  poolSize?: number
  /** Milliseconds until a connection attempt is given up. */
  connectLimit?: number
  /** Milliseconds until a statement without an answer is given up: a frozen server must not hold callers for ever. */
  statementLimit?: number
}

/** Type ids of `bigint` and `bigint[]` in PostgreSQL's catalogue (pg_type.dat). */
const INT8 = 20
const INT8_ARRAY = 1016
type TypeId = Parameters<typeof pg.types.getTypeParser>[0]

/**
 * A pool on one PostgreSQL. Connects lazily, so making it never fails for a server that is away. Throws GatewayError
 * `bad_request` when the URL cannot be read; statements throw GatewayError `accounting_away` when the server could not be
 * reached, and the server's own error (see sql-state.ts) when it said no.
 */
export function createPostgres(options: PostgresOptions): Database {
  const { log } = options
  const pool = new pg.Pool({
    ...connectionOf(options.url),
    max: options.poolSize ?? 10,
    connectionTimeoutMillis: options.connectLimit ?? 5_000,
    query_timeout: options.statementLimit ?? 60_000,
    idleTimeoutMillis: 60_000,
    keepAlive: true,
    application_name: 'turnpike',
    // Days in reports and daily sums are UTC days whatever the server's own setting.
    options: '-c timezone=UTC',
    types: { getTypeParser },
  })
  let connected = false
  let closed: Promise<void> | null = null

  // A pooled connection that dies while idle would otherwise end the process as an unhandled 'error' event.
  pool.on('error', (error) => {
    connected = false
    // A server that stops while the pool says goodbye is no news.
    if (closed !== null) return
    log.warn({ reason: reasonOf(error) }, 'an idle database connection was lost')
  })

  async function run<Row>(
    client: pg.Pool | pg.PoolClient,
    text: string,
    values?: readonly unknown[],
    name?: string,
  ): Promise<Row[]> {
    const config: pg.QueryConfig = { text }
    if (values !== undefined) config.values = [...values]
    if (name !== undefined) config.name = name
    try {
      const result: pg.QueryResult | pg.QueryResult[] = await client.query(config)
      connected = true
      // A text of several statements (a migration) gives a list; nobody reads rows from those.
      return Array.isArray(result) ? [] : (result.rows as Row[])
    } catch (error) {
      throw readable(error)
    }
  }

  /** A server error as it is; anything else means that nobody knows whether the server got it. */
  function readable(error: unknown): unknown {
    const state = sqlState(error)
    // 08: connection lost; 57P0x: the server is going down or starting; 53300: no connection slot left; 28, 3D: it does not let us in.
    if (state !== null && !/^(08|57P0[123]|53300|28|3D)/.test(state)) {
      connected = true
      return error
    }
    if (error instanceof UnsafeIntegerError) return error
    connected = false
    return new GatewayError('accounting_away', 'Database connection error.', { cause: new Error(reasonOf(error)) })
  }

  return {
    query: (text, values, name) => run(pool, text, values, name),
    async transaction(work) {
      let client: pg.PoolClient
      try {
        client = await pool.connect()
      } catch (error) {
        throw readable(error)
      }
      // Between two statements nobody else listens for the death of a borrowed connection.
      const onError = (): void => undefined
      client.on('error', onError)
      let broken = false
      try {
        await run(client, 'begin')
        const tx: Transaction = { query: (text, values, name) => run(client, text, values, name) }
        const result = await work(tx)
        await run(client, 'commit')
        return result
      } catch (error) {
        // A connection that is gone or stuck is thrown away instead: the server rolls back when it notices.
        broken = error instanceof GatewayError && error.code === 'accounting_away'
        if (!broken) {
          await client.query('rollback').catch(() => {
            broken = true
          })
        }
        throw error
      } finally {
        client.off('error', onError)
        client.release(broken)
      }
    },
    get connected() {
      return connected
    },
    async ping() {
      await run(pool, 'select 1')
    },
    close() {
      closed ??= pool.end()
      return closed
    },
  }
}

class UnsafeIntegerError extends Error {}

function getTypeParser(id: number, format?: 'text' | 'binary'): (value: string) => unknown {
  if (id === INT8) return safeInteger
  if (id === INT8_ARRAY) {
    const parse = pg.types.getTypeParser(INT8_ARRAY as TypeId) as (value: string) => (string | null)[]
    return (value) => parse(value).map((item) => (item === null ? null : safeInteger(item)))
  }
  // A `date` is a calendar day; the default parser would turn it into midnight of the local zone.
  if (id === pg.types.builtins.DATE) return (value) => value
  return pg.types.getTypeParser(id as TypeId, format as 'text') as (value: string) => unknown
}

function safeInteger(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value)) throw new UnsafeIntegerError('a bigint of the database does not fit a safe integer')
  return value
}

/** The parts of a database URL, taken apart here so that no library error can repeat it. */
function connectionOf(text: string): pg.ClientConfig {
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw new GatewayError(
      'bad_request',
      'The database URL cannot be read; expected postgres://user:password@host:port/database.',
    )
  }
  if (url.protocol !== 'postgres:' && url.protocol !== 'postgresql:') {
    throw new GatewayError('bad_request', 'The database URL must start with postgres:// or postgresql://.')
  }
  return { connectionString: url.href }
}

/** What may be logged about a connection failure: its code and first line, which name hosts but never a password. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown'
  const code = 'code' in error && typeof error.code === 'string' ? `${error.code} ` : ''
  return `${code}${error.message.split('\n')[0] ?? ''}`.trim()
}
