import { describe, expect, it } from 'vitest'
import type { Metrics } from '../shared/metrics.ts'
import type { Exchange } from './exchange.ts'
import { answerMetrics } from './metrics.ts'

/** A client that takes what it is given only when told to. */
function slowClient() {
  const client = {
    ...{ closed: false, ended: false, buffered: 0, text: '' },
    onDrain: null as ((buffered: number) => void) | null,
    onAbort: null as (() => void) | null,
    start: () => undefined,
    write(piece: string) {
      client.text += piece
      client.buffered += piece.length
      return false
    },
    end() {
      client.ended = true
    },
    take(bytes: number) {
      client.buffered -= bytes
      client.onDrain?.(client.buffered)
    },
    leave() {
      client.closed = true
      client.onAbort?.()
    },
  }
  return client
}

function scraped(client: ReturnType<typeof slowClient>) {
  let made = 0
  const metrics = {
    contentType: 'text/plain',
    async *pieces() {
      for (; made < 3; ) yield String(made++).repeat(10)
    },
  } as unknown as Metrics
  const done = answerMetrics(client as unknown as Exchange, metrics)
  return { done, made: () => made }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

describe('GET /metrics', () => {
  it('makes the next piece only when its reader has taken the last', async () => {
    const client = slowClient()
    const { done, made } = scraped(client)
    for (let piece = 1; piece <= 3; piece += 1) {
      await turn()
      client.take(5)
      await turn()
      expect(made()).toBe(piece)
      client.take(5)
    }
    await done
    expect(client).toMatchObject({ ended: true, text: '0'.repeat(10) + '1'.repeat(10) + '2'.repeat(10) })
  })

  it('makes no more for one who left', async () => {
    const client = slowClient()
    const { done, made } = scraped(client)
    await turn()
    client.leave()
    await done
    expect(made()).toBe(1)
    expect(client.ended).toBe(false)
  })
})
