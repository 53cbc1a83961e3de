import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { StartHead } from '../proto/call.ts'
import type { Bus, IncomingStream } from '../shared/bus/bus.ts'
import { createMemoryHub, type MemoryHub } from '../shared/bus/memory.ts'
import { type TestClock, testClock } from '../shared/clock.ts'
import { silentLog } from '../shared/log.ts'
import { createRefusals, REFUSAL_BODY_MAX, type Refusals } from './refusals.ts'
import { identityOf, KEY, type Scene, startScene } from './testing.ts'

const delivered = () => new Promise<void>((resolve) => setImmediate(resolve))
const BODY = Buffer.from('{"error":{"message":"Slow down."}}')
const headOf = (refusedFor: number, headers: Record<string, string> = {}): StartHead => ({
  v: 1,
  status: 429,
  headers: { 'content-type': 'application/json', ...headers },
  refusedFor,
})

describe('remembered refusals', () => {
  let clock: TestClock
  let hub: MemoryHub
  let accounting: Bus
  let refusals: Refusals
  const one = identityOf({ keyHash: 'one', teamId: 't1', userId: 'u1', organizationId: 'o1', projectId: 'p1' })
  const two = identityOf({ keyHash: 'two', teamId: 't2' })
  const remember = (identity = one, endpoint = 'acompletion', head = headOf(10_000), body: Uint8Array = BODY) =>
    refusals.remember(identity, endpoint, { head, body }, refusals.changes)

  beforeEach(() => {
    clock = testClock()
    hub = createMemoryHub({ clock, log: silentLog, strict: true })
    accounting = hub.join('accounting')
    refusals = createRefusals({ bus: hub.join('edge'), clock, keys: 3 })
  })
  afterEach(async () => {
    await refusals.stop()
    await hub.close()
    expect(clock.pending).toBe(0)
  })

  it('hold for their time, for their key and their endpoint only', () => {
    expect(refusals.find(one, 'acompletion')).toBeNull()
    remember()
    expect(refusals.find(one, 'acompletion')?.head.status).toBe(429)
    expect(Buffer.from(refusals.find(one, 'acompletion')?.body as Uint8Array)).toEqual(BODY)
    expect(refusals.find(one, 'aembedding')).toBeNull()
    expect(refusals.find(two, 'acompletion')).toBeNull()
    clock.advance(9_999)
    expect(refusals.find(one, 'acompletion')).not.toBeNull()
    clock.advance(1)
    expect(refusals.find(one, 'acompletion')).toBeNull()
    expect(refusals.size).toBe(0)
  })

  it('say how long it is from now, in whole seconds; points in time and other headers stay as they were', () => {
    const told = {
      'retry-after': '42',
      'x-ratelimit-reset-requests': '42s',
      'x-ratelimit-reset-tokens': '3s',
      'x-ratelimit-reset-other': '1m0s',
      reset_at: '2026-11-21 12:00:42 UTC',
      'x-litellm-response-duration-ms': '3.5',
    }
    remember(one, 'acompletion', headOf(42_000, told))
    const headers = () => refusals.find(one, 'acompletion')?.head.headers
    clock.advance(10_500)
    expect(headers()).toEqual({
      'content-type': 'application/json',
      'retry-after': '32',
      'x-ratelimit-reset-requests': '32s',
      'x-ratelimit-reset-tokens': '0s',
      'x-ratelimit-reset-other': '1m0s',
      reset_at: '2026-11-21 12:00:42 UTC',
    })
    clock.advance(31_499)
    expect(headers()).toMatchObject({ 'retry-after': '1', 'x-ratelimit-reset-requests': '1s' })
  })

  it.each([
    ['its key', { keyHash: 'one' }],
    ['its key among others', { keyHashes: ['x', 'one'] }],
    ['its team', { teamId: 't1' }],
    ['its user', { userId: 'u1' }],
    ['its organization', { organizationId: 'o1' }],
    ['its project', { projectId: 'p1' }],
  ])('go when a change names %s, and only then', async (_, change) => {
    remember(one)
    remember(two)
    accounting.announce('identity', change)
    await delivered()
    expect(refusals.find(one, 'acompletion')).toBeNull()
    expect(refusals.find(two, 'acompletion')).not.toBeNull()
  })

  it.each([
    ['a change of anybody', 'identity'],
    ['a change of budgets', 'budget'],
  ] as const)('all go with %s', async (_, kind) => {
    remember(one)
    remember(two)
    accounting.announce(kind, kind === 'budget' ? { tags: ['a'] } : {})
    await delivered()
    expect(refusals.size).toBe(0)
  })

  it('are not kept when something changed while they were on their way', async () => {
    const asOf = refusals.changes
    accounting.announce('identity', { keyHash: 'another' })
    await delivered()
    refusals.remember(one, 'acompletion', { head: headOf(1_000), body: BODY }, asOf)
    expect(refusals.size).toBe(0)
  })

  it('stay within their bounds: the oldest key goes, a large body is not kept, none is kept for longer than a minute', () => {
    for (const keyHash of ['a', 'b', 'c', 'd']) remember(identityOf({ keyHash }))
    expect(refusals.size).toBe(3)
    expect(refusals.find(identityOf({ keyHash: 'a' }), 'acompletion')).toBeNull()
    remember(one, 'acompletion', headOf(1_000), new Uint8Array(REFUSAL_BODY_MAX + 1))
    expect(refusals.find(one, 'acompletion')).toBeNull()
    remember(two, 'acompletion', headOf(3_600_000))
    clock.advance(60_000)
    expect(refusals.find(two, 'acompletion')).toBeNull()
  })
})

describe('a flood of a refused key', () => {
  let scene: Scene
  afterEach(() => scene.stop())

  /** Sends `count` calls, one after the other, and counts answers by status. */
  async function send(count: number, key = KEY): Promise<Record<number, number>> {
    const statuses: Record<number, number> = {}
    for (let call = 1; call <= count; call += 1) {
      const answer = await fetch(`http://127.0.0.1:${scene.edge.port}/v1/chat/completions`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}` },
        body: '{"model":"gpt-test"}',
      })
      await answer.arrayBuffer()
      statuses[answer.status] = (statuses[answer.status] ?? 0) + 1
      expect(answer.headers.get('x-litellm-call-id')).toMatch(/^[0-9a-f-]{36}$/)
      if (answer.status === 429) expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
    }
    return statuses
  }

  async function start(refusedFor: number, body: Uint8Array = BODY): Promise<{ calls: string[] }> {
    const seen = { calls: [] as string[] }
    const refuse = (stream: IncomingStream) => stream.whole(headOf(refusedFor, { 'retry-after': '60' }), body)
    scene = await startScene({
      identities: { [KEY]: identityOf({ teamId: 't1' }), 'sk-other': identityOf({ keyHash: 'other' }) },
      route(stream, call) {
        seen.calls.push(call.identity.keyHash)
        if (call.identity.keyHash === 'other') stream.whole({ v: 1, status: 200, headers: {} }, Buffer.from('{}'))
        else refuse(stream)
      },
    })
    return seen
  }

  it('reaches the router once, others pass, all are counted, and a change lets the next through at once', async () => {
    const seen = await start(60_000)
    expect(await send(1)).toEqual({ 429: 1 })
    const floods = await Promise.all([send(500), send(500), send(10, 'sk-other')])
    expect(floods).toEqual([{ 429: 500 }, { 429: 500 }, { 200: 10 }])
    expect(seen.calls.filter((keyHash) => keyHash !== 'other').length).toBe(1)
    const text = await (await fetch(`http://127.0.0.1:${scene.edge.port}/metrics`)).text()
    const counted = text.match(/^litellm_proxy_failed_requests_metric_total\{.*exception_status="429".*\} (\d+)$/m)
    expect(counted?.[1]).toBe('1001')
    scene.accounting.announce('identity', { teamId: 't1' })
    await delivered()
    await send(1)
    expect(seen.calls.filter((keyHash) => keyHash !== 'other').length).toBe(2)
  })

  it('goes on when the models or the settings change', async () => {
    const seen = await start(60_000)
    await send(3)
    expect(seen.calls.length).toBe(1)
    const bucket = await scene.accounting.bucket(scene.accounting.subjects.runtimeBucket)
    await bucket.put('runtime', await bucket.get('runtime'))
    await delivered()
    await send(1)
    expect(seen.calls.length).toBe(2)
  })

  it('reaches the router each time when the router did not say for how long, or said too much', async () => {
    const seen = await start(0)
    await send(3)
    expect(seen.calls.length).toBe(3)
    await scene.stop()
    const large = await start(60_000, Buffer.from(`{"a":"${'x'.repeat(REFUSAL_BODY_MAX)}"}`))
    await send(3)
    expect(large.calls.length).toBe(3)
  })
})
