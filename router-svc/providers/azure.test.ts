import { describe, expect, it } from 'vitest'
import type { Deployment } from '../../proto/deployment.ts'
import { testClock } from '../../shared/clock.ts'
import { createSealer } from '../../shared/config/secrets.ts'
import { fromWire, GatewayError, openaiErrorBody, toWire, withMessage } from '../../shared/errors.ts'
import type { ChatChunk, ChatRequest } from '../canonical/chat.ts'
import { answer, chat, deployment, JSON_TYPE, make, STREAM, settings, sse } from '../handle.testkit.ts'
import { createStates } from '../routing/states.ts'
import { compileRuntime } from '../runtime.ts'
import { createProviders } from './index.ts'
import { PLAIN_TARGET } from './plain-target.ts'
import { decodePieces } from './provider.suite.ts'
import type { Provider, Target } from './provider.ts'

const BASE = 'https://res.openai.azure.com'
const CHAT = `${BASE}/openai/deployments/my-gpt/chat/completions?api-version=`
const azure = createProviders().get('azure') as Provider

const TARGET: Target = {
  ...PLAIN_TARGET,
  provider: 'azure',
  model: 'my-gpt',
  base: BASE,
}

function sent(fields: object, target: Partial<Target> = {}): Record<string, unknown> {
  const upstream = azure.chat?.encodeRequest({ ...chat, ...fields } as unknown as ChatRequest, { ...TARGET, ...target })
  return JSON.parse(upstream?.body as string) as Record<string, unknown>
}

function refused(run: () => unknown): GatewayError {
  try {
    run()
  } catch (thrown) {
    if (thrown instanceof GatewayError) return thrown
    throw thrown
  }
  throw new Error('nothing was refused')
}

describe('a request to Azure OpenAI', () => {
  const tools = [{ type: 'function', function: { name: 'f', parameters: {} } }]
  const response_format = { type: 'json_schema', json_schema: { name: 'x', schema: {} } }

  it('asks for usage only from the date on since which that is understood', () => {
    expect(sent({ stream: true }, { apiVersion: '2024-09-01-preview' })).toHaveProperty('stream_options')
    expect(sent({ stream: true }, { apiVersion: 'v1' })).toHaveProperty('stream_options')
    expect(sent({ stream: true }, { apiVersion: '2024-08-01-preview' })).not.toHaveProperty('stream_options')
  })

  it.each([
    ['tools', { tools }, '2023-05-15', '2023-12-01-preview'],
    ['tool_choice', { tools, tool_choice: 'required' }, '2024-05-01-preview', '2024-06-01'],
    ['response_format', { response_format }, '2024-06-01', '2024-08-01-preview'],
  ])('refuses %s by name before its date, leaves it out if told to, and sends it since', (name, fields, before, since) => {
    expect(refused(() => sent(fields, { apiVersion: before }))).toMatchObject({ code: 'unsupported_parameter', param: name })
    expect(sent(fields, { apiVersion: before, dropParams: true })).not.toHaveProperty(name)
    expect(sent(fields, { apiVersion: before, allowedOpenaiParams: [name] })).toHaveProperty(name)
    expect(sent(fields, { apiVersion: since })).toHaveProperty(name)
    expect(sent(fields)).toHaveProperty(name)
  })

  it('takes the rules of the model behind a deployment, whose own name says nothing', () => {
    const fields = { max_tokens: 5, temperature: 0.2 }
    expect(sent(fields, { dropParams: true })).toMatchObject(fields)
    const thinking = sent(fields, { dropParams: true, baseModel: 'azure/o3-mini' })
    expect(thinking).toMatchObject({ max_completion_tokens: 5 })
    expect(thinking).not.toHaveProperty('temperature')
    expect(thinking).not.toHaveProperty('max_tokens')
  })

  it('takes its own extra fields, and leaves those of the gateway here', () => {
    const data_sources = [{ type: 'azure_search', parameters: {} }]
    expect(sent({ data_sources, api_version: 'x', metadata: { a: 'b' } })).toEqual({ ...chat, model: 'my-gpt', data_sources })
  })
})

describe('an answer of Azure OpenAI', () => {
  const verdict = [{ prompt_index: 0, content_filter_results: { hate: { filtered: false, severity: 'safe' } } }]

  it('tells the verdict on the prompt with the first event that says something', () => {
    const decoder = azure.chat?.decodeStream?.({ id: 'ours', created: 1, model: 'm', request: {} })
    if (decoder === undefined) throw new Error('no stream')
    const { chunks, error } = decodePieces<ChatChunk>(decoder, [
      sse({ id: '', object: '', created: 0, model: '', choices: [], prompt_filter_results: verdict }),
      sse({ id: 'theirs', created: 5, model: 'gpt-4o', choices: [{ index: 0, delta: { content: 'a' }, finish_reason: null }] }),
      sse({ id: 'theirs', created: 5, model: 'gpt-4o', choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }),
      // The asynchronous filter speaks after the model has finished.
      sse({ id: '', choices: [{ index: 0, content_filter_offsets: { start_offset: 0 }, finish_reason: null }] }),
      sse('[DONE]'),
    ])
    expect(error).toBeNull()
    expect(chunks.map((chunk) => [chunk.id, chunk['prompt_filter_results'], chunk.choices[0]?.finish_reason])).toEqual([
      ['theirs', verdict, null],
      ['theirs', undefined, 'stop'],
      ['theirs', undefined, null],
    ])
  })

  it('that was refused says what the filter found', () => {
    const innererror = {
      code: 'ResponsibleAIPolicyViolation',
      content_filter_result: { violence: { filtered: true, severity: 'high' } },
    }
    const message = 'The response was filtered.'
    for (const code of ['content_filter', 'BadRequest']) {
      const error = azure.decodeError(
        400,
        {},
        JSON.stringify({ error: { code, message, param: 'prompt', type: null, innererror } }),
      )
      expect(error).toMatchObject({ code: 'content_policy', status: 400, retryable: false })
      // What fallbacks make of it and what crosses the bus says the same.
      for (const same of [withMessage(error, error.message), fromWire(toWire(error))]) {
        expect(openaiErrorBody(same)).toEqual(openaiErrorBody(error))
      }
      expect(openaiErrorBody(error).error).toMatchObject({
        message: `litellm.ContentPolicyViolationError: ContentPolicyViolationError: AzureException - ${message}`,
        code: '400',
        provider_specific_fields: { code, innererror },
      })
    }
  })

  it.each([
    [401, 'PermissionDenied', 'Access denied', 'provider_authentication'],
    [404, 'DeploymentNotFound', 'The API deployment for this resource does not exist.', 'provider_not_found'],
    [429, '429', 'Requests have exceeded token rate limit of your current OpenAI S0 pricing tier.', 'provider_rate_limited'],
    [429, 'RateLimitReached', 'Your requests have exceeded the rate limit.', 'provider_rate_limited'],
    [400, 'context_length_exceeded', 'This model has a limit.', 'context_window_exceeded'],
    [500, 'InternalServerError', 'Backend returned unexpected response.', 'provider_error'],
    [503, 'ServiceUnavailable', 'Try later.', 'provider_unavailable'],
  ])('of status %i and code %s is the error it is', (status, code, message, ours) => {
    const error = azure.decodeError(status, { 'retry-after-ms': '1500' }, JSON.stringify({ error: { code, message } }))
    expect(error).toMatchObject({ code: ours, retryAfter: 1500, providerCode: code })
  })
})

describe('a deployment of Azure', () => {
  const routeOf = (fields: Partial<Deployment>, env: Record<string, string>) => {
    const snapshot = { v: 1, revision: 1, deployments: [deployment('one', { provider: 'azure', ...fields })], settings }
    const clock = testClock()
    const runtime = compileRuntime(snapshot, {
      providers: createProviders(),
      sealer: createSealer(null),
      env,
      catalog: { prices: () => null, facts: () => null },
      states: createStates({ clock }),
    })
    return runtime.routes[0]
  }
  const env = { AZURE_API_BASE: `${BASE}/`, AZURE_API_KEY: 'k', AZURE_API_VERSION: '2024-06-01' }

  it('takes base, key and version from the environment where it names none itself', () => {
    const found = routeOf({ apiBase: null, apiKey: null }, env)
    expect(found).toMatchObject({ problem: null, target: { base: BASE, apiVersion: '2024-06-01' } })
    const own = routeOf({ apiBase: `${BASE}/openai/v1`, apiVersion: 'preview', baseModel: 'azure/gpt-4o' }, env)
    expect(own?.target).toMatchObject({ base: `${BASE}/openai/v1`, apiVersion: 'preview', baseModel: 'azure/gpt-4o' })
  })
})

describe('a call of an Azure deployment', () => {
  const entry = (fields: Partial<Deployment>) =>
    deployment('one', { provider: 'azure', model: 'my-gpt', apiBase: BASE, apiVersion: '2024-10-21', ...fields })

  it('goes to its address with its key, the body the client’s own bytes but for the model', async () => {
    const world = make([entry({})])
    const client = world.call('{ "messages":[{"role":"user","content":"hi"}],  "model":"gpt", "seed": 1e2 }')
    await expect.poll(() => world.sent.length).toBe(1)
    const { request, sink } = world.sent[0] as (typeof world.sent)[number]
    expect(request.url).toBe(`${CHAT}2024-10-21`)
    expect(request.headers).toMatchObject({ 'api-key': 'k', 'content-type': 'application/json' })
    expect(request.headers).not.toHaveProperty('authorization')
    const own = '{ "messages":[{"role":"user","content":"hi"}],  "model":"my-gpt", "seed": 1e2 }'
    expect(Buffer.from(request.body as Uint8Array).toString()).toBe(own)
    sink.head(200, JSON_TYPE)
    sink.data(answer({ prompt_filter_results: [] }))
    sink.end()
    await client.done
    expect(JSON.parse(client.text)).toMatchObject({ model: 'gpt', prompt_filter_results: [], usage: { total_tokens: 150 } })
    expect(world.events[0]).toMatchObject({ attempts: [{ provider: 'azure', outcome: 'success' }] })
  })

  it('carries a token of Entra ID where it has no key', async () => {
    const world = make([entry({ apiKey: null, settings: { azure_ad_token: 't' } })])
    const client = world.call({ ...chat, stream: true })
    await expect.poll(() => world.sent.length).toBe(1)
    const { request, sink } = world.sent[0] as (typeof world.sent)[number]
    expect(request.headers).toMatchObject({ authorization: 'Bearer t' })
    expect(request.headers).not.toHaveProperty('api-key')
    sink.head(200, STREAM)
    sink.data(sse({ id: '', choices: [], prompt_filter_results: [{ prompt_index: 0 }] }))
    sink.data(sse({ id: 'x', model: 'gpt-4o', choices: [{ index: 0, delta: { content: 'yes' }, finish_reason: 'stop' }] }))
    sink.data(sse('[DONE]'))
    sink.end()
    await client.done
    expect(client.text).toContain('"prompt_filter_results":[{"prompt_index":0}]')
    expect(client.text).toContain('"content":"yes"')
    expect(client.text.endsWith('data: [DONE]\n\n')).toBe(true)
  })

  it('that the filter refuses ends with its verdict, and is not tried again', async () => {
    const world = make([entry({}), entry({ id: 'two' })])
    const client = world.call(chat)
    await expect.poll(() => world.sent.length).toBe(1)
    const { sink } = world.sent[0] as (typeof world.sent)[number]
    const innererror = { code: 'ResponsibleAIPolicyViolation', content_filter_result: { hate: { filtered: true } } }
    sink.head(400, JSON_TYPE)
    sink.data(Buffer.from(JSON.stringify({ error: { code: 'content_filter', message: 'no', innererror } })))
    sink.end()
    await client.done
    expect(world.sent).toHaveLength(1)
    expect(client.head?.status).toBe(400)
    expect(JSON.parse(client.text)).toMatchObject({ error: { provider_specific_fields: { code: 'content_filter', innererror } } })
  })

  it('without a credential or a base is refused with what is missing, before anything is sent', async () => {
    for (const [fields, missing] of [
      [{ apiKey: null }, 'azure_ad_token'],
      [{ apiBase: null }, 'api_base'],
    ] as const) {
      const world = make([entry(fields)], { numRetries: 0 })
      const client = world.call(chat)
      await client.done
      expect(world.sent).toHaveLength(0)
      expect(client.text).toContain(missing)
    }
  })

  it('of a Foundry resource goes to the route for all models, and of a serverless endpoint to its own', async () => {
    for (const [apiBase, url, header] of [
      ['https://res.services.ai.azure.com', '/models/chat/completions?api-version=2024-05-01-preview', 'api-key'],
      ['https://llama.eastus.models.ai.azure.com', '/v1/chat/completions', 'authorization'],
    ] as const) {
      const world = make([deployment('one', { provider: 'azure_ai', model: 'grok-4', apiBase })])
      const client = world.call(chat)
      await expect.poll(() => world.sent.length).toBe(1)
      const { request, sink } = world.sent[0] as (typeof world.sent)[number]
      expect(request.url).toBe(apiBase + url)
      expect(request.headers[header]).toMatch(/^(Bearer )?k$/)
      expect(JSON.parse(request.body as string)).toEqual({ ...chat, model: 'grok-4' })
      sink.head(200, JSON_TYPE)
      sink.data(answer())
      sink.end()
      await client.done
      expect(JSON.parse(client.text)).toMatchObject({ choices: [{ message: { content: 'hello' } }] })
    }
  })
})
