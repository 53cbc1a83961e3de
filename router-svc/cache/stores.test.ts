import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { CacheReply } from '../../proto/cache.ts'
import type { CacheSettings } from '../../proto/routing.ts'
import { createMemoryHub, type MemoryHub } from '../../shared/bus/memory.ts'
import { systemClock } from '../../shared/clock.ts'
import { createSealer } from '../../shared/config/secrets.ts'
import { createHttpClient, type HttpClient } from '../../shared/http/client.ts'
import { type Log, silentLog } from '../../shared/log.ts'
import { createRedis } from '../../shared/redis.ts'
import { settings as runtimeSettings } from '../handle.testkit.ts'
import { answerOf } from './cache.suite.ts'
import { noCacheCounts } from './cache-counts.ts'
import { callOf, SETTINGS } from './call.testkit.ts'
import { CREDENTIALS, REGION, startFakeS3 } from './fake-s3.testkit.ts'
import { createResponseCache } from './response-cache.ts'
import { type CacheStores, createCacheStores, type StoresDeps } from './stores.ts'

const url = process.env['TURNPIKE_TEST_REDIS_URL'] ?? ''
const sealer = createSealer('salt')

let http: HttpClient
let directory: string
let logged: string[]
let stores: CacheStores
let deps: StoresDeps

beforeEach(async () => {
  http = createHttpClient()
  directory = await mkdtemp(join(tmpdir(), 'turnpike-stores-'))
  logged = []
  const log: Log = {
    ...silentLog,
    error: (fields, text) => void logged.push(`${text} ${JSON.stringify(fields)}`),
    warn: (_, text) => void logged.push(text),
    child: () => log,
  }
  deps = {
    clock: systemClock,
    log,
    counts: noCacheCounts,
    http,
    sealer,
    env: {},
    redis: null,
    redisUrl: null,
    prefix: `t${randomBytes(6).toString('hex')}`,
    directory,
    embed: null,
  }
  stores = createCacheStores(deps)
})

afterEach(async () => {
  await stores.close()
  await http.close()
  await rm(directory, { recursive: true })
})

const settings = (changes: Partial<CacheSettings> = {}): CacheSettings => ({ ...SETTINGS, ...changes })

describe('the store in force', () => {
  it('stays, with its answers, while settings ask for the same place, and is another when they do not', async () => {
    const first = stores.of(settings())
    await first?.cache.set('k', answerOf(), 60_000)
    expect(stores.of(settings({ ttl: 5, namespace: 'n', tenancy: 'key' }))).toBe(first)
    const smaller = stores.of(settings({ maxEntries: 5 }))
    expect(smaller).not.toBe(first)
    expect(await smaller?.cache.get('k')).toBeNull()
  })

  it('is none where the one asked for cannot be opened, and not the one before', async () => {
    expect(stores.of(settings())).not.toBeNull()
    const sealed = createSealer('another secret').seal(url)
    expect(stores.of(settings({ type: 'redis', redisUrl: sealed }))).toBeNull()
    expect(stores.of(settings())).not.toBeNull()
  })

  it('is closed when settings ask for none any more, and opened when they do again', async () => {
    let wanted: CacheSettings | null = settings({ type: 'redis', redisUrl: sealer.seal(url) })
    const hub = createMemoryHub({ clock: systemClock, log: silentLog, strict: true })
    const told: string[] = []
    const log: Log = { ...silentLog, info: (_, text) => void told.push(text), child: () => log }
    const cache = createResponseCache({ ...deps, log, bus: hub.join('router'), settings: () => wanted })
    const runtime = () => ({ settings: { ...runtimeSettings, cache: wanted } })
    const begin = () => cache.begin(callOf({ model: 'gpt' }).call, runtime())
    cache.closeUnused()
    await begin()
    cache.closeUnused()
    expect(told).toEqual(['the response cache is open'])
    const before = wanted
    wanted = null
    expect(begin()).toBeNull()
    cache.closeUnused()
    cache.closeUnused()
    expect(told).toEqual(['the response cache is open', 'the response cache is closed'])
    wanted = before
    await begin()
    expect(told.at(-1)).toBe('the response cache is open')
    await cache.stop()
    await hub.close()
  })

  it('closes the connection of its own when there is none any more', async () => {
    const store = stores.of(settings({ type: 'redis', redisUrl: sealer.seal(url) }))
    await new Promise<void>((resolve) => void store?.redis?.onReady(resolve))
    stores.none()
    await expect.poll(() => store?.redis?.call('PING').then(String, () => 'closed')).toBe('closed')
  })

  it('is on disk where settings say so, in the folder of the process where they name none', async () => {
    await stores.of(settings({ type: 'disk' }))?.cache.set('k', answerOf(), 60_000)
    expect(await readdir(join(directory, 'cache'))).toHaveLength(1)
    await stores.of(settings({ type: 'disk', directory: join(directory, 'own') }))?.cache.set('k', answerOf(), 60_000)
    expect(await readdir(join(directory, 'own'))).toHaveLength(1)
  })

  it('is a Redis of its own, whose address is sealed; a semantic one without vector search compares here and says so', async () => {
    const own = {
      type: 'semantic' as const,
      redisUrl: sealer.seal(url),
      semantic: { threshold: 0.9, embeddingModel: 'e', store: 'redis' as const, index: 'i' },
    }
    stores = createCacheStores({ ...deps, embed: async () => Float32Array.from([1]) })
    const store = stores.of(settings(own))
    await new Promise<void>((resolve) => void store?.redis?.onReady(resolve))
    expect(store?.shared).toBe(true)
    expect(store?.semantic).not.toBeNull()
    await store?.cache.set('k', answerOf(), 60_000)
    expect(await store?.cache.get('k')).toEqual(answerOf())
    await store?.vectors?.add('p', Float32Array.from([1]), 'k', 1_000)
    const searches = await store?.redis?.call('FT._LIST').then(
      () => true,
      () => false,
    )
    if (searches === false) expect(logged).toEqual([expect.stringContaining('cannot search vectors')])
    await store?.raw.flush()
  })

  it('stays when its secrets were sealed anew, and uses the connection of the counters where that is the same', async () => {
    const redis = createRedis({ url, log: silentLog })
    stores = createCacheStores({ ...deps, redis, redisUrl: url })
    const first = stores.of(settings({ type: 'redis', redisUrl: sealer.seal(url) }))
    expect(first?.redis).toBe(redis)
    expect(stores.of(settings({ type: 'redis', redisUrl: sealer.seal(url) }))).toBe(first)
    expect(stores.of(settings({ type: 'redis', redisUrl: sealer.seal(`${url}/1`) }))?.redis).not.toBe(redis)
    expect(stores.of(settings({ type: 'redis' }))?.redis).toBe(redis)
    await redis.close()
  })

  it('is a bucket, with the credentials of the settings or of the environment', async () => {
    const s3 = await startFakeS3('bucket')
    const place = {
      bucket: 'bucket',
      prefix: 'p',
      endpoint: s3.endpoint,
      region: null,
      accessKeyId: null,
      secretAccessKey: null,
      sessionToken: null,
    }
    try {
      const { accessKeyId, secretAccessKey, sessionToken } = CREDENTIALS
      const env = {
        AWS_ACCESS_KEY_ID: accessKeyId,
        AWS_SECRET_ACCESS_KEY: secretAccessKey,
        AWS_SESSION_TOKEN: sessionToken,
        AWS_REGION: REGION,
      }
      const fromEnvironment = createCacheStores({ ...deps, env })
      await fromEnvironment.of(settings({ type: 's3', s3: place }))?.raw.set('a', answerOf(), 60_000)
      const sealed = {
        accessKeyId,
        secretAccessKey: sealer.seal(secretAccessKey),
        sessionToken: sealer.seal(sessionToken),
        region: REGION,
      }
      expect(await stores.of(settings({ type: 's3', s3: { ...place, ...sealed } }))?.raw.get('a')).toEqual(answerOf())
      expect([...s3.objects.keys()]).toEqual([expect.stringMatching(/^p\/[0-9a-f]{64}\.json$/)])
      await fromEnvironment.close()
    } finally {
      await s3.close()
    }
  })

  it.each([
    ['redis', {}, 'needs a Redis'],
    ['s3', {}, 'needs a bucket'],
    ['redis', { redisUrl: 'http://:hunter2@x' }, 'redis://'],
  ] as const)('is none when it cannot be opened (%s), which the log says once and without secrets', (type, changes, reason) => {
    const wanted = settings({ type, ...changes })
    expect(stores.of(wanted)).toBeNull()
    expect(stores.of(wanted)).toBeNull()
    expect(stores.of({ ...wanted })).toBeNull()
    expect(logged).toHaveLength(1)
    expect(logged[0]).toContain(reason)
    expect(logged[0]).not.toContain('hunter2')
  })
})

describe('the cache over the bus', () => {
  let hub: MemoryHub
  beforeEach(() => {
    hub = createMemoryHub({ clock: systemClock, log: silentLog, strict: true })
  })
  afterEach(() => hub.close())

  const open = (wanted: CacheSettings | null, changes: Partial<StoresDeps> = {}) =>
    createResponseCache({ ...deps, ...changes, bus: hub.join('router'), settings: () => wanted })
  const ask = (what: string, keys?: string[]): Promise<CacheReply> => {
    const bus = hub.join('accounting')
    return bus.request(
      bus.subjects.cache,
      { v: 1, what, ...(keys === undefined ? {} : { keys }) },
      { timeout: 5_000 },
    ) as Promise<CacheReply>
  }

  it('is asked how it does, and keeps and gives back something to find out', async () => {
    const cache = open(settings({ type: 'disk' }))
    expect(await ask('ping')).toEqual({ v: 1, type: 'disk', facts: { entries: 0, bytes: 0 } })
    expect(await readdir(join(directory, 'cache'))).toHaveLength(1)
    await cache.stop()
  })

  it('says why it cannot do what it is asked', async () => {
    const none = open(null)
    expect(await ask('ping')).toMatchObject({
      error: { code: 'cache_away', message: expect.stringContaining('not initialized') },
    })
    await none.stop()
    const memory = open(settings())
    expect(await ask('info')).toMatchObject({ error: { code: 'bad_request' } })
    await memory.stop()
    const away = open(settings({ type: 'redis', redisUrl: 'redis://127.0.0.1:1' }))
    for (const what of ['ping', 'info', 'flush', 'delete'])
      expect(await ask(what, ['k'])).toMatchObject({ error: { code: 'cache_away' } })
    await away.stop()
  })

  it('deletes keys and flushes in every router that holds its own', async () => {
    const routers = [createCacheStores(deps), createCacheStores(deps)]
    const { serveCache } = await import('./serve-cache.ts')
    const wanted = settings()
    const services = routers.map((of) =>
      serveCache({ bus: hub.join('router'), stores: of, settings: () => wanted, clock: systemClock, log: silentLog }),
    )
    const fill = () =>
      Promise.all(routers.flatMap((of) => ['a', 'b'].map((key) => of.of(wanted)?.cache.set(key, answerOf(), 60_000))))
    const left = async () =>
      (await Promise.all(routers.flatMap((of) => ['a', 'b'].map((key) => of.of(wanted)?.cache.get(key))))).map(
        (answer) => answer !== null,
      )
    const accounting = hub.join('accounting')
    await fill()
    expect(await ask('delete', ['a'])).toMatchObject({ facts: { deleted: 1 } })
    accounting.announce('cache', { v: 1, keys: ['a'] })
    await expect.poll(left).toEqual([false, true, false, true])
    await fill()
    await ask('flush')
    accounting.announce('cache', { v: 1, keys: null })
    await expect.poll(left).toEqual([false, false, false, false])
    await Promise.all(services.map((service) => service.stop()))
    await Promise.all(routers.map((of) => of.close()))
  })

  it('tells of its Redis', async () => {
    const cache = open(settings({ type: 'redis', redisUrl: url }))
    await expect
      .poll(() => ask('info'), { timeout: 5_000 })
      .toMatchObject({ facts: { info: { redis_version: expect.any(String) } } })
    const reply = (await ask('info')) as unknown as { facts: { clients: Record<string, string>[] } }
    expect(reply.facts.clients[0]).toHaveProperty('addr')
    await cache.stop()
  })
})
