import { describe, expect, it } from 'vitest'
import { testClock } from '../clock.ts'
import { silentLog } from '../log.ts'
import { Batches, type Delivery } from './batches.ts'

function delivery(...events: number[]): Delivery {
  return { events, done: () => undefined, again: () => undefined, alive: () => undefined }
}

/** Batches handed over so far, and what ends the oldest that runs. */
function scene(options: ConstructorParameters<typeof Batches>[2]) {
  const clock = testClock()
  const handed: unknown[][] = []
  const ends: (() => void)[] = []
  const batches = new Batches(clock, silentLog, options, (events) => {
    handed.push(events)
    return new Promise((resolve) => ends.push(resolve))
  })
  const end = async (): Promise<void> => {
    ends.shift()?.()
    await new Promise((resolve) => setImmediate(resolve))
  }
  return { clock, batches, handed, end }
}

describe('Batches', () => {
  it('hands what is not full over after the wait, and not again before the rest is over', async () => {
    const { clock, batches, handed, end } = scene({ batch: 10, wait: 50, rest: 200 })
    batches.add(delivery(1))
    clock.advance(50)
    expect(handed).toEqual([[1]])
    await end()
    batches.add(delivery(2))
    clock.advance(199)
    expect(handed).toEqual([[1]])
    batches.add(delivery(3))
    clock.advance(1)
    expect(handed).toEqual([[1], [2, 3]])
    await end()
    clock.advance(1_000)
    batches.add(delivery(4))
    clock.advance(50)
    expect(handed).toEqual([[1], [2, 3], [4]])
    await end()
    await batches.stop()
  })

  it('hands full ones over at once, as many as there are lanes, and others alone', async () => {
    const { clock, batches, handed, end } = scene({ batch: 2, wait: 50, rest: 200, lanes: 2 })
    for (const number of [1, 2, 3, 4, 5, 6, 7]) batches.add(delivery(number))
    expect(handed).toEqual([
      [1, 2],
      [3, 4],
    ])
    await end()
    expect(handed).toHaveLength(3)
    clock.advance(1_000)
    expect(handed).toHaveLength(3)
    await end()
    await end()
    clock.advance(200)
    expect(handed).toEqual([[1, 2], [3, 4], [5, 6], [7]])
    await end()
    await batches.stop()
  })

  it('takes many deliveries for a full batch, since a server hands out a limited number unacknowledged', async () => {
    const { batches, handed, end } = scene({ batch: 1_000, wait: 50, rest: 200 })
    for (let number = 0; number < 64; number++) batches.add(delivery(number))
    expect(handed).toHaveLength(1)
    await end()
    await batches.stop()
  })
})
