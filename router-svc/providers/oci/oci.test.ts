import { describe, expect, it } from 'vitest'
import type { ChatRequest } from '../../canonical/chat.ts'
import { providerOf } from '../index.ts'
import type { Fields } from '../json.ts'
import { PLAIN_TARGET } from '../plain-target.ts'
import { cuts, decodePieces, foldChunks } from '../provider.suite.ts'
import type { Provider, Target } from '../provider.ts'

const oci = providerOf('oci') as Provider
const chat = oci.chat as NonNullable<Provider['chat']>
const TOOL = {
  type: 'function',
  function: {
    name: 'weather',
    description: 'Tells it',
    parameters: {
      type: 'object',
      properties: { city: { type: 'string', description: 'Where' }, days: { type: 'integer', minimum: 1 } },
      required: ['city'],
    },
  },
}
const CALL = { id: 'c1', type: 'function', function: { name: 'weather', arguments: '{"city":"Rome"}' } }
const CONTEXT = { id: 'chatcmpl-1', created: 7, model: 'm', request: {} }

function target(changes: Partial<Target> = {}): Target {
  return {
    ...PLAIN_TARGET,
    provider: 'oci',
    model: 'xai.grok-4',
    base: 'https://o.test',
    settings: { oci_compartment_id: 'c' },
    ...changes,
  }
}

function encode(request: Partial<ChatRequest>, changes: Partial<Target> = {}): { url: string; body: Fields; chat: Fields } {
  const { url, body } = chat.encodeRequest(
    { model: 'a', messages: [{ role: 'user', content: 'hi' }], ...request },
    target(changes),
  )
  const parsed = JSON.parse(body as string) as Fields
  return { url, body: parsed, chat: parsed['chatRequest'] as Fields }
}

function streamed(...events: unknown[]) {
  const bytes = Buffer.from(events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(''))
  const [first, ...others] = cuts(bytes, 5).map((pieces) =>
    decodePieces((chat.decodeStream as NonNullable<typeof chat.decodeStream>)(CONTEXT), pieces),
  )
  for (const other of others) expect(other).toEqual(first)
  return first as NonNullable<typeof first>
}

function decode(answer: unknown) {
  return chat.decodeResponse(Buffer.from(JSON.stringify(answer)), {}, CONTEXT)
}

describe('a chat for Oracle in the generic form', () => {
  it('says who pays, where the model runs, and everything by Oracle’s names', () => {
    const { url, body, chat } = encode({
      messages: [
        { role: 'developer', content: 'Be brief.' },
        {
          role: 'user',
          content: [
            { type: 'text', text: 'What?' },
            { type: 'image_url', image_url: { url: 'data:image/png;base64,AA==', detail: 'low' } },
          ],
        },
        { role: 'assistant', content: null, tool_calls: [CALL] },
        { role: 'tool', tool_call_id: 'c1', content: 'sunny' },
      ],
      stream: true,
      max_tokens: 9,
      top_p: 0.5,
      stop: 'x',
      n: 2,
      user: 'somebody',
      tools: [TOOL],
      tool_choice: { type: 'function', function: { name: 'weather' } },
      parallel_tool_calls: false,
      reasoning_effort: 'low',
      response_format: { type: 'json_schema', json_schema: { name: 'a', schema: { type: 'object' }, strict: true } },
      safetyMode: 'OFF',
    } as Partial<ChatRequest>)
    expect(url).toBe('https://o.test/20231130/actions/chat')
    expect(body).toMatchObject({ compartmentId: 'c', servingMode: { servingType: 'ON_DEMAND', modelId: 'xai.grok-4' } })
    expect(chat).toEqual({
      apiFormat: 'GENERIC',
      messages: [
        { role: 'SYSTEM', content: [{ type: 'TEXT', text: 'Be brief.' }] },
        {
          role: 'USER',
          content: [
            { type: 'TEXT', text: 'What?' },
            { type: 'IMAGE', imageUrl: { url: 'data:image/png;base64,AA==', detail: 'LOW' } },
          ],
        },
        { role: 'ASSISTANT', toolCalls: [{ id: 'c1', type: 'FUNCTION', name: 'weather', arguments: '{"city":"Rome"}' }] },
        { role: 'TOOL', content: [{ type: 'TEXT', text: 'sunny' }], toolCallId: 'c1' },
      ],
      isStream: true,
      streamOptions: { isIncludeUsage: true },
      maxTokens: 9,
      topP: 0.5,
      stop: ['x'],
      numGenerations: 2,
      tools: [{ type: 'FUNCTION', ...TOOL.function }],
      toolChoice: { type: 'FUNCTION', name: 'weather' },
      isParallelToolCalls: false,
      reasoningEffort: 'LOW',
      responseFormat: { type: 'JSON_SCHEMA', jsonSchema: { name: 'a', schema: { type: 'object' }, isStrict: true } },
      safetyMode: 'OFF',
    })
  })

  it('always limits the answer, OpenAI’s models by their own name for it, and goes to a dedicated endpoint where there is one', () => {
    expect(encode({}).chat).toMatchObject({ maxTokens: 4000 })
    expect(encode({}, { model: 'openai.gpt-oss-120b', maxOutputTokens: 100 }).chat).toMatchObject({ maxCompletionTokens: 100 })
    const dedicated = { oci_compartment_id: 'c', oci_serving_mode: 'dedicated', oci_endpoint_id: 'ocid1.endpoint' }
    expect(encode({}, { settings: dedicated }).body['servingMode']).toEqual({
      servingType: 'DEDICATED',
      endpointId: 'ocid1.endpoint',
    })
    expect(encode({}, { base: 'https://o.test/20231130/actions/chat' }).url).toBe('https://o.test/20231130/actions/chat')
  })

  it('names what it cannot ask for, and lets nobody but the operator say who pays', () => {
    expect(() => encode({ logprobs: true } as Partial<ChatRequest>)).toThrow(/oci does not support parameters: \['logprobs'\]/)
    expect(encode({ logprobs: true } as Partial<ChatRequest>, { dropParams: true }).chat).not.toHaveProperty('logprobs')
    expect(() => encode({ oci_compartment_id: 'mine' } as Partial<ChatRequest>)).toThrow(/belongs to the deployment/)
    expect(() => encode({ messages: [{ role: 'user', content: [{ type: 'video' }] }] })).toThrow(/messages\[0\]\.content\[0\]/)
  })

  it('is read with calls, thinking, and counts with their details', () => {
    const usage = {
      promptTokens: 5,
      completionTokens: 4,
      totalTokens: 9,
      promptTokensDetails: { cachedTokens: 2 },
      completionTokensDetails: { reasoningTokens: 3 },
    }
    const message = {
      role: 'ASSISTANT',
      content: [{ type: 'TEXT', text: 'So' }],
      reasoningContent: 'hm',
      toolCalls: [{ id: 'c1', type: 'FUNCTION', name: 'weather', arguments: '{}' }],
    }
    const choices = [{ index: 0, message, finishReason: 'stop' }]
    const answer = decode({
      modelId: 'x',
      chatResponse: { apiFormat: 'GENERIC', timeCreated: '2025-01-01T00:00:00.000Z', choices, usage },
    })
    expect(answer).toMatchObject({ id: 'chatcmpl-1', created: 1735689600, model: 'm' })
    expect(answer.choices).toEqual([
      {
        index: 0,
        message: {
          role: 'assistant',
          content: 'So',
          reasoning_content: 'hm',
          tool_calls: [{ id: 'c1', type: 'function', function: { name: 'weather', arguments: '{}' } }],
        },
        finish_reason: 'tool_calls',
      },
    ])
    expect(answer.usage).toEqual({
      prompt_tokens: 5,
      completion_tokens: 4,
      total_tokens: 9,
      prompt_tokens_details: { cached_tokens: 2 },
      completion_tokens_details: { reasoning_tokens: 3 },
    })
  })

  it('streams pieces of text and of calls, and is whole only with a finish reason', () => {
    const piece = (message: object, rest: object = {}) => ({
      index: 0,
      message: { role: 'ASSISTANT', ...message },
      pad: 'aaa',
      ...rest,
    })
    const events = [
      piece({ content: [{ type: 'TEXT', text: 'Hel' }] }),
      piece({ content: [{ type: 'TEXT', text: 'lo' }] }),
      piece({ toolCalls: [{ id: 'c1', type: 'FUNCTION', name: 'weather', arguments: '{"ci' }] }),
      piece({ toolCalls: [{ type: 'FUNCTION', arguments: 'ty":1}' }] }),
    ]
    const end = [{ message: {}, finishReason: 'tool_calls' }, { usage: { promptTokens: 1, completionTokens: 2, totalTokens: 3 } }]
    const { chunks, error } = streamed(...events, ...end)
    expect(error).toBeNull()
    const { choices, usage } = foldChunks(chunks)
    expect(choices.get(0)).toMatchObject({
      content: 'Hello',
      finish: 'tool_calls',
      toolCalls: [{ id: 'c1', function: { name: 'weather', arguments: '{"city":1}' } }],
    })
    expect(usage).toMatchObject({ prompt_tokens: 1, completion_tokens: 2 })
    expect(streamed(...events).error).toMatchObject({ code: 'provider_truncated' })
    expect(streamed(events[0], { code: 'TooManyRequests', message: 'slow down' }).error).toMatchObject({
      code: 'provider_rate_limited',
      message: expect.stringMatching(/^litellm\.RateLimitError: .*OciException - slow down/),
    })
  })
})

describe('a chat for Oracle in Cohere’s forms', () => {
  const COHERE = { model: 'cohere.command-r-08-2024' }

  it('is one message, a history, and types of Python', () => {
    const { chat } = encode(
      {
        messages: [
          { role: 'system', content: 'Be brief.' },
          { role: 'user', content: 'one' },
          { role: 'assistant', content: 'two' },
          { role: 'user', content: [{ type: 'text', text: 'three' }] },
        ],
        tools: [TOOL],
        stop: ['x'],
        response_format: { type: 'json_schema', json_schema: { schema: { type: 'object' } } },
      },
      COHERE,
    )
    expect(chat).toEqual({
      apiFormat: 'COHERE',
      message: 'three',
      preambleOverride: 'Be brief.',
      chatHistory: [
        { role: 'USER', message: 'one' },
        { role: 'CHATBOT', message: 'two' },
      ],
      maxTokens: 4000,
      stopSequences: ['x'],
      responseFormat: { type: 'JSON_OBJECT', schema: { type: 'object' } },
      tools: [
        {
          name: 'weather',
          description: 'Tells it',
          parameterDefinitions: {
            city: { type: 'str', description: 'Where', isRequired: true },
            days: { type: 'int', description: 'JSON schema: {"type":"integer","minimum":1}', isRequired: false },
          },
        },
      ],
    })
  })

  it('hands results of tools over apart, with the calls they answer', () => {
    const { chat } = encode(
      {
        messages: [
          { role: 'user', content: 'weather?' },
          { role: 'assistant', content: null, tool_calls: [CALL] },
          { role: 'tool', tool_call_id: 'c1', content: 'sunny' },
        ],
        tools: [TOOL],
      },
      COHERE,
    )
    const call = { name: 'weather', parameters: { city: 'Rome' } }
    expect(chat).toMatchObject({
      message: '',
      chatHistory: [
        { role: 'USER', message: 'weather?' },
        { role: 'CHATBOT', message: '', toolCalls: [call] },
      ],
      toolResults: [{ call, outputs: [{ output: 'sunny' }] }],
    })
    expect(() => encode({ tools: [TOOL], tool_choice: 'required' }, COHERE)).toThrow(/tool_choice/)
  })

  it('never says twice what the last event repeats', () => {
    const usage = { promptTokens: 3, completionTokens: 2, totalTokens: 5 }
    const pieces = ['Hel', 'lo'].map((text) => ({ apiFormat: 'COHERE', text }))
    for (const [last, content] of [
      ['Hello', 'Hello'],
      ['Hello!', 'Hello!'],
      ['Hello'.trim(), 'Hello'],
    ]) {
      const { chunks, error } = streamed(...pieces, { apiFormat: 'COHERE', text: last, finishReason: 'COMPLETE', usage })
      expect(error).toBeNull()
      expect(foldChunks(chunks).choices.get(0)).toMatchObject({ content, finish: 'stop' })
      expect(foldChunks(chunks).usage).toMatchObject({ total_tokens: 5 })
    }
    const only = streamed({ apiFormat: 'COHERE', text: 'All', finishReason: 'MAX_TOKENS' })
    expect(foldChunks(only.chunks).choices.get(0)).toMatchObject({ content: 'All', finish: 'length' })
    const toolCalls = [{ name: 'weather', parameters: { city: 'Rome' } }]
    const called = streamed({ toolCalls, text: '' }, { text: '', toolCalls, finishReason: 'COMPLETE' })
    expect(foldChunks(called.chunks).choices.get(0)).toMatchObject({
      finish: 'tool_calls',
      toolCalls: [{ function: { name: 'weather', arguments: '{"city":"Rome"}' } }],
    })
    expect(streamed(...pieces).error?.code).toBe('provider_truncated')
    expect(streamed(...pieces, { text: '', finishReason: 'ERROR' }).error?.code).toBe('provider_error')
  })

  it('is read whole, and in the second form asked with nested tools and a choice of its own', () => {
    const answer = decode({
      chatResponse: {
        apiFormat: 'COHERE',
        text: 'Hi',
        finishReason: 'COMPLETE',
        citations: [{ start: 0 }],
        usage: { promptTokens: 1, completionTokens: 1, totalTokens: 2 },
      },
    })
    expect(answer.choices[0]).toMatchObject({
      message: { content: 'Hi', provider_specific_fields: { citations: [{ start: 0 }] } },
      finish_reason: 'stop',
    })
    const second = encode(
      { tools: [TOOL], tool_choice: 'required', reasoning_effort: 'high' },
      { model: 'cohere.command-a-reasoning-08-2025' },
    )
    expect(second.chat).toMatchObject({
      apiFormat: 'COHEREV2',
      messages: [{ role: 'USER', content: [{ type: 'TEXT', text: 'hi' }] }],
      tools: [{ type: 'FUNCTION', function: { name: 'weather' } }],
      toolsChoice: 'REQUIRED',
      thinking: { type: 'ENABLED' },
    })
    const message = {
      role: 'ASSISTANT',
      content: [
        { type: 'THINKING', thinking: 'hm' },
        { type: 'TEXT', text: 'Yes' },
      ],
    }
    expect(
      decode({ chatResponse: { apiFormat: 'COHEREV2', message, finishReason: 'COMPLETE' } }).choices[0]?.message,
    ).toMatchObject({
      content: 'Yes',
      reasoning_content: 'hm',
    })
  })
})

describe('embeddings and rankings of Oracle', () => {
  it('are asked for and read by Oracle’s names', () => {
    const { embedding, rerank } = oci
    if (embedding === undefined || rerank === undefined) throw new Error('missing')
    const sent = embedding.encodeRequest(
      { model: 'a', input: ['x', 'y'], dimensions: 8, encoding_format: 'base64' },
      target({ model: 'cohere.embed-v4.0' }),
    )
    expect(sent.url).toBe('https://o.test/20231130/actions/embedText')
    expect(JSON.parse(String(sent.body))).toEqual({
      compartmentId: 'c',
      servingMode: { servingType: 'ON_DEMAND', modelId: 'cohere.embed-v4.0' },
      inputs: ['x', 'y'],
      inputType: 'SEARCH_DOCUMENT',
      truncate: 'NONE',
      outputDimensions: 8,
    })
    const answer = { id: 'e', embeddings: [[1], [2]], usage: { promptTokens: 4, totalTokens: 4 } }
    expect(embedding.decodeResponse(Buffer.from(JSON.stringify(answer)), {}, CONTEXT)).toMatchObject({
      data: [
        { index: 0, embedding: [1] },
        { index: 1, embedding: [2] },
      ],
      usage: { prompt_tokens: 4 },
    })
    const asked = rerank.encodeRequest(
      { model: 'a', query: 'q', documents: ['x', { text: 'y' }], top_n: 1 },
      target({ model: 'cohere.rerank' }),
    )
    expect(JSON.parse(String(asked.body))).toMatchObject({ input: 'q', documents: ['x', 'y'], topN: 1 })
    const ranks = [
      { index: 1, relevanceScore: 0.1 },
      { index: 0, relevanceScore: 0.9, document: { text: 'x' } },
    ]
    expect(rerank.decodeResponse(Buffer.from(JSON.stringify({ id: 'r', documentRanks: ranks })), {}, CONTEXT)).toMatchObject({
      id: 'r',
      results: [{ index: 0, relevance_score: 0.9, document: { text: 'x' } }, { index: 1 }],
      billing: { units: { query: 1 } },
    })
  })

  it('that fail are errors of the class their code says', () => {
    const error = (status: number, code: string) => oci.decodeError(status, {}, JSON.stringify({ code, message: 'no' }))
    expect(error(401, 'NotAuthenticated').code).toBe('provider_authentication')
    expect(error(404, 'NotAuthorizedOrNotFound').code).toBe('provider_not_found')
    expect(error(400, 'LimitExceeded').code).toBe('provider_rate_limited')
    expect(error(500, 'InternalServerError').code).toBe('provider_error')
    expect(error(400, 'InvalidParameter').code).toBe('provider_bad_request')
  })
})
