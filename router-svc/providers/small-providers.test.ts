import { describe, expect, it } from 'vitest'
import type { Deployment } from '../../proto/deployment.ts'
import type { ChatRequest } from '../canonical/chat.ts'
import { providerOf } from './index.ts'
import { PLAIN_TARGET } from './plain-target.ts'
import { cuts, decodePieces, foldChunks } from './provider.suite.ts'
import type { Provider, Target } from './provider.ts'

/**
 * No recordings of these exist. What is sent and read here is written after what their vendors document, and shows that the adapters do what the
 * documents say, not that the documents are right.
 */
interface Case {
  provider: string
  model: string
  base?: string
  asked: Partial<ChatRequest>
  url: string
  /** Of the request; a form where it is a string. */
  body: unknown
  headers?: Record<string, string>
  answer: unknown
  said: { content: string; finish: string; prompt?: number; completion?: number }
  stream: string
  streamed: { content: string; finish: string; prompt?: number; completion?: number }
  /** Nothing but the end of the body ends a stream, so that a cut one cannot be told here. */
  untilEnd?: true
}

const hello: ChatRequest['messages'] = [
  { role: 'system', content: 'Be brief.' },
  { role: 'user', content: 'Hi' },
]
const PROMPT = 'Be brief.\n\nHi'
const sse = (...events: unknown[]) => events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join('')

const CASES: readonly Case[] = [
  {
    provider: 'aleph_alpha',
    model: 'luminous-base',
    asked: { max_tokens: 9, stop: 'X', user: 'u' },
    url: 'https://api.aleph-alpha.com/complete',
    body: { model: 'luminous-base', prompt: PROMPT, maximum_tokens: 9, stop_sequences: ['X'] },
    answer: {
      model_version: 'v',
      completions: [{ completion: ' Hello', finish_reason: 'maximum_tokens' }],
      num_tokens_prompt_total: 4,
      num_tokens_generated: 2,
    },
    said: { content: ' Hello', finish: 'length', prompt: 4, completion: 2 },
    stream: sse(
      { type: 'stream_chunk', index: 0, completion: ' Gr' },
      { type: 'stream_chunk', index: 0, completion: 'üß' },
      { type: 'stream_summary', index: 0, model_version: 'v', finish_reason: 'end_of_text' },
      { type: 'completion_summary', num_tokens_prompt_total: 4, num_tokens_generated: 2 },
    ),
    streamed: { content: ' Grüß', finish: 'stop', prompt: 4, completion: 2 },
  },
  {
    provider: 'nlp_cloud',
    model: 'finetuned-llama-3-70b',
    asked: { max_tokens: 9, stop: ['X'] },
    url: 'https://api.nlpcloud.io/v1/gpu/finetuned-llama-3-70b/generation',
    body: { text: PROMPT, max_length: 9, stop_sequences: ['X'] },
    answer: { generated_text: 'Hello', nb_input_tokens: 4, nb_generated_tokens: 2 },
    said: { content: 'Hello', finish: 'stop', prompt: 4, completion: 2 },
    stream: 'Gr\0üß\0 Gott\0',
    streamed: { content: 'Grüß Gott', finish: 'stop' },
    untilEnd: true,
  },
  {
    provider: 'petals',
    model: 'meta-llama/Llama-2-70b',
    asked: { max_tokens: 9, temperature: 0.5 },
    url: 'https://chat.petals.dev/api/v1/generate',
    body: 'model=meta-llama%2FLlama-2-70b&inputs=Be+brief.%0A%0AHi&max_new_tokens=9&do_sample=1&temperature=0.5',
    answer: { ok: true, outputs: 'Hello' },
    said: { content: 'Hello', finish: 'stop' },
    stream: '{\n  "ok": true,\n  "outputs": "Grüß"\n}\n',
    streamed: { content: 'Grüß', finish: 'stop' },
  },
  {
    provider: 'predibase',
    model: 'llama-3-8b',
    base: 'https://serving.app.predibase.com/t1/deployments/v2/llms',
    asked: { max_tokens: 0, temperature: 0, n: 2, adapter_id: 'a/1' },
    url: 'https://serving.app.predibase.com/t1/deployments/v2/llms/llama-3-8b/generate',
    body: {
      inputs: PROMPT,
      parameters: { details: true, max_new_tokens: 1, temperature: 0.01, best_of: 2, do_sample: true, adapter_id: 'a/1' },
    },
    answer: {
      generated_text: 'Hello',
      details: { finish_reason: 'length', generated_tokens: 2, prompt_tokens: 4, prefill: [], tokens: [] },
    },
    said: { content: 'Hello', finish: 'length', prompt: 4, completion: 2 },
    stream: sse(
      { token: { id: 1, text: 'Gr', special: false }, generated_text: null, details: null },
      { token: { id: 2, text: 'üß', special: false }, generated_text: null, details: null },
      {
        token: { id: 3, text: '</s>', special: true },
        generated_text: 'Grüß',
        details: { finish_reason: 'eos_token', generated_tokens: 3, prompt_tokens: 4 },
      },
    ),
    streamed: { content: 'Grüß', finish: 'stop', prompt: 4, completion: 3 },
  },
  {
    provider: 'triton',
    model: 'llama',
    base: 'http://triton:8000',
    asked: { max_tokens: 9, stop: 'X' },
    url: 'http://triton:8000/v2/models/llama/generate',
    body: { text_input: PROMPT, parameters: { stop_words: ['X'], max_tokens: 9 }, stream: false },
    answer: { model_name: 'llama', text_output: 'Hello' },
    said: { content: 'Hello', finish: 'stop' },
    stream: sse({ model_name: 'llama', text_output: 'Gr' }, { model_name: 'llama', text_output: 'üß' }),
    streamed: { content: 'Grüß', finish: 'stop' },
    untilEnd: true,
  },
  {
    provider: 'bytez',
    model: 'openai/gpt-4o',
    asked: {
      max_tokens: 9,
      n: 2,
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'Hi' },
            { type: 'image_url', image_url: { url: 'https://i/x.png' } },
          ],
        },
      ],
    },
    url: 'https://api.bytez.com/models/v2/openai/gpt-4o',
    body: {
      messages: [
        {
          role: 'user',
          content: [
            { type: 'text', text: 'Hi' },
            { type: 'image', url: 'https://i/x.png' },
          ],
        },
      ],
      stream: false,
      params: { max_new_tokens: 9, num_return_sequences: 2 },
    },
    answer: { error: null, output: { role: 'assistant', content: [{ type: 'text', text: 'Hello' }] } },
    said: { content: 'Hello', finish: 'stop' },
    stream: 'Grüß Gott',
    streamed: { content: 'Grüß Gott', finish: 'stop' },
    untilEnd: true,
  },
  {
    provider: 'langgraph',
    model: 'agent',
    asked: { config: { recursion_limit: 5 } },
    url: 'http://localhost:2024/runs/wait',
    body: { assistant_id: 'agent', input: { messages: hello }, config: { recursion_limit: 5 } },
    answer: {
      messages: [
        { type: 'human', content: 'Hi' },
        { type: 'ai', content: '', tool_calls: [{}] },
        { type: 'tool', content: '3' },
        {
          type: 'ai',
          content: [{ type: 'text', text: 'Hello' }],
          usage_metadata: { input_tokens: 4, output_tokens: 2, total_tokens: 6 },
        },
      ],
    },
    said: { content: 'Hello', finish: 'stop', prompt: 4, completion: 2 },
    stream:
      'event: metadata\ndata: {"run_id":"r"}\n\n' +
      'event: messages\ndata: [{"type":"AIMessageChunk","content":"Gr"},{"langgraph_step":1}]\n\n' +
      'event: messages\ndata: [{"type":"tool","content":"no"},{}]\n\n' +
      'event: messages\ndata: [{"type":"AIMessageChunk","content":"üß","usage_metadata":{"input_tokens":4,"output_tokens":2}},{}]\n\n',
    streamed: { content: 'Grüß', finish: 'stop', prompt: 4, completion: 2 },
    untilEnd: true,
  },
  {
    provider: 'gigachat',
    model: 'GigaChat-2-Pro',
    asked: {
      messages: [
        ...hello,
        {
          role: 'assistant',
          content: null,
          tool_calls: [{ id: 'c1', type: 'function', function: { name: 'add', arguments: '{"a":1}' } }],
        },
        { role: 'tool', tool_call_id: 'c1', content: '3' },
      ],
      tools: [{ type: 'function', function: { name: 'add', parameters: { type: 'object' }, strict: true } }],
      tool_choice: 'required',
    },
    url: 'https://gigachat.devices.sberbank.ru/api/v1/chat/completions',
    body: {
      model: 'GigaChat-2-Pro',
      messages: [
        ...hello,
        { role: 'assistant', content: '', function_call: { name: 'add', arguments: { a: 1 } } },
        { role: 'function', name: 'add', content: '{"result":"3"}' },
      ],
      functions: [{ name: 'add', parameters: { type: 'object' } }],
      function_call: { name: 'add' },
    },
    answer: {
      choices: [{ message: { role: 'assistant', content: 'Hello' }, index: 0, finish_reason: 'blacklist' }],
      created: 1,
      model: 'GigaChat:2',
      usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5, precached_prompt_tokens: 1 },
    },
    said: { content: 'Hello', finish: 'content_filter', prompt: 4, completion: 2 },
    stream: `${sse(
      { choices: [{ delta: { role: 'function_in_progress', content: 'wait' }, index: 0 }] },
      { choices: [{ delta: { role: 'assistant', content: 'Grüß' }, index: 0 }] },
      {
        choices: [{ delta: { content: '' }, index: 0, finish_reason: 'stop' }],
        usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5, precached_prompt_tokens: 1 },
      },
    )}data: [DONE]\n\n`,
    streamed: { content: 'Grüß', finish: 'stop', prompt: 4, completion: 2 },
  },
  {
    provider: 'sap',
    model: 'gpt-4o',
    base: 'https://api.ai.test/v2/inference/deployments/d1',
    asked: {
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'What is {{?this}}' },
      ],
      max_tokens: 9,
      filtering: { input: {} },
    },
    url: 'https://api.ai.test/v2/inference/deployments/d1/v2/completion',
    body: {
      config: {
        modules: {
          prompt_templating: {
            prompt: {
              template: [
                { role: 'system', content: 'Be brief.' },
                { role: 'user', content: '{{?text_1}}' },
              ],
            },
            model: { name: 'gpt-4o', params: { max_tokens: 9 } },
          },
          filtering: { input: {} },
        },
      },
      placeholder_values: { text_1: 'What is {{?this}}' },
    },
    answer: {
      request_id: 'r',
      final_result: {
        id: 'c',
        choices: [{ index: 0, message: { role: 'assistant', content: 'Hello' }, finish_reason: 'length' }],
        usage: { prompt_tokens: 4, completion_tokens: 2, total_tokens: 6 },
      },
    },
    said: { content: 'Hello', finish: 'length', prompt: 4, completion: 2 },
    stream: `${sse(
      { request_id: 'r', intermediate_results: { templating: [] }, final_result: { id: '', choices: [] } },
      { request_id: 'r', final_result: { id: 'c', choices: [{ index: 0, delta: { role: 'assistant', content: 'Gr' } }] } },
      {
        request_id: 'r',
        final_result: {
          id: 'c',
          choices: [{ index: 0, delta: { content: 'üß' }, finish_reason: 'stop' }],
          usage: { prompt_tokens: 4, completion_tokens: 2, total_tokens: 6 },
        },
      },
    )}data: [DONE]\n\n`,
    streamed: { content: 'Grüß', finish: 'stop', prompt: 4, completion: 2 },
  },
  {
    provider: 'github_copilot',
    model: 'claude-sonnet-4',
    asked: { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'https://i/x.png' } }] }] },
    url: 'https://api.githubcopilot.com/chat/completions',
    body: {
      model: 'claude-sonnet-4',
      messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'https://i/x.png' } }] }],
    },
    headers: { 'copilot-integration-id': 'vscode-chat', 'x-initiator': 'user', 'copilot-vision-request': 'true' },
    answer: {
      choices: [
        { index: 0, message: { role: 'assistant', content: 'Hel' }, finish_reason: 'stop' },
        { index: 1, message: { role: 'assistant', content: 'lo' }, finish_reason: 'stop' },
      ],
      usage: { prompt_tokens: 4, completion_tokens: 2, total_tokens: 6 },
    },
    said: { content: 'Hello', finish: 'stop', prompt: 4, completion: 2 },
    stream: `${sse(
      { choices: [{ index: 0, delta: { role: 'assistant', content: 'Gr' }, finish_reason: null }] },
      { choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] },
      { choices: [{ index: 1, delta: { role: 'assistant', content: 'üß' }, finish_reason: 'stop' }] },
      { choices: [], usage: { prompt_tokens: 4, completion_tokens: 2, total_tokens: 6 } },
    )}data: [DONE]\n\n`,
    streamed: { content: 'Grüß', finish: 'stop', prompt: 4, completion: 2 },
  },
]

function target(provider: Provider, model: string, base = provider.base ?? '', settings = {}): Target {
  return {
    ...PLAIN_TARGET,
    provider: provider.name,
    model,
    base,
    settings,
  }
}

function provided(name: string): Provider & Required<Pick<Provider, 'chat'>> {
  return providerOf(name) as ReturnType<typeof provided>
}

const context = (request: Record<string, unknown> = {}) => ({ id: 'i', created: 1, model: 'asked', request })

function chat(one: Pick<Case, 'provider' | 'model' | 'base'>, asked: Partial<ChatRequest>, settings = {}) {
  const provider = provided(one.provider)
  const sent = provider.chat.encodeRequest(
    { model: 'g', messages: hello, ...asked },
    target(provider, one.model, one.base, settings),
  )
  const body = String(sent.body)
  return { ...sent, body: body.startsWith('{') ? (JSON.parse(body) as Record<string, unknown>) : body }
}

describe.each(CASES)('$provider', (one) => {
  const { chat: adapter } = provided(one.provider)
  const stream = () => {
    const made = adapter.decodeStream?.(context())
    if (made === undefined) throw new Error('it does not stream')
    return made
  }

  it('is asked as it documents', () => {
    const sent = chat(one, one.asked)
    expect([sent.url, sent.body]).toEqual([one.url, one.body])
    expect(sent.headers).toMatchObject(one.headers ?? {})
  })

  it('says what it cannot do, and leaves it out where it may', () => {
    const refused = { logit_bias: { 5: 1 } }
    if (['github_copilot', 'sap'].includes(one.provider))
      return expect(JSON.stringify(chat(one, refused).body)).toContain('"logit_bias":{"5":1}')
    expect(() => chat(one, refused)).toThrow(expect.objectContaining({ code: 'unsupported_parameter', param: 'logit_bias' }))
    return expect(JSON.stringify(chat(one, { ...refused, drop_params: true }).body)).not.toContain('logit_bias')
  })

  it('is read whole', () => {
    const { choices, usage } = adapter.decodeResponse(Buffer.from(JSON.stringify(one.answer)), {}, context())
    expect(choices).toHaveLength(1)
    expect(choices[0]).toMatchObject({
      message: { role: 'assistant', content: one.said.content },
      finish_reason: one.said.finish,
    })
    expect([usage?.prompt_tokens, usage?.completion_tokens]).toEqual([one.said.prompt, one.said.completion])
  })

  it('is read as a stream, however it is cut', () => {
    for (const seed of [1, 2, 3]) {
      for (const pieces of cuts(Buffer.from(one.stream), seed)) {
        const { chunks, error } = decodePieces(stream(), pieces, adapter.framing)
        expect(error).toBeNull()
        const { choices, usage } = foldChunks(chunks)
        expect([...choices.keys()]).toEqual([0])
        expect(choices.get(0)).toMatchObject({ content: one.streamed.content, finish: one.streamed.finish, roles: 1 })
        expect([usage?.prompt_tokens, usage?.completion_tokens]).toEqual([one.streamed.prompt, one.streamed.completion])
      }
    }
  })

  it('takes no stream for whole that stops before its end', () => {
    const nothing = decodePieces(stream(), [], adapter.framing)
    expect(nothing.error?.code).toBe('provider_malformed')
    if (one.untilEnd) return
    const half = Buffer.from(one.stream).subarray(0, Math.floor(one.stream.length / 2))
    expect(decodePieces(stream(), [half], adapter.framing).error?.code).toMatch(/^provider_(truncated|malformed)$/)
  })

  it('tells its errors, those under status 200 too', () => {
    const { decodeError } = provided(one.provider)
    expect(decodeError(401, {}, '{"error":"no such key"}')).toMatchObject({ code: 'provider_authentication' })
    const read = () => adapter.decodeResponse(Buffer.from('{"error":"boom"}'), {}, context())
    expect(read).toThrow(expect.objectContaining({ code: expect.stringMatching(/^provider_/) }))
    expect(() => adapter.decodeResponse(Buffer.from('<html>'), {}, context())).toThrow(
      expect.objectContaining({ code: 'provider_malformed' }),
    )
  })

  it('answers text completions', () => {
    const { completion } = provided(one.provider)
    const whole = completion?.decodeResponse(Buffer.from(JSON.stringify(one.answer)), {}, context({ prompt: 'Hi' }))
    expect(whole).toMatchObject({
      object: 'text_completion',
      choices: [{ text: one.said.content, finish_reason: one.said.finish }],
    })
    const upstream = target(provided(one.provider), one.model, one.base)
    expect(String(completion?.encodeRequest({ model: 'g', prompt: ['Once'] }, upstream).body)).toContain('Once')
    expect(() => completion?.encodeRequest({ model: 'g', prompt: [1, 2] }, upstream)).toThrow(
      expect.objectContaining({ code: 'bad_request', param: 'prompt' }),
    )
  })
})

describe('a chat as one text', () => {
  const one = { provider: 'triton', model: 'm', base: 'http://t/generate' }
  const promptFor = (messages: ChatRequest['messages'], settings = {}) =>
    (chat(one, { messages }, settings).body as { text_input: string }).text_input
  const talk: ChatRequest['messages'] = [...hello, { role: 'assistant', content: 'Yes?' }, { role: 'user', content: 'Bye' }]

  it('is a transcript where there is a conversation', () => {
    expect(promptFor(talk)).toBe('System: Be brief.\nUser: Hi\nAssistant: Yes?\nUser: Bye\nAssistant:')
    expect(promptFor(talk.slice(0, 3))).toBe('System: Be brief.\nUser: Hi\nAssistant: Yes?')
  })

  it('has the form its deployment gives', () => {
    const roles = { user: { pre_message: '[INST]', post_message: '[/INST]' }, assistant: { post_message: '</s>' } }
    expect(promptFor(talk.slice(1), { roles, initial_prompt_value: '<s>', final_prompt_value: '!' })).toBe(
      '<s>[INST]Hi[/INST]Yes?</s>[INST]Bye[/INST]!',
    )
  })

  it('holds no pictures', () => {
    const content = [{ type: 'image_url', image_url: { url: 'https://i' } }]
    expect(() => promptFor([{ role: 'user', content }])).toThrow(
      expect.objectContaining({ code: 'bad_request', param: 'messages[0].content[0]' }),
    )
  })

  it('is framed for the models of Aleph Alpha that follow instructions', () => {
    const { body } = chat({ provider: 'aleph_alpha', model: 'luminous-supreme-control' }, {})
    expect(body).toMatchObject({ prompt: '### Instruction:\nBe brief.\n\n### Input:\nHi\n\n### Response:' })
  })
})

describe('Triton’s tensors', () => {
  const triton = provided('triton')
  const tensors = triton.serve?.('m', { apiBase: 'http://t/v2/models/m/infer' } as Deployment).provider as typeof triton

  it('are asked where the address ends so', () => {
    expect(triton.serve?.('m', { apiBase: 'http://t/generate' } as Deployment).provider).toBeNull()
    const sent = tensors.chat.encodeRequest(
      { model: 'g', messages: [{ role: 'user', content: 'Hi' }], temperature: 1, top_k: 3, stop: 'X' },
      target(tensors, 'm', 'http://t/v2/models/m/infer'),
    )
    expect(sent.url).toBe('http://t/v2/models/m/infer')
    expect(JSON.parse(String(sent.body))).toEqual({
      inputs: [
        { name: 'text_input', shape: [1], datatype: 'BYTES', data: ['Hi'] },
        { name: 'max_tokens', shape: [1], datatype: 'INT32', data: [20] },
        { name: 'stop_words', shape: [1], datatype: 'BYTES', data: ['X'] },
        { name: 'temperature', shape: [1], datatype: 'FP32', data: [1] },
        { name: 'top_k', shape: [1], datatype: 'INT32', data: [3] },
      ],
    })
  })

  it('are read whole, and streamed in one piece', () => {
    const answer = Buffer.from('{"outputs":[{"name":"text_output","shape":[1],"datatype":"BYTES","data":["Hel","lo"]}]}')
    expect(tensors.chat.decodeResponse(answer, {}, context()).choices[0]?.message.content).toBe('Hello')
    const stream = tensors.chat.decodeStream?.(context())
    if (stream === undefined) throw new Error('no stream')
    const { chunks, error } = decodePieces(stream, [answer], tensors.chat.framing)
    expect([error, foldChunks(chunks).choices.get(0)?.content]).toEqual([null, 'Hello'])
  })
})

describe('embeddings of the small ones', () => {
  const cases = [
    {
      provider: 'aleph_alpha',
      input: 'a',
      url: 'https://api.aleph-alpha.com/semantic_embed',
      body: { model: 'm', representation: 'symmetric', prompt: 'a' },
      answer: { embedding: [1, 2], num_tokens_prompt_total: 3 },
      vectors: [[1, 2]],
      tokens: 3,
    },
    {
      provider: 'aleph_alpha',
      input: ['a', 'b'],
      url: 'https://api.aleph-alpha.com/batch_semantic_embed',
      body: { model: 'm', representation: 'symmetric', prompts: ['a', 'b'] },
      answer: { embeddings: [[1], [2]] },
      vectors: [[1], [2]],
      tokens: 0,
    },
    {
      provider: 'nlp_cloud',
      input: ['a', 'b'],
      url: 'https://api.nlpcloud.io/v1/gpu/m/embeddings',
      body: { sentences: ['a', 'b'] },
      answer: { embeddings: [[1], [2]] },
      vectors: [[1], [2]],
      tokens: 0,
    },
    {
      provider: 'triton',
      input: ['a', 'b'],
      base: 'http://t',
      url: 'http://t/v2/models/m/infer',
      body: { inputs: [{ name: 'input_text', shape: [2], datatype: 'BYTES', data: ['a', 'b'] }] },
      answer: { outputs: [{ name: 'e', shape: [2, 2], datatype: 'FP32', data: [1, 2, 3, 4] }] },
      vectors: [
        [1, 2],
        [3, 4],
      ],
      tokens: 0,
    },
    {
      provider: 'infinity',
      input: ['a'],
      base: 'http://i:7997',
      url: 'http://i:7997/embeddings',
      body: { model: 'm', input: ['a'], output_dimension: 2 },
      asked: { dimensions: 2 },
      answer: {
        object: 'list',
        data: [{ object: 'embedding', index: 0, embedding: [1] }],
        usage: { prompt_tokens: 1, total_tokens: 1 },
      },
      vectors: [[1]],
      tokens: 1,
    },
  ]

  it.each(cases)('$provider: $url', ({ provider: name, input, url, body, base, asked, answer, vectors, tokens }) => {
    const provider = providerOf(name) as Provider
    const sent = provider.embedding?.encodeRequest({ model: 'g', input, ...asked }, target(provider, 'm', base))
    expect([sent?.url, JSON.parse(String(sent?.body))]).toEqual([url, body])
    const read = provider.embedding?.decodeResponse(Buffer.from(JSON.stringify(answer)), {}, context())
    expect(read?.data.map(({ embedding }) => embedding)).toEqual(vectors)
    expect(read?.usage.prompt_tokens).toBe(tokens)
    expect(() => provider.embedding?.decodeResponse(Buffer.from('{"error":"no"}'), {}, context())).toThrow(/no/)
  })
})

describe('calls of tools', () => {
  it('are functions of GigaChat, one a message', () => {
    const { chat: adapter } = provided('gigachat')
    const call = { name: 'add', arguments: { a: 1 } }
    const read = (message: unknown, request = {}) =>
      adapter.decodeResponse(
        Buffer.from(JSON.stringify({ choices: [{ index: 0, message, finish_reason: 'function_call' }] })),
        {},
        context(request),
      ).choices[0]
    const message = { role: 'assistant', content: '', function_call: call, functions_state_id: 's' }
    expect(read(message)).toMatchObject({
      message: {
        tool_calls: [{ id: 'call_i', type: 'function', function: { name: 'add', arguments: '{"a":1}' } }],
        functions_state_id: 's',
      },
      finish_reason: 'tool_calls',
    })
    expect(read(message, { functions: [] })).toMatchObject({
      message: { function_call: { name: 'add', arguments: '{"a":1}' } },
      finish_reason: 'function_call',
    })
    expect(() => chat({ provider: 'gigachat', model: 'm' }, { tool_choice: 'required' })).toThrow(/'tool_choice'/)
  })

  it('of Copilot are in one choice with its text, numbered through', () => {
    const { chat: adapter } = provided('github_copilot')
    const stream = adapter.decodeStream?.(context())
    if (stream === undefined) throw new Error('no stream')
    const call = (id: string) => ({ index: 0, id, type: 'function', function: { name: 'add', arguments: '{}' } })
    const events = `${sse(
      { choices: [{ index: 0, delta: { role: 'assistant', content: 'I add' }, finish_reason: 'stop' }] },
      { choices: [{ index: 1, delta: { role: 'assistant', tool_calls: [call('a')] }, finish_reason: 'tool_calls' }] },
      { choices: [{ index: 2, delta: { role: 'assistant', tool_calls: [call('b')] }, finish_reason: 'tool_calls' }] },
    )}data: [DONE]\n\n`
    const { chunks } = decodePieces(stream, [Buffer.from(events)])
    const { choices } = foldChunks(chunks)
    expect([...choices.keys()]).toEqual([0])
    expect(choices.get(0)).toMatchObject({ content: 'I add', finish: 'tool_calls', toolCalls: [{ id: 'a' }, { id: 'b' }] })
    expect(
      chat({ provider: 'github_copilot', model: 'm' }, { messages: [{ role: 'tool', tool_call_id: 'a', content: '' }] }).headers,
    ).toMatchObject({
      'x-initiator': 'agent',
    })
  })
})

describe('failures of a run', () => {
  it('of Petals are the last line of its traceback', () => {
    const { chat: adapter } = provided('petals')
    const body = Buffer.from(JSON.stringify({ ok: false, traceback: 'Traceback:\n  x\nValueError: too long' }))
    expect(() => adapter.decodeResponse(body, {}, context())).toThrow('ValueError: too long')
  })

  it('of LangGraph are errors, whole and streamed', () => {
    const { chat: adapter } = provided('langgraph')
    const body = Buffer.from('{"__error__":{"error":"ValueError","message":"no such node"}}')
    expect(() => adapter.decodeResponse(body, {}, context())).toThrow(
      expect.objectContaining({ code: expect.stringMatching(/^provider_/) }),
    )
    const stream = adapter.decodeStream?.(context())
    if (stream === undefined) throw new Error('no stream')
    const events =
      'event: messages\ndata: [{"type":"AIMessageChunk","content":"a"},{}]\n\nevent: error\ndata: {"error":"E","message":"boom"}\n\n'
    expect(decodePieces(stream, [Buffer.from(events)]).error?.message).toContain('boom')
  })
})
