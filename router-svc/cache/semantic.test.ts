import { describe, expect, it } from 'vitest'
import type { CacheSettings } from '../../proto/routing.ts'
import { testClock } from '../../shared/clock.ts'
import { silentLog } from '../../shared/log.ts'
import { type RedisArgument, RedisReplyError } from '../../shared/redis.ts'
import { noCacheCounts } from './cache-counts.ts'
import { attemptOf, type CallFields, callOf, chatAnswer, SETTINGS, turned } from './call.testkit.ts'
import { createGuard, guardCache } from './guard.ts'
import { createLookup } from './lookup.ts'
import { createMemoryCache } from './memory.ts'
import { createMemoryVectors } from './memory-vectors.ts'
import { createRedisVectors, searchesVectors } from './redis-vectors.ts'
import { createSemantic, promptOf } from './semantic.ts'
import type { CacheStore } from './stores.ts'
import type { CacheTurn } from './turn.ts'

/** Letters counted: similar texts have similar vectors. */
function vectorOf(text: string): Float32Array {
  const vector = new Float32Array(26)
  for (const letter of text.toLowerCase()) {
    const at = letter.charCodeAt(0) - 97
    if (at >= 0 && at < 26) vector[at] = (vector[at] as number) + 1
  }
  return vector
}

function make() {
  const clock = testClock()
  const settings: CacheSettings = {
    ...SETTINGS,
    type: 'semantic',
    semantic: { threshold: 0.97, embeddingModel: 'e', store: 'memory', index: 'i' },
  }
  const raw = createMemoryCache({ clock, maxEntries: 100, maxBytes: 1_000_000 })
  const guard = () => createGuard({ clock, log: silentLog, counts: noCacheCounts })
  const cache = guardCache(raw, guard())
  const vectors = createMemoryVectors({ clock, maxEntries: 100 })
  const embedded: string[] = []
  const state = { away: false }
  const embed = async (text: string, model: string): Promise<Float32Array> => {
    expect(model).toBe('e')
    if (state.away) throw new Error('no embeddings today')
    embedded.push(text)
    return vectorOf(text)
  }
  const semantic = createSemantic({ vectors, cache, guard: guard(), embedGuard: guard(), embed })
  const store: CacheStore = { type: 'semantic', cache, semantic, raw, vectors, shared: false, redis: null }
  const lookup = createLookup({ store: () => store, clock, counts: noCacheCounts })

  async function ask(content: string, fields: CallFields & { body?: Record<string, unknown> } = {}) {
    const { call } = callOf({ messages: [{ role: 'user', content }], ...fields.body }, { ...fields, clock })
    const taken = (await lookup.begin(call, { settings: { cache: settings } } as never)) as CacheTurn
    if (taken.hit === null) {
      call.capture?.response(chatAnswer(`answer to ${content}`))
      call.attempts.push(attemptOf())
    }
    taken.finish({ ok: true, deploymentId: 'd1', cost: 1 })
    await turned()
    return { hit: taken.hit, call }
  }
  return { clock, raw, embedded, state, ask }
}

describe('the semantic cache', () => {
  it('answers a similar prompt, says how similar and under which key, and asks for no vector for an identical one', async () => {
    const { ask, embedded } = make()
    const first = await ask('what is the capital of france')
    expect(first.hit).toBeNull()
    const second = await ask('what is the capital of france please')
    expect(second.hit?.answer.response).toEqual(chatAnswer('answer to what is the capital of france'))
    expect(second.hit?.similarity).toBeGreaterThan(0.97)
    expect(second.hit?.similarity).toBeLessThan(1)
    expect(second.call.cacheKey).toBe(first.call.cacheKey)
    expect(embedded).toEqual(['user: what is the capital of france', 'user: what is the capital of france please'])
    expect((await ask('what is the capital of france')).hit?.similarity).toBeNull()
    expect(embedded).toHaveLength(2)
    expect((await ask('zebras jump quickly over boxes')).hit).toBeNull()
  })

  it('never answers across tenants, namespaces, groups, parameters or system messages', async () => {
    const { ask } = make()
    await ask('what is the capital of france')
    const similar = 'what is the capital of france please'
    const system = {
      messages: [
        { role: 'system', content: 'In French.' },
        { role: 'user', content: similar },
      ],
    }
    for (const fields of [
      { identity: { teamId: 'other' } },
      { body: { cache: { namespace: 'n' } } },
      { body: { model: 'other' } },
      { body: { temperature: 1 } },
      { body: system },
    ])
      expect((await ask(similar, fields)).hit, JSON.stringify(fields)).toBeNull()
  })

  it('takes the threshold of the key before that of the settings', async () => {
    const { ask } = make()
    await ask('what is the capital of france')
    const similar = 'what is the capital of france please'
    expect(
      (await ask(similar, { identity: { routing: { similarity: 0.999 } }, body: { cache: { 'no-store': true } } })).hit,
    ).toBeNull()
    expect((await ask('what is the largest capital of all', { identity: { routing: { similarity: 0.5 } } })).hit).not.toBeNull()
  })

  it('forgets vectors with their answers, and looks at none that is too old', async () => {
    const { ask, clock, raw } = make()
    await ask('what is the capital of france')
    const similar = 'what is the capital of france please'
    clock.advance(5_000)
    expect((await ask(similar, { body: { cache: { 's-maxage': 4, 'no-store': true } } })).hit).toBeNull()
    await raw.flush()
    expect((await ask(similar, { body: { cache: { 'no-store': true } } })).hit).toBeNull()
    await ask('what is the capital of france')
    clock.advance(60_000)
    expect((await ask(similar)).hit).toBeNull()
  })

  it('goes on without vectors when nobody makes them', async () => {
    const { ask, state } = make()
    state.away = true
    expect((await ask('hello world')).hit).toBeNull()
    expect((await ask('hello world')).hit).not.toBeNull()
    expect((await ask('hello worlds')).hit).toBeNull()
  })

  it('compares who said what, and nothing where there is no text or several prompts', () => {
    const messages = [
      { role: 'system', content: 'Be kind.' },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'a' },
          { type: 'image_url', image_url: 'u' },
        ],
      },
      { role: 'assistant', content: null },
    ]
    expect(promptOf({ messages })).toBe('system: Be kind.\nuser: a\n')
    expect(promptOf({ prompt: 'x' })).toBe('x')
    for (const request of [{ prompt: ['a', 'b'] }, { prompt: '' }, { messages: [{ role: 'user', content: '' }] }, {}])
      expect(promptOf(request)).toBeNull()
  })
})

describe('vectors in memory', () => {
  const of = (...values: number[]) => Float32Array.from(values)

  it('finds the most similar of a partition, by direction alone', async () => {
    const vectors = createMemoryVectors({ clock: testClock(), maxEntries: 10 })
    await vectors.add('p', of(1, 0), 'east', 1_000)
    await vectors.add('p', of(5, 5), 'northeast', 1_000)
    await vectors.add('q', of(0, 1), 'north', 1_000)
    expect(await vectors.find('p', of(0, 9), 0.5)).toEqual({ key: 'northeast', similarity: expect.closeTo(Math.SQRT1_2, 5) })
    expect(await vectors.find('p', of(0, 9), 0.8)).toBeNull()
    expect(await vectors.find('p', of(3, 0), 0.99)).toEqual({ key: 'east', similarity: expect.closeTo(1, 5) })
    expect(await vectors.find('none', of(1, 0), 0)).toBeNull()
    for (const odd of [of(), of(0, 0), of(Number.NaN, 1), of(1, 0, 0)]) expect(await vectors.find('p', odd, 0)).toBeNull()
  })

  it('forgets what expired, what is deleted, and the oldest when there are too many', async () => {
    const clock = testClock()
    const vectors = createMemoryVectors({ clock, maxEntries: 2 })
    await vectors.add('p', of(1, 0), 'a', 1_000)
    await vectors.add('p', of(0, 1), 'b', 9_000)
    await vectors.add('p', of(-1, 0), 'c', 9_000)
    expect(await vectors.find('p', of(1, 0), 0.9)).toBeNull()
    expect(await vectors.find('p', of(-1, 0), 0.9)).not.toBeNull()
    await vectors.delete(['c'])
    expect(await vectors.find('p', of(-1, 0), 0.9)).toBeNull()
    clock.advance(9_000)
    expect(await vectors.find('p', of(0, 1), 0.9)).toBeNull()
    await vectors.add('p', of(1, 0), 'd', 1_000)
    await vectors.flush()
    expect(await vectors.find('p', of(1, 0), 0.9)).toBeNull()
  })
})

describe('vectors in Redis', () => {
  function fake(reply: (command: string, args: RedisArgument[]) => unknown = () => 'OK') {
    const sent: RedisArgument[][] = []
    const redis = {
      async call(command: string, ...args: RedisArgument[]) {
        sent.push([command, ...args])
        const answer = reply(command, args)
        if (answer instanceof Error) throw answer
        return answer
      },
    }
    return { sent, vectors: createRedisVectors({ redis, prefix: 'tp', index: 'answers' }), redis }
  }
  const north = Float32Array.from([0, 2])
  const bytes = Buffer.from(Float32Array.from([0, 1]).buffer)

  it('are searched by partition in an index made once', async () => {
    const { sent, vectors } = fake((command) =>
      command === 'FT.SEARCH' ? [1, '{tp}:cache-vector:2:k', ['distance', '0.02', 'key', 'k']] : 'OK',
    )
    expect(await vectors.find('abc', north, 0.9)).toEqual({ key: 'k', similarity: 0.98 })
    expect(await vectors.find('abc', north, 0.99)).toBeNull()
    expect(sent[0]).toEqual([
      'FT.CREATE',
      'tp:answers:2',
      'ON',
      'HASH',
      'PREFIX',
      1,
      '{tp}:cache-vector:2:',
      'SCHEMA',
      'partition',
      'TAG',
      'key',
      'TEXT',
      'NOINDEX',
      'vector',
      'VECTOR',
      'HNSW',
      6,
      'TYPE',
      'FLOAT32',
      'DIM',
      2,
      'DISTANCE_METRIC',
      'COSINE',
    ])
    const search = [
      'FT.SEARCH',
      'tp:answers:2',
      '(@partition:{abc})=>[KNN 1 @vector $asked AS distance]',
      'PARAMS',
      2,
      'asked',
      bytes,
      'SORTBY',
      'distance',
      'RETURN',
      2,
      'key',
      'distance',
      'DIALECT',
      2,
    ]
    expect(sent.slice(1)).toEqual([search, search])
  })

  it('are hashes that expire with their answers, in an index that another router may have made', async () => {
    const { sent, vectors } = fake((command) => (command === 'FT.CREATE' ? new RedisReplyError('Index already exists') : 1))
    await vectors.add('abc', north, 'k', 1_500.2)
    await vectors.delete(['k'])
    expect(sent.slice(1)).toEqual([
      ['HSET', '{tp}:cache-vector:2:k', 'partition', 'abc', 'key', 'k', 'vector', bytes],
      ['PEXPIRE', '{tp}:cache-vector:2:k', 1_501],
      ['UNLINK', '{tp}:cache-vector:2:k'],
    ])
  })

  it('find nothing where nothing is, and reject what Redis refuses', async () => {
    expect(await fake((command) => (command === 'FT.SEARCH' ? [0] : 'OK')).vectors.find('p', north, 0)).toBeNull()
    const refusing = fake(() => new RedisReplyError('ERR no'))
    await expect(refusing.vectors.find('p', north, 0)).rejects.toThrow('ERR no')
  })

  it('are there only where the server knows the commands', async () => {
    expect(await searchesVectors(fake(() => []).redis)).toBe(true)
    expect(await searchesVectors(fake(() => new RedisReplyError("ERR unknown command 'FT._LIST'")).redis)).toBe(false)
    await expect(searchesVectors(fake(() => new Error('away')).redis)).rejects.toThrow('away')
  })
})
