import { describe, expect, it } from 'vitest'
import { sources } from './sources.ts'

/** What holds a secret, or what proves one, by name. */
const SECRET =
  /(?:^|[.\s(!])\w*?(?:[mM]asterKey|[pP]roof|[pP]roofOf\(.*\)|[sS]ignature|[sS]ecret|[pP]assword|[aA]piKey|[dD]igest|[hH]mac|[bB]earer)$/
/** Comparisons of two values; those with literals tell whether there is one at all. */
const COMPARISON = /([\w.$\])(!]+)\s*(?:===|!==)\s*([\w.$[('"`!]+)/g
const LITERAL = /^(?:['"`]|null|undefined|true|false|\d)/

/** What clients talk to. `deploy` starts it, from what its operator wrote. */
const REACHED = /^(?:edge|router-svc|accounting-svc|shared|proto)\//

/** Lines that compare a secret by anything but `sameSecret`. */
function comparisonsIn(text: string): string[] {
  return text.split('\n').filter((line) =>
    [...line.matchAll(COMPARISON)].some(([, left = '', right = '']) => {
      if (LITERAL.test(left) || LITERAL.test(right)) return false
      return SECRET.test(left) || SECRET.test(right)
    }),
  )
}

describe('secrets', () => {
  it('are compared in constant time, by sameSecret or scrypt, everywhere', () => {
    const found = sources()
      .filter(({ path, isTest }) => !isTest && REACHED.test(path))
      .flatMap(({ path, text }) => comparisonsIn(text).map((line) => `${path}: ${line.trim()}`))
    expect(found).toEqual([])
  })

  it('would be found here if they were not', () => {
    expect(comparisonsIn('if (given === masterKey) pass()')).toHaveLength(1)
    expect(comparisonsIn('owners.some((owner) => proofOf(object, owner) === proof)')).toHaveLength(1)
    expect(comparisonsIn('return request.signature !== expected')).toHaveLength(1)
    expect(comparisonsIn("return masterKey === '' || secret === null")).toHaveLength(0)
  })

  it('are compared so where there are any: keys by their hash, ids by their proof, passwords by scrypt', () => {
    const uses = sources().filter(({ isTest, text }) => !isTest && /\b(?:sameSecret|timingSafeEqual)\(/.test(text))
    expect(uses.map(({ path }) => path).sort()).toEqual([
      'accounting-svc/identity/password.ts',
      'accounting-svc/identity/publish.ts',
      'router-svc/carried/ids.ts',
      'shared/config/secrets.ts',
    ])
  })
})
