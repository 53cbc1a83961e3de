import { scopes } from '../../proto/limits.ts'
import type { SourceRow } from '../sql/import-source.ts'
import { type Candidate, idOf, needsOf, type Skipped, soleOwner } from './candidate.ts'
import { budgetWindow, type MapContext, memberBudgetOf } from './map-owners.ts'
import { jsonOf, listOf, momentOf, spentNano, textOf } from './values.ts'

export interface MemberContext extends MapContext {
  /** Memberships that have a budget or have spent, by `memberKey`. */
  memberships: ReadonlyMap<string, SourceRow<'teamMembers'>>
  /** Ids of users by address in lower case; null where several have it. */
  usersByEmail: ReadonlyMap<string, string | null>
}

interface Listed {
  userId: string
  email: string | null
  role: 'admin' | 'user'
}

export function memberKey(teamId: string, userId: string): string {
  return JSON.stringify([teamId, userId])
}

/**
 * The members of a team: those it lists with their roles and, of times before there were roles, its admins and members. Each once, the
 * first mention with its role.
 */
export function membersOf(
  row: SourceRow<'teams'>,
  context: Pick<MemberContext, 'usersByEmail'>,
): { members: Listed[]; skipped: Skipped[] } {
  const members = new Map<string, Listed>()
  const skipped: Skipped[] = []
  const add = (userId: string, email: string | null, role: Listed['role']): void => {
    if (!members.has(userId)) members.set(userId, { userId, email, role })
  }
  const listed = jsonOf(row.members_with_roles)
  for (const entry of Array.isArray(listed) ? (listed as unknown[]) : []) {
    const { user_id, user_email, role } = (typeof entry === 'object' && entry !== null ? entry : {}) as Record<string, unknown>
    const email = typeof user_email === 'string' ? textOf(user_email) : null
    const userId =
      typeof user_id === 'string' && user_id !== '' ? user_id : (context.usersByEmail.get(email?.toLowerCase() ?? '') ?? null)
    if (userId !== null) add(userId, email, role === 'admin' ? 'admin' : 'user')
    else skipped.push({ table: 'team_members', id: `${row.team_id}:${email ?? '?'}`, reason: 'no one user has its user_email' })
  }
  for (const userId of listOf(row.admins)) add(userId, null, 'admin')
  for (const userId of listOf(row.members)) add(userId, null, 'user')
  return { members: [...members.values()], skipped }
}

export function mapMember(team: SourceRow<'teams'>, member: Listed, index: number, context: MemberContext): Candidate {
  const teamId = idOf(team.team_id)
  const userId = idOf(member.userId)
  const membership = context.memberships.get(memberKey(teamId, userId))
  const fallback = memberBudgetOf(team)
  const named = textOf(membership?.budget_id ?? null)
  // LiteLLM links each member to the team's default; here having none of its own means that.
  const budgetId = named === fallback ? null : named
  const budget = budgetId === null ? undefined : context.budgets.get(budgetId)
  const since = team.created_at ?? Date.parse(context.now)
  return {
    table: 'team_members',
    id: `${teamId}:${userId}`,
    needs: needsOf({ teams: teamId, users: userId, budgets: budgetId }),
    owner: {
      ...soleOwner(
        'team_member',
        scopes.teamMember(teamId, userId),
        membership === undefined ? null : spentNano(membership.spend),
        budgetWindow(budgetId ?? fallback, context),
      ),
      teamId,
      userId,
      organizationId: textOf(team.organization_id),
    },
    row: {
      team_id: teamId,
      user_id: userId,
      role: member.role,
      budget_id: budgetId,
      metadata: {},
      allowed_models: listOf(budget?.allowed_models ?? null),
      // Members keep their order.
      created_at: momentOf(since + index),
    },
  }
}

export function mapOrganizationMember(row: SourceRow<'organizationMembers'>, context: MapContext): Candidate {
  const organizationId = idOf(row.organization_id)
  const userId = idOf(row.user_id)
  const budgetId = textOf(row.budget_id)
  const scope = scopes.organizationMember(organizationId, userId)
  return {
    table: 'organization_members',
    id: `${organizationId}:${userId}`,
    needs: needsOf({ organizations: organizationId, users: userId, budgets: budgetId }),
    owner: soleOwner('organization_member', scope, spentNano(row.spend), budgetWindow(budgetId, context)),
    row: {
      organization_id: organizationId,
      user_id: userId,
      user_role: textOf(row.user_role) ?? 'internal_user',
      budget_id: budgetId,
      created_at: momentOf(row.created_at) ?? context.now,
      updated_at: momentOf(row.updated_at) ?? context.now,
    },
  }
}
