import { createHash } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MIGRATIONS } from '../../accounting-svc/accounting.ts'
import type { EdgeSettings } from '../../edge/edge.ts'
import { createTestDatabase, type TestDatabase } from '../../shared/db/test-database.ts'
import { silentLog } from '../../shared/log.ts'
import { type Cluster, startCluster } from '../cluster.ts'
import { type Embedded, startEmbedded } from '../embedded.ts'
import { keepLogs, registerSecret, secretsIn } from '../tools/secret-scan.ts'

/** The two ways to run, for tests that hold one text against both. */
export const MODES = ['embedded', 'cluster'] as const
export type ModeName = (typeof MODES)[number]

export interface LedgerRow {
  request_id: string
  status: string
  spend: number
  prompt_tokens: number
  completion_tokens: number
  startTime: string
  endTime: string
  completionStartTime: string | null
  [field: string]: unknown
}

/** A running gateway as tests see it. */
export interface Gateway {
  url: string
  masterKey: string
  databaseUrl: string
  /** The cluster behind it; null when embedded. */
  cluster: Cluster | null
  admin(method: string, path: string, body?: unknown): Promise<unknown>
  generateKey(fields: Record<string, unknown>): Promise<string>
  hash(key: string): Promise<string>
  /** Ledger rows of a call, once at least one is booked (waits up to `limit` milliseconds). */
  ledger(callId: string, limit?: number): Promise<LedgerRow[]>
  stop(): Promise<void>
}

/** Environment of the tests' gateways: nothing of the developer's own keys. */
function environment(): Record<string, string | undefined> {
  return {
    PATH: process.env['PATH'],
    HOME: process.env['HOME'],
    // All there is to say, for the run is searched for secrets.
    LITELLM_LOG: 'DEBUG',
    NATS_SERVER_BIN: process.env['NATS_SERVER_BIN'],
  }
}

export interface GatewayOptions {
  /** Text of `config.yaml`. */
  config: string
  /** Added to the environment of its processes. */
  env?: Record<string, string>
  /** Routers of a cluster; default 2. */
  routers?: number
  /** Of the edge of an embedded gateway, which has no names in the environment for them. */
  edge?: Partial<EdgeSettings>
}

/**
 * Starts a gateway of its own data folder and free ports. Its database is one of the test run's server unless `env` names another: making
 * a server for each takes 2 s, which sixty starts in CI feel; that a gateway makes its own is held by deploy/cli.test.ts.
 */
export async function openGateway(
  mode: ModeName,
  { config, env = {}, routers = 2, edge = {} }: GatewayOptions,
): Promise<Gateway> {
  const directory = mkdtempSync(join(tmpdir(), `turnpike-${mode}-`))
  // Root's PostgreSQL runs under another account: it would keep its data elsewhere if it could not pass through here.
  chmodSync(directory, 0o711)
  const configFile = join(directory, 'config.yaml')
  writeFileSync(configFile, config)
  let embedded: Embedded | null = null
  let cluster: Cluster | null = null
  let database: TestDatabase | null = null
  try {
    if (env['DATABASE_URL'] === undefined)
      database = await createTestDatabase(process.env['TURNPIKE_TEST_POSTGRES_URL'], MIGRATIONS)
    const common = {
      configFile,
      env: { ...environment(), ...(database === null ? {} : { DATABASE_URL: database.url }), ...env },
      host: '127.0.0.1',
      dataDirectory: join(directory, 'data'),
    }
    if (mode === 'embedded') embedded = await startEmbedded({ ...common, port: 0, log: silentLog, edge })
    else cluster = await startCluster({ ...common, ports: [0, 0], routers })
  } catch (thrown) {
    await database?.drop()
    rmSync(directory, { recursive: true, force: true })
    throw thrown
  }
  const running = (embedded ?? cluster) as Embedded | Cluster
  const url = embedded?.url ?? (cluster?.urls[0] as string)
  const { masterKey } = running
  registerSecret(masterKey, new URL(running.databaseUrl).password, ...Object.values(env), ...secretsIn(config))

  const admin = async (method: string, path: string, body?: unknown): Promise<unknown> => {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { authorization: `Bearer ${masterKey}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`)
    return JSON.parse(text)
  }

  return {
    url,
    masterKey,
    databaseUrl: running.databaseUrl,
    cluster,
    admin,
    async generateKey(fields) {
      const { key } = (await admin('POST', '/key/generate', fields)) as { key: string }
      registerSecret(key)
      return key
    },
    hash: async (key) => createHash('sha256').update(key).digest('hex'),
    async ledger(callId, limit = 10_000) {
      const until = Date.now() + limit
      for (;;) {
        const rows = (await admin('GET', `/spend/logs?request_id=${callId}`)) as LedgerRow[]
        if (rows.length > 0 || Date.now() > until) return rows
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    },
    async stop() {
      await running.stop()
      keepLogs(directory)
      await database?.drop()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}
