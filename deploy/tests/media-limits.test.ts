import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Gateway, MODES, openGateway } from './gateway.ts'
import { type MediaUpstream, startMediaUpstream } from './media-upstream.ts'

/** Four cents an image, by the list of its vendor. */
const CONFIG = (url: string): string => `
model_list:
  - model_name: picture
    litellm_params: { model: openai/dall-e-3, api_base: '${url}/v1', api_key: k }
  - model_name: voice
    litellm_params: { model: openai/tts-1, api_base: '${url}/v1', api_key: k }
  - model_name: try
    litellm_params: { model: mock/anything }
litellm_settings: { callbacks: [prometheus] }
`

interface Answer {
  status: number
  headers: Headers
  text: string
}

describe.each(MODES)('budgets of images and sounds (%s)', (mode) => {
  let gateway: Gateway
  let upstream: MediaUpstream

  beforeAll(async () => {
    upstream = await startMediaUpstream()
    gateway = await openGateway(mode, { config: CONFIG(upstream.url) })
  }, 120_000)

  afterAll(async () => {
    await gateway?.stop()
    await upstream?.stop()
  })

  async function post(key: string, path: string, body: FormData | Record<string, unknown>): Promise<Answer> {
    const urls = gateway.cluster?.urls ?? [gateway.url]
    const form = body instanceof FormData
    for (let attempt = 0; ; attempt += 1) {
      const response = await fetch(`${urls[attempt % urls.length]}${path}`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, ...(form ? {} : { 'content-type': 'application/json' }) },
        body: form ? body : JSON.stringify(body),
      })
      const text = await response.text()
      // At capacity: it comes again.
      if (response.status !== 503 || attempt === 20) return { status: response.status, headers: response.headers, text }
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }

  const spentBy = async (key: string): Promise<number> => {
    const told = (await gateway.admin('GET', `/key/info?key=${key}`)) as { info: { spend: number } }
    return told.info.spend
  }

  it('make exactly three of ten images at once with a key that has money for three, and book them as chats are', async () => {
    const key = await gateway.generateKey({ max_budget: 0.12 })
    const before = upstream.calls.length
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => post(key, '/v1/images/generations', { model: 'picture', prompt: 'a cat' })),
    )
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 200, 429, 429, 429, 429, 429, 429, 429])
    expect(answers.find(({ status }) => status === 429)?.text).toContain('budget')
    expect(upstream.calls.length - before).toBe(3)
    await expect.poll(() => spentBy(key), { timeout: 10_000 }).toBeCloseTo(0.12, 9)
    // One that asks for four images has no room in another key with money for three.
    const other = await gateway.generateKey({ max_budget: 0.12 })
    expect((await post(other, '/v1/images/generations', { model: 'picture', prompt: 'a cat', n: 4 })).status).toBe(429)
    expect((await post(other, '/v1/images/generations', { model: 'picture', prompt: 'a cat', n: 3 })).status).toBe(200)

    const id = answers.find(({ status }) => status === 200)?.headers.get('x-litellm-call-id') as string
    const [row] = await gateway.ledger(id)
    expect(row).toMatchObject({ call_type: 'aimage_generation', model_group: 'picture', status: 'success', spend: 0.04 })
  })

  it('are asked for long texts too: a voice reads what the money is enough for', async () => {
    // 1,000 characters are $0.015.
    const key = await gateway.generateKey({ max_budget: 0.02 })
    const read = (length: number) => post(key, '/v1/audio/speech', { model: 'voice', voice: 'alloy', input: 'a'.repeat(length) })
    expect((await read(2_000)).status).toBe(429)
    expect((await read(1_000)).status).toBe(200)
    await expect.poll(() => spentBy(key), { timeout: 10_000 }).toBeCloseTo(0.015, 9)
    expect((await read(1_000)).status).toBe(429)
  })

  it('do not stand before the mock, which answers every endpoint without a key', async () => {
    const key = await gateway.generateKey({ max_budget: 0 })
    const speech = await fetch(`${gateway.url}/v1/audio/speech`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'try', voice: 'alloy', input: 'hello' }),
    })
    expect(speech.headers.get('content-type')).toBe('audio/wav')
    const sound = await speech.arrayBuffer()
    const form = new FormData()
    form.set('model', 'try')
    form.set('file', new File([new Uint8Array(sound)], 'a.wav', { type: 'audio/wav' }))
    const heard = await post(key, '/v1/audio/transcriptions', form)
    expect(JSON.parse(heard.text)).toMatchObject({ text: expect.stringContaining('mock') })
    const asked: [string, Record<string, unknown>, string][] = [
      ['/v1/images/generations', { prompt: 'a cat' }, 'data:image/png;base64,'],
      ['/v1/moderations', { input: 'a cat' }, '"flagged":false'],
      ['/v1/rerank', { query: 'cats', documents: ['dogs', 'cats'] }, '"index":1,"relevance_score":1'],
    ]
    for (const [path, body, says] of asked) expect((await post(key, path, { model: 'try', ...body })).text, path).toContain(says)
  })

  it('and what was spent are in the reports and the metrics', async () => {
    const today = new Date().toISOString().slice(0, 10)
    const read = async () => {
      const path = `/user/daily/activity?start_date=${today}&end_date=${today}`
      return JSON.stringify(await gateway.admin('GET', path))
    }
    await expect.poll(read, { timeout: 10_000 }).toContain('"picture"')
    const metrics = async () => {
      const parts = gateway.cluster?.urls ?? [gateway.url]
      const texts = await Promise.all(
        parts.map(async (url) => {
          const response = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${gateway.masterKey}` } })
          return response.text()
        }),
      )
      return texts.join('\n')
    }
    await expect
      .poll(metrics, { timeout: 10_000 })
      .toMatch(mode === 'embedded' ? /litellm_spend_metric_total\{[^}]*(?:picture|dall-e-3)/ : /litellm_\w+\{[^}]*picture/)
  })
})
