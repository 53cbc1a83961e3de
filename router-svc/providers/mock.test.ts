import { inflateSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import type { Mode } from '../../proto/endpoints.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { ChatChunk, ChatResponse } from '../canonical/chat.ts'
import type { CompletionResponse } from '../canonical/completion.ts'
import type { EmbeddingResponse } from '../canonical/embedding.ts'
import type { ImageResponse } from '../canonical/image.ts'
import type { RerankResponse } from '../canonical/rerank.ts'
import type { SpeechResponse } from '../canonical/speech.ts'
import { isLocal, type LocalAnswer, type LocalStep, mock, mockRequested } from './mock.ts'
import { openai } from './openai.ts'
import { wavOf } from './own-speech.ts'
import { foldChunks } from './provider.suite.ts'
import { soundLength } from './sound-length.ts'

const DEPS = { clock: { now: () => 1_700_000_000_000 }, random: () => 0.5, callId: 'id' }
const NOTHING: { settings: Record<string, unknown>; mockResponse: string | null } = { settings: {}, mockResponse: null }
const ASK = { model: 'mock', messages: [{ role: 'user', content: 'Where is Vienna?' }] }

const answer = (request: object, deployment = NOTHING) => mock.answer('chat', { ...ASK, ...request }, deployment, DEPS)

function whole(answered: LocalAnswer): { delay: number; response: ChatResponse } {
  if (answered.kind !== 'whole') throw new Error(answered.kind)
  return { delay: answered.delay, response: answered.response as ChatResponse }
}

function steps(answered: LocalAnswer): LocalStep[] {
  if (answered.kind !== 'stream') throw new Error(answered.kind)
  return [...answered.steps]
}

function chunks(list: LocalStep[]): ChatChunk[] {
  return list.flatMap((step) => ('chunk' in step ? [step.chunk as ChatChunk] : []))
}

function failure(answered: LocalAnswer): GatewayError {
  if (answered.kind !== 'failure') throw new Error(answered.kind)
  return answered.error
}

describe('the mock of what is no text', () => {
  const sound = wavOf(Buffer.alloc(48_000), 24_000)
  const media = (mode: Mode, request: object, deployment = NOTHING) =>
    whole(mock.answer(mode, { model: 'mock', ...request }, deployment, DEPS)).response as unknown as Record<string, unknown>

  it('makes pictures that are PNG, as many as are asked for, in the form that is asked for', () => {
    const { data, billing } = media('image', { prompt: 'a cat', n: 2, size: '512x512' }) as unknown as ImageResponse
    expect(data).toHaveLength(2)
    const bytes = Buffer.from(data[0]?.b64_json as string, 'base64')
    expect(bytes.subarray(1, 4).toString()).toBe('PNG')
    expect(inflateSync(bytes.subarray(41, -16))).toHaveLength(64 * (1 + 64 * 3))
    expect(data[0]?.url).toBe(`data:image/png;base64,${data[0]?.b64_json}`)
    expect(billing?.units).toMatchObject({ 'image_out:512x512:standard': 2 })
    expect(Object.keys((media('image_edit', { prompt: 'p', response_format: 'url' })['data'] as object[])[0] as object)).toEqual([
      'url',
      'revised_prompt',
    ])
    expect(() => media('image', { prompt: 'p', n: 11 })).toThrow("'n': at most 10")
    expect(() => media('image', { prompt: 'p', stream: true })).toThrow('streams chats')
  })

  it('speaks a WAV as long as the text, and hears how long a sound is', () => {
    const { audio, contentType, billing } = media('speech', { input: 'hello', voice: 'a' }) as unknown as SpeechResponse
    expect(contentType).toBe('audio/wav')
    expect(soundLength(audio)).toEqual({ milliseconds: 300, exact: true })
    expect(billing?.units).toEqual({ character_in: 5 })
    const file = { name: 'a.wav', type: 'audio/wav', bytes: sound }
    expect(media('transcription', { file }, { settings: {}, mockResponse: 'hello there' })).toMatchObject({
      text: 'hello there',
      billing: { units: { audio_ms_in: 1000 } },
    })
    expect(media('translation', { file, response_format: 'srt' })['raw']).toContain('00:00:00,000 --> 00:00:01,000')
  })

  it('ranks by shared words, and flags what it is told to', () => {
    const documents = ['about cats', { text: 'Where is Vienna' }, 'is it']
    const { results } = media('rerank', { query: 'where is Vienna?', documents, top_n: 2 }) as unknown as RerankResponse
    expect(results).toEqual([
      { index: 1, relevance_score: 1 },
      { index: 2, relevance_score: 1 / 3 },
    ])
    expect(media('moderation', { input: ['a', 'b'] })['results']).toMatchObject([{ flagged: false }, { flagged: false }])
    expect(media('moderation', { input: 'a', mock_response: 'flagged' })['results']).toMatchObject([{ flagged: true }])
  })

  it('fails as it is told to', () => {
    const failed = mock.answer('image', { model: 'm', prompt: 'p', mock_response: 'litellm.RateLimitError' }, NOTHING, DEPS)
    expect(failure(failed)).toMatchObject({ code: 'provider_rate_limited', status: 429 })
  })
})

describe('the mock', () => {
  it('answers the same every time, echoing the question, at a lifelike pace', () => {
    const { delay, response } = whole(answer({}))
    expect(delay).toBe(250)
    expect(response).toEqual(whole(answer({})).response)
    expect(response).toMatchObject({ object: 'chat.completion', created: 1_700_000_000, model: 'mock' })
    expect(response.choices[0]?.message.content).toContain('Where is Vienna?')
    expect(response.usage?.total_tokens).toBe((response.usage?.prompt_tokens ?? 0) + (response.usage?.completion_tokens ?? 0))
  })

  it('streams the very same answer, a word at a time', () => {
    const list = steps(answer({ stream: true }))
    expect(list.map((step) => step.delay).slice(0, 3)).toEqual([250, 20, 20])
    const { choices, usage } = foldChunks(chunks(list))
    const { response } = whole(answer({}))
    expect(choices.get(0)).toMatchObject({ content: response.choices[0]?.message.content, finish: 'stop', roles: 1 })
    expect(usage).toEqual(response.usage)
  })

  it('does what its fields say, the request over the deployment', () => {
    const deployment = { settings: { mock: { text: 'from settings', latency: 5 } }, mockResponse: null }
    expect(whole(answer({}, deployment))).toMatchObject({
      delay: 5,
      response: { choices: [{ message: { content: 'from settings' } }] },
    })
    const tuned = {
      text: 'abcdef',
      chunks: 3,
      interval: 1,
      reasoning: 'hm',
      prompt_tokens: 9,
      completion_tokens: 4,
      cached_tokens: 2,
      reasoning_tokens: 1,
    }
    const list = steps(answer({ stream: true, mock: tuned }, deployment))
    const { choices, usage } = foldChunks(chunks(list))
    expect(choices.get(0)).toMatchObject({ content: 'abcdef', reasoning: 'hm' })
    expect(chunks(list).filter((chunk) => chunk.choices[0]?.delta.content !== undefined)).toHaveLength(3)
    expect(list[0]?.delay).toBe(5)
    expect(usage).toEqual({
      prompt_tokens: 9,
      completion_tokens: 4,
      total_tokens: 13,
      prompt_tokens_details: { cached_tokens: 2 },
      completion_tokens_details: { reasoning_tokens: 1 },
    })
    expect(whole(answer({ mock: { omit_usage: true } })).response.usage).toBeUndefined()
    expect(whole(answer({ mock: { finish_reason: 'content_filter' } })).response.choices[0]?.finish_reason).toBe('content_filter')
  })

  it('varies its pace only when told to', () => {
    const early = { ...DEPS, random: () => 0 }
    expect(whole(mock.answer('chat', { ...ASK, mock: { latency: 100, jitter: 0.5 } }, NOTHING, early)).delay).toBe(50)
  })

  it('calls tools, in both ways of naming them', () => {
    const calls = [{ function: { name: 'f', arguments: '{"x":1}' } }, { name: 'g', arguments: { y: 2 } }, 'h']
    const { response } = whole(answer({ mock_tool_calls: calls }))
    expect(response.choices[0]).toMatchObject({ finish_reason: 'tool_calls', message: { content: null } })
    const folded = foldChunks(chunks(steps(answer({ mock_tool_calls: calls, stream: true })))).choices.get(0)
    expect(folded?.toolCalls).toEqual(response.choices[0]?.message.tool_calls)
    expect(folded?.toolCalls.map((call) => call.function)).toEqual([
      { name: 'f', arguments: '{"x":1}' },
      { name: 'g', arguments: '{"y":2}' },
      { name: 'h', arguments: '{}' },
    ])
  })

  it('respects n and the output limit', () => {
    const many = foldChunks(chunks(steps(answer({ n: 3, stream: true })))).choices
    expect([...many.keys()]).toEqual([0, 1, 2])
    expect(whole(answer({ max_tokens: 2 })).response).toMatchObject({
      choices: [{ finish_reason: 'length' }],
      usage: { completion_tokens: 2 },
    })
  })

  it('says blanks at once, however many they are', () => {
    const blanks = ' '.repeat(200_000)
    const said = chunks(steps(answer({ mock_response: blanks, stream: true })))
    const text = said.map(({ choices }) => choices[0]?.delta.content ?? '').join('')
    expect(text === blanks).toBe(true)
  })

  it('answers for any model when a canned answer is given, at once', () => {
    expect(whole(answer({ mock_response: 'canned' }))).toMatchObject({
      delay: 0,
      response: { choices: [{ message: { content: 'canned' } }] },
    })
    expect(whole(answer({}, { settings: {}, mockResponse: 'from config' })).response.choices[0]?.message.content).toBe(
      'from config',
    )
    expect(whole(answer({ mock_response: 'x', mock_delay: 1.5 })).delay).toBe(1500)
    expect(mockRequested({ mock_response: 'x' }, NOTHING)).toBe(true)
    expect(mockRequested({ mock_tool_calls: [] }, NOTHING)).toBe(true)
    expect(mockRequested({ mock_timeout: true }, NOTHING)).toBe(true)
    expect(mockRequested({}, { mockResponse: 'x' })).toBe(true)
    expect(mockRequested({ mock_response: null, mock: {} }, NOTHING)).toBe(false)
  })

  it.each([
    ['litellm.RateLimitError', 'provider_rate_limited', 429],
    ['litellm.InternalServerError', 'provider_error', 500],
    ['litellm.ContextWindowExceededError', 'context_window_exceeded', 400],
    ['litellm.exceptions.AuthenticationError(x)', 'provider_authentication', 401],
    ['litellm.Timeout', 'provider_timeout', 408],
    ['litellm.ServiceUnavailableError', 'provider_unavailable', 503],
    ['litellm.APIConnectionError', 'provider_connection', 500],
    ['Exception: content_filter_policy', 'content_policy', 400],
    ['Exception: context_window_exceeded', 'context_window_exceeded', 400],
    ['Exception: rate_limit_error', 'provider_rate_limited', 429],
    ['Exception: timeout', 'provider_timeout', 408],
    ['Exception: constructor', 'provider_error', 500],
    ['Exception: something else', 'provider_error', 500],
  ])('fails when the canned answer names a failure: %s', (canned, code, status) => {
    const error = failure(answer({ mock_response: canned }))
    expect(error).toMatchObject({ code, status })
    expect(error.message).toMatch(/^litellm\.[A-Za-z]+: .*MockException - /)
  })

  it('fails as told: before, in the middle, or by breaking off', () => {
    const told = { status: 429, message: 'slow', type: 'tokens', code: 'c', retry_after: 1.5 }
    expect(failure(answer({ mock: { fail: told } }))).toMatchObject({
      code: 'provider_rate_limited',
      type: 'tokens',
      providerCode: 'c',
      retryAfter: 1500,
    })
    const list = steps(answer({ stream: true, mock: { fail: { after_chunks: 2 } } }))
    expect(chunks(list)).toHaveLength(2)
    expect(list.at(-1)).toMatchObject({ error: { code: 'provider_error' } })
    expect(steps(answer({ stream: true, mock: { fail: { truncate: true } } })).at(-1)).toMatchObject({
      error: { code: 'provider_truncated' },
    })
    expect(answer({ mock_timeout: true, timeout: 2 })).toMatchObject({
      kind: 'failure',
      delay: 2000,
      error: { code: 'provider_timeout' },
    })
  })

  it.each([
    [{ mock: { latncy: 3 } }, 'mock.latncy'],
    [{ mock: { latency: -1 } }, 'mock.latency'],
    [{ mock: { chunks: 1.5 } }, 'mock.chunks'],
    [{ mock: { fail: { status: 200 } } }, 'mock.fail.status'],
    [{ mock: { fail: { after: 1 } } }, 'mock.fail.after'],
    [{ mock: { tool_calls: [{}] } }, 'mock.tool_calls[0].name'],
    [{ mock: 'x' }, 'mock'],
    [{ mock_response: 7 }, 'mock_response'],
    [{ mock_delay: 'x' }, 'mock_delay'],
  ])('refuses %j and names the place', (request, place) => {
    try {
      answer(request)
      expect.unreachable()
    } catch (thrown) {
      expect(thrown).toMatchObject({ code: 'bad_request', param: place })
      expect((thrown as GatewayError).message).toContain(`'${place}'`)
    }
  })

  it('completes prompts', () => {
    const completed = mock.answer('completion', { model: 'mock', prompt: 'Once' }, NOTHING, DEPS)
    expect(completed).toMatchObject({ kind: 'whole', response: { object: 'text_completion' } })
    const text = (completed as { response: CompletionResponse }).response.choices[0]?.text
    expect(text).toContain('Once')
    const streamed = steps(mock.answer('completion', { model: 'mock', prompt: 'Once', stream: true }, NOTHING, DEPS))
    expect(
      streamed
        .flatMap((step) => ('chunk' in step ? step.chunk.choices.map((choice) => (choice as { text?: string }).text) : []))
        .join(''),
    ).toBe(text)
  })

  it('embeds text as unit vectors that depend on the text alone', () => {
    const embed = (input: unknown, more: object = {}) => {
      const embedded = mock.answer('embedding', { model: 'mock', input, ...more }, NOTHING, DEPS)
      return (embedded as { response: EmbeddingResponse }).response
    }
    const { data, usage } = embed(['a', 'b', 'a'], { dimensions: 8 })
    expect(data.map((item) => item.index)).toEqual([0, 1, 2])
    expect(data[0]?.embedding).toEqual(data[2]?.embedding)
    expect(data[0]?.embedding).not.toEqual(data[1]?.embedding)
    const [first] = data.map((item) => item.embedding as number[])
    expect(first?.reduce((sum, value) => sum + value * value, 0)).toBeCloseTo(1, 10)
    expect(usage.prompt_tokens).toBe(3)
    expect(embed('a').data[0]?.embedding).toHaveLength(1536)
    expect(embed([1, 2, 3]).data).toHaveLength(1)
    expect(typeof embed('a', { encoding_format: 'base64' }).data[0]?.embedding).toBe('string')
  })

  it('refuses sizes that no provider serves, before it makes them', () => {
    expect(() => answer({ n: 1e9 })).toThrow(GatewayError)
    const huge = { model: 'mock', input: 'a', dimensions: 1e9 }
    expect(() => mock.answer('embedding', huge, NOTHING, DEPS)).toThrow(GatewayError)
  })

  it('is the local one', () => {
    expect(isLocal(mock)).toBe(true)
    expect(isLocal(openai('x', { protocol: 'openai', base: null, keys: [] }))).toBe(false)
  })
})
