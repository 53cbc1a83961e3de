import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestClock, testClock } from '../../shared/clock.ts'
import { hashKey } from '../../shared/config/secrets.ts'
import { type AccountingFixture, NOON, startAccounting } from '../gateway-fixture.ts'
import { passwordFits } from '../identity/password.ts'

type Body = Record<string, unknown>

const DAY = 86_400_000
let clock: TestClock
let gateway: AccountingFixture

beforeAll(async () => {
  clock = testClock(NOON)
  gateway = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'], { clock })
  await query(`insert into users (user_id, user_role, user_email) values ('watch', 'proxy_admin_viewer', null),
    ('ann', 'internal_user', 'ann@example.com'), ('bob', 'internal_user', null)`)
  for (const user of ['watch', 'ann']) {
    await query("insert into keys (token, key_name, user_id) values ($1, 'sk-...', $2)", [hashKey(`sk-${user}`), user])
  }
})
afterAll(() => gateway.close())

const post = (path: string, body?: unknown, key?: string | null) => gateway.call('POST', path, body, key)
const get = (path: string, key?: string | null) => gateway.call('GET', path, undefined, key)
const query = <Row = Body>(text: string, values: unknown[] = []) => gateway.test.db.query<Row>(text, values)
const claim = (link: string, user_id: string, password: string) =>
  post('/onboarding/claim_token', { invitation_link: link, user_id, password }, null)
const passwordOf = async (user: string): Promise<string> =>
  (await query<{ password: string | null }>('select password from users where user_id = $1', [user]))[0]?.password ?? ''

async function invited(user: string): Promise<string> {
  const { status, body } = await post('/invitation/new', { user_id: user })
  expect(status, JSON.stringify(body)).toBe(200)
  return String((body as Body)['id'])
}

describe('/invitation', () => {
  it('invites a user for seven days', async () => {
    const { body } = await post('/invitation/new', { user_id: 'ann' })
    expect(body).toMatchObject({
      user_id: 'ann',
      is_accepted: false,
      accepted_at: null,
      expires_at: new Date(NOON + 7 * DAY).toISOString(),
      created_by: 'default_user_id',
    })
    expect((await get(`/invitation/info?invitation_id=${(body as Body)['id']}`)).body).toEqual(body)
  })

  it('invites nobody who is not there', async () => {
    const { status, body } = await post('/invitation/new', { user_id: 'ghost' })
    expect(status).toBe(400)
    expect(body).toMatchObject({ error: { param: 'user_id' } })
  })

  it('can be taken back, and closed', async () => {
    const first = await invited('ann')
    expect((await post('/invitation/delete', { invitation_id: first })).status).toBe(200)
    expect((await claim(first, 'ann', 'long enough')).status).toBe(404)
    expect((await post('/invitation/delete', { invitation_id: first })).status).toBe(404)
    const second = await invited('ann')
    expect((await post('/invitation/update', { invitation_id: second, is_accepted: true })).body).toMatchObject({
      is_accepted: true,
      accepted_at: new Date(NOON).toISOString(),
    })
    expect((await claim(second, 'ann', 'long enough')).status).toBe(404)
    expect((await post('/invitation/update', { invitation_id: second, is_accepted: false })).status).toBe(422)
  })

  it('never puts its id where readers of the audit log find it', async () => {
    const id = await invited('ann')
    await post('/invitation/update', { invitation_id: id, is_accepted: true })
    const rows = await query("select * from audit_log where table_name = 'invitations' and object_id = 'ann'")
    expect(rows.length).toBeGreaterThan(1)
    expect(JSON.stringify(await query('select * from audit_log'))).not.toContain(id)
  })

  it('is for admins', async () => {
    for (const key of ['sk-watch', 'sk-ann']) {
      expect((await post('/invitation/new', { user_id: 'ann' }, key)).status).toBe(401)
      expect((await post('/invitation/delete', { invitation_id: 'x' }, key)).status).toBe(401)
      expect((await post('/invitation/update', { invitation_id: 'x', is_accepted: true }, key)).status).toBe(401)
    }
    expect((await get('/invitation/info?invitation_id=x', 'sk-ann')).status).toBe(401)
  })
})

describe('/onboarding', () => {
  it('tells the holder of an invitation who it is for, as often as they look', async () => {
    const id = await invited('ann')
    for (let look = 0; look < 2; look++) {
      expect((await get(`/onboarding/get_token?invite_link=${id}`, null)).body).toEqual({
        user_id: 'ann',
        user_email: 'ann@example.com',
        expires_at: new Date(clock.now() + 7 * DAY).toISOString(),
      })
    }
  })

  it('sets the password once', async () => {
    const id = await invited('ann')
    expect((await claim(id, 'ann', 'first password')).status).toBe(200)
    expect((await claim(id, 'ann', 'second password')).status).toBe(404)
    expect((await get(`/onboarding/get_token?invite_link=${id}`, null)).status).toBe(404)
    expect(await passwordFits('first password', await passwordOf('ann'))).toBe(true)
    expect((await get(`/invitation/info?invitation_id=${id}`)).body).toMatchObject({ is_accepted: true, updated_by: 'ann' })
  })

  it('sets the password once, however many try at the same time', async () => {
    const id = await invited('ann')
    const tries = await Promise.all(Array.from({ length: 5 }, (_, index) => claim(id, 'ann', `password number ${index}`)))
    expect(tries.map(({ status }) => status).sort()).toEqual([200, 404, 404, 404, 404])
    const winner = tries.findIndex(({ status }) => status === 200)
    expect(await passwordFits(`password number ${winner}`, await passwordOf('ann'))).toBe(true)
  })

  it('sets nobody else’s password', async () => {
    const id = await invited('ann')
    expect((await claim(id, 'bob', 'long enough')).status).toBe(404)
    expect(await passwordOf('bob')).toBe('')
    expect((await claim(id, 'ann', 'long enough')).status).toBe(200)
  })

  it('is over after seven days', async () => {
    const id = await invited('ann')
    clock.advance(7 * DAY - 1)
    expect((await get(`/onboarding/get_token?invite_link=${id}`, null)).status).toBe(200)
    clock.advance(1)
    expect((await get(`/onboarding/get_token?invite_link=${id}`, null)).status).toBe(404)
    expect((await claim(id, 'ann', 'long enough')).status).toBe(404)
  })

  it('asks for a password of 8 characters', async () => {
    const { status, body } = await claim(await invited('ann'), 'ann', 'short')
    expect(status).toBe(422)
    expect(body).toMatchObject({ detail: [{ loc: ['body', 'password'] }] })
  })

  it('is written down as the user’s own doing', async () => {
    expect(
      await query("select distinct changed_by, updated_values from audit_log where changed_by_api_key = 'invitation'"),
    ).toEqual([{ changed_by: 'ann', updated_values: { password: '***' } }])
  })
})
