import { afterEach, describe, expect, it } from 'vitest'
import { type AccountingFixture, event, startAccounting } from '../gateway-fixture.ts'

let gateway: AccountingFixture | null = null
afterEach(async () => {
  await gateway?.close()
  gateway = null
})

describe('/spend/rejected', () => {
  it('lists what could not be booked and books it again when it can be, once', async () => {
    gateway = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'])
    const { call, test, hub } = gateway
    const bad = { ...event({ callId: 'bad', userId: 'u1' }), attempts: 'none' }
    await hub.join('router').append('0', [bad, event({ callId: 'good' })])
    const listed = (await call('GET', '/spend/rejected')).body as { total: number; data: { id: string; event: string }[] }
    expect(listed).toMatchObject({ total: 1, next: null, data: [{ reason: 'attempts' }] })
    expect(JSON.parse(listed.data[0]?.event ?? '')).toMatchObject({ callId: 'bad' })

    expect((await call('POST', '/spend/rejected/replay', {})).body).toEqual({ booked: 0, rejected: 1 })
    expect((await call('GET', '/spend/rejected')).body).toMatchObject({ total: 1 })

    // What was wrong is put right, as a person or a newer program would.
    await test.db.query(`update ledger_rejected set event = $1`, [JSON.stringify(event({ callId: 'bad', userId: 'u1' }))])
    const replay = await call('POST', '/spend/rejected/replay', { ids: [listed.data[0]?.id] })
    expect(replay.body).toEqual({ booked: 1, rejected: 0 })
    expect((await call('POST', '/spend/rejected/replay', {})).body).toEqual({ booked: 0, rejected: 0 })
    expect((await call('GET', '/spend/rejected')).body).toEqual({ total: 0, next: null, data: [] })
    expect(await test.db.query(`select call_id, calls from ledger order by call_id`)).toEqual([
      { call_id: 'bad', calls: 1 },
      { call_id: 'good', calls: 1 },
    ])
    expect(await test.db.query(`select count(*)::int as count from audit_log where table_name = 'ledger_rejected'`)).toEqual([
      { count: 3 },
    ])
  })

  it('is for administrators', async () => {
    gateway = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'])
    const { key } = (await gateway.call('POST', '/key/generate', {})).body as { key: string }
    expect((await gateway.call('GET', '/spend/rejected', undefined, key)).status).toBe(401)
    expect((await gateway.call('POST', '/spend/rejected/replay', {}, key)).status).toBe(401)
  })
})
