import { describe, expect, it } from 'vitest'
import type { ChatRequest, Message } from '../../canonical/chat.ts'
import type { Target } from '../provider.ts'
import { target } from './recordings.testkit.ts'
import { encodeRequest } from './request.ts'
import type { Fields } from './wire.ts'

const USER: Message = { role: 'user', content: 'hi' }
const LLAMA = { model: 'meta.llama3-1-8b-instruct-v1:0' }
const NOVA = { model: 'us.amazon.nova-2-lite-v1:0' }
const tool = { type: 'function', function: { name: 'f', parameters: { type: 'object', properties: {} } } }

function body(fields: Partial<ChatRequest>, to: Partial<Target> = {}): Fields {
  const { body: sent } = encodeRequest({ model: 'm', messages: [USER], ...fields }, target(to))
  return JSON.parse(String(sent)) as Fields
}

function url(model: string, stream = false): string {
  return encodeRequest({ model: 'm', messages: [USER], stream }, target({ model })).url
}

function messages(...given: Message[]): unknown {
  return body({ messages: given })['messages']
}

describe('where a request for Bedrock goes', () => {
  it('is the model’s own path, its id as one step, without what LiteLLM writes before it', () => {
    const base = 'https://bedrock-runtime.us-east-1.amazonaws.com'
    expect(url('us.anthropic.claude-x-v1:0')).toBe(`${base}/model/us.anthropic.claude-x-v1%3A0/converse`)
    expect(url('converse/amazon.nova-micro-v1:0', true)).toBe(`${base}/model/amazon.nova-micro-v1%3A0/converse-stream`)
    expect(url('us-west-2/amazon.nova')).toBe('https://bedrock-runtime.us-west-2.amazonaws.com/model/amazon.nova/converse')
    const arn = 'arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/abc'
    const named = encodeRequest({ model: 'm', messages: [USER] }, target({ settings: { model_id: arn } }))
    expect(new URL(named.url).pathname).toBe(`/model/${encodeURIComponent(arn)}/converse`)
    expect(JSON.parse(String(named.body))).toEqual({ messages: [{ role: 'user', content: [{ text: 'hi' }] }] })
    expect(url(`converse/${arn}`)).toBe(
      `https://bedrock-runtime.eu-west-1.amazonaws.com/model/${encodeURIComponent(arn)}/converse`,
    )
  })
})

describe('messages for Bedrock', () => {
  it('are turns of one role each, results of tools first, the first one the user’s', () => {
    const call = { id: 'call 1', type: 'function', function: { name: 'f', arguments: '{"a":1}' } }
    expect(
      messages(
        { role: 'assistant', content: 'hello', tool_calls: [call] },
        { role: 'user', content: 'and?' },
        { role: 'tool', tool_call_id: 'call 1', content: '' },
      ),
    ).toEqual([
      { role: 'user', content: [{ text: '.' }] },
      { role: 'assistant', content: [{ text: 'hello' }, { toolUse: { toolUseId: 'call_1', name: 'f', input: { a: 1 } } }] },
      {
        role: 'user',
        content: [{ toolResult: { toolUseId: 'call_1', content: [{ text: '.' }], status: 'success' } }, { text: 'and?' }],
      },
    ])
  })

  it('carry images, documents and objects in S3, each document under its own clean name and beside text', () => {
    const file = { type: 'file', file: { filename: 'my_file v1.pdf', file_data: 'data:application/pdf;base64,QQ==' } }
    expect(messages({ role: 'user', content: [file, file, { type: 'image_url', image_url: { url: 's3://b/x.PNG' } }] })).toEqual([
      {
        role: 'user',
        content: [
          { document: { format: 'pdf', name: 'my-file v1', source: { bytes: 'QQ==' } } },
          { document: { format: 'pdf', name: 'my-file v1 2', source: { bytes: 'QQ==' } } },
          { image: { format: 'png', source: { s3Location: { uri: 's3://b/x.PNG' } } } },
          { text: '.' },
        ],
      },
    ])
    expect(() => messages({ role: 'user', content: [{ type: 'image_url', image_url: 'https://x.test/a.png' }] })).toThrow(
      'messages[0].content[0].image_url.url must be a data URI',
    )
  })

  it('mark what is to be cached with a point after it, where the model has a cache', () => {
    const marked: Message = {
      role: 'user',
      content: [{ type: 'text', text: 'a', cache_control: { type: 'ephemeral', ttl: '1h' } }],
    }
    expect(messages(marked)).toEqual([{ role: 'user', content: [{ text: 'a' }, { cachePoint: { type: 'default', ttl: '1h' } }] }])
    expect(body({ messages: [marked] }, LLAMA)['messages']).toEqual([{ role: 'user', content: [{ text: 'a' }] }])
  })

  it('give Claude its signed thinking back, and nobody another’s', () => {
    const thought: Message = {
      role: 'assistant',
      content: 'so',
      thinking_blocks: [
        { type: 'thinking', thinking: 'hm', signature: 's' },
        { type: 'thinking', thinking: 'unsigned' },
        { type: 'redacted_thinking', data: 'QQ==' },
      ],
    }
    expect((messages(USER, thought, USER) as Fields[])[1]).toEqual({
      role: 'assistant',
      content: [
        { reasoningContent: { reasoningText: { text: 'hm', signature: 's' } } },
        { reasoningContent: { redactedContent: 'QQ==' } },
        { text: 'so' },
      ],
    })
    expect((body({ messages: [USER, thought, USER] }, NOVA)['messages'] as Fields[])[1]).toEqual({
      role: 'assistant',
      content: [{ text: 'so' }],
    })
  })
})

describe('parameters for Bedrock', () => {
  it('go to the inference configuration, to the request itself, or to the fields of the model', () => {
    const guardrailConfig = { guardrailIdentifier: 'g', guardrailVersion: '1' }
    const given = {
      max_tokens: 9,
      temperature: 0.5,
      stop: ['x', ' '],
      top_k: 4,
      guardrailConfig,
      service_tier: 'priority',
      user: 'u',
      own: 1,
    }
    expect(body(given, { model: 'anthropic.claude-3-5-sonnet-20240620-v1:0' })).toEqual({
      messages: [{ role: 'user', content: [{ text: 'hi' }] }],
      inferenceConfig: { maxTokens: 9, temperature: 0.5, stopSequences: ['x'] },
      serviceTier: { type: 'priority' },
      guardrailConfig,
      additionalModelRequestFields: { top_k: 4, own: 1 },
    })
    expect(body({ top_k: 4 }, NOVA)['additionalModelRequestFields']).toEqual({ inferenceConfig: { topK: 4 } })
  })

  it('that no model here has are refused by name, or left out where that is allowed', () => {
    expect(() => body({ seed: 1, n: 2 })).toThrow("['seed', 'n']")
    expect(body({ seed: 1, n: 2 }, { dropParams: true })['additionalModelRequestFields']).toBeUndefined()
    expect(body({ seed: 1 }, { allowedOpenaiParams: ['seed'] })['additionalModelRequestFields']).toEqual({ seed: 1 })
    expect(() => body({ reasoning_effort: 'high' }, LLAMA)).toThrow("['reasoning_effort']")
  })

  it('that ask for thinking are said in the words of the model’s maker', () => {
    const fields = (model: string, more: Partial<ChatRequest> = {}) =>
      body({ reasoning_effort: 'low', ...more }, { model })['additionalModelRequestFields']
    expect(fields('us.anthropic.claude-sonnet-4-5-20250929-v1:0', { max_tokens: 5000 })).toEqual({
      thinking: { type: 'enabled', budget_tokens: 1024 },
    })
    expect(fields('us.anthropic.claude-opus-4-7')).toEqual({ thinking: { type: 'adaptive' }, output_config: { effort: 'low' } })
    expect(fields(NOVA.model)).toEqual({ reasoningConfig: { type: 'enabled', maxReasoningEffort: 'low' } })
    expect(fields('openai.gpt-oss-120b-1:0')).toEqual({ reasoning_effort: 'low' })
  })

  it('choose tools as the model lets them be chosen', () => {
    const config = (fields: Partial<ChatRequest>, to?: Partial<Target>) =>
      body({ tools: [tool], ...fields }, to)['toolConfig'] as Fields
    expect(config({ tool_choice: 'required' })['toolChoice']).toEqual({ any: {} })
    expect(config({ tool_choice: { type: 'function', function: { name: 'f' } } })['toolChoice']).toEqual({ tool: { name: 'f' } })
    expect(config({ tool_choice: 'none' })).toBeUndefined()
    expect(() => config({ tool_choice: 'required' }, LLAMA)).toThrow("['tool_choice']")
    const single = body({ tools: [tool], parallel_tool_calls: false })
    expect(single['additionalModelRequestFields']).toEqual({ tool_choice: { type: 'auto', disable_parallel_tool_use: true } })
  })

  it('define tools the conversation called, when the client does not send them any more', () => {
    const call = { id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } }
    const sent = body({
      messages: [USER, { role: 'assistant', tool_calls: [call] }, { role: 'tool', tool_call_id: 'c', content: 'x' }],
    })
    expect((sent['toolConfig'] as { tools: Fields[] }).tools).toEqual([
      { toolSpec: { name: 'f', inputSchema: { json: { type: 'object', properties: {} } } } },
    ])
  })

  it('ask for a structure natively, or by a tool on models without it', () => {
    const schema = { type: 'object', properties: { a: { type: 'string' } } }
    const asked = { response_format: { type: 'json_schema', json_schema: { name: 'n', schema } } }
    const format = (body(asked)['outputConfig'] as { textFormat: { structure: { jsonSchema: Fields } } }).textFormat
    expect(format.structure.jsonSchema['name']).toBe('n')
    expect(body(asked, NOVA)['toolConfig']).toMatchObject({
      tools: [{ toolSpec: { name: 'json_tool_call', inputSchema: { json: schema } } }],
      toolChoice: { tool: { name: 'json_tool_call' } },
    })
  })
})
