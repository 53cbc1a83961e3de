import type { Identity } from '../../proto/identity.ts'

/**
 * What changes of identities have named. Whoever holds something of an identity asks when it is used whether it is from before a change: no change
 * walks over all that is held. When 500 users' budgets began anew at midnight, a walk for each over 100,000 keys took seconds in one turn.
 */
export interface Changes {
  /** Rises with every change heard. */
  readonly count: number
  /** Takes note of a change; true when it concerns everybody. */
  hear(payload: unknown): boolean
  /** Whether a change after `asOf`, a `count`, concerns what is held under a key hash. */
  since(asOf: number, keyHash: string, identity: Identity): boolean
}

/** The owners a change may name; a change of one concerns every key of it. */
const OWNERS = ['teamId', 'userId', 'organizationId', 'projectId'] as const
/** Names remembered, 1 MB. What is held from before an older one counts as concerned. */
const NAMES_MAX = 10_000

/**
 * A change names by `keyHash`, `keyHashes`, `teamId`, `userId`, `organizationId` or `projectId`; one that names nobody known concerns everybody. The
 * master key's identity carries an alias for a hash, so both are looked for.
 */
export function createChanges(most = NAMES_MAX): Changes {
  /** Names → the count of the last change that named them, the oldest first. */
  const named = new Map<string, number>()
  let count = 0
  /** All that is held from before it is concerned. */
  let floor = 0
  const after = (asOf: number, name: string): boolean => (named.get(name) ?? 0) > asOf
  return {
    get count() {
      return count
    },
    hear(payload) {
      count += 1
      const names = namesOf(payload)
      if (names.length === 0) {
        named.clear()
        floor = count
        return true
      }
      for (const name of names) {
        named.delete(name)
        named.set(name, count)
      }
      for (const [name, at] of named) {
        if (named.size <= most) break
        named.delete(name)
        floor = at
      }
      return false
    },
    since(asOf, keyHash, identity) {
      if (asOf >= count) return false
      if (asOf < floor || after(asOf, keyHash) || after(asOf, identity.keyHash)) return true
      return OWNERS.some((field) => identity[field] !== null && after(asOf, `${field}|${identity[field]}`))
    },
  }
}

function namesOf(payload: unknown): string[] {
  const change = (typeof payload === 'object' && payload !== null ? payload : {}) as Record<string, unknown>
  const hashes = [change['keyHash'], ...(Array.isArray(change['keyHashes']) ? change['keyHashes'] : [])]
  const owners = OWNERS.filter((field) => typeof change[field] === 'string').map((field) => `${field}|${change[field]}`)
  return [...hashes.filter((value) => typeof value === 'string'), ...owners]
}
