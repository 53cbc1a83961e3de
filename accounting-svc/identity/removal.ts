import { scopes } from '../../proto/limits.ts'
import type { Transaction } from '../../shared/db/db.ts'
import { setWindow } from '../ledger/windows.ts'
import { archiveRows } from '../sql/archive.ts'
import { audit } from '../sql/audit.ts'
import { findBudgets } from '../sql/budgets.ts'
import { deleteKeys, findKeys } from '../sql/keys.ts'
import { deleteProjects, listProjects } from '../sql/projects.ts'
import { listMembers } from '../sql/team-members.ts'
import { deleteTeams, findTeamViews, keysOfTeams } from '../sql/teams.ts'
import { actorOf } from './access.ts'
import { auditEntry, withoutSecrets } from './audit.ts'
import { keyInfo } from './key-fields.ts'
import { teamObject } from './team-fields.ts'
import type { Writer } from './writer.ts'

/** Deletes keys because their owner goes: archived and audited one by one. The caller tells the edges. */
export async function removeKeys(tx: Transaction, tokens: readonly string[], by: Writer): Promise<void> {
  if (tokens.length === 0) return
  const rows = (await findKeys(tx, tokens, [])).map((row) => ({ id: row.token, row: withoutSecrets(keyInfo(row)) }))
  await archiveRows(tx, 'keys', rows, actorOf(by.actor))
  await deleteKeys(tx, tokens)
  for (const { id, row } of rows) await audit(tx, auditEntry(by.actor, by.changedBy, 'deleted', 'keys', id, row, null))
}

/** Deletes projects; their keys are the caller's to delete. Archived and audited. */
export async function removeProjects(
  tx: Transaction,
  projects: readonly { project_id: string; [column: string]: unknown }[],
  by: Writer,
): Promise<void> {
  const rows = projects.map((project) => ({ id: project.project_id, row: withoutSecrets(project) }))
  await archiveRows(tx, 'projects', rows, actorOf(by.actor))
  await deleteProjects(
    tx,
    rows.map(({ id }) => id),
  )
  for (const { id, row } of rows) await audit(tx, auditEntry(by.actor, by.changedBy, 'deleted', 'projects', id, row, null))
}

/** Deletes teams with their keys, projects and memberships, all archived and audited. Gives the hashes of the keys. */
export async function removeTeams(tx: Transaction, teamIds: readonly string[], by: Writer, now: number): Promise<string[]> {
  const teams = await findTeamViews(tx, teamIds)
  const budgets = await findBudgets(
    tx,
    teams.flatMap((team) => team.team_member_budget_id ?? []),
  )
  const tokens = await keysOfTeams(tx, teamIds)
  await removeKeys(tx, tokens, by)
  const projects = await listProjects(tx, { teamIds, organizationIds: [] })
  await removeProjects(
    tx,
    projects.map((project) => ({ ...project })),
    by,
  )
  for (const { project_id } of projects) await setWindow(tx, scopes.project(project_id), null, now, 'UTC')
  for (const member of await listMembers(tx, teamIds))
    await setWindow(tx, scopes.teamMember(member.team_id, member.user_id), null, now, 'UTC')
  const rows = teams.map((team) => {
    const budget = budgets.find(({ budget_id }) => budget_id === team.team_member_budget_id)
    return { id: team.team_id, row: teamObject(team, budget ?? null) }
  })
  await archiveRows(tx, 'teams', rows, actorOf(by.actor))
  await deleteTeams(tx, teamIds)
  for (const { id, row } of rows) {
    await setWindow(tx, scopes.team(id), null, now, 'UTC')
    await audit(tx, auditEntry(by.actor, by.changedBy, 'deleted', 'teams', id, row, null))
  }
  return tokens
}
