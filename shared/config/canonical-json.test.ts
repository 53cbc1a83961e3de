import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { canonicalJson } from './canonical-json.ts'

/** How ids of deployments were first made; the text must stay this, or every deployment of every gateway becomes another. */
function asFirstMade(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) => {
    if (typeof item !== 'object' || item === null || Array.isArray(item)) return item
    return Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)))
  })
}

const name = fc.oneof(
  fc.string(),
  fc.nat().map(String),
  fc.constantFrom('10', '9', '01', '4294967294', '4294967295', '__proto__'),
)
const { tree } = fc.letrec((tie) => ({
  tree: fc.oneof({ maxDepth: 4 }, tie('leaf'), fc.array(tie('tree')), fc.dictionary(name, tie('tree'))),
  leaf: fc.oneof(fc.string(), fc.double(), fc.boolean(), fc.constant(null), fc.constant(undefined)),
}))

describe('canonicalJson', () => {
  it('is the text that ids of deployments have always been made of', () => {
    fc.assert(fc.property(fc.dictionary(name, tree), (value) => void expect(canonicalJson(value)).toBe(asFirstMade(value))))
    const dated = { since: new Date(0), bias: { 10: 1, 9: 2, a: 3, '-1': 4 } }
    expect(canonicalJson(dated)).toBe(asFirstMade(dated))
  })

  it('does not depend on the order members were written in', () => {
    expect(canonicalJson({ b: [{ d: 1, c: 2 }], a: undefined, 10: 0, 9: 0 })).toBe('{"9":0,"10":0,"b":[{"c":2,"d":1}]}')
    const shuffled = fc
      .dictionary(name, tree)
      .chain((value) =>
        fc.tuple(fc.constant(value), fc.shuffledSubarray(Object.entries(value), { minLength: Object.keys(value).length })),
      )
    fc.assert(
      fc.property(
        shuffled,
        ([value, entries]) => void expect(canonicalJson(Object.fromEntries(entries))).toBe(canonicalJson(value)),
      ),
    )
  })
})
