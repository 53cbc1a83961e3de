import type { Identity } from '../../proto/identity.ts'

/** The owners a change may name; a change of one concerns every key of it. */
const OWNERS = ['teamId', 'userId', 'organizationId', 'projectId'] as const

/**
 * Whom a change of identities concerns: a test for what is held under a key hash, or null when it names nobody known, which concerns everybody. A
 * change names by `keyHash`, `keyHashes`, `teamId`, `userId`, `organizationId` or `projectId`. The master key's identity carries an alias for a
 * hash, so both are compared.
 */
export function concerned(payload: unknown): ((keyHash: string, identity: Identity) => boolean) | null {
  const change = (typeof payload === 'object' && payload !== null ? payload : {}) as Record<string, unknown>
  const hashes = [change['keyHash'], ...(Array.isArray(change['keyHashes']) ? change['keyHashes'] : [])]
  const named = new Set(hashes.filter((value) => typeof value === 'string'))
  const owners = OWNERS.filter((field) => typeof change[field] === 'string')
  if (named.size === 0 && owners.length === 0) return null
  return (keyHash, identity) =>
    named.has(keyHash) || named.has(identity.keyHash) || owners.some((field) => identity[field] === change[field])
}
