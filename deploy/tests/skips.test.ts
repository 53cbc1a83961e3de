import { expect, it } from 'vitest'
import { sources } from './sources.ts'

/** Conditions under which a test may stay out. Anything else that keeps a test from running is refused. */
const CONDITIONS = [
  // Recordings of real answers are other people's text and are kept beside the checkout, not in it. CI must have them.
  'skipIf(!haveRecordings())',
  // What is tested reads /proc.
  "runIf(process.platform === 'linux')",
]

it('no test is skipped, focused or put off, but for a named condition', () => {
  const found = sources()
    .filter(({ isTest }) => isTest)
    .flatMap(({ path, code }) => {
      const calls = code.matchAll(
        /\b(?:it|test|describe|suite)(?:\.\w+)*\.(?:(?:skip|only|todo|fails)\b|(?:skipIf|runIf)\((?:[^()]|\([^()]*\))*\))|\b(?:xit|xdescribe|fit|fdescribe)\(/g,
      )
      return [...calls]
        .filter(([call]) => !CONDITIONS.some((condition) => call.endsWith(`.${condition}`)))
        .map(([call]) => `${path}: ${call}`)
    })
  expect(found).toEqual([])
})
