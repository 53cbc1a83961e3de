import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Gateway, MODES, openGateway } from './gateway.ts'

/** The mock's vectors of equal texts are equal, and those of different ones nearly orthogonal. */
const ROUTES = {
  encoder_type: 'openai',
  encoder_name: 'embed',
  routes: [
    { name: 'coder', utterances: ['how to write code', 'why does my program fail'], score_threshold: 0.5 },
    { name: 'poet', utterances: ['write me a poem'], score_threshold: 0.5 },
  ],
}

const CONFIG = `
model_list:
  - model_name: coder
    litellm_params: {model: mock/coder, mock_response: from the coder}
  - model_name: poet
    litellm_params: {model: mock/poet, mock_response: from the poet}
  - model_name: plain
    litellm_params: {model: mock/plain, mock_response: from the plain one}
  - model_name: embed
    litellm_params: {model: mock/embed, input_cost_per_token: 0.001}
    model_info: {mode: embedding}
  - model_name: smart
    litellm_params:
      model: auto_router/smart
      auto_router_config: '${JSON.stringify(ROUTES)}'
      auto_router_default_model: plain
      auto_router_embedding_model: embed
  - model_name: tiers
    litellm_params:
      model: auto_router/complexity_router
      complexity_router_config: {tiers: {SIMPLE: plain, MEDIUM: poet, COMPLEX: coder, REASONING: coder}}
`

describe.each(MODES)('an auto router (%s)', (mode) => {
  let gateway: Gateway
  let key: string

  beforeAll(async () => {
    gateway = await openGateway(mode, { config: CONFIG })
    // The key may call the router, and nothing it chooses from.
    key = await gateway.generateKey({ models: ['smart', 'tiers'] })
  }, 120_000)
  afterAll(async () => {
    await gateway.stop()
  }, 60_000)

  async function ask(model: string, content: string, stream = false) {
    const response = await fetch(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model, messages: [{ role: 'user', content }], stream }),
    })
    return { status: response.status, callId: response.headers.get('x-litellm-call-id') ?? '', text: await response.text() }
  }

  it('hands a question to the group it is nearest to, streams too, and answers under its own name', async () => {
    const code = await ask('smart', 'why does my program fail')
    expect(JSON.parse(code.text)).toMatchObject({ model: 'smart', choices: [{ message: { content: 'from the coder' } }] })
    const poem = await ask('smart', 'write me a poem', true)
    expect(poem.text.match(/"content":"[^"]*"/g)?.join('')).toMatch(/from/)
    expect(poem.text).toContain('poet')
    const other = await ask('smart', 'something else entirely')
    expect(JSON.parse(other.text)).toMatchObject({ choices: [{ message: { content: 'from the plain one' } }] })
    const [row] = await gateway.ledger(code.callId)
    expect(row).toMatchObject({ model_group: 'coder' })
  })

  it('books its embeddings on whoever asked', async () => {
    const before = await spend()
    await ask('smart', 'how to write code')
    await expect.poll(spend, { timeout: 15_000, interval: 100 }).toBeGreaterThan(before)
  })

  async function spend(): Promise<number> {
    const { info } = (await gateway.admin('GET', `/key/info?key=${encodeURIComponent(key)}`)) as { info: { spend: number } }
    return info.spend
  }

  it('goes by how hard a question is where its tiers say so', async () => {
    expect(JSON.parse((await ask('tiers', 'Hello!')).text).choices[0].message.content).toBe('from the plain one')
    expect(JSON.parse((await ask('tiers', 'Prove it step by step')).text).choices[0].message.content).toBe('from the coder')
  })

  it('opens to a key no group but by its choice', async () => {
    expect((await ask('coder', 'hi')).status).toBeGreaterThanOrEqual(400)
  })
})
