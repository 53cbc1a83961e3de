import { afterEach, describe, expect, it } from 'vitest'
import { type HealthServer, startHealthServer } from './health-server.ts'

let server: HealthServer | null = null
afterEach(() => server?.stop())

async function get(path: string, init?: RequestInit): Promise<{ status: number; text: string }> {
  const response = await fetch(`http://127.0.0.1:${server?.port}${path}`, init)
  return { status: response.status, text: await response.text() }
}

async function* pieces(...texts: string[]): AsyncGenerator<string> {
  yield* texts
}

describe('health server', () => {
  it('answers readiness with what it is told, liveliness always, and metrics as text', async () => {
    let ready = true
    server = await startHealthServer({ host: '127.0.0.1', port: 0, ready: () => ready, metrics: () => pieces('calls', ' 1\n') })
    expect(await get('/health/readiness')).toEqual({ status: 200, text: '{"status":"healthy"}' })
    ready = false
    expect(await get('/health/readiness')).toEqual({ status: 503, text: '{"status":"unhealthy"}' })
    expect((await get('/health/liveliness')).status).toBe(200)
    expect(await get('/metrics')).toEqual({ status: 200, text: 'calls 1\n' })
  })

  it('outlives a reader of metrics who leaves in the middle', async () => {
    const left = Promise.withResolvers<void>()
    async function* endless() {
      try {
        for (;;) {
          yield 'x'.repeat(64 * 1024)
          await new Promise((resolve) => setImmediate(resolve))
        }
      } finally {
        left.resolve()
      }
    }
    server = await startHealthServer({ host: '127.0.0.1', port: 0, ready: () => true, metrics: endless })
    const response = await fetch(`http://127.0.0.1:${server.port}/metrics`)
    await response.body?.cancel()
    await left.promise
    // What was thrown for it comes in a later turn.
    await new Promise((resolve) => setImmediate(resolve))
    expect((await get('/health/readiness')).status).toBe(200)
  })

  it('serves nothing else', async () => {
    server = await startHealthServer({ host: '127.0.0.1', port: 0, ready: () => true, metrics: () => pieces() })
    expect((await get('/')).status).toBe(404)
    expect((await get('/metrics', { method: 'POST' })).status).toBe(405)
  })

  it('answers 500 when the readiness check fails', async () => {
    server = await startHealthServer({
      host: '127.0.0.1',
      port: 0,
      ready: () => Promise.reject(new Error('x')),
      metrics: () => pieces(),
    })
    expect((await get('/health/readiness')).status).toBe(500)
  })
})
