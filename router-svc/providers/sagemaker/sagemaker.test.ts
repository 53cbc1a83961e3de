import { beforeAll, describe, expect, it } from 'vitest'
import type { Deployment } from '../../../proto/deployment.ts'
import { PROVIDERS, type ProviderRow } from '../../../shared/catalog/providers.ts'
import { awsException, awsFrame, rawFrame } from '../../aws-event-stream.testkit.ts'
import { AwsEventStreamParser } from '../../aws-event-stream.ts'
import type { ChatChunk, ChatRequest } from '../../canonical/chat.ts'
import type { EmbeddingRequest } from '../../canonical/embedding.ts'
import { chat, deployment, JSON_TYPE, make, type Sent, settled } from '../../handle.testkit.ts'
import { problemsOf, serviceModel } from '../aws-service-model.testkit.ts'
import { target as anyTarget } from '../bedrock/recordings.testkit.ts'
import type { Fields } from '../json.ts'
import { haveRecordings } from '../openai/recordings.suite.ts'
import { cuts, foldChunks } from '../provider.suite.ts'
import type { DecodeContext, Target } from '../provider.ts'
import { sagemaker, sagemakerChat } from './index.ts'

const TEXT = sagemaker('sagemaker', PROVIDERS['sagemaker'] as ProviderRow)
const CHAT = sagemakerChat('sagemaker_chat', PROVIDERS['sagemaker_chat'] as ProviderRow)
const BASE = 'https://runtime.sagemaker.eu-west-1.amazonaws.com'
const CONTEXT: DecodeContext = { id: 'made', created: 1, model: 'my-endpoint', request: {} }

function target(fields: Partial<Target> = {}): Target {
  return anyTarget({ provider: 'sagemaker', model: 'my-endpoint', base: BASE, ...fields })
}

function sent(request: Partial<ChatRequest>, provider = TEXT, to: Partial<Target> = {}) {
  const asked = { model: 'm', messages: [{ role: 'user', content: 'hi' }], ...request }
  const upstream = provider.chat?.encodeRequest(asked, target(to))
  if (upstream === undefined) throw new Error('no chat')
  return { ...upstream, body: JSON.parse(String(upstream.body)) as Fields }
}

/** Bytes as the service sends them: parts that end anywhere, in the middle of a character too. */
function parts(bytes: Uint8Array, size: number): Uint8Array {
  const frames: Uint8Array[] = []
  const names = { ':event-type': 'PayloadPart', ':content-type': 'application/octet-stream', ':message-type': 'event' }
  const empty = Buffer.from(awsFrame(names, ''))
  const headers = empty.subarray(12, empty.length - 4)
  for (let at = 0; at < bytes.length; at += size)
    frames.push(rawFrame(Buffer.from(headers), Buffer.from(bytes.subarray(at, at + size))))
  return Buffer.concat(frames)
}

function streamed(provider: typeof TEXT, pieces: Iterable<Uint8Array>): unknown {
  const parser = new AwsEventStreamParser()
  const decoder = provider.chat?.decodeStream?.(CONTEXT)
  if (decoder === undefined) throw new Error('no stream')
  const chunks: ChatChunk[] = []
  for (const piece of pieces) for (const event of parser.push(piece)) chunks.push(...decoder.push(event))
  chunks.push(...decoder.end())
  const { choices, usage } = foldChunks(chunks)
  const { content, finish, toolCalls } = choices.get(0) ?? {}
  return { content, finish, toolCalls, usage }
}

const TOKENS = [
  { index: 1, token: { id: 5, text: 'Grüße', special: false }, generated_text: null, details: null },
  { index: 2, token: { id: 6, text: ' 世界', special: false }, generated_text: null, details: null },
  {
    index: 3,
    token: { id: 2, text: '</s>', special: true },
    generated_text: 'Grüße 世界',
    details: { finish_reason: 'length', generated_tokens: 3, prompt_tokens: 7 },
  },
]
const AS_EVENTS = Buffer.from(TOKENS.map((token) => `data:${JSON.stringify(token)}\n\n`).join(''))
const AS_LINES = Buffer.from(TOKENS.map((token) => `${JSON.stringify(token)}\n`).join(''))

describe('a request for an endpoint that continues a text', () => {
  it('is the prompt and its parameters, in the words of the container', () => {
    const { url, headers, body } = sent({ max_tokens: 50, temperature: 0, top_p: 0.9, stop: 'END', n: 2, user: 'me' })
    expect(url).toBe(`${BASE}/endpoints/my-endpoint/invocations`)
    expect(headers).toEqual({ 'content-type': 'application/json' })
    expect(body).toEqual({
      inputs: 'hi',
      parameters: {
        max_new_tokens: 50,
        temperature: 0.01,
        top_p: 0.9,
        stop: ['END'],
        best_of: 2,
        do_sample: true,
        details: true,
      },
    })
    expect(sent({}).body).toEqual({ inputs: 'hi' })
  })

  it('goes where streams are, and to the model among several that the deployment names', () => {
    const { url, headers, body } = sent({ stream: true }, TEXT, { settings: { model_id: 'component-1' } })
    expect(url).toBe(`${BASE}/endpoints/my-endpoint/invocations-response-stream`)
    expect(headers['x-amzn-sagemaker-inference-component']).toBe('component-1')
    expect(body).toEqual({ inputs: 'hi', stream: true })
  })

  it('is written as the deployment says its model wants a conversation', () => {
    const roles = { user: { pre_message: '[INST] ', post_message: ' [/INST]' } }
    expect(sent({}, TEXT, { settings: { roles, initial_prompt_value: '<s>' } }).body['inputs']).toBe('<s>[INST] hi [/INST]')
  })

  it('refuses tools and formats by name', () => {
    const tools = [{ type: 'function', function: { name: 'f' } }]
    expect(() => sent({ tools })).toThrow("['tools']")
    expect(sent({ tools, drop_params: true }).body).toEqual({ inputs: 'hi' })
    expect(() => sent({}, TEXT, { base: '' })).toThrow('needs an AWS region')
  })

  it.skipIf(!haveRecordings())('is what the description of the service allows', () => {
    const model = serviceModel('sagemaker-runtime')
    for (const provider of [TEXT, CHAT])
      for (const [stream, operation] of [
        [false, 'InvokeEndpoint'],
        [true, 'InvokeEndpointWithResponseStream'],
      ] as const) {
        const asked = { model: 'm', messages: [{ role: 'user', content: 'hi' }], stream }
        const upstream = provider.chat?.encodeRequest(asked, target({ settings: { model_id: 'component-1' } }))
        expect(upstream === undefined ? ['none'] : problemsOf(model, operation, upstream)).toEqual([])
      }
  })
})

describe('an answer of an endpoint that continues a text', () => {
  const read = (answer: unknown, request: Partial<ChatRequest> = {}) =>
    TEXT.chat?.decodeResponse(Buffer.from(JSON.stringify(answer)), {}, { ...CONTEXT, request }).choices[0]?.message.content

  it.each([
    [[{ generated_text: 'hello' }]],
    [{ generated_text: 'hello' }],
    [[{ generation: 'hello' }]],
    [{ generation: { role: 'assistant', content: 'hello' } }],
    [[{ generated_text: 'ask me hello' }]],
  ])('is read from %j', (answer) => {
    expect(read(answer, { messages: [{ role: 'user', content: 'ask me ' }] })).toBe('hello')
  })

  it('is an error where it holds one, and none where it holds no text', () => {
    expect(() => read({ error: 'the model is too hot', error_type: 'generation' })).toThrow('the model is too hot')
    expect(() => read({ something: 1 })).toThrow('no text')
  })

  it.each([
    ['server-sent events', AS_EVENTS],
    ['lines', AS_LINES],
  ])('is streamed as %s in parts that are cut anywhere', (_, bytes) => {
    const told = {
      content: 'Grüße 世界',
      finish: 'length',
      toolCalls: [],
      usage: { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10 },
    }
    for (const size of [1, 2, 3, 17, bytes.length]) expect(streamed(TEXT, [parts(bytes, size)])).toEqual(told)
    for (const pieces of cuts(parts(bytes, 40), 11)) expect(streamed(TEXT, pieces)).toEqual(told)
  })

  it('is not whole without its last token, nor after an exception', () => {
    const cut = AS_EVENTS.subarray(0, AS_EVENTS.indexOf('data:{"index":3'))
    expect(() => streamed(TEXT, [parts(cut, 20)])).toThrow('before it was complete')
    const broken = awsException('ModelStreamError', { Message: 'the container went away', ErrorCode: 'StreamBroken' })
    expect(() => streamed(TEXT, [Buffer.concat([parts(cut, 20), broken])])).toThrow('the container went away')
    expect(() => streamed(TEXT, [])).toThrow('empty stream')
  })
})

describe('an endpoint that takes messages', () => {
  const tool = { type: 'function', function: { name: 'look', parameters: { type: 'object', properties: {} } } }

  it('gets OpenAI’s own body', () => {
    const { url, body } = sent({ max_tokens: 5, tools: [tool], stream: true }, CHAT)
    expect(url).toBe(`${BASE}/endpoints/my-endpoint/invocations-response-stream`)
    expect(body).toEqual({
      model: 'my-endpoint',
      messages: [{ role: 'user', content: 'hi' }],
      max_tokens: 5,
      tools: [tool],
      stream: true,
      stream_options: { include_usage: true },
    })
  })

  it('streams OpenAI’s own events in parts', () => {
    const event = (delta: Fields, finish: string | null = null) =>
      `data: ${JSON.stringify({ id: 'x', object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`
    const call = { index: 0, id: 'c1', type: 'function', function: { name: 'look', arguments: '{"at":"Zürich"}' } }
    const usage = { prompt_tokens: 4, completion_tokens: 2, total_tokens: 6 }
    const last = `data: ${JSON.stringify({ id: 'x', choices: [], usage })}\n\ndata: [DONE]\n\n`
    const bytes = Buffer.from(
      event({ role: 'assistant', content: 'Grüße' }) + event({ tool_calls: [call] }) + event({}, 'tool_calls') + last,
    )
    for (const size of [1, 5, bytes.length])
      expect(streamed(CHAT, [parts(bytes, size)])).toMatchObject({
        content: 'Grüße',
        finish: 'tool_calls',
        toolCalls: [{ id: 'c1', function: { name: 'look', arguments: '{"at":"Zürich"}' } }],
        usage,
      })
  })
})

describe('embeddings of an endpoint', () => {
  const body = (fields: Partial<EmbeddingRequest>, model = 'my-endpoint') => {
    const request = TEXT.embedding?.encodeRequest({ model: 'm', input: 'hi', ...fields }, target({ model }))
    return JSON.parse(String(request?.body)) as Fields
  }
  const read = (answer: unknown, request: Fields = {}) =>
    TEXT.embedding
      ?.decodeResponse(Buffer.from(JSON.stringify(answer)), {}, { ...CONTEXT, request })
      .data.map(({ embedding }) => embedding)

  it('are asked for in the word of the container', () => {
    expect(body({ user: 'me', encoding_format: 'float', truncate: true })).toEqual({ inputs: ['hi'], truncate: true })
    expect(body({ input: ['a', 'b'] }, 'jumpstart-dft-textembedding-gpt-j-6b')).toEqual({ text_inputs: ['a', 'b'] })
    expect(body({}, 'voyage-3-endpoint')).toEqual({ input: ['hi'] })
    expect(() => body({ input: [1, 2] })).toThrow('takes no tokens')
    expect(() => body({ dimensions: 5 })).toThrow("['dimensions']")
  })

  it.each([
    [
      [[1], [2]],
      [[1], [2]],
    ],
    [{ embedding: [[1], [2]] }, [[1], [2]]],
    [{ embedding: [1, 2] }, [[1, 2]]],
    [{ embeddings: [[1]] }, [[1]]],
    [{ data: [{ embedding: [1], index: 0 }] }, [[1]]],
    [
      [
        [
          [1, 3],
          [3, 5],
        ],
      ],
      [[2, 4]],
    ],
  ])('are read from %j', (answer, vectors) => {
    expect(read(answer)).toEqual(vectors)
  })

  it('are base64 where that was asked for, and no answer where there are none', () => {
    expect(read({ embedding: [[0.5]] }, { encoding_format: 'base64' })).toEqual(['AAAAPw=='])
    expect(() => read({ nothing: 1 })).toThrow('no embeddings')
  })
})

describe('an error of SageMaker', () => {
  it('is the container’s with the status it had there, without the place of its log', () => {
    const error = TEXT.decodeError(
      424,
      { 'x-amzn-errortype': 'ModelError' },
      JSON.stringify({
        Message: 'Received client error (422) from primary',
        OriginalStatusCode: 422,
        OriginalMessage: '{"error":"`inputs` tokens + `max_new_tokens` must be <= 4096","error_type":"validation"}',
        LogStreamArn: 'arn:aws:logs:eu-west-1:123456789012:log-group:/aws/sagemaker/Endpoints/x',
      }),
    )
    expect(error.code).toBe('context_window_exceeded')
    expect(error.message).toMatch(/^litellm\.ContextWindowExceededError: .*SagemakerException - /)
    expect(error.message).not.toContain('arn:')
  })

  it.each([
    [400, 'ValidationError', { Message: 'Endpoint x of account 1 not found.' }, 'provider_bad_request'],
    [503, 'ServiceUnavailable', { Message: 'later' }, 'provider_unavailable'],
    [500, 'InternalFailure', { Message: 'oh' }, 'provider_error'],
    [429, 'ModelNotReadyException', { Message: 'loading' }, 'provider_unavailable'],
    [530, 'InternalDependencyException', { Message: 'oh' }, 'provider_error'],
    [403, 'AccessDeniedException', { Message: 'no' }, 'provider_permission'],
    [
      403,
      'ExpiredTokenException',
      { message: 'The security token included in the request is expired' },
      'provider_authentication',
    ],
    [400, 'ThrottlingException', { message: 'Rate exceeded' }, 'provider_rate_limited'],
  ])('%i %s is read by its name', (status, name, body, code) => {
    const error = CHAT.decodeError(status, { 'x-amzn-errortype': name }, JSON.stringify(body))
    expect(error.code).toBe(code)
    expect(error.message).toContain('Sagemaker_chatException - ')
  })
})

describe('a call of an endpoint on SageMaker', () => {
  // The signer is loaded when a deployment asks for it, from disk.
  beforeAll(() => import('../../../shared/http/aws-signature.ts'))

  const settings = { aws_access_key_id: 'AKID', aws_secret_access_key: 'secret', aws_region_name: 'eu-west-1' }
  const endpoint = (provider: string, fields: Partial<Deployment> = {}) =>
    deployment('one', { provider, model: 'my-endpoint', apiBase: null, apiKey: null, settings, ...fields })

  async function upstream(all: readonly Sent[]): Promise<Sent> {
    for (let turn = 0; turn < 50 && all.length === 0; turn += 1) await settled()
    const [first] = all
    if (first === undefined) throw new Error('nothing was sent')
    return first
  }

  it('is signed for the service, and its tokens reach an OpenAI client', async () => {
    const { sent: all, call, events } = make([endpoint('sagemaker')])
    const client = call({ ...chat, stream: true })
    const { request, sink } = await upstream(all)
    expect(request.url).toBe(`${BASE}/endpoints/my-endpoint/invocations-response-stream`)
    expect(request.headers['authorization']).toMatch(/Credential=AKID\/\d{8}\/eu-west-1\/sagemaker\/aws4_request/)
    sink.head(200, { 'content-type': 'application/vnd.amazon.eventstream' })
    sink.data(parts(AS_EVENTS, 13))
    sink.end()
    await client.done
    expect(client.error).toBeNull()
    expect(client.text).toContain('"content":"Grüße"')
    expect(client.text.trimEnd().endsWith('data: [DONE]')).toBe(true)
    expect(events.at(-1)).toMatchObject({ attempts: [{ usage: { input: 7, output: 3, estimated: false } }] })
  })

  it('answers a text completion, and one of messages whole', async () => {
    for (const [provider, body, endpointName, answer, words] of [
      ['sagemaker', { model: 'gpt', prompt: 'hi' }, 'atext_completion', [{ generated_text: 'hello' }], '"text":"hello"'],
      [
        'sagemaker_chat',
        chat,
        'acompletion',
        { choices: [{ index: 0, message: { role: 'assistant', content: 'hello' }, finish_reason: 'stop' }] },
        '"content":"hello"',
      ],
    ] as const) {
      const { sent: all, call } = make([endpoint(provider)])
      const client = call(body, { endpoint: endpointName })
      const { request, sink } = await upstream(all)
      expect(request.url).toBe(`${BASE}/endpoints/my-endpoint/invocations`)
      sink.head(200, JSON_TYPE)
      sink.data(Buffer.from(JSON.stringify(answer)))
      sink.end()
      await client.done
      expect(client.text).toContain(words)
    }
  })
})
