import { describe, expect, it } from 'vitest'
import type { ConfiguredEndpoint } from '../../proto/carried.ts'
import { adminIdentity, type Identity } from '../../proto/identity.ts'
import type { Route } from '../runtime.ts'
import type { CarriedRequest, CarriedTools, Finder } from './carrier.ts'
import { configured } from './configured.ts'

const ENDPOINT: ConfiguredEndpoint = {
  id: 'one',
  path: '/own',
  target: 'https://target.example/api',
  headers: { authorization: 'sealed' },
  subpaths: true,
  cost: 0,
  auth: true,
  keyHeader: null,
  keyIn: null,
  forwardHeaders: false,
  mergeQuery: false,
  query: {},
  methods: null,
}
const NARROW: Identity = { ...adminIdentity('narrow'), role: 'internal_user', models: ['cheap'] }

async function sent(said: Partial<CarriedRequest>, identity: Identity) {
  const request: CarriedRequest = {
    method: 'POST',
    path: '/own',
    query: '',
    params: { endpoint: 'one', rest: '' },
    endpoint: 'pass_through_endpoint',
    pattern: '{configured}',
    headers: {},
    body: Buffer.alloc(0),
    json: () => null,
    form: async () => null,
    identity,
    ...said,
  }
  const route = { provider: {}, deployment: { provider: 'custom_openai' }, target: { settings: {} } } as unknown as Route
  const runtime = { settings: { configuredEndpoints: [ENDPOINT] }, prices: () => null, aliased: (name: string) => name }
  const find = { runtime, bare: () => route, open: () => 'Bearer theirs', anyModel: identity.models.length === 0 }
  const choice = await configured.choose(request, find as unknown as Finder, {} as never)
  const answer = await configured.serve(request, choice, {} as CarriedTools)
  if (answer.kind !== 'forward') throw new Error('not forwarded')
  return answer.upstream
}

describe('a configured endpoint', () => {
  it('lets no client say where a request goes or ends, or who asks', async () => {
    const headers = {
      'x-pass-host': 'inside.example',
      'x-pass-content-length': '0',
      'x-pass-transfer-encoding': 'chunked',
      'x-pass-': 'x',
      'x-pass-authorization': 'Bearer mine',
      'x-pass-x-tenant': 't',
    }
    const upstream = await sent({ headers }, adminIdentity('anybody'))
    expect(upstream.headers).toEqual({ authorization: 'Bearer theirs', 'x-tenant': 't' })
  })

  it('takes no body it cannot read from a key that may use some models alone', async () => {
    const body = Buffer.from('{"model":"dear"}', 'utf16le')
    await expect(sent({ body }, NARROW)).rejects.toMatchObject({ code: 'bad_request' })
    const form = { body: Buffer.from('x'), form: async () => ({ model: 'dear' }) }
    await expect(sent(form, NARROW)).rejects.toMatchObject({ code: 'model_denied' })
    expect((await sent({ body }, adminIdentity('anybody'))).url).toBe('https://target.example/api')
  })
})
