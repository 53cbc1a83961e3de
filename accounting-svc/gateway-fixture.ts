import type { Attempt, TokenUsage, UsageEvent } from '../proto/usage.ts'
import { NO_TOKENS } from '../proto/usage.ts'
import { createMemoryHub, type MemoryHub } from '../shared/bus/memory.ts'
import { createCatalog } from '../shared/catalog/catalog.ts'
import { type Clock, systemClock } from '../shared/clock.ts'
import { type Config, checkConfig } from '../shared/config/config.ts'
import { createSealer } from '../shared/config/secrets.ts'
import type { Counters } from '../shared/counters/counters.ts'
import { createMemoryCounters } from '../shared/counters/memory.ts'
import { createTestDatabase, type TestDatabase } from '../shared/db/test-database.ts'
import { silentLog } from '../shared/log.ts'
import { type Accounting, createAccounting, MIGRATIONS } from './accounting.ts'

export const MASTER_KEY = 'sk-master-1234'

/** Accounting on a database and a bus of its own, for tests. */
export interface AccountingFixture {
  readonly hub: MemoryHub
  readonly test: TestDatabase
  readonly accounting: Accounting
  readonly counters: Counters
  /** A management request through the own listener. `key` null sends none. */
  call(
    method: string,
    path: string,
    body?: unknown,
    key?: string | null,
  ): Promise<{ status: number; body: unknown; text: string; headers: Headers }>
  close(): Promise<void>
}

export async function startAccounting(
  postgresUrl: string | undefined,
  options: { config?: unknown; clock?: Clock; masterKey?: string | null } = {},
): Promise<AccountingFixture> {
  const test = await createTestDatabase(postgresUrl, MIGRATIONS)
  const hub = createMemoryHub({ clock: systemClock, log: silentLog, strict: true })
  const counters = createMemoryCounters({ clock: options.clock ?? systemClock })
  const accounting = await createAccounting({
    counters,
    bus: hub.join('accounting'),
    db: test.db,
    config: configOf(options.config ?? {}),
    env: {},
    clock: options.clock ?? systemClock,
    log: silentLog,
    masterKey: options.masterKey === undefined ? MASTER_KEY : options.masterKey,
    sealer: createSealer('salt'),
    catalog: createCatalog(),
    listen: { host: '127.0.0.1', port: 0 },
  })
  return {
    hub,
    test,
    accounting,
    counters,
    async call(method, path, body, key = MASTER_KEY) {
      const headers: Record<string, string> = { 'content-type': 'application/json' }
      if (key !== null) headers['authorization'] = `Bearer ${key}`
      const init: RequestInit = { method, headers }
      if (body !== undefined) init.body = typeof body === 'string' ? body : JSON.stringify(body)
      const response = await fetch(`http://127.0.0.1:${accounting.port}${path}`, init)
      const text = await response.text()
      const isJson = response.headers.get('content-type')?.startsWith('application/json') === true
      return { status: response.status, body: isJson ? JSON.parse(text) : null, text, headers: response.headers }
    },
    async close() {
      await accounting.stop()
      await counters.close()
      await hub.close()
      await test.drop()
    },
  }
}

export function configOf(tree: unknown): Config {
  const checked = checkConfig(tree)
  if (!checked.ok) throw new Error(JSON.stringify(checked.problems))
  return checked.config
}

export const NOON = Date.UTC(2026, 10, 21, 12)

export function usage(fields: Partial<TokenUsage> = {}): TokenUsage {
  return { ...NO_TOKENS, input: 10, output: 5, ...fields }
}

export function attempt(fields: Partial<Attempt> = {}): Attempt {
  return {
    index: 0,
    deploymentId: 'd1',
    provider: 'openai',
    model: 'gpt-4o',
    apiBase: null,
    startedAt: NOON,
    firstTokenAt: NOON + 20,
    endedAt: NOON + 100,
    outcome: 'success',
    usage: usage(),
    ...fields,
  }
}

export function event(fields: Partial<UsageEvent> = {}): UsageEvent {
  return {
    v: 1,
    callId: 'call-1',
    take: 1,
    endpoint: 'acompletion',
    stream: false,
    keyHash: 'a'.repeat(64),
    keyAlias: null,
    userId: null,
    teamId: null,
    organizationId: null,
    endUser: null,
    tags: [],
    requestedModel: 'gpt-4o',
    modelGroup: 'gpt-4o',
    startedAt: NOON,
    firstTokenAt: NOON + 20,
    endedAt: NOON + 100,
    outcome: 'success',
    status: 200,
    attempts: [attempt()],
    routerId: 'router-1',
    ...fields,
  }
}
