import { text as textOf } from 'node:stream/consumers'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from 'vitest'
import { createMetrics } from './metrics.ts'

describe('metrics', () => {
  it('count per label set, under the names and labels clients know', async () => {
    const metrics = createMetrics()
    const handle = metrics.spend.with({ model: 'gpt', team: 'a"b\n' })
    handle.add(0.5)
    handle.add(0.25)
    metrics.spend.with({ model: 'other' }).add(1)
    const text = await textOf(metrics.pieces())
    expect(text).toContain('# TYPE litellm_spend_metric_total counter\n')
    expect(text).toMatch(/litellm_spend_metric_total\{end_user="",.*model="gpt",team="a\\"b\\n",.*\} 0.75\n/)
    expect(text).toMatch(/litellm_spend_metric_total\{.*model="other".*\} 1\n/)
    expect(metrics.contentType).toContain('text/plain')
  })

  it('give the same handle for the same labels, and keep counts when the array grows', async () => {
    const metrics = createMetrics()
    const first = metrics.requests.with({ model: 'm0' })
    expect(metrics.requests.with({ model: 'm0' })).toBe(first)
    for (let index = 1; index < 500; index++) metrics.requests.with({ model: `m${index}` }).add()
    first.add(7)
    expect(await textOf(metrics.pieces())).toMatch(/litellm_requests_metric_total\{.*model="m0".*\} 7\n/)
  })

  it('keep nothing of the message a label was cut from', () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const metrics = createMetrics()
    collect()
    const before = process.memoryUsage().heapUsed
    for (let index = 0; index < 400; index++) {
      const message = Buffer.alloc(64 * 1024, `a model's name in a message ${index} `).toString('latin1')
      metrics.requests.with({ model: message.slice(0, 32) + index }).add()
      metrics.requests.with({ model: message.slice(2, 32) }).add()
    }
    collect()
    // 400 messages are 25 MB.
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(5_000_000)
  })

  it('put an observation into every bucket at or above it, with sum and count', async () => {
    const metrics = createMetrics()
    for (const seconds of [0.005, 0.04, 1000]) metrics.overhead.with({ model_group: 'g' }).observe(seconds)
    const text = await textOf(metrics.pieces())
    const value = (pattern: RegExp) => Number(text.match(pattern)?.[1])
    expect(value(/_overhead_latency_metric_bucket\{le="0.005",.*\} (\d+)/)).toBe(1)
    expect(value(/_overhead_latency_metric_bucket\{le="0.025",.*\} (\d+)/)).toBe(1)
    expect(value(/_overhead_latency_metric_bucket\{le="0.05",.*\} (\d+)/)).toBe(2)
    expect(value(/_overhead_latency_metric_bucket\{le="300",.*\} (\d+)/)).toBe(2)
    expect(value(/_overhead_latency_metric_bucket\{le="\+Inf",.*\} (\d+)/)).toBe(3)
    expect(value(/_overhead_latency_metric_count\{.*\} (\d+)/)).toBe(3)
    expect(value(/_overhead_latency_metric_sum\{.*\} ([\d.]+)/)).toBeCloseTo(1000.045)
  })

  it('collect what is beyond 2,000 label sets under one, so that labels cannot eat the memory', async () => {
    const metrics = createMetrics()
    for (let index = 0; index < 3_000; index++) metrics.requests.with({ model: `m${index}` }).add()
    const text = await textOf(metrics.pieces())
    const lines = text.split('\n').filter((line) => line.startsWith('litellm_requests_metric_total{'))
    expect(lines.length).toBe(2_001)
    expect(lines.find((line) => line.includes('model="other"'))).toMatch(/ 1000$/)
  })

  it('are written in short pieces, the help of each once, and other work gets its turn between them', async () => {
    const metrics = createMetrics()
    for (let index = 0; index < 200; index++) {
      metrics.requests.with({ model: `m${index}` }).add()
      metrics.overhead.with({ model_group: `g${index}` }).observe(index)
    }
    let [pieces, turns, text] = [0, 0, '']
    const turn = (): void => {
      turns += 1
      pending = setImmediate(turn)
    }
    let pending = setImmediate(turn)
    for await (const piece of metrics.pieces()) {
      // A piece, its help and its type.
      expect(piece.split('\n').length).toBeLessThanOrEqual(2_004)
      pieces += 1
      text += piece
    }
    clearImmediate(pending)
    expect(turns).toBeGreaterThanOrEqual(pieces - 1)
    const lines = text.split('\n')
    expect(lines.filter((line) => line.startsWith('# TYPE litellm_overhead_latency_metric '))).toHaveLength(1)
    expect(lines.filter((line) => line.startsWith('litellm_overhead_latency_metric_bucket{'))).toHaveLength(7_200)
    expect(new Set(lines).size).toBe(lines.length)
    expect(text).toMatch(/litellm_overhead_latency_metric_sum\{.*model_group="g199".*\} 199\n/)
  })

  it('read gauges when asked for text', async () => {
    const metrics = createMetrics()
    let running = 3
    metrics.onScrape(() => metrics.inFlight.with({}).set(running))
    expect(await textOf(metrics.pieces())).toMatch(/^litellm_in_flight_requests 3$/m)
    running = 0
    expect(await textOf(metrics.pieces())).toMatch(/^litellm_in_flight_requests 0$/m)
  })
})
