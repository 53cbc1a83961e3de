import { describe, expect, it } from 'vitest'
import type { GatewayError } from '../../shared/errors.ts'
import { type CallFields, callOf, SETTINGS } from './call.testkit.ts'
import { cacheControls } from './controls.ts'

const read = (body: Record<string, unknown> = {}, fields: CallFields = {}, settings = {}) =>
  cacheControls(callOf(body, fields).call, { ...SETTINGS, ...settings })

function refusal(run: () => unknown): GatewayError {
  try {
    run()
  } catch (thrown) {
    return thrown as GatewayError
  }
  throw new Error('nothing was refused')
}

describe('cache controls', () => {
  it('are the settings’ where a call says nothing', () => {
    expect(read()).toEqual({ read: true, write: true, ttl: 60_000, maxAge: null, namespace: null })
    expect(read({ cache: null }, {}, { namespace: 'blue', ttl: 5 })).toMatchObject({ namespace: 'blue', ttl: 5 })
  })

  it('are read from the body', () => {
    expect(read({ cache: { ttl: 2.5, 's-maxage': 10, namespace: 'n' } })).toMatchObject({
      ttl: 2_500,
      maxAge: 10_000,
      namespace: 'n',
    })
    expect(read({ cache: { 'no-cache': true } })).toMatchObject({ read: false, write: true })
    expect(read({ cache: { 'no-store': true } })).toMatchObject({ read: true, write: false })
    expect(read({ cache: { 'no-store': false, 'no-cache': null } })).toMatchObject({ read: true, write: true })
    expect(read({ ttl: 7 })).toMatchObject({ ttl: 7_000 })
  })

  it('are read from the header, and the body beats it', () => {
    expect(read({}, { headers: { 'cache-control': 'No-Cache, max-age=0' } })).toMatchObject({ read: false, write: true })
    expect(read({}, { headers: { 'cache-control': 'no-store,s-maxage=30' } })).toMatchObject({ write: false, ttl: 30_000 })
    expect(read({ ttl: 7 }, { headers: { 'cache-control': 's-maxage=30' } })).toMatchObject({ ttl: 7_000 })
    expect(read({ cache: { 'no-cache': false } }, { headers: { 'cache-control': 'no-cache' } })).toMatchObject({ read: true })
  })

  it('opt in where nothing is cached by default, and out where everything is', () => {
    const off = { defaultOn: false }
    expect(read({}, {}, off)).toMatchObject({ read: false, write: false })
    expect(read({ cache: { 'use-cache': true } }, {}, off)).toMatchObject({ read: true, write: true })
    expect(read({ cache: { 'use-cache': true, 'no-store': true } }, {}, off)).toMatchObject({ read: true, write: false })
    expect(read({ cache: { 'use-cache': false } })).toMatchObject({ read: false, write: false })
  })

  it('take the namespace of the request, its metadata, its key and the settings, in this order', () => {
    const identity = { routing: { cacheNamespace: 'key' } }
    const settings = { namespace: 'settings' }
    const metadata = { redis_namespace: 'metadata' }
    expect(read({ metadata, cache: { namespace: 'request' } }, { identity }, settings).namespace).toBe('request')
    expect(read({ metadata }, { identity }, settings).namespace).toBe('metadata')
    expect(read({}, { identity }, settings).namespace).toBe('key')
    expect(read({}, {}, settings).namespace).toBe('settings')
  })

  it.each([
    [{ cache: 'no' }, 'cache'],
    [{ cache: [] }, 'cache'],
    [{ cache: { no_cache: true } }, 'cache.no_cache'],
    [{ cache: { ttl: '5' } }, 'cache.ttl'],
    [{ cache: { ttl: 0 } }, 'cache.ttl'],
    [{ cache: { ttl: -1 } }, 'cache.ttl'],
    [{ ttl: 'x' }, 'cache.ttl'],
    [{ cache: { 's-maxage': -1 } }, 'cache.s-maxage'],
    [{ cache: { 's-maxage': 1e12 } }, 'cache.s-maxage'],
    [{ cache: { 'no-cache': 'true' } }, 'cache.no-cache'],
    [{ cache: { 'no-store': 1 } }, 'cache.no-store'],
    [{ cache: { 'use-cache': 'yes' } }, 'cache.use-cache'],
    [{ cache: { namespace: '' } }, 'cache.namespace'],
    [{ cache: { namespace: 'a\r\nx-evil: 1' } }, 'cache.namespace'],
    [{ cache: { namespace: 'x'.repeat(129) } }, 'cache.namespace'],
    [{ metadata: { redis_namespace: 5 } }, 'metadata.redis_namespace'],
  ])('refuse what is malformed: %j', (body, param) => {
    const error = refusal(() => read(body))
    expect([error.code, error.status, error.param]).toEqual(['bad_request', 400, param])
  })

  it('refuse a lifetime in the header that is no number', () => {
    expect(refusal(() => read({}, { headers: { 'cache-control': 's-maxage=soon' } })).param).toBe('cache.ttl')
  })

  it('are only those a key may use', () => {
    const identity = { cacheControls: ['no-cache', 'ttl'] }
    expect(read({ cache: { 'no-cache': true, ttl: 5 } }, { identity })).toMatchObject({ read: false, ttl: 5_000 })
    const error = refusal(() => read({ cache: { 'no-store': true } }, { identity }))
    expect([error.code, error.status, error.param]).toEqual(['cache_control_denied', 403, 'cache.no-store'])
    expect(error.message).toContain("'no-store'")
    const named = refusal(() => read({ metadata: { redis_namespace: 'n' } }, { identity }))
    expect([named.code, named.param]).toEqual(['cache_control_denied', 'metadata.redis_namespace'])
    expect(refusal(() => read({}, { identity, headers: { 'cache-control': 'no-store' } })).status).toBe(403)
    expect(read({ cache: { 'no-store': true } }, { identity: { cacheControls: [] } })).toMatchObject({ write: false })
  })
})
