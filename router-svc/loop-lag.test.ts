import { describe, expect, it } from 'vitest'
import type { Clock } from '../shared/clock.ts'
import { createLoopLag } from './loop-lag.ts'

/** A clock whose time goes on while its timers wait, as when the loop is busy. */
function stallingClock() {
  let time = 0
  let tick = () => {}
  const clock: Clock = {
    now: () => time,
    monotonic: () => time,
    after: () => ({ cancel() {} }),
    every: (_, run) => {
      tick = run
      return { cancel() {} }
    },
  }
  return { clock, pass: (milliseconds: number) => (time += milliseconds), turn: () => tick() }
}

describe('createLoopLag', () => {
  it('is nothing while the timer runs on time', () => {
    const { clock, pass, turn } = stallingClock()
    const lag = createLoopLag(clock)
    for (let round = 0; round < 5; round += 1) {
      pass(50)
      expect(lag.now()).toBe(0)
      turn()
    }
  })

  it('is the time the timer is late, from within the stall, and over once it ran', () => {
    const { clock, pass, turn } = stallingClock()
    const lag = createLoopLag(clock)
    pass(2_050)
    expect(lag.now()).toBe(2_000)
    turn()
    expect(lag.now()).toBe(0)
  })
})
