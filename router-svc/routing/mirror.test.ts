import { describe, expect, it } from 'vitest'
import { silentLog } from '../../shared/log.ts'
import type { Call } from '../call.ts'
import { identity } from '../handle.testkit.ts'
import { type InternalAnswer, type InternalCalls, type InternalRequest, InternalStream } from '../internal-call.ts'
import type { Route } from '../runtime.ts'
import { createMirror } from './mirror.ts'

const mirrored = { deployment: { mirror: 'trial' } } as Route
const plain = { deployment: {} } as Route

function call(body: Record<string, unknown> = {}, fields: object = {}): Call {
  const parsed: Record<string, unknown> = { model: 'gpt', messages: [{ role: 'user', content: 'hi' }], ...body }
  return {
    parsed,
    raw: Buffer.from(JSON.stringify(parsed)),
    identity: { ...identity, models: ['gpt'], aliases: { trial: 'other' }, limits: [{ scope: 'key|k' }] },
    options: { tags: ['mine'], metadata: parsed['metadata'] ?? null, endUser: null },
    message: { callId: 'c', headers: { 'anthropic-beta': 'b', 'idempotency-key': 'i', 'x-run-id': 'r' } },
    endpoint: { name: 'acompletion' },
    incoming: { deadline: 5_000 },
    attempts: [],
    ...fields,
  } as unknown as Call
}

function scene() {
  const made: InternalRequest[] = []
  const ends: ((answer: InternalAnswer | Error) => void)[] = []
  const calls: InternalCalls = {
    run(request) {
      made.push(request)
      return new Promise((resolve, reject) => {
        ends.push((answer) => (answer instanceof Error ? reject(answer) : resolve(answer)))
      })
    },
  }
  return { made, ends, mirror: createMirror({ calls, log: silentLog }) }
}

const settled = () => new Promise<void>((resolve) => setImmediate(resolve))

describe('a mirrored call', () => {
  it('is a copy for the other group, booked on the caller, marked, and without limits or access rules', () => {
    const { made, mirror } = scene()
    const body = { stream: true, temperature: 0, fallbacks: ['x'], metadata: { trace: 't', tags: ['mine'] } }
    mirror.mirror(call(body), mirrored)
    expect(made).toHaveLength(1)
    expect(made[0]).toMatchObject({
      body: { model: 'trial', stream: true, temperature: 0, metadata: { trace: 't' }, cache: { 'no-store': true } },
      identity: { keyHash: 'hash', models: [], aliases: {}, limits: [], tags: ['mine', 'silent-experiment'] },
      metadata: { is_silent_experiment: true },
      headers: { 'anthropic-beta': 'b' },
      deadline: 5_000,
      unlimited: true,
    })
    expect(made[0]?.body).not.toHaveProperty('fallbacks')
    expect(made[0]?.headers).not.toHaveProperty('idempotency-key')
  })

  it('is made once per call, never of a copy, and only where a deployment says so', () => {
    const { made, mirror } = scene()
    mirror.mirror(call(), plain)
    mirror.mirror(call({}, { attempts: [{}] }), mirrored)
    const request = { identity, endpoint: 'acompletion', body: {}, deadline: 1 } as const
    mirror.mirror(call({}, { incoming: new InternalStream('i', request, () => undefined) }), mirrored)
    expect(made).toEqual([])
  })

  it('is left out and counted where too many run, by number and by size', async () => {
    const { made, ends, mirror } = scene()
    for (let time = 0; time < 101; time += 1) mirror.mirror(call(), mirrored)
    expect([made.length, mirror.running, mirror.dropped]).toEqual([100, 100, 1])
    const failed = { status: 500, headers: {}, body: Buffer.alloc(0) }
    for (const [index, end] of ends.entries()) end(index % 2 === 0 ? failed : new Error('away'))
    await settled()
    expect(mirror.running).toBe(0)
    const huge = { raw: { length: 40 * 1024 * 1024 } }
    mirror.mirror(call({}, huge), mirrored)
    mirror.mirror(call({}, huge), mirrored)
    expect([mirror.running, mirror.dropped]).toEqual([1, 2])
  })
})
