import { describe, expect, it } from 'vitest'
import type { Mode } from '../../../proto/endpoints.ts'
import { PROVIDERS, type ProviderRow } from '../../../shared/catalog/providers.ts'
import { GatewayError } from '../../../shared/errors.ts'
import { PLAIN_TARGET } from '../plain-target.ts'
import type { Target } from '../provider.ts'
import { requestEncoder } from './request.ts'

const TARGET: Target = {
  ...PLAIN_TARGET,
  provider: 'test',
  model: 'upstream-model',
  base: 'https://example.test/v1',
}
const PLAIN: ProviderRow = { protocol: 'openai', base: null, keys: [] }
const HELLO = { model: 'alias', messages: [{ role: 'user', content: 'Hello' }] }

function sent(
  row: Partial<ProviderRow>,
  request: object,
  target: Partial<Target> = {},
  mode: Mode = 'chat',
): Record<string, unknown> {
  const upstream = requestEncoder(mode, { ...PLAIN, ...row }).encode(request as Record<string, unknown>, { ...TARGET, ...target })
  return JSON.parse(upstream.body as string) as Record<string, unknown>
}

function refusal(run: () => unknown): GatewayError {
  try {
    run()
  } catch (thrown) {
    if (thrown instanceof GatewayError) return thrown
    throw thrown
  }
  throw new Error('nothing was refused')
}

describe('a request to an OpenAI-compatible provider', () => {
  it('names the upstream model and keeps fields it does not know', () => {
    expect(sent({}, { ...HELLO, top_k: 5, messages: [{ role: 'user', content: 'x', odd: 1 }] })).toEqual({
      model: 'upstream-model',
      messages: [{ role: 'user', content: 'x', odd: 1 }],
      top_k: 5,
    })
  })

  it('never carries what speaks to the gateway', () => {
    const gateway = {
      metadata: { a: 1 },
      tags: ['x'],
      mock_response: 'x',
      fallbacks: ['y'],
      num_retries: 1,
      drop_params: true,
      'no-log': true,
    }
    expect(sent({}, { ...HELLO, ...gateway, _litellm_x: 1 })).toEqual({ model: 'upstream-model', messages: HELLO.messages })
  })

  it('carries what extra_body holds, but for gateway fields in it', () => {
    expect(sent({}, { ...HELLO, extra_body: { top_k: 3, tags: ['x'] } })).toEqual({ ...HELLO, model: 'upstream-model', top_k: 3 })
  })

  it('does not change the request it is given', () => {
    const request = Object.freeze({
      ...HELLO,
      stream: true,
      tools: Object.freeze([{ type: 'function', function: { name: 'f', strict: true } }]),
    })
    const before = JSON.stringify(request)
    sent(PROVIDERS['fireworks_ai'] as ProviderRow, request)
    expect(JSON.stringify(request)).toBe(before)
  })

  it('keeps members that need no change the very same, so that bytes can be spliced', () => {
    const request = { ...HELLO, temperature: 1 }
    const shaped = requestEncoder('chat', PROVIDERS['openai'] as ProviderRow).shape(request, TARGET)
    expect(shaped['messages']).toBe(request.messages)
  })

  it('ignores a member called __proto__', () => {
    const request = JSON.parse('{"model":"a","messages":[{"role":"user","content":"x"}],"__proto__":{"logprobs":true}}')
    expect(sent({ unsupported: ['logprobs'] }, request)).toEqual({
      model: 'upstream-model',
      messages: [{ role: 'user', content: 'x' }],
    })
  })

  it('asks for usage in every stream, and only in streams', () => {
    expect(sent({}, { ...HELLO, stream: true })['stream_options']).toEqual({ include_usage: true })
    expect(sent({}, { ...HELLO, stream: true, stream_options: { include_usage: false, x: 1 } })['stream_options']).toEqual({
      include_usage: true,
      x: 1,
    })
    expect(sent({}, { ...HELLO, stream_options: { include_usage: true } })).not.toHaveProperty('stream_options')
    expect(sent({ noStreamOptions: true }, { ...HELLO, stream: true })).not.toHaveProperty('stream_options')
    expect(sent({}, { model: 'a', input: 'x', stream: false }, {}, 'embedding')).toEqual({ model: 'upstream-model', input: 'x' })
  })

  it.each([
    ['chat', 'https://example.test/v1', '/chat/completions'],
    ['completion', 'https://example.test/v1', '/completions'],
    ['embedding', 'https://example.test/v1', '/embeddings'],
  ] as const)('goes to the path of its mode: %s', (mode, base, path) => {
    expect(requestEncoder(mode, PLAIN).encode(HELLO, { ...TARGET, base }).url).toBe(base + path)
  })

  it('finds its URL whether the base has the version, lacks it or is the whole address', () => {
    const row: ProviderRow = { ...PLAIN, version: '/v1' }
    for (const base of ['http://host:1', 'http://host:1/v1', 'http://host:1/v1/chat/completions']) {
      expect(requestEncoder('chat', row).encode(HELLO, { ...TARGET, base }).url).toBe('http://host:1/v1/chat/completions')
    }
    const own = requestEncoder('completion', { ...PLAIN, paths: { completion: '/beta/completions' } })
    expect(own.encode({ model: 'a', prompt: 'x' }, TARGET).url).toBe('https://example.test/v1/beta/completions')
  })

  it('carries constant headers of the provider', () => {
    expect(requestEncoder('chat', { ...PLAIN, headers: { 'x-source': 'y' } }).encode(HELLO, TARGET).headers).toEqual({
      'content-type': 'application/json',
      'x-source': 'y',
    })
  })
})

describe('parameters a provider does not support', () => {
  const row = { unsupported: ['logit_bias', 'n>1', 'tool_choice=required', 'response_format.json_schema'] }

  it('are refused by name, all of them at once', () => {
    const error = refusal(() => sent(row, { ...HELLO, logit_bias: { 5: 1 }, n: 2 }))
    expect(error.code).toBe('unsupported_parameter')
    expect(error.message).toContain("['logit_bias', 'n']")
    expect(error.message).toMatch(/^litellm\.UnsupportedParamsError: test does not support parameters/)
    expect(error.param).toBe('logit_bias')
  })

  it('are only refused with the values that are', () => {
    const fine = { ...HELLO, n: 1, tool_choice: 'auto', response_format: { type: 'json_object' }, logit_bias: null }
    expect(sent(row, fine)).toEqual({ ...fine, model: 'upstream-model' })
    expect(refusal(() => sent(row, { ...HELLO, tool_choice: 'required' })).param).toBe('tool_choice')
    expect(refusal(() => sent(row, { ...HELLO, response_format: { type: 'json_schema' } })).param).toBe('response_format')
  })

  it('are left out under drop_params of the deployment or the request', () => {
    expect(sent(row, { ...HELLO, n: 2 }, { dropParams: true })).not.toHaveProperty('n')
    expect(sent(row, { ...HELLO, n: 2, drop_params: true })).not.toHaveProperty('n')
  })

  it('are sent all the same when allowed', () => {
    expect(sent(row, { ...HELLO, n: 2 }, { allowedOpenaiParams: ['n'] })['n']).toBe(2)
    expect(sent(row, { ...HELLO, n: 2, allowed_openai_params: ['n'] })['n']).toBe(2)
  })

  it('may be dropped by name or by path', () => {
    const request = {
      ...HELLO,
      seed: 1,
      tools: [{ type: 'function', function: { name: 'f', strict: true } }],
      additional_drop_params: ['seed'],
    }
    expect(sent({}, request, { additionalDropParams: ['tools[*].function.strict'] })).toEqual({
      ...HELLO,
      model: 'upstream-model',
      tools: [{ type: 'function', function: { name: 'f' } }],
    })
    expect(request.tools[0]?.function.strict).toBe(true)
  })

  it('are dropped without a word where nobody would notice', () => {
    expect(sent({ drop: ['user', 'response_format.text'] }, { ...HELLO, user: 'u', response_format: { type: 'text' } })).toEqual({
      ...HELLO,
      model: 'upstream-model',
    })
  })
})

describe('each quirk of a row', () => {
  it('rename: the other name, unless that was given too', () => {
    expect(sent({ rename: { seed: 'random_seed' } }, { ...HELLO, seed: 4 })).toEqual({
      ...HELLO,
      model: 'upstream-model',
      random_seed: 4,
    })
    expect(sent({ rename: { seed: 'random_seed' } }, { ...HELLO, seed: 4, random_seed: 5 })['random_seed']).toBe(5)
  })

  it('maxTokensName: the one name for the output limit', () => {
    expect(sent({ maxTokensName: 'max_tokens' }, { ...HELLO, max_completion_tokens: 9 })).toMatchObject({ max_tokens: 9 })
    expect(sent({ maxTokensName: 'max_tokens' }, { ...HELLO, max_completion_tokens: 9 })).not.toHaveProperty(
      'max_completion_tokens',
    )
    expect(sent({ maxTokensName: 'max_completion_tokens' }, { ...HELLO, max_tokens: 9 })).toMatchObject({
      max_completion_tokens: 9,
    })
  })

  it('reasoningModels: an effort left out under drop_params for models that do not think', () => {
    const row = { reasoningModels: true } as const
    const request = { reasoning_effort: 'low' }
    expect(sent(row, request, { model: 'gpt-4o', dropParams: true })['reasoning_effort']).toBeUndefined()
    expect(sent(row, request, { model: 'gpt-4o' })['reasoning_effort']).toBe('low')
    expect(sent(row, request, { model: 'gpt-5', dropParams: true })['reasoning_effort']).toBe('low')
  })

  it('reasoningModels: the new limit name, and sampling left out under drop_params', () => {
    const row = { reasoningModels: true } as const
    const request = { ...HELLO, max_tokens: 9, temperature: 0.2, top_p: 0.5 }
    for (const model of ['o3-mini', 'gpt-5', 'gpt-5.2-pro', 'ft:o4-mini:x'.slice(3)]) {
      expect(sent(row, request, { model }), model).toMatchObject({ max_completion_tokens: 9, temperature: 0.2 })
      expect(sent(row, request, { model, dropParams: true }), model).toEqual({ ...HELLO, model, max_completion_tokens: 9 })
    }
    expect(sent(row, { ...request, temperature: 1 }, { model: 'gpt-5', dropParams: true })['temperature']).toBe(1)
    expect(sent(row, { ...request, reasoning_effort: 'none' }, { model: 'gpt-5.1', dropParams: true })['temperature']).toBe(0.2)
    for (const model of ['gpt-4o', 'gpt-5-chat-latest', 'omni'])
      expect(sent(row, request, { model }), model).toMatchObject({ max_tokens: 9 })
  })

  it('flattenContent: text parts as one string, others as they are', () => {
    const text = {
      role: 'user',
      content: [
        { type: 'text', text: 'a' },
        { type: 'text', text: 'b' },
      ],
    }
    const image = { role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:' } }] }
    expect(sent({ flattenContent: true }, { model: 'a', messages: [text, image] })['messages']).toEqual([
      { role: 'user', content: 'ab' },
      image,
    ])
  })

  it('stripNullFields and stripName', () => {
    const messages = [
      { role: 'assistant', content: null, name: 'bot', tool_calls: [] },
      { role: 'tool', tool_call_id: '1', name: 'f', content: 'x' },
    ]
    expect(sent({ stripNullFields: true, stripName: true }, { model: 'a', messages })['messages']).toEqual([
      { role: 'assistant', tool_calls: [] },
      { role: 'tool', tool_call_id: '1', name: 'f', content: 'x' },
    ])
  })

  it('strictMessages: nothing of other vendors in messages and tools', () => {
    const messages = [
      { role: 'user', content: [{ type: 'text', text: 'a', cache_control: { type: 'ephemeral' } }] },
      { role: 'assistant', content: 'b', reasoning_content: 'r', thinking_blocks: [], provider_specific_fields: {} },
    ]
    const tools = [{ type: 'function', function: { name: 'f' }, cache_control: { type: 'ephemeral' } }]
    expect(sent({ strictMessages: true }, { model: 'a', messages, tools })).toEqual({
      model: 'upstream-model',
      messages: [
        { role: 'user', content: [{ type: 'text', text: 'a' }] },
        { role: 'assistant', content: 'b' },
      ],
      tools: [{ type: 'function', function: { name: 'f' } }],
    })
  })

  it('plainToolSchemas: no strict and no additionalProperties at any depth, but the user may name a property so', () => {
    const parameters = {
      type: 'object',
      additionalProperties: false,
      properties: {
        strict: { type: 'object', additionalProperties: false, properties: {} },
        list: { items: { additionalProperties: true } },
      },
    }
    const tools = [{ type: 'function', function: { name: 'f', strict: true, parameters } }]
    expect(sent({ plainToolSchemas: true }, { ...HELLO, tools })['tools']).toEqual([
      {
        type: 'function',
        function: {
          name: 'f',
          parameters: { type: 'object', properties: { strict: { type: 'object', properties: {} }, list: { items: {} } } },
        },
      },
    ])
  })

  it('toolChoiceAny, jsonSchemaAsObject, modelPrefix', () => {
    expect(sent({ toolChoiceAny: true }, { ...HELLO, tool_choice: 'required' })['tool_choice']).toBe('any')
    const format = { type: 'json_schema', json_schema: { name: 'x', schema: { type: 'object' } } }
    expect(sent({ jsonSchemaAsObject: true }, { ...HELLO, response_format: format })['response_format']).toEqual({
      type: 'json_object',
      schema: { type: 'object' },
    })
    expect(sent({ modelPrefix: 'accounts/x/models/' }, HELLO)['model']).toBe('accounts/x/models/upstream-model')
    expect(sent({ modelPrefix: 'accounts/x/models/' }, HELLO, { model: 'accounts/me/models/m' })['model']).toBe(
      'accounts/me/models/m',
    )
  })

  it('toolIdLength: the same short id for call and result, and ids that fit stay', () => {
    const messages = [
      {
        role: 'assistant',
        content: '',
        tool_calls: [
          { id: 'call_1234567890', type: 'function', function: { name: 'f', arguments: '{}' } },
          { id: 'abcdef123', type: 'function', function: { name: 'g', arguments: '{}' } },
        ],
      },
      { role: 'tool', tool_call_id: 'call_1234567890', content: 'x' },
      { role: 'tool', tool_call_id: 'abcdef123', content: 'y' },
    ]
    const out = sent({ toolIdLength: 9 }, { model: 'a', messages })['messages'] as typeof messages
    const id = out[0]?.tool_calls?.[0]?.id
    expect(id).toMatch(/^[A-Za-z0-9]{9}$/)
    expect(out[1]?.tool_call_id).toBe(id)
    expect(out[2]?.tool_call_id).toBe('abcdef123')
  })
})
