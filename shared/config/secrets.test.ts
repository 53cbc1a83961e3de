import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createSealer, hashKey, sameSecret } from './secrets.ts'

describe('hashKey', () => {
  it('is the SHA-256 that LiteLLM stores', () => {
    // printf %s sk-1234 | sha256sum
    expect(hashKey('sk-1234')).toBe('88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b')
  })
})

describe('createSealer', () => {
  const sealer = createSealer('a salt key')

  it('opens what it sealed, and what another process with the same secret sealed', () => {
    fc.assert(fc.property(fc.string({ unit: 'grapheme' }), (text) => createSealer('a salt key').open(sealer.seal(text)) === text))
  })

  it('seals one text differently each time and shows nothing of it', () => {
    const first = sealer.seal('sk-secret-value')
    expect(first).toMatch(/^sealed:/)
    expect(first).not.toContain('secret')
    expect(sealer.seal('sk-secret-value')).not.toBe(first)
  })

  it('returns a text that was never sealed', () => {
    expect(sealer.open('sk-plain')).toBe('sk-plain')
  })

  it('refuses what another secret sealed, and what was changed or cut', () => {
    const sealed = sealer.seal('sk-secret')
    const middle = Math.floor(sealed.length / 2)
    const changed = sealed.slice(0, middle) + (sealed[middle] === 'A' ? 'B' : 'A') + sealed.slice(middle + 1)
    expect(() => createSealer('another').open(sealed)).toThrow(expect.objectContaining({ code: 'internal' }))
    expect(() => sealer.open(changed)).toThrow(expect.objectContaining({ code: 'internal' }))
    expect(() => sealer.open('sealed:1:AAAA')).toThrow(expect.objectContaining({ code: 'internal' }))
  })

  it('leaves texts as they are without a secret, and says so when one was sealed', () => {
    const open = createSealer(null)
    expect(open.open(open.seal('sk-plain'))).toBe('sk-plain')
    expect(() => open.open(sealer.seal('x'))).toThrow(/LITELLM_SALT_KEY/)
  })
})

describe('sameSecret', () => {
  it('tells equal secrets from others of any length', () => {
    expect(sameSecret('sk-1', 'sk-1')).toBe(true)
    expect(sameSecret('sk-1', 'sk-2')).toBe(false)
    expect(sameSecret('sk-1', 'sk-1 and more')).toBe(false)
  })
})
