import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fits, mayCall, mayUse } from './model-access.ts'

const of = (...models: string[]) => ({ models })

describe('mayUse', () => {
  it.each([
    ['no list', of(), 'gpt-4o', [], undefined, true],
    ['a star', of('*'), 'gpt-4o', [], undefined, true],
    ['all-proxy-models', of('all-proxy-models'), 'gpt-4o', [], undefined, true],
    ['the name', of('a', 'gpt-4o'), 'gpt-4o', [], undefined, true],
    ['another name', of('gpt-4'), 'gpt-4o', [], undefined, false],
    ['an access group', of('beta'), 'gpt-4o', ['alpha', 'beta'], undefined, true],
    ['a group the model is not in', of('beta'), 'gpt-4o', ['alpha'], undefined, false],
    ['a wildcard that fits', of('gpt-*'), 'gpt-4o', [], undefined, true],
    ['a wildcard over provider and name', of('openai/*'), 'gpt-4o', [], 'openai', true],
    ['a wildcard of another provider', of('anthropic/*'), 'gpt-4o', [], 'openai', false],
    ['a wildcard without knowing the provider', of('openai/*'), 'gpt-4o', [], undefined, false],
    ['all-team-models that accounting did not replace', of('all-team-models'), 'gpt-4o', [], undefined, false],
    ['no-default-models', of('no-default-models'), 'gpt-4o', [], undefined, false],
    ['a name with characters that mean something elsewhere', of('gpt-4.o*'), 'gpt-4xo-mini', [], undefined, false],
  ])('says about %s what the rule says', (_case, identity, model, groups, provider, expected) => {
    expect(mayUse(identity, model, groups, provider)).toBe(expected)
  })
})

describe('mayCall', () => {
  const openai = (model: string, ...accessGroups: string[]) => ({ provider: 'openai', model, accessGroups })

  it.each([
    ['no list', of(), ['secret'], [openai('gpt-4o')], true],
    ["the provider's own name under its wildcard", of('openai/*'), ['gpt-4o'], [openai('gpt-4o')], true],
    ["an operator's name for something of that provider", of('openai/*'), ['secret'], [openai('gpt-4o')], false],
    ['a name that carries the provider itself', of('openai/*'), ['openai/gpt-4o'], [openai('gpt-4o')], true],
    ['an alias whose target is listed', of('gpt'), ['nick', 'gpt'], [openai('gpt-4o')], true],
    ['an alias that is listed itself', of('nick'), ['nick', 'gpt'], [openai('gpt-4o')], true],
    ['an access group of one of several', of('beta'), ['gpt'], [openai('a'), openai('b', 'beta')], true],
    [
      'the wildcard of the second of several providers',
      of('groq/*'),
      ['m'],
      [openai('m'), { ...openai('m'), provider: 'groq' }],
      true,
    ],
    ['a listed name that nobody serves', of('gone'), ['gone'], [], true],
    ['a name that nobody serves', of('gpt'), ['gone'], [], false],
  ])('says about %s what the rule says', (_case, identity, names, served, expected) => {
    expect(mayCall(identity, names, served)).toBe(expected)
  })
})

describe('fits', () => {
  it('agrees with an anchored regular expression', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', '.', '/', '*'), maxLength: 12 })
    fc.assert(
      fc.property(text, text, (pattern, candidate) => {
        const escaped = pattern.split('*').map((part) => part.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&'))
        expect(fits(pattern, candidate)).toBe(new RegExp(`^${escaped.join('.*')}$`, 's').test(candidate))
      }),
      { numRuns: 2000 },
    )
  })
})
