import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createPostgres } from '../../shared/db/postgres.ts'
import { silentLog } from '../../shared/log.ts'
import { type Gateway, MODES, openGateway } from './gateway.ts'
import { ROOT } from './sources.ts'

interface Report {
  id: string
  passed: boolean
  overspend: number
  lost: number
  duplicate: number
  cost_error: number
  budget_nano: number
  spent_nano: number
  calls: Record<'made' | 'answered' | 'refused' | 'left' | 'cut' | 'failed', number>
  provider: Record<'requests' | 'failed' | 'strangers', number>
  ledger: Record<'entries' | 'billed' | 'estimated', number>
  offenders: Record<'lost' | 'duplicate' | 'cost_error', string[]>
  differences: { what: string; expected: number; found: number }[]
  problems: string[]
}

const ZEROS = { overspend: 0, lost: 0, duplicate: 0, cost_error: 0 }
const CONFIG = `
model_list:
  - {model_name: mock, litellm_params: {model: mock/echo}}
router_settings: {num_retries: 0}
`

async function prove(gateway: Gateway, fields: Record<string, unknown>): Promise<Report> {
  return (await gateway.admin('POST', '/prove', fields)) as Report
}

/** Runs `npm run prove` without npm. */
function run(args: string[], env: Record<string, string> = {}): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, [join(ROOT, 'deploy/prove.ts'), ...args], {
    env: { PATH: process.env['PATH'], TURNPIKE_DATA: '/nonexistent', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (part: Buffer) => (output += part.toString()))
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, output })))
}

describe.each(MODES)('the self-test, %s', (mode) => {
  let gateway: Gateway

  beforeAll(async () => {
    gateway = await openGateway(mode, { config: CONFIG })
  }, 120_000)
  afterAll(() => gateway?.stop())

  it('finds four zeros over streams, whole answers, failures, clients that leave and a budget that is used up', async () => {
    const report = await prove(gateway, { calls: 500 })
    expect(report).toMatchObject({ passed: true, ...ZEROS, differences: [], problems: [] })
    const { calls, provider, ledger } = report
    expect(calls).toMatchObject({ made: 500, failed: 0 })
    expect(calls.answered).toBeGreaterThan(300)
    // A fifth of the calls does not fit the budget, and what does fit nearly fills it.
    expect(calls.refused).toBeGreaterThan(50)
    expect(report.spent_nano).toBeLessThanOrEqual(report.budget_nano)
    expect(report.spent_nano).toBeGreaterThan(report.budget_nano * 0.9)
    expect(calls.left).toBeGreaterThan(0)
    expect(provider.failed).toBeGreaterThan(0)
    expect(provider.strangers).toBe(0)
    expect(ledger.entries).toBe(500)
    expect(ledger.billed).toBeGreaterThanOrEqual(calls.answered)
  }, 120_000)

  it('prints the four numbers, and ends with 0', async () => {
    const { code, output } = await run(['--url', gateway.url, '--key', gateway.masterKey, '--calls', '50', '--seed', '2'])
    expect(output).toMatch(/overspend +0 nano-dollars\n +lost +0\n +duplicate +0\n +cost error +0 nano-dollars\n/)
    expect(output).toContain('Everything adds up.')
    expect(code).toBe(0)
  }, 60_000)

  it('leaves no trace but entries under its tag', async () => {
    const models = (await gateway.admin('GET', '/v1/models')) as { data: { id: string }[] }
    expect(models.data.map(({ id }) => id)).toEqual(['mock'])
    expect(await gateway.admin('GET', '/key/list')).toMatchObject({ total_count: 0 })
    expect(await gateway.admin('GET', '/team/list')).toEqual([])
    expect(JSON.stringify(await gateway.admin('GET', '/spend/tags'))).toContain('turnpike-prove')
  })
})

describe('the self-test on a cluster that loses a router', () => {
  let gateway: Gateway

  beforeAll(async () => {
    gateway = await openGateway('cluster', { config: CONFIG })
  }, 120_000)
  afterAll(() => gateway?.stop())

  it('finds four zeros once the router is back: what it served was booked for it', async () => {
    const db = createPostgres({ url: gateway.databaseUrl, log: silentLog, poolSize: 1 })
    try {
      const proof = prove(gateway, { calls: 1_500, streams: 0.8, budget_share: 2 })
      await expect
        .poll(async () => (await db.query(`select from ledger where model_group like 'turnpike-prove-%' limit 100`)).length, {
          timeout: 30_000,
        })
        .toBe(100)
      await gateway.cluster?.kill('router', 0)
      await gateway.cluster?.restart('router', 0)
      expect(await proof).toMatchObject({ passed: true, ...ZEROS, differences: [], problems: [] })
    } finally {
      await db.close()
    }
  }, 120_000)
})

describe('the self-test on books that are wrong', () => {
  let gateway: Gateway
  let db: ReturnType<typeof createPostgres>

  beforeAll(async () => {
    gateway = await openGateway('embedded', { config: CONFIG })
    db = createPostgres({ url: gateway.databaseUrl, log: silentLog, poolSize: 1 })
  }, 120_000)
  afterAll(async () => {
    await db?.close()
    await gateway?.stop()
  })

  /** Has the database do `body` with the first priced entry of a run. */
  async function tamper(when: 'before' | 'after', body: string): Promise<() => Promise<void>> {
    await db.query(`create table tampered (call_id text)`)
    await db.query(`create function tamper() returns trigger language plpgsql as $$
      begin
        -- Two batches may be booked at once.
        perform pg_advisory_xact_lock(7);
        if exists (select from tampered) then return new; end if;
        insert into tampered values (new.call_id);
        ${body}
      end $$`)
    await db.query(`create trigger tamper ${when} insert on ledger for each row
      when (new.model_group like 'turnpike-prove-%' and new.outcome = 'success') execute function tamper()`)
    return async () => {
      await db.query('drop trigger tamper on ledger')
      await db.query('drop function tamper')
      await db.query('drop table tampered')
    }
  }

  it('reports an entry that stands there twice, and the sums that do not know of it', async () => {
    const mend = await tamper('after', 'new.take := 99; insert into ledger select new.*; return null;')
    const report = await prove(gateway, { calls: 60, concurrency: 8 })
    const [tampered] = await db.query<{ call_id: string }>('select call_id from tampered')
    await mend()
    expect(report).toMatchObject({ passed: false, lost: 0, duplicate: 1, cost_error: 0 })
    expect(report.offenders.duplicate).toEqual([tampered?.call_id])
    expect(report.differences.map(({ what }) => what)).toContain('spend of the key')
    expect(report.differences.map(({ what }) => what)).toContain('sums by day: calls')
  }, 60_000)

  it('reports an entry that is one nano-dollar too dear, and ends with 1', async () => {
    const mend = await tamper('before', 'new.cost_nano := new.cost_nano + 1; return new;')
    const { code, output } = await run(['--url', gateway.url, '--calls', '60'], { LITELLM_MASTER_KEY: gateway.masterKey })
    const [tampered] = await db.query<{ call_id: string }>('select call_id from tampered')
    await mend()
    expect(output).toContain(`cost error  1 nano-dollars (${tampered?.call_id})`)
    expect(output).toContain('The books do not add up.')
    expect(code).toBe(1)
  }, 60_000)

  it('finds nothing once the books are kept again', async () => {
    expect(await prove(gateway, { calls: 60, concurrency: 8 })).toMatchObject({ passed: true, ...ZEROS })
  }, 60_000)
})

describe('npm run prove', () => {
  it('says how to start a gateway where none answers', async () => {
    const { code, output } = await run(['--url', 'http://127.0.0.1:9', '--key', 'sk-x'])
    expect(output).toContain('No gateway answers at http://127.0.0.1:9')
    expect(output).toContain('npm start')
    expect(code).toBe(1)
  })

  it('says that it has no key, and what is not a number', async () => {
    expect(await run([])).toMatchObject({ code: 1, output: expect.stringContaining('There is no key') })
    expect(await run(['--calls', 'many'])).toMatchObject({ code: 1, output: expect.stringContaining('"many" is not a number') })
  })

  it('proves a gateway of its own with --start', async () => {
    const { code, output } = await run(['--start', '--calls', '20'])
    expect(output).toContain('Everything adds up.')
    expect(code).toBe(0)
  }, 120_000)
})
