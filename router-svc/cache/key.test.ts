import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Identity } from '../../proto/identity.ts'
import { type CallFields, callOf, SETTINGS } from './call.testkit.ts'
import { cacheKey, itemKeys, partitionOf } from './key.ts'

const keyOf = (body: Record<string, unknown> = {}, fields: CallFields = {}, settings = {}, namespace: string | null = null) =>
  cacheKey(prepared(body, fields), { ...SETTINGS, ...settings }, namespace)

function prepared(body: Record<string, unknown>, fields: CallFields = {}) {
  const { call } = callOf(body, fields)
  return call
}

const text = fc.string({ minLength: 1, maxLength: 12 })
/** Every parameter that can change an answer, with values its dialect takes. */
const PARAMS: Record<string, fc.Arbitrary<unknown>> = {
  messages: fc.array(fc.record({ role: fc.constantFrom('user', 'system'), content: text }), { minLength: 1, maxLength: 3 }),
  temperature: fc.double({ min: 0, max: 2, noNaN: true }),
  top_p: fc.double({ min: 0, max: 1, noNaN: true }),
  n: fc.integer({ min: 1, max: 5 }),
  stop: fc.oneof(text, fc.array(text, { minLength: 1, maxLength: 2 })),
  max_tokens: fc.integer({ min: 1, max: 9_999 }),
  max_completion_tokens: fc.integer({ min: 1, max: 9_999 }),
  presence_penalty: fc.double({ min: -2, max: 2, noNaN: true }),
  frequency_penalty: fc.double({ min: -2, max: 2, noNaN: true }),
  logit_bias: fc.dictionary(fc.stringMatching(/^\d{1,3}$/), fc.integer({ min: -100, max: 100 }), { minKeys: 1, maxKeys: 3 }),
  logprobs: fc.boolean(),
  top_logprobs: fc.integer({ min: 0, max: 20 }),
  seed: fc.integer(),
  response_format: fc.constantFrom({ type: 'text' }, { type: 'json_object' }),
  tools: fc.array(fc.record({ type: fc.constant('function'), function: fc.record({ name: text }) }), {
    minLength: 1,
    maxLength: 2,
  }),
  tool_choice: fc.constantFrom('auto', 'none', 'required'),
  parallel_tool_calls: fc.boolean(),
  user: text,
  reasoning_effort: fc.constantFrom('low', 'high'),
  verbosity: fc.constantFrom('low', 'high'),
  modalities: fc.constantFrom(['text'], ['text', 'audio']),
  audio: fc.record({ voice: text }),
  prediction: fc.record({ content: text }),
  service_tier: fc.constantFrom('auto', 'flex'),
  web_search_options: fc.record({ search_context_size: text }),
  thinking: fc.record({ type: fc.constant('enabled'), budget_tokens: fc.nat() }),
  mock_response: text,
  drop_params: fc.boolean(),
}
const request = fc.record(PARAMS, { requiredKeys: ['messages'] })
const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b)

const tenant: fc.Arbitrary<Partial<Identity>> = fc.record({
  teamId: fc.option(fc.constantFrom('a', 'b', 'key a'), { nil: null }),
  userId: fc.option(fc.constantFrom('a', 'b', 'team a'), { nil: null }),
  keyHash: fc.constantFrom('a', 'b', 'user a'),
})

describe('the key of an answer', () => {
  it('differs when any parameter differs, is there or is not', () => {
    fc.assert(
      fc.property(request, fc.constantFrom(...Object.keys(PARAMS)), fc.gen(), (body, name, gen) => {
        const before = (body as Record<string, unknown>)[name]
        const value = gen(() => PARAMS[name] as fc.Arbitrary<unknown>)
        fc.pre(!same(before, value))
        expect(keyOf({ ...body, [name]: value })).not.toBe(keyOf(body))
        if (name !== 'messages' && before !== undefined) {
          const { [name]: _, ...without } = body as Record<string, unknown>
          expect(keyOf(without)).not.toBe(keyOf(body))
        }
      }),
      { numRuns: 500 },
    )
  })

  it('does not depend on the order of fields, on null ones, or on how the answer is to be delivered and accounted', () => {
    fc.assert(
      fc.property(request, (body) => {
        const turned = Object.fromEntries(Object.entries(body).reverse())
        const more = {
          top_logit: null,
          seed: (body as { seed?: number }).seed ?? null,
          stream: true,
          stream_options: { include_usage: true },
        }
        const gateway = {
          metadata: { tags: ['x'] },
          tags: ['y'],
          num_retries: 3,
          cache: { ttl: 5 },
          timeout: 9,
          'no-log': true,
          priority: 1,
        }
        expect(keyOf({ ...turned, ...more, ...gateway })).toBe(keyOf(body))
      }),
    )
    const turn = (message: object) => keyOf({ messages: [message] })
    expect(turn({ role: 'user', content: 'x' })).toBe(turn({ content: 'x', role: 'user' }))
  })

  it('differs when what an Anthropic client says in its own words differs', () => {
    expect(keyOf({ anthropic: { top_k: 1 } })).not.toBe(keyOf({ anthropic: { top_k: 2 } }))
    expect(keyOf({ anthropic: { top_k: 1 } })).not.toBe(keyOf())
  })

  it('is one for clients of both protocols that ask the same', () => {
    const body = { messages: [{ role: 'user', content: 'x' }], max_tokens: 5 }
    const anthropic = { endpoint: 'anthropic_messages' } as const
    expect(keyOf(body, anthropic)).toBe(keyOf(body))
    expect(keyOf({ ...body, top_k: 1 }, anthropic)).not.toBe(keyOf(body))
    expect(keyOf({ ...body, system: 'Be brief.' }, anthropic)).not.toBe(keyOf(body))
  })

  it('is never that of another tenant, nor of another key where each has its own', () => {
    fc.assert(
      fc.property(tenant, tenant, (one, two) => {
        const scope = ({ teamId, userId, keyHash }: Partial<Identity>) =>
          teamId !== null ? ['team', teamId] : userId !== null ? ['user', userId] : ['key', keyHash]
        const shares = same(scope(one), scope(two))
        expect(keyOf({}, { identity: one }) === keyOf({}, { identity: two })).toBe(shares)
        const own = { tenancy: 'key' }
        expect(keyOf({}, { identity: one }, own) === keyOf({}, { identity: two }, own)).toBe(one.keyHash === two.keyHash)
        const shared = { tenancy: 'shared' }
        expect(keyOf({}, { identity: one }, shared)).toBe(keyOf({}, { identity: two }, shared))
      }),
    )
  })

  it('is of a mode, a namespace and a model group, and a namespace is no way into another tenant', () => {
    const plain = keyOf()
    expect(plain).toMatch(/^[0-9a-f]{64}$/)
    expect(keyOf({}, {}, {}, 'blue')).toMatch(/^blue:[0-9a-f]{64}$/)
    expect(keyOf({}, {}, {}, 'blue').slice(5)).not.toBe(plain)
    const ofTeam = (teamId: string) => keyOf({}, { identity: { teamId } }, {}, 'blue')
    expect(ofTeam('a')).not.toBe(ofTeam('b'))
    const completion = keyOf({ prompt: 'x' }, { endpoint: 'atext_completion' })
    expect(completion).not.toBe(keyOf({ prompt: 'x' }))
    expect(keyOf({ model: 'other' })).not.toBe(plain)
    expect(keyOf({}, { headers: { 'anthropic-beta': 'x' } })).not.toBe(plain)
  })

  it('is the same for all groups that share their answers', () => {
    const groups = { groups: [['a', 'b'], ['c']] }
    expect(keyOf({ model: 'a' }, {}, groups)).toBe(keyOf({ model: 'b' }, {}, groups))
    expect(keyOf({ model: 'a' }, {}, groups)).not.toBe(keyOf({ model: 'c' }, {}, groups))
    expect(keyOf({ model: 'c' }, {}, groups)).not.toBe(keyOf({ model: 'd' }, {}, groups))
  })

  it('counts parameters that are not OpenAI’s where the settings say so', () => {
    expect(keyOf({ top_k: 1 })).toBe(keyOf({ top_k: 2 }))
    const all = { providerParams: true }
    expect(keyOf({ top_k: 1 }, {}, all)).not.toBe(keyOf({ top_k: 2 }, {}, all))
    expect(keyOf({ tags: ['a'] }, {}, all)).toBe(keyOf({}, {}, all))
  })
})

describe('the keys of embeddings', () => {
  const keysOf = (items: unknown[], body = {}) =>
    itemKeys(callOf({ input: items, ...body }, { endpoint: 'aembedding' }).call, SETTINGS, null, items)

  it('are of each input by itself, whatever stands beside it', () => {
    const [a, b] = keysOf(['a', 'b'])
    expect(keysOf(['b', 'a'])).toEqual([b, a])
    expect(keysOf(['a'])).toEqual([a])
    expect(a).not.toBe(b)
    expect(keysOf([[1, 2]])[0]).not.toBe(keysOf(['[1,2]'])[0])
    expect(keysOf(['a'], { dimensions: 5 })[0]).not.toBe(a)
    expect(keysOf(['a'], { encoding_format: 'base64' })[0]).not.toBe(a)
  })
})

describe('the partition prompts are compared in', () => {
  const partition = (body: Record<string, unknown>, fields: CallFields = {}) =>
    partitionOf(callOf(body, fields).call, SETTINGS, null)
  const said = (content: unknown, more = {}) => ({ messages: [{ role: 'user', content }], ...more })

  it('is the same for other words, and another for anything else', () => {
    const plain = partition(said('how are you'))
    expect(partition(said('how do you do'))).toBe(plain)
    const image = (url: string) =>
      said([
        { type: 'text', text: 'what is this' },
        { type: 'image_url', image_url: { url } },
      ])
    const others = [
      said('how are you', { temperature: 1 }),
      said('how are you', { tools: [{ type: 'function', function: { name: 'f' } }] }),
      image('a'),
      image('b'),
      {
        messages: [
          { role: 'system', content: 'Answer in French.' },
          { role: 'user', content: 'x' },
        ],
      },
      {
        messages: [
          { role: 'system', content: 'Answer in German.' },
          { role: 'user', content: 'x' },
        ],
      },
      {
        messages: [
          { role: 'user', content: 'x' },
          { role: 'assistant', content: 'y' },
          { role: 'user', content: 'z' },
        ],
      },
    ].map((body) => partition(body))
    expect(new Set([plain, ...others]).size).toBe(others.length + 1)
    expect(partition(said('x'), { identity: { teamId: 'a' } })).not.toBe(partition(said('x'), { identity: { teamId: 'b' } }))
  })
})
