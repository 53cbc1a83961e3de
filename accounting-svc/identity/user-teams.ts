import type { Config } from '../../shared/config/config.ts'
import type { Database, Transaction } from '../../shared/db/db.ts'
import { GatewayError } from '../../shared/errors.ts'
import { findBudgets } from '../sql/budgets.ts'
import { findOrganization, insertOrganizationMember } from '../sql/organizations.ts'
import { findTeamView, listTeams, lockTeam } from '../sql/teams.ts'
import { teamObject } from './team-fields.ts'
import { joinMembers } from './team-members.ts'
import type { Writer } from './writer.ts'

/** A team that a new user joins. */
interface TeamToJoin {
  teamId: string
  role: 'admin' | 'user'
  /** Dollars inside the team, or null. */
  budget: unknown
}

/**
 * Makes a user that is there a member of the teams and organizations that `fields` name: `teams` holds ids, or ids with a role and a
 * budget. Throws GatewayError `not_found` (naming the field) for one that does not exist.
 */
export async function joinAll(
  joining: { tx: Transaction; config: Config; by: Writer; now: number },
  userId: string,
  fields: Record<string, unknown>,
): Promise<void> {
  const { tx, now } = joining
  for (const { teamId, role, budget } of teamsOf(fields['teams'])) {
    await lockTeam(tx, teamId)
    const team = await findTeamView(tx, teamId)
    if (team === undefined) throw missing('teams', teamId)
    await joinMembers(joining, team, [{ userId, email: null, role }], budget === null ? {} : { max_budget_in_team: budget })
  }
  const organizations = (fields['organizations'] as string[] | null | undefined) ?? []
  // Inside an organization a user is a viewer or not; who administrates it is said there.
  const role = fields['user_role'] === 'internal_user_viewer' ? 'internal_user_viewer' : 'internal_user'
  for (const organizationId of new Set(organizations)) {
    if ((await findOrganization(tx, organizationId)) === undefined) throw missing('organizations', organizationId)
    await insertOrganizationMember(tx, { organizationId, userId, role, budgetId: null, at: new Date(now) })
  }
}

/** The teams of a user, or every team (undefined), as /team/info shows them. */
export async function teamsShown(db: Database, userId: string | undefined): Promise<Record<string, unknown>[]> {
  const { rows } = await listTeams(db, { userId }, { limit: null, offset: 0, sort: 'created_at', descending: false })
  const ids = rows.flatMap((team) => team.team_member_budget_id ?? [])
  const budgets = new Map((await findBudgets(db, [...new Set(ids)])).map((budget) => [budget.budget_id, budget]))
  return rows.map((team) => teamObject(team, budgets.get(team.team_member_budget_id ?? '') ?? null))
}

/** Each team once, in one order everywhere: they are locked one after the other. */
function teamsOf(value: unknown): TeamToJoin[] {
  const list = (value as (string | Record<string, unknown>)[] | null | undefined) ?? []
  const teams = list.map((team): TeamToJoin => {
    if (typeof team === 'string') return { teamId: team, role: 'user', budget: null }
    const role = team['user_role'] === 'admin' ? 'admin' : 'user'
    return { teamId: String(team['team_id']), role, budget: team['max_budget_in_team'] ?? null }
  })
  return [...new Map(teams.map((team) => [team.teamId, team])).values()].sort((a, b) => (a.teamId < b.teamId ? -1 : 1))
}

function missing(field: string, id: string): GatewayError {
  return new GatewayError('not_found', `${field}: there is no '${id}'.`, { param: field })
}
