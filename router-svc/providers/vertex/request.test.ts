import { describe, expect, it } from 'vitest'
import { PROVIDERS } from '../../../shared/catalog/providers.ts'
import type { ChatRequest } from '../../canonical/chat.ts'
import type { EmbeddingRequest } from '../../canonical/embedding.ts'
import type { AnthropicAdapter } from '../anthropic/index.ts'
import { target as plainTarget } from '../gemini/encode.testkit.ts'
import { createProviders } from '../index.ts'
import type { OpenAIAdapter } from '../openai.ts'
import type { Conversation, Provider, Target, UpstreamAnswer, UpstreamRequest } from '../provider.ts'
import { modelOf } from './models.ts'

const BASE = 'https://us-central1-aiplatform.googleapis.com/projects/p/locations/us-central1'
const P = BASE.replace('/projects', '/v1/projects')
const BETA = BASE.replace('/projects', '/v1beta1/projects')

function providerOf(model: string, baseModel: string | null = null): Provider {
  const provider = createProviders().get('vertex_ai')
  const served = provider?.serve?.(model, { baseModel, settings: {}, info: {} })
  return served?.provider as Provider
}

function target(model: string, changes: Partial<Target> = {}): Target {
  return plainTarget({ provider: 'vertex_ai', base: BASE, model, ...changes })
}

function chat(model: string, request: Partial<ChatRequest> = {}, changes: Partial<Target> = {}): UpstreamRequest {
  const { chat: adapter } = providerOf(model, changes.baseModel ?? null)
  if (adapter === undefined) throw new Error('no chat')
  return adapter.encodeRequest(
    { model: 'group', messages: [{ role: 'user', content: 'Hi' }], ...request },
    target(model, changes),
  )
}

function bodyOf({ body }: UpstreamRequest): Record<string, unknown> {
  return JSON.parse(typeof body === 'string' ? body : Buffer.from(body).toString('utf8')) as Record<string, unknown>
}

describe('a model’s name', () => {
  it.each([
    ['gemini-2.5-pro', 'google', 'google', 'gemini-2.5-pro'],
    ['google/gemini-2.5-pro', 'google', 'google', 'gemini-2.5-pro'],
    ['gemini/1234567890', 'google', '', '1234567890'],
    ['1234567890', 'google', '', '1234567890'],
    ['projects/p/locations/l/endpoints/77', 'google', '', '77'],
    ['publishers/google/models/gemini-2.0-flash-001', 'google', 'google', 'gemini-2.0-flash-001'],
    ['text-embedding-005', 'google', 'google', 'text-embedding-005'],
    ['claude-sonnet-4-5@20250929', 'claude', 'anthropic', 'claude-sonnet-4-5@20250929'],
    ['anthropic/claude-opus-4-1@20250805', 'claude', 'anthropic', 'claude-opus-4-1@20250805'],
    ['mistral-large@2407', 'partner', 'mistralai', 'mistral-large@2407'],
    ['codestral@2405', 'partner', 'mistralai', 'codestral@2405'],
    ['mistralai/mistral-small-2503', 'partner', 'mistralai', 'mistral-small-2503'],
    ['jamba-1.5-mini@001', 'partner', 'ai21', 'jamba-1.5-mini@001'],
    ['meta/llama-3.1-405b-instruct-maas', 'open', 'meta', 'meta/llama-3.1-405b-instruct-maas'],
    ['llama-4-scout-17b-16e-instruct-maas', 'open', 'meta', 'meta/llama-4-scout-17b-16e-instruct-maas'],
    ['deepseek-ai/deepseek-r1-0528-maas', 'open', 'deepseek-ai', 'deepseek-ai/deepseek-r1-0528-maas'],
    ['qwen/qwen3-235b-a22b-instruct-2507-maas', 'open', 'qwen', 'qwen/qwen3-235b-a22b-instruct-2507-maas'],
    ['openai/gpt-oss-120b-maas', 'open', 'openai', 'openai/gpt-oss-120b-maas'],
    ['moonshotai/kimi-k2-thinking-maas', 'open', 'moonshotai', 'moonshotai/kimi-k2-thinking-maas'],
    ['openapi/zai-org/glm-4.7-maas', 'open', 'zai-org', 'zai-org/glm-4.7-maas'],
    ['openai/5464397967697903616', 'endpoint', '', '5464397967697903616'],
  ])('%s is of the family %s', (name, family, publisher, id) => {
    expect(modelOf(name)).toEqual({ family, publisher, id })
  })

  it('is the plain one where that says as much: prices are known by it', () => {
    const plain = (model: string) =>
      createProviders().get('vertex_ai')?.serve?.(model, { baseModel: null, settings: {}, info: {} }).model
    const names = ['google/gemini-2.5-pro', 'anthropic/claude-x', 'openapi/meta/llama-x', 'gemini/42', 'openai/77', 'anthropic/x']
    expect(names.map(plain)).toEqual(['gemini-2.5-pro', 'claude-x', 'meta/llama-x', '42', 'openai/77', 'anthropic/x'])
  })

  it('that is a number is what its base model says', () => {
    expect(modelOf('123', 'vertex_ai/gemini-2.5-flash').family).toBe('google')
    expect(modelOf('123', 'meta/llama-3.1-8b').family).toBe('endpoint')
  })
})

describe('a call of Gemini', () => {
  it('goes to its publisher’s address, to its own endpoint when it is tuned', () => {
    expect(chat('gemini-2.5-pro').url).toBe(`${BETA}/publishers/google/models/gemini-2.5-pro:generateContent`)
    expect(chat('gemini-2.5-pro', { stream: true }).url).toBe(
      `${BETA}/publishers/google/models/gemini-2.5-pro:streamGenerateContent?alt=sse`,
    )
    expect(chat('gemini/42').url).toBe(`${BETA}/endpoints/42:generateContent`)
    // What a tuned model can do is what its base model can: levels of thinking, not budgets.
    const thinking = bodyOf(chat('42', { reasoning_effort: 'low' }, { baseModel: 'vertex_ai/gemini-3-flash' }))
    expect(thinking['generationConfig']).toEqual({ thinkingConfig: { includeThoughts: true, thinkingLevel: 'LOW' } })
  })

  it('goes wherever the operator says, in the version that is given', () => {
    const url = (base: string, apiVersion: string | null = null) => chat('gemini-2.5-pro', {}, { base, apiVersion }).url
    const path = '/publishers/google/models/gemini-2.5-pro:generateContent'
    expect(url(BASE, 'v1')).toBe(P + path)
    expect(url('https://aiplatform.googleapis.com')).toBe(`https://aiplatform.googleapis.com/v1beta1${path}`)
    expect(url('https://proxy.test/v1/projects/p/locations/l')).toBe(`https://proxy.test/v1/projects/p/locations/l${path}`)
    const whole = 'https://gateway.test/google-vertex-ai/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-flash'
    expect(url(whole)).toBe(`${whole}:generateContent`)
    expect(() => url('')).toThrow(expect.objectContaining({ code: 'bad_request' }))
  })

  it('keeps labels, names of caches and addresses of files, and asks for its tier in a header', () => {
    const cache = 'projects/p/locations/l/cachedContents/1'
    const request = chat('gemini-2.5-pro', {
      messages: [
        { role: 'user', content: [{ type: 'image_url', image_url: { url: 'https://pictures.test/cat.png' } }] as never },
      ],
      labels: { team: 'a' },
      cached_content: cache,
      service_tier: 'flex',
    })
    expect(bodyOf(request)).toEqual({
      contents: [{ role: 'user', parts: [{ fileData: { mimeType: 'image/png', fileUri: 'https://pictures.test/cat.png' } }] }],
      labels: { team: 'a' },
      cachedContent: cache,
    })
    expect(request.headers).toEqual({ 'content-type': 'application/json', 'x-vertex-ai-llm-shared-request-type': 'flex' })
  })
})

describe('a call of Claude', () => {
  const model = 'claude-sonnet-4-5@20250929'
  const url = `${P}/publishers/anthropic/models/${model}`

  it('has its model in the address, its version in the body, and betas in their header', () => {
    const request = chat(model, { max_tokens: 5 }, { settings: { anthropic_beta: 'context-1m-2025-08-07' } })
    expect(request.url).toBe(`${url}:rawPredict`)
    expect(request.headers).toEqual({ 'content-type': 'application/json', 'anthropic-beta': 'context-1m-2025-08-07' })
    expect(bodyOf(request)).toEqual({
      anthropic_version: 'vertex-2023-10-16',
      max_tokens: 5,
      messages: [{ role: 'user', content: 'Hi' }],
    })
    const streamed = chat(model, { stream: true })
    expect(streamed.url).toBe(`${url}:streamRawPredict`)
    expect(bodyOf(streamed)['stream']).toBe(true)
  })

  it('passes a client’s own bytes on, but for the model', () => {
    const { chat: adapter, prefill } = providerOf(model)
    const body = Buffer.from(`{"max_tokens": 5, "model" : "${model}", "messages":[{"role":"user","content":"ü"}],"stream":true}`)
    const own = { stream: true, betas: ['files-api-2025-04-14'] }
    const sent = (adapter as AnthropicAdapter).wrap(body, own, target(model))
    expect(Buffer.from(sent.body as Uint8Array).toString()).toBe(
      '{"max_tokens": 5, "anthropic_version":"vertex-2023-10-16", "messages":[{"role":"user","content":"ü"}],"stream":true}',
    )
    expect([sent.url, sent.headers['anthropic-beta']]).toEqual([`${url}:streamRawPredict`, 'files-api-2025-04-14'])
    expect(prefill?.(target(model), { model, messages: [] })).toBe('native')
  })
})

describe('a call of a partner’s or an open model', () => {
  it('of Mistral or AI21 goes through rawPredict, without the date of its version in the body', () => {
    const mistral = chat('mistral-large@2407', { tool_choice: 'required', max_completion_tokens: 5, stream: true })
    expect(mistral.url).toBe(`${P}/publishers/mistralai/models/mistral-large@2407:streamRawPredict`)
    expect(bodyOf(mistral)).toEqual({
      model: 'mistral-large',
      messages: [{ role: 'user', content: 'Hi' }],
      tool_choice: 'any',
      max_tokens: 5,
      stream: true,
    })
    const jamba = chat('jamba-1.5-mini@001')
    expect(jamba.url).toBe(`${P}/publishers/ai21/models/jamba-1.5-mini@001:rawPredict`)
    expect(bodyOf(jamba)['model']).toBe('jamba-1.5-mini')
  })

  it('as a service goes to one address, its publisher in the body', () => {
    const request = chat('llama-4-scout-17b-16e-instruct-maas', { stream: true })
    expect(request.url).toBe(`${P}/endpoints/openapi/chat/completions`)
    expect(bodyOf(request)).toEqual({
      model: 'meta/llama-4-scout-17b-16e-instruct-maas',
      messages: [{ role: 'user', content: 'Hi' }],
      stream: true,
      stream_options: { include_usage: true },
    })
    const { chat: adapter } = providerOf('meta/llama-x')
    const { encoder } = adapter as OpenAIAdapter<ChatRequest, never, never>
    expect(encoder.shape({ messages: [] }, target('meta/llama-x'))['model']).toBe('meta/llama-x')
    expect(encoder.wrap(target('meta/llama-x'), '{}').url).toBe(request.url)
  })

  it('that was deployed goes to its endpoint, also under a host of its own', () => {
    expect(chat('openai/77').url).toBe(`${P}/endpoints/77/chat/completions`)
    expect(bodyOf(chat('openai/77'))['model']).toBe('')
    const own = 'https://77.us-central1-1.prediction.vertexai.goog/projects/p/locations/us-central1'
    expect(chat('openai/77', {}, { base: own }).url).toBe(
      `${own.replace('/projects', '/v1/projects')}/endpoints/77/chat/completions`,
    )
  })
})

describe('a call for vectors', () => {
  function adapter(model: string) {
    const { embedding } = providerOf(model)
    if (embedding === undefined) throw new Error('no embeddings')
    return embedding
  }
  const encode = (model: string, request: Partial<EmbeddingRequest>, changes: Partial<Target> = {}) =>
    adapter(model).encodeRequest({ model: 'group', input: 'x', ...request }, target(model, changes))

  it('of texts names their use and size', () => {
    const request = encode('text-embedding-005', {
      input: ['a', 'b'],
      dimensions: 5,
      input_type: 'query',
      title: 'T',
      auto_truncate: false,
    } as never)
    expect(request.url).toBe(`${BETA}/publishers/google/models/text-embedding-005:predict`)
    expect(bodyOf(request)).toEqual({
      instances: ['a', 'b'].map((content) => ({ content, task_type: 'RETRIEVAL_QUERY', title: 'T' })),
      parameters: { outputDimensionality: 5, autoTruncate: false },
    })
    expect(encode('42', {}, { baseModel: 'text-embedding-005' }).url).toBe(`${BETA}/endpoints/42:predict`)
    expect(bodyOf(encode('gemini-embedding-2-preview', { dimensions: 3, task_type: 'clustering' } as never))).toEqual({
      content: { parts: [{ text: 'x' }] },
      taskType: 'CLUSTERING',
      outputDimensionality: 3,
    })
  })

  it('of pictures and films says what is what', () => {
    const bodies = ['a cat', 'gs://b/cat.png', 'gs://b/cat.mp4', 'data:image/png;base64,AAAA'].map((input) =>
      bodyOf(encode('multimodalembedding@001', { input, dimensions: 128 })),
    )
    expect(bodies.map(({ instances }) => (instances as unknown[])[0])).toEqual([
      { text: 'a cat' },
      { image: { gcsUri: 'gs://b/cat.png' } },
      { video: { gcsUri: 'gs://b/cat.mp4' } },
      { image: { bytesBase64Encoded: 'AAAA' } },
    ])
    expect(bodies[0]?.['parameters']).toEqual({ dimension: 128 })
    const body = {
      predictions: [{ textEmbedding: [1], imageEmbedding: [2], videoEmbeddings: [{ embedding: [3] }, { embedding: [4] }] }],
    }
    const context = { id: 'x', created: 1, model: 'group', request: {} }
    const answer = adapter('multimodalembedding@001').decodeResponse(Buffer.from(JSON.stringify(body)), {}, context)
    expect(answer.data.map(({ index, embedding }) => [index, embedding])).toEqual(
      [1, 2, 3, 4].map((value, index) => [index, [value]]),
    )
  })

  it('goes in as many requests as the model wants, sixteen at once, and comes back in order', () => {
    const context = { id: 'x', created: 1, model: 'group', request: {} }
    const converse = (model: string, count: number) =>
      adapter(model).converse?.(
        { model: 'group', input: Array.from({ length: count }, (_, index) => String(index)) },
        target(model),
        context,
      ) ?? null
    expect(converse('gemini-embedding-001', 1)).toBeNull()
    expect(converse('text-embedding-005', 250)).toBeNull()
    const talk = converse('gemini-embedding-001', 20) as Conversation<{ data: { embedding: unknown }[]; usage?: unknown }>
    const sent: number[] = []
    let turn = talk.next()
    while (turn.done !== true) {
      sent.push(turn.value.send.length)
      const answers = turn.value.send.map((request): UpstreamAnswer => {
        const [instance] = bodyOf(request)['instances'] as { content: string }[]
        const statistics = { token_count: 2 }
        const predictions = [{ embeddings: { values: [Number(instance?.content)], statistics } }]
        return { status: 200, headers: {}, body: Buffer.from(JSON.stringify({ predictions })) }
      })
      turn = talk.next(answers)
    }
    expect(sent).toEqual([16, 4])
    expect(turn.value).toMatchObject({
      data: Array.from({ length: 20 }, (_, index) => ({ index, embedding: [index] })),
      usage: { prompt_tokens: 40, total_tokens: 40 },
    })
  })

  it('without texts is refused by name; an answer without vectors is malformed, one with an error an error', () => {
    const context = { id: 'x', created: 1, model: 'group', request: {} }
    expect(() => encode('text-embedding-005', { input: [] })).toThrow(expect.objectContaining({ param: 'input' }))
    expect(() => encode('text-embedding-005', { input: ['a', [1, 2]] as never })).toThrow(
      expect.objectContaining({ param: 'input[1]' }),
    )
    const decode = (body: unknown) => () =>
      adapter('text-embedding-005').decodeResponse(Buffer.from(JSON.stringify(body)), {}, context)
    expect(decode({ predictions: [] })).toThrow(expect.objectContaining({ code: 'provider_malformed' }))
    expect(decode({ error: { code: 429, status: 'RESOURCE_EXHAUSTED', message: 'later' } })).toThrow(
      expect.objectContaining({ code: 'provider_rate_limited' }),
    )
  })
})

describe('a refusal', () => {
  it('is read in whichever form it comes', () => {
    const { decodeError } = providerOf('claude-3-haiku')
    const cases: [number, object, string][] = [
      [429, { error: { code: 429, status: 'RESOURCE_EXHAUSTED', message: 'Quota exceeded' } }, 'provider_rate_limited'],
      [529, { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } }, 'provider_overloaded'],
      [
        400,
        { type: 'error', error: { type: 'invalid_request_error', message: 'prompt is too long: 2 > 1' } },
        'context_window_exceeded',
      ],
      [403, [{ error: { code: 403, status: 'PERMISSION_DENIED', message: 'no' } }], 'provider_permission'],
      [401, { error: { code: 401, status: 'UNAUTHENTICATED', message: 'no' } }, 'provider_authentication'],
    ]
    for (const [status, body, code] of cases) {
      const error = decodeError(status, {}, JSON.stringify(body))
      expect(error.code).toBe(code)
      expect(error.message).toMatch(/^litellm\.\w+: (\w+: )?VertexAIException - /)
    }
  })

  it('of the same kind is known under the beta’s name', () => {
    expect(Object.keys(PROVIDERS).filter((name) => PROVIDERS[name]?.protocol === 'vertex')).toEqual([
      'vertex_ai',
      'vertex_ai_beta',
    ])
  })
})
