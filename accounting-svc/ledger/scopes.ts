import { type ScopeKind, scopes } from '../../proto/limits.ts'

/** Whose money an entry is, as its columns say. */
export interface EntryOwners {
  keyHash: string
  userId: string | null
  teamId: string | null
  organizationId: string | null
  projectId: string | null
  endUser: string | null
  tags: readonly string[]
  /** Scopes the router counted the call in beside those above. Null = none. */
  extraScopes: readonly string[] | null
}

/** PostgreSQL refuses an index entry above 2,704 bytes; a character takes up to three. Every id in a name is shorter than this. */
const LONGEST = 800

/** Every scope the cost of an entry counts in (proto/limits.ts), each once. Pure. */
export function scopesOf(owners: EntryOwners): string[] {
  const { keyHash, userId, teamId, organizationId, projectId, endUser, tags, extraScopes } = owners
  const names = [scopes.key(keyHash)]
  if (userId !== null) names.push(scopes.user(userId))
  if (teamId !== null) names.push(scopes.team(teamId))
  if (teamId !== null && userId !== null) names.push(scopes.teamMember(teamId, userId))
  if (organizationId !== null) names.push(scopes.organization(organizationId))
  if (projectId !== null) names.push(scopes.project(projectId))
  if (endUser !== null) names.push(scopes.customer(endUser))
  for (const tag of tags) addOnce(names, scopes.tag(tag))
  if (extraScopes !== null) for (const scope of extraScopes) addOnce(names, scope)
  for (let index = 0; index < names.length; index += 1) {
    const name = names[index] as string
    if (name.length > LONGEST) names[index] = name.slice(0, LONGEST)
  }
  return names
}

/** Few names: looking through them costs less than a set. */
function addOnce(names: string[], name: string): void {
  if (!names.includes(name)) names.push(name)
}

/** The kinds of scopes that `spend` has rows of. */
export type OwnerKind = ScopeKind | 'organization_member'

/** A scope's name taken apart. */
export interface ScopeName {
  kind: OwnerKind
  /** Its ids in order; a member has two. */
  ids: string[]
  /** It counts one model of its owner, or one further window of it, only. */
  part: { model: string } | { window: string } | null
}

/** How many ids come after the kind. */
const IDS: Readonly<Record<OwnerKind, number>> = {
  key: 1,
  team_member: 2,
  user: 1,
  team: 1,
  project: 1,
  organization: 1,
  organization_member: 2,
  customer: 1,
  tag: 1,
  proxy: 0,
  provider: 1,
  deployment: 1,
  run: 2,
}

/** Takes a name apart that `scopes` made; null for what is none. Pure. */
export function scopeName(scope: string): ScopeName | null {
  const [kind, ...rest] = scope.split('|').map(unescaped)
  if (kind === undefined || !Object.hasOwn(IDS, kind)) return null
  const count = IDS[kind as OwnerKind]
  if (rest.length < count) return null
  const ids = rest.slice(0, count)
  const [type, name, ...more] = rest.slice(count)
  if (type === undefined) return { kind: kind as OwnerKind, ids, part: null }
  if (name === undefined || more.length > 0) return null
  if (type === 'model') return { kind: kind as OwnerKind, ids, part: { model: name } }
  return type === 'window' ? { kind: kind as OwnerKind, ids, part: { window: name } } : null
}

function unescaped(part: string): string {
  return part.includes('%') ? part.replaceAll('%7C', '|').replaceAll('%25', '%') : part
}
