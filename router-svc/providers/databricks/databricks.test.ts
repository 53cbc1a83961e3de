import { describe, expect, it } from 'vitest'
import { providerOf } from '../index.ts'
import type { Fields } from '../json.ts'
import { entries, fileNames, haveRecordings, recordings } from '../openai/recordings.suite.ts'
import { answered, embedded, eventsIn, folded, said, sent, streamed } from '../openai-variant.testkit.ts'
import type { Provider, Target } from '../provider.ts'

const databricks = providerOf('databricks') as Provider
const HOST = 'https://adb-1.7.azuredatabricks.net'
const LLAMA = 'databricks-meta-llama-3-3-70b-instruct'
const CLAUDE = 'databricks-claude-sonnet-4-5'
const messages = [{ role: 'user', content: 'hi' }]

const place = (changes: Partial<Target> = {}): Partial<Target> => ({
  model: LLAMA,
  base: `${HOST}/serving-endpoints`,
  ...changes,
})
const chat = (request: Fields, changes: Partial<Target> = {}) =>
  sent(databricks, 'chat', { model: 'alias', messages, ...request }, place(changes))

describe('a request to Databricks', () => {
  it('goes to the serving endpoints of a workspace, or to the one endpoint an operator names', () => {
    for (const [base, url] of [
      [HOST, `${HOST}/serving-endpoints/chat/completions`],
      [`${HOST}/serving-endpoints`, `${HOST}/serving-endpoints/chat/completions`],
      [`${HOST}/serving-endpoints/v1`, `${HOST}/serving-endpoints/v1/chat/completions`],
      [`${HOST}/serving-endpoints/mine/invocations`, `${HOST}/serving-endpoints/mine/invocations`],
    ] as const)
      expect(chat({}, { base }).url).toBe(url)
    expect(sent(databricks, 'completion', { model: 'a', prompt: 'x' }, place()).url).toBe(`${HOST}/serving-endpoints/completions`)
    expect(sent(databricks, 'embedding', { model: 'a', input: 'x', encoding_format: 'base64' }, place())).toEqual({
      url: `${HOST}/serving-endpoints/embeddings`,
      body: { model: LLAMA, input: 'x' },
    })
  })

  it('has its one name for the output limit, and nothing its endpoints refuse without need', () => {
    const named = [{ role: 'user', name: 'bob', content: 'hi', cache_control: { type: 'ephemeral' } }]
    const tools = [{ type: 'function', cache_control: {}, function: { name: 'f', strict: true, parameters: { type: 'object' } } }]
    const asked = {
      messages: named,
      tools,
      max_completion_tokens: 5,
      stream: true,
      stream_options: { include_usage: true },
      user: 'u',
    }
    expect(chat(asked).body).toEqual({
      model: LLAMA,
      messages,
      tools: [{ type: 'function', function: { name: 'f', parameters: { type: 'object' } } }],
      max_tokens: 5,
      stream: true,
    })
  })

  it('names what is not supported', () => {
    const asked = { seed: 1, logit_bias: { 1: 2 }, presence_penalty: 0.5, parallel_tool_calls: false }
    expect(() => chat(asked)).toThrow(/'logit_bias', 'presence_penalty', 'seed', 'parallel_tool_calls'/)
    expect(chat(asked, { dropParams: true }).body).toEqual({ model: LLAMA, messages })
    expect(chat({ presence_penalty: 0, frequency_penalty: 0, parallel_tool_calls: true }).body).toEqual({
      model: LLAMA,
      messages,
    })
  })

  it('for Claude makes thinking of an effort, for others sends the effort as it is', () => {
    expect(chat({ reasoning_effort: 'low' }).body).toMatchObject({ reasoning_effort: 'low' })
    const { body } = chat({ reasoning_effort: 'low' }, { model: CLAUDE })
    expect(body).toMatchObject({ thinking: { type: 'enabled', budget_tokens: 1024 } })
    expect(body).not.toHaveProperty('reasoning_effort')
    const thinking = { type: 'enabled', budget_tokens: 5000 }
    expect(chat({ thinking, max_tokens: 9000 }, { model: CLAUDE }).body).toMatchObject({ thinking, max_tokens: 9000 })
    expect(chat({ reasoning_effort: 'low' }, { model: 'my-endpoint', baseModel: CLAUDE }).body).toHaveProperty('thinking')
  })

  it('gives Claude its thoughts back as parts, and others none', () => {
    const thought = {
      role: 'assistant',
      content: 'yes',
      reasoning_content: 'hm',
      thinking_blocks: [
        { type: 'thinking', thinking: 'hm', signature: 's' },
        { type: 'thinking', thinking: 'unsigned' },
      ],
    }
    const turns = [{ role: 'user', content: [{ type: 'text', text: 'hi', cache_control: { type: 'ephemeral' } }] }, thought]
    expect(chat({ messages: turns }, { model: CLAUDE }).body['messages']).toEqual([
      turns[0],
      {
        role: 'assistant',
        content: [
          { type: 'reasoning', summary: [{ type: 'summary_text', text: 'hm', signature: 's' }] },
          { type: 'text', text: 'yes' },
        ],
      },
    ])
    expect(chat({ messages: turns }).body['messages']).toEqual([
      { role: 'user', content: [{ type: 'text', text: 'hi' }] },
      { role: 'assistant', content: 'yes' },
    ])
  })
})

// Bytes after the documented form: Claude was not recorded.
describe('an answer of Databricks', () => {
  const content = [
    { type: 'reasoning', summary: [{ type: 'summary_text', text: 'hm', signature: 's' }] },
    { type: 'text', text: 'yes', citations: [{ url: 'x' }] },
    { type: 'text', text: '!' },
  ]
  const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }

  it('of parts is text, with what was thought beside it', () => {
    const choices = [{ index: 0, message: { role: 'assistant', content }, finish_reason: 'stop' }]
    expect(answered(databricks, { id: 'x', object: 'chat.completion', created: 1, model: 'claude', choices, usage })).toEqual({
      id: 'x',
      object: 'chat.completion',
      created: 1,
      model: 'claude',
      choices: [
        {
          index: 0,
          message: {
            role: 'assistant',
            content: 'yes!',
            reasoning_content: 'hm',
            thinking_blocks: [{ type: 'thinking', thinking: 'hm', signature: 's' }],
            provider_specific_fields: { citations: [{ url: 'x' }] },
          },
          finish_reason: 'stop',
        },
      ],
      usage,
    })
  })

  it('without signatures has reasoning and no blocks to replay', () => {
    const open = [
      { type: 'reasoning', summary: [{ type: 'summary_text', text: 'hm' }] },
      { type: 'text', text: 'yes' },
    ]
    const choices = [{ index: 0, message: { role: 'assistant', content: open }, finish_reason: 'stop' }]
    const message = answered(databricks, { choices }).choices[0]?.message
    expect(message).toEqual({ role: 'assistant', content: 'yes', reasoning_content: 'hm' })
  })

  const event = (delta: Fields, finish_reason: string | null = null, more: Fields = {}) =>
    `data: ${JSON.stringify({ id: 'x', object: 'chat.completion.chunk', created: 1, model: 'm', choices: [{ index: 0, delta, finish_reason }], ...more })}\n\n`
  const thinking = (text: string, signature = '') => ({
    content: [{ type: 'reasoning', summary: [{ type: 'summary_text', text, signature }] }],
  })

  it('streams parts as text and thoughts, the block whole when its signature comes', () => {
    const source =
      event({ role: 'assistant', ...thinking('h') }) +
      event(thinking('m')) +
      event(thinking('', 's')) +
      event({ content: [{ type: 'text', text: 'y' }] }) +
      event({ content: 'es' }) +
      event({ content: '' }, 'stop', { usage }) +
      'data: [DONE]\n\n'
    const { content, reasoning, finish, roles, usage: counted, thinking: blocks } = folded(databricks, source)
    expect({ content, reasoning, finish, roles, counted, blocks }).toEqual({
      content: 'yes',
      reasoning: 'hm',
      finish: 'stop',
      roles: 1,
      counted: usage,
      blocks: [{ type: 'thinking', thinking: 'hm', signature: 's' }],
    })
  })

  const call = (index: number, fields: Fields) => ({ tool_calls: [{ index, ...fields }] })
  const begin = (index: number, name: string) =>
    call(index, { id: `c${index}`, type: 'function', function: { name, arguments: '{}' } })

  it('streams a call whose arguments begin as an empty object: it is none yet, or all of them', () => {
    const source =
      event({ role: 'assistant', ...begin(0, 'f') }) +
      event(call(0, { function: { arguments: '{"x":' } })) +
      event(call(0, { function: { arguments: '1}' } })) +
      event(begin(1, 'g')) +
      event({}, 'tool_calls') +
      'data: [DONE]\n\n'
    expect(folded(databricks, source)).toMatchObject({
      finish: 'tool_calls',
      toolCalls: [
        { id: 'c0', function: { name: 'f', arguments: '{"x":1}' } },
        { id: 'c1', function: { name: 'g', arguments: '{}' } },
      ],
    })
    const atOnce = event({ role: 'assistant', ...begin(0, 'f') }, 'tool_calls')
    expect(folded(databricks, atOnce).toolCalls[0]?.function?.arguments).toBe('{}')
  })

  it('that breaks off or fails on the way does not end well', () => {
    const begun = event({ role: 'assistant', content: 'y' })
    expect(streamed(databricks, begun).error).toMatchObject({ code: 'provider_truncated' })
    const failure = 'data: {"error_code":"INTERNAL_ERROR","message":"no"}\n\n'
    expect(streamed(databricks, begun + failure).error).toMatchObject({ code: 'provider_error' })
    expect(() => answered(databricks, { error_code: 'REQUEST_LIMIT_EXCEEDED', message: 'no' })).toThrow(
      expect.objectContaining({ code: 'provider_rate_limited' }),
    )
  })
})

describe('a refusal of Databricks', () => {
  it.each([
    [400, 'BAD_REQUEST', 'no', 'provider_bad_request'],
    [400, 'INVALID_PARAMETER_VALUE', 'Input is too long for requested model.', 'context_window_exceeded'],
    [403, 'PERMISSION_DENIED', 'no', 'provider_permission'],
    [404, 'RESOURCE_DOES_NOT_EXIST', 'no', 'provider_not_found'],
    [429, 'REQUEST_LIMIT_EXCEEDED', 'no', 'provider_rate_limited'],
    [500, 'INTERNAL_ERROR', 'no', 'provider_error'],
    [503, 'TEMPORARILY_UNAVAILABLE', 'no', 'provider_unavailable'],
  ])('of status %i and code %s (%s) is %s', (status, error_code, message, code) => {
    const error = databricks.decodeError(status, {}, JSON.stringify({ error_code, message }))
    expect(error).toMatchObject({ code, providerCode: error_code })
    expect(error.message).toMatch(new RegExp(`DatabricksException - ${message}$`))
  })

  it('in the words of the model behind an endpoint is read too', () => {
    const body = '{"error":{"message":"Incorrect API key provided","type":"invalid_request_error","code":"invalid_api_key"}}'
    expect(databricks.decodeError(401, {}, body)).toMatchObject({ code: 'provider_authentication' })
  })
})

describe.skipIf(!haveRecordings())('recorded answers of Databricks', () => {
  const files = haveRecordings() ? fileNames('databricks') : []

  it('are all there', () => {
    expect(files.sort()).toEqual(
      entries('databricks')
        .flatMap((entry) => entry.files)
        .sort(),
    )
    expect(files).toHaveLength(5)
  })

  for (const { file, body, stream, request } of files.flatMap((file) => recordings('databricks', file, 'chat'))) {
    if (file.startsWith('embeddings')) {
      it(`are read: ${file}`, () => {
        const raw = JSON.parse(body as string) as { data: { embedding: number[] }[]; usage: Fields }
        const { data, usage } = embedded(databricks, body)
        expect(data[0]?.embedding).toEqual(raw.data[0]?.embedding)
        expect(usage).toMatchObject({ ...raw.usage, completion_tokens: 0 })
        expect(sent(databricks, 'embedding', request, place({ model: String(request['model']) })).body).toEqual({
          model: request['model'],
          input: request['input'],
        })
      })
      continue
    }
    it(`are read, and asked for as they were: ${file}`, () => {
      if (stream !== null) {
        const expected = said(eventsIn(stream))
        const { content, finish, usage, toolCalls } = folded(databricks, stream)
        expect({ content, finish }).toEqual({ content: expected.content, finish: expected.finish })
        expect(toolCalls.map((call) => call.function?.arguments).join('')).toBe(expected.calls)
        expect(usage).toMatchObject({ total_tokens: expected.usage?.['total_tokens'] })
      } else {
        const raw = JSON.parse(body as string) as { choices: [{ message: Fields; finish_reason: string }]; usage: Fields }
        const { choices, usage } = answered(databricks, body)
        expect(choices[0]?.message.content).toBe(raw.choices[0].message['content'])
        expect(choices[0]?.message.tool_calls ?? null).toEqual(raw.choices[0].message['tool_calls'])
        expect(choices[0]?.finish_reason).toBe(raw.choices[0].finish_reason)
        expect(usage).toMatchObject({ total_tokens: raw.usage['total_tokens'] })
      }
      expect(chat(request).body).toEqual(request)
    })
  }
})
