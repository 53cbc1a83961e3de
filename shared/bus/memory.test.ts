import { describe, expect, it } from 'vitest'
import type { FrameKind } from '../../proto/frames.ts'
import type { Role } from '../../proto/subjects.ts'
import { testClock } from '../clock.ts'
import { silentLog } from '../log.ts'
import { type BusHarness, busSuite } from './bus.suite.ts'
import type { Bus } from './bus.ts'
import { createMemoryHub } from './memory.ts'

/** Virtual milliseconds per turn of the event loop while a test waits. */
const STEP = 20

function harness(strict: boolean): BusHarness {
  const clock = testClock()
  const hub = createMemoryHub({ clock, log: silentLog, strict, acceptHold: STEP })
  return {
    join: async (role: Role) => hub.join(role),
    freeze: (bus: Bus) => hub.faults.freeze(bus.id),
    thaw: (bus: Bus) => hub.faults.thaw(bus.id),
    kill: (bus: Bus) => hub.faults.kill(bus.id),
    dropFrames: (drop: (kind: FrameKind, seq: number, streamId: string) => boolean) => {
      hub.faults.drop = drop
    },
    async until<Value>(promise: Promise<Value>): Promise<Value> {
      let settled = false
      const mark = () => {
        settled = true
      }
      promise.then(mark, mark)
      while (!settled) {
        await new Promise((resolve) => setImmediate(resolve))
        if (!settled) clock.advance(STEP)
      }
      return promise
    },
    async close() {
      await hub.close()
      expect(clock.pending).toBe(0)
    },
  }
}

busSuite('memory', async () => harness(false))
busSuite('memory, strict', async () => harness(true))

describe('memory bus', () => {
  it('hands bytes over by reference', async () => {
    const hub = createMemoryHub({ clock: testClock(), log: silentLog })
    const edge = hub.join('edge')
    const router = hub.join('router')
    const body = new Uint8Array(10 * 1024 * 1024)
    const got = new Promise<Uint8Array | null>((resolve) => {
      router.serve(edge.subjects.call('default'), 'router', (stream) => resolve(stream.body))
    })
    edge.open(
      edge.subjects.call('default'),
      { id: 'a', head: {}, body, deadline: 1_000 },
      { start() {}, data() {}, end() {}, error() {} },
    )
    expect(await got).toBe(body)
    await hub.close()
  })

  it('freezes what it carries in strict mode, so that no part changes what another holds', async () => {
    const hub = createMemoryHub({ clock: testClock(), log: silentLog, strict: true })
    const edge = hub.join('edge')
    const bucket = await edge.bucket('b')
    await bucket.put('key', { inner: { list: [1] } })
    const value = (await bucket.get('key')) as { inner: { list: number[] } }
    expect(() => value.inner.list.push(2)).toThrow(TypeError)
    await hub.close()
  })

  it('rejects events past its capacity instead of growing', async () => {
    const hub = createMemoryHub({ clock: testClock(), log: silentLog })
    const edge = hub.join('edge')
    const appended = Array.from({ length: 50 }, () => edge.append('0', new Array(1_000).fill({})))
    const results = Promise.allSettled([...appended, edge.append('0', [{}])])
    await hub.close()
    const codes = (await results).map((result) => (result.status === 'rejected' ? result.reason.code : 'kept'))
    expect(codes).toEqual([...new Array(50).fill('draining'), 'overloaded'])
  })

  it('does not admit two processes of one name', () => {
    const hub = createMemoryHub({ clock: testClock(), log: silentLog })
    hub.join('edge', 'one')
    expect(() => hub.join('router', 'one')).toThrow('one')
  })
})
