import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { IdentityReply } from '../../proto/identity.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import { testClock } from '../../shared/clock.ts'
import { silentLog } from '../../shared/log.ts'
import { type AccountingFixture, configOf, MASTER_KEY, NOON, startAccounting } from '../gateway-fixture.ts'
import { keyRotationJob } from '../identity/key-rotation.ts'
import { createKeys } from '../identity/keys.ts'

type Body = Record<string, unknown>
type Made = Body & { key: string; token: string }

const HOUR = 3_600_000
const clock = testClock(NOON)
let gateway: AccountingFixture
let edge: Bus
const forgotten: unknown[] = []

beforeAll(async () => {
  gateway = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'], { clock })
  edge = gateway.hub.join('edge')
  edge.onChange('identity', (payload) => forgotten.push(...(payload as { keyHashes: string[] }).keyHashes))
})
afterAll(() => gateway.close())

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')
const post = (path: string, body: unknown, key: string = MASTER_KEY) => gateway.call('POST', path, body, key)
const run = (sql: string): Promise<Body[]> => gateway.test.db.query<Body>(sql)

async function made(fields: Body): Promise<Made> {
  return (await post('/key/generate', fields)).body as Made
}
async function regenerated(body: Body, path = '/key/regenerate'): Promise<Made> {
  const reply = await post(path, body)
  expect(reply.status, reply.text).toBe(200)
  return reply.body as Made
}
async function identity(key: string): Promise<IdentityReply> {
  return (await edge.request(edge.subjects.identity, { v: 1, keyHash: sha256(key) }, { timeout: 2000 })) as IdentityReply
}

describe('regenerating a key', () => {
  it('gives it another hash and keeps its alias, limits, spend and windows', async () => {
    const fields = { key_alias: 'kept', max_budget: 4, spend: 1.25, budget_duration: '1d', rpm_limit: 3 }
    const old = await made({ ...fields, budget_limits: [{ budget_duration: '30d', max_budget: 9 }] })
    await run(`update spend set spent_nano = 7 where scope = 'key|${old.token}|window|30d'`)
    const fresh = await regenerated({ key: old.key, rpm_limit: 4 })
    expect(fresh).toMatchObject({
      ...fields,
      rpm_limit: 4,
      token: sha256(fresh.key),
      key_name: `sk-...${fresh.key.slice(-4)}`,
      budget_reset_at: '2026-11-22T00:00:00.000Z',
    })
    expect(fresh.key).not.toBe(old.key)
    expect(await identity(old.key)).toMatchObject({ unknown: true })
    expect(await identity(fresh.key)).toMatchObject({
      identity: {
        spend: 1_250_000_000,
        limits: [
          { scope: `key|${fresh.token}`, spent: 1_250_000_000 },
          { scope: `key|${fresh.token}|window|30d`, spent: 7, resetAt: Date.UTC(2026, 11, 1) },
        ],
      },
    })
    expect(await run(`select scope from spend where scope like 'key|${old.token}%'`)).toEqual([])
    expect((await gateway.counters.peek([`key|${fresh.token}`]))[0]).toMatchObject({ spent: 1_250_000_000 })
    expect(forgotten).toEqual(expect.arrayContaining([old.token, fresh.token]))
  })

  it('takes a key of one’s own, in the path or the body, and refuses what is none', async () => {
    const { token } = await made({})
    expect(await regenerated({ new_key: 'sk-my-next-key' }, `/key/${token}/regenerate`)).toMatchObject({ key: 'sk-my-next-key' })
    expect((await post('/key/regenerate', { key: 'sk-my-next-key', new_key: 'mine' })).status).toBe(400)
    expect((await post('/key/regenerate', { key: 'sk-nobody-has-this' })).status).toBe(404)
    expect((await post('/key/regenerate', { key: 'sk-my-next-key', new_master_key: 'sk-1' })).status).toBe(400)
    expect((await post('/key/regenerate', { key: 'sk-my-next-key', grace_period: 'soon' })).status).toBe(400)
    const taken = await made({})
    expect((await post('/key/regenerate', { key: 'sk-my-next-key', new_key: taken.key })).status).toBe(400)
    expect(await identity('sk-my-next-key')).toMatchObject({ identity: { keyHash: sha256('sk-my-next-key') } })
  })

  it('counts what was booked on a hash that comes back to its key', async () => {
    const first = await made({ spend: 1, max_budget: 9 })
    const second = await regenerated({ key: first.key })
    // A call that began before the rotation is booked after it.
    await run(`insert into spend (scope, spent_nano, revision) values ('key|${first.token}', 250000000, 1)`)
    expect(await regenerated({ key: second.key, new_key: first.key })).toMatchObject({ token: first.token, spend: 1.25 })
    expect(await identity(second.key)).toMatchObject({ unknown: true })
  })

  it('lets the old key work on for the grace period, through two rotations, as the newest', async () => {
    const first = await made({ key_alias: 'graceful' })
    const second = await regenerated({ key: first.key, grace_period: '2h' })
    const third = await regenerated({ key: second.key, grace_period: '1h' })
    expect(await identity(first.key)).toMatchObject({ identity: { keyHash: third.token, expires: clock.now() + 2 * HOUR } })
    clock.advance(HOUR)
    expect(await identity(second.key)).toMatchObject({ unknown: true })
    expect(await identity(first.key)).toMatchObject({ identity: { keyHash: third.token } })
    await post('/key/delete', { keys: [third.key] })
    expect(await identity(first.key)).toMatchObject({ unknown: true })
  })
})

describe('rotation by itself', () => {
  const keys = (env: Record<string, string>) =>
    createKeys({
      db: gateway.test.db,
      identities: { find: async () => null, changed: () => undefined, open: false },
      counters: gateway.counters,
      config: () => configOf({}),
      env,
      clock,
      log: silentLog,
    })

  it('replaces keys that are due once, counts, and says when the next is', async () => {
    const due = await made({ key_alias: 'rotating', auto_rotate: true, rotation_interval: '1d' })
    const later = await made({ auto_rotate: true, rotation_interval: '30d' })
    expect(due).toMatchObject({ key_rotation_at: new Date(clock.now() + 24 * HOUR).toISOString(), rotation_count: 0 })
    clock.advance(24 * HOUR)
    const { rotateDue } = keys({ LITELLM_KEY_ROTATION_GRACE_PERIOD: '1h' })
    await Promise.all([rotateDue(), rotateDue()])
    await rotateDue()
    const [row] = await run(
      `select token, rotation_count, last_rotation_at, key_rotation_at from keys where key_alias = 'rotating'`,
    )
    expect(row).toMatchObject({
      rotation_count: 1,
      last_rotation_at: new Date(clock.now()),
      key_rotation_at: new Date(clock.now() + 24 * HOUR),
    })
    expect(row?.['token']).not.toBe(due.token)
    expect(await identity(due.key)).toMatchObject({ identity: { keyHash: row?.['token'] } })
    expect(await identity(later.key)).toMatchObject({ identity: { keyHash: later.token } })
  })

  it('ends when it is turned off', async () => {
    const { token } = await made({ auto_rotate: true, rotation_interval: '1d' })
    expect((await post('/key/update', { key: token, auto_rotate: false })).body).toMatchObject({ key_rotation_at: null })
    expect((await post('/key/update', { key: token, auto_rotate: true })).body).toMatchObject({
      key_rotation_at: new Date(clock.now() + 24 * HOUR).toISOString(),
    })
  })

  it('runs as a job only where the environment asks for it', () => {
    const rotation = keys({})
    expect(keyRotationJob(rotation, {})).toBeNull()
    expect(keyRotationJob(rotation, { LITELLM_KEY_ROTATION_ENABLED: 'true' })).toMatchObject({ every: 86_400_000 })
    const env = { LITELLM_KEY_ROTATION_ENABLED: 'True', LITELLM_KEY_ROTATION_CHECK_INTERVAL_SECONDS: '60' }
    expect(keyRotationJob(rotation, env)).toMatchObject({ every: 60_000 })
  })
})

describe('claims that stand for keys', () => {
  it('are made, changed, listed and deleted, follow the key through rotations, and never show its hash', async () => {
    const { key, token } = await made({})
    const claim = { jwt_claim_name: 'sub', jwt_claim_value: 'ann', key }
    const { status, body, text } = await post('/jwt/key/mapping/new', claim)
    expect([status, body]).toMatchObject([200, { jwt_claim_name: 'sub', jwt_claim_value: 'ann', is_active: true }])
    expect(text).not.toContain(token)
    const { id } = body as { id: string }
    expect((await post('/jwt/key/mapping/new', claim)).status).toBe(400)
    expect((await post('/jwt/key/mapping/new', { ...claim, jwt_claim_value: 'x', key: 'sk-nobody-has-this' })).status).toBe(400)
    expect((await post('/jwt/key/mapping/update', { id, is_active: false })).body).toMatchObject({ id, is_active: false })
    const fresh = await regenerated({ key })
    expect(await run(`select token from jwt_key_mappings`)).toEqual([{ token: fresh.token }])
    expect((await gateway.call('GET', '/jwt/key/mapping/list')).body).toMatchObject({ mappings: [{ id }], total_count: 1 })
    expect((await gateway.call('GET', `/jwt/key/mapping/info?id=${id}`)).status).toBe(200)
    expect((await post('/jwt/key/mapping/delete', { id })).status).toBe(200)
    expect((await gateway.call('GET', `/jwt/key/mapping/info?id=${id}`)).status).toBe(404)
    expect(await run(`select action from audit_log where object_id = '${id}' order by at`)).toEqual([
      { action: 'created' },
      { action: 'updated' },
      { action: 'deleted' },
    ])
    expect((await gateway.call('GET', '/jwt/key/mapping/list', undefined, fresh.key)).status).toBe(401)
  })
})
