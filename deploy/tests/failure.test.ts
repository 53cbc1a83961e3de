import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import OpenAI from 'openai'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { startUpstream, type Upstream } from '../../loadtest/upstream.ts'
import type { Cluster } from '../cluster.ts'
import type { Server } from '../server-process.ts'
import { startNats } from '../servers.ts'
import { type Gateway, type LedgerRow, openGateway } from './gateway.ts'

/** What one call came to, as its client saw it. */
interface Seen {
  id: string
  callId: string
  text: string
  error: Error | null
}

/** Real processes, killed for real. Each call ends in bounded time with an answer or an error, and leaves one row. */
describe('a cluster', () => {
  let upstream: Upstream
  let natsHome: string
  let nats: Server
  let gateway: Gateway
  let cluster: Cluster
  let openai: OpenAI

  beforeAll(async () => {
    upstream = await startUpstream()
    natsHome = mkdtempSync(join(tmpdir(), 'turnpike-failure-nats-'))
    nats = await startNats({ directory: natsHome })
    gateway = await openGateway('cluster', {
      config: `
model_list:
  - model_name: gpt
    litellm_params: { model: openai/gpt-scripted, api_base: '${upstream.url}/v1', api_key: k, input_cost_per_token: 0.000001, output_cost_per_token: 0.000002 }
`,
      env: { NATS_URL: nats.url },
    })
    cluster = gateway.cluster as Cluster
    const key = await gateway.generateKey({})
    openai = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: key, maxRetries: 0, timeout: 60_000 })
    // The edge knows the key from here on, also while accounting is away.
    await stream('warm', 'chunks=1')
  }, 120_000)
  afterAll(async () => {
    await gateway?.stop()
    await nats?.stop()
    await upstream?.stop()
    rmSync(natsHome, { recursive: true, force: true })
  })
  afterEach(async () => {
    for (const { role, index, alive } of cluster.members()) if (!alive) await cluster.restart(role, index)
  })

  /** Runs a streamed call to its end, however it ends. */
  async function stream(id: string, script: string): Promise<Seen> {
    const seen: Seen = { id, callId: '', text: '', error: null }
    try {
      const { data, response } = await openai.chat.completions
        .create({ model: 'gpt', stream: true, messages: [{ role: 'user', content: `hello [[upstream id=${id},${script}]]` }] })
        .withResponse()
      seen.callId = response.headers.get('x-litellm-call-id') as string
      for await (const chunk of data) seen.text += chunk.choices[0]?.delta.content ?? ''
    } catch (thrown) {
      seen.error = thrown as Error
    }
    return seen
  }

  const together = (name: string, count: number, script: string) =>
    Array.from({ length: count }, (_, index) => stream(`${name}-${index}`, script))
  const served = (name: string, count: number) => Array.from({ length: count }, (_, index) => upstream.served(`${name}-${index}`))

  /** The upstream tells of calls that come and go, not of each chunk. */
  async function until(test: () => boolean): Promise<void> {
    const deadline = performance.now() + 10_000
    while (!test()) {
      if (performance.now() > deadline) throw new Error('not so within 10 s')
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }

  async function onlyRow(call: Seen): Promise<LedgerRow> {
    const rows = await gateway.ledger(call.callId, 20_000)
    expect(rows, call.id).toHaveLength(1)
    return rows[0] as LedgerRow
  }

  it('answers through the other router when the one that took a call dies before it answers', async () => {
    const calls = together('before', 8, 'latency=1500,chunks=2')
    await upstream.when(() => served('before', 8).every((attempts) => attempts.length > 0))
    await cluster.kill('router', 0)
    const ended = await Promise.all(calls)
    expect(ended.map(({ error }) => error)).toEqual(ended.map(() => null))
    // Some were on the router that died, and went to the provider again.
    expect(served('before', 8).flat().length).toBeGreaterThan(8)
    for (const call of ended) expect(await onlyRow(call)).toMatchObject({ status: 'success' })
  }, 60_000)

  it('ends the streams of a killed router with an error, and books each call once with what it is known to have used', async () => {
    const calls = together('during', 8, 'chunks=100,interval=50,size=8')
    await until(() => served('during', 8).every(([attempt]) => (attempt?.chunks ?? 0) > 10))
    await cluster.kill('router', 0)
    const ended = await Promise.all(calls)
    const broken = ended.filter(({ error }) => error !== null)
    expect(broken.length).toBeGreaterThan(0)
    expect(broken.length).toBeLessThan(8)
    for (const call of ended) {
      const row = await onlyRow(call)
      expect(row['model_group']).toBe('gpt')
      expect(row['custom_llm_provider']).toBe('openai')
      expect(row.prompt_tokens).toBeGreaterThan(0)
      expect(row.completion_tokens).toBeGreaterThan(5)
      expect(row.spend).toBeGreaterThan(0)
      expect(row.status).toBe(call.error === null ? 'success' : 'failure')
    }
    // What the dead router left on its disk is delivered by its successor, and changes nothing.
    await cluster.restart('router', 0)
    await stream('after', 'chunks=1').then(onlyRow)
    for (const call of ended) await onlyRow(call)
  }, 60_000)

  it('goes on without accounting and books everything when it is back', async () => {
    await cluster.kill('accounting', 0)
    const ended = await Promise.all(together('away', 10, 'chunks=3,prompt=7,completion=3'))
    expect(ended.map(({ error }) => error)).toEqual(ended.map(() => null))
    await cluster.restart('accounting', 0)
    for (const call of ended)
      expect(await onlyRow(call)).toMatchObject({ status: 'success', prompt_tokens: 7, completion_tokens: 3 })
  }, 60_000)

  it('books each call once when accounting is killed while it books', async () => {
    const ended: Seen[] = []
    for (let round = 0; round < 4; round += 1) {
      const calls = together(`booking-${round}`, 25, 'chunks=1,prompt=7,completion=3')
      await Promise.all(calls.slice(0, 5))
      await cluster.kill('accounting', 0)
      ended.push(...(await Promise.all(calls)))
      await cluster.restart('accounting', 0)
    }
    expect(ended.filter(({ error }) => error !== null)).toEqual([])
    for (const call of ended) await onlyRow(call)
  }, 120_000)

  it('lets running streams end before a router stops on SIGTERM', async () => {
    const calls = together('drain', 8, 'chunks=60,interval=50')
    await until(() => served('drain', 8).every(([attempt]) => (attempt?.chunks ?? 0) > 5))
    await cluster.kill('router', 0, 'SIGTERM')
    const ended = await Promise.all(calls)
    expect(ended.map(({ error }) => error)).toEqual(ended.map(() => null))
    for (const call of ended) expect(await onlyRow(call)).toMatchObject({ status: 'success' })
  }, 60_000)

  it('serves again after NATS was restarted, and loses no event of a call that was answered', async () => {
    const before = await Promise.all(together('restart-before', 10, 'chunks=1'))
    const during = together('restart-during', 6, 'chunks=60,interval=50')
    await until(() => served('restart-during', 6).every(([attempt]) => (attempt?.chunks ?? 0) > 5))
    const port = Number(new URL(nats.url).port)
    await nats.stop()
    nats = await startNats({ directory: natsHome, port })
    const ended = await Promise.all(during)
    for (const call of [...before, ...ended]) if (call.callId !== '') await onlyRow(call)
    const deadline = performance.now() + 20_000
    let after = await stream('restart-after', 'chunks=2')
    while (after.error !== null && performance.now() < deadline) after = await stream('restart-after', 'chunks=2')
    expect(after.error).toBeNull()
    expect(await onlyRow(after)).toMatchObject({ status: 'success' })
  }, 90_000)
})
