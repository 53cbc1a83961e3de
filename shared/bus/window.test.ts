import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CREDIT_FLOOR, CREDIT_MAX, CREDIT_POOL, CREDIT_START } from '../../proto/frames.ts'
import { testClock } from '../clock.ts'
import { Window, WindowPool } from './window.ts'

function setting() {
  const clock = testClock()
  const pool = new WindowPool()
  return { clock, pool, open: () => new Window(pool, clock, clock.monotonic()) }
}

describe('credit window', () => {
  it('begins small and grows for a reader that is fast, up to its limit', () => {
    const { clock, open } = setting()
    const window = open()
    expect(window.initial).toBe(CREDIT_START)
    let outstanding = window.initial
    let largest = 0
    for (let n = 0; n < 100; n++) {
      clock.advance(1)
      outstanding -= 8_000
      outstanding += window.consume(8_000)
      largest = Math.max(largest, outstanding)
    }
    expect(largest).toBeGreaterThan(CREDIT_MAX - 8_000)
    expect(largest).toBeLessThanOrEqual(CREDIT_MAX)
  })

  it('stays small for a reader that is slow', () => {
    const { clock, open } = setting()
    const window = open()
    let outstanding = window.initial
    for (let n = 0; n < 200; n++) {
      clock.advance(100)
      outstanding -= 8_000
      outstanding += window.consume(8_000)
      expect(outstanding).toBeLessThanOrEqual(CREDIT_START)
    }
  })

  it('grants in halves of a window, not for every chunk', () => {
    const { clock, open } = setting()
    const window = open()
    let grants = 0
    for (let n = 0; n < 1_000; n++) {
      clock.advance(10)
      if (window.consume(100) > 0) grants += 1
    }
    expect(grants).toBeLessThanOrEqual(4)
  })

  it('keeps ten thousand windows under the pool', () => {
    const { clock, pool, open } = setting()
    const windows = Array.from({ length: 10_000 }, open)
    expect(pool.used).toBeLessThanOrEqual(CREDIT_POOL)
    for (let round = 0; round < 20; round++) {
      clock.advance(5)
      for (const window of windows) {
        window.consume(1_500)
        expect(pool.used).toBeLessThanOrEqual(CREDIT_POOL)
      }
    }
    for (const window of windows) window.close()
    expect(pool.used).toBe(0)
  })

  it('gives way when others come', () => {
    const { clock, pool, open } = setting()
    const first = open()
    let outstanding = first.initial
    for (let n = 0; n < 100; n++) outstanding += first.consume(50_000) - Math.min(50_000, outstanding)
    const others = Array.from({ length: 5_000 }, open)
    clock.advance(1_000)
    outstanding += first.consume(outstanding) - outstanding
    expect(outstanding).toBeLessThanOrEqual(CREDIT_POOL / 5_000)
    expect(others.every((window) => window.initial >= CREDIT_FLOOR)).toBe(true)
    expect(pool.used).toBeLessThanOrEqual(CREDIT_POOL)
  })

  it('never leaves a stream without credit for ever, and never loses count', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 30 }),
        fc.array(fc.tuple(fc.nat(29), fc.integer({ min: 1, max: 100_000 })), { maxLength: 300 }),
        (streams, reads) => {
          const clock = testClock()
          const pool = new WindowPool(64 * 1024)
          const open = Array.from({ length: streams }, () => {
            const window = new Window(pool, clock, 0)
            return { window, outstanding: window.initial }
          })
          for (const [at, size] of reads) {
            const stream = open[at % streams]
            if (stream === undefined) continue
            const read = Math.min(size, stream.outstanding)
            stream.outstanding += stream.window.consume(read) - read
            // Whoever has read everything may be sent more.
            expect(stream.outstanding).toBeGreaterThan(0)
          }
          expect(pool.used).toBe(open.reduce((sum, { outstanding }) => sum + Math.max(CREDIT_FLOOR, outstanding), 0))
          // Past the streams the reserve is for, floors come on top.
          expect(pool.used).toBeLessThanOrEqual(Math.max(64 * 1024, 24 * 1024 + streams * CREDIT_FLOOR))
        },
      ),
    )
  })
})
