import { describe, expect, it } from 'vitest'
import { openaiRealtime } from '../providers/openai/realtime.ts'
import type { Route } from '../runtime.ts'
import type { CarriedRequest, CarriedTools, Finder } from './carrier.ts'
import { realtimeSessions } from './realtime-sessions.ts'

function requestOf(pattern: string, fields: Partial<CarriedRequest> & { value?: Record<string, unknown> } = {}): CarriedRequest {
  const { value, ...rest } = fields
  return {
    method: 'POST',
    path: pattern,
    query: '',
    params: {},
    endpoint: 'arealtime_client_secrets',
    pattern,
    headers: {},
    body: Buffer.from(value === undefined ? 'v=0' : JSON.stringify(value)),
    json: () => value ?? null,
    form: async () => null,
    identity: { maxBudget: null, limits: [] } as unknown as CarriedRequest['identity'],
    ...rest,
  }
}

function routeOf(realtime: Route['provider']['realtime'] = openaiRealtime): Route {
  return {
    model: 'gpt-realtime',
    provider: { realtime },
    deployment: { modelGroup: 'voice', provider: 'openai' },
    target: { base: 'https://api.openai.com/v1', model: 'gpt-realtime', settings: {} },
  } as unknown as Route
}

async function carried(request: CarriedRequest, route = routeOf()) {
  const finder = { byModel: () => route } as unknown as Finder
  const choice = await realtimeSessions.choose(request, finder, {} as never)
  const answer = await realtimeSessions.serve(request, choice, {} as CarriedTools)
  if (answer.kind !== 'forward') throw new Error('not forwarded')
  return { choice, ...answer.upstream }
}

describe('what is asked about realtime sessions', () => {
  it('goes to the deployment of the model the session names, under the name it has there', async () => {
    const value = {
      expires_after: { seconds: 60 },
      session: { type: 'realtime', model: 'alias', audio: { output: { voice: 'marin' } } },
    }
    const { choice, url, body } = await carried(requestOf('/v1/realtime/client_secrets', { value }))
    expect(choice).toMatchObject({ model: 'alias', modelGroup: 'voice' })
    expect(url).toBe('https://api.openai.com/v1/realtime/client_secrets')
    expect(JSON.parse(String(body))).toEqual({ ...value, session: { ...value.session, model: 'gpt-realtime' } })
    expect(value.session.model).toBe('alias')
  })

  it('may name the model that writes down what it hears', async () => {
    const value = { input_audio_transcription: { model: 'heard' } }
    const { url, body } = await carried(requestOf('/v1/realtime/transcription_sessions', { value }))
    expect(url).toBe('https://api.openai.com/v1/realtime/transcription_sessions')
    expect(JSON.parse(String(body))).toEqual({ input_audio_transcription: { model: 'gpt-realtime' } })
  })

  it('may be a form with an offer, or the offer alone with the model in the address', async () => {
    const form = async () => ({ sdp: 'v=0', session: JSON.stringify({ model: 'alias' }) })
    const call = await carried(requestOf('/v1/realtime/calls', { form }))
    const sent = await new Response(call.body as Uint8Array<ArrayBuffer>, { headers: call.headers }).formData()
    expect([sent.get('sdp'), sent.get('session')]).toEqual(['v=0', '{"model":"gpt-realtime"}'])
    const bare = await carried(
      requestOf('/v1/realtime/calls', { query: 'model=alias', headers: { 'content-type': 'application/sdp' } }),
    )
    expect([bare.url, String(bare.body)]).toEqual(['https://api.openai.com/v1/realtime/calls?model=gpt-realtime', 'v=0'])
  })

  it('is refused without a model, with a provider that has no sessions, and to keys whose budget would not count', async () => {
    const value = { session: { model: 'alias' } }
    await expect(carried(requestOf('/v1/realtime/calls'))).rejects.toMatchObject({ code: 'bad_request', param: 'model' })
    const other = { ...routeOf(), provider: {}, deployment: { provider: 'cohere' } } as unknown as Route
    await expect(carried(requestOf('/v1/realtime/calls', { value }), other)).rejects.toMatchObject({
      code: 'unsupported_endpoint',
    })
    const identity = { maxBudget: 5, limits: [] } as unknown as CarriedRequest['identity']
    await expect(carried(requestOf('/v1/realtime/calls', { value, identity }))).rejects.toMatchObject({ code: 'route_denied' })
  })

  it.each([
    ['/v1/realtime/sessions', { session: { model: 'alias' }, model: 'dear' }, ''],
    ['/v1/realtime/client_secrets', { session: { model: 'alias' } }, 'model=dear'],
    ['/v1/realtime/transcription_sessions', { model: 'alias', input_audio_transcription: { model: 'dear' } }, ''],
    [
      '/v1/realtime/client_secrets',
      { session: { type: 'transcription', model: 'alias', audio: { input: { transcription: { model: 'dear' } } } } },
      '',
    ],
  ])('names one model, wherever the provider reads it: %s', async (pattern, value, query) => {
    await expect(carried(requestOf(pattern, { value, query }))).rejects.toThrow(/names two models/)
  })

  it('may have what a model hears written down by another', async () => {
    const session = { model: 'alias', audio: { input: { transcription: { model: 'heard' } } } }
    const { body } = await carried(requestOf('/v1/realtime/client_secrets', { value: { session } }))
    expect(JSON.parse(String(body)).session).toEqual({ ...session, model: 'gpt-realtime' })
  })

  it('is no body that only the provider can read', async () => {
    const body = Buffer.from('{"session":{"model":"dear"}}', 'utf16le')
    const request = requestOf('/v1/realtime/client_secrets', {
      query: 'model=alias',
      body,
      headers: { 'content-type': 'application/json' },
    })
    await expect(carried(request)).rejects.toThrow(/not valid JSON/)
  })
})
