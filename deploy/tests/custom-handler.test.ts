import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Gateway, MODES, openGateway } from './gateway.ts'

const folder = mkdtempSync(join(tmpdir(), 'turnpike-handlers-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** As an operator would write it: JavaScript, with a file of its own beside it for what the test wants to see. */
const HANDLER = `
import { appendFileSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'

const log = (text) => appendFileSync(new URL('./log.txt', import.meta.url), text + '\\n')

export default {
  async completion({ messages }, { model, apiKey, apiBase, settings }) {
    if (model === 'broken') throw Object.assign(new Error('too many of you'), { status: 429 })
    if (model === 'silly') return 'hello'
    const text = [model, apiKey, apiBase, settings.flavour, settings.my_secret, messages.at(-1).content].join(' ')
    const usage = model === 'unbilled' ? undefined : { prompt_tokens: 1000, completion_tokens: 100, total_tokens: 1100 }
    return { choices: [{ index: 0, message: { role: 'assistant', content: text }, finish_reason: 'stop' }], usage }
  },
  async *stream({ messages }, { model, signal }) {
    const chunk = (content) => ({ choices: [{ index: 0, delta: { content }, finish_reason: null }] })
    yield chunk('one ')
    if (model === 'breaking') throw new Error('the wire is cut')
    if (model === 'endless') {
      try {
        for (;;) {
          await wait(20, undefined, { signal })
          yield chunk('and on ')
        }
      } finally {
        log('left: ' + signal.aborted)
      }
    }
    yield chunk('two')
    yield { choices: [], usage: { prompt_tokens: 2000, completion_tokens: 200, total_tokens: 2200 } }
  },
}

export const vectors = { async embedding({ input }) { return { data: [{ index: 0, embedding: [0.5, input.length] }], usage: { prompt_tokens: 3, total_tokens: 3 } } } }
`

const CONFIG = `
model_list:
  - model_name: mine/*
    litellm_params:
      model: mine/*
      api_key: sk-upstream
      api_base: https://mine.example
      flavour: plain
      my_secret: hush
      input_cost_per_token: 0.000001
      output_cost_per_token: 0.000002
  - {model_name: vectors, litellm_params: {model: vectors/any}}
litellm_settings:
  num_retries: 0
  custom_provider_map:
    - {provider: mine, custom_handler: ${folder}/mine.mjs}
    - {provider: vectors, custom_handler: ${folder}/mine.mjs#vectors}
router_settings: {disable_cooldowns: true}
`

async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const seen: Item[] = []
  for await (const item of items) seen.push(item)
  return seen
}

describe.each(MODES)('%s: a provider of the operator’s own', (mode) => {
  let gateway: Gateway
  let client: OpenAI

  beforeAll(async () => {
    writeFileSync(join(folder, 'mine.mjs'), HANDLER)
    writeFileSync(join(folder, 'log.txt'), '')
    gateway = await openGateway(mode, { config: CONFIG })
    client = new OpenAI({ apiKey: gateway.masterKey, baseURL: `${gateway.url}/v1`, maxRetries: 0 })
  }, 120_000)
  afterAll(async () => gateway?.stop())

  const asking = (model: string) => ({ model, messages: [{ role: 'user' as const, content: 'hi' }] })

  it('answers, is told what the deployment says, and is billed by what it reports', async () => {
    const { data, response } = await client.chat.completions.create(asking('mine/fast')).withResponse()
    expect(data.choices[0]?.message.content).toBe('fast sk-upstream https://mine.example plain hush hi')
    expect(data).toMatchObject({ object: 'chat.completion', model: expect.stringContaining('fast') })
    const [row] = await gateway.ledger(response.headers.get('x-litellm-call-id') as string)
    expect(row).toMatchObject({ prompt_tokens: 1000, completion_tokens: 100, spend: 0.0012 })
  })

  it('is billed by an estimate where it reports nothing', async () => {
    const { response } = await client.chat.completions.create(asking('mine/unbilled')).withResponse()
    const [row] = await gateway.ledger(response.headers.get('x-litellm-call-id') as string)
    expect(row?.completion_tokens).toBeGreaterThan(5)
    expect(row?.spend).toBeGreaterThan(0)
  })

  it('streams', async () => {
    const { data, response } = await client.chat.completions
      .create({ ...asking('mine/fast'), stream: true, stream_options: { include_usage: true } })
      .withResponse()
    const chunks = await all(data)
    expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe('one two')
    expect(chunks.some(({ choices }) => choices[0]?.finish_reason === 'stop')).toBe(true)
    expect(chunks.at(-1)?.usage?.total_tokens).toBe(2200)
    const [row] = await gateway.ledger(response.headers.get('x-litellm-call-id') as string)
    expect(row).toMatchObject({ prompt_tokens: 2000, completion_tokens: 200 })
  })

  it('is spoken to by clients of other protocols', async () => {
    const response = await client.responses.create({ model: 'mine/fast', input: 'hi' })
    expect(response.output_text).toContain('fast sk-upstream')
  })

  it('serves other endpoints by other functions', async () => {
    const { data } = await client.embeddings.create({ model: 'vectors', input: 'four', encoding_format: 'float' })
    expect(data[0]?.embedding).toEqual([0.5, 4])
    await expect(client.chat.completions.create(asking('vectors'))).rejects.toMatchObject({ status: 400 })
  })

  it('fails with the status of what it throws, and in a stream with an error event', async () => {
    await expect(client.chat.completions.create(asking('mine/broken'))).rejects.toMatchObject({
      status: 429,
      message: expect.stringMatching(/MineException.*too many of you/),
    })
    await expect(client.chat.completions.create(asking('mine/silly'))).rejects.toThrow(/completion of mine gave string/)
    const stream = await client.chat.completions.create({ ...asking('mine/breaking'), stream: true })
    await expect(all(stream)).rejects.toThrow(/the wire is cut/)
  })

  it('is told when the client leaves', async () => {
    const stream = await client.chat.completions.create({ ...asking('mine/endless'), stream: true })
    for await (const _ of stream) break
    await expect.poll(() => readFileSync(join(folder, 'log.txt'), 'utf8'), { timeout: 10_000 }).toBe('left: true\n')
  })

  it('is no setting that can be changed from outside', async () => {
    const change = { litellm_settings: { custom_provider_map: [{ provider: 'evil', custom_handler: '/tmp/evil.mjs' }] } }
    await expect(gateway.admin('POST', '/config/update', change)).rejects.toThrow(/custom_provider_map cannot be changed/)
  })
})

describe.each(MODES)('%s: a file that is not there', (mode) => {
  it('keeps the gateway from starting, and is named', async () => {
    const config = `litellm_settings: {custom_provider_map: [{provider: mine, custom_handler: ./absent.mjs}]}\n`
    await expect(openGateway(mode, { config })).rejects.toThrow(/mine: \S+absent\.mjs \(default export\): there is no such file/)
  }, 60_000)
})
