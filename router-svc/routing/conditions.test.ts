import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { headersOfQuery } from '../../proto/routing.ts'
import { type ConditionContext, matches, queryProblem } from './conditions.ts'
import { regexProblem } from './safe-regex.ts'

const context: ConditionContext = {
  metadata: { plan: 'paid', seats: 12, age: '40', nested: { country: 'de' }, 'a.b': 'dotted', off: false },
  headers: { 'x-region': 'eu-west' },
  params: { model: 'gpt', temperature: 0.5 },
}

describe('matches', () => {
  it.each([
    [{ 'metadata.plan': 'paid' }, true],
    [{ 'metadata.plan': { $eq: 'free' } }, false],
    [{ 'metadata.plan': { $ne: 'free' } }, true],
    [{ 'metadata.plan': { $in: ['free', 'paid'] } }, true],
    [{ 'metadata.plan': { $nin: ['free', 'paid'] } }, false],
    [{ 'metadata.seats': { $gt: 10, $lte: 12 } }, true],
    [{ 'metadata.seats': { $gt: 12 } }, false],
    [{ 'metadata.age': { $gte: 40, $lt: 41 } }, true],
    [{ 'metadata.plan': { $gt: 1 } }, false],
    [{ 'metadata.nested.country': 'de' }, true],
    [{ 'metadata.a.b': 'dotted' }, true],
    [{ 'metadata.off': false }, true],
    [{ 'metadata.missing': 'x' }, false],
    [{ 'metadata.missing': { $ne: 'x' } }, true],
    [{ 'metadata.missing': { $nin: ['x'] } }, true],
    [{ 'metadata.missing': { $gt: 0 } }, false],
    [{ 'metadata.missing': { $exists: false } }, true],
    [{ 'metadata.plan': { $exists: true } }, true],
    [{ 'metadata.constructor': { $exists: false } }, true],
    [{ 'headers.X-Region': { $regex: '^eu-' } }, true],
    [{ 'params.model': 'gpt', 'params.temperature': { $lt: 0.4 } }, false],
    [{ $and: [{ 'params.model': 'gpt' }, { 'metadata.plan': 'paid' }] }, true],
    [{ $or: [{ 'params.model': 'x' }, { $and: [{ 'metadata.plan': 'paid' }] }] }, true],
    [{ $or: [{ 'params.model': 'x' }, { 'metadata.plan': 'free' }] }, false],
    [{}, true],
  ])('%j: %s', (query, expected) => {
    expect(queryProblem(query)).toBeNull()
    expect(matches(query, context)).toBe(expected)
  })

  it('does not try an expression on more text than it was judged for', () => {
    const query = { 'metadata.text': { $regex: 'a' } }
    expect(matches(query, { ...context, metadata: { text: 'a'.repeat(256) } })).toBe(true)
    expect(matches(query, { ...context, metadata: { text: 'a'.repeat(257) } })).toBe(false)
  })
})

describe('queryProblem', () => {
  it.each([
    [null, 'must be an object'],
    [{ plan: 'x' }, "unknown field 'plan'"],
    [{ 'metadata.': 'x' }, 'unknown field'],
    [{ 'body.x': 'x' }, 'unknown field'],
    [{ 'metadata.plan': { $like: 'x' } }, "unknown operator '$like'"],
    [{ 'metadata.plan': { constructor: 'x' } }, "unknown operator 'constructor'"],
    [{ 'metadata.plan': {} }, 'has no operator'],
    [{ 'metadata.plan': ['x'] }, 'must be a value'],
    [{ 'metadata.plan': { $in: 'x' } }, '$in takes a list'],
    [{ 'metadata.plan': { $gt: true } }, '$gt takes a number'],
    [{ 'metadata.plan': { $regex: '(' } }, 'is not a regular expression'],
    [{ 'metadata.plan': { $regex: '(a+)+$' } }, 'must not repeat a group'],
    [{ $and: [] }, '$and must be a list'],
    [{ $or: [{ $and: [{ x: 1 }] }] }, "query.$or[0].$and[0]: unknown field 'x'"],
  ])('%j: %s', (query, problem) => {
    expect(queryProblem(query)).toContain(problem)
  })

  it('bounds how deep and how large a query is', () => {
    let deep: unknown = { 'metadata.x': 1 }
    for (let level = 0; level < 10; level += 1) deep = { $and: [deep] }
    expect(queryProblem(deep)).toContain('nested deeper')
    expect(queryProblem({ $or: Array.from({ length: 101 }, () => ({ 'metadata.x': 1 })) })).toContain('more than 100')
  })

  it('leaves nothing on which matching could throw', () => {
    const value = fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null), fc.array(fc.string()), fc.object())
    const operator = fc.constantFrom('$eq', '$ne', '$in', '$nin', '$gt', '$lte', '$regex', '$exists', '$x')
    const query = fc.dictionary(
      fc.constantFrom('metadata.plan', 'headers.a', 'params.b', 'c', '$and'),
      fc.oneof(value, fc.dictionary(operator, value)),
    )
    fc.assert(
      fc.property(query, (asked) => {
        if (queryProblem(asked) === null) expect(typeof matches(asked, context)).toBe('boolean')
      }),
      { numRuns: 100 },
    )
  })
})

describe('headersOfQuery', () => {
  it('names every header a query reads', () => {
    expect(
      headersOfQuery({ 'headers.X-A': 1, $or: [{ 'headers.b': 2 }, { $and: [{ 'headers.c': 3, 'metadata.d': 4 }] }] }),
    ).toEqual(['x-a', 'b', 'c'])
  })
})

describe('regexProblem', () => {
  it.each([
    '^eu-',
    'gpt-(4o|4\\.1)(-mini)?$',
    '^.*@example\\.com$',
    '[a-z]+\\d{3}',
    '(?:abc)+x',
    '\\$\\{[^}]*\\}',
    '^(eu|us|ap|sa|af|me|ca)-',
  ])('lets %s through', (pattern) => {
    expect(regexProblem(pattern, 256)).toBeNull()
  })

  it.each([
    '(a+)+$',
    '(a|aa)+$',
    '((a?)b)*',
    '(a|a)*x',
    '(?:x(a|b))+',
    '(a*){3}',
    'a*a*b',
    '^x|a*a*b',
    '.*.*.*.*x',
    'a{1,200}a{1,200}a{1,200}a{1,200}b',
    `${'a?'.repeat(30)}${'a'.repeat(30)}`,
    `${'(a|a)'.repeat(30)}b`,
    '(a)\\1',
    '(?=a)b',
    '(?<n>a)',
    'x'.repeat(300),
  ])('refuses %s', (pattern) => {
    expect(regexProblem(pattern, 256)).not.toBeNull()
  })

  it('is right that what it lets through ends soon, on inputs that make such expressions slow', () => {
    for (const pattern of ['^.*.*x$', 'a*b', '^a?a?a?a?a*a*c']) {
      expect(regexProblem(pattern, 256)).toBeNull()
      const begun = performance.now()
      new RegExp(pattern).test('a'.repeat(256))
      expect(performance.now() - begun).toBeLessThan(500)
    }
  })
})
