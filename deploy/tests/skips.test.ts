import { expect, it } from 'vitest'
import { sources } from './sources.ts'

it('no test is skipped, focused or put off', () => {
  const found = sources()
    .filter(({ isTest }) => isTest)
    .flatMap(({ path, code }) => {
      const calls = code.matchAll(
        /\b(?:it|test|describe|suite)(?:\.\w+)*\.(?:skip|only|todo|skipIf|runIf|fails)\b|\b(?:xit|xdescribe|fit|fdescribe)\(/g,
      )
      return [...calls].map((match) => `${path}: ${match[0]}`)
    })
  expect(found).toEqual([])
})
