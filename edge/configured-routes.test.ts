import { describe, expect, it } from 'vitest'
import type { ConfiguredEndpoint } from '../proto/carried.ts'
import { askingOf } from './auth/pass-through-key.ts'
import { configuredRoutes } from './configured-routes.ts'

function endpoint(path: string, fields: Partial<ConfiguredEndpoint> = {}): ConfiguredEndpoint {
  const flags = { subpaths: false, auth: false, forwardHeaders: false, mergeQuery: false }
  return {
    id: path,
    path,
    target: 'http://t',
    headers: {},
    cost: 0,
    keyHeader: null,
    keyIn: null,
    query: {},
    methods: null,
    ...flags,
    ...fields,
  }
}

describe('paths an operator configured', () => {
  const routes = configuredRoutes([
    endpoint('/a', { subpaths: true }),
    endpoint('/a/b', { subpaths: true, auth: true }),
    endpoint('/c'),
  ])
  const found = (path: string) => {
    const target = routes(path)
    return target?.kind === 'carried' ? [target.params['endpoint'], target.params['rest'], target.access?.isOpen] : null
  }

  it('are served themselves, and with what lies below where they say so', () => {
    expect(found('/a')).toEqual(['/a', '', true])
    expect(found('/a/x/y')).toEqual(['/a', '/x/y', true])
    expect(found('/a/b/x')).toEqual(['/a/b', '/x', false])
    expect(found('/ab')).toBeNull()
    expect(found('/c')).toEqual(['/c', '', true])
    expect(found('/c/')).toEqual(['/c', '/', true])
    expect(found('/c/x')).toBeNull()
  })
})

describe('a key in a place of one path', () => {
  const key = (headers: Record<string, string>, place: Parameters<typeof askingOf>[1], query = '') =>
    askingOf({ path: '/', query, headers, remoteAddress: '' }, place).headers['x-litellm-api-key']
  const nowhere = { in: null, header: null }

  it('is found in Basic authorization, in the address, in a header of its own, and without a scheme', () => {
    const basic = `Basic ${Buffer.from('sk-public:secret').toString('base64')}`
    expect(key({ authorization: basic }, { in: 'basic', header: null })).toBe('sk-public')
    expect(key({ authorization: basic }, nowhere)).toBeUndefined()
    expect(key({}, { in: 'query', header: null }, 'a=b&key=sk-1')).toBe('sk-1')
    expect(key({}, nowhere, 'key=sk-1')).toBeUndefined()
    expect(key({ 'x-own': 'sk-2' }, { in: null, header: 'x-own' })).toBe('sk-2')
    expect(key({ authorization: 'sk-3' }, nowhere)).toBe('sk-3')
  })

  it('gives way to one that is for the gateway alone', () => {
    expect(key({ litellm_user_api_key: 'sk-4', authorization: 'AWS4-HMAC-SHA256 x' }, nowhere)).toBe('sk-4')
    expect(key({ 'x-litellm-api-key': 'sk-5', litellm_user_api_key: 'sk-4' }, nowhere)).toBe('sk-5')
  })
})
