import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { SseParser } from '../../../shared/http/sse.ts'
import type { ChatChunk, ChatRequest, ChatResponse } from '../../canonical/chat.ts'
import type { ImageResponse } from '../../canonical/image.ts'
import { contextOf, json, play, targetOf } from '../images/target.testkit.ts'
import { providerOf } from '../index.ts'
import { haveRecordings } from '../openai/recordings.suite.ts'
import { cuts } from '../provider.suite.ts'
import type { Adapter, Conversation, Provider, Target, UpstreamAnswer, UpstreamRequest } from '../provider.ts'

const REPLICATE = providerOf('replicate') as Provider
const VERSION = '5599ed30703defd1d160a25a63321b4dec97101d98b4674bcc56e41f62f35637'
const GET = 'https://api.replicate.com/v1/predictions/1'
const STREAM = 'https://stream.replicate.com/v1/files/1'

type AnyAdapter = Adapter<Record<string, unknown>, ChatResponse & ImageResponse, ChatChunk>

function adapterOf(mode: 'chat' | 'completion' | 'image' | 'image_edit') {
  return REPLICATE[mode] as unknown as AnyAdapter
}

function encode(mode: 'chat' | 'image' | 'image_edit', model: string, request: object, fields: Partial<Target> = {}) {
  const asked = mode === 'chat' ? { messages: [{ role: 'user', content: 'hi' }], ...request } : { prompt: 'a cat', ...request }
  const sent = adapterOf(mode).encodeRequest({ model, ...asked }, targetOf('replicate', REPLICATE, model, fields))
  return { ...sent, body: JSON.parse(String(sent.body)) as { input: Record<string, unknown>; version?: string } }
}

function converse(mode: 'chat' | 'completion' | 'image', request: object, answers: UpstreamAnswer[], model = 'meta/llama-3') {
  const asked = { model, ...(mode === 'chat' ? { messages: [{ role: 'user', content: 'hi' }] } : { prompt: 'hi' }), ...request }
  const target = targetOf('replicate', REPLICATE, model)
  const conversation = adapterOf(mode).converse?.(asked, target, contextOf(asked)) as Conversation<ChatResponse & ImageResponse>
  return play(conversation, () => answers.shift() as UpstreamAnswer)
}

const prediction = (status: string, fields: object = {}) => json({ id: '1', status, urls: { get: GET }, ...fields })

describe('where a model is asked', () => {
  it.each([
    ['meta/meta-llama-3-8b', '/models/meta/meta-llama-3-8b/predictions', undefined],
    ['deployments/me/mine', '/deployments/me/mine/predictions', undefined],
    [`owner/model:${VERSION}`, '/predictions', VERSION],
    [VERSION, '/predictions', VERSION],
  ])('%s', (model, path, version) => {
    const sent = encode('chat', model, {})
    expect(sent.url).toBe(`https://api.replicate.com/v1${path}`)
    expect(sent.body.version).toBe(version)
    expect(sent.headers['prefer']).toBe('wait=60')
    expect(encode('chat', model, {}, { base: 'https://api.replicate.com' }).url).toBe(sent.url)
  })
})

describe('a chat as an input', () => {
  const talk: ChatRequest['messages'] = [
    { role: 'system', content: 'Be kind.' },
    { role: 'user', content: 'Hi' },
  ]

  it('keeps instructions apart where the model takes them so, or its deployment says it does', () => {
    const input = (model: string, settings = {}) => encode('chat', model, { messages: talk }, { settings }).body.input
    expect(input('meta/llama-3')).toEqual({ prompt: 'Hi', system_prompt: 'Be kind.' })
    expect(input('google/gemini-2.5-flash')).toEqual({ prompt: 'Hi', system_instruction: 'Be kind.' })
    expect(input('a/b')).toEqual({ prompt: 'Be kind.\n\nHi' })
    expect(input('a/b', { supports_system_prompt: true })).toEqual({ prompt: 'Hi', system_prompt: 'Be kind.' })
    const roles = { system: { pre_message: '[S]' }, user: { pre_message: '[U]' } }
    expect(input('meta/llama-3', { roles })).toEqual({ prompt: '[S]Be kind.[U]Hi' })
  })

  it('shows images under the name the model has for them', () => {
    const part = (url: string) => ({ type: 'image_url', image_url: { url } })
    const content = [{ type: 'text', text: 'What?' }, part('https://a.test/1'), part('https://a.test/2')]
    const input = (model: string, most = 3) =>
      encode('chat', model, { messages: [{ role: 'user', content: content.slice(0, most) }] }).body.input
    expect(input('openai/gpt-4o')).toEqual({ prompt: 'What?', image_input: ['https://a.test/1', 'https://a.test/2'] })
    expect(input('anthropic/claude-4-sonnet', 2)).toEqual({ prompt: 'What?', image: 'https://a.test/1' })
    expect(() => input('yorickvp/llava-13b')).toThrow('one image, not 2')
  })

  it('calls parameters as the model’s maker does', () => {
    const request = { max_tokens: 5, stop: ['a', 'b'], temperature: 0, top_k: 3 }
    expect(encode('chat', 'meta/llama-3', request).body.input).toEqual({
      prompt: 'hi',
      max_new_tokens: 5,
      stop_sequences: 'a,b',
      temperature: 0,
      top_k: 3,
    })
    expect(encode('chat', 'anthropic/claude-4-sonnet', { max_completion_tokens: 5 }).body.input).toEqual({
      prompt: 'hi',
      max_tokens: 5,
    })
    expect(() => encode('chat', 'meta/llama-3', { tools: [], logprobs: true })).toThrow("'logprobs'")
  })
})

describe('a prediction', () => {
  it('is asked for until it is done, and says what it used', () => {
    const { result, sent, pauses } = converse('chat', {}, [
      prediction('starting'),
      prediction('processing', { output: ['He'] }),
      prediction('succeeded', {
        output: ['He', 'llo'],
        metrics: { predict_time: 0.5, input_token_count: 4, output_token_count: 2 },
      }),
    ])
    expect(sent.map(({ method, url }) => `${method} ${url}`)).toEqual([
      'POST https://api.replicate.com/v1/models/meta/llama-3/predictions',
      `GET ${GET}`,
      `GET ${GET}`,
    ])
    expect(pauses).toEqual([0, 1000, 1000])
    expect(result).toMatchObject({
      choices: [
        { message: { content: 'Hello', provider_specific_fields: { metrics: { predict_time: 0.5 } } }, finish_reason: 'stop' },
      ],
      usage: { prompt_tokens: 4, completion_tokens: 2 },
    })
  })

  it('is a text completion, too', () => {
    const { result } = converse('completion', {}, [prediction('succeeded', { output: 'Hello' })])
    expect(result).toMatchObject({ object: 'text_completion', choices: [{ text: 'Hello' }] })
  })

  it('streams from the address it names, else is asked for', () => {
    const { result } = converse('chat', { stream: true }, [prediction('starting', { urls: { get: GET, stream: STREAM } })])
    expect(result).toMatchObject({ last: { method: 'GET', url: STREAM, headers: { accept: 'text/event-stream' } } })
    const whole = converse('chat', { stream: true }, [prediction('starting'), prediction('succeeded', { output: 'Hello' })])
    expect(JSON.parse(String(whole.sent[0]?.body))).toMatchObject({ stream: true })
    expect(whole.sent[0]?.headers).not.toHaveProperty('prefer')
    expect(whole.result).toMatchObject({ choices: [{ message: { content: 'Hello' } }] })
  })

  it.each([
    ['failed', 'Input is too long for this model', 'context_window_exceeded'],
    ['failed', 'NSFW content detected', 'content_policy'],
    ['failed', 'CUDA out of memory', 'provider_error'],
    ['canceled', null, 'provider_error'],
    ['aborted', null, 'provider_error'],
  ])('that ends as %s: %s', (status, error, code) => {
    expect(() => converse('chat', {}, [prediction(status, { error })])).toThrow(expect.objectContaining({ code }))
    expect(() => converse('image', {}, [prediction(status, { error })])).toThrow(expect.objectContaining({ code }))
  })

  it('is refused in words that say when to come back', () => {
    const body = '{"detail":"Request was throttled. Expected available in 3 seconds.","status":429}'
    expect(REPLICATE.decodeError(429, {}, body)).toMatchObject({ code: 'provider_rate_limited', retryAfter: 3000 })
    expect(REPLICATE.decodeError(402, {}, '{"title":"Billing required","detail":""}')).toMatchObject({ code: 'provider_quota' })
    expect(REPLICATE.decodeError(401, {}, '{"detail":"Incorrect authentication token."}')).toMatchObject({
      code: 'provider_authentication',
    })
  })
})

describe('an image', () => {
  it('is a prediction each', () => {
    const done = prediction('succeeded', { output: ['https://replicate.delivery/a.webp'] })
    const { result, sent } = converse(
      'image',
      { n: 2, size: '1792x1024', seed: 1 },
      [prediction('starting'), done, done],
      'black-forest-labs/flux-schnell',
    )
    expect(sent).toHaveLength(3)
    expect(JSON.parse(String(sent[0]?.body))).toMatchObject({ input: { prompt: 'hi', aspect_ratio: '16:9', seed: 1 } })
    expect(result).toMatchObject({
      data: [{ url: 'https://replicate.delivery/a.webp' }, {}],
      billing: { units: { 'image_out:1792x1024:standard': 2 } },
    })
  })

  it('is sized as the model says it, and edited under the name it has for it', () => {
    expect(encode('image', 'stability-ai/sdxl', { size: '512x768' }).body.input).toEqual({
      prompt: 'a cat',
      width: 512,
      height: 768,
    })
    expect(encode('image', 'recraft-ai/recraft-v3', { size: '1024x1024' }).body.input['size']).toBe('1024x1024')
    const image = [{ name: 'a', type: 'image/png', bytes: Buffer.from('cat') }]
    const uri = 'data:image/png;base64,Y2F0'
    expect(encode('image_edit', 'black-forest-labs/flux-kontext-pro', { image }).body.input['input_image']).toBe(uri)
    expect(encode('image_edit', 'google/nano-banana', { image }).body.input['image_input']).toEqual([uri])
    expect(encode('image_edit', 'a/b', { image, mask: image[0] }).body.input).toMatchObject({ image: uri, mask: uri })
  })
})

describe.skipIf(!haveRecordings())('recordings', () => {
  interface Recorded {
    request: { method: string; url: string; body: { input?: Record<string, unknown>; version?: string; stream?: boolean } }
    response: { status: number; body: string }
  }
  const load = (file: string) => {
    const url = new URL(`../../../../shared/fixtures/replicate/${file}`, import.meta.url)
    return (JSON.parse(readFileSync(url, 'utf8')) as { exchanges: Recorded[] }).exchanges
  }
  const asked = ({ url, body }: UpstreamRequest) => ({ url, body: JSON.parse(String(body)) as unknown })
  const STREAMED = 'stream-text__openllmetry__test_llama.test_replicate_llama_stream_with_events_with_no_content.json'

  it('of a stream: asked as recorded, handed over, read whatever way it is cut', () => {
    const [created, streamed] = load(STREAMED) as [Recorded, Recorded]
    const model = 'meta/llama-2-70b-chat'
    const content = created.request.body.input?.['prompt']
    const { result, sent } = converse(
      'chat',
      { stream: true, messages: [{ role: 'user', content }] },
      [{ status: 201, headers: {}, body: Buffer.from(created.response.body) }],
      model,
    )
    expect(asked(sent[0] as UpstreamRequest)).toEqual({ url: created.request.url, body: created.request.body })
    expect(result).toMatchObject({ last: { url: streamed.request.url } })
    const chat = adapterOf('chat')
    for (const pieces of cuts(Buffer.from(streamed.response.body), 11)) {
      const decoder = chat.decodeStream?.(contextOf({}))
      const parser = new SseParser()
      const chunks: ChatChunk[] = []
      for (const piece of pieces) for (const event of parser.push(piece)) chunks.push(...(decoder?.push(event) ?? []))
      expect(decoder?.done).toBe(true)
      const text = chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')
      expect(text).toMatch(
        /^Sure, here's a joke about OpenTelemetry:\n\nWhy did the OpenTelemetry agent go to therapy\?\n\nBecause/,
      )
      expect(text).toMatch(/assist you with\?$/)
      expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe('stop')
    }
  })

  it('of a stream that breaks off: no success', () => {
    const [, streamed] = load(STREAMED) as [Recorded, Recorded]
    const decoder = adapterOf('chat').decodeStream?.(contextOf({}))
    const cut = streamed.response.body.slice(0, streamed.response.body.indexOf('event: done'))
    for (const event of new SseParser().push(Buffer.from(cut))) decoder?.push(event)
    expect(() => decoder?.end()).toThrow(expect.objectContaining({ code: 'provider_truncated' }))
  })

  it.each([
    ['text__huggingface.js__tape-84b1cb6a9d10.json', 0],
    ['builtin-tools__openllmetry__test_image_generation.test_replicate_image_generation_predictions_legacy.json', 2],
  ])('of an image: %s is asked so, and for until it is done', (file, at) => {
    const { request, response } = load(file)[at] as Recorded
    const answers = [
      { status: 201, headers: {}, body: Buffer.from(response.body) },
      prediction('succeeded', { output: ['https://replicate.delivery/out-0.png'] }),
    ]
    const { result, sent } = converse('image', { prompt: request.body.input?.['prompt'] }, answers, `a/b:${request.body.version}`)
    expect(asked(sent[0] as UpstreamRequest)).toEqual({ url: request.url, body: request.body })
    expect(sent[1]?.url).toBe((JSON.parse(response.body) as { urls: { get: string } }).urls.get)
    expect(result).toMatchObject({ data: [{ url: 'https://replicate.delivery/out-0.png' }] })
  })

  it('of a wait that was over before the prediction: it is gone on with', () => {
    const [{ response }] = load(
      'text__huggingface_hub__TestInferenceClient.test_text_to_speech_replicate_text-to-speech-efa2.json',
    ) as [Recorded]
    const answers = [{ status: 202, headers: {}, body: Buffer.from(response.body) }, prediction('succeeded', { output: 'Hello' })]
    expect(converse('chat', {}, answers).result).toMatchObject({ choices: [{ message: { content: 'Hello' } }] })
  })

  it('of a refusal', () => {
    const [{ response }] = load('error-422__huggingface.js__tape-0f11f070a842.json') as [Recorded]
    const error = REPLICATE.decodeError(response.status, {}, response.body)
    expect(error).toMatchObject({
      code: 'provider_unprocessable',
      message: expect.stringContaining('Additional property provider'),
    })
  })
})
