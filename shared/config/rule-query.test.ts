import { describe, expect, it } from 'vitest'
import { headersOfQuery, queryProblems } from './rule-query.ts'

describe('a query', () => {
  it.each([
    [null, 'must be an object'],
    [{ plan: 'x' }, '"plan" is no field'],
    [{ 'metadata.': 'x' }, 'is no field'],
    [{ 'body.x': 'x' }, 'is no field'],
    [{ 'metadata.plan': { $like: 'x' } }, '"$like" is no operator'],
    [{ 'metadata.plan': { constructor: 'x' } }, '"constructor" is no operator'],
    [{ 'metadata.plan': {} }, 'has no operator'],
    [{ 'metadata.plan': ['x'] }, 'must be a value'],
    [{ 'metadata.plan': { $in: 'x' } }, '$in takes a list'],
    [{ 'metadata.plan': { $gt: true } }, '$gt takes a number'],
    [{ 'metadata.plan': { $regex: '(' } }, 'is not a regular expression'],
    [{ 'metadata.plan': { $regex: '(a+)+$' } }, 'must not repeat a group'],
    [{ $and: [] }, '$and must be a list'],
    [{ $or: [{ $and: [{ x: 1 }] }] }, '$or[0]: $and[0]: "x" is no field'],
  ])('%j: %s', (query, problem) => {
    expect(queryProblems(query)).toEqual([expect.stringContaining(problem)])
  })

  it('is told everything that is wrong with it', () => {
    expect(queryProblems({ x: 1, 'metadata.a': { $in: 1, $gt: [] }, $or: [{ y: 1 }, { 'params.b': 2 }] })).toHaveLength(4)
  })

  it('bounds how deep and how large a query is', () => {
    let deep: unknown = { 'metadata.x': 1 }
    for (let level = 0; level < 10; level += 1) deep = { $and: [deep] }
    expect(queryProblems(deep)).toEqual([expect.stringContaining('nested deeper')])
    const large = { $or: Array.from({ length: 101 }, () => ({ 'metadata.x': 1 })) }
    expect(queryProblems(large)).toEqual(['there are more than 100 conditions'])
  })
})

describe('headersOfQuery', () => {
  it('names every header a query reads', () => {
    expect(
      headersOfQuery({ 'headers.X-A': 1, $or: [{ 'headers.b': 2 }, { $and: [{ 'headers.c': 3, 'metadata.d': 4 }] }] }),
    ).toEqual(['x-a', 'b', 'c'])
  })
})
