import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { readMemory } from '../../loadtest/cpu.ts'
import { ENDPOINTS } from '../../proto/endpoints.ts'
import { type Gateway, openGateway } from './gateway.ts'
import { type ScriptedUpstream, startScripted } from './pass-through-upstream.ts'

/** Fields of a request that would say where it goes, or on whose account. */
const FIELDS = ['api_base', 'base_url', 'api_key', 'user_config'] as const
/** Adapters with a way of their own to send a picture or a document. */
const PROVIDERS = [
  'openai',
  'openai_like',
  'anthropic',
  'gemini',
  'ollama',
  'mistral',
  'cohere_chat',
  'groq',
  'xai',
  'deepseek',
] as const
const CHAT = '/v1/chat/completions'
const MB = 1024 * 1024

type Body = Record<string, unknown>

let provider: ScriptedUpstream
/** Whoever asks here was led astray. */
let trap: ScriptedUpstream
let gateway: Gateway
let key = ''

beforeAll(async () => {
  provider = await startScripted()
  trap = await startScripted()
  const config = {
    model_list: PROVIDERS.map((name) => ({
      model_name: name,
      litellm_params: { model: `${name}/some-model`, api_base: provider.url, api_key: 'sk-of-the-deployment' },
    })),
    router_settings: { num_retries: 0 },
  }
  gateway = await openGateway('embedded', {
    config: JSON.stringify(config),
    env: { OPENAI_API_BASE: provider.url, OPENAI_API_KEY: 'k' },
  })
  key = await gateway.generateKey({})
}, 60_000)
afterAll(async () => {
  await gateway?.stop()
  await provider?.stop()
  await trap?.stop()
})
beforeEach(() => {
  provider.answer((_, response) => void response.writeHead(500).end())
  provider.seen.length = 0
})

async function post(
  path: string,
  body: Body | FormData,
  headers: Record<string, string> = {},
): Promise<{ status: number; text: string }> {
  const isForm = body instanceof FormData
  const response = await fetch(gateway.url + path, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, ...(isForm ? {} : { 'content-type': 'application/json' }), ...headers },
    body: isForm ? body : JSON.stringify(body),
    redirect: 'manual',
  })
  return { status: response.status, text: await response.text() }
}

const messages = [{ role: 'user', content: 'hello' }]

describe('a request that says where it goes', () => {
  const rows = ENDPOINTS.map(({ path, body }) => ({ path: path.replace(/\{\w+\}/g, 'openai'), body }))

  it('is refused on every inference route, and reaches neither that place nor a provider', async () => {
    const wrong: unknown[] = []
    for (const { path, body } of rows) {
      for (const field of FIELDS) {
        const said: Body = { [field]: field === 'user_config' ? { model_list: [] } : trap.url }
        const fields = {
          model: 'openai',
          messages,
          input: 'x',
          prompt: 'x',
          max_tokens: 1,
          contents: [{ parts: [{ text: 'x' }] }],
        }
        const told = [await post(path, { ...fields, ...said }), await post(path, { ...fields, extra_body: said })]
        if (body === 'form') {
          const form = new FormData()
          form.append('model', 'openai')
          form.append(field, trap.url)
          told.push(await post(path, form))
        }
        for (const { status, text } of told) if (status !== 401 || !text.includes(field)) wrong.push([path, field, status, text])
      }
    }
    expect(wrong).toEqual([])
    expect(provider.seen).toEqual([])
    expect(trap.seen).toEqual([])
  }, 60_000)

  it('goes nowhere else, whichever other corner it says it in', async () => {
    const there = { api_base: trap.url, base_url: trap.url, api_key: 'k', custom_host: trap.url }
    const corners: [string, Body, Record<string, string>?][] = [
      ['fallbacks', { fallbacks: [{ model: 'openai', ...there }, 'groq'] }],
      ['metadata', { metadata: there, litellm_metadata: there }],
      ['litellm_params', { litellm_params: there, model_info: there, deployment: there }],
      [
        'other credentials',
        { aws_bedrock_runtime_endpoint: trap.url, vertex_api_base: trap.url, azure_endpoint: trap.url, organization: trap.url },
      ],
      ['a proxy', { proxy: trap.url, http_proxy: trap.url, callback_url: trap.url, webhook: trap.url, webhook_url: trap.url }],
      ['tools', { tools: [{ type: 'mcp', server_label: 'x', server_url: trap.url }] }],
      [
        'a header',
        {},
        {
          'x-litellm-api-base': trap.url,
          'x-portkey-custom-host': trap.url,
          'x-forwarded-host': trap.url.slice(7),
          host: trap.url.slice(7),
        },
      ],
      [
        'a config of its own',
        {},
        { 'x-portkey-config': JSON.stringify({ targets: [{ provider: 'openai', custom_host: trap.url, api_key: 'k' }] }) },
      ],
      ['an override', {}, { 'x-portkey-config': JSON.stringify({ targets: [{ override_params: there }] }) }],
      ['the model’s name', { model: `openai/@${trap.url.slice(7)}/x` }],
      ['a prefix', { model: `${trap.url}/v1` }],
    ]
    for (const [, body, headers] of corners) {
      await post(CHAT, { model: 'openai', messages, ...body }, headers)
      await post('/v1/responses', { model: 'openai', input: 'x', ...body }, headers)
    }
    expect(trap.seen).toEqual([])
    expect(provider.seen.filter(({ headers }) => headers.authorization !== 'Bearer sk-of-the-deployment')).toEqual([])
  })

  it('does not leave its provider by a path either', async () => {
    const { host } = new URL(trap.url)
    for (const rest of [
      `/${host}/x`,
      `@${host}/x`,
      `//${host}/x`,
      '..%2f..%2f',
      '%2e%2e/%2e%2e/x',
      '../x',
      `\\\\${host}\\x`,
      `x?u=@${host}`,
      `http://${host}/x`,
    ]) {
      const response = await fetch(`${gateway.url}/openai/${rest}`, { headers: { authorization: `Bearer ${gateway.masterKey}` } })
      await response.arrayBuffer()
    }
    expect(trap.seen).toEqual([])
  })

  it('is refused, too, where the operator would let clients bring credentials: it is not supported', async () => {
    await gateway.admin('POST', '/config/update', { general_settings: { allow_client_side_credentials: true } })
    await expect
      .poll(async () => (await post(CHAT, { model: 'openai', messages, api_base: trap.url })).status, { timeout: 5_000 })
      .toBe(400)
    for (const field of FIELDS) expect((await post(CHAT, { model: 'openai', messages, [field]: trap.url })).status).toBe(400)
    await gateway.admin('POST', '/config/update', { general_settings: { allow_client_side_credentials: false } })
    expect(trap.seen).toEqual([])
  })
})

describe('an address in a request', () => {
  it('is never fetched by the gateway, in whatever part and for whichever provider', async () => {
    const url = `${trap.url}/picture.png`
    const parts: Body[] = [
      { type: 'image_url', image_url: { url } },
      { type: 'image_url', image_url: url },
      { type: 'file', file: { file_id: url } },
      { type: 'file', file: { file_data: url, filename: 'a.pdf' } },
      { type: 'video_url', video_url: { url } },
      { type: 'audio_url', audio_url: { url } },
      { type: 'input_audio', input_audio: { data: url, format: 'wav' } },
    ]
    for (const model of PROVIDERS) {
      await Promise.all(
        parts.map((part) => post(CHAT, { model, messages: [{ role: 'user', content: [{ type: 'text', text: 'x' }, part] }] })),
      )
      const source = { type: 'url', url }
      await post('/v1/messages', {
        model,
        max_tokens: 9,
        messages: [
          {
            role: 'user',
            content: [
              { type: 'image', source },
              { type: 'document', source },
            ],
          },
        ],
      })
      const content = [
        { type: 'input_image', image_url: url },
        { type: 'input_file', file_url: url },
      ]
      await post('/v1/responses', { model, input: [{ role: 'user', content }] })
      await post(`/v1beta/models/${model}:generateContent`, {
        contents: [{ role: 'user', parts: [{ fileData: { fileUri: url, mimeType: 'image/png' } }] }],
      })
    }
    for (const path of [
      '/v1/images/edits',
      '/v1/images/variations',
      '/v1/audio/transcriptions',
      '/v1/videos',
      '/v1/embeddings',
      '/v1/rerank',
      '/v1/moderations',
    ])
      await post(path, {
        model: 'openai',
        prompt: 'x',
        image: url,
        image_url: url,
        file: url,
        url,
        input: [{ type: 'image_url', image_url: { url } }],
        query: 'x',
        documents: [url],
      })
    expect(trap.seen).toEqual([])
    // Some of them went on to those who may fetch it.
    expect(provider.seen.length).toBeGreaterThan(PROVIDERS.length)
  }, 60_000)
})

describe('an answer of a provider', () => {
  it('that leads elsewhere is not followed', async () => {
    for (const status of [301, 302, 303, 307, 308]) {
      provider.answer((_, response) => void response.writeHead(status, { location: `${trap.url}/x` }).end())
      for (const stream of [false, true]) {
        const told = await post(CHAT, { model: 'openai', stream, messages })
        expect([status, told.status >= 400]).toEqual([status, true])
      }
    }
    expect(trap.seen).toEqual([])
    expect(provider.seen.length).toBe(10)
  })

  it('that is compressed, though nobody asked for it, is refused as it is: nothing is unpacked', async () => {
    const bomb = gzipSync(Buffer.alloc(64 * MB))
    const before = readMemory(process.pid).rss
    for (const stream of [false, true]) {
      for (const model of ['openai', 'anthropic', 'gemini']) {
        provider.answer((_, response) => {
          const type = stream ? 'text/event-stream' : 'application/json'
          response.writeHead(200, { 'content-type': type, 'content-encoding': 'gzip' }).end(bomb)
        })
        const { status, text } = await post(CHAT, { model, stream, messages })
        expect([model, stream, status >= 500 || text.includes('"error"')]).toEqual([model, stream, true])
      }
    }
    expect(provider.seen.map(({ headers }) => headers['accept-encoding'] ?? 'identity')).toEqual(Array(6).fill('identity'))
    expect(readMemory(process.pid).rss - before).toBeLessThan(128 * MB)
  }, 60_000)
})
