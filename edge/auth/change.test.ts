import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { adminIdentity, type Identity } from '../../proto/identity.ts'
import { createChanges } from './change.ts'

function identityOf(keyHash: string, fields: Partial<Identity> = {}): Identity {
  return { ...adminIdentity(keyHash), teamId: null, userId: null, organizationId: null, projectId: null, ...fields }
}

const hash = fc.constantFrom('a', 'b', 'c', 'd', 'e')
const owner = fc.constantFrom('o1', 'o2', 'o3')
const change = fc.oneof(
  { weight: 8, arbitrary: fc.record({ keyHash: hash }) },
  { weight: 4, arbitrary: fc.record({ keyHashes: fc.array(hash, { minLength: 1 }) }) },
  { weight: 4, arbitrary: fc.record({ teamId: owner }) },
  { weight: 2, arbitrary: fc.record({ userId: owner }) },
  { weight: 1, arbitrary: fc.constant({}) },
)
const holder = fc.record({ keyHash: hash, teamId: fc.option(owner), userId: fc.option(owner) })

/** Whether a change concerns a holder, from the change alone. */
function concerns(payload: Record<string, unknown>, held: { keyHash: string; teamId: string | null; userId: string | null }) {
  if (Object.keys(payload).length === 0) return true
  const hashes = [payload['keyHash'], ...((payload['keyHashes'] as string[] | undefined) ?? [])]
  return (
    hashes.includes(held.keyHash) ||
    (held.teamId !== null && payload['teamId'] === held.teamId) ||
    (held.userId !== null && payload['userId'] === held.userId)
  )
}

describe('changes of identities', () => {
  it('concern what one of them named after it was held, and nothing else while all names are remembered', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 30 }), holder, fc.nat(30), (payloads, held, at) => {
        const changes = createChanges()
        for (const payload of payloads) changes.hear(payload)
        const asOf = Math.min(at, payloads.length)
        const { keyHash, ...owners } = held
        const expected = payloads.slice(asOf).some((payload) => concerns(payload, held))
        expect(changes.since(asOf, keyHash, identityOf(keyHash, owners))).toBe(expected)
      }),
    )
  })

  it('concern no less when only a few names are remembered', () => {
    fc.assert(
      fc.property(
        fc.array(change, { maxLength: 30 }),
        holder,
        fc.nat(30),
        fc.integer({ min: 1, max: 4 }),
        (payloads, held, at, most) => {
          const changes = createChanges(most)
          for (const payload of payloads) changes.hear(payload)
          const asOf = Math.min(at, payloads.length)
          const { keyHash, ...owners } = held
          const found = changes.since(asOf, keyHash, identityOf(keyHash, owners))
          if (payloads.slice(asOf).some((payload) => concerns(payload, held))) expect(found).toBe(true)
        },
      ),
    )
  })

  it('find the master key by its alias', () => {
    const changes = createChanges()
    changes.hear({ keyHash: 'alias' })
    expect(changes.since(0, 'hash', identityOf('alias'))).toBe(true)
    expect(changes.since(1, 'hash', identityOf('alias'))).toBe(false)
  })
})
