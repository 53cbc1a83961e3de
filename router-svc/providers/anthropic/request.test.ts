import { describe, expect, it } from 'vitest'
import type { GatewayError } from '../../../shared/errors.ts'
import type { ChatRequest } from '../../canonical/chat.ts'
import type { Target } from '../provider.ts'
import { encode, target } from './encode.testkit.ts'
import { toolNames } from './names.ts'
import { encodeRequest } from './request.ts'

const OLD = { model: 'claude-sonnet-4-20250514' }
const LATEST = { model: 'claude-opus-4-8' }
const V4_6 = { model: 'claude-opus-4-6' }

const weather = {
  type: 'function',
  function: { name: 'weather', description: 'Tells it.', parameters: { type: 'object', properties: { at: { type: 'string' } } } },
}
const schema = { type: 'object', properties: { age: { type: 'integer', minimum: 0 } }, required: ['age'] }
const asJson = { type: 'json_schema', json_schema: { name: 'person', schema } }

function refusal(request: Partial<ChatRequest>, changes: Partial<Target> = {}): GatewayError {
  try {
    encode(request, changes)
  } catch (thrown) {
    return thrown as GatewayError
  }
  throw new Error('was not refused')
}

/** Parameters an error says are not supported. */
function named(error: GatewayError): string[] {
  return [...error.message.matchAll(/'(\w+)'/g)].map((match) => match[1] as string)
}

describe('the request', () => {
  it('is the smallest that says what was asked', () => {
    const request = encodeRequest(
      {
        model: 'group',
        messages: [{ role: 'user', content: 'Hi' }],
        max_tokens: 5,
        stream: true,
        stream_options: { include_usage: true },
      },
      target(),
    )
    expect(request).toEqual({
      method: 'POST',
      url: 'https://api.anthropic.com/v1/messages',
      headers: { 'content-type': 'application/json', 'anthropic-version': '2023-06-01' },
      body: '{"model":"claude-sonnet-4-5","max_tokens":5,"messages":[{"role":"user","content":"Hi"}],"stream":true}',
    })
  })

  it('goes to the base however it is written', () => {
    const url = (base: string) => encodeRequest({ model: 'g', messages: [] }, target({ base })).url
    expect(url('https://a.example/v1')).toBe('https://a.example/v1/messages')
    expect(url('https://a.example/x/v1/messages')).toBe('https://a.example/x/v1/messages')
  })

  it('does not change what it was made from', () => {
    const request: ChatRequest = {
      model: 'g',
      messages: [{ role: 'assistant', content: [{ type: 'text', text: 'a ' }] }],
      tools: [weather],
      response_format: asJson,
    }
    const before = structuredClone(request)
    encode(request, OLD)
    expect(request).toEqual(before)
  })

  it('limits tokens as the client, else the deployment, else the model says', () => {
    expect(encode({ max_completion_tokens: 7, max_tokens: 9 }).max_tokens).toBe(7)
    expect(encode({ max_tokens: 9 }).max_tokens).toBe(9)
    expect(encode({}).max_tokens).toBe(1000)
    const byModel = (model: string) => encode({}, { model, maxOutputTokens: null }).max_tokens
    expect(
      [
        'claude-opus-5',
        'claude-sonnet-4-6',
        'claude-haiku-4-5',
        'claude-opus-4-1',
        'claude-sonnet-4-0',
        'claude-3-5-haiku-latest',
        'claude-3-haiku-20240307',
        'other',
      ].map(byModel),
    ).toEqual([128_000, 128_000, 64_000, 32_000, 64_000, 8192, 4096, 4096])
  })

  it('stops at sequences that are not white space alone', () => {
    expect(encode({ stop: 'END' })['stop_sequences']).toEqual(['END'])
    expect(encode({ stop: ['\n', 'END', ''] })['stop_sequences']).toEqual(['END'])
    expect(encode({ stop: ['\n'] })).not.toHaveProperty('stop_sequences')
  })

  it('names the user unless that would tell who it is', () => {
    expect(encode({ user: 'u-17' })['metadata']).toEqual({ user_id: 'u-17' })
    expect(encode({ user: 'a@b.example' })).not.toHaveProperty('metadata')
    expect(encode({ user: '+49 170 1234567' })).not.toHaveProperty('metadata')
    expect(encode({ metadata: { user_id: 'm', tags: ['x'] }, user: 'u' })['metadata']).toEqual({ user_id: 'm' })
  })

  it('maps service tiers', () => {
    const tier = (value: string) => encode({ service_tier: value })['service_tier']
    expect(['auto', 'priority', 'default', 'standard_only', 'flex'].map(tier)).toEqual([
      'auto',
      'auto',
      'standard_only',
      'standard_only',
      undefined,
    ])
  })

  it('carries Anthropic’s own parameters, and no one else’s', () => {
    const own = {
      top_k: 5,
      mcp_servers: [{ type: 'url', url: 'https://m.example', name: 'm' }],
      container: 'c',
      context_management: { edits: [] },
      cache_control: { type: 'ephemeral' },
      inference_geo: 'eu',
      newer_than_us: 1,
    }
    const others = {
      store: true,
      prompt_cache_key: 'k',
      litellm_metadata: {},
      tags: ['x'],
      mock_response: 'no',
      num_retries: 2,
      'no-log': true,
    }
    const body = encode({ ...own, ...others })
    expect(body).toEqual({ model: 'claude-sonnet-4-5', max_tokens: 1000, messages: [{ role: 'user', content: 'Hi' }], ...own })
  })
})

describe('parameters the model does not know', () => {
  const many = {
    n: 2,
    seed: 1,
    logprobs: true,
    top_logprobs: 2,
    frequency_penalty: 0.5,
    presence_penalty: 1,
    logit_bias: { 5: 1 },
    audio: {},
    modalities: ['text', 'audio'],
  }

  it('are refused, all named at once', () => {
    const error = refusal(many)
    expect([error.code, error.status]).toEqual(['unsupported_parameter', 400])
    expect(named(error).sort()).toEqual(Object.keys(many).sort())
    expect(error.param).toBe('n')
    expect(error.message).toMatch(/^litellm\.UnsupportedParamsError: anthropic does not support parameters: \['n', 'seed'/)
  })

  it('are left out where the operator says so', () => {
    expect(Object.keys(encode(many, { dropParams: true }))).toEqual(['model', 'max_tokens', 'messages'])
    expect(Object.keys(encode({ n: 2, seed: 3 }, { additionalDropParams: ['n', 'seed'] }))).toEqual([
      'model',
      'max_tokens',
      'messages',
    ])
    expect(Object.keys(encode({ n: 2, drop_params: true }))).toEqual(['model', 'max_tokens', 'messages'])
    expect(encode({ stop: 'x' }, { additionalDropParams: ['stop'] })).not.toHaveProperty('stop_sequences')
  })

  it('go out where the operator allows them', () => {
    expect(encode({ seed: 3 }, { allowedOpenaiParams: ['seed'] })['seed']).toBe(3)
    expect(encode({ seed: 3, allowed_openai_params: ['seed'] })['seed']).toBe(3)
    expect(encode({ temperature: 0.5 }, { ...LATEST, allowedOpenaiParams: ['temperature'] })['temperature']).toBe(0.5)
  })

  it('are fine with values that ask for nothing', () => {
    const idle = {
      n: 1,
      logprobs: false,
      frequency_penalty: 0,
      presence_penalty: 0,
      logit_bias: {},
      modalities: ['text'],
      seed: null,
    }
    expect(Object.keys(encode(idle))).toEqual(['model', 'max_tokens', 'messages'])
  })
})

describe('sampling', () => {
  it('is clamped to what the API takes', () => {
    expect(encode({ temperature: 1.7 })['temperature']).toBe(1)
    expect(encode({ temperature: 0, top_k: 3 })).toMatchObject({ temperature: 0, top_k: 3 })
  })

  it('takes one of temperature and top_p on the 4 series', () => {
    expect(encode({ top_p: 0.9 })['top_p']).toBe(0.9)
    expect(refusal({ temperature: 0.5, top_p: 0.9 }).param).toBe('top_p')
    expect(encode({ temperature: 0.5, top_p: 0.9 }, { model: 'claude-3-5-sonnet-20241022' })).toMatchObject({
      temperature: 0.5,
      top_p: 0.9,
    })
  })

  it('is gone on the newest models, but for the defaults', () => {
    expect(named(refusal({ temperature: 0.5, top_p: 0.9, top_k: 3 }, LATEST))).toEqual(['temperature', 'top_p', 'top_k'])
    expect(Object.keys(encode({ temperature: 1, top_p: 1 }, LATEST))).toEqual(['model', 'max_tokens', 'messages'])
    expect(Object.keys(encode({ temperature: 0.5 }, { model: 'claude-next-9', dropParams: true }))).not.toContain('temperature')
  })

  it('is gone while thinking', () => {
    expect(refusal({ temperature: 0.5, reasoning_effort: 'low', max_tokens: 9000 }).param).toBe('temperature')
    expect(encode({ top_p: 0.97, reasoning_effort: 'low', max_tokens: 9000 })['top_p']).toBe(0.97)
  })
})

describe('thinking', () => {
  const thinking = (request: Partial<ChatRequest>, changes: Partial<Target> = {}) => {
    const body = encode({ max_tokens: 9000, ...request }, changes)
    return [body.thinking, body.output_config?.['effort']]
  }

  it('takes a budget before 4.6', () => {
    expect(thinking({ reasoning_effort: 'minimal' })).toEqual([{ type: 'enabled', budget_tokens: 1024 }, undefined])
    expect(thinking({ reasoning_effort: 'medium' })).toEqual([{ type: 'enabled', budget_tokens: 2048 }, undefined])
    expect(thinking({ reasoning_effort: 'high' }, OLD)).toEqual([{ type: 'enabled', budget_tokens: 4096 }, undefined])
    expect(thinking({ reasoning_effort: 'none' })).toEqual([{ type: 'disabled' }, undefined])
  })

  it('takes an effort from 4.6 on', () => {
    expect(thinking({ reasoning_effort: 'minimal' }, V4_6)).toEqual([{ type: 'adaptive' }, 'low'])
    expect(thinking({ reasoning_effort: 'high' }, V4_6)).toEqual([{ type: 'adaptive' }, 'high'])
    expect(thinking({ reasoning_effort: 'xhigh' }, V4_6)).toEqual([{ type: 'adaptive' }, 'max'])
    expect(thinking({ reasoning_effort: 'xhigh' }, LATEST)).toEqual([{ type: 'adaptive' }, 'xhigh'])
    expect(thinking({ reasoning_effort: 'none' }, LATEST)).toEqual([{ type: 'disabled' }, undefined])
  })

  it('given outright is put in the form of the model', () => {
    const budget = { type: 'enabled', budget_tokens: 3000 }
    expect(thinking({ thinking: budget })).toEqual([budget, undefined])
    expect(thinking({ thinking: budget }, V4_6)).toEqual([budget, undefined])
    expect(thinking({ thinking: budget }, LATEST)).toEqual([{ type: 'adaptive' }, undefined])
    expect(thinking({ thinking: { type: 'adaptive' } })).toEqual([{ type: 'enabled', budget_tokens: 2048 }, undefined])
    expect(thinking({ thinking: { type: 'adaptive' }, reasoning_effort: 'low' }, LATEST)).toEqual([{ type: 'adaptive' }, 'low'])
  })

  it('leaves room for the answer', () => {
    expect(encode({ reasoning_effort: 'high', max_tokens: 2000 }).thinking).toEqual({ type: 'enabled', budget_tokens: 1024 })
    expect(encode({ reasoning_effort: 'high', max_tokens: 500 })).not.toHaveProperty('thinking')
    expect(encode({ thinking: { type: 'enabled', budget_tokens: 3000 } }).max_tokens).toBe(7096)
  })

  it('as a wish yields to a forced tool and to a tool loop that lost its thinking', () => {
    expect(thinking({ reasoning_effort: 'low', tools: [weather], tool_choice: 'required' })[0]).toBeUndefined()
    const loop = [
      { role: 'user', content: 'x' },
      { role: 'assistant', tool_calls: [{ id: 'a', type: 'function', function: { name: 'weather', arguments: '{}' } }] },
      { role: 'tool', tool_call_id: 'a', content: 'sunny' },
    ]
    expect(thinking({ reasoning_effort: 'low', tools: [weather], messages: loop })[0]).toBeUndefined()
    const budget = { type: 'enabled', budget_tokens: 2000 }
    const outright = { thinking: budget, tools: [weather], messages: loop }
    expect(thinking(outright)[0]).toEqual(budget)
    expect(thinking(outright, { settings: { modify_params: true } })[0]).toBeUndefined()
  })

  it('is refused by models that cannot, and efforts nobody knows by all', () => {
    expect(refusal({ reasoning_effort: 'low' }, { model: 'claude-3-5-haiku-latest' }).param).toBe('reasoning_effort')
    expect(refusal({ thinking: { type: 'enabled', budget_tokens: 2000 } }, { model: 'claude-3-haiku-20240307' }).param).toBe(
      'thinking',
    )
    expect(refusal({ reasoning_effort: 'enormous' }).code).toBe('bad_request')
  })

  it('keeps the rest of output_config', () => {
    expect(encode({ output_config: { effort: 'max', task_budget: 5 }, reasoning_effort: 'low' }, LATEST).output_config).toEqual({
      effort: 'max',
      task_budget: 5,
    })
  })
})

describe('tools', () => {
  it('are functions in Anthropic’s words', () => {
    const body = encode({
      tools: [weather, { type: 'function', function: { name: 'now' }, cache_control: { type: 'ephemeral' } }],
    })
    expect(body.tools).toEqual([
      { name: 'weather', description: 'Tells it.', input_schema: { type: 'object', properties: { at: { type: 'string' } } } },
      { name: 'now', input_schema: { type: 'object', properties: {} }, cache_control: { type: 'ephemeral' } },
    ])
    expect(body).not.toHaveProperty('tool_choice')
  })

  it('of Anthropic’s own pass as they are', () => {
    const native = [
      { type: 'web_search_20250305', name: 'web_search', max_uses: 2 },
      { type: 'mcp_toolset', mcp_server_name: 'm' },
    ]
    expect(encode({ tools: native }).tools).toEqual(native)
    const wrapped = { type: 'computer_20250124', function: { name: 'computer', parameters: { display_width_px: 800 } } }
    expect(encode({ tools: [wrapped] }).tools).toEqual([{ type: 'computer_20250124', name: 'computer', display_width_px: 800 }])
    expect(refusal({ tools: [{ type: 'custom', custom: { name: 'x' } }] }).param).toBe('tools[0]')
  })

  it('are strict with a schema the model can hold to', () => {
    const strict = { type: 'function', function: { name: 'f', strict: true, parameters: schema } }
    expect(encode({ tools: [strict] }).tools?.[0]).toEqual({
      name: 'f',
      strict: true,
      input_schema: {
        type: 'object',
        properties: { age: { type: 'integer', description: '(minimum: 0)' } },
        required: ['age'],
        additionalProperties: false,
      },
    })
    expect(encode({ tools: [strict] }, OLD).tools?.[0]).toEqual({ name: 'f', input_schema: schema })
  })

  it.each([
    ['auto', {}, { type: 'auto' }],
    ['none', {}, { type: 'none' }],
    ['required', {}, { type: 'any' }],
    [{ type: 'function', function: { name: 'weather' } }, {}, { type: 'tool', name: 'weather' }],
    [{ type: 'any' }, {}, { type: 'any' }],
    [undefined, { parallel_tool_calls: false }, { type: 'auto', disable_parallel_tool_use: true }],
    ['required', { parallel_tool_calls: false }, { type: 'any', disable_parallel_tool_use: true }],
    ['none', { parallel_tool_calls: false }, { type: 'none' }],
    ['auto', { parallel_tool_calls: true }, { type: 'auto' }],
  ])('are chosen: %j %j', (choice, more, expected) => {
    const request: Partial<ChatRequest> = { tools: [weather], ...more }
    if (choice !== undefined) request.tool_choice = choice as NonNullable<ChatRequest['tool_choice']>
    expect(encode(request).tool_choice).toEqual(expected)
  })

  it('that do not exist are not chosen among', () => {
    expect(encode({ tool_choice: 'auto', parallel_tool_calls: false })).not.toHaveProperty('tool_choice')
  })

  it('allowed by name are the only ones sent', () => {
    const choice = {
      type: 'allowed_tools',
      allowed_tools: { mode: 'required', tools: [{ type: 'function', function: { name: 'b' } }] },
    }
    const body = encode({ tools: ['a', 'b'].map((name) => ({ type: 'function', function: { name } })), tool_choice: choice })
    expect([body.tools?.map((tool) => tool['name']), body.tool_choice]).toEqual([['b'], { type: 'any' }])
  })

  it('with names the provider refuses are renamed everywhere, one name each', () => {
    const named = ['my.tool', 'my_tool', 'my tool', 'x'.repeat(200)].map((name) => ({ type: 'function', function: { name } }))
    const messages = [
      { role: 'user', content: 'x' },
      { role: 'assistant', tool_calls: [{ id: 'a', type: 'function', function: { name: 'my.tool', arguments: '{}' } }] },
      { role: 'tool', tool_call_id: 'a', content: 'r' },
    ]
    const body = encode({ tools: named, messages, tool_choice: { type: 'function', function: { name: 'my tool' } } })
    const sent = body.tools?.map((tool) => String(tool['name'])) ?? []
    expect(sent).toEqual(['my_tool_2', 'my_tool', 'my_tool_3', 'x'.repeat(128)])
    expect(body.tool_choice).toEqual({ type: 'tool', name: 'my_tool_3' })
    expect(body.messages[1]?.content).toEqual([{ type: 'tool_use', id: 'a', name: 'my_tool_2', input: {} }])
    const names = toolNames({ tools: named })
    expect(sent.map((name) => names.original(name))).toEqual(named.map((tool) => tool.function.name))
  })

  it('of the web come from web_search_options', () => {
    expect(
      encode({
        web_search_options: { search_context_size: 'low', user_location: { type: 'approximate', approximate: { city: 'Bonn' } } },
      }).tools,
    ).toEqual([
      { type: 'web_search_20250305', name: 'web_search', max_uses: 1, user_location: { type: 'approximate', city: 'Bonn' } },
    ])
  })
})

describe('structured output', () => {
  it('is native from 4.5 on', () => {
    const body = encode({ response_format: asJson })
    expect(body.output_config).toEqual({
      format: {
        type: 'json_schema',
        schema: {
          type: 'object',
          properties: { age: { type: 'integer', description: '(minimum: 0)' } },
          required: ['age'],
          additionalProperties: false,
        },
      },
    })
    expect(body).not.toHaveProperty('tools')
  })

  it('is a forced tool before', () => {
    const body = encode({ response_format: asJson }, OLD)
    expect(body.tools).toEqual([{ name: 'json_tool_call', description: expect.any(String), input_schema: schema }])
    expect(body.tool_choice).toEqual({ type: 'tool', name: 'json_tool_call', disable_parallel_tool_use: true })
  })

  it('without a schema is a tool that takes any object', () => {
    expect(encode({ response_format: { type: 'json_object' } }).tools?.[0]).toMatchObject({
      name: 'json_tool_call',
      input_schema: { type: 'object' },
    })
    expect(Object.keys(encode({ response_format: { type: 'text' } }))).toEqual(['model', 'max_tokens', 'messages'])
  })

  it('leaves the client its tools, and gives way where one is demanded', () => {
    expect(encode({ response_format: asJson, tools: [weather] }, OLD)).toMatchObject({
      tools: [{ name: 'weather' }, { name: 'json_tool_call' }],
      tool_choice: { type: 'any' },
    })
    expect(encode({ response_format: asJson, tools: [weather], tool_choice: 'required' }, OLD).tools).toHaveLength(1)
    expect(encode({ response_format: asJson, tools: [weather], tool_choice: 'none' }, OLD).tool_choice).toMatchObject({
      type: 'tool',
      name: 'json_tool_call',
    })
  })

  it('does not force a tool on a model that thinks', () => {
    expect(encode({ response_format: asJson, reasoning_effort: 'low', max_tokens: 9000 }, OLD).tool_choice).toEqual({
      type: 'auto',
    })
  })

  it('must describe an object', () => {
    expect(refusal({ response_format: { type: 'json_schema', json_schema: { schema: { type: 'array' } } } }).param).toBe(
      'response_format',
    )
    expect(refusal({ response_format: { type: 'grammar' } }).param).toBe('response_format')
  })

  it('keeps only what the grammar knows', () => {
    const wide = {
      $defs: { id: { type: 'string', pattern: '^a', format: 'uuid' } },
      properties: {
        kind: { oneOf: [{ $ref: '#/$defs/id' }, { type: 'null' }] },
        list: { type: 'array', description: 'Some.', items: { type: 'object', properties: {} }, minItems: 1, maxItems: 3 },
        pair: { type: 'array', prefixItems: [{ type: 'string' }, { type: 'integer', maximum: 5 }] },
        ip: { type: 'string', format: 'ip-ish' },
      },
    }
    const body = encode({ response_format: { type: 'json_schema', json_schema: { schema: wide } } })
    expect(body.output_config?.['format']).toEqual({
      type: 'json_schema',
      schema: {
        type: 'object',
        $defs: { id: { type: 'string', format: 'uuid', description: '(pattern: "^a")' } },
        properties: {
          kind: { anyOf: [{ $ref: '#/$defs/id' }, { type: 'null' }] },
          list: {
            type: 'array',
            description: 'Some.\n(maxItems: 3)',
            items: { type: 'object', properties: {}, additionalProperties: false },
            minItems: 1,
          },
          pair: {
            type: 'array',
            items: { anyOf: [{ type: 'string' }, { type: 'integer', description: '(maximum: 5)' }] },
            description: '(prefixItems: [{"type":"string"},{"type":"integer","maximum":5}])',
          },
          ip: { type: 'string', description: '(format: "ip-ish")' },
        },
        additionalProperties: false,
      },
    })
  })
})

describe('cache points', () => {
  const mark = { cache_control: { type: 'ephemeral' } }
  const messages = [
    { role: 'system', content: 's' },
    { role: 'user', content: 'a' },
    { role: 'user', content: [{ type: 'text', text: 'b' }] },
  ]

  it('of the deployment mark the last message of a role, or the one named', () => {
    const points = [
      { location: 'message', role: 'system' },
      { location: 'message', index: -1, control: { type: 'ephemeral', ttl: '1h' } },
    ]
    const body = encode({ messages }, { settings: { cache_control_injection_points: points } })
    expect(body.system).toEqual([{ type: 'text', text: 's', ...mark }])
    expect(body.messages[0]?.content).toEqual([
      { type: 'text', text: 'a' },
      { type: 'text', text: 'b', cache_control: { type: 'ephemeral', ttl: '1h' } },
    ])
  })

  it('do not add to marks that are there, and never reach the body', () => {
    const marked = [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'a', ...mark },
          { type: 'text', text: 'b' },
        ],
      },
    ]
    const body = encode({ messages: marked, cache_control_injection_points: [{ location: 'message', role: 'user' }] })
    expect(body.messages).toEqual(marked)
    expect(Object.keys(body)).toEqual(['model', 'max_tokens', 'messages'])
  })
})

describe('headers', () => {
  const headers = (request: Partial<ChatRequest>, changes: Partial<Target> = {}) =>
    encodeRequest({ model: 'g', messages: [{ role: 'user', content: 'x' }], ...request }, target(changes)).headers
  const betas = (request: Partial<ChatRequest>, changes: Partial<Target> = {}) =>
    headers(request, changes)['anthropic-beta']?.split(',')

  it('name the betas of client, request, deployment and content, each once', () => {
    expect(
      betas(
        { betas: ['context-1m-2025-08-07'], context_management: { edits: [] } },
        { clientHeaders: { 'anthropic-beta': 'a, context-1m-2025-08-07' }, settings: { anthropic_beta: 'b,a' } },
      ),
    ).toEqual(['context-1m-2025-08-07', 'a', 'b', 'context-management-2025-06-27'])
  })

  it('name the beta that each feature needs', () => {
    const file = { type: 'file', file: { file_id: 'file_1' } }
    expect(betas({ messages: [{ role: 'user', content: [file] }] })).toEqual(['files-api-2025-04-14'])
    expect(
      betas({
        messages: [
          { role: 'assistant', tool_calls: [{ id: 'a', type: 'function', function: { name: 'f', arguments: '' } }] },
          {
            role: 'tool',
            tool_call_id: 'a',
            content: [{ type: 'text', text: 'x', cache_control: { type: 'ephemeral', ttl: '1h' } }, file],
          },
        ],
      }),
    ).toEqual(['files-api-2025-04-14', 'extended-cache-ttl-2025-04-11'])
    expect(betas({ mcp_servers: [] })).toEqual(['mcp-client-2025-04-04'])
    expect(betas({ mcp_servers: [], tools: [{ type: 'mcp_toolset', mcp_server_name: 'm' }] })).toEqual(['mcp-client-2025-11-20'])
    expect(betas({ tools: [{ type: 'computer_20250124', name: 'computer' }] })).toEqual(['computer-use-2025-01-24'])
    expect(betas({ tools: [{ type: 'code_execution_20250825', name: 'code_execution' }] })).toEqual(['code-execution-2025-08-25'])
    expect(betas({ container: { skills: [] } })).toEqual(['skills-2025-10-02', 'code-execution-2025-08-25'])
    expect(betas({ speed: 'fast' })).toEqual(['fast-mode-2026-02-01'])
    expect(betas({})).toBeUndefined()
  })

  it('name the version of the deployment', () => {
    expect(headers({}, { settings: { anthropic_version: '2023-01-01' } })['anthropic-version']).toBe('2023-01-01')
    expect(headers({ anthropic_version: '2023-01-01' })['anthropic-version']).toBe('2023-01-01')
    expect(headers({}, { apiVersion: 'preview' })['anthropic-version']).toBe('2023-06-01')
  })
})
