import type { Identity } from '../../proto/identity.ts'
import { scopes } from '../../proto/limits.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Config } from '../../shared/config/config.ts'
import type { Counters } from '../../shared/counters/counters.ts'
import type { Database, Transaction } from '../../shared/db/db.ts'
import { alreadyExists } from '../../shared/db/sql-state.ts'
import { GatewayError } from '../../shared/errors.ts'
import { rowId } from '../../shared/ids.ts'
import type { Log } from '../../shared/log.ts'
import { mayUse } from '../../shared/model-access.ts'
import { dollars } from '../dollars.ts'
import { setWindow } from '../ledger/windows.ts'
import { audit } from '../sql/audit.ts'
import { type BudgetRow, findBudget, findBudgets } from '../sql/budgets.ts'
import { setSpend } from '../sql/limits.ts'
import { type Memberships, membershipsOf } from '../sql/memberships.ts'
import {
  findProject,
  insertProject,
  keysOfProjects,
  listProjects,
  type ProjectRow,
  type ProjectView,
  updateProject,
} from '../sql/projects.ts'
import { findTeamView, lockTeam, type TeamView } from '../sql/teams.ts'
import { actorOf, adminOnly, readsAll, runsTeam, seesTeam } from './access.ts'
import { announceKeys } from './announce-keys.ts'
import { auditEntry } from './audit.ts'
import { badRequest, budgetObject, scheduleOwner, zoneOf } from './budgets.ts'
import { changedMetadata, plainColumns } from './field-columns.ts'
import { ownBudget } from './own-budget.ts'
import { removeKeys, removeProjects } from './removal.ts'
import { tellSpent } from './spend-changes.ts'
import type { Writer } from './writer.ts'

/** What a client sends to make or change a project, already checked against its schema (routes/projects.ts). */
export type ProjectFields = Record<string, unknown>

export interface Projects {
  create(fields: ProjectFields & { team_id: string }, by: Writer): Promise<Record<string, unknown>>
  update(fields: ProjectFields & { project_id: string }, by: Writer): Promise<Record<string, unknown>>
  /** The projects as they were. Their keys are deleted too. */
  remove(ids: readonly string[], by: Writer): Promise<Record<string, unknown>[]>
  info(id: string, actor: Identity): Promise<Record<string, unknown>>
  list(actor: Identity): Promise<Record<string, unknown>[]>
}

/** Columns whose value is stored as it is sent, and what null means for them. */
const PLAIN = { project_alias: null, description: null, models: [], blocked: false, object_permission: null } as const

/** Fields without a column: they are kept inside `metadata`, where whoever enforces them looks. */
const IN_METADATA = ['model_rpm_limit', 'model_tpm_limit', 'guardrails', 'tags'] as const

interface OwnerDeps {
  db: Database
  bus: Bus
  counters: Pick<Counters, 'book'>
  config: () => Config
  clock: Clock
  log: Log
}

/** The rules of projects, which are between a team and its keys. Every write is audited in its own transaction and told to the edges. */
export function createProjects(deps: OwnerDeps): Projects {
  const { db, bus, clock, config } = deps
  const zone = (): string => zoneOf(config())

  async function shownNow(tx: Transaction, id: string): Promise<Record<string, unknown>> {
    const project = await mustFind(tx, id)
    return projectObject(project, project.budget_id === null ? null : ((await findBudget(tx, project.budget_id)) ?? null))
  }

  async function schedule(tx: Transaction, id: string, budget: BudgetRow | null): Promise<void> {
    await scheduleOwner(tx, { scope: scopes.project(id), budget }, budget?.budget_duration ?? null, clock.now(), zone())
  }

  return {
    async create(fields, by) {
      const id = text(fields['project_id']) ?? rowId()
      const memberships = await membershipsOf(db, by.actor.userId)
      const made = await db.transaction(async (tx) => {
        // The team must not go while something is added to it.
        await lockTeam(tx, fields.team_id)
        const team = await findTeamView(tx, fields.team_id)
        if (team === undefined || !seesTeam(by.actor, memberships, team)) throw noTeam(fields.team_id)
        if (!runsTeam(by.actor, memberships, team)) throw adminOnly(by.actor, '/project/new')
        const budget = await ownBudget(tx, null, fields, by, clock.now(), zone())
        const [at, who] = [new Date(clock.now()), actorOf(by.actor)]
        const columns = columnsOf(fields, {})
        refuseBeyond(columns.models ?? [], team)
        const row = { ...columns, project_id: id, team_id: team.team_id, budget_id: budget?.budget_id ?? null }
        await insertProject(tx, { ...row, created_at: at, created_by: who, updated_at: at, updated_by: who }).catch(
          (error: unknown) => {
            throw alreadyExists(error) ? badRequest('project_id', `Project ${id} already exists.`) : error
          },
        )
        await schedule(tx, id, budget)
        // What one of this id spent before it was deleted is in the ledger.
        const spent = await setSpend(tx, scopes.project(id), 0)
        const shown = await shownNow(tx, id)
        await audit(tx, auditEntry(by.actor, by.changedBy, 'created', 'projects', id, null, shown))
        return { shown, spent }
      })
      await tellSpent(deps, [made.spent])
      bus.announce('identity', { projectId: id })
      return made.shown
    },

    async update(fields, by) {
      const id = fields.project_id
      const memberships = await membershipsOf(db, by.actor.userId)
      const shown = await db.transaction(async (tx) => {
        const project = await requireRuns(tx, id, by.actor, memberships, '/project/update')
        const before = await shownNow(tx, id)
        if (fields['team_id'] != null && fields['team_id'] !== project.team_id)
          throw badRequest('team_id', `Project ${id} is of team ${project.team_id}: its keys are too, so it cannot move.`)
        const columns = columnsOf(fields, project.metadata)
        const team = await findTeamView(tx, project.team_id)
        if (columns.models !== undefined && team !== undefined) refuseBeyond(columns.models, team)
        const budget = await ownBudget(tx, project.budget_id, fields, by, clock.now(), zone())
        const stamp = { updated_at: new Date(clock.now()), updated_by: actorOf(by.actor) }
        await updateProject(tx, id, { ...columns, budget_id: budget?.budget_id ?? null, ...stamp })
        await schedule(tx, id, budget)
        const after = await shownNow(tx, id)
        const blocked = columns.blocked === undefined || columns.blocked === project.blocked ? null : columns.blocked
        const action = blocked === null ? 'updated' : blocked ? 'blocked' : 'unblocked'
        await audit(tx, auditEntry(by.actor, by.changedBy, action, 'projects', id, before, after))
        return after
      })
      bus.announce('identity', { projectId: id })
      return shown
    },

    async remove(asked, by) {
      const ids = [...new Set(asked)]
      const memberships = await membershipsOf(db, by.actor.userId)
      const { rows, tokens } = await db.transaction(async (tx) => {
        const rows: ({ project_id: string } & Record<string, unknown>)[] = []
        for (const id of ids) {
          await requireRuns(tx, id, by.actor, memberships, '/project/delete')
          rows.push({ ...(await shownNow(tx, id)), project_id: id })
        }
        const tokens = await keysOfProjects(tx, ids)
        await removeKeys(tx, tokens, by)
        await removeProjects(tx, rows, by)
        for (const id of ids) await setWindow(tx, scopes.project(id), null, clock.now(), zone())
        return { rows, tokens }
      })
      for (const projectId of ids) bus.announce('identity', { projectId })
      announceKeys(bus, tokens)
      return rows
    },

    async info(id, actor) {
      const memberships = await membershipsOf(db, actor.userId)
      const project = await mustFind(db, id)
      if (!sees(actor, memberships, project)) throw notFound(id)
      return shownNow(db, id)
    },

    async list(actor) {
      const memberships = await membershipsOf(db, actor.userId)
      const rows = await listProjects(db, readsAll(actor) ? null : visibleTo(actor, memberships))
      const budgets = await findBudgets(
        db,
        rows.flatMap((row) => row.budget_id ?? []),
      )
      const byId = new Map(budgets.map((row) => [row.budget_id, row]))
      return rows.map((row) => projectObject(row, byId.get(row.budget_id ?? '') ?? null))
    },
  }
}

function visibleTo(actor: Identity, memberships: Memberships): { teamIds: string[]; organizationIds: string[] } {
  return {
    teamIds: [...memberships.teams.keys(), ...(actor.teamId === null ? [] : [actor.teamId])],
    organizationIds: [...memberships.organizations].filter(([, role]) => role === 'org_admin').map(([id]) => id),
  }
}

function sees(actor: Identity, memberships: Memberships, project: ProjectView): boolean {
  return seesTeam(actor, memberships, project) || actor.teamId === project.team_id
}

/** The project, locked. Throws GatewayError `not_found` for one the caller cannot see, `admin_only` for one not theirs to run. */
async function requireRuns(
  tx: Transaction,
  id: string,
  actor: Identity,
  memberships: Memberships,
  path: string,
): Promise<ProjectView> {
  const project = await findProject(tx, id, true)
  if (project === undefined || !sees(actor, memberships, project)) throw notFound(id)
  if (!runsTeam(actor, memberships, project)) throw adminOnly(actor, path)
  return project
}

/** A project may not use what its team may not. */
function refuseBeyond(models: readonly string[], team: TeamView): void {
  const outside = models.find((name) => name !== 'all-team-models' && name !== 'no-default-models' && !mayUse(team, name))
  if (outside !== undefined) throw badRequest('models', `models: '${outside}' is not among the models of team ${team.team_id}.`)
}

/** The columns that `fields` set; a `metadata` that is sent replaces `present`. */
function columnsOf(fields: ProjectFields, present: Record<string, unknown>): Partial<ProjectRow> {
  const columns = plainColumns(fields, PLAIN)
  const metadata = changedMetadata(fields['metadata'], fields, IN_METADATA, present)
  return metadata === null ? columns : { ...columns, metadata }
}

function projectObject(project: ProjectView, budget: BudgetRow | null): Record<string, unknown> {
  const { spend_nano, reset_at, metadata, ...rest } = project
  return {
    ...rest,
    metadata,
    model_rpm_limit: metadata['model_rpm_limit'] ?? null,
    model_tpm_limit: metadata['model_tpm_limit'] ?? null,
    spend: dollars(spend_nano),
    litellm_budget_table: budget === null ? null : budgetObject(budget, reset_at),
  }
}

async function mustFind(db: Transaction, id: string): Promise<ProjectView> {
  const project = await findProject(db, id)
  if (project === undefined) throw notFound(id)
  return project
}

function noTeam(id: string): GatewayError {
  return new GatewayError('not_found', `Team not found, passed team_id=${id}.`, { param: 'team_id' })
}

function notFound(id: string): GatewayError {
  return new GatewayError('not_found', `Project not found, passed project_id=${id}.`, { param: 'project_id' })
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}
