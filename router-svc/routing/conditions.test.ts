import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { queryProblems } from '../../shared/config/rule-query.ts'
import { type ConditionContext, matches } from './conditions.ts'

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
    expect(queryProblems(query)).toEqual([])
    expect(matches(query, context)).toBe(expected)
  })

  it('does not try an expression on more text than it was judged for', () => {
    const query = { 'metadata.text': { $regex: 'a' } }
    expect(matches(query, { ...context, metadata: { text: 'a'.repeat(256) } })).toBe(true)
    expect(matches(query, { ...context, metadata: { text: 'a'.repeat(257) } })).toBe(false)
  })

  it('never throws on a query in which nothing was found', () => {
    const value = fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.constant(null), fc.array(fc.string()), fc.object())
    const operator = fc.constantFrom('$eq', '$ne', '$in', '$nin', '$gt', '$lte', '$regex', '$exists', '$x')
    const query = fc.dictionary(
      fc.constantFrom('metadata.plan', 'headers.a', 'params.b', 'c', '$and'),
      fc.oneof(value, fc.dictionary(operator, value)),
    )
    fc.assert(
      fc.property(query, (asked) => {
        if (queryProblems(asked).length === 0) expect(typeof matches(asked, context)).toBe('boolean')
      }),
      { numRuns: 100 },
    )
  })
})
