import { beforeEach, describe, expect, it } from 'vitest'
import type { CacheSettings } from '../../proto/routing.ts'
import { type TestClock, testClock } from '../../shared/clock.ts'
import { silentLog } from '../../shared/log.ts'
import type { Call } from '../call.ts'
import { noCacheCounts } from './cache-counts.ts'
import { attemptOf, type CallFields, callOf, chatAnswer, SETTINGS, turned } from './call.testkit.ts'
import { chunksOfAnswer } from './chunks-of-answer.ts'
import { createGuard, guardCache } from './guard.ts'
import { createLookup } from './lookup.ts'
import { createMemoryCache } from './memory.ts'
import type { CacheStore } from './stores.ts'
import type { CacheTurn } from './turn.ts'

const OK = { ok: true as const, deploymentId: 'd1', cost: 1_000 }

function make(changes: Partial<CacheSettings> = {}) {
  const clock: TestClock = testClock()
  const settings = { ...SETTINGS, ...changes }
  const raw = createMemoryCache({ clock, maxEntries: 100, maxBytes: 1_000_000 })
  const counted = { hits: 0, misses: 0, trouble: 0 }
  const counts = {
    hit: () => void counted.hits++,
    miss: () => void counted.misses++,
    trouble: () => void counted.trouble++,
  }
  const cache = guardCache(raw, createGuard({ clock, log: silentLog, counts }))
  const store: CacheStore = { type: 'memory', cache, semantic: null, raw, vectors: null, shared: false, redis: null }
  const lookup = createLookup({ store: () => store, clock, counts })

  function begin(body: Record<string, unknown> = {}, fields: CallFields = {}): { call: Call; turn: Promise<CacheTurn> | null } {
    const { call } = callOf(body, { ...fields, clock })
    return { call, turn: lookup.begin(call, { settings: { cache: settings } } as never) }
  }
  /** A call that runs where it must, and is answered with `response`. */
  async function answered(response: Record<string, unknown>, body: Record<string, unknown> = {}, fields: CallFields = {}) {
    const { call, turn } = begin(body, fields)
    const taken = (await turn) as CacheTurn
    const shown = taken.hit === null ? call.capture?.response(response) : taken.hit.answer.response
    if (taken.hit === null) call.attempts.push(attemptOf())
    taken.finish(OK)
    await turned()
    return { hit: taken.hit !== null, shown, call, taken }
  }
  return { clock, raw, counted, begin, answered }
}

describe('the cache of a call', () => {
  let made: ReturnType<typeof make>
  beforeEach(() => {
    made = make()
  })

  it('has nothing to do with calls where nothing is cached', () => {
    const { call } = callOf()
    const lookup = createLookup({ store: () => null, clock: testClock(), counts: noCacheCounts })
    expect(lookup.begin(call, { settings: { cache: null } } as never)).toBeNull()
    expect(lookup.begin(call, { settings: { cache: SETTINGS } } as never)).toBeNull()
    expect(make({ modes: ['embedding'] }).begin().turn).toBeNull()
    expect(make({ defaultOn: false }).begin().turn).toBeNull()
    expect(made.begin({ cache: { 'no-cache': true, 'no-store': true } }).turn).toBeNull()
    expect(call.capture).toBeNull()
    expect(call.cacheKey).toBeNull()
  })

  it('keeps the answer of a call that ran, and gives it to the next one like it', async () => {
    const first = await made.answered(chatAnswer('hello'))
    expect([first.hit, first.call.cacheKey]).toEqual([false, expect.stringMatching(/^[0-9a-f]{64}$/)])
    const second = await made.answered(chatAnswer('other'), { stream: true })
    expect(second.hit).toBe(true)
    expect(second.shown).toEqual(chatAnswer('hello'))
    expect(second.call.cacheKey).toBe(first.call.cacheKey)
    expect(second.call.capture).toBeNull()
    expect(second.taken.hit?.answer).toMatchObject({ deploymentId: 'd1', cost: 1_000, modelGroup: 'gpt', mode: 'chat' })
    expect((await made.answered(chatAnswer('mine'), {}, { identity: { teamId: 'other' } })).hit).toBe(false)
    expect(made.counted).toEqual({ hits: 1, misses: 2, trouble: 0 })
  })

  it('keeps a stream as the answer it amounts to, that of its last attempt alone', async () => {
    const { call, turn } = made.begin({ stream: true })
    const taken = (await turn) as CacheTurn
    for (const chunk of chunksOfAnswer(chatAnswer('broken off'))) call.capture?.chunk(chunk)
    call.attempts.push(attemptOf({ outcome: 'failure' }))
    for (const chunk of chunksOfAnswer(chatAnswer('the whole of it'))) call.capture?.chunk(chunk)
    call.attempts.push(attemptOf())
    taken.finish(OK)
    await turned()
    expect((await made.answered({})).shown).toEqual(chatAnswer('the whole of it'))
  })

  it('keeps nothing that is no complete answer of the group itself', async () => {
    const filtered = chatAnswer('x', {
      choices: [{ index: 0, message: { role: 'assistant', content: 'x' }, finish_reason: 'content_filter' }],
    })
    expect((await made.answered(filtered)).hit).toBe(false)
    for (const spoil of [
      (call: Call) => void Object.assign(call, { fallbacks: 1 }),
      (call: Call) => void call.attempts.push(attemptOf({ outcome: 'partial' })),
    ]) {
      const { call, turn } = made.begin()
      const taken = (await turn) as CacheTurn
      call.capture?.response(chatAnswer())
      spoil(call)
      taken.finish(OK)
    }
    const { call, turn } = made.begin()
    call.capture?.response(chatAnswer())
    ;((await turn) as CacheTurn).finish({ ok: false })
    await turned()
    expect((await made.answered(chatAnswer())).hit).toBe(false)
  })

  it('follows the controls of the call', async () => {
    await made.answered(chatAnswer('one'), { cache: { 'no-store': true } })
    expect((await made.answered(chatAnswer('two'), { cache: { ttl: 5 } })).hit).toBe(false)
    expect((await made.answered(chatAnswer('three'), { cache: { 'no-cache': true, ttl: 5 } })).shown).toEqual(chatAnswer('three'))
    expect((await made.answered({})).shown).toEqual(chatAnswer('three'))
    made.clock.advance(3_000)
    expect((await made.answered({}, { cache: { 's-maxage': 3 } })).hit).toBe(true)
    expect((await made.answered({}, { cache: { 's-maxage': 2 } })).hit).toBe(false)
    expect((await made.answered({}, { cache: { namespace: 'n' } })).hit).toBe(false)
    made.clock.advance(2_000)
    expect((await made.answered(chatAnswer())).hit).toBe(false)
  })

  it('goes on without a store that is slow', async () => {
    made.raw.get = () => new Promise(() => undefined)
    const { turn } = made.begin()
    made.clock.advance(249)
    let over = false
    void turn?.then(() => {
      over = true
    })
    await turned()
    expect(over).toBe(false)
    made.clock.advance(1)
    expect((await turn)?.hit).toBeNull()
    expect(made.counted).toEqual({ hits: 0, misses: 1, trouble: 1 })
  })
})

describe('identical calls at the same time', () => {
  const flying = () => make({ singleFlight: true })

  it('get the answer of the first, which alone runs', async () => {
    const made = flying()
    const first = made.begin()
    const others = [made.begin(), made.begin({ stream: true }), made.begin()]
    const taken = (await first.turn) as CacheTurn
    expect(taken.hit).toBeNull()
    first.call.capture?.response(chatAnswer('for all'))
    taken.finish(OK)
    for (const { turn } of others) expect((await turn)?.hit?.answer.response).toEqual(chatAnswer('for all'))
    expect(made.counted).toMatchObject({ hits: 3, misses: 1 })
    expect((await made.begin().turn)?.hit).not.toBeNull()
  })

  it('go themselves, one after the other, when the one before failed', async () => {
    const made = flying()
    const [failing, next, last] = [made.begin(), made.begin(), made.begin()]
    ;((await failing.turn) as CacheTurn).finish({ ok: false })
    const second = (await next.turn) as CacheTurn
    expect(second.hit).toBeNull()
    next.call.capture?.response(chatAnswer('second'))
    second.finish(OK)
    expect((await last.turn)?.hit?.answer.response).toEqual(chatAnswer('second'))
    second.finish({ ok: false })
  })

  it('wait no more when their client leaves, also in the moment they are told to go', async () => {
    const made = flying()
    const [first, leaver, told, last] = [made.begin(), made.begin(), made.begin(), made.begin()]
    leaver.call.cancelled = 'left'
    leaver.call.stop?.()
    await expect(leaver.turn).rejects.toMatchObject({ code: 'cancelled' })
    ;((await first.turn) as CacheTurn).finish({ ok: false })
    told.call.stop?.()
    await expect(told.turn).rejects.toMatchObject({ code: 'cancelled' })
    expect((await last.turn)?.hit).toBeNull()
    expect([leaver.call.stop, told.call.stop, last.call.stop, last.call.end]).toEqual([null, null, null, null])
  })

  it('do not wait where they may not share: other keys, no-cache, no-store, or single-flight off', async () => {
    const made = flying()
    const calls = [
      made.begin(),
      made.begin({ temperature: 1 }),
      made.begin({}, { identity: { teamId: 't' } }),
      made.begin({ cache: { 'no-cache': true } }),
      made.begin({ cache: { 'no-store': true } }),
    ]
    for (const { turn } of calls) expect((await turn)?.hit).toBeNull()
    const off = make()
    const both = [off.begin(), off.begin()]
    for (const { turn } of both) expect((await turn)?.hit).toBeNull()
  })
})

describe('embeddings', () => {
  const vector = (text: string): number[] => [text.length, text.charCodeAt(0)]
  const embedded = (items: string[], model = 'e'): Record<string, unknown> => ({
    object: 'list',
    data: items.map((item, index) => ({ object: 'embedding', index, embedding: vector(item) })).reverse(),
    model,
    usage: { prompt_tokens: items.length * 4, total_tokens: items.length * 4 },
  })
  const fields: CallFields = { endpoint: 'aembedding' }

  it('are kept per input: only what is missing is asked for, and the answer has all in their order', async () => {
    const made = make()
    const first = await made.answered(embedded(['a', 'bb']), { input: ['a', 'bb'] }, fields)
    expect(first.call.request['input']).toEqual(['a', 'bb'])
    const { call, turn } = made.begin({ input: ['ccc', 'a', 'dddd', 'bb'] }, fields)
    const taken = (await turn) as CacheTurn
    expect(call.request['input']).toEqual(['ccc', 'dddd'])
    const shown = call.capture?.response(embedded(['ccc', 'dddd'])) as { data: unknown[]; usage: unknown; model: string }
    expect(shown.data).toEqual(
      ['ccc', 'a', 'dddd', 'bb'].map((item, index) => ({ object: 'embedding', index, embedding: vector(item) })),
    )
    expect(shown).toMatchObject({ object: 'list', model: 'e', usage: { prompt_tokens: 16, total_tokens: 16 } })
    taken.finish(OK)
    await turned()
    const all = await made.answered({}, { input: ['dddd', 'ccc'] }, fields)
    expect(all.hit).toBe(true)
    expect(all.shown).toMatchObject({
      data: [
        { index: 0, embedding: vector('dddd') },
        { index: 1, embedding: vector('ccc') },
      ],
      usage: { prompt_tokens: 8 },
    })
    expect((await made.answered({}, { input: 'a' }, fields)).hit).toBe(true)
    expect(made.counted).toMatchObject({ hits: 2, misses: 2 })
  })

  it('tell the keys of their inputs, which delete them', async () => {
    const made = make()
    const { call } = await made.answered(embedded(['a', 'bb']), { input: ['a', 'bb'] }, fields)
    const keys = call.cacheKey?.split(',') ?? []
    expect(keys).toHaveLength(2)
    expect(await made.raw.delete(keys)).toBe(2)
  })

  it('take a list of tokens for one input', async () => {
    const made = make()
    await made.answered(embedded(['x']), { input: [1, 2, 3] }, fields)
    const { call, turn } = made.begin(
      {
        input: [
          [4, 5],
          [1, 2, 3],
        ],
      },
      fields,
    )
    await turn
    expect(call.request['input']).toEqual([[4, 5]])
  })

  it('are no answer when the provider gives fewer than what was missing', async () => {
    const made = make()
    await made.answered(embedded(['a']), { input: ['a'] }, fields)
    const { call, turn } = made.begin({ input: ['a', 'b', 'c'] }, fields)
    await turn
    expect(() => call.capture?.response(embedded(['b']))).toThrow('1 embeddings where 2')
    const whole = made.begin({ input: ['x', 'y'] }, fields)
    const taken = (await whole.turn) as CacheTurn
    expect(whole.call.capture?.response(embedded(['x']))).toEqual(embedded(['x']))
    taken.finish(OK)
    await turned()
    expect((await made.answered(embedded(['x']), { input: ['x'] }, fields)).hit).toBe(false)
  })
})
