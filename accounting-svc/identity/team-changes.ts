import type { Identity } from '../../proto/identity.ts'
import { scopes } from '../../proto/limits.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Config } from '../../shared/config/config.ts'
import type { Counters } from '../../shared/counters/counters.ts'
import type { Database, Transaction } from '../../shared/db/db.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Log } from '../../shared/log.ts'
import type { AuditAction } from '../sql/audit.ts'
import { audit } from '../sql/audit.ts'
import { type BudgetRow, findBudget } from '../sql/budgets.ts'
import { type Memberships, membershipsOf } from '../sql/memberships.ts'
import { findTeamView, lockTeam, type TeamView } from '../sql/teams.ts'
import { adminOnly, runsOrganization, runsTeam, seesTeam } from './access.ts'
import { auditEntry } from './audit.ts'
import { scheduleOwner, zoneOf } from './budgets.ts'
import { teamObject } from './team-fields.ts'
import type { Writer } from './writer.ts'

export interface TeamDeps {
  db: Database
  bus: Bus
  counters: Pick<Counters, 'book'>
  config: () => Config
  clock: Clock
  log: Log
}

/** Who may make a change: team admins too, or only who runs the organization above. */
export type Right = 'team' | 'organization'

/** One write to a team or to its members. */
export interface TeamChange {
  teamId: string
  /** Of the route, for the refusal. */
  path: string
  right: Right
  action?: AuditAction
  /** May also be made by this caller. */
  allowed?: boolean
}

/** A changed team, and what the change gave. */
export interface ChangedTeam<Result> {
  team: TeamView
  budget: BudgetRow | null
  result: Result
}

/**
 * Makes one change to a team in one transaction, in which nobody else changes it: checks who may, does `work`, audits, tells the edges.
 * Throws GatewayError `not_found` for a team the caller cannot see, `admin_only` for one it may not change.
 */
export async function changeTeam<Result>(
  deps: TeamDeps,
  by: Writer,
  change: TeamChange,
  work: (tx: Transaction, team: TeamView, memberships: Memberships) => Promise<Result>,
): Promise<ChangedTeam<Result>> {
  const { teamId } = change
  const memberships = await membershipsOf(deps.db, by.actor.userId)
  const changed = await deps.db.transaction(async (tx) => {
    await lockTeam(tx, teamId)
    const before = await mustFindTeam(tx, teamId)
    if (!mayChange(by.actor, memberships, before, change)) throw refusal(by.actor, memberships, before, change.path)
    const shownBefore = teamObject(before, await memberBudgetOf(tx, before))
    const result = await work(tx, before, memberships)
    const team = await mustFindTeam(tx, teamId)
    const budget = await memberBudgetOf(tx, team)
    await audit(
      tx,
      auditEntry(by.actor, by.changedBy, change.action ?? 'updated', 'teams', teamId, shownBefore, teamObject(team, budget)),
    )
    return { team, budget, result }
  })
  deps.bus.announce('identity', { teamId })
  return changed
}

function mayChange(actor: Identity, memberships: Memberships, team: TeamView, change: TeamChange): boolean {
  const may =
    change.right === 'team' ? runsTeam(actor, memberships, team) : runsOrganization(actor, memberships, team.organization_id)
  return may || change.allowed === true
}

/** A team the caller may look at: one of its members, who runs it, who reads everything, a key of it. */
export async function visibleTeam(db: Transaction, teamId: string, actor: Identity, memberships: Memberships): Promise<TeamView> {
  const team = await mustFindTeam(db, teamId)
  if (!sees(actor, memberships, team)) throw noTeam(teamId)
  return team
}

/** Why a team may not be changed: it cannot even be seen, or it can. */
export function refusal(actor: Identity, memberships: Memberships, team: TeamView, path: string): GatewayError {
  return sees(actor, memberships, team) ? adminOnly(actor, path) : noTeam(team.team_id)
}

function sees(actor: Identity, memberships: Memberships, team: TeamView): boolean {
  return seesTeam(actor, memberships, team) || actor.teamId === team.team_id
}

export async function mustFindTeam(db: Transaction, teamId: string): Promise<TeamView> {
  const team = await findTeamView(db, teamId)
  if (team === undefined) throw noTeam(teamId)
  return team
}

/** The budget row of members who have none of their own. */
export async function memberBudgetOf(db: Transaction, team: TeamView): Promise<BudgetRow | null> {
  return team.team_member_budget_id === null ? null : ((await findBudget(db, team.team_member_budget_id)) ?? null)
}

/** Schedules the windows of a team's spend as it is stored now. */
export async function scheduleTeam(tx: Transaction, team: TeamView, now: number, config: Config): Promise<void> {
  const owner = { scope: scopes.team(team.team_id), own: team, windows: team.budget_limits }
  await scheduleOwner(tx, owner, team.budget_duration, now, zoneOf(config))
}

/** Teams that anybody may join, as the configuration has them. */
export function availableTeams(config: Config): string[] {
  const list = config.litellm_settings.default_internal_user_params?.['available_teams']
  return Array.isArray(list) ? list.filter((id): id is string => typeof id === 'string') : []
}

function noTeam(teamId: string): GatewayError {
  return new GatewayError('not_found', `Team not found, passed team_id=${teamId}.`, { param: 'team_id' })
}
