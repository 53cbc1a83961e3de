import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { closedLoop, holdStreams, openLoop, paired } from './client.ts'
import { callBytes } from './connection.ts'
import { startUpstream, type Upstream } from './upstream.ts'

let upstream: Upstream
beforeEach(async () => {
  upstream = await startUpstream()
})
afterEach(() => upstream.stop())

const chat = (script: string, stream = false): Buffer =>
  callBytes({
    origin: upstream.url,
    path: '/v1/chat/completions',
    body: JSON.stringify({ model: `script:${script}`, stream, messages: [] }),
  })

describe('the load client', () => {
  it('makes as many calls as asked, on as many connections', async () => {
    const result = await closedLoop({ origin: upstream.url, call: chat(''), connections: 3, calls: 30, duration: 10_000 })
    expect(result.errors).toEqual({})
    expect(result.calls).toBeGreaterThanOrEqual(30)
    expect(result.latency.count).toBe(result.calls)
    expect(upstream.stats()).toMatchObject({ connections: 3, completed: result.calls })
  })

  it('measures latency from when a call was due, so that one pause is felt by every call that came due in it', async () => {
    // The third call takes 300 ms; one connection; a call is due every 10 ms. A closed loop sees one slow call among many.
    const slow = 'chunks=1'
    const call = chat(slow)
    const closed = await withPause(() => closedLoop({ origin: upstream.url, call, connections: 1, calls: 40, duration: 5_000 }))
    const open = await withPause(() => openLoop({ origin: upstream.url, call, connections: 1, rate: 100, duration: 600 }))
    expect(closed.latency.max).toBeGreaterThan(250_000)
    expect(closed.latency.p90).toBeLessThan(150_000)
    // About half of sixty calls came due during the pause or behind it.
    expect(open.latency.p90).toBeGreaterThan(200_000)
    expect(open.calls).toBe(60)
  })

  /** Runs a load with this process stopped for 300 ms in it: provider and client share the process, as gateway and client the machine. */
  async function withPause<T>(run: () => Promise<T>): Promise<T> {
    const pause = upstream
      .when((stats) => stats.completed >= 3)
      .then(() => {
        const end = performance.now() + 300
        while (performance.now() < end) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50)
      })
    const result = await run()
    await pause
    upstream.reset()
    return result
  }

  it('counts failures by reason and keeps them out of the latencies', async () => {
    const failing = await closedLoop({ origin: upstream.url, call: chat('fail=503'), connections: 1, duration: 60 })
    expect(failing.calls).toBe(0)
    expect(failing.errors['status 503']).toBeGreaterThan(0)
    const cut = await closedLoop({
      origin: upstream.url,
      call: chat('fault=truncate', true),
      connections: 1,
      duration: 30,
      stream: {},
    })
    expect(cut.errors['cut short']).toBeGreaterThan(0)
    const reset = await closedLoop({ origin: upstream.url, call: chat('fault=reset'), connections: 1, duration: 30 })
    expect(reset.errors['ECONNRESET']).toBeGreaterThan(0)
  })

  it('times first text, gaps and the delay of stamped chunks', async () => {
    const call = chat('first=30,chunks=5,interval=15,text=stamp', true)
    const result = await closedLoop({ origin: upstream.url, call, connections: 2, calls: 4, duration: 5_000, stream: {} })
    expect(result.chunks).toBe(result.calls * 5)
    expect(result.first?.p50).toBeGreaterThan(28_000)
    expect(result.gap?.p50).toBeGreaterThan(12_000)
    expect(result.delay?.count).toBe(result.chunks)
    expect(result.delay?.p50).toBeLessThan(10_000)
  })

  it('leaves a stream after some chunks, and reads slowly, when told to', async () => {
    const leaving = chat('chunks=50,interval=2', true)
    const left = await closedLoop({
      origin: upstream.url,
      call: leaving,
      connections: 1,
      calls: 2,
      duration: 5_000,
      stream: { abortAfter: 3 },
    })
    expect([left.calls, left.chunks]).toEqual([2, 6])
    await upstream.when((stats) => stats.aborted === 2)
    const slow = chat('chunks=4,size=20k', true)
    const read = await closedLoop({
      origin: upstream.url,
      call: slow,
      connections: 1,
      calls: 1,
      duration: 5_000,
      stream: { readRate: 1024 * 1024 },
    })
    // 80 KB at 1 MB/s.
    expect(read.latency.p50).toBeGreaterThan(50_000)
  })

  it('leaves what is under way when its time is up, counts what had come until then, and begins by and by', async () => {
    const call = chat('chunks=400,interval=5,text=stamp', true)
    const options = { origin: upstream.url, call, connections: 64, duration: 300, warmup: 300, stream: {} }
    const result = await closedLoop({ ...options, ramp: 200, cut: true })
    expect(result).toMatchObject({ calls: 0, unfinished: 64 })
    expect(result.errors).toEqual({})
    // 64 streams, a chunk every 5 ms, for 300 ms: 3,840 at most.
    expect(result.chunks).toBeGreaterThan(64)
    expect(result.chunks).toBeLessThan(4_200)
    expect(result.seconds).toBeLessThan(2)
    await upstream.when((stats) => stats.aborted === 64)
  })

  it('asks for the bytes of each call where they differ', async () => {
    let made = 0
    const call = () => chat(`id=${made++ % 2 === 0 ? 'even' : 'odd'}`)
    const { calls } = await closedLoop({ origin: upstream.url, call, connections: 1, calls: 6, duration: 5_000 })
    expect([upstream.served('even').length, upstream.served('odd').length]).toEqual([calls / 2, calls / 2])
  })

  it('reads the stamps in the chunks of either dialect', async () => {
    const body = '{"model":"script:chunks=5,interval=2,text=stamp","stream":true,"max_tokens":9,"messages":[]}'
    const call = callBytes({ origin: upstream.url, path: '/v1/messages', body })
    const result = await closedLoop({ origin: upstream.url, call, connections: 1, calls: 2, duration: 5_000, stream: {} })
    expect([result.chunks, result.delay?.count]).toEqual([10, 10])
    expect(result.delay?.p99).toBeLessThan(1_000_000)
  })

  it('alternates two ways and gives the difference of each pair', async () => {
    const side = (script: string) => ({ origin: upstream.url, call: chat(script), duration: 5_000 })
    const result = await paired(side(''), side('latency=20'), 10)
    expect(result.added.count).toBe(10)
    expect(result.added.p50).toBeGreaterThan(15_000)
    expect(result.direct.calls).toBe(10)
  })

  it('holds many streams open at once and lets them go', async () => {
    const held = await holdStreams({
      origin: upstream.url,
      call: chat('chunks=9,interval=60000', true),
      count: 200,
      rate: 10_000,
      limit: 10_000,
    })
    expect([held.open, held.failed]).toEqual([200, {}])
    expect(upstream.stats().active).toBe(200)
    held.release()
    await upstream.when((stats) => stats.active === 0)
    expect(upstream.stats().aborted).toBe(200)
  })
})
