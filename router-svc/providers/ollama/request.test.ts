import { describe, expect, it } from 'vitest'
import type { ChatRequest } from '../../canonical/chat.ts'
import { bodyOf, encodeChat, provider, target } from './encode.testkit.ts'

const WEATHER = { type: 'function', function: { name: 'weather', parameters: { type: 'object' } } }
const CLOCK = { type: 'function', function: { name: 'clock', parameters: { type: 'object' } } }

describe('a chat for Ollama', () => {
  it('always says whether it streams, for the server does unless told', () => {
    expect(encodeChat({})).toEqual({ model: 'qwen3', messages: [{ role: 'user', content: 'Hi' }], stream: false })
    expect(encodeChat({ stream: true, stream_options: { include_usage: true } })).toMatchObject({ stream: true })
    expect(encodeChat({ stream: true, stream_options: { include_usage: true } })).not.toHaveProperty('options')
  })

  it('puts parameters of the model into options, and the server’s own beside them', () => {
    const body = encodeChat({
      max_tokens: 10,
      temperature: 0,
      top_p: 0.5,
      seed: 3,
      stop: 'END',
      frequency_penalty: 0.1,
      presence_penalty: 0.2,
      num_ctx: 8192,
      top_k: 4,
      keep_alive: '5m',
      n: 1,
      user: 'me',
      metadata: { a: 1 },
    })
    expect(body).toEqual({
      model: 'qwen3',
      messages: [{ role: 'user', content: 'Hi' }],
      options: {
        num_predict: 10,
        temperature: 0,
        top_p: 0.5,
        seed: 3,
        stop: ['END'],
        frequency_penalty: 0.1,
        presence_penalty: 0.2,
        num_ctx: 8192,
        top_k: 4,
      },
      stream: false,
      keep_alive: '5m',
    })
  })

  it('takes options as the client wrote them over what OpenAI’s parameters say', () => {
    const body = encodeChat({
      max_tokens: 10,
      max_completion_tokens: 20,
      temperature: 1,
      options: { temperature: 0.5, num_gpu: 1 },
    })
    expect(body['options']).toEqual({ num_predict: 20, temperature: 0.5, num_gpu: 1 })
  })

  it('says a format as "json" or as the schema itself', () => {
    const schema = { type: 'object', properties: { a: { type: 'string' } } }
    expect(encodeChat({ response_format: { type: 'json_object' } })['format']).toBe('json')
    expect(encodeChat({ response_format: { type: 'json_schema', json_schema: { name: 'x', schema } } })['format']).toEqual(schema)
    expect(encodeChat({ response_format: { type: 'text' } })).not.toHaveProperty('format')
    expect(encodeChat({ format: schema, response_format: { type: 'json_object' } })['format']).toEqual(schema)
    expect(() => encodeChat({ response_format: { type: 'grammar' } })).toThrow(/response_format/)
  })

  it.each([
    ['qwen3', { reasoning_effort: 'high' }, true],
    ['qwen3', { reasoning_effort: 'none' }, false],
    ['gpt-oss:120b', { reasoning_effort: 'minimal' }, 'low'],
    ['gpt-oss:20b', { reasoning_effort: 'medium' }, 'medium'],
    ['gpt-oss:20b', { reasoning_effort: { effort: 'high' } }, 'high'],
    ['qwen3', { thinking: { type: 'enabled', budget_tokens: 1024 } }, true],
    ['qwen3', { thinking: { type: 'disabled' } }, false],
    ['qwen3', { think: 'low', reasoning_effort: 'high' }, 'low'],
    ['qwen3', {}, undefined],
  ])('thinks on %s for %j: %j', (model, request, think) => {
    expect(encodeChat(request as Partial<ChatRequest>, { model })['think']).toEqual(think)
  })

  it('refuses an effort it does not know', () => {
    expect(() => encodeChat({ reasoning_effort: 'huge' })).toThrow(expect.objectContaining({ code: 'bad_request' }))
  })

  it('sends pictures as bare base64 beside the text, and names one it would have to fetch', () => {
    const body = encodeChat({
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'What' },
            { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } },
            { type: 'text', text: 'is it?' },
            { type: 'image_url', image_url: 'data:image/jpeg;charset=x;base64,BBBB' },
          ],
        },
      ],
    })
    expect(body['messages']).toEqual([{ role: 'user', content: 'What\nis it?', images: ['AAAA', 'BBBB'] }])
    const fetched = { type: 'image_url', image_url: { url: 'https://example.com/a.png' } }
    expect(() => encodeChat({ messages: [{ role: 'user', content: [fetched] }] })).toThrow(
      /messages\[0\]\.content\[0\]\.image_url/,
    )
    const audio = { type: 'input_audio', input_audio: { data: 'A', format: 'wav' } }
    expect(() => encodeChat({ messages: [{ role: 'user', content: [audio] }] })).toThrow(/messages\[0\]\.content\[0\]/)
  })

  it('gives a result the name of the tool its call names, arguments as an object, and thinking back', () => {
    const body = encodeChat({
      messages: [
        { role: 'developer', content: 'Be brief.' },
        {
          role: 'assistant',
          content: null,
          reasoning_content: 'hm',
          tool_calls: [{ id: 'c1', type: 'function', function: { name: 'weather', arguments: '{"city":"Bern"}' } }],
        },
        { role: 'tool', tool_call_id: 'c1', content: 'rain' },
      ],
    })
    expect(body['messages']).toEqual([
      { role: 'system', content: 'Be brief.' },
      {
        role: 'assistant',
        content: '',
        thinking: 'hm',
        tool_calls: [{ id: 'c1', function: { name: 'weather', arguments: { city: 'Bern' } } }],
      },
      { role: 'tool', content: 'rain', tool_name: 'weather', tool_call_id: 'c1' },
    ])
  })

  it('names the call whose arguments are no object, and a role it does not know', () => {
    const call = { id: 'c', type: 'function', function: { name: 'f', arguments: '{"a":' } }
    expect(() => encodeChat({ messages: [{ role: 'assistant', tool_calls: [call] }] })).toThrow(
      expect.objectContaining({ code: 'bad_request', param: 'messages[0].tool_calls[0].function.arguments' }),
    )
    expect(() => encodeChat({ messages: [{ role: 'robot', content: 'x' }] })).toThrow(/messages\[0\] has the unknown role/)
  })

  it('offers no tools, or one alone, where the choice says so', () => {
    const tools = [WEATHER, CLOCK]
    expect(encodeChat({ tools, tool_choice: 'auto' })['tools']).toEqual(tools)
    expect(encodeChat({ tools, tool_choice: 'none' })).not.toHaveProperty('tools')
    const clock = { type: 'function', function: { name: 'clock' } }
    expect(encodeChat({ tools, tool_choice: clock })['tools']).toEqual([CLOCK])
    expect(() => encodeChat({ tools: [{ type: 'web_search' }] })).toThrow(/tools\[0\]/)
  })

  it('names every parameter it has no counterpart for, and drops or sends them where it may', () => {
    const asked = { n: 2, logit_bias: { 1: 2 } }
    expect(() => encodeChat(asked)).toThrow(
      expect.objectContaining({ code: 'unsupported_parameter', message: expect.stringContaining("'logit_bias', 'n'") }),
    )
    expect(encodeChat({ ...asked, drop_params: true })).not.toHaveProperty('options')
    expect(encodeChat({ logit_bias: { 1: 2 } }, { allowedOpenaiParams: ['logit_bias'] })['options']).toEqual({
      logit_bias: { 1: 2 },
    })
    expect(encodeChat({ temperature: 1, seed: 2 }, { additionalDropParams: ['seed'] })['options']).toEqual({ temperature: 1 })
  })

  it.each(['http://gpu:11434', 'http://gpu:11434/v1', 'http://gpu:11434/api', 'http://gpu:11434/api/chat'])(
    'finds the route from the base %s',
    (base) => {
      const request = { model: 'm', messages: [] }
      expect(provider().chat.encodeRequest(request, target({ base })).url).toBe('http://gpu:11434/api/chat')
      expect(provider().embedding.encodeRequest({ model: 'm', input: 'a' }, target({ base })).url).toBe(
        'http://gpu:11434/api/embed',
      )
    },
  )
})

describe('a text completion for Ollama', () => {
  it('goes to its own route with the prompt as it is', () => {
    const request = { model: 'g', prompt: ['once'], suffix: 'end', max_tokens: 5, raw: true, stream: true, echo: false }
    const upstream = provider().completion.encodeRequest(request, target())
    expect(upstream.url).toBe('http://localhost:11434/api/generate')
    expect(bodyOf(upstream)).toEqual({
      model: 'qwen3',
      prompt: 'once',
      options: { num_predict: 5 },
      stream: true,
      suffix: 'end',
      raw: true,
    })
  })

  it('takes one text only, and no echo', () => {
    const { completion } = provider()
    expect(() => completion.encodeRequest({ model: 'g', prompt: [1, 2] }, target())).toThrow(/prompt must be one string/)
    expect(() => completion.encodeRequest({ model: 'g', prompt: 'a', echo: true }, target())).toThrow(/'echo'/)
  })
})

describe('embeddings of Ollama', () => {
  it('are asked for by text, one or many', () => {
    const request = {
      model: 'g',
      input: ['a', 'b'],
      dimensions: 4,
      encoding_format: 'base64' as const,
      user: 'me',
      num_ctx: 9,
      truncate: false,
    }
    expect(bodyOf(provider().embedding.encodeRequest(request, target()))).toEqual({
      model: 'qwen3',
      input: ['a', 'b'],
      dimensions: 4,
      truncate: false,
      options: { num_ctx: 9 },
    })
    expect(() => provider().embedding.encodeRequest({ model: 'g', input: [1, 2] }, target())).toThrow(/no tokens/)
  })

  it('come in the form that was asked for', () => {
    const body = Buffer.from('{"model":"e","embeddings":[[1,0],[0,1]],"prompt_eval_count":4}')
    const { embedding } = provider()
    const asked = (request: Record<string, unknown>) =>
      embedding.decodeResponse(body, {}, { id: 'i', created: 1, model: 'm', request })
    expect(asked({})).toEqual({
      object: 'list',
      data: [
        { object: 'embedding', index: 0, embedding: [1, 0] },
        { object: 'embedding', index: 1, embedding: [0, 1] },
      ],
      model: 'e',
      usage: { prompt_tokens: 4, completion_tokens: 0, total_tokens: 4 },
    })
    expect(asked({ encoding_format: 'base64' }).data[0]?.embedding).toBe('AACAPwAAAAA=')
  })
})
