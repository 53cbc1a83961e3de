import { createAnthropic } from '@ai-sdk/anthropic'
import { createOpenAI } from '@ai-sdk/openai'
import { HumanMessage } from '@langchain/core/messages'
import { tool as langchainTool } from '@langchain/core/tools'
import { ChatOpenAI, OpenAIEmbeddings } from '@langchain/openai'
import { embedMany, generateText, stepCountIs, streamText, tool } from 'ai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startUpstream, type Upstream } from '../../loadtest/upstream.ts'
import { z } from '../../shared/schema.ts'
import { type Gateway, MODES, openGateway } from './gateway.ts'

/** What the frameworks people build with see of models behind either protocol, in both modes. */
describe.each(MODES)('%s', (mode) => {
  let upstream: Upstream
  let gateway: Gateway
  let key: string

  beforeAll(async () => {
    upstream = await startUpstream()
    const openai = { api_base: `${upstream.url}/v1`, api_key: 'sk-upstream' }
    const config = {
      model_list: [
        { model_name: 'gpt', litellm_params: { model: 'openai/gpt-scripted', ...openai } },
        { model_name: 'embed', litellm_params: { model: 'openai/text-embedding-3-small', ...openai } },
        {
          model_name: 'claude',
          litellm_params: { model: 'anthropic/claude-sonnet-4-5', api_base: upstream.url, api_key: 'sk-upstream' },
        },
      ],
    }
    gateway = await openGateway(mode, { config: JSON.stringify(config) })
    key = await gateway.generateKey({})
  }, 120_000)
  afterAll(async () => {
    await gateway?.stop()
    await upstream?.stop()
  })

  const asked = (text: string): string => `hello [[upstream ${text}]]`

  describe.each(['gpt', 'claude'])('the Vercel AI SDK on model %s', (model) => {
    const chat = () => createOpenAI({ baseURL: `${gateway.url}/v1`, apiKey: key }).chat(model)
    const responses = () => createOpenAI({ baseURL: `${gateway.url}/v1`, apiKey: key }).responses(model)
    const messages = () => createAnthropic({ baseURL: `${gateway.url}/v1`, apiKey: key })(model)

    it.each([
      ['chat completions', chat],
      ['responses', responses],
      ['messages', messages],
    ])('generates and streams text over %s, with the usage the provider told', async (_name, of) => {
      const whole = await generateText({ model: of(), prompt: asked('prompt=40,completion=7'), maxRetries: 0 })
      expect(whole.text).not.toBe('')
      expect(whole.finishReason).toBe('stop')
      expect(whole.usage).toMatchObject({ inputTokens: 40, outputTokens: 7 })
      const stream = streamText({ model: of(), prompt: asked('prompt=40,completion=7,chunks=5'), maxRetries: 0 })
      let text = ''
      for await (const piece of stream.textStream) text += piece
      expect(text).not.toBe('')
      expect(await stream.finishReason).toBe('stop')
      expect(await stream.usage).toMatchObject({ inputTokens: 40, outputTokens: 7 })
    })

    it.each([
      ['chat completions', chat],
      ['responses', responses],
      ['messages', messages],
    ])('has its tools called over %s', async (_name, of) => {
      const { toolCalls, finishReason } = await generateText({
        model: of(),
        prompt: asked('tools=1'),
        tools: { lookup_0: tool({ description: 'Looks up.', inputSchema: z.looseObject({}) }) },
        stopWhen: stepCountIs(1),
        maxRetries: 0,
      })
      expect(finishReason).toBe('tool-calls')
      expect(toolCalls.map(({ toolName }) => toolName)).toEqual(['lookup_0'])
    })
  })

  it('embeds with the Vercel AI SDK', async () => {
    const openai = createOpenAI({ baseURL: `${gateway.url}/v1`, apiKey: key })
    const { embeddings, usage } = await embedMany({ model: openai.embedding('embed'), values: ['one', 'two'], maxRetries: 0 })
    expect(embeddings.length).toBe(2)
    expect(embeddings.every((vector) => vector.length > 0 && vector.every(Number.isFinite))).toBe(true)
    expect(usage.tokens).toBeGreaterThan(0)
  })

  describe.each(['gpt', 'claude'])('LangChain on model %s', (model) => {
    const chat = () =>
      new ChatOpenAI({
        model,
        apiKey: key,
        maxRetries: 0,
        configuration: { baseURL: `${gateway.url}/v1` },
        useResponsesApi: false,
      })

    it('invokes and streams, with usage', async () => {
      const answer = await chat().invoke([new HumanMessage(asked('prompt=40,completion=7'))])
      expect(answer.text).not.toBe('')
      expect(answer.usage_metadata).toMatchObject({ input_tokens: 40, output_tokens: 7 })
      let text = ''
      for await (const chunk of await chat().stream([new HumanMessage(asked('chunks=4'))])) text += chunk.text
      expect(text).not.toBe('')
    })

    it('binds tools', async () => {
      const lookup = langchainTool(() => 'found', { name: 'lookup_0', description: 'Looks up.', schema: z.looseObject({}) })
      const answer = await chat()
        .bindTools([lookup])
        .invoke([new HumanMessage(asked('tools=1'))])
      expect(answer.tool_calls?.map(({ name }) => name)).toEqual(['lookup_0'])
    })
  })

  it('embeds with LangChain', async () => {
    const embeddings = new OpenAIEmbeddings({
      model: 'embed',
      apiKey: key,
      maxRetries: 0,
      configuration: { baseURL: `${gateway.url}/v1` },
    })
    const [first, second, ...more] = await embeddings.embedDocuments(['one', 'two'])
    expect(more).toEqual([])
    expect(first?.length).toBeGreaterThan(0)
    expect(second?.length).toBe(first?.length)
  })
})
