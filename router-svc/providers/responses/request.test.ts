import { describe, expect, it } from 'vitest'
import type { ChatRequest } from '../../canonical/chat.ts'
import type { Fields } from '../json.ts'
import type { Target } from '../provider.ts'
import { validatorOf } from '../spec.testkit.ts'
import { ADAPTER, encode, encodeWith } from './encode.testkit.ts'
import { allRecordings, haveRecordings } from './recordings.testkit.ts'

const refusal = (request: Partial<ChatRequest>, changes: Partial<Target> = {}): string => {
  try {
    encode(request, changes)
  } catch (thrown) {
    const { code, message, param } = thrown as { code: string; message: string; param: string }
    return `${code} ${param}: ${message}`
  }
  return 'none'
}

describe('a chat as a request of the Responses API', () => {
  it('is stored nowhere and asks a model that thinks for its encrypted reasoning', () => {
    expect(encode({})).toEqual({
      model: 'gpt-5-pro',
      input: [{ role: 'user', content: 'Hi' }],
      store: false,
      include: ['reasoning.encrypted_content'],
    })
    expect(encode({}, { model: 'gpt-4o' })).not.toHaveProperty('include')
    expect(encode({ store: true })).toMatchObject({ store: true })
    expect(encode({ store: true })).not.toHaveProperty('include')
    expect(encode({}, { model: 'mine', baseModel: 'azure/gpt-5-codex' })).toHaveProperty('include')
    expect(encode({ reasoning_effort: 'low' }, { model: 'grok-4' })).toHaveProperty('include')
    expect(encode({ reasoning_effort: 'none' }, { model: 'grok-4' })).not.toHaveProperty('include')
  })

  it('says the same parameters in its own words', () => {
    const body = encode({
      max_tokens: 5,
      max_completion_tokens: 100,
      reasoning_effort: 'high',
      verbosity: 'low',
      logprobs: true,
      top_logprobs: 2,
      temperature: 0.5,
      top_p: 0.9,
      service_tier: 'flex',
      user: 'u',
      safety_identifier: 's',
      prompt_cache_key: 'k',
      truncation: 'auto',
      previous_response_id: 'resp_1',
      stream: true,
      stream_options: { include_usage: true },
      metadata: { tags: ['x'] },
      n: 1,
      stop: [],
      seed: null,
      logit_bias: {},
      frequency_penalty: 0,
    })
    expect(body).toEqual({
      model: 'gpt-5-pro',
      input: [{ role: 'user', content: 'Hi' }],
      max_output_tokens: 100,
      reasoning: { effort: 'high' },
      text: { verbosity: 'low' },
      top_logprobs: 2,
      temperature: 0.5,
      top_p: 0.9,
      service_tier: 'flex',
      user: 'u',
      safety_identifier: 's',
      prompt_cache_key: 'k',
      truncation: 'auto',
      previous_response_id: 'resp_1',
      stream: true,
      store: false,
      include: ['message.output_text.logprobs', 'reasoning.encrypted_content'],
    })
  })

  it('takes reasoning in its own form, alone or as the effort', () => {
    const reasoning = { effort: 'low', summary: 'auto' }
    expect(encode({ reasoning_effort: reasoning as unknown as string })['reasoning']).toEqual(reasoning)
    expect(encode({ reasoning, reasoning_effort: 'high' })['reasoning']).toEqual(reasoning)
    expect(encode({ reasoning_effort: 'disable' })['reasoning']).toEqual({ effort: 'none' })
    expect(refusal({ reasoning_effort: 3 as unknown as string })).toContain('bad_request reasoning_effort')
  })

  it('says what a client of the same protocol said beside its chat, and sends its request not twice', () => {
    const reasoning = { effort: 'low', summary: 'auto' }
    const body = { model: 'x', input: 'other', reasoning, include: ['web_search_call.results'], store: true }
    const responses = { body, id: null, key: null, unplaced: [] }
    expect(encode({ responses, reasoning_effort: 'low' })).toEqual({
      ...encode({}),
      reasoning,
      include: ['web_search_call.results', 'reasoning.encrypted_content'],
    })
  })

  it('has its answer format as the format of its text', () => {
    const schema = { type: 'object', properties: {} }
    const json_schema = { name: 'n', schema, strict: true, description: 'd' }
    expect(encode({ response_format: { type: 'json_schema', json_schema } })['text']).toEqual({
      format: { type: 'json_schema', ...json_schema },
    })
    expect(encode({ response_format: { type: 'json_object' } })['text']).toEqual({ format: { type: 'json_object' } })
  })

  it.each(['n', 'stop', 'seed', 'logit_bias', 'frequency_penalty', 'presence_penalty', 'prediction', 'functions', 'background'])(
    'that asks for %s is refused by name, and does without it where it may be dropped',
    (name) => {
      const values: Record<string, unknown> = { stop: ['x'], logit_bias: { 1: 1 }, functions: [{ name: 'f' }], background: true }
      const request = { [name]: values[name] ?? 2 } as Partial<ChatRequest>
      expect(refusal(request)).toBe(
        `unsupported_parameter ${name}: litellm.UnsupportedParamsError: openai does not support parameters: ['${name}'], ` +
          'for model=gpt-5-pro. Set drop_params: true to leave them out, or name them in allowed_openai_params to send them.',
      )
      expect(encode(request, { dropParams: true })).not.toHaveProperty(name)
      expect(encode(request, { allowedOpenaiParams: [name] })).toHaveProperty(name)
      expect(encode(request, { additionalDropParams: [name] })).not.toHaveProperty(name)
    },
  )

  it('loses sampling parameters of models that think where they may be dropped', () => {
    const request = { temperature: 0.2, top_p: 0.5, logprobs: true }
    expect(encode(request, { dropParams: true })).toEqual(encode({}))
    expect(encode({ ...request, reasoning_effort: 'none' }, { dropParams: true, model: 'gpt-5.1-codex' })).toMatchObject({
      top_p: 0.5,
    })
    expect(encode(request, { dropParams: true, model: 'gpt-4o' })).toMatchObject({ temperature: 0.2, top_p: 0.5 })
  })

  it('is refused by what its row says too', () => {
    expect(refusal({ thinking: { type: 'enabled', budget_tokens: 5 } })).toContain('unsupported_parameter thinking')
  })

  it('goes to the path of the API, whatever form of the base was given', () => {
    for (const base of ['https://x.test/v1', 'https://x.test/v1/chat/completions', 'https://x.test/v1/responses'])
      expect(encodeWith(ADAPTER, {}, { base }).url).toBe('https://x.test/v1/responses')
  })
})

describe('tools', () => {
  it('lie flat, strict only where the client said so', () => {
    const tools = [
      { type: 'function', function: { name: 'f', description: 'd', parameters: { type: 'object' }, strict: true } },
      { type: 'function', function: { name: 'g' }, cache_control: { type: 'ephemeral' as const } },
      { type: 'function', name: 'flat', parameters: null, strict: null },
      { type: 'custom', custom: { name: 'c', format: { type: 'grammar', grammar: { syntax: 'lark', definition: 'x' } } } },
      { type: 'web_search', search_context_size: 'low' },
    ]
    expect(encode({ tools })['tools']).toEqual([
      { type: 'function', name: 'f', description: 'd', parameters: { type: 'object' }, strict: true },
      { type: 'function', name: 'g', parameters: { type: 'object', properties: {} }, strict: false },
      { type: 'function', name: 'flat', parameters: null, strict: null },
      { type: 'custom', name: 'c', format: { type: 'grammar', syntax: 'lark', definition: 'x' } },
      { type: 'web_search', search_context_size: 'low' },
    ])
  })

  it('are joined by the search that chat has as an option', () => {
    const user_location = { type: 'approximate', approximate: { country: 'DE' } }
    const search = { search_context_size: 'high', user_location }
    expect(encode({ web_search_options: search })['tools']).toEqual([
      { type: 'web_search', search_context_size: 'high', user_location: { type: 'approximate', country: 'DE' } },
    ])
    expect(encode({ web_search_options: {} })['tools']).toEqual([{ type: 'web_search' }])
  })

  it.each([
    ['none', 'none'],
    ['required', 'required'],
    ['any', 'required'],
    [
      { type: 'function', function: { name: 'f' } },
      { type: 'function', name: 'f' },
    ],
    [
      { type: 'custom', custom: { name: 'c' } },
      { type: 'custom', name: 'c' },
    ],
    [{ type: 'web_search' }, { type: 'web_search' }],
    [
      { type: 'allowed_tools', allowed_tools: { mode: 'required', tools: [{ type: 'function', function: { name: 'f' } }] } },
      { type: 'allowed_tools', mode: 'required', tools: [{ type: 'function', name: 'f' }] },
    ],
  ])('are chosen from as %j says', (tool_choice, expected) => {
    const tools = [{ type: 'function', function: { name: 'f' } }]
    const body = encode({ tools, tool_choice, parallel_tool_calls: false } as Partial<ChatRequest>)
    expect(body).toMatchObject({ tool_choice: expected, parallel_tool_calls: false })
    expect(encode({ tool_choice, parallel_tool_calls: false } as Partial<ChatRequest>)).toEqual(encode({}))
  })
})

/** A response object repeats what was asked; in it the API's defaults are filled in. */
function repeated(body: Fields): Fields {
  // Where nothing is said of strictness the service closes the schema.
  const tools = ((body['tools'] ?? []) as Fields[]).map(({ type, name, parameters }) => {
    const { additionalProperties: _closed, ...schema } = parameters as Fields
    return { type, name, schema }
  })
  const words = body['text'] as { format?: Fields } | undefined
  const { type = 'text', name, schema } = words?.format ?? {}
  return {
    limit: body['max_output_tokens'] ?? null,
    temperature: body['temperature'] ?? 1,
    instructions: body['instructions'] ?? null,
    choice: body['tool_choice'] ?? 'auto',
    format: { type, name, schema },
    tools,
  }
}

describe.skipIf(!haveRecordings())('a recorded chat', () => {
  const chats = allRecordings().filter(({ chat }) => chat !== null)

  it.each(chats.map((one) => [one.name, one] as const))(
    '%s asks for what its answer repeats',
    (_name, { chat, body, stream }) => {
      const last = (stream ?? '').split('\n').findLast((line) => line.startsWith('data: '))
      const answer = JSON.parse(body ?? last?.slice('data: '.length) ?? '') as Fields
      const response = (answer['response'] ?? answer) as Fields
      const { instructions: said, ...asked } = repeated(
        encode(chat as Partial<ChatRequest>, { dropParams: true, model: 'gpt-4o' }),
      )
      const { instructions: heard, ...given } = repeated(response)
      expect(asked).toEqual(given)
      // They may have gone as a message.
      if (heard !== null) expect(said).toEqual(heard)
    },
  )
})

describe.skipIf(!haveRecordings())('by the published description of the API', () => {
  const validate = haveRecordings() ? validatorOf('openai', 'CreateResponse') : () => []

  it('a wrong request is found out', () => {
    expect(validate({ model: 'gpt-5-pro', input: 7 })).not.toEqual([])
    expect(validate({ model: 'x', input: [{ role: 'user', content: [{ type: 'text', text: 'x' }] }] })).not.toEqual([])
  })

  it.each(
    allRecordings()
      .filter(({ chat }) => chat !== null)
      .map((one) => [one.name, one.chat] as const),
  )('%s is asked for in a valid request', (_name, chat) => {
    expect(validate(encode(chat as Fields as Partial<ChatRequest>, { dropParams: true }))).toEqual([])
  })

  it('everything a chat can hold makes a valid request', () => {
    const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,AA==' } }
    const file = { type: 'file', file: { file_data: 'data:application/pdf;base64,AA==', filename: 'a.pdf' } }
    const output_items = [
      { type: 'reasoning', id: 'rs_1', summary: [{ type: 'summary_text', text: 't' }], encrypted_content: 'e' },
      { type: 'message', id: 'msg_1', role: 'assistant', status: 'completed', length: 4 },
      { type: 'function_call', id: 'fc_1', call_id: 'call_1', name: 'f', status: 'completed' },
    ]
    const body = encode({
      messages: [
        { role: 'system', content: 'Be kind.' },
        { role: 'developer', content: [{ type: 'text', text: 'And brief.' }] },
        { role: 'user', content: [{ type: 'text', text: 'Look' }, image, file] },
        {
          role: 'assistant',
          content: 'Yes.',
          tool_calls: [{ id: 'call_1', type: 'function', function: { name: 'f', arguments: '{}' } }],
          provider_specific_fields: { output_items },
        },
        { role: 'tool', tool_call_id: 'call_1', content: [{ type: 'text', text: 'r' }, image] },
        { role: 'assistant', content: null, tool_calls: [{ id: 'c2', type: 'custom', custom: { name: 'c', input: 'i' } }] },
        { role: 'tool', tool_call_id: 'c2', content: 'done' },
      ],
      tools: [
        { type: 'function', function: { name: 'f', parameters: { type: 'object', properties: {} } } },
        { type: 'custom', custom: { name: 'c' } },
      ],
      tool_choice: { type: 'function', function: { name: 'f' } },
      web_search_options: { user_location: { type: 'approximate', approximate: { country: 'DE' } } },
      response_format: { type: 'json_schema', json_schema: { name: 'n', schema: { type: 'object' } } },
      reasoning_effort: 'low',
      verbosity: 'high',
      service_tier: 'priority',
    })
    expect(validate(body)).toEqual([])
  })
})
