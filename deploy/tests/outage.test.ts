import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startUpstream, type Upstream } from '../../loadtest/upstream.ts'
import { type Gateway, MODES, openGateway } from './gateway.ts'

/** Calls per second while the provider dies, so many before and after. */
const RATE = 500
const BEFORE = 500
const AFTER = 750
/** Calls under way at once: what a machine has no time for begins later, or its routers would rightly refuse it as too late. */
const MOST = 200
const STREAMS = 100

/** A provider that is gone from one moment to the next, under load. */
describe.each(MODES)('a provider that dies under load, %s', (mode) => {
  let first: Upstream
  let second: Upstream
  let gateway: Gateway
  let key: string

  beforeAll(async () => {
    first = await startUpstream()
    second = await startUpstream()
    const entry = (name: string, upstream: Upstream) => `
  - model_name: ${name}
    litellm_params: { model: openai/gpt-scripted, api_base: '${upstream.url}/v1', api_key: k, input_cost_per_token: 0.000001, output_cost_per_token: 0.000002 }`
    gateway = await openGateway(mode, {
      config: `
model_list:${entry('main', first)}${entry('spare', second)}
router_settings:
  num_retries: 0
  fallbacks: [{ main: [spare] }]
`,
    })
    key = await gateway.generateKey({})
    expect((await call()).status).toBe(200)
  }, 120_000)
  afterAll(async () => {
    await gateway?.stop()
    await first?.stop()
    await second?.stop()
  })

  const post = (fields: object): Promise<Response> =>
    fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'main', ...fields }),
      signal: AbortSignal.timeout(30_000),
    })

  async function call(): Promise<{ status: number; text: string }> {
    const response = await post({ messages: [{ role: 'user', content: 'hello [[upstream latency=20]]' }] })
    return { status: response.status, text: await response.text() }
  }

  /** `began` runs when the client has the first bytes. */
  async function stream(
    index: number,
    began: () => void,
  ): Promise<{ done: boolean; error: boolean; continued: boolean; text: string }> {
    const response = await post({
      stream: true,
      messages: [{ role: 'user', content: `[[upstream id=s${index},chunks=150,interval=10]]` }],
    })
    let body = ''
    const decoder = new TextDecoder()
    for await (const bytes of response.body as unknown as AsyncIterable<Uint8Array>) {
      if (body === '') began()
      body += decoder.decode(bytes, { stream: true })
    }
    let text = ''
    let finished = false
    for (const line of body.split('\n')) {
      if (!line.startsWith('data: {')) continue
      const chunk = JSON.parse(line.slice(6))
      text += chunk.choices?.[0]?.delta?.content ?? ''
      finished ||= typeof chunk.choices?.[0]?.finish_reason === 'string'
    }
    return {
      done: finished && body.endsWith('data: [DONE]\n\n'),
      error: body.includes('"error"'),
      continued: body.includes('"failover"'),
      text,
    }
  }

  it(`fails none of ${RATE} calls a second that have a fallback`, async () => {
    const calls: Promise<{ status: number; text: string }>[] = []
    const begun = performance.now()
    let running = 0
    const begin = (): void => {
      running += 1
      calls.push(
        call().finally(() => {
          running -= 1
        }),
      )
      if (calls.length === BEFORE) void first.refuse(true)
    }
    await new Promise<void>((resolve) => {
      const timer = setInterval(() => {
        const due = Math.min(((performance.now() - begun) / 1_000) * RATE, BEFORE + AFTER)
        while (calls.length < due && running < MOST) begin()
        if (calls.length < BEFORE + AFTER) return
        clearInterval(timer)
        resolve()
      }, 5)
    })
    const answers = await Promise.all(calls)
    await first.refuse(false)
    expect(answers.filter(({ status }) => status !== 200)).toEqual([])
    // The test is one only if the provider's end was felt.
    expect(second.stats().requests).toBeGreaterThanOrEqual(AFTER)
  }, 60_000)

  it('lets the open streams of text end complete, and says that they went on elsewhere', async () => {
    let running = 0
    let streams: ReturnType<typeof stream>[] = []
    await new Promise<void>((resolve) => {
      const began = () => {
        running += 1
        if (running === STREAMS) resolve()
      }
      streams = Array.from({ length: STREAMS }, (_, index) => stream(index, began))
    })
    await first.refuse(true)
    const ended = await Promise.all(streams)
    await first.refuse(false)
    expect(ended.filter(({ done, error }) => done && !error).length).toBeGreaterThanOrEqual(Math.ceil(STREAMS * 0.99))
    expect(ended.filter(({ continued }) => continued).length).toBeGreaterThanOrEqual(Math.ceil(STREAMS * 0.9))
    expect(ended.every(({ text }) => text.length > 0)).toBe(true)
  }, 60_000)
})
