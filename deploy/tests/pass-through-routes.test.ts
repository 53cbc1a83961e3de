import { createHash, createHmac } from 'node:crypto'
import { request as send } from 'node:http'
import Anthropic from '@anthropic-ai/sdk'
import { BedrockRuntimeClient, ConverseCommand, ConverseStreamCommand, InvokeModelCommand } from '@aws-sdk/client-bedrock-runtime'
import { GoogleGenAI } from '@google/genai'
import { CohereClientV2 } from 'cohere-ai'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { awsEvent } from '../../router-svc/aws-event-stream.testkit.ts'
import { builtIn } from '../../shared/config/pass-through.ts'
import { type Gateway, MODES, openGateway } from './gateway.ts'
import { events, json, type ScriptedUpstream, type SeenRequest, startScripted } from './pass-through-upstream.ts'

const SECRET = 'upstream-secret-key'

function configuration(url: string): string {
  const model = (name: string, params: Record<string, unknown>) => ({ model_name: name, litellm_params: params })
  const aws = { aws_access_key_id: 'AKIDEXAMPLE', aws_secret_access_key: SECRET, aws_region_name: 'eu-west-1' }
  return JSON.stringify({
    model_list: [
      model('first', { model: 'openai/gpt-4o', api_base: `${url}/first/v1`, api_key: 'sk-first' }),
      model('marked', { model: 'openai/gpt-4o-mini', api_base: `${url}/v1`, api_key: 'sk-openai', use_in_pass_through: true }),
      model('claude', { model: 'anthropic/claude-sonnet-4-5', api_base: url, api_key: 'sk-ant' }),
      model('flash', { model: 'gemini/gemini-2.5-flash', api_base: `${url}/v1beta`, api_key: 'google-key' }),
      model('vertex-a', {
        model: 'vertex_ai/gemini-2.5-flash',
        api_base: `${url}/a`,
        api_key: 'vertex-a',
        vertex_project: 'pa',
        vertex_location: 'us-central1',
      }),
      model('vertex-b', {
        model: 'vertex_ai/gemini-2.5-flash',
        api_base: `${url}/b`,
        api_key: 'vertex-b',
        vertex_project: 'pb',
        vertex_location: 'europe-west4',
      }),
      model('command', { model: 'cohere/command-r-plus-08-2024', api_base: url, api_key: 'cohere-key' }),
      model('haiku', { model: 'bedrock/anthropic.claude-3-5-haiku-20241022-v1:0', api_base: url, ...aws }),
      model('dear', {
        model: 'mistral/dear',
        api_base: `${url}/v1`,
        api_key: 'mistral-key',
        input_cost_per_token: 0.001,
        output_cost_per_token: 0.002,
      }),
      model('heard', { model: 'assemblyai/best', api_base: `${url}/v1`, api_key: 'assembly-key' }),
    ],
    general_settings: {
      pass_through_endpoints: [
        {
          path: '/own/service',
          target: `${url}/target?fixed=1`,
          headers: { authorization: 'Bearer os.environ/OWN_SECRET', 'x-own': 'os.environ/OWN_SECRET' },
          include_subpath: true,
          cost_per_request: 0.25,
          auth: true,
          merge_query_params: true,
        },
        { path: '/own/open', target: `${url}/open`, methods: ['POST'], forward_headers: true },
      ],
    },
  })
}

/** Calls carried to providers in their own words, in both modes: bytes unchanged, keys and limits held, exact cost booked. */
describe.each(MODES)('%s', (mode) => {
  let upstream: ScriptedUpstream
  let gateway: Gateway
  let key: string

  beforeAll(async () => {
    upstream = await startScripted()
    gateway = await openGateway(mode, { config: configuration(upstream.url), env: { OWN_SECRET: SECRET } })
    key = await gateway.generateKey({ key_alias: `routes-${mode}` })
  }, 120_000)
  afterAll(async () => {
    await gateway?.stop()
    await upstream?.stop()
  })

  const last = (): SeenRequest => upstream.seen.at(-1) as SeenRequest
  const call = (path: string, init: RequestInit & { headers?: Record<string, string> } = {}): Promise<Response> =>
    fetch(gateway.url + path, { ...init, headers: { 'x-litellm-api-key': key, ...init.headers } })
  const post = (path: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> =>
    call(path, { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json', ...headers } })
  const rowOf = async (headers: Headers) => (await gateway.ledger(headers.get('x-litellm-call-id') as string))[0]

  it('proves OpenAI’s calls by the marked deployment, and bills the model that is named, whole and streamed', async () => {
    const usage = {
      prompt_tokens: 1000,
      completion_tokens: 100,
      total_tokens: 1100,
      prompt_tokens_details: { cached_tokens: 400 },
    }
    const openai = new OpenAI({ baseURL: `${gateway.url}/openai/v1`, apiKey: key, maxRetries: 0 })
    upstream.answer(
      json({ id: 'c', object: 'chat.completion', model: 'gpt-4o', choices: [], usage }, 200, { 'x-request-id': 'req-1' }),
    )
    const messages = [{ role: 'user' as const, content: 'hi' }]
    const { response } = await openai.chat.completions.create({ model: 'gpt-4o', messages }).withResponse()
    expect(last()).toMatchObject({ url: '/v1/chat/completions', headers: { authorization: 'Bearer sk-openai' } })
    expect(response.headers.get('x-request-id')).toBe('req-1')
    expect(await rowOf(response.headers)).toMatchObject({ spend: 0.003, prompt_tokens: 1000, model: 'gpt-4o' })

    upstream.answer(
      events(
        [
          { choices: [], model: 'gpt-4o' },
          { choices: [], model: 'gpt-4o', usage },
        ],
        false,
        true,
      ),
    )
    const streamed = await openai.chat.completions
      .create({ model: 'gpt-4o', messages, stream: true, stream_options: { include_usage: true } })
      .withResponse()
    for await (const _ of streamed.data);
    expect(await rowOf(streamed.response.headers)).toMatchObject({ spend: 0.003, completion_tokens: 100 })

    // A stream that was not asked to tell its usage is counted here.
    upstream.answer(events([{ choices: [{ delta: { content: 'x'.repeat(400) } }] }], false, true))
    const silent = await openai.chat.completions.create({ model: 'gpt-4o', messages, stream: true }).withResponse()
    for await (const _ of silent.data);
    expect(await rowOf(silent.response.headers)).toMatchObject({ completion_tokens: 100 })
  })

  it('bills pictures, speech and embeddings of OpenAI', async () => {
    upstream.answer(
      json({ created: 1, data: [{ b64_json: 'aaaa' }], usage: { input_tokens: 10, output_tokens: 100, total_tokens: 110 } }),
    )
    const picture = await post('/openai/v1/images/generations', { model: 'gpt-image-1', prompt: 'a cat' })
    expect(await rowOf(picture.headers)).toMatchObject({ prompt_tokens: 10, completion_tokens: 100 })
    upstream.answer((_, response) => void response.writeHead(200, { 'content-type': 'audio/mpeg' }).end(Buffer.alloc(5000, 1)))
    const speech = await post('/openai/v1/audio/speech', { model: 'tts-1', input: 'ten chars.', voice: 'alloy' })
    expect((await speech.arrayBuffer()).byteLength).toBe(5000)
    expect(await rowOf(speech.headers)).toMatchObject({ spend: 0.00015 })
    upstream.answer(
      json({ object: 'list', data: [], model: 'text-embedding-3-small', usage: { prompt_tokens: 1000, total_tokens: 1000 } }),
    )
    const embedded = await post('/openai/v1/embeddings', { model: 'text-embedding-3-small', input: 'x' })
    expect(await rowOf(embedded.headers)).toMatchObject({ spend: 0.00002 })
  })

  it('carries Anthropic’s client, whole and streamed, with its cache at its price', async () => {
    const anthropic = new Anthropic({ baseURL: `${gateway.url}/anthropic`, apiKey: key, maxRetries: 0 })
    const ask = { model: 'claude-sonnet-4-5', max_tokens: 10, messages: [{ role: 'user' as const, content: 'hi' }] }
    const usage = { input_tokens: 100, output_tokens: 10, cache_read_input_tokens: 1000, cache_creation_input_tokens: 0 }
    const message = {
      id: 'm',
      type: 'message',
      role: 'assistant',
      model: 'claude-sonnet-4-5',
      content: [],
      stop_reason: null,
      usage,
    }
    upstream.answer(json({ ...message, stop_reason: 'end_turn' }))
    const whole = await anthropic.messages.create(ask).withResponse()
    expect(last().headers).toMatchObject({ 'x-api-key': 'sk-ant', 'anthropic-version': expect.any(String) })
    // 100 × $3 + 1000 × $0.30 + 10 × $15 a million.
    expect(await rowOf(whole.response.headers)).toMatchObject({ spend: 0.00075 })
    upstream.answer(
      events(
        [
          { type: 'message_start', message: { ...message, usage: { ...usage, output_tokens: 1 } } },
          { type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: { output_tokens: 10 } },
          { type: 'message_stop' },
        ],
        true,
      ),
    )
    const streamed = await anthropic.messages.create({ ...ask, stream: true }).withResponse()
    for await (const _ of streamed.data);
    expect(await rowOf(streamed.response.headers)).toMatchObject({ spend: 0.00075 })
  })

  it('carries Google’s client, whole and streamed, and takes the key from the address', async () => {
    const google = new GoogleGenAI({ apiKey: key, httpOptions: { baseUrl: `${gateway.url}/gemini` } })
    const usageMetadata = { promptTokenCount: 100, candidatesTokenCount: 10, thoughtsTokenCount: 10, totalTokenCount: 120 }
    const content = {
      candidates: [{ content: { role: 'model', parts: [{ text: 'hello' }] } }],
      usageMetadata,
      modelVersion: 'gemini-2.5-flash',
    }
    upstream.answer(json(content))
    const whole = await google.models.generateContent({ model: 'gemini-2.5-flash', contents: 'hi' })
    expect(whole.text).toBe('hello')
    expect(last()).toMatchObject({
      url: expect.stringMatching(/^\/v1(?:beta)?\/models\/gemini-2\.5-flash:generateContent$/),
      headers: { 'x-goog-api-key': 'google-key' },
    })
    upstream.answer(events([{ ...content, usageMetadata: { promptTokenCount: 100 } }, content]))
    let text = ''
    for await (const chunk of await google.models.generateContentStream({ model: 'gemini-2.5-flash', contents: 'hi' }))
      text += chunk.text
    expect(text).toBe('hellohello')
    upstream.answer(json([content, content]))
    const listed = await fetch(`${gateway.url}/gemini/v1beta/models/gemini-2.5-flash:streamGenerateContent?key=${key}&x=1`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    })
    expect(last().url).toBe('/v1beta/models/gemini-2.5-flash:streamGenerateContent?x=1')
    // 100 × $0.30 + 20 × $2.50 a million.
    expect(await rowOf(listed.headers)).toMatchObject({ spend: 0.00008, custom_llm_provider: 'gemini' })
  })

  it('proves Vertex’s calls by the deployment of the project in the path', async () => {
    upstream.answer(json({ candidates: [], usageMetadata: { promptTokenCount: 100, candidatesTokenCount: 20 } }))
    const path = 'v1/projects/pb/locations/europe-west4/publishers/google/models/gemini-2.5-flash:generateContent'
    const answered = await post(`/vertex_ai/${path}`, { contents: [] })
    expect(last()).toMatchObject({ url: `/b/${path}`, headers: { 'x-goog-api-key': 'vertex-b' } })
    expect(await rowOf(answered.headers)).toMatchObject({ spend: 0.00008 })
    await post('/vertex-ai/publishers/google/models/gemini-2.5-flash:countTokens', { contents: [] })
    expect(last().url).toBe('/a/v1/projects/pa/locations/us-central1/publishers/google/models/gemini-2.5-flash:countTokens')
  })

  it('carries Cohere’s client, whole and streamed', async () => {
    const cohere = new CohereClientV2({ environment: `${gateway.url}/cohere`, token: key })
    const ask = { model: 'command-r-plus-08-2024', messages: [{ role: 'user' as const, content: 'hi' }] }
    const usage = { billed_units: { input_tokens: 100, output_tokens: 10 }, tokens: { input_tokens: 900, output_tokens: 10 } }
    upstream.answer(json({ id: 'c', finish_reason: 'COMPLETE', message: { role: 'assistant', content: [] }, usage }))
    const { rawResponse } = await cohere.chat(ask).withRawResponse()
    expect(last()).toMatchObject({ url: '/v2/chat', headers: { authorization: 'Bearer cohere-key' } })
    expect(await rowOf(rawResponse.headers as Headers)).toMatchObject({ spend: 0.00035 })
    upstream.answer(
      events([{ type: 'message-start' }, { type: 'message-end', delta: { finish_reason: 'COMPLETE', usage } }], true),
    )
    const streamed = await cohere.chatStream(ask).withRawResponse()
    for await (const _ of streamed.data);
    expect(await rowOf(streamed.rawResponse.headers as Headers)).toMatchObject({ spend: 0.00035 })
  })

  it('signs Bedrock’s calls anew, whole and streamed, and bills what is invoked by its headers', async () => {
    const modelId = 'anthropic.claude-3-5-haiku-20241022-v1:0'
    const credentials = { accessKeyId: 'AKIDNOBODY', secretAccessKey: 'none' }
    const client = new BedrockRuntimeClient({
      region: 'eu-west-1',
      endpoint: `${gateway.url}/bedrock`,
      credentials,
      maxAttempts: 1,
      requestHandler: overHttp as never,
    })
    let callId = ''
    // Its signature is with keys that are none; ours is beside it.
    client.middlewareStack.add(
      (next) => async (given) => {
        Object.assign((given.request as { headers: Record<string, string> }).headers, { 'x-litellm-api-key': key })
        const answer = await next(given)
        callId = (answer.response as { headers: Record<string, string> }).headers['x-litellm-call-id'] as string
        return answer
      },
      { step: 'build', name: 'gatewayKey' },
    )
    const spent = async () => (await gateway.ledger(callId))[0]?.spend
    const messages = [{ role: 'user' as const, content: [{ text: 'hi' }] }]
    const usage = { inputTokens: 1000, outputTokens: 100, totalTokens: 1100 }
    upstream.answer(
      json({ output: { message: { role: 'assistant', content: [{ text: 'yes' }] } }, stopReason: 'end_turn', usage }),
    )
    const whole = await client.send(new ConverseCommand({ modelId, messages }))
    expect(whole.output?.message?.content).toEqual([{ text: 'yes' }])
    expect(signatureHolds(last())).toBe(true)
    expect(await spent()).toBe(0.0012)
    const frames = Buffer.concat([
      awsEvent('messageStart', { role: 'assistant' }),
      awsEvent('contentBlockDelta', { contentBlockIndex: 0, delta: { text: 'yes' } }),
      awsEvent('messageStop', { stopReason: 'end_turn' }),
      awsEvent('metadata', { usage, metrics: { latencyMs: 1 } }),
    ])
    upstream.answer(
      (_, response) => void response.writeHead(200, { 'content-type': 'application/vnd.amazon.eventstream' }).end(frames),
    )
    let text = ''
    const streamed = await client.send(new ConverseStreamCommand({ modelId, messages }))
    for await (const event of streamed.stream ?? []) text += event.contentBlockDelta?.delta?.text ?? ''
    expect(text).toBe('yes')
    expect(await spent()).toBe(0.0012)
    const counted = { 'x-amzn-bedrock-input-token-count': '1000', 'x-amzn-bedrock-output-token-count': '100' }
    upstream.answer(json({ completion: '' }, 200, counted))
    const invoked = await client.send(
      new InvokeModelCommand({ modelId, contentType: 'application/json', body: '{"prompt":"x"}' }),
    )
    expect(invoked.body.transformToString()).toBe('{"completion":""}')
    expect(signatureHolds(last())).toBe(true)
    expect(await spent()).toBe(0.0012)
    client.destroy()
  })

  it('bills by configured prices, and keeps keys to the models they may use', async () => {
    upstream.answer(json({ model: 'dear', choices: [], usage: { prompt_tokens: 10, completion_tokens: 5 } }))
    const answered = await post('/mistral/v1/chat/completions', { model: 'dear', messages: [] })
    expect(await rowOf(answered.headers)).toMatchObject({ spend: 0.02, model_group: 'dear' })
    const narrow = await gateway.generateKey({ models: ['gpt-4o'] })
    const refused = await post('/mistral/v1/chat/completions', { model: 'dear', messages: [] }, { 'x-litellm-api-key': narrow })
    expect(refused.status).toBe(403)
    const hidden = async (body: string | Buffer) =>
      (
        await call('/mistral/v1/chat/completions', {
          method: 'POST',
          body,
          headers: { 'content-type': 'application/json', 'x-litellm-api-key': narrow },
        })
      ).status
    expect(await hidden(`\ufeff${' '.repeat(100)}{"model":"dear","messages":[]}`)).toBe(403)
    expect(await hidden(Buffer.from('{"model":"dear","messages":[]}', 'utf16le'))).toBe(400)
    const seen = upstream.seen.length
    const poor = await gateway.generateKey({ max_budget: 0.000001 })
    const broke = await post('/mistral/v1/chat/completions', { model: 'dear', messages: [] }, { 'x-litellm-api-key': poor })
    expect(broke.status).toBe(429)
    expect(upstream.seen.length).toBe(seen)
  })

  it('books a transcript once, when it is first seen done', async () => {
    const id = `t-${mode}`
    upstream.answer(json({ id, status: 'processing', audio_duration: null }))
    await call(`/assemblyai/v2/transcript/${id}`)
    upstream.answer(json({ id, status: 'completed', speech_model: 'best', audio_duration: 3600 }))
    for (let times = 0; times < 3; times += 1) await call(`/assemblyai/v2/transcript/${id}`).then((response) => response.text())
    expect(last()).toMatchObject({ url: `/v2/transcript/${id}`, headers: { authorization: 'assembly-key' } })
    const booked = `transcript-${createHash('sha256').update(`assemblyai/${id}`).digest('hex').slice(0, 32)}`
    const rows = await gateway.ledger(booked)
    expect(rows).toHaveLength(1)
    expect(rows[0]).toMatchObject({ spend: 0.27, custom_llm_provider: 'assemblyai' })
  })

  it('gives refusals and redirections as the provider wrote them', async () => {
    const text = '{"type":"error",  "error":{"type":"rate_limit_error"}}'
    upstream.answer(
      (_, response) => void response.writeHead(429, { 'content-type': 'application/json', 'retry-after': '7' }).end(text),
    )
    const refused = await post('/anthropic/v1/messages', { model: 'claude-sonnet-4-5', max_tokens: 1, messages: [] })
    expect([refused.status, refused.headers.get('retry-after'), await refused.text()]).toEqual([429, '7', text])
    expect(await rowOf(refused.headers)).toMatchObject({ status: 'failure', spend: 0 })
  })

  it('takes an upload of 30 MB, and gives it on byte by byte', async () => {
    const file = Buffer.alloc(30 * 1024 * 1024, 'turnpike ')
    upstream.answer(json({ ok: true }))
    const sent = await call('/cohere/v1/datasets', {
      method: 'POST',
      body: file,
      headers: { 'content-type': 'application/octet-stream' },
    })
    expect(sent.status).toBe(200)
    expect(last().body.equals(file)).toBe(true)
  }, 60_000)

  it('leaves the provider when the client leaves, and tells the client when the provider dies', async () => {
    const left = new Promise<void>((resolve) => {
      upstream.answer((_, response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: {}\n\n')
        response.on('close', resolve)
      })
    })
    const leaving = new AbortController()
    const body = JSON.stringify({ model: 'gpt-4o', stream: true, messages: [] })
    const init = { method: 'POST', body, headers: { 'content-type': 'application/json' } }
    const open = await call('/openai/v1/chat/completions', { ...init, signal: leaving.signal })
    await open.body?.getReader().read()
    leaving.abort()
    await left
    upstream.answer((_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: {"choices":[]}\n\n')
      setImmediate(() => response.destroy())
    })
    const broken = await call('/openai/v1/chat/completions', init)
    const told = await broken.text().catch(() => 'broken off')
    expect(told).not.toMatch(/\[DONE\]/)
    expect(await rowOf(broken.headers)).toMatchObject({ status: 'failure' })
  })

  it('serves a configured endpoint: what lies below it, its headers, its price', async () => {
    upstream.answer(json({ ok: true }))
    const answered = await post('/own/service/deep/er?asked=2', { a: 1 }, { authorization: `Bearer ${key}`, 'x-mine': 'no' })
    expect(answered.status).toBe(200)
    expect(last()).toMatchObject({ url: '/target/deep/er?fixed=1&asked=2', headers: { 'x-own': SECRET } })
    expect(last().headers['x-mine']).toBeUndefined()
    expect(JSON.stringify(last().headers)).not.toContain(key)
    expect(await rowOf(answered.headers)).toMatchObject({ spend: 0.25 })
    const stranger = await fetch(`${gateway.url}/own/service`, { method: 'POST', body: '{}' })
    expect(stranger.status).toBe(401)
    const up = await post('/own/service/..%2fsecret', {})
    expect([up.status, last().url]).toEqual([400, '/target/deep/er?fixed=1&asked=2'])
  })

  it('serves one without a key, by its methods alone', async () => {
    upstream.answer(json({ ok: true }))
    const answered = await fetch(`${gateway.url}/own/open?a=b`, { method: 'POST', body: '{}', headers: { 'x-mine': 'yes' } })
    expect(answered.status).toBe(200)
    expect(last()).toMatchObject({ url: '/open?a=b', headers: { 'x-mine': 'yes' } })
    expect((await fetch(`${gateway.url}/own/open`)).status).toBe(405)
    expect((await fetch(`${gateway.url}/own/open/below`, { method: 'POST' })).status).not.toBe(200)
  })
})

describe.each(MODES)('%s, clients with credentials of their own', (mode) => {
  it('passes them on and asks for no key, and takes endpoints that are added while it runs', async () => {
    const upstream = await startScripted()
    const config = {
      model_list: [
        { model_name: 'm', litellm_params: { model: 'openai/gpt-4o', api_base: `${upstream.url}/v1`, api_key: 'sk-ours' } },
      ],
      general_settings: { use_client_credentials_pass_through_routes: true },
    }
    const gateway = await openGateway(mode, { config: JSON.stringify(config) })
    try {
      upstream.answer(json({ ok: true }))
      const headers = { authorization: 'Bearer sk-theirs', 'content-type': 'application/json', 'x-litellm-api-key': 'sk-mine' }
      const theirs = await fetch(`${gateway.url}/openai/v1/models?key=k`, { headers })
      expect(theirs.status).toBe(200)
      expect(upstream.seen[0]).toMatchObject({ url: '/v1/models?key=k', headers: { authorization: 'Bearer sk-theirs' } })
      expect(JSON.stringify(upstream.seen[0]?.headers)).not.toMatch(/sk-ours|sk-mine/)

      const path = '/config/pass_through_endpoint'
      const endpoint = { path: '/added', target: `${upstream.url}/added`, headers: { 'x-secret': 'hidden-one' } }
      const added = (await gateway.admin('POST', path, endpoint)) as { endpoints: { id: string }[] }
      const id = added.endpoints[0]?.id as string
      expect(JSON.stringify(await gateway.admin('GET', path))).not.toContain('hidden-one')
      await until(async () => (await fetch(`${gateway.url}/added`, { method: 'POST', body: '{}' })).status === 200)
      expect(upstream.seen.at(-1)).toMatchObject({ url: '/added', headers: { 'x-secret': 'hidden-one' } })
      await gateway.admin('POST', `${path}/${id}`, { target: `${upstream.url}/moved` })
      await until(async () => {
        await fetch(`${gateway.url}/added`, { method: 'POST', body: '{}' })
        return upstream.seen.at(-1)?.url === '/moved'
      })
      expect(upstream.seen.at(-1)?.headers['x-secret']).toBe('hidden-one')
      await expect(gateway.admin('POST', path, { ...endpoint, path: '/key/generate' })).rejects.toThrow(/in the way of/)
      // Nothing the gateway serves itself can be covered.
      const { paths } = (await gateway.admin('GET', '/openapi.json')) as { paths: Record<string, unknown> }
      expect(Object.keys(paths).filter((one) => one !== '/' && builtIn(one) === null)).toEqual([])
      await gateway.admin('DELETE', `${path}?endpoint_id=${id}`)
      await until(async () => (await fetch(`${gateway.url}/added`, { method: 'POST', body: '{}' })).status !== 200)
    } finally {
      await gateway.stop()
      await upstream.stop()
    }
  }, 120_000)
})

/** Waits for what comes true within a second or so. */
async function until(condition: () => Promise<boolean>): Promise<void> {
  for (let times = 0; times < 100; times += 1) {
    if (await condition()) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error('it did not come true')
}

/** AWS's client speaks HTTP/2 to Bedrock unless it is told otherwise; here it speaks 1.1. */
const overHttp = {
  metadata: { handlerProtocol: 'http/1.1' },
  handle: (request: {
    hostname: string
    port?: number
    path: string
    method: string
    headers: Record<string, string>
    body?: unknown
  }) =>
    new Promise<unknown>((resolve, reject) => {
      const { hostname, port, path, method, headers } = request
      const sent = send({ hostname, port, path, method, headers }, (body) => {
        const named = Object.fromEntries(Object.entries(body.headers).map(([name, value]) => [name, String(value)]))
        resolve({ response: { statusCode: body.statusCode ?? 0, headers: named, body } })
      })
      sent.on('error', reject)
      sent.end(request.body)
    }),
}

/** AWS's signature of a request as it arrived, made again from its own words (Signature Version 4). */
function signatureHolds({ method, url, headers, body }: SeenRequest): boolean {
  const [, scope = '', names = '', signature] =
    /Credential=AKIDEXAMPLE\/([^,]+), ?SignedHeaders=([^,]+), ?Signature=(\w+)/.exec(headers.authorization ?? '') ?? []
  const hash = (data: string | Buffer): string => createHash('sha256').update(data).digest('hex')
  const hmac = (secret: string | Buffer, data: string): Buffer => createHmac('sha256', secret).update(data).digest()
  const lines = names.split(';').map((name) => `${name}:${String(headers[name]).trim()}\n`)
  const path = (url.split('?')[0] as string).split('/').map(encodeURIComponent).join('/')
  const request = [method, path, '', lines.join(''), names, hash(body)].join('\n')
  const text = ['AWS4-HMAC-SHA256', headers['x-amz-date'], scope, hash(request)].join('\n')
  const secret = scope.split('/').reduce<string | Buffer>((made, part) => hmac(made, part), `AWS4${SECRET}`)
  return hmac(secret, text).toString('hex') === signature
}
