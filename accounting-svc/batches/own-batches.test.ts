import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { CallMessage } from '../../proto/call.ts'
import { MASTER_KEY_ALIAS } from '../../proto/identity.ts'
import type { ObjectOwner, ObjectsReply } from '../../proto/objects.ts'
import { type OwnBatchesAsk, type OwnBatchesReply, PART_BYTES } from '../../proto/own-batches.ts'
import type { Bus, IncomingStream } from '../../shared/bus/bus.ts'
import { createCodec } from '../../shared/bus/codec.ts'
import { systemClock, testClock } from '../../shared/clock.ts'
import { silentLog } from '../../shared/log.ts'
import { type AccountingFixture, startAccounting } from '../gateway-fixture.ts'
import { claimLines, findBatch, recordLine, releaseHeld } from '../sql/own-batches.ts'
import { createOwnFiles } from './own-files.ts'
import { createLineRunner } from './run-lines.ts'
import { batchSettings } from './settings.ts'

const ENDPOINT = '/v1/embeddings'
const DAY = 86_400_000
const nobody = { keyAlias: null, userId: null, teamId: null, organizationId: null, projectId: null }
const OWNER: ObjectOwner = { ...nobody, keyHash: MASTER_KEY_ALIAS, userId: 'u' }

let gateway: AccountingFixture
let router: Bus
let calls: CallMessage[]
let bodies: string[]
/** What the router does with a call; replaced by tests. */
let serve: (stream: IncomingStream, text: string) => void

beforeAll(async () => {
  gateway = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'], {
    config: { turnpike_settings: { batch_file_mb: 3, batch_storage_mb: 12, batch_parallel_lines: 4 } },
  })
  router = gateway.hub.join('router')
  router.serve(router.subjects.call('default'), 'router', (stream) => {
    calls.push(stream.head as CallMessage)
    const text = Buffer.from(stream.body ?? []).toString()
    bodies.push(text)
    serve(stream, text)
  })
})
afterAll(() => gateway.close())
beforeEach(() => {
  calls = []
  bodies = []
  serve = (stream, text) => answer(stream, 200, { echo: (JSON.parse(text) as { input: string }).input })
})

function answer(stream: IncomingStream, status: number, body: unknown): void {
  setImmediate(() => {
    if (!stream.closed) stream.whole({ v: 1, status, headers: {} }, Buffer.from(JSON.stringify(body)))
  })
}

async function ask(asked: OwnBatchesAsk): Promise<Record<string, unknown>> {
  const reply = await router.request(router.subjects.ownBatches, { v: 1, ...asked }, { timeout: 10_000 })
  return (reply as OwnBatchesReply).object ?? {}
}

async function upload(text: string, owner = OWNER): Promise<string> {
  const bytes = Buffer.from(text)
  const begun = { filename: 'in.jsonl', purpose: 'batch', bytes: bytes.length, lifetime: null }
  const id = (await ask({ ask: 'begin file', owner, ...begun }))['id'] as string
  for (let part = 0; part * PART_BYTES < bytes.length; part += 1)
    await ask({ ask: 'put part', id, part, content: bytes.subarray(part * PART_BYTES, (part + 1) * PART_BYTES) })
  await ask({ ask: 'end file', id })
  return id
}

async function download(id: unknown): Promise<string> {
  const parts: Uint8Array[] = []
  for (;;) {
    const asked = { v: 1, ask: 'read part', id, part: parts.length }
    const { content } = (await router.request(router.subjects.ownBatches, asked, { timeout: 10_000 })) as OwnBatchesReply
    if (content == null) return Buffer.concat(parts).toString()
    parts.push(content)
  }
}

const inputOf = (count: number, input = (n: number): string => `text ${n}`): string =>
  Array.from({ length: count }, (_, n) =>
    JSON.stringify({ custom_id: `r${n}`, method: 'POST', url: ENDPOINT, body: { model: 'm', input: input(n) } }),
  ).join('\n')

async function create(fileId: string, window = '24h', owner = OWNER): Promise<string> {
  const fields = { endpoint: ENDPOINT, window, metadata: { a: 'b' }, lifetime: null }
  return (await ask({ ask: 'create batch', owner, fileId, ...fields }))['id'] as string
}

async function status(id: string, wanted: string): Promise<Record<string, unknown>> {
  await expect.poll(async () => (await ask({ ask: 'read batch', id }))['status'], { timeout: 20_000, interval: 20 }).toBe(wanted)
  return ask({ ask: 'read batch', id })
}

const linesIn = (text: string): Record<string, unknown>[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>)

describe('batches of the gateway’s own', () => {
  it('are shared by processes, each line called once, behind everybody else and as its batch', async () => {
    const bus = gateway.hub.join('accounting')
    const second = createLineRunner({
      db: gateway.test.db,
      bus,
      codec: createCodec(),
      clock: systemClock,
      log: silentLog,
      identities: { find: async () => null },
      settings: () => ({ fileBytes: 0, ownerBytes: 0, fileLifetime: DAY, atOnce: 4, inAll: 32 }),
    })
    let running = 0
    let most = 0
    serve = (stream, text) => {
      running += 1
      most = Math.max(most, running)
      setImmediate(() => {
        running -= 1
        answer(stream, 200, { echo: (JSON.parse(text) as { input: string }).input })
      })
    }
    const id = await create(await upload(inputOf(120)))
    const done = await status(id, 'completed')
    await second.stop()
    expect(done).toMatchObject({
      request_counts: { total: 120, completed: 120, failed: 0 },
      error_file_id: null,
      metadata: { a: 'b' },
    })
    const output = linesIn(await download(done['output_file_id']))
    expect(output).toMatchObject(
      Array.from({ length: 120 }, (_, n) => ({
        custom_id: `r${n}`,
        response: { status_code: 200, body: { echo: `text ${n}` } },
      })),
    )
    expect(new Set(calls.map(({ callId }) => callId)).size).toBe(120)
    expect(calls.length).toBe(120)
    expect(most).toBeLessThanOrEqual(4)
    expect(new Set(calls.map(({ headers }) => headers['idempotency-key'])).size).toBe(120)
    expect(calls[0]).toMatchObject({ endpoint: 'aembedding', identity: { keyHash: MASTER_KEY_ALIAS }, take: 1 })
    expect(JSON.parse(bodies[0] as string)).toMatchObject({
      priority: Number.MAX_SAFE_INTEGER,
      litellm_metadata: { batch_id: id },
    })
    const request = { v: 1, kind: 'batch', owners: ['user:u'], limit: 10, order: 'desc' }
    const { objects } = (await router.request(router.subjects.objects, request, { timeout: 5_000 })) as ObjectsReply
    // Every line is booked by itself: of the batch there is nothing to be booked.
    expect(objects).toMatchObject([{ id, deploymentId: 'turnpike', settled: true, facts: { status: 'completed' } }])
  })

  it('go on with the same call where a process died, and take the first result alone', async () => {
    const { db } = gateway.test
    let held = true
    serve = (stream, text) => (held ? stream.refuse({ code: 'overloaded', message: 'full' }) : answer(stream, 200, { text }))
    const id = await create(await upload(inputOf(1)))
    await expect.poll(() => calls.length, { timeout: 10_000 }).toBeGreaterThan(0)
    const by = { holder: 'dead', lease: 60_000, now: Date.now() + DAY, most: 5, atOnce: 50, inAll: 50 }
    const claimed = async () => claimLines(db, id, by)
    let [mine] = await claimed()
    for (; mine === undefined; [mine] = await claimed()) await new Promise((resolve) => setImmediate(resolve))
    expect(await claimed()).toEqual([])
    held = false
    calls = []
    await releaseHeld(db, 'dead')
    const done = await status(id, 'completed')
    expect(calls[0]).toMatchObject({ callId: mine.callId })
    expect(calls[0]?.take).toBeGreaterThan(mine.takes)
    expect(await recordLine(db, id, { ...mine, state: 'answered', result: '{"late":true}' })).toBe(false)
    expect(linesIn(await download(done['output_file_id']))).toHaveLength(1)
  })

  it('try lines again that failed in passing, each as another call, and tell of those that do not', async () => {
    serve = (stream, text) => answer(stream, text.includes('text 1') || calls.length <= 2 ? 500 : 200, { text })
    const id = await create(await upload(inputOf(2)))
    await status(id, 'in_progress')
    await expect.poll(() => calls.length, { timeout: 10_000 }).toBeGreaterThanOrEqual(4)
    expect(new Set(calls.map(({ callId }) => callId)).size).toBe(calls.length)
    expect(calls.every(({ take }) => take === 1)).toBe(true)
    await ask({ ask: 'cancel batch', id })
    const done = await status(id, 'cancelled')
    expect(done).toMatchObject({ request_counts: { total: 2, completed: 1, failed: 1 } })
    expect(linesIn(await download(done['error_file_id']))).toMatchObject([
      { custom_id: 'r1', response: null, error: { code: 'batch_cancelled' } },
    ])
    expect((await ask({ ask: 'cancel batch', id }))['status']).toBe('cancelled')
  })

  it('write results of any size, in parts', async () => {
    serve = (stream, text) => {
      const { input } = JSON.parse(text) as { input: string }
      answer(stream, 200, { echo: input.charAt(0).repeat(1_400_000) })
    }
    const id = await create(await upload(inputOf(7, (n) => String(n).repeat(370_000))))
    const done = await status(id, 'completed')
    const text = await download(done['output_file_id'])
    const echo = (n: number): unknown => ({ custom_id: `r${n}`, response: { body: { echo: String(n).repeat(1_400_000) } } })
    expect(linesIn(text)).toMatchObject([0, 1, 2, 3, 4, 5, 6].map(echo))
    expect(await ask({ ask: 'read file', id: done['output_file_id'] as string })).toMatchObject({
      bytes: Buffer.byteLength(text),
      purpose: 'batch_output',
    })
  })

  it('fail where nobody is there any more to call for', async () => {
    const id = await create(await upload(inputOf(3), { ...OWNER, keyHash: 'f'.repeat(64) }), '24h', {
      ...OWNER,
      keyHash: 'f'.repeat(64),
    })
    const done = await status(id, 'failed')
    expect(done).toMatchObject({
      errors: { object: 'list', data: [{ code: 'invalid_api_key' }] },
      request_counts: { total: 3, failed: 3 },
    })
    expect(calls).toEqual([])
  })

  it('refuse what no batch can be of', async () => {
    const fileId = await upload(inputOf(1))
    const good = {
      ask: 'create batch',
      owner: OWNER,
      fileId,
      endpoint: ENDPOINT,
      window: '24h',
      metadata: null,
      lifetime: null,
    } as const
    await expect(ask({ ...good, endpoint: '/v1/images/generations' })).rejects.toMatchObject({
      code: 'bad_request',
      param: 'endpoint',
    })
    for (const window of ['', '24', '0h', '15d', '1w'])
      await expect(ask({ ...good, window })).rejects.toMatchObject({ code: 'bad_request', param: 'completion_window' })
    await expect(ask({ ...good, metadata: { n: 1 } })).rejects.toMatchObject({ code: 'bad_request', param: 'metadata' })
    await expect(ask({ ...good, fileId: 'file-none' })).rejects.toMatchObject({ code: 'not_found' })
    await expect(ask({ ask: 'read batch', id: 'batch_none' })).rejects.toMatchObject({ code: 'not_found' })
    expect(await findBatch(gateway.test.db, 'batch_none')).toBeUndefined()
  })
})

describe('files of the gateway’s own', () => {
  const owner: ObjectOwner = { ...nobody, keyHash: 'k', teamId: 'files' }
  const begun = { ask: 'begin file', owner, filename: 'x', purpose: 'batch', lifetime: null } as const

  it('have a limit each, and one for all of an owner', async () => {
    await expect(ask({ ...begun, bytes: 3 * 1024 * 1024 + 1 })).rejects.toMatchObject({ code: 'body_too_large' })
    const begin = (): Promise<unknown> => ask({ ...begun, bytes: 3 * 1024 * 1024 })
    const all = await Promise.allSettled(Array.from({ length: 6 }, begin))
    expect(all.filter(({ status }) => status === 'fulfilled')).toHaveLength(4)
    await expect(ask({ ...begun, owner: { ...owner, teamId: 'other' }, bytes: 1 })).resolves.toMatchObject({ object: 'file' })
  })

  it('are there once they are whole, and gone when deleted', async () => {
    const mine = { ...owner, teamId: 'whole' }
    const id = (await ask({ ...begun, owner: mine, bytes: 3 }))['id'] as string
    await ask({ ask: 'put part', id, part: 0, content: Buffer.from('ab') })
    await expect(ask({ ask: 'read file', id })).rejects.toMatchObject({ code: 'not_found' })
    await expect(ask({ ask: 'end file', id })).rejects.toMatchObject({ code: 'bad_request' })
    await ask({ ask: 'put part', id, part: 1, content: Buffer.from('c') })
    expect(await ask({ ask: 'end file', id })).toMatchObject({ id, bytes: 3, object: 'file', purpose: 'batch' })
    expect(await ask({ ask: 'end file', id })).toMatchObject({ id })
    expect(await download(id)).toBe('abc')
    await expect(ask({ ask: 'put part', id, part: 0, content: Buffer.from('x') })).rejects.toMatchObject({ code: 'not_found' })
    expect(await ask({ ask: 'delete file', id })).toEqual({ id, object: 'file', deleted: true })
    await expect(ask({ ask: 'read file', id })).rejects.toMatchObject({ code: 'not_found' })
    expect(await download(id)).toBe('')
  })

  it('end with their time, and uploads that never ended with an hour', async () => {
    const clock = testClock(Date.now())
    const { db } = gateway.test
    const files = createOwnFiles({ db, clock, settings: () => batchSettings({ turnpike_settings: {} } as never) })
    const file = { filename: 'x', purpose: 'batch', bytes: 1, owner: { ...owner, teamId: 'time' } }
    const kept = (await files.begin({ ...file, lifetime: 2 * 3_600_000 }))['id'] as string
    await files.put(kept, 0, Buffer.from('x'))
    await files.end(kept)
    const never = (await files.begin({ ...file, lifetime: null }))['id'] as string
    clock.advance(3_600_000)
    await files.sweep()
    await expect(files.put(never, 0, Buffer.from('x'))).rejects.toMatchObject({ code: 'not_found' })
    expect(await files.read(kept)).toMatchObject({ id: kept })
    clock.advance(3_600_000)
    await files.sweep()
    await expect(files.read(kept)).rejects.toMatchObject({ code: 'not_found' })
  })
})
