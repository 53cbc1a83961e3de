import { describe, expect, it } from 'vitest'
import { adminIdentity, type Identity } from '../../proto/identity.ts'
import { isFields } from '../providers/json.ts'
import type { Route } from '../runtime.ts'
import type { CarriedRequest, Finder } from './carrier.ts'
import { passThrough } from './pass-through.ts'

const NARROW: Identity = { ...adminIdentity('narrow'), role: 'internal_user', models: ['cheap'] }
const BUDGETED: Identity = { ...adminIdentity('budgeted'), role: 'internal_user', maxBudget: 1 }

function finder({ models }: Identity): Finder {
  const route = (provider: string): Route =>
    ({
      model: '',
      apiBase: null,
      headers: {},
      credential: null,
      target: { base: `https://api.${provider}.example/v1`, settings: {} },
      deployment: { id: 'd', provider, model: '', modelGroup: '', apiBase: null, prices: null, settings: {}, accessGroups: [] },
    }) as unknown as Route
  const runtime = { routes: [], aliased: (name: string) => name, prices: () => null }
  return { runtime, anyModel: models.length === 0, byProvider: route } as unknown as Finder
}

interface Said {
  identity?: Identity
  body?: string | Buffer
  query?: string
  headers?: Record<string, string>
}

/** The model a call is admitted and booked as. */
async function chosen(path: string, { identity = NARROW, body = '', query = '', headers = {} }: Said = {}): Promise<string> {
  const bytes = Buffer.from(body as string)
  let value: unknown = null
  try {
    value = JSON.parse(bytes.toString('utf8'))
  } catch {}
  const request: CarriedRequest = {
    method: 'POST',
    path,
    query,
    params: {},
    endpoint: 'pass_through_endpoint',
    pattern: `/${path.split('/')[1]}/{rest}`,
    headers: { 'content-type': 'application/json', ...headers },
    body: bytes,
    json: () => (isFields(value) ? value : null),
    form: async () => null,
    identity,
  }
  return (await passThrough.choose(request, finder(identity), {} as never)).model
}

describe('whose model a call in a provider’s own words is', () => {
  it.each([
    ['/gemini/v1beta/%6dodels/dear:generateContent', {}],
    ['/gemini/v1beta/Models/dear:generateContent', {}],
    ['/gemini/v1beta/tunedModels/dear:generateContent', {}],
    ['/azure/openai/Deployments/dear/chat/completions', { body: '{"model":"cheap"}' }],
    ['/openai/v1/chat/completions', { body: '{"model":"cheap","model_id":"dear"}' }],
    ['/watsonx/ml/v1/text/chat', { body: '{"model":"cheap","model_id":"dear"}' }],
    ['/assemblyai/v2/transcript', { body: '{"speech_model":"cheap","speech_models":["dear"]}' }],
    ['/openai/v1/realtime/calls', { body: 'v=0', query: 'model=dear', headers: { 'content-type': 'application/sdp' } }],
    ['/vertex_ai/v1/projects/p/locations/global/endpoints/openapi/chat/completions', { body: '{"model":"dear"}' }],
  ])('is asked of every place the provider may read: %s', async (path, said) => {
    await expect(chosen(path, said)).rejects.toMatchObject({ code: 'model_denied' })
  })

  it('is billed as the one the provider reads', async () => {
    const identity = BUDGETED
    expect(await chosen('/watsonx/ml/v1/text/chat', { identity, body: '{"model":"a","model_id":"b"}' })).toBe('b')
    expect(await chosen('/gemini/v1beta/models/m%3AgenerateContent', { identity })).toBe('m')
    const openapi = '/vertex_ai/v1/projects/p/locations/global/endpoints/openapi/chat/completions'
    expect(await chosen(openapi, { identity, body: '{"model":"google/m"}' })).toBe('google/m')
  })

  it('is not asked of a body that only the provider can read', async () => {
    const path = '/openai/v1/chat/completions'
    const identity = BUDGETED
    const compressed = { identity, body: 'x', headers: { 'content-encoding': 'gzip' } }
    await expect(chosen(path, compressed)).rejects.toThrow(/may not be compressed/)
    const wide = Buffer.from('{"model":"dear"}', 'utf16le')
    await expect(chosen(path, { identity, body: wide as never })).rejects.toThrow(/not valid JSON/)
    const file = { identity, body: 'x', headers: { 'content-type': 'application/octet-stream' } }
    expect(await chosen('/openai/v1/uploads/u/parts', file)).toBe('openai')
  })
})

describe('what a call in a provider’s own words costs', () => {
  it.each(['fields=candidates', '$fields=candidates', 'alt=proto', '%24alt=proto', 'callback=f'])(
    'may not be hidden by %s',
    async (query) => {
      const path = '/gemini/v1beta/models/cheap:generateContent'
      await expect(chosen(path, { query })).rejects.toThrow(/would hide/)
      expect(await chosen(path, { query: '$alt=json;enum-encoding=int' })).toBe('cheap')
      expect(await chosen(path, { query: 'alt=sse' })).toBe('cheap')
    },
  )

  it('may not come later for callers with a budget, or with some models alone', async () => {
    for (const [path, body] of [
      ['/openai/v1/batches', '{}'],
      ['/openai/v1/threads/t/runs', '{}'],
      ['/anthropic/v1/messages/batches', '{"requests":[]}'],
      ['/openai/v1/responses', '{"model":"cheap","background":true}'],
      ['/gemini/v1beta/models/cheap:batchGenerateContent', '{}'],
    ] as const) {
      await expect(chosen(path, { identity: BUDGETED, body }), path).rejects.toMatchObject({ code: 'route_denied' })
    }
    await expect(chosen('/openai/v1/batches', { body: '{}' })).rejects.toMatchObject({ code: 'route_denied' })
    expect(await chosen('/openai/v1/batches', { identity: adminIdentity('anybody'), body: '{}' })).toBe('openai')
    expect(await chosen('/openai/v1/responses', { identity: BUDGETED, body: '{"model":"cheap"}' })).toBe('cheap')
  })
})
