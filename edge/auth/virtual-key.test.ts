import { afterEach, describe, expect, it } from 'vitest'
import type { Identity, IdentityRequest } from '../../proto/identity.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import { createMemoryHub, type MemoryHub } from '../../shared/bus/memory.ts'
import { type TestClock, testClock } from '../../shared/clock.ts'
import { hashKey } from '../../shared/config/secrets.ts'
import { silentLog } from '../../shared/log.ts'
import { createMetrics } from '../../shared/metrics.ts'
import { EDGE_DEFAULTS } from '../edge.ts'
import { identityOf } from '../testing.ts'
import { createKeyGuesses, type From, type GuessSettings, type KeyGuesses, networkOf } from './key-guesses.ts'
import { createIdentities, type Identities, type IdentitySettings } from './virtual-key.ts'

let hub: MemoryHub
let clock: TestClock
let accounting: Bus
let identities: Identities
let guesses: KeyGuesses
let asked: string[]
let known: Map<string, Identity>
let answer: () => Promise<void>
let limits: GuessSettings
/** From where a key comes. */
const HERE: From = { remoteAddress: '203.0.113.1', headers: {} }

function start(settings: Partial<IdentitySettings> = {}): void {
  clock = testClock()
  hub = createMemoryHub({ clock, log: silentLog })
  accounting = hub.join('accounting')
  asked = []
  known = new Map()
  answer = async () => {}
  limits = {}
  accounting.respond(accounting.subjects.identity, 'accounting', async (payload) => {
    const { keyHash } = payload as IdentityRequest
    asked.push(keyHash)
    const identity = known.get(keyHash)
    await answer()
    return identity === undefined ? { v: 1, unknown: true } : { v: 1, identity }
  })
  guesses = createKeyGuesses({ clock, settings: () => limits, metrics: createMetrics(), addresses: 3 })
  identities = createIdentities({
    bus: hub.join('edge'),
    clock,
    log: silentLog,
    settings: { ...EDGE_DEFAULTS, ...settings },
    guesses,
  })
}

function add(key: string, fields: Partial<Identity> = {}): void {
  known.set(hashKey(key), identityOf({ keyHash: hashKey(key), ...fields }))
}

/** What resolving ends in, sync or async. */
async function resolve(key: string, from = HERE): Promise<Identity> {
  return identities.resolve(key, from)
}

async function delivered(): Promise<void> {
  await new Promise((done) => setImmediate(done))
}

/** A question about a key that accounting has read and answers, as of then, once it is released. */
async function underWay(key: string): Promise<{ answered: Promise<Identity>; release: () => void }> {
  const held = Promise.withResolvers<void>()
  answer = () => held.promise
  const answered = resolve(key)
  await delivered()
  return { answered, release: held.resolve }
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
    expect(identities.resolve('sk-a', HERE)).not.toBeInstanceOf(Promise)
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

  it('ask anew after a change, though a question from before it is on its way', async () => {
    start()
    add('sk-a')
    const { answered: before, release } = await underWay('sk-a')
    add('sk-a', { blocked: true })
    accounting.announce('identity', { keyHash: hashKey('sk-a') })
    await delivered()
    const after = resolve('sk-a')
    const together = resolve('sk-a')
    release()
    expect([await before, await after, await together].map(({ blocked }) => blocked)).toEqual([false, true, true])
    expect(asked.length).toBe(2)
    expect(identities.holds('sk-a')).toBe(true)
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

  it('are asked for anew where a change names them by hash or team, and only then', async () => {
    start()
    add('sk-a', { teamId: 't1' })
    add('sk-b', { teamId: 't2' })
    add('sk-c')
    for (const key of ['sk-a', 'sk-b', 'sk-c']) await resolve(key)
    accounting.announce('identity', { keyHash: hashKey('sk-c') })
    accounting.announce('identity', { teamId: 't1' })
    await delivered()
    expect(['sk-a', 'sk-b', 'sk-c'].map((key) => identities.holds(key))).toEqual([false, true, false])
    for (const key of ['sk-a', 'sk-b', 'sk-c', 'sk-a', 'sk-b', 'sk-c']) await resolve(key)
    expect(asked.length).toBe(5)
    accounting.announce('identity', {})
    await delivered()
    expect(identities.size).toBe(0)
  })

  it('keep an answer that was under way when a change of somebody else came', async () => {
    start()
    add('sk-a')
    const { answered, release } = await underWay('sk-a')
    accounting.announce('identity', { keyHash: hashKey('sk-b') })
    await delivered()
    release()
    await answered
    expect(identities.holds('sk-a')).toBe(true)
  })

  it('do not keep an answer that was under way when a change came', async () => {
    start()
    add('sk-a')
    const { answered, release } = await underWay('sk-a')
    accounting.announce('identity', { keyHash: hashKey('sk-a') })
    await delivered()
    release()
    await answered
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

describe('guessing', () => {
  const from = (remoteAddress: string, headers: Record<string, string> = {}): From => ({ remoteAddress, headers })
  const guess = async (key: string, where = HERE): Promise<unknown> => resolve(key, where).catch((thrown) => thrown)
  const guessMany = async (count: number, where = HERE, name = 'guess'): Promise<unknown[]> => {
    const all = []
    for (let each = 0; each < count; each += 1) all.push(await guess(`sk-${name}-${each}`, where))
    return all
  }

  it('is slowed by address: past the burst a key nobody holds is not asked for', async () => {
    start()
    add('sk-known')
    await resolve('sk-known')
    add('sk-new')
    for (const error of await guessMany(50)) expect(error).toMatchObject({ code: 'unknown_key' })
    const before = asked.length
    expect(await guess('sk-new')).toMatchObject({ code: 'rate_limited', status: 429, retryAfter: 1_000 })
    expect(asked.length).toBe(before)
    expect(identities.resolve('sk-known', HERE)).not.toBeInstanceOf(Promise)
    // Still an answer of its own, though the address is out of tokens: nothing is asked for it.
    expect(await guess('sk-guess-49')).toMatchObject({ code: 'unknown_key' })
    expect(await guess('sk-new', from('203.0.113.2'))).toMatchObject({ keyHash: hashKey('sk-new') })
    clock.advance(1_000)
    expect(await guess('sk-other')).toMatchObject({ code: 'unknown_key' })
    expect(await guess('sk-another')).toMatchObject({ code: 'rate_limited' })
  })

  it('costs nothing for keys that prove known, nor for one unknown key again and again', async () => {
    start()
    for (let each = 0; each < 200; each += 1) add(`sk-known-${each}`)
    for (let each = 0; each < 200; each += 1) await resolve(`sk-known-${each}`)
    for (let each = 0; each < 200; each += 1) expect(await guess('sk-lost')).toMatchObject({ code: 'unknown_key' })
    expect(await guess('sk-lost-too')).toMatchObject({ code: 'unknown_key' })
  })

  it('of a held key goes on when it is to be asked for again', async () => {
    start({ identityTtl: 1_000 })
    add('sk-known')
    await resolve('sk-known')
    await guessMany(50)
    clock.advance(1_000)
    await guessMany(50, HERE, 'more')
    expect(await guess('sk-known')).toMatchObject({ keyHash: hashKey('sk-known') })
  })

  it('of many keys at once runs into debt, of at most the burst', async () => {
    start()
    const all = await Promise.all(Array.from({ length: 500 }, (_, each) => guess(`sk-${each}`)))
    expect(all.filter((error) => (error as { code: string }).code === 'unknown_key').length).toBe(500)
    expect(await guess('sk-next')).toMatchObject({ code: 'rate_limited', retryAfter: 51_000 })
    clock.advance(51_000)
    expect(await guess('sk-next')).toMatchObject({ code: 'unknown_key' })
  })

  it('counts by the nearest proxy where one is trusted, and by the network of an IPv6 client', async () => {
    start()
    limits = { useForwardedFor: true, unknownKeys: { burst: 1, perSecond: 0.1 } }
    await guess('sk-1', from('10.0.0.1', { 'x-forwarded-for': '1.1.1.1, 198.51.100.7' }))
    expect(await guess('sk-2', from('10.0.0.1', { 'x-forwarded-for': '2.2.2.2, 198.51.100.7' }))).toMatchObject({
      code: 'rate_limited',
      retryAfter: 10_000,
    })
    expect(await guess('sk-2', from('10.0.0.1', { 'x-forwarded-for': '198.51.100.8' }))).toMatchObject({ code: 'unknown_key' })
    expect(guesses.size).toBe(2)
    expect(networkOf('2001:db8:0:7:1::2')).toBe('2001:db8:0:7::/64')
    expect(networkOf('2001:0db8:0000:0007:ffff::1')).toBe('2001:db8:0:7::/64')
    expect(networkOf('[2001:db8::1]:443')).toBe('2001:db8:0:0::/64')
    expect(networkOf('::1')).toBe('0:0:0:0::/64')
    expect(networkOf('::ffff:203.0.113.9')).toBe('203.0.113.9')
    expect(networkOf('0000:0000:0000:0000:0000:ffff:cb00:7109')).toBe('203.0.113.9')
  })

  it('holds a bounded number of addresses, and is not slowed where the burst is 0', async () => {
    start()
    for (let each = 0; each < 10; each += 1) await guess('sk-x', from(`203.0.113.${each}`))
    for (let each = 0; each < 10; each += 1) await guess(`sk-x-${each}`, from(`203.0.113.${each}`))
    expect(guesses.size).toBe(3)
    limits = { unknownKeys: { burst: 0, perSecond: 1 } }
    for (const error of await guessMany(300)) expect(error).toMatchObject({ code: 'unknown_key' })
  })
})
