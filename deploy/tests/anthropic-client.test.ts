import Anthropic from '@anthropic-ai/sdk'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startUpstream, type Upstream } from '../../loadtest/upstream.ts'
import { type Gateway, MODES, openGateway } from './gateway.ts'

/** What the official Anthropic SDK sees of models behind either protocol, in both modes, and what is booked. */
describe.each(MODES)('%s', (mode) => {
  let upstream: Upstream
  let gateway: Gateway
  let anthropic: Anthropic

  beforeAll(async () => {
    upstream = await startUpstream()
    gateway = await openGateway(mode, { config: configFor(upstream.url) })
    const key = await gateway.generateKey({ key_alias: `anthropic-${mode}` })
    anthropic = new Anthropic({ baseURL: gateway.url, apiKey: key, maxRetries: 0 })
  }, 120_000)
  afterAll(async () => {
    await gateway?.stop()
    await upstream?.stop()
  })

  const script = (text: string) => [{ role: 'user' as const, content: `hello [[upstream ${text}]]` }]
  const tools = [{ name: 'lookup_0', input_schema: { type: 'object' as const, properties: {} } }]
  const failure = (call: Promise<unknown>) =>
    call.then(
      () => null,
      (error: InstanceType<typeof Anthropic.APIError>) => error,
    )

  describe.each([
    ['claude', 'anthropic'],
    ['gpt', 'openai'],
  ])('model %s of a provider that speaks the %s protocol', (model, provider) => {
    it('answers a message and books it', async () => {
      const { data, response } = await anthropic.messages
        .create({
          model,
          max_tokens: 100,
          system: 'Be brief.',
          messages: script('prompt=1000,completion=20,cached=400,chunks=3'),
        })
        .withResponse()
      expect(data).toMatchObject({
        type: 'message',
        role: 'assistant',
        model,
        stop_reason: 'end_turn',
        stop_sequence: null,
        usage: { input_tokens: 600, cache_read_input_tokens: 400, output_tokens: 20 },
      })
      expect(data.content).toEqual([{ type: 'text', text: expect.stringMatching(/./) }])
      const [row, ...more] = await gateway.ledger(response.headers.get('x-litellm-call-id') as string)
      expect(more).toEqual([])
      expect(row).toMatchObject({
        call_type: 'anthropic_messages',
        custom_llm_provider: provider,
        status: 'success',
        prompt_tokens: 1000,
        completion_tokens: 20,
      })
    })

    it('streams thinking, text and calls as the SDK reads them, and books what the provider reported', async () => {
      const stream = anthropic.messages.stream({
        model,
        max_tokens: 100,
        messages: script('think=2,chunks=4,tools=2,prompt=50,completion=30'),
        tools,
      })
      const { response } = await stream.withResponse()
      const final = await stream.finalMessage()
      expect(final.model).toBe(model)
      expect(final.content.map((block) => block.type)).toEqual(['thinking', 'text', 'tool_use', 'tool_use'])
      expect(final.content.flatMap((block) => (block.type === 'tool_use' ? [block.name] : []))).toEqual(['lookup_0', 'lookup_1'])
      expect(final.content.every((block) => block.type !== 'tool_use' || typeof block.input === 'object')).toBe(true)
      expect(final.stop_reason).toBe('tool_use')
      expect(final.usage).toMatchObject({ input_tokens: 50, output_tokens: 30 })
      const [row, ...more] = await gateway.ledger(response.headers.get('x-litellm-call-id') as string)
      expect(more).toEqual([])
      expect(row).toMatchObject({ status: 'success', prompt_tokens: 50, completion_tokens: 30, custom_llm_provider: provider })
    })

    it('goes on after a tool’s result', async () => {
      const first = await anthropic.messages.create({ model, max_tokens: 100, messages: script('tools=1,chunks=0'), tools })
      const use = first.content.find((block) => block.type === 'tool_use')
      const second = await anthropic.messages.create({
        model,
        max_tokens: 100,
        tools,
        messages: [
          { role: 'user', content: 'hello' },
          { role: 'assistant', content: first.content },
          {
            role: 'user',
            content: [{ type: 'tool_result', tool_use_id: use?.id as string, content: 'found [[upstream chunks=2]]' }],
          },
        ],
      })
      expect(second.stop_reason).toBe('end_turn')
      expect(second.content.map((block) => block.type)).toEqual(['text'])
    })

    it('tells of the provider’s failures in the SDK’s classes, and when to come back', async () => {
      const ask = (text: string) =>
        failure(anthropic.messages.create({ model, max_tokens: 9, messages: script(text), num_retries: 0 } as never))
      const limited = await ask('fail=429,message=slow%20down,retry=7')
      expect(limited).toBeInstanceOf(Anthropic.RateLimitError)
      expect(limited?.error).toMatchObject({
        type: 'error',
        error: { type: 'rate_limit_error', message: expect.stringContaining('slow down') },
      })
      expect(limited?.headers?.get('retry-after')).toBe('7')
      expect(await ask('fail=503')).toMatchObject({ status: 529, error: { error: { type: 'overloaded_error' } } })
      expect(await ask('fail=400,message=nope')).toBeInstanceOf(Anthropic.BadRequestError)
    })

    it.each(['cut', 'error', 'no-done'])('never reports a stream as complete that ends in %s', async (fault) => {
      const stream = anthropic.messages.stream({
        model,
        max_tokens: 100,
        messages: script(`chunks=6,fault=${fault}`),
        disable_fallbacks: true,
        num_retries: 0,
      } as never)
      // OpenAI's protocol is complete with its finish reason: servers exist that leave the terminator out.
      if (fault === 'no-done' && provider === 'openai') expect((await stream.finalMessage()).stop_reason).toBe('end_turn')
      else await expect(stream.finalMessage()).rejects.toThrow()
    })
  })

  it('takes the key as a bearer token too, and refuses others in Anthropic’s envelope', async () => {
    const key = await gateway.generateKey({})
    const bearer = new Anthropic({ baseURL: gateway.url, authToken: key, apiKey: null, maxRetries: 0 })
    const message = { model: 'claude', max_tokens: 9, messages: script('') }
    expect((await bearer.messages.create(message)).stop_reason).toBe('end_turn')
    const stranger = new Anthropic({ baseURL: gateway.url, apiKey: 'sk-stranger', maxRetries: 0 })
    const refused = await failure(stranger.messages.create(message))
    expect(refused).toBeInstanceOf(Anthropic.AuthenticationError)
    expect(refused?.error).toMatchObject({ type: 'error', error: { type: 'authentication_error' } })
  })

  it('refuses a wrong request at its place, and a model nobody has', async () => {
    const wrong = await failure(anthropic.messages.create({ model: 'claude', messages: script('') } as never))
    expect(wrong).toMatchObject({ status: 400, error: { error: { type: 'invalid_request_error' } } })
    expect(wrong?.message).toContain('max_tokens')
    expect(await failure(anthropic.messages.create({ model: 'nobody', max_tokens: 1, messages: script('') }))).toMatchObject({
      status: 400,
      error: { type: 'error' },
    })
  })

  it('refuses a key over its limit, the edge itself the second time, both in Anthropic’s words', async () => {
    const key = await gateway.generateKey({ rpm_limit: 1 })
    const client = new Anthropic({ baseURL: gateway.url, apiKey: key, maxRetries: 0 })
    const ask = () => failure(client.messages.create({ model: 'claude', max_tokens: 9, messages: script('') }))
    expect(await ask()).toBeNull()
    for (const _ of [1, 2]) {
      const refused = await ask()
      expect(refused).toBeInstanceOf(Anthropic.RateLimitError)
      expect(refused?.error).toMatchObject({ type: 'error', error: { type: 'rate_limit_error' } })
    }
  })

  it('loses nothing between an Anthropic client and an Anthropic provider', async () => {
    const id = `native-${mode}`
    await anthropic.messages.create({
      model: 'claude',
      max_tokens: 100,
      messages: script(`id=${id},chunks=1`),
      novel_field: { kept: [1.5] },
      tags: ['for-us'],
    } as never)
    const [served, ...more] = upstream.served(id)
    expect(more).toEqual([])
    expect(JSON.parse(served?.body ?? '')).toEqual({
      model: 'claude-sonnet-4-5',
      max_tokens: 100,
      messages: script(`id=${id},chunks=1`),
      novel_field: { kept: [1.5] },
    })
  })

  it('tells an OpenAI provider nothing that only Anthropic knows, and tools by names it takes', async () => {
    const id = `plain-${mode}`
    const name = `mcp__${'x'.repeat(80)}`
    await anthropic.messages.create({
      model: 'gpt',
      max_tokens: 100,
      system: [{ type: 'text', text: 'Be brief.', cache_control: { type: 'ephemeral' } }],
      messages: script(`id=${id},chunks=1`),
      tools: [{ name, input_schema: { type: 'object' }, cache_control: { type: 'ephemeral' } }],
      thinking: { type: 'enabled', budget_tokens: 1024 },
      top_k: 5,
      metadata: { user_id: 'u' },
    } as never)
    const sent = JSON.parse(upstream.served(id)[0]?.body ?? '') as { tools: { function: { name: string } }[] }
    expect(Object.keys(sent).sort()).toEqual(['max_tokens', 'messages', 'model', 'tools', 'user'])
    expect(sent.tools[0]?.function.name).toHaveLength(64)
  })

  it('answers for the mock', async () => {
    const answer = await anthropic.messages.create({ model: 'mock', max_tokens: 9, messages: [{ role: 'user', content: 'hi' }] })
    expect(answer.content[0]).toMatchObject({ type: 'text' })
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
  - model_name: claude
    litellm_params:
      model: anthropic/claude-sonnet-4-5
      api_base: ${url}
      api_key: sk-upstream
  - model_name: mock
    litellm_params:
      model: mock/mock
`
}
