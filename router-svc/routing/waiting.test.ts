import { describe, expect, it } from 'vitest'
import { LAST_PRIORITY } from '../../proto/call.ts'
import { type TestClock, testClock } from '../../shared/clock.ts'
import type { Call } from '../call.ts'
import { createWaitingRoom } from './waiting.ts'

let arrival = 0
function call(priority: number | null = null, fields: Partial<Call> = {}): Call {
  arrival += 1
  const routing = { defaultPriority: null }
  return { options: { priority }, routing, startedMonotonic: arrival, cancelled: null, stop: null, ...fields } as unknown as Call
}

function scene(limit?: number) {
  const clock: TestClock = testClock()
  const room = createWaitingRoom({ clock, ...(limit === undefined ? {} : { limit }) })
  const went: string[] = []
  const wait = (name: string, one: Call, group = 'gpt', until = clock.monotonic() + 10_000) => {
    const waiting = room.wait(one, group, until)
    void waiting.then((how) => went.push(`${name} ${how}`))
    return waiting
  }
  return { clock, room, went, wait }
}

const settled = () => new Promise<void>((resolve) => setImmediate(resolve))

describe('the waiting room', () => {
  it('lets calls go by priority, then by age, and those without a priority last', async () => {
    const { room, went, wait } = scene()
    wait('plain', call())
    wait('low', call(5))
    wait('urgent', call(0))
    wait('urgent later', call(0))
    wait('low later', call(5))
    for (let time = 0; time < 5; time += 1) room.wake('gpt')
    await settled()
    expect(went).toEqual(['urgent go', 'urgent later go', 'low go', 'low later go', 'plain go'])
    expect(room.size).toBe(0)
  })

  it('lets calls of the last priority go behind those without one', async () => {
    const { room, went, wait } = scene()
    wait('batch', call(LAST_PRIORITY))
    wait('plain', call())
    wait('low', call(LAST_PRIORITY - 1))
    for (let time = 0; time < 3; time += 1) room.wake('gpt')
    await settled()
    expect(went.at(-1)).toBe('batch go')
    expect(went).toHaveLength(3)
  })

  it('gives calls without a priority the settings’', async () => {
    const { room, went, wait } = scene()
    wait('five', call(5))
    wait('default', call(null, { routing: { defaultPriority: 1 } as Call['routing'] }))
    room.wake('gpt')
    await settled()
    expect(went).toEqual(['default go'])
    room.stop()
  })

  it('keeps the place of a call that went in vain', async () => {
    const { room, went, wait } = scene()
    const first = call()
    wait('second', call())
    wait('first', first)
    room.wake('gpt')
    await settled()
    wait('first again', first)
    room.wake('gpt')
    await settled()
    expect(went).toEqual(['first go', 'first again go'])
    room.stop()
  })

  it('wakes one call of one group, and the first of every group from time to time', async () => {
    const { clock, room, went, wait } = scene()
    wait('a1', call(), 'a')
    wait('a2', call(), 'a')
    wait('b1', call(), 'b')
    expect([room.queued('a'), room.queued('b'), room.queued('c')]).toEqual([2, 1, 0])
    room.wake('b')
    await settled()
    expect(went).toEqual(['b1 go'])
    clock.advance(40)
    await settled()
    expect(went).toEqual(['b1 go', 'a1 go'])
    clock.advance(40)
    await settled()
    expect(went).toEqual(['b1 go', 'a1 go', 'a2 go'])
    expect(clock.pending).toBe(0)
  })

  it('ends with the time a call has, with its client, and at once where it is full', async () => {
    const { clock, room, wait } = scene(2)
    const short = wait('short', call(), 'gpt', clock.monotonic() + 30)
    const leaving = call()
    const left = wait('left', leaving)
    expect(await wait('third', call())).toBe('full')
    expect(await wait('late', call(), 'gpt', clock.monotonic())).toBe('timeout')
    expect(await wait('gone', call(null, { cancelled: 'client' }))).toBe('cancelled')
    clock.advance(30)
    expect(await short).toBe('timeout')
    leaving.stop?.()
    expect(await left).toBe('cancelled')
    expect(leaving.stop).toBeNull()
    expect(room.size).toBe(0)
    expect(clock.pending).toBe(0)
  })

  it('lets everybody go when it closes, and nobody wait after that', async () => {
    const { clock, room, wait } = scene()
    const waiting = wait('a', call())
    room.stop()
    expect(await waiting).toBe('go')
    expect(await wait('a', call())).toBe('full')
    expect(clock.pending).toBe(0)
  })
})
