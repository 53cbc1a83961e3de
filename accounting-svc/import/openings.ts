import { createHash } from 'node:crypto'
import { scopes } from '../../proto/limits.ts'
import { scopeName, scopesOf } from '../ledger/scopes.ts'
import type { EntryRow } from '../sql/ledger.ts'
import type { Owner } from './candidate.ts'

/**
 * Opening balances: ledger entries of kind `opening` (0 calls, no tokens) that make the ledger say of each owner what LiteLLM says.
 *
 * LiteLLM counts a call once for its key, once for its user, its team and so on, in totals of their own. A ledger entry counts for all of
 * them at once. So the entry of a key carries its user, team, project and organization, and the entry of any other owner is only what the
 * entries before it leave of its total: calls of deleted keys (more), or a budget window that closed for the owner and not for its keys
 * (less: the entry is negative). The order goes from the inside out, so that what a member adds is in its team and organization too.
 * Calls do not say of which customer or tag a key's spend was, so theirs are entries of their own. A last entry without any owner takes
 * back what these add to the whole, which then is the sum of the keys: every report adds up to the same.
 *
 * Only the owners given here are carried: one imported earlier has its balance already. `earlier` is what opening entries say of scopes so
 * far: of a member whose keys were imported before its membership was known.
 */
export function openingEntries(
  owners: readonly Owner[],
  runId: string,
  now: number,
  earlier: ReadonlyMap<string, bigint> = new Map(),
): EntryRow[] {
  const opened = new Set(owners.map(({ scope }) => scope))
  const sums = new Map(earlier)
  const entries: EntryRow[] = []
  let whole = 0n
  let ofKeys = 0n
  const book = (callId: string, cost: bigint, fields: Partial<EntryRow>): void => {
    if (cost === 0n) return
    for (const [attempt, part] of countable(cost).entries())
      entries.push({ ...blank(now), ...fields, callId, attempt, cost: part })
    for (const scope of scopesOf({ ...blank(now), ...fields })) sums.set(scope, (sums.get(scope) ?? 0n) + cost)
    whole += cost
  }
  const inside = owners.toSorted((a, b) => rank(a) - rank(b))
  for (const owner of inside) {
    if (owner.spend === null) continue
    const total = BigInt(owner.spend)
    if (owner.kind === 'key') ofKeys += total
    book(openingId(owner.scope), total - (sums.get(owner.scope) ?? 0n), ownFields(owner, opened))
  }
  book(`opening:litellm:balance:${runId}`, ofKeys - whole, {})
  return entries
}

/** The call id of an owner's opening entry. Scopes may hold long ids, and an index entry may not. */
export function openingId(scope: string): string {
  return `opening:litellm:${scope.length <= 200 ? scope : createHash('sha256').update(scope).digest('hex')}`
}

/** From the inside out. */
const RANKS: Partial<Record<Owner['kind'], number>> = { key: 0, team_member: 1, project: 2, team: 3, organization: 4, user: 5 }

function rank({ kind }: Owner): number {
  return RANKS[kind] ?? 6
}

/** The columns that make an entry count for its owner, and for those around it whose balances are booked with it. */
function ownFields(owner: Owner, opened: ReadonlySet<string>): Partial<EntryRow> {
  const around = carried(owner, opened)
  switch (owner.kind) {
    case 'key':
      return { ...around, keyHash: owner.scope.slice('key|'.length) }
    case 'customer':
      return { endUser: idIn(owner.scope) }
    case 'tag':
      return { tags: [idIn(owner.scope)] }
    case 'team_member':
      // Counted by user and team together: where one of them is not carried the scope is named instead.
      return around.userId === null || around.teamId === null ? { extraScopes: [owner.scope] } : around
    case 'project':
    case 'team':
    case 'organization':
    case 'user':
      return around
    default:
      return { extraScopes: [owner.scope] }
  }
}

function carried(
  owner: Owner,
  opened: ReadonlySet<string>,
): Pick<EntryRow, 'userId' | 'teamId' | 'organizationId' | 'projectId'> {
  const only = (scope: (id: string) => string, id: string | null): string | null =>
    id !== null && opened.has(scope(id)) ? id : null
  return {
    userId: only(scopes.user, owner.userId),
    teamId: only(scopes.team, owner.teamId),
    organizationId: only(scopes.organization, owner.organizationId),
    projectId: only(scopes.project, owner.projectId),
  }
}

/** The id in a scope of one id. */
function idIn(scope: string): string {
  return scopeName(scope)?.ids[0] ?? ''
}

/** An amount in parts that a number counts exactly: what many owners have spent together may pass $9 million. */
function countable(cost: bigint): number[] {
  const most = cost < 0n ? -BigInt(Number.MAX_SAFE_INTEGER) : BigInt(Number.MAX_SAFE_INTEGER)
  const parts: number[] = []
  for (let left = cost; left !== 0n; ) {
    const part = left / most >= 1n ? most : left
    parts.push(Number(part))
    left -= part
  }
  return parts
}

function blank(now: number): EntryRow {
  return {
    callId: '',
    take: 1,
    attempt: 0,
    entry: 'opening',
    startedAt: now,
    calls: 0,
    keyHash: '',
    keyAlias: null,
    userId: null,
    teamId: null,
    organizationId: null,
    projectId: null,
    endUser: null,
    tags: [],
    extraScopes: null,
    endpoint: '',
    requestedModel: '',
    modelGroup: '',
    model: null,
    provider: null,
    deploymentId: null,
    apiBase: null,
    reportedModel: null,
    serviceTier: null,
    outcome: 'success',
    status: 200,
    errorCode: null,
    errorMessage: null,
    attemptStartedAt: now,
    firstTokenAt: null,
    endedAt: now,
    inputTokens: 0,
    outputTokens: 0,
    cacheReadTokens: 0,
    cacheWriteTokens: 0,
    reasoningTokens: 0,
    otherUsage: null,
    estimated: false,
    cost: 0,
    rateVersion: null,
    stream: false,
    cacheHit: false,
    cacheKey: null,
    sessionId: null,
    clientIp: null,
    routerId: 'import',
    metadata: '{}',
  }
}
