import { afterEach, describe, expect, it } from 'vitest'
import type { Identity, IdentityRequest } from '../../proto/identity.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import { createMemoryHub, type MemoryHub } from '../../shared/bus/memory.ts'
import { type TestClock, testClock } from '../../shared/clock.ts'
import { hashKey } from '../../shared/config/secrets.ts'
import { silentLog } from '../../shared/log.ts'
import { EDGE_DEFAULTS } from '../edge.ts'
import { identityOf } from '../testing.ts'
import { createIdentities, type Identities, type IdentitySettings } from './virtual-key.ts'

let hub: MemoryHub
let clock: TestClock
let accounting: Bus
let identities: Identities
let asked: string[]
let known: Map<string, Identity>
let answer: () => Promise<void>

function start(settings: Partial<IdentitySettings> = {}): void {
  clock = testClock()
  hub = createMemoryHub({ clock, log: silentLog })
  accounting = hub.join('accounting')
  asked = []
  known = new Map()
  answer = async () => {}
  accounting.respond(accounting.subjects.identity, 'accounting', async (payload) => {
    const { keyHash } = payload as IdentityRequest
    asked.push(keyHash)
    const identity = known.get(keyHash)
    await answer()
    return identity === undefined ? { v: 1, unknown: true } : { v: 1, identity }
  })
  identities = createIdentities({ bus: hub.join('edge'), clock, log: silentLog, settings: { ...EDGE_DEFAULTS, ...settings } })
}

function add(key: string, fields: Partial<Identity> = {}): void {
  known.set(hashKey(key), identityOf({ keyHash: hashKey(key), ...fields }))
}

/** What resolving ends in, sync or async. */
async function resolve(key: string): Promise<Identity> {
  return identities.resolve(key)
}

async function delivered(): Promise<void> {
  await new Promise((done) => setImmediate(done))
}

afterEach(async () => {
  await identities.stop()
  await hub.close()
})

describe('identities', () => {
  it('ask once, by hash, and answer at once while fresh', async () => {
    start({ identityTtl: 1_000 })
    add('sk-a')
    await resolve('sk-a')
    expect(asked).toEqual([hashKey('sk-a')])
    clock.advance(999)
    expect(identities.resolve('sk-a')).not.toBeInstanceOf(Promise)
    clock.advance(1)
    await resolve('sk-a')
    expect(asked.length).toBe(2)
  })

  it('ask one question for many callers at once', async () => {
    start()
    add('sk-a')
    const found = await Promise.all([resolve('sk-a'), resolve('sk-a'), resolve('sk-a')])
    expect(new Set(found).size).toBe(1)
    expect(asked.length).toBe(1)
  })

  it('remember an unknown key for a short while only, with the error clients know and no whole key in it', async () => {
    start({ identityNegativeTtl: 500 })
    const error = await resolve('sk-0123456789abcdef').catch((thrown) => thrown)
    expect(error).toMatchObject({ status: 401, type: 'token_not_found_in_db', param: 'key' })
    expect(error.message).toMatch(
      /^Authentication Error, Invalid proxy server token passed. Received API Key = sk-...cdef, Key Hash \(Token\) =/,
    )
    expect(error.message).not.toContain('0123456789')
    await expect(resolve('sk-0123456789abcdef')).rejects.toThrow()
    expect(asked.length).toBe(1)
    clock.advance(500)
    add('sk-0123456789abcdef')
    await resolve('sk-0123456789abcdef')
    expect(asked.length).toBe(2)
  })

  it('tell a credential that is no key what a key looks like, without echoing it', async () => {
    start()
    const error = await resolve('my-password').catch((thrown) => thrown)
    expect(error).toMatchObject({ status: 401, type: 'auth_error' })
    expect(error.message).toMatch(
      /^Authentication Error, LiteLLM Virtual Key expected. Received=...\*\*\*\*, expected to start with 'sk-'.$/,
    )
  })

  it('drop what a change names by hash or team, and only that', async () => {
    start()
    add('sk-a', { teamId: 't1' })
    add('sk-b', { teamId: 't2' })
    add('sk-c')
    for (const key of ['sk-a', 'sk-b', 'sk-c']) await resolve(key)
    accounting.announce('identity', { keyHash: hashKey('sk-c') })
    accounting.announce('identity', { teamId: 't1' })
    await delivered()
    expect(identities.size).toBe(1)
    await resolve('sk-b')
    expect(asked.length).toBe(3)
    accounting.announce('identity', {})
    await delivered()
    expect(identities.size).toBe(0)
  })

  it('do not keep an answer that was under way when a change came', async () => {
    start()
    add('sk-a')
    let release = () => {}
    answer = () =>
      new Promise((done) => {
        release = done
      })
    const first = resolve('sk-a')
    await delivered()
    accounting.announce('identity', { keyHash: hashKey('sk-a') })
    await delivered()
    release()
    await first
    expect(identities.size).toBe(0)
  })

  it('go on with the last known identity while accounting is away, for its time, and refuse strangers with 503', async () => {
    start({ identityTtl: 1_000, identityStaleTtl: 10_000 })
    add('sk-a')
    await resolve('sk-a')
    hub.faults.kill(accounting.id)
    const away = async (key: string) => {
      const result = resolve(key).catch((thrown) => thrown)
      for (let step = 0; step < 12; step++) {
        await delivered()
        clock.advance(100)
      }
      return result
    }
    clock.advance(1_000)
    expect(await away('sk-a')).toMatchObject({ keyHash: hashKey('sk-a') })
    expect(await away('sk-b')).toMatchObject({ code: 'accounting_away', status: 503, type: 'no_db_connection', retryAfter: 1000 })
    clock.advance(10_000)
    expect(await away('sk-a')).toMatchObject({ code: 'accounting_away' })
  })

  it('stay within their bound, and keep those in use', async () => {
    start({ identityCacheSize: 3 })
    for (const key of ['sk-a', 'sk-b', 'sk-c', 'sk-d']) add(key)
    for (const key of ['sk-a', 'sk-b', 'sk-c']) await resolve(key)
    await resolve('sk-a')
    await resolve('sk-d')
    expect(identities.size).toBe(3)
    const before = asked.length
    await resolve('sk-a')
    expect(asked.length).toBe(before)
    await resolve('sk-b')
    expect(asked.length).toBe(before + 1)
  })
})
