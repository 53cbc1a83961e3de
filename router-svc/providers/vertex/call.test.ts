import { afterEach, describe, expect, it } from 'vitest'
import type { CallMessage } from '../../../proto/call.ts'
import type { Deployment } from '../../../proto/deployment.ts'
import { DEFAULT_ROUTING } from '../../../proto/routing.ts'
import { createSealer } from '../../../shared/config/secrets.ts'
import { createHttpClient } from '../../../shared/http/client.ts'
import { silentLog } from '../../../shared/log.ts'
import { type Answer, type Asked, serverOf, serviceAccountFile } from '../../credentials/google.testkit.ts'
import { createTokens } from '../../credentials/tokens.ts'
import { chat, deployment, make, settings } from '../../handle.testkit.ts'
import { noObserver } from '../../observe.ts'
import { createAffinity } from '../../routing/affinity.ts'
import { createSelector } from '../../routing/select.ts'
import { createStates } from '../../routing/states.ts'
import { compileRuntime } from '../../runtime.ts'
import { createProviders } from '../index.ts'

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
})

async function server(answer: (asked: Asked) => Answer) {
  const started = await serverOf(answer)
  closing.push(started.close)
  return started
}

/** The router's own handling of calls, over real connections. */
function gateway(deployments: Deployment[]) {
  const http = createHttpClient()
  closing.push(() => http.close())
  const tokens = createTokens({ http })
  return make(deployments, { numRetries: 0 }, (clock, { random }) => {
    const affinity = createAffinity({ clock })
    const states = createStates({ clock })
    states.use(deployments, DEFAULT_ROUTING)
    const runtime = compileRuntime(
      { v: 1, revision: 1, deployments, settings: { ...settings, numRetries: 0 } },
      {
        providers: createProviders(),
        sealer: createSealer(null),
        env: {},
        catalog: { prices: () => null, facts: () => null },
        states,
        tokens,
      },
    )
    const selector = createSelector({ clock, random, states, affinity, observe: noObserver, log: silentLog })
    return { http, runtime: () => runtime, selector, affinity }
  })
}

const USAGE = { promptTokenCount: 7, candidatesTokenCount: 2, totalTokenCount: 9 }
const piece = (words: string, finishReason?: string) => ({
  candidates: [{ content: { role: 'model', parts: [{ text: words }] }, ...(finishReason === undefined ? {} : { finishReason }) }],
  usageMetadata: USAGE,
})
const events = (...payloads: object[]) => ({
  headers: { 'content-type': 'text/event-stream' },
  body: payloads.map((payload) => `data: ${JSON.stringify(payload)}\r\n\r\n`).join(''),
})
const message = {
  id: 'msg_vrtx_1',
  type: 'message',
  role: 'assistant',
  model: 'claude-sonnet-4-5-20250929',
  content: [{ type: 'text', text: 'hello' }],
  stop_reason: 'end_turn',
  stop_sequence: null,
  usage: { input_tokens: 5, output_tokens: 3 },
}

/** Vertex as far as these tests go: what it is asked for tells what it answers. */
function answerOf({ path, body }: Asked): Answer {
  if (path.includes('/cut-off:')) return events(piece('hel'))
  if (path.endsWith(':streamGenerateContent?alt=sse')) return events(piece('hel'), piece('lo', 'STOP'))
  if (path.endsWith(':generateContent')) return { body: JSON.stringify(piece('hello', 'STOP')) }
  if (path.endsWith(':rawPredict')) return { body: JSON.stringify(message) }
  if (path.endsWith(':embedContent')) {
    const { content } = JSON.parse(body) as { content: { parts: { text: string }[] } }
    const vector = [Number(content.parts[0]?.text)]
    return { body: JSON.stringify({ embedding: { values: vector }, usageMetadata: { promptTokenCount: 1 } }) }
  }
  return { status: 404, body: JSON.stringify({ error: { code: 404, message: `no ${path}`, status: 'NOT_FOUND' } }) }
}

async function vertexAt() {
  const issuer = await server(() => ({ body: JSON.stringify({ access_token: 'the-token', expires_in: 3599 }) }))
  const service = await server(answerOf)
  const credentials = JSON.stringify(serviceAccountFile(issuer.url).json)
  const served = (model: string, fields: Partial<Deployment> = {}) =>
    deployment(model, {
      modelGroup: model,
      provider: 'vertex_ai',
      model,
      apiBase: service.url,
      apiKey: null,
      settings: { vertex_credentials: credentials, vertex_location: 'europe-west4' },
      ...fields,
    })
  return { issuer, service, served }
}

const PLACE = '/projects/file-project/locations/europe-west4'

describe('calls to Vertex', () => {
  it('are answered, whole and streamed, by models of every protocol, with one token for them all', async () => {
    const { issuer, service, served } = await vertexAt()
    const { call } = gateway([served('gemini-2.5-flash'), served('claude-sonnet-4-5@20250929'), served('gemini-embedding-2')])
    const ask = async (body: Record<string, unknown>, fields: Partial<CallMessage> = {}) => {
      const client = call(body, fields)
      await client.done
      expect(client.error).toBeNull()
      return client.text
    }
    const gemini = { ...chat, model: 'gemini-2.5-flash' }
    const claude = { ...chat, model: 'claude-sonnet-4-5@20250929', max_tokens: 10 }
    const vectors = { model: 'gemini-embedding-2', input: Array.from({ length: 20 }, (_, index) => String(index)) }
    const [whole, streamed, translated, own, embedded] = await Promise.all([
      ask(gemini),
      ask({ ...gemini, stream: true, stream_options: { include_usage: true } }),
      ask(claude),
      ask(claude, { endpoint: 'anthropic_messages' }),
      ask(vectors, { endpoint: 'aembedding' }),
    ])
    expect(JSON.parse(whole)).toMatchObject({
      choices: [{ message: { content: 'hello' }, finish_reason: 'stop' }],
      usage: { prompt_tokens: 7, completion_tokens: 2 },
    })
    expect(streamed).toContain('"content":"hel"')
    expect(streamed).toContain('"prompt_tokens":7,"completion_tokens":2')
    expect(streamed.trimEnd().endsWith('data: [DONE]')).toBe(true)
    expect(JSON.parse(translated)).toMatchObject({ choices: [{ message: { content: 'hello' } }], usage: { prompt_tokens: 5 } })
    expect(JSON.parse(own)).toEqual({ ...message, model: claude.model })
    const { data, usage } = JSON.parse(embedded) as { data: { index: number; embedding: number[] }[]; usage: object }
    expect(data.map(({ index, embedding }) => [index, embedding])).toEqual(
      vectors.input.map((text, index) => [index, [Number(text)]]),
    )
    expect(usage).toEqual({ prompt_tokens: 20, completion_tokens: 0, total_tokens: 20 })

    expect(issuer.asked).toHaveLength(1)
    expect(service.asked).toHaveLength(24)
    expect(new Set(service.asked.map(({ headers }) => headers.authorization))).toEqual(new Set(['Bearer the-token']))
    expect(new Set(service.asked.map(({ path }) => path))).toEqual(
      new Set([
        `/v1beta1${PLACE}/publishers/google/models/gemini-2.5-flash:generateContent`,
        `/v1beta1${PLACE}/publishers/google/models/gemini-2.5-flash:streamGenerateContent?alt=sse`,
        `/v1${PLACE}/publishers/anthropic/models/claude-sonnet-4-5@20250929:rawPredict`,
        `/v1beta1${PLACE}/publishers/google/models/gemini-embedding-2:embedContent`,
      ]),
    )
    const claudes = service.asked.filter(({ path }) => path.includes('anthropic')).map(({ body }) => JSON.parse(body) as object)
    for (const sent of claudes)
      expect(sent).toMatchObject({ anthropic_version: 'vertex-2023-10-16', max_tokens: 10, messages: [{ role: 'user' }] })
    for (const sent of claudes) expect(sent).not.toHaveProperty('model')
  })

  it('that are refused, cut off or not for this model say so', async () => {
    const { service, served } = await vertexAt()
    const { call } = gateway([served('gemini-2.5-flash'), served('cut-off'), served('openai/123'), served('claude-3-haiku')])
    const missing = call({ ...chat, model: 'openai/123' })
    await missing.done
    expect(missing.text + JSON.stringify(missing.error)).toMatch(/NotFoundError: (\w+: )?VertexAIException - no \/v1\/projects/)
    expect(service.asked[0]?.path).toBe(`/v1${PLACE}/endpoints/123/chat/completions`)

    const cut = call({ ...chat, model: 'cut-off', stream: true })
    await cut.done
    expect(cut.text).not.toContain('"finish_reason":"stop"')
    expect(cut.text + JSON.stringify(cut.error)).toMatch(/before it was complete|provider_truncated/)

    const vectors = call({ model: 'claude-3-haiku', input: 'x' }, { endpoint: 'aembedding' })
    await vectors.done
    expect(vectors.text + JSON.stringify(vectors.error)).toContain('The model claude-3-haiku does not serve /v1/embeddings')
  })

  it('stand still where the credential is wrong: the call fails with what is wrong, and nothing is sent', async () => {
    const { service, served } = await vertexAt()
    const { call } = gateway([served('gemini-2.5-flash', { settings: { vertex_credentials: '{"private_key":"hidden"' } })])
    const client = call({ ...chat, model: 'gemini-2.5-flash' })
    await client.done
    const said = client.text + JSON.stringify(client.error)
    expect(said).toContain('vertex_credentials')
    expect(said).not.toContain('hidden')
    expect(service.asked).toEqual([])
  })
})
