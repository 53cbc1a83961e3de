import { scopes } from '../../proto/limits.ts'
import type { SourceName, SourceRow, SourceRows } from '../sql/import-source.ts'
import type { TargetTable } from '../sql/import-target.ts'
import { type Candidate, type Owner, type Skipped, soleOwner, Unfit } from './candidate.ts'
import { type KeyContext, mapDeprecatedKey, mapJwtMapping, mapKey } from './map-keys.ts'
import { type MemberContext, mapMember, mapOrganizationMember, memberKey, membersOf } from './map-members.ts'
import { fillerUser, mapBudget, mapCustomer, mapOrganization, mapProject, mapTag, mapTeam, mapUser } from './map-owners.ts'
import { listOf, objectOf, spentNano, textOf } from './values.ts'

/** Everything of a LiteLLM database as we would have it. */
export interface Mapped {
  /** In the order in which they can be written. */
  candidates: Candidate[]
  skipped: Skipped[]
  /** What of imported rows is not as it was, one sentence each with how many. */
  notes: string[]
  /** What everybody together has spent, where LiteLLM keeps it. */
  proxy: Owner | null
}

/** LiteLLM keeps what everybody has spent as that of a user. */
const PROXY_USER = 'litellm-proxy-budget'

/** LiteLLM's rows → ours. Pure. `now` is Unix milliseconds. */
export function mapRows(rows: SourceRows, now: number): Mapped {
  const candidates: Candidate[] = []
  const skipped: Skipped[] = []
  const context = contextOf(rows, now)
  const proxyRow = rows.users.find((row) => row.user_id === PROXY_USER)
  const users = rows.users.filter((row) => row !== proxyRow)

  function add(table: TargetTable, id: string, make: () => Candidate): void {
    try {
      candidates.push(make())
    } catch (error) {
      if (!(error instanceof Unfit) && !(error instanceof RangeError)) throw error
      skipped.push({ table, id, reason: error.message })
    }
  }
  function each<Name extends SourceName>(
    table: TargetTable,
    list: readonly SourceRow<Name>[],
    id: (row: SourceRow<Name>) => string | null,
    make: (row: SourceRow<Name>) => Candidate,
  ): void {
    for (const row of list) add(table, id(row) ?? '', () => make(row))
  }

  each<'budgets'>(
    'budgets',
    rows.budgets,
    (row) => row.budget_id,
    (row) => mapBudget(row, context),
  )
  each<'organizations'>(
    'organizations',
    rows.organizations,
    (row) => row.organization_id,
    (row) => mapOrganization(row, context),
  )
  each<'users'>(
    'users',
    users,
    (row) => row.user_id,
    (row) => mapUser(row, context),
  )
  each<'teams'>(
    'teams',
    rows.teams,
    (row) => row.team_id,
    (row) => mapTeam(row, context),
  )
  const known = new Set(users.map((row) => row.user_id))
  for (const team of rows.teams) {
    const { members, skipped: unknown } = membersOf(team, context)
    skipped.push(...unknown)
    for (const [index, member] of members.entries()) {
      if (!known.has(member.userId)) add('users', member.userId, () => fillerUser(member.userId, member.email, context))
      known.add(member.userId)
      add('team_members', `${team.team_id}:${member.userId}`, () => mapMember(team, member, index, context))
    }
  }
  each<'organizationMembers'>(
    'organization_members',
    rows.organizationMembers,
    (row) => `${row.organization_id}:${row.user_id}`,
    (row) => mapOrganizationMember(row, context),
  )
  each<'projects'>(
    'projects',
    rows.projects,
    (row) => row.project_id,
    (row) => withOrganization(mapProject(row, context), context),
  )
  each<'customers'>(
    'customers',
    rows.customers,
    (row) => row.user_id,
    (row) => mapCustomer(row, context),
  )
  each<'tags'>(
    'tags',
    rows.tags,
    (row) => row.tag_name,
    (row) => mapTag(row, context),
  )
  each<'keys'>('keys', rows.keys.toSorted(byAge), keyName, (row) => mapKey(row, context))
  each<'deprecatedKeys'>(
    'deprecated_keys',
    rows.deprecatedKeys,
    () => 'of a key in grace',
    (row) => mapDeprecatedKey(row, now),
  )
  each<'jwtMappings'>(
    'jwt_key_mappings',
    rows.jwtMappings,
    (row) => row.id,
    (row) => mapJwtMapping(row, context),
  )
  const proxy = proxyRow === undefined ? null : soleOwner('proxy', scopes.proxy, spentNano(proxyRow.spend))
  return { candidates: inOrder(candidates), skipped, notes: notesOn(rows, candidates), proxy }
}

function contextOf(rows: SourceRows, now: number): KeyContext & MemberContext {
  const usersByEmail = new Map<string, string | null>()
  for (const { user_id, user_email } of rows.users) {
    const email = textOf(user_email)?.toLowerCase()
    if (email !== undefined) usersByEmail.set(email, usersByEmail.has(email) ? null : user_id)
  }
  return {
    now: new Date(now).toISOString(),
    permissions: new Map(rows.objectPermissions.map((row) => [row.object_permission_id ?? '', permission(row)])),
    budgets: new Map(rows.budgets.map((row) => [row.budget_id ?? '', row])),
    aliases: new Map(rows.modelAliases.map((row) => [row.id ?? '', objectOf(row.aliases)])),
    teams: new Map(rows.teams.map((row) => [row.team_id ?? '', textOf(row.organization_id)])),
    memberships: new Map(rows.teamMembers.map((row) => [memberKey(row.team_id ?? '', row.user_id ?? ''), row])),
    usersByEmail,
    taken: new Set(),
  }
}

/** What an object permission grants: lists that hold something. */
function permission(row: SourceRow<'objectPermissions'>): Record<string, unknown> {
  const { object_permission_id: _, mcp_tool_permissions, ...lists } = row
  const tools = objectOf(mcp_tool_permissions)
  const granted = Object.entries(lists).filter(([, list]) => list !== null && list.length > 0)
  return {
    ...Object.fromEntries(granted.map(([name, list]) => [name, listOf(list)])),
    ...(Object.keys(tools).length === 0 ? {} : { mcp_tool_permissions: tools }),
  }
}

function withOrganization(candidate: Candidate, { teams }: Pick<KeyContext, 'teams'>): Candidate {
  const { owner } = candidate
  if (owner === null) return candidate
  return { ...candidate, owner: { ...owner, organizationId: teams.get(owner.teamId ?? '') ?? null } }
}

function byAge(a: SourceRow<'keys'>, b: SourceRow<'keys'>): number {
  return (a.created_at ?? 0) - (b.created_at ?? 0) || ((a.token ?? '') < (b.token ?? '') ? -1 : 1)
}

/** What a key may be called in a report: its token may be the key itself. */
function keyName(row: SourceRow<'keys'>): string {
  return row.key_alias ?? 'a key without an alias'
}

const ORDER: readonly TargetTable[] = [
  'budgets',
  'organizations',
  'users',
  'teams',
  'team_members',
  'organization_members',
  'projects',
  'customers',
  'tags',
  'keys',
  'deprecated_keys',
  'jwt_key_mappings',
]

function inOrder(candidates: readonly Candidate[]): Candidate[] {
  const byTable = Map.groupBy(candidates, ({ table }) => table)
  return ORDER.flatMap((table) => byTable.get(table) ?? [])
}

function notesOn(rows: SourceRows, candidates: readonly Candidate[]): string[] {
  const notes: string[] = []
  const note = (count: number, text: string): void => {
    if (count > 0) notes.push(`${count} ${text}`)
  }
  const aliases = new Map(rows.keys.map((row) => [row.token, textOf(row.key_alias)]))
  note(
    candidates.filter(({ table, id, row }) => table === 'keys' && row['key_alias'] === null && aliases.get(id) != null).length,
    'keys come without their alias, because an older key has it: aliases are unique here.',
  )
  note(
    [...rows.keys, ...rows.users, ...rows.teams, ...rows.budgets].filter(
      ({ budget_duration }) => textOf(budget_duration) !== null && !/^\s*\d{1,9}(mo|[smhdw])/.test(budget_duration ?? ''),
    ).length,
    'rows have a budget_duration that is no duration: their budgets come without one and never reset.',
  )
  note(
    [...rows.keys, ...rows.teams].filter(({ access_group_ids }) => listOf(access_group_ids).length > 0).length,
    'keys and teams name access groups, which are not imported: make the groups here (POST /v1/access_group) and grant them again; until then those may use no models but the ones they name themselves.',
  )
  note(
    [...rows.keys, ...rows.users, ...rows.teams].filter(
      ({ model_max_budget }) => Object.keys(objectOf(model_max_budget)).length > 0,
    ).length,
    'rows have budgets per model: those begin at 0, because LiteLLM keeps what was spent of them in its cache.',
  )
  note(
    candidates.filter(({ filler }) => filler === true).length,
    'members of teams have no row as users at LiteLLM: one with nothing but the id is made for each that is missing here.',
  )
  return notes
}
