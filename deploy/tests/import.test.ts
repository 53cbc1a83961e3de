import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addLitellm, createLitellm } from '../../accounting-svc/import/litellm-fixture.ts'
import { startUpstream, type Upstream } from '../../loadtest/upstream.ts'
import { hashKey } from '../../shared/config/secrets.ts'
import { createTestDatabase, type TestDatabase } from '../../shared/db/test-database.ts'
import { maskedUrl, runImport, sourceOf } from '../import.ts'
import { stopProcess } from '../server-process.ts'
import { type Gateway, MODES, openGateway } from './gateway.ts'

/** Keys as LiteLLM's clients have them. */
const KEYS = {
  plain: 'sk-imported-plain-0001',
  spent: 'sk-imported-spent-0002',
  slow: 'sk-imported-slow-0003',
  teamed: 'sk-imported-teamed-0004',
  blocked: 'sk-imported-blocked-0005',
  grace: 'sk-imported-grace-0006',
}

/** A call costs a cent, whatever it says. */
const configFor = (url: string) => `
model_list:
  - model_name: cent
    litellm_params: { model: openai/gpt-scripted, api_base: '${url}/v1', api_key: k, input_cost_per_request: 0.01 }
`

async function fillLitellm(theirs: TestDatabase): Promise<void> {
  const add = (table: string, row: Record<string, unknown>) => addLitellm(theirs.db, table, row)
  await createLitellm(theirs.db, 'new')
  await add('BudgetTable', { budget_id: 'cents', max_budget: 0.05 })
  await add('UserTable', { user_id: 'ann', user_role: 'internal_user', spend: 3 })
  await add('TeamTable', {
    team_id: 'crew',
    team_alias: 'Crew',
    max_budget: 2,
    spend: 1.98,
    members_with_roles: [{ user_id: 'ann', role: 'admin' }],
  })
  await add('EndUserTable', { user_id: 'shop', spend: 0.03, budget_id: 'cents' })
  await add('VerificationToken', { token: hashKey(KEYS.plain), key_alias: 'plain', spend: 0.25, models: ['cent'] })
  await add('VerificationToken', { token: hashKey(KEYS.spent), max_budget: 1, spend: 0.97 })
  await add('VerificationToken', { token: hashKey(KEYS.slow), rpm_limit: 2 })
  await add('VerificationToken', { token: hashKey(KEYS.teamed), team_id: 'crew', user_id: 'ann', spend: 0.5 })
  await add('VerificationToken', { token: hashKey(KEYS.blocked), blocked: true })
  await add('DeprecatedVerificationToken', {
    id: 'd',
    token: hashKey(KEYS.grace),
    active_token_id: hashKey(KEYS.plain),
    revoke_at: new Date(Date.now() + 3_600_000).toISOString(),
  })
}

async function chat(gateway: Pick<Gateway, 'url'>, key: string, fields: Record<string, unknown> = {}) {
  const response = await fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'cent', messages: [{ role: 'user', content: 'hi' }], ...fields }),
  })
  return { status: response.status, text: await response.text() }
}

/** Calls until the answer is `status`, at most ten seconds. */
async function callUntil(status: number, call: () => Promise<{ status: number; text: string }>): Promise<{ text: string }> {
  const until = Date.now() + 10_000
  for (;;) {
    const answer = await call()
    if (answer.status === status) return answer
    if (Date.now() > until) throw new Error(`never answered ${status}: ${answer.status} ${answer.text}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

/** How many calls in a row succeed, at most `most`, and what is said of the first that does not. */
async function successes(most: number, call: () => Promise<{ status: number; text: string }>) {
  for (let count = 0; count < most; count += 1) {
    const { status, text } = await call()
    if (status !== 200) return { count, status, text }
  }
  return { count: most, status: 200, text: '' }
}

describe.each(MODES)('a LiteLLM database imported into a running gateway, %s', (mode) => {
  let upstream: Upstream
  let gateway: Gateway
  let theirs: TestDatabase

  beforeAll(async () => {
    upstream = await startUpstream()
    theirs = await createTestDatabase(process.env['TURNPIKE_TEST_POSTGRES_URL'])
    await fillLitellm(theirs)
    gateway = await openGateway(mode, { config: configFor(upstream.url) })
  }, 120_000)
  afterAll(async () => {
    await gateway?.stop()
    await theirs?.drop()
    await upstream?.stop()
  })

  const importNow = (apply: boolean) => {
    const env = { DATABASE_URL: gateway.databaseUrl }
    const files = { configFile: null, dataDirectory: undefined, env, note: () => undefined }
    return runImport({ litellm: theirs.url, apply, skipConflicts: false, now: Date.now(), ...files })
  }

  it('lets clients keep their keys: refused before and after a dry run, served within seconds of the import', async () => {
    expect((await chat(gateway, KEYS.plain)).status).toBe(401)
    await importNow(false)
    expect((await chat(gateway, KEYS.plain)).status).toBe(401)
    expect(await importNow(true)).toMatchObject({ applied: true, refused: false })
    await callUntil(200, () => chat(gateway, KEYS.plain))
    expect((await chat(gateway, KEYS.grace)).status).toBe(200)
    expect((await chat(gateway, KEYS.plain, { model: 'other' })).status).toBeGreaterThanOrEqual(400)
    expect((await chat(gateway, KEYS.blocked)).text).toContain('blocked')
  })

  it('goes on counting where LiteLLM stopped: of a dollar, three cents were left', async () => {
    const { count, text } = await successes(5, () => chat(gateway, KEYS.spent))
    expect(count).toBe(3)
    expect(text).toContain('Budget has been exceeded')
  })

  it('enforces limits per minute', async () => {
    const { count, status } = await successes(5, () => chat(gateway, KEYS.slow))
    expect([count, status]).toEqual([2, 429])
  })

  it('holds a key to the budget of its team, whose total its keys do not explain', async () => {
    const { count, text } = await successes(5, () => chat(gateway, KEYS.teamed))
    expect(count).toBe(2)
    expect(text).toContain('Budget has been exceeded')
  })

  it('holds customers to their budgets, though none was limited when the gateway started', async () => {
    const { count } = await successes(5, () => chat(gateway, gateway.masterKey, { user: 'shop' }))
    expect(count).toBe(2)
  })

  it('shows keys and teams as they were, with what they have spent there and here', async () => {
    const until = Date.now() + 10_000
    const spendOf = async (path: string, field: string) =>
      ((await gateway.admin('GET', path)) as Record<string, { spend: number }>)[field]?.spend
    while ((await spendOf(`/key/info?key=${KEYS.spent}`, 'info')) !== 1 && Date.now() < until)
      await new Promise((resolve) => setTimeout(resolve, 100))
    expect(await spendOf(`/key/info?key=${KEYS.spent}`, 'info')).toBe(1)
    while ((await spendOf('/team/info?team_id=crew', 'team_info')) !== 2 && Date.now() < until)
      await new Promise((resolve) => setTimeout(resolve, 100))
    expect(await gateway.admin('GET', '/team/info?team_id=crew')).toMatchObject({
      team_info: { team_alias: 'Crew', spend: 2, max_budget: 2, members_with_roles: [{ user_id: 'ann', role: 'admin' }] },
    })
    expect(await gateway.admin('GET', `/key/info?key=${KEYS.plain}`)).toMatchObject({
      info: { key_alias: 'plain', models: ['cent'] },
    })
  })

  it('imports nothing twice', async () => {
    expect(await importNow(true)).toMatchObject({ applied: false, changes: 0 })
    const { count } = await successes(1, () => chat(gateway, KEYS.spent))
    expect(count).toBe(0)
  })
})

describe('the command', () => {
  const CLI = join(import.meta.dirname, '../cli.ts')
  const environment = { PATH: process.env['PATH'], HOME: process.env['HOME'] }
  let directory = ''
  let theirs: TestDatabase
  let upstream: Upstream
  const children: ChildProcess[] = []

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'turnpike-import-'))
    chmodSync(directory, 0o711)
    upstream = await startUpstream()
    writeFileSync(join(directory, 'config.yaml'), configFor(upstream.url))
    theirs = await createTestDatabase(process.env['TURNPIKE_TEST_POSTGRES_URL'])
    await fillLitellm(theirs)
  })
  afterAll(async () => {
    for (const child of children) if (child.pid !== undefined) await stopProcess(child.pid, 'SIGTERM', 10_000)
    await theirs?.drop()
    await upstream?.stop()
    rmSync(directory, { recursive: true, force: true })
  })

  function start(args: string[]) {
    const child = spawn(process.execPath, [CLI, ...args, '--data', join(directory, 'data')], {
      env: environment,
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    })
    children.push(child)
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (bytes) => (output += bytes))
    return { child, output: () => output, ended: once(child, 'close').then(([code]) => ({ code: code as number, output })) }
  }

  /** LiteLLM's database as people write it, with a password to keep quiet about and a parameter of Prisma's. */
  const address = () => `${theirs.url}?schema=public&connection_limit=5`
  const password = () => new URL(theirs.url).password
  const postmaster = () => join(directory, 'data/postgres/data/postmaster.pid')

  it('works before anything else was ever started, and beside a gateway that serves', async () => {
    const dry = await start(['import', '--litellm', address()]).ended
    expect(dry.output).toContain('This was a dry run')
    expect(dry.code).toBe(0)
    expect(existsSync(postmaster())).toBe(false)

    const gateway = start(['start', '--host', '127.0.0.1', '--port', '0', '--config', join(directory, 'config.yaml')])
    while (!gateway.output().includes('a second one stops at once'))
      await Promise.race([once(gateway.child.stdout as NodeJS.ReadableStream, 'data'), gateway.ended])
    const pid = readFileSync(postmaster(), 'utf8')
    const applied = await start(['import', '--litellm', address(), '--apply']).ended
    expect(applied.output).toContain('rows were written in one transaction')
    expect(applied.code).toBe(0)
    expect(readFileSync(postmaster(), 'utf8')).toBe(pid)
    const url = /http:\/\/[^/\s]+/.exec(gateway.output())?.[0] ?? ''
    await callUntil(200, () => chat({ url }, KEYS.plain))

    const again = await start(['import', '--litellm', address(), '--apply']).ended
    expect(again.output).toContain('Nothing to import')
    for (const { output } of [dry, applied, again]) {
      if (password() !== '') expect(output).not.toContain(password())
      for (const key of Object.values(KEYS)) {
        expect(output).not.toContain(key)
        expect(output).not.toContain(hashKey(key))
      }
    }
    gateway.child.kill('SIGTERM')
    expect((await gateway.ended).code).toBe(0)
  }, 120_000)

  it('says what is wrong with an address without repeating its password', async () => {
    const none = await start(['import']).ended
    expect(none.output).toContain('import takes --litellm')
    const away = await start(['import', '--litellm', 'postgres://someone:swordfish@127.0.0.1:1/litellm']).ended
    expect([none.code, away.code]).toEqual([1, 1])
    expect(away.output).toContain('could not be reached')
    expect(away.output).not.toContain('swordfish')
    for (const text of ['swordfish', 'someone:swordfish@host/litellm', 'mysql://someone:swordfish@host/litellm'])
      expect(() => sourceOf(text)).toThrow(/^(?!.*swordfish).*--litellm takes/)
    expect(sourceOf('postgresql://a:b@h/d?schema=x&pgbouncer=true&sslmode=require')).toEqual({
      url: 'postgresql://a:b@h/d?sslmode=require',
      schema: 'x',
    })
    expect(maskedUrl('postgres://a:b@h:1/d?password=c')).toBe('postgres://a:***@h:1/d')
    expect(maskedUrl('a:b@h')).toBe('the configured database')
  })
})
