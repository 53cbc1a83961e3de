import { describe, expect, it } from 'vitest'
import { regexProblem } from './safe-regex.ts'

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
