import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { CompletionChunk } from '../../canonical/completion.ts'
import { providerOf } from '../index.ts'
import type { Fields } from '../json.ts'
import { entries, fileNames, haveRecordings, recordings } from '../openai/recordings.suite.ts'
import { answered, CONTEXT, embedded, eventsIn, folded, said, sent, streamed } from '../openai-variant.testkit.ts'
import { cuts, decodePieces } from '../provider.suite.ts'
import type { Provider, Target } from '../provider.ts'

const watsonx = providerOf('watsonx') as Provider
const prompts = providerOf('watsonx_text') as Provider
const BASE = 'https://us-south.ml.cloud.ibm.com'
const messages = [{ role: 'user', content: 'hi' }]

const place = (changes: Partial<Target> = {}): Partial<Target> => ({
  model: 'ibm/granite-3-8b-instruct',
  base: BASE,
  settings: { project_id: 'p' },
  ...changes,
})
const chat = (request: Fields, changes: Partial<Target> = {}) =>
  sent(watsonx, 'chat', { model: 'alias', messages, ...request }, place(changes))

describe('a chat of watsonx.ai', () => {
  it('names model and project in the body, and streams from another address', () => {
    expect(chat({ temperature: 0.5, user: 'somebody' })).toEqual({
      url: `${BASE}/ml/v1/text/chat?version=2024-03-13`,
      body: { model_id: 'ibm/granite-3-8b-instruct', project_id: 'p', messages, temperature: 0.5 },
    })
    expect(chat({ stream: true, stream_options: { include_usage: true } }, { apiVersion: '2025-02-11' })).toEqual({
      url: `${BASE}/ml/v1/text/chat_stream?version=2025-02-11`,
      body: { model_id: 'ibm/granite-3-8b-instruct', project_id: 'p', messages },
    })
  })

  it('of a deployment names neither', () => {
    for (const stream of [true, false])
      expect(chat({ stream, project_id: 'x' }, { model: 'deployment/my id', settings: {} })).toEqual({
        url: `${BASE}/ml/v1/deployments/my%20id/text/chat${stream ? '_stream' : ''}?version=2024-03-13`,
        body: { messages },
      })
  })

  it('takes a space, or the client’s own project where the deployment has none, and is refused without either', () => {
    expect(chat({}, { settings: { space_id: 's' } }).body).toMatchObject({ space_id: 's' })
    expect(chat({ project_id: 'theirs' }, { settings: { space_id: 's' } }).body).not.toHaveProperty('project_id')
    expect(chat({ project_id: 'theirs' }, { settings: {} }).body).toMatchObject({ project_id: 'theirs' })
    expect(chat({}, { base: `${BASE}/ml/v1` }).url).toBe(`${BASE}/ml/v1/text/chat?version=2024-03-13`)
    expect(() => chat({}, { settings: {} })).toThrow(expect.objectContaining({ code: 'bad_request', param: 'project_id' }))
  })

  it('has its own name for a choice of tools that is a word, and tools without what it does not know', () => {
    const parameters = { type: 'object', properties: { strict: { type: 'string' } }, additionalProperties: false }
    const tools = [{ type: 'function', function: { name: 'f', strict: true, parameters } }]
    const { body } = chat({ tools, tool_choice: 'required' })
    expect(body).toMatchObject({ tool_choice_option: 'required' })
    expect(body).not.toHaveProperty('tool_choice')
    expect(body['tools']).toEqual([
      { type: 'function', function: { name: 'f', parameters: { type: 'object', properties: { strict: { type: 'string' } } } } },
    ])
    const named = { type: 'function', function: { name: 'f' } }
    expect(chat({ tools, tool_choice: named }).body).toMatchObject({ tool_choice: named })
  })

  it('knows no developers, and nothing that others put into messages', () => {
    const said = [
      { role: 'developer', content: 'be brief' },
      { role: 'assistant', content: 'ok', reasoning_content: 'hm', thinking_blocks: [] },
    ]
    expect(chat({ messages: said }).body['messages']).toEqual([
      { role: 'system', content: 'be brief' },
      { role: 'assistant', content: 'ok' },
    ])
  })

  it('passes on what is the service’s own, and names what it cannot do', () => {
    expect(chat({ time_limit: 500, guided_choice: ['a'], reasoning_effort: 'low' }).body).toMatchObject({
      time_limit: 500,
      guided_choice: ['a'],
      reasoning_effort: 'low',
    })
    expect(() => chat({ parallel_tool_calls: false })).toThrow(
      expect.objectContaining({ code: 'unsupported_parameter', param: 'parallel_tool_calls' }),
    )
    expect(chat({ parallel_tool_calls: true }).body).not.toHaveProperty('parallel_tool_calls')
    expect(chat({ parallel_tool_calls: false }, { dropParams: true }).body).not.toHaveProperty('parallel_tool_calls')
    expect(chat({ parallel_tool_calls: false }, { allowedOpenaiParams: ['parallel_tool_calls'] }).body).toMatchObject({
      parallel_tool_calls: false,
    })
  })
})

// Bytes after the documented form: these routes were not recorded.
describe('an answer of watsonx.ai', () => {
  const answer = (fields: Fields = {}) => ({
    id: 'chat-1',
    model_id: 'ibm/granite-3-8b-instruct',
    created: 1,
    created_at: '2025-01-01T00:00:00Z',
    choices: [{ index: 0, message: { role: 'assistant', content: 'hello' }, finish_reason: 'stop' }],
    usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
    system: { warnings: [{ id: 'w' }] },
    ...fields,
  })
  const ending = (finish_reason: string) => [{ index: 0, message: { role: 'assistant', content: 'hello' }, finish_reason }]

  it('is read, what only it has along', () => {
    expect(answered(watsonx, answer())).toMatchObject({
      id: 'chat-1',
      object: 'chat.completion',
      created: 1,
      model: 'asked',
      choices: [{ index: 0, message: { role: 'assistant', content: 'hello' }, finish_reason: 'stop' }],
      usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 },
      system: { warnings: [{ id: 'w' }] },
    })
  })

  it('that ran out of time is cut short, and one that failed is an error', () => {
    expect(answered(watsonx, answer({ choices: ending('time_limit') })).choices[0]?.finish_reason).toBe('length')
    for (const reason of ['error', 'cancelled'])
      expect(() => answered(watsonx, answer({ choices: ending(reason) }))).toThrow(
        expect.objectContaining({ code: 'provider_error' }),
      )
  })

  it('that is an error under a 200 is that error', () => {
    const body = { errors: [{ code: 'model_not_supported', message: 'no such model' }], trace: 't', status_code: 404 }
    expect(() => answered(watsonx, body)).toThrow(expect.objectContaining({ code: 'provider_not_found' }))
    expect(() => embedded(watsonx, body)).toThrow(expect.objectContaining({ code: 'provider_not_found' }))
    expect(() => answered(watsonx, '<html>')).toThrow(expect.objectContaining({ code: 'provider_malformed' }))
  })

  const event = (id: number, fields: Fields) =>
    `id: ${id}\nevent: message\ndata: ${JSON.stringify({ id: 'chat-1', model_id: 'm', created: 1, ...fields })}\n\n`
  const delta = (delta: Fields, finish_reason: string | null = null) => ({ choices: [{ index: 0, delta, finish_reason }] })
  const begun = event(1, delta({ role: 'assistant', content: '' })) + event(2, delta({ content: 'hello' }))

  it('streams without a terminator of its own: a reason to finish ends it, and usage may follow', () => {
    const usage = { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5 }
    const source = begun + event(3, delta({ content: '' }, 'stop')) + event(4, { choices: [], usage })
    expect(folded(watsonx, source)).toMatchObject({ content: 'hello', finish: 'stop', roles: 1, usage })
    expect(folded(watsonx, begun + event(3, delta({}, 'time_limit')))).toMatchObject({ finish: 'length', usage: null })
  })

  it('that breaks off, or tells of an error on the way, does not end well', () => {
    expect(streamed(watsonx, begun).error).toMatchObject({ code: 'provider_truncated' })
    expect(streamed(watsonx, begun + event(3, delta({}, 'error'))).error).toMatchObject({ code: 'provider_error' })
    const errors = { errors: [{ code: 'rate_limit', message: 'slow down' }], trace: 't', status_code: 429 }
    for (const name of ['error', 'message']) {
      const { chunks, error } = streamed(watsonx, `${begun}event: ${name}\ndata: ${JSON.stringify(errors)}\n\n`)
      expect(chunks).toHaveLength(2)
      expect(error).toMatchObject({ code: 'provider_rate_limited' })
    }
  })
})

describe('a refusal of watsonx.ai', () => {
  it.each([
    [401, 'authentication_token_expired', 'provider_authentication', 'litellm.AuthenticationError: AuthenticationError: '],
    [
      403,
      'no_associated_service_instance_error',
      'provider_permission',
      'litellm.PermissionDeniedError: PermissionDeniedError: ',
    ],
    [403, 'token_quota_reached', 'provider_quota', 'litellm.RateLimitError: RateLimitError: '],
    [404, 'model_not_supported', 'provider_not_found', 'litellm.NotFoundError: NotFoundError: '],
    [400, 'invalid_input_argument', 'provider_bad_request', 'litellm.BadRequestError: '],
    [429, 'rate_limit_reached_requests', 'provider_rate_limited', 'litellm.RateLimitError: RateLimitError: '],
    [500, 'internal_error', 'provider_error', 'litellm.InternalServerError: InternalServerError: '],
  ])('of status %i and code %s is %s', (status, code, ours, label) => {
    const body = JSON.stringify({
      errors: [{ code, message: 'because', more_info: 'https://x' }],
      trace: 't',
      status_code: status,
    })
    const error = watsonx.decodeError(status, {}, body)
    expect(error).toMatchObject({ code: ours, providerCode: code, message: `${label}WatsonxException - because` })
  })
})

describe('an embedding of watsonx.ai', () => {
  it('has inputs, and its own parameters under their name', () => {
    const request = { model: 'alias', input: 'a', encoding_format: 'base64', user: 'u', truncate_input_tokens: 9 }
    expect(sent(watsonx, 'embedding', request, place({ model: 'ibm/slate-125m-english-rtrvr' }))).toEqual({
      url: `${BASE}/ml/v1/text/embeddings?version=2024-03-13`,
      body: {
        model_id: 'ibm/slate-125m-english-rtrvr',
        project_id: 'p',
        inputs: ['a'],
        parameters: { truncate_input_tokens: 9 },
      },
    })
    const embedding = (fields: Fields, changes = {}) =>
      sent(watsonx, 'embedding', { model: 'alias', input: ['a', 'b'], ...fields }, place(changes))
    expect(embedding({}).body).toEqual({ model_id: 'ibm/granite-3-8b-instruct', project_id: 'p', inputs: ['a', 'b'] })
    expect(() => embedding({ dimensions: 8 })).toThrow(
      expect.objectContaining({ code: 'unsupported_parameter', param: 'dimensions' }),
    )
    expect(() => embedding({ input: [[1, 2]] })).toThrow(expect.objectContaining({ code: 'bad_request', param: 'input' }))
    expect(() => embedding({}, { model: 'deployment/x' })).toThrow(
      expect.objectContaining({ code: 'bad_request', param: 'model' }),
    )
  })

  // After the documented form.
  it('comes back in the form that was asked for', () => {
    const answer = {
      model_id: 'm',
      created_at: 'now',
      results: [{ embedding: [1, 2] }, { embedding: [3] }],
      input_token_count: 4,
    }
    expect(embedded(watsonx, answer)).toMatchObject({
      object: 'list',
      data: [
        { object: 'embedding', index: 0, embedding: [1, 2] },
        { object: 'embedding', index: 1, embedding: [3] },
      ],
      usage: { prompt_tokens: 4, total_tokens: 4 },
      created_at: 'now',
    })
    expect(embedded(watsonx, answer, { encoding_format: 'base64' }).data[1]?.embedding).toBe(
      Buffer.from(new Float32Array([3]).buffer).toString('base64'),
    )
  })
})

describe('a prompt model of watsonx.ai', () => {
  const text = (request: Fields, changes: Partial<Target> = {}) =>
    sent(prompts, 'chat', { model: 'alias', messages, ...request }, place(changes))

  it('gets a chat as one plain prompt, and parameters under its names', () => {
    const conversation = [
      { role: 'system', content: 'Be brief.' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'One ' },
          { type: 'text', text: 'two?' },
        ],
      },
      { role: 'assistant', content: null },
    ]
    const request = {
      messages: conversation,
      max_tokens: 5,
      stop: 'x',
      seed: 1,
      temperature: 0.3,
      frequency_penalty: 1.2,
      top_k: 4,
      n: 1,
      user: 'u',
      moderations: { hap: {} },
    }
    expect(text(request)).toEqual({
      url: `${BASE}/ml/v1/text/generation?version=2024-03-13`,
      body: {
        model_id: 'ibm/granite-3-8b-instruct',
        project_id: 'p',
        input: 'Be brief. One two?',
        parameters: {
          max_new_tokens: 5,
          stop_sequences: ['x'],
          random_seed: 1,
          temperature: 0.3,
          repetition_penalty: 1.2,
          top_k: 4,
          decoding_method: 'sample',
        },
        moderations: { hap: {} },
      },
    })
    expect(text({ stream: true, frequency_penalty: 0 }, { model: 'deployment/d' })).toEqual({
      url: `${BASE}/ml/v1/deployments/d/text/generation_stream?version=2024-03-13`,
      body: { input: 'hi' },
    })
    expect(text({ temperature: 0 }).body['parameters']).toMatchObject({ decoding_method: 'greedy' })
    expect(text({ temperature: 1, decoding_method: 'greedy' }).body['parameters']).toMatchObject({ decoding_method: 'greedy' })
    expect(text({ parameters: { time_limit: 3 }, max_new_tokens: 7, max_tokens: 5 }).body['parameters']).toEqual({
      max_new_tokens: 7,
      time_limit: 3,
    })
  })

  it('is refused what it cannot do, all of it by name', () => {
    const asked = {
      tools: [{ type: 'function', function: { name: 'f' } }],
      response_format: { type: 'json_object' },
      n: 2,
      presence_penalty: 1,
      logprobs: true,
    }
    expect(() => text(asked)).toThrow(/'tools', 'response_format', 'n', 'presence_penalty', 'logprobs'/)
    expect(text(asked, { dropParams: true }).body).not.toHaveProperty('parameters')
    expect(text({ n: 2 }, { allowedOpenaiParams: ['n'] }).body['parameters']).toEqual({ n: 2 })
    expect(text({ tools: [], tool_choice: 'auto', response_format: { type: 'text' }, logprobs: false }).body).not.toHaveProperty(
      'parameters',
    )
    const image = [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'data:,' } }] }]
    expect(() => text({ messages: image })).toThrow(expect.objectContaining({ code: 'bad_request' }))
  })

  it('goes on with the text of a completion as it stands', () => {
    const { url, body } = sent(prompts, 'completion', { model: 'alias', prompt: 'Once', max_tokens: 3 }, place())
    expect(url).toBe(`${BASE}/ml/v1/text/generation?version=2024-03-13`)
    expect(body).toMatchObject({ input: 'Once', parameters: { max_new_tokens: 3 } })
    expect(() => sent(prompts, 'completion', { model: 'alias', prompt: 'Once', suffix: 'end' }, place())).toThrow(
      expect.objectContaining({ code: 'unsupported_parameter' }),
    )
  })

  const result = (stop_reason: string, generated_text = 'x') => ({
    generated_text,
    generated_token_count: 2,
    input_token_count: 3,
    stop_reason,
  })

  it.each([
    ['eos_token', 'stop'],
    ['stop_sequence', 'stop'],
    ['max_tokens', 'length'],
    ['token_limit', 'length'],
    ['time_limit', 'length'],
  ])('that stops by %s finished by %s', (reason, finish) => {
    expect(answered(prompts, { model_id: 'm', results: [result(reason)] }).choices[0]?.finish_reason).toBe(finish)
  })

  it('that fails, whole or on the way, is an error', () => {
    expect(() => answered(prompts, { results: [result('error')] })).toThrow(expect.objectContaining({ code: 'provider_error' }))
    expect(() => answered(prompts, { results: [] })).toThrow(expect.objectContaining({ code: 'provider_malformed' }))
    const open = `data: ${JSON.stringify({ results: [result('not_finished')] })}\n\n`
    expect(streamed(prompts, open).error).toMatchObject({ code: 'provider_truncated' })
    const failure = `event: error\ndata: {"errors":[{"code":"internal_error","message":"no"}],"status_code":500}\n\n`
    expect(streamed(prompts, open + failure).error).toMatchObject({ code: 'provider_error' })
    const failed = `data: ${JSON.stringify({ results: [result('cancelled')] })}\n\n`
    expect(streamed(prompts, open + failed).error).toMatchObject({ code: 'provider_error' })
  })
})

describe.skipIf(!haveRecordings())('recorded answers of watsonx.ai', () => {
  const recorded = haveRecordings() ? fileNames('watsonx').flatMap((file) => recordings('watsonx', file, 'chat')) : []

  it('are all there', () => {
    expect(recorded).toHaveLength(7)
    expect(entries('watsonx')).toHaveLength(10)
  })

  for (const { file, status, body, stream, request } of recorded) {
    it(`are read: ${file}`, () => {
      if (stream === null) {
        expect(watsonx.decodeError(status, {}, body as string)).toMatchObject({
          code: 'provider_bad_request',
          providerCode: 'model_no_support_for_function',
        })
        return
      }
      const events = eventsIn(stream)
      const expected = said(events)
      // As its own route sends it: numbered, named, and without a terminator.
      const source = events.map((event, at) => `id: ${at + 1}\nevent: message\ndata: ${event}\n\n`).join('')
      for (const form of [stream, source]) {
        const { content, finish, usage, toolCalls, roles } = folded(watsonx, form)
        expect({ content, finish, roles }).toEqual({ content: expected.content, finish: expected.finish, roles: 1 })
        expect(toolCalls.map((call) => call.function?.arguments).join('')).toBe(expected.calls)
        expect(usage).toMatchObject({
          prompt_tokens: expected.usage?.['prompt_tokens'],
          total_tokens: expected.usage?.['total_tokens'],
        })
      }
      const { body: encoded } = sent(watsonx, 'chat', request, place())
      const { model: _model, stream: _stream, stream_options: _options, extra_body: extra, tools: _tools, ...same } = request
      expect(encoded).toMatchObject({ ...same, project_id: 'p' })
      expect(extra).toHaveProperty('project_id')
    })
  }

  const exchanges = (file: string): Exchange[] => {
    const path = new URL(`../../../../shared/fixtures/watsonx/${file}`, import.meta.url)
    const all = (JSON.parse(readFileSync(path, 'utf8')) as { exchanges: Exchange[] }).exchanges
    return all.filter(({ request }) => request.url.includes('/generation/'))
  }

  it('of a prompt model are read, and its request is the recorded one', () => {
    const [exchange] = exchanges('text__openllmetry__test_watsonx_metrics.test_generate_metrics.json')
    const { request, response } = exchange as Exchange
    expect(answered(prompts, response.body)).toMatchObject({
      choices: [{ index: 0, message: { role: 'assistant', content: '2' }, finish_reason: 'stop' }],
      usage: { prompt_tokens: 7, completion_tokens: 2, total_tokens: 9 },
      system: { warnings: [{ id: 'disclaimer_warning' }] },
    })
    const recordedPlace = place({ model: 'google/flan-ul2', settings: { project_id: request.body['project_id'] } })
    const asked = { model: 'alias', messages: [{ role: 'user', content: request.body['input'] }] }
    expect(sent(prompts, 'chat', asked, recordedPlace).body).toEqual(request.body)
  })

  it('of a prompt model are streamed, however they are cut', () => {
    const [exchange] = exchanges('stream-text__openllmetry__test_generate.test_generate_text_stream.json')
    const { response } = exchange as Exchange
    const expected = [...response.body.matchAll(/^data: (.*)$/gm)]
      .map((match) => (JSON.parse(match[1] as string) as { results: [{ generated_text: string }] }).results[0].generated_text)
      .join('')
    expect(folded(prompts, response.body)).toMatchObject({
      content: expected,
      finish: 'stop',
      roles: 1,
      usage: { prompt_tokens: 8, completion_tokens: 11, total_tokens: 19 },
    })
    expect(expected).toContain('the sun')
    for (const pieces of cuts(Buffer.from(response.body), 5)) {
      const decoder = prompts.completion?.decodeStream?.(CONTEXT)
      if (decoder === undefined) throw new Error('text completions are not streamed')
      const { chunks, error } = decodePieces<CompletionChunk>(decoder, pieces)
      expect(error).toBeNull()
      expect(chunks.map((chunk) => chunk.choices[0]?.text).join('')).toBe(expected)
      expect(chunks.at(-1)).toMatchObject({
        object: 'text_completion',
        choices: [{ finish_reason: 'stop' }],
        usage: { total_tokens: 19 },
      })
    }
  })
})

interface Exchange {
  request: { url: string; body: Fields }
  response: { body: string }
}
