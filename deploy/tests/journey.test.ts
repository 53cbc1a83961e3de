import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startUpstream, type Upstream } from '../../loadtest/upstream.ts'
import { type Gateway, MODES, openGateway } from './gateway.ts'

/** One text, both modes: what a client sees through the official SDKs, and the one ledger row each call leaves. */
describe.each(MODES)('%s', (mode) => {
  let upstream: Upstream
  let gateway: Gateway
  let key: string
  let openai: OpenAI

  beforeAll(async () => {
    upstream = await startUpstream()
    gateway = await openGateway(mode, { config: configFor(upstream.url) })
    key = await gateway.generateKey({ key_alias: `journey-${mode}` })
    openai = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: key, maxRetries: 0 })
  }, 120_000)
  afterAll(async () => {
    await gateway?.stop()
    await upstream?.stop()
  })

  const script = (text: string) => [{ role: 'user' as const, content: `hello [[upstream ${text}]]` }]

  it('answers a chat and books one row with its tokens, cost, key, model, provider and times', async () => {
    const { data, response } = await openai.chat.completions
      .create({ model: 'gpt', messages: script('prompt=1000,completion=200,cached=400,chunks=3') })
      .withResponse()
    expect(data.model).toBe('gpt')
    expect(data.choices[0]?.finish_reason).toBe('stop')
    expect(data.usage).toMatchObject({ prompt_tokens: 1000, completion_tokens: 200, total_tokens: 1200 })
    // Priced in the config: input $2, output $8, cache read $0.50 per million: 600 × 2 + 400 × 0.5 + 200 × 8 = 3,000 millionths.
    expect(response.headers.get('x-litellm-response-cost')).toBe('0.003')
    expect(response.headers.get('x-litellm-model-group')).toBe('gpt')
    expect(response.headers.get('x-litellm-version')).toBeTruthy()
    const id = response.headers.get('x-litellm-call-id') as string
    const [row, ...more] = await gateway.ledger(id)
    expect(more).toEqual([])
    expect(row).toMatchObject({
      request_id: id,
      status: 'success',
      prompt_tokens: 1000,
      completion_tokens: 200,
      total_tokens: 1200,
      spend: 0.003,
      model_group: 'gpt',
      custom_llm_provider: 'openai',
      api_key: await gateway.hash(key),
      call_type: 'acompletion',
    })
    expect(Date.parse(row?.endTime as string)).toBeGreaterThanOrEqual(Date.parse(row?.startTime as string))
  })

  it('streams a chat: role first, one finish chunk, usage only when asked, and books what the provider reported', async () => {
    for (const include of [true, false]) {
      const { data: stream, response } = await openai.chat.completions
        .create({
          model: 'gpt',
          messages: script('chunks=5,prompt=70,completion=9'),
          stream: true,
          ...(include ? { stream_options: { include_usage: true } } : {}),
        })
        .withResponse()
      const chunks = []
      for await (const chunk of stream) chunks.push(chunk)
      expect(chunks[0]?.choices[0]?.delta.role).toBe('assistant')
      expect(chunks.filter((chunk) => chunk.choices[0]?.finish_reason === 'stop')).toHaveLength(1)
      expect(chunks.every((chunk) => chunk.model === 'gpt')).toBe(true)
      const usages = chunks.filter((chunk) => chunk.usage !== undefined && chunk.usage !== null)
      expect(usages.map((chunk) => chunk.usage?.completion_tokens)).toEqual(include ? [9] : [])
      const [row, ...more] = await gateway.ledger(response.headers.get('x-litellm-call-id') as string)
      expect(more).toEqual([])
      expect(row).toMatchObject({ prompt_tokens: 70, completion_tokens: 9, status: 'success' })
      expect(row?.completionStartTime).toBeTruthy()
    }
  })

  it('calls tools, whole and streamed', async () => {
    const tools = [{ type: 'function' as const, function: { name: 'lookup_0', parameters: { type: 'object', properties: {} } } }]
    const whole = await openai.chat.completions.create({ model: 'gpt', messages: script('tools=2,chunks=0'), tools })
    expect(whole.choices[0]?.finish_reason).toBe('tool_calls')
    expect(whole.choices[0]?.message.tool_calls).toHaveLength(2)
    const stream = openai.chat.completions.stream({ model: 'gpt', messages: script('tools=2,chunks=0'), tools })
    const final = await stream.finalChatCompletion()
    expect(final.choices[0]?.message.tool_calls?.map((call) => call.type === 'function' && call.function.name)).toEqual([
      'lookup_0',
      'lookup_1',
    ])
  })

  it('reaches an Anthropic model in OpenAI words: chat, stream, tools, reasoning', async () => {
    const whole = await openai.chat.completions
      .create({ model: 'claude', messages: script('chunks=4,prompt=50,completion=12,cached=20') })
      .withResponse()
    expect(whole.data.choices[0]?.message.content).toBeTruthy()
    expect(whole.data.usage).toMatchObject({ completion_tokens: 12 })
    const [row] = await gateway.ledger(whole.response.headers.get('x-litellm-call-id') as string)
    expect(row).toMatchObject({ custom_llm_provider: 'anthropic', completion_tokens: 12, status: 'success' })
    const stream = openai.chat.completions.stream({
      model: 'claude',
      messages: script('chunks=3,tools=1,think=2'),
      tools: [{ type: 'function', function: { name: 'lookup_0', parameters: { type: 'object', properties: {} } } }],
      stream_options: { include_usage: true },
    })
    const final = await stream.finalChatCompletion()
    expect(final.choices[0]?.finish_reason).toBe('tool_calls')
    expect(final.choices[0]?.message.tool_calls).toHaveLength(1)
    expect(final.usage?.completion_tokens).toBeGreaterThan(0)
  })

  it('embeds, completes and lists models', async () => {
    const embedding = await openai.embeddings.create({ model: 'embed', input: 'hello' })
    expect(embedding.data[0]?.embedding.length).toBeGreaterThan(0)
    const completion = await openai.completions.create({ model: 'gpt', prompt: 'hello [[upstream chunks=2]]' })
    expect(completion.choices[0]?.text).toBeTruthy()
    const models = await openai.models.list()
    expect(models.data.map((model) => model.id)).toEqual(expect.arrayContaining(['gpt', 'claude', 'embed', 'mock']))
    expect((await openai.models.retrieve('gpt')).id).toBe('gpt')
    await expect(openai.models.retrieve('nope')).rejects.toMatchObject({ status: 404 })
  })

  it('is ready, and knows that the database answers', async () => {
    const answer = await fetch(`${gateway.url}/health/readiness`)
    expect(answer.status).toBe(200)
    expect(await answer.json()).toMatchObject({ status: 'healthy', db: 'connected' })
  })

  it('answers mock and mock_response without a provider', async () => {
    const mock = await openai.chat.completions.create({ model: 'mock', messages: [{ role: 'user', content: 'hi' }] })
    expect(mock.choices[0]?.message.content).toBeTruthy()
    const canned = { model: 'gpt', messages: [{ role: 'user' as const, content: 'hi' }], mock_response: 'canned' }
    expect((await openai.chat.completions.create(canned)).choices[0]?.message.content).toBe('canned')
    let text = ''
    for await (const chunk of await openai.chat.completions.create({ ...canned, stream: true as const })) {
      text += chunk.choices[0]?.delta.content ?? ''
    }
    expect(text).toBe('canned')
  })

  it('cancels the upstream call when the client leaves in mid-stream, and books what was produced once', async () => {
    const id = `leave-${mode}`
    const { data: stream, response } = await openai.chat.completions
      .create({ model: 'gpt', messages: script(`id=${id},chunks=1000,interval=20`), stream: true })
      .withResponse()
    let seen = 0
    for await (const _ of stream) {
      seen += 1
      if (seen === 5) break
    }
    await upstream.when(() => upstream.served(id)[0]?.outcome === 'aborted')
    const rows = await gateway.ledger(response.headers.get('x-litellm-call-id') as string)
    expect(rows).toHaveLength(1)
    expect(rows[0]).toMatchObject({ status: 'failure', custom_llm_provider: 'openai' })
    expect(rows[0]?.completion_tokens).toBeGreaterThanOrEqual(4)
    expect(rows[0]?.prompt_tokens).toBeGreaterThan(0)
    expect(rows[0]?.spend).toBeGreaterThan(0)
  })

  it('tells of a provider failure in the envelope, with its headers, and books the failed call once', async () => {
    const failure = await openai.chat.completions
      .create({ model: 'gpt', messages: script('fail=429,message=slow%20down,retry=7'), num_retries: 0 } as never)
      .then(
        () => null,
        (error: InstanceType<typeof OpenAI.APIError>) => error,
      )
    expect(failure).toMatchObject({ status: 429 })
    expect(failure?.error).toMatchObject({ code: '429', message: expect.stringContaining('slow down') })
    expect(failure?.headers?.get('retry-after')).toBe('7')
    const rows = await gateway.ledger(failure?.headers?.get('x-litellm-call-id') as string)
    expect(rows).toHaveLength(1)
    expect(rows[0]).toMatchObject({ status: 'failure', spend: 0 })
  })

  it('retries a failing provider and answers', async () => {
    const { data, response } = await openai.chat.completions
      .create({ model: 'gpt', messages: script(`id=retry-${mode},fail=500x1`) })
      .withResponse()
    expect(data.choices[0]?.message.content).toBeTruthy()
    expect(response.headers.get('x-litellm-attempted-retries')).toBe('1')
  })

  it('never reports a truncated stream as complete', async () => {
    const { data: stream, response } = await openai.chat.completions
      .create({ model: 'gpt', messages: script('chunks=6,fault=cut'), stream: true, ...{ num_retries: 0 } })
      .withResponse()
    await expect(
      (async () => {
        for await (const _ of stream) {
          // Reading to the end is the point.
        }
      })(),
    ).rejects.toThrow()
    const rows = await gateway.ledger(response.headers.get('x-litellm-call-id') as string)
    expect(rows).toHaveLength(1)
    expect(rows[0]).toMatchObject({ status: 'failure' })
    expect(rows[0]?.completion_tokens).toBeGreaterThan(0)
  })

  it.each([5, 64])(
    'carries a body of %i MB',
    async (megabytes) => {
      const id = `big-${mode}-${megabytes}`
      const filler = 'x'.repeat(megabytes * 1024 * 1024)
      const answer = await openai.chat.completions.create({
        model: 'gpt',
        messages: [{ role: 'user', content: `[[upstream id=${id}]]${filler}` }],
      })
      expect(answer.choices[0]?.message.content).toBeTruthy()
      expect(upstream.served(id)[0]?.bodyBytes).toBeGreaterThan(megabytes * 1024 * 1024)
    },
    60_000,
  )

  it('refuses a deleted and a blocked key within a second', async () => {
    for (const [route, body] of [
      ['/key/block', (key: string) => ({ key })],
      ['/key/delete', (key: string) => ({ keys: [key] })],
    ] as const) {
      const victim = await gateway.generateKey({})
      const client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: victim, maxRetries: 0 })
      await client.chat.completions.create({ model: 'mock', messages: [{ role: 'user', content: 'hi' }] })
      await gateway.admin('POST', route, body(victim))
      const since = Date.now()
      for (;;) {
        const refused = await client.chat.completions.create({ model: 'gpt', messages: script('') }).then(
          () => null,
          (error: { status?: number }) => error.status,
        )
        if (refused === 401) break
        expect(Date.now() - since).toBeLessThan(1_000)
      }
    }
  })
})

function configFor(url: string): string {
  return `
model_list:
  - model_name: gpt
    litellm_params:
      model: openai/gpt-scripted
      api_base: ${url}/v1
      api_key: sk-upstream
      input_cost_per_token: 0.000002
      output_cost_per_token: 0.000008
      cache_read_input_token_cost: 0.0000005
  - model_name: claude
    litellm_params:
      model: anthropic/claude-sonnet-4-5
      api_base: ${url}
      api_key: sk-upstream
  - model_name: embed
    litellm_params:
      model: openai/text-embedding-3-small
      api_base: ${url}/v1
      api_key: sk-upstream
  - model_name: mock
    litellm_params:
      model: mock/mock
`
}
