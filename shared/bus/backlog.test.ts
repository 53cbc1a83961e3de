import { describe, expect, it } from 'vitest'
import { Backlog } from './backlog.ts'

const MEGABYTE = 1024 * 1024

function setting() {
  const flushes: { resolve(): void; reject(error: Error): void }[] = []
  let opened = 0
  const backlog = new Backlog(
    () => new Promise((resolve, reject) => flushes.push({ resolve: () => resolve(), reject })),
    () => {
      opened += 1
    },
  )
  const turn = () => new Promise((resolve) => setImmediate(resolve))
  return { backlog, flushes, turn, opened: () => opened }
}

describe('backlog', () => {
  it('asks how much has arrived after a megabyte, one question at a time', async () => {
    const { backlog, flushes, turn } = setting()
    backlog.add(MEGABYTE - 1)
    expect(flushes.length).toBe(0)
    for (let n = 0; n < 10; n++) backlog.add(MEGABYTE)
    expect(flushes.length).toBe(1)
    flushes[0]?.resolve()
    await turn()
    // What was published meanwhile is asked for next.
    expect(flushes.length).toBe(2)
    expect(backlog.bytes).toBe(9 * MEGABYTE)
  })

  it('is not writable past 16 MB until half of that has arrived', async () => {
    const { backlog, flushes, turn, opened } = setting()
    for (let n = 0; n < 15; n++) backlog.add(MEGABYTE)
    expect(backlog.writable).toBe(true)
    backlog.add(MEGABYTE)
    expect(backlog.writable).toBe(false)
    flushes[0]?.resolve()
    await turn()
    expect(backlog.writable).toBe(false)
    flushes[1]?.resolve()
    await turn()
    expect(backlog.writable).toBe(true)
    expect(opened()).toBe(1)
    expect(backlog.bytes).toBe(0)
  })

  it('starts afresh with a new connection', async () => {
    const { backlog, flushes, turn, opened } = setting()
    backlog.add(20 * MEGABYTE)
    flushes[0]?.reject(new Error('disconnected'))
    await turn()
    expect(backlog.writable).toBe(false)
    expect(flushes.length).toBe(1)
    backlog.reset()
    expect(backlog.writable).toBe(true)
    expect(opened()).toBe(1)
    backlog.add(2 * MEGABYTE)
    expect(flushes.length).toBe(2)
  })
})
