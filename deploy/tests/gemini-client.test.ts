import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ApiError, FunctionCallingConfigMode, GoogleGenAI, Type } from '@google/genai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startUpstream, type Upstream } from '../../loadtest/upstream.ts'
import { type Gateway, MODES, openGateway } from './gateway.ts'

/** What the official client of Google's API sees of models behind three protocols, in both modes, and what is booked. */
describe.each(MODES)('%s', (mode) => {
  let upstream: Upstream
  let google: Google
  let gateway: Gateway
  let key: string
  let client: GoogleGenAI

  const clientWith = (apiKey: string) => new GoogleGenAI({ apiKey, httpOptions: { baseUrl: gateway.url } })
  const post = (path: string, body: unknown, headers: Record<string, string> = { 'x-goog-api-key': key }) =>
    fetch(`${gateway.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    })

  beforeAll(async () => {
    upstream = await startUpstream()
    google = await startGoogle()
    gateway = await openGateway(mode, { config: configFor(upstream.url, google.url) })
    key = await gateway.generateKey({ key_alias: `gemini-${mode}` })
    client = clientWith(key)
  }, 120_000)
  afterAll(async () => {
    await gateway?.stop()
    await upstream?.stop()
    await google?.stop()
  })

  const failure = (call: Promise<unknown>) =>
    call.then(
      () => null,
      (error: unknown) => error,
    )
  const hello = { contents: [{ role: 'user', parts: [{ text: 'hello' }] }] }
  const declaration = { name: 'lookup_0', parameters: { type: Type.OBJECT, properties: { q: { type: Type.STRING } } } }

  describe.each([
    ['claude', 'anthropic'],
    ['gpt', 'openai'],
    ['flash', 'gemini'],
  ])('model %s of a provider that speaks the %s protocol', (model, provider) => {
    const script = (text: string) => `hello [[upstream ${text}]]`

    it('answers, and books what the provider reported', async () => {
      const answer = await client.models.generateContent({
        model,
        contents: script('prompt=1000,completion=20,cached=400,chunks=3'),
        config: { systemInstruction: 'Be brief.', maxOutputTokens: 100, temperature: 0.5 },
      })
      expect(answer.text).toMatch(/./)
      expect(answer.candidates?.[0]).toMatchObject({ finishReason: 'STOP', content: { role: 'model' } })
      expect(answer.modelVersion).toBe(model)
      expect(answer.usageMetadata).toMatchObject({
        promptTokenCount: 1000,
        candidatesTokenCount: 20,
        cachedContentTokenCount: 400,
        totalTokenCount: 1020,
      })
      const [row, ...more] = await gateway.ledger(answer.sdkHttpResponse?.headers?.['x-litellm-call-id'] as string)
      expect(more).toEqual([])
      expect(row).toMatchObject({
        call_type: 'agenerate_content',
        custom_llm_provider: provider,
        status: 'success',
        prompt_tokens: 1000,
        completion_tokens: 20,
      })
    })

    it('streams text as it comes, and books it', async () => {
      const stream = await client.models.generateContentStream({
        model,
        contents: script('chunks=4,prompt=50,completion=30'),
        config: { maxOutputTokens: 100 },
      })
      let text = ''
      let pieces = 0
      let last: Awaited<ReturnType<typeof client.models.generateContent>> | null = null
      for await (const chunk of stream) {
        text += chunk.text ?? ''
        pieces += 1
        last = chunk
      }
      expect(pieces).toBeGreaterThan(2)
      expect(text).toMatch(/./)
      expect(last?.candidates?.[0]?.finishReason).toBe('STOP')
      expect(last?.usageMetadata).toMatchObject({ promptTokenCount: 50, candidatesTokenCount: 30 })
      const [row, ...more] = await gateway.ledger(last?.sdkHttpResponse?.headers?.['x-litellm-call-id'] as string)
      expect(more).toEqual([])
      expect(row).toMatchObject({ status: 'success', prompt_tokens: 50, completion_tokens: 30, custom_llm_provider: provider })
    })

    it('streams one JSON array where the address asks for no events', async () => {
      const answer = await post(`/v1beta/models/${model}:streamGenerateContent`, {
        contents: [{ role: 'user', parts: [{ text: script('chunks=3') }] }],
        generationConfig: { maxOutputTokens: 100 },
      })
      expect(answer.headers.get('content-type')).toContain('application/json')
      const list = (await answer.json()) as { candidates?: { finishReason?: string }[] }[]
      expect(list.length).toBeGreaterThan(2)
      expect(list.at(-1)?.candidates?.[0]?.finishReason).toBe('STOP')
    })

    it('calls functions, and goes on after their results, in a chat that streams', async () => {
      const chat = client.chats.create({
        model,
        config: { tools: [{ functionDeclarations: [declaration] }], maxOutputTokens: 100 },
      })
      const calls = []
      for await (const chunk of await chat.sendMessageStream({ message: script('tools=1,chunks=0') })) {
        calls.push(...(chunk.functionCalls ?? []))
      }
      expect(calls).toEqual([{ id: expect.stringMatching(/./), name: 'lookup_0', args: expect.any(Object) }])
      const [call] = calls
      const second = await chat.sendMessage({
        message: [
          {
            functionResponse: { id: call?.id as string, name: 'lookup_0', response: { found: '[[upstream chunks=2,tools=0]]' } },
          },
        ],
      })
      expect(second.text).toMatch(/./)
      expect(second.candidates?.[0]?.finishReason).toBe('STOP')
      // The client keeps a turn a chunk.
      expect(chat.getHistory(true).map(({ role }) => role)).toEqual(expect.arrayContaining(['user', 'model']))
    })

    it('tells of the provider’s failures in the client’s class, with Google’s words', async () => {
      const ask = (text: string) =>
        failure(
          client.models.generateContent({
            model,
            contents: script(text),
            config: { maxOutputTokens: 9, httpOptions: { extraBody: { num_retries: 0, disable_fallbacks: true } } },
          }),
        )
      const limited = (await ask('fail=429,message=slow%20down')) as ApiError
      expect(limited).toBeInstanceOf(ApiError)
      expect(limited.status).toBe(429)
      expect(JSON.parse(limited.message)).toMatchObject({
        error: { code: 429, status: 'RESOURCE_EXHAUSTED', message: expect.stringContaining('slow down') },
      })
      expect(await ask('fail=400,message=nope')).toMatchObject({ status: 400 })
    })

    it.each(['cut', 'error'])('never reports a stream as complete that ends in %s', async (fault) => {
      const ask = async () => {
        const stream = await client.models.generateContentStream({
          model,
          contents: script(`chunks=6,fault=${fault}`),
          config: { maxOutputTokens: 100, httpOptions: { extraBody: { num_retries: 0, disable_fallbacks: true } } },
        })
        for await (const _ of stream);
      }
      await expect(ask()).rejects.toThrow()
    })

    it('counts tokens for nothing', async () => {
      const counted = await client.models.countTokens({ model, contents: 'How many tokens is this?' })
      expect(counted.totalTokens).toBeGreaterThan(2)
      const [row] = await gateway.ledger(counted.sdkHttpResponse?.headers?.['x-litellm-call-id'] as string)
      expect(row).toMatchObject({ call_type: 'google_count_tokens', spend: 0, prompt_tokens: 0 })
      const anthropic = await post('/v1/messages/count_tokens', { model, messages: [{ role: 'user', content: 'How many?' }] })
      expect(anthropic.status).toBe(200)
      expect(await anthropic.json()).toEqual({ input_tokens: expect.any(Number) })
    })
  })

  it('counts here for a server that does not', async () => {
    expect((await client.models.countTokens({ model: 'uncounted', contents: 'one two three four five' })).totalTokens).toBe(5)
  })

  it('forces a function and a JSON schema on providers of other protocols', async () => {
    const id = `forced-${mode}`
    await client.models.generateContent({
      model: 'gpt',
      contents: `hello [[upstream id=${id},chunks=1]]`,
      config: {
        tools: [{ functionDeclarations: [declaration] }],
        toolConfig: { functionCallingConfig: { mode: FunctionCallingConfigMode.ANY, allowedFunctionNames: ['lookup_0'] } },
        responseMimeType: 'application/json',
        responseSchema: { type: Type.OBJECT, properties: { n: { type: Type.INTEGER, nullable: true } }, required: ['n'] },
        safetySettings: [],
        topK: 5,
      },
    })
    const sent = JSON.parse(upstream.served(id)[0]?.body ?? '')
    expect(sent).toMatchObject({
      tools: [{ function: { name: 'lookup_0', parameters: { type: 'object', properties: { q: { type: 'string' } } } } }],
      tool_choice: { type: 'function', function: { name: 'lookup_0' } },
      response_format: {
        type: 'json_schema',
        json_schema: { schema: { type: 'object', properties: { n: { type: ['integer', 'null'] } }, required: ['n'] } },
      },
    })
    expect(Object.keys(sent).sort()).toEqual(['messages', 'model', 'response_format', 'tool_choice', 'tools'])
  })

  it('loses nothing between a client and a provider of Google’s protocol, and tells it nothing of ours', async () => {
    google.requests.length = 0
    const body = {
      contents: [
        { role: 'user', parts: [{ text: 'hello' }] },
        { role: 'model', parts: [{ functionCall: { name: 'f', args: {} }, thoughtSignature: 'c2lnbmVk' }] },
        { role: 'user', parts: [{ functionResponse: { name: 'f', response: { ok: true } } }] },
      ],
      tools: [{ codeExecution: {} }],
      novelField: { kept: [1.5] },
    }
    const answer = await post(`/v1beta/models/flash:generateContent?key=${key}`, { ...body, tags: ['for-us'] }, {})
    expect(answer.status).toBe(200)
    expect(google.requests).toEqual([{ url: '/v1beta/models/gemini-2.5-flash:generateContent', key: 'sk-upstream', body }])
  })

  it('refuses strangers, wrong requests at their place and models nobody has, in Google’s envelope', async () => {
    const stranger = (await failure(
      clientWith('sk-stranger').models.generateContent({ model: 'gpt', contents: 'x' }),
    )) as ApiError
    expect(stranger.status).toBe(401)
    expect(JSON.parse(stranger.message)).toMatchObject({ error: { code: 401, status: 'UNAUTHENTICATED' } })
    const wrong = await post('/v1beta/models/gpt:generateContent', { contents: [{ role: 'user', parts: [{ text: 5 }] }] })
    expect(wrong.status).toBe(400)
    expect(await wrong.json()).toMatchObject({
      error: { status: 'INVALID_ARGUMENT', message: expect.stringContaining('contents[0].parts[0].text') },
    })
    const nobody = await post('/models/nobody:generateContent', hello)
    expect(await nobody.json()).toMatchObject({ error: { code: nobody.status, message: expect.stringContaining('nobody') } })
    // A key in the address counts on Google's routes alone.
    expect((await post(`/v1/chat/completions?key=${key}`, { model: 'gpt', messages: [] }, {})).status).toBe(401)
  })

  it.each(['vectors', 'embed'])('embeds contents by model %s', async (model) => {
    const made = await client.models.embedContent({ model, contents: ['a', 'b'], config: { outputDimensionality: 4 } })
    expect(made.embeddings).toHaveLength(2)
    expect(made.embeddings?.[0]?.values?.length).toBeGreaterThan(0)
    const one = await post(`/v1beta/models/${model}:embedContent`, {
      content: { parts: [{ text: 'a' }] },
      taskType: 'CLUSTERING',
    })
    expect(await one.json()).toMatchObject({ embedding: { values: expect.any(Array) } })
  })

  it('takes clients’ telemetry and says nothing', async () => {
    const answer = await post('/api/event_logging/batch', { events: [] }, {})
    expect(answer.status).toBe(200)
    expect(await answer.text()).toBe('{}')
  })
})

interface Google {
  url: string
  requests: { url: string; key: string | undefined; body: unknown }[]
  stop(): Promise<void>
}

/** A server of Google's protocol that follows as much of loadtest's scripts as these tests use. */
async function startGoogle(): Promise<Google> {
  const requests: Google['requests'] = []
  const server: Server = createServer((request, response) => {
    void read(request).then((body) => {
      const url = request.url ?? ''
      requests.push({ url, key: request.headers['x-goog-api-key'] as string | undefined, body })
      answer(url, body, response)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function read(request: IncomingMessage): Promise<unknown> {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  return JSON.parse(Buffer.concat(parts).toString('utf8'))
}

function answer(url: string, body: unknown, response: ServerResponse): void {
  const script = scriptOf(JSON.stringify(body))
  const number = (name: string, otherwise: number) => Number(script[name] ?? otherwise)
  const json = (status: number, value: unknown) => {
    response.writeHead(status, { 'content-type': 'application/json; charset=UTF-8' }).end(JSON.stringify(value))
  }
  if (script['fail'] !== undefined) {
    const code = number('fail', 500)
    json(code, {
      error: {
        code,
        message: decodeURIComponent(script['message'] ?? 'no'),
        status: code === 429 ? 'RESOURCE_EXHAUSTED' : 'INVALID_ARGUMENT',
      },
    })
    return
  }
  if (url.includes('/uncounted:')) {
    json(404, { error: { code: 404, message: 'no such method', status: 'NOT_FOUND' } })
    return
  }
  if (url.includes(':countTokens')) {
    json(200, { totalTokens: 7, promptTokensDetails: [{ modality: 'TEXT', tokenCount: 7 }] })
    return
  }
  if (url.includes(':batchEmbedContents')) {
    const { requests } = body as { requests: unknown[] }
    json(200, { embeddings: requests.map(() => ({ values: [0.1, 0.2, 0.3, 0.4] })) })
    return
  }
  const parts: unknown[] = Array.from({ length: number('chunks', 2) }, (_, index) => ({ text: `word ${index} ` }))
  if (number('tools', 0) > 0) parts.push({ functionCall: { id: 'c1', name: 'lookup_0', args: { q: 'x' } } })
  const prompt = number('prompt', 10)
  const output = number('completion', 5)
  const usageMetadata = {
    promptTokenCount: prompt,
    candidatesTokenCount: output,
    totalTokenCount: prompt + output,
    ...(script['cached'] === undefined ? {} : { cachedContentTokenCount: number('cached', 0) }),
  }
  const piece = (some: unknown[], end = false) => ({
    candidates: [{ content: { parts: some, role: 'model' }, ...(end ? { finishReason: 'STOP' } : {}), index: 0 }],
    usageMetadata,
    modelVersion: 'gemini-2.5-flash',
    responseId: 'r1',
  })
  if (!url.includes('alt=sse')) {
    json(200, piece(parts, true))
    return
  }
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  const { fault } = script
  for (const [index, part] of parts.entries()) {
    if (fault !== undefined && index >= 3) break
    response.write(`data: ${JSON.stringify(piece([part], fault === undefined && index === parts.length - 1))}\r\n\r\n`)
  }
  if (fault === 'error') {
    response.write(`data: ${JSON.stringify({ error: { code: 503, message: 'overloaded', status: 'UNAVAILABLE' } })}\r\n\r\n`)
  }
  response.end()
}

/** The last marker's settings: `[[upstream chunks=3,prompt=50]]`. */
function scriptOf(text: string): Record<string, string> {
  const [, settings = ''] = [...text.matchAll(/\[\[upstream ([^\]]*)\]\]/g)].at(-1) ?? []
  return Object.fromEntries(settings.split(',').map((pair) => pair.split('=') as [string, string]))
}

function configFor(url: string, google: string): string {
  return `
model_list:
  - model_name: gpt
    litellm_params:
      model: openai/gpt-scripted
      api_base: ${url}/v1
      api_key: sk-upstream
  - model_name: claude
    litellm_params:
      model: anthropic/claude-sonnet-4-5
      api_base: ${url}
      api_key: sk-upstream
  - model_name: vectors
    litellm_params:
      model: openai/text-embedding-3-small
      api_base: ${url}/v1
      api_key: sk-upstream
  - model_name: embed
    litellm_params:
      model: gemini/gemini-embedding-001
      api_base: ${google}
      api_key: sk-upstream
  - model_name: uncounted
    litellm_params:
      model: gemini/uncounted
      api_base: ${google}
      api_key: sk-upstream
  - model_name: flash
    litellm_params:
      model: gemini/gemini-2.5-flash
      api_base: ${google}
      api_key: sk-upstream
`
}
