import type { Identity } from '../../proto/identity.ts'
import { scopes } from '../../proto/limits.ts'
import type { Sealer } from '../../shared/config/secrets.ts'
import type { Transaction } from '../../shared/db/db.ts'
import { alreadyExists } from '../../shared/db/sql-state.ts'
import { GatewayError } from '../../shared/errors.ts'
import { rowId } from '../../shared/ids.ts'
import { audit } from '../sql/audit.ts'
import { findBudget, findBudgets, linkedOwners } from '../sql/budgets.ts'
import { findKeys } from '../sql/keys.ts'
import { setSpend } from '../sql/limits.ts'
import { type Memberships, membershipsOf } from '../sql/memberships.ts'
import { findOrganization, lockOrganization } from '../sql/organizations.ts'
import { listMembers } from '../sql/team-members.ts'
import {
  findTeamViews,
  guaranteedThroughput,
  insertTeam,
  keysOfTeams,
  listDeletedTeams,
  listTeams,
  moveKeys,
  type TeamFilter,
  type TeamRow,
  type TeamSort,
  type TeamView,
  updateTeam,
} from '../sql/teams.ts'
import { actorOf, adminOnly, isAdmin, MEMBER_PERMISSIONS, readsAll, runsOrganization, seesKey } from './access.ts'
import { announceKeys } from './announce-keys.ts'
import { auditEntry } from './audit.ts'
import { type BudgetFields, badRequest, changeBudget, makeBudget, saysBudget, scheduleLinked, zoneOf } from './budgets.ts'
import { keyInfo } from './key-fields.ts'
import { removeTeams } from './removal.ts'
import { tellSpent } from './spend-changes.ts'
import { callbackSettings, callbacksOf, sealCallbackSecrets, type TeamCallback } from './team-callbacks.ts'
import {
  availableTeams,
  changeTeam,
  memberBudgetOf,
  mustFindTeam,
  type Right,
  refusal,
  scheduleTeam,
  type TeamDeps,
  visibleTeam,
} from './team-changes.ts'
import {
  memberBudgetFields,
  membershipObject,
  refuseBeyond,
  setsBound,
  type TeamFields,
  teamColumns,
  teamObject,
  withTeamDefaults,
} from './team-fields.ts'
import { joinMembers, membersOf } from './team-members.ts'
import type { Writer } from './writer.ts'

export interface Teams {
  create(fields: TeamFields, by: Writer): Promise<Record<string, unknown>>
  update(fields: TeamFields & { team_id: string }, by: Writer): Promise<Record<string, unknown>>
  /** The teams as they were. Their keys are deleted too. */
  remove(teamIds: readonly string[], by: Writer): Promise<Record<string, unknown>[]>
  info(teamId: string | undefined, actor: Identity): Promise<Record<string, unknown>>
  /** Every team the caller may look at, with keys and memberships. */
  list(filter: TeamFilter, actor: Identity): Promise<Record<string, unknown>[]>
  page(query: TeamPageQuery, actor: Identity): Promise<Record<string, unknown>>
  /** Teams the caller may join by themselves and has not. */
  available(actor: Identity): Promise<Record<string, unknown>[]>
  setBlocked(teamId: string, blocked: boolean, by: Writer): Promise<Record<string, unknown>>
  addModels(teamId: string, models: readonly string[], by: Writer): Promise<Record<string, unknown>>
  removeModels(teamId: string, models: readonly string[], by: Writer): Promise<Record<string, unknown>>
  permissions(teamId: string, actor: Identity): Promise<Record<string, unknown>>
  setPermissions(teamId: string, permissions: string[], by: Writer): Promise<Record<string, unknown>>
  /** Adds permissions to these teams, or to all. */
  addPermissions(teamIds: readonly string[] | null, permissions: readonly string[], by: Writer): Promise<Record<string, unknown>>
  callbacks(teamId: string, actor: Identity): Promise<Record<string, unknown>>
  setCallback(teamId: string, callback: TeamCallback, by: Writer): Promise<Record<string, unknown>>
  removeCallback(teamId: string, name: string, by: Writer): Promise<Record<string, unknown>>
  disableLogging(teamId: string, by: Writer): Promise<Record<string, unknown>>
}

export interface TeamPageQuery extends TeamFilter {
  page: number
  size: number
  sortBy: TeamSort
  descending: boolean
  deleted: boolean
}

/** Routes that members of a team may be allowed to call for its keys (surface reference §12.4). */
export const PERMISSIONS = [
  '/key/info',
  '/key/health',
  '/key/list',
  '/key/generate',
  '/key/service-account/generate',
  '/key/update',
  '/key/delete',
  '/key/regenerate',
  '/key/block',
  '/key/unblock',
  '/team/daily/activity',
] as const

/** The list that allows everything, and the one that allows nothing: an empty one is the former. */
const EVERYTHING = 'all-proxy-models'
const NOTHING = 'no-default-models'

/** The rules of teams. Every write is audited in its own transaction and told to the edges after it. */
export function createTeams(deps: TeamDeps & { sealer: Sealer }): Teams {
  const { db, bus, clock, sealer, config } = deps
  const zone = (): string => zoneOf(config())
  const shown = ({ team, budget }: { team: TeamView; budget: Parameters<typeof teamObject>[1] }) => teamObject(team, budget)

  /** One change of columns. */
  async function change(
    teamId: string,
    by: Writer,
    path: string,
    right: Right,
    columns: (team: TeamView) => Partial<TeamRow>,
    action: 'updated' | 'blocked' | 'unblocked' = 'updated',
  ): Promise<Record<string, unknown>> {
    const changed = await changeTeam(deps, by, { teamId, path, right, action }, async (tx, team) => {
      await updateTeam(tx, teamId, { ...columns(team), ...stamp(by) })
    })
    return shown(changed)
  }

  function stamp(by: Writer): { updated_at: Date; updated_by: string } {
    return { updated_at: new Date(clock.now()), updated_by: actorOf(by.actor) }
  }

  /** Sets the budget row of members without one of their own. */
  async function setMemberBudget(tx: Transaction, team: TeamView, fields: BudgetFields, by: Writer): Promise<void> {
    if (Object.keys(fields).length === 0) return
    const [now, id] = [clock.now(), team.team_member_budget_id]
    if (id !== null && (await findBudget(tx, id)) !== undefined) {
      await changeBudget(tx, id, fields, by, now, zone())
    } else if (saysBudget(fields)) {
      const row = await makeBudget(tx, fields, by, now)
      await updateTeam(tx, team.team_id, { team_member_budget_id: row.budget_id })
      await scheduleLinked(tx, await linkedOwners(tx, row.budget_id), row, now, zone())
    }
  }

  async function requireWithin(tx: Transaction, team: TeamView): Promise<void> {
    const id = team.organization_id
    if (id === null) return
    // Two teams that are given the last of what is guaranteed must not both find it free.
    await lockOrganization(tx, id)
    const organization = await findOrganization(tx, id)
    if (organization === undefined) throw badRequest('organization_id', `Organization ${id} does not exist.`)
    const budget = organization.budget_id === null ? null : ((await findBudget(tx, organization.budget_id)) ?? null)
    const guaranteed = await guaranteedThroughput(tx, id, team.team_id)
    refuseBeyond(team, { organization_id: id, models: organization.models, budget, guaranteed })
  }

  /** Teams with the keys and memberships the caller may look at. */
  async function detailed(teams: readonly TeamView[], actor: Identity, memberships: Memberships) {
    const ids = teams.map((team) => team.team_id)
    const members = await listMembers(db, ids)
    const keys = (await findKeys(db, await keysOfTeams(db, ids), [])).filter((key) => seesKey(actor, memberships, key))
    const budgetIds = [...members.map(({ budget_id }) => budget_id), ...teams.map((team) => team.team_member_budget_id)]
    const rows = await findBudgets(db, [...new Set(budgetIds.filter((id) => id !== null))])
    const budgets = new Map(rows.map((row) => [row.budget_id, row]))
    // By team at once: a walk over all keys for each of 1,000 teams took seconds.
    const keysOf = Map.groupBy(keys, ({ team_id }) => team_id)
    const membersOf = Map.groupBy(members, ({ team_id }) => team_id)
    return teams.map((team) => {
      const byDefault = budgets.get(team.team_member_budget_id ?? '') ?? null
      return {
        team: teamObject(team, byDefault),
        keys: (keysOf.get(team.team_id) ?? []).map((key) => ({ token: key.token, ...keyInfo(key) })),
        team_memberships: (membersOf.get(team.team_id) ?? []).map((member) =>
          membershipObject(member, budgets.get(member.budget_id ?? '') ?? byDefault),
        ),
      }
    })
  }

  function visibleTo(actor: Identity, memberships: Memberships): Pick<TeamFilter, 'visible'> {
    if (readsAll(actor)) return {}
    const teamIds = [...memberships.teams.keys(), ...(actor.teamId === null ? [] : [actor.teamId])]
    const organizationIds = [...memberships.organizations].filter(([, role]) => role === 'org_admin').map(([id]) => id)
    return { visible: { teamIds, organizationIds } }
  }

  return {
    async create(asked, by) {
      const fields = withTeamDefaults(asked, config())
      const teamId = text(fields['team_id']) ?? rowId()
      const organizationId = text(fields['organization_id'])
      const memberships = await membershipsOf(db, by.actor.userId)
      if (!runsOrganization(by.actor, memberships, organizationId)) throw adminOnly(by.actor, '/team/new')
      const columns = teamColumns({ ...fields, organization_id: organizationId })
      const created = { created_at: new Date(clock.now()), created_by: actorOf(by.actor) }
      const made = await db.transaction(async (tx) => {
        const metadata = sealCallbackSecrets(columns.metadata ?? {}, {}, sealer)
        await insertTeam(tx, { ...columns, metadata, team_id: teamId, ...created, ...stamp(by) }).catch((error: unknown) => {
          throw alreadyExists(error) ? taken(teamId) : error
        })
        // What a team of this id spent before it was deleted is in the ledger.
        const spent = await setSpend(tx, scopes.team(teamId), 0)
        const bare = await mustFindTeam(tx, teamId)
        await requireWithin(tx, bare)
        await setMemberBudget(tx, bare, memberBudgetFields(fields), by)
        await scheduleTeam(tx, bare, clock.now(), config())
        const team = await mustFindTeam(tx, teamId)
        await joinMembers({ tx, config: config(), by, now: clock.now() }, team, founders(fields, by.actor), {})
        const whole = { team: await mustFindTeam(tx, teamId), budget: await memberBudgetOf(tx, team) }
        await audit(tx, auditEntry(by.actor, by.changedBy, 'created', 'teams', teamId, null, shown(whole)))
        return { ...whole, spent }
      })
      await tellSpent(deps, [made.spent])
      bus.announce('identity', { teamId })
      return shown(made)
    },

    async update(fields, by) {
      const teamId = fields.team_id
      const changed = await changeTeam(
        deps,
        by,
        { teamId, path: '/team/update', right: 'team' },
        async (tx, team, memberships) => {
          const columns = teamColumns(fields, team.metadata)
          if (columns.organization_id === '') columns.organization_id = null
          if (columns.metadata !== undefined) columns.metadata = sealCallbackSecrets(columns.metadata, team.metadata, sealer)
          const moves = columns.organization_id !== undefined && columns.organization_id !== team.organization_id
          const above = moves ? [team.organization_id, columns.organization_id ?? null] : []
          if (!runsOrganization(by.actor, memberships, team.organization_id) && setsBound(team, columns))
            throw adminOnly(by.actor, '/team/update')
          for (const id of above) if (!runsOrganization(by.actor, memberships, id)) throw adminOnly(by.actor, '/team/update')
          await updateTeam(tx, teamId, { ...columns, ...stamp(by) })
          const after = await mustFindTeam(tx, teamId)
          if (boundsTouched(columns)) await requireWithin(tx, after)
          if (moves) await moveKeys(tx, teamId, team.organization_id, after.organization_id)
          await setMemberBudget(tx, after, memberBudgetFields(fields), by)
          await scheduleTeam(tx, after, clock.now(), config())
        },
      )
      return { team_id: teamId, data: shown(changed) }
    },

    async remove(teamIds, by) {
      const ids = [...new Set(teamIds)]
      const memberships = await membershipsOf(db, by.actor.userId)
      const { rows, tokens } = await db.transaction(async (tx) => {
        const teams = await findTeamViews(tx, ids)
        for (const id of ids) {
          const team = teams.find(({ team_id }) => team_id === id) ?? (await mustFindTeam(tx, id))
          if (!runsOrganization(by.actor, memberships, team.organization_id))
            throw refusal(by.actor, memberships, team, '/team/delete')
        }
        const rows = teams.map((team) => teamObject(team, null))
        return { rows, tokens: await removeTeams(tx, ids, by, clock.now()) }
      })
      for (const teamId of ids) bus.announce('identity', { teamId })
      announceKeys(bus, tokens)
      return rows
    },

    async info(teamId, actor) {
      const id = teamId ?? actor.teamId
      if (id === null) throw badRequest('team_id', 'team_id is needed: this key belongs to no team.')
      const memberships = await membershipsOf(db, actor.userId)
      const view = await visibleTeam(db, id, actor, memberships)
      const [found] = await detailed([view], actor, memberships)
      return { team_id: id, team_info: found?.team, keys: found?.keys, team_memberships: found?.team_memberships }
    },

    async list(filter, actor) {
      const memberships = await membershipsOf(db, actor.userId)
      const order = { sort: 'created_at', descending: false } as const
      const { rows } = await listTeams(db, { ...filter, ...visibleTo(actor, memberships) }, { limit: null, offset: 0, ...order })
      const found = await detailed(rows, actor, memberships)
      return found.map(({ team, keys, team_memberships }) => ({ ...team, keys, team_memberships }))
    },

    async page({ page, size, sortBy, descending, deleted, ...filter }, actor) {
      const range = { limit: size, offset: (page - 1) * size }
      if (deleted && !readsAll(actor)) throw adminOnly(actor, '/v2/team/list')
      const memberships = await membershipsOf(db, actor.userId)
      const { rows, total } = deleted
        ? await listDeletedTeams(db, range)
        : await listTeams(db, { ...filter, ...visibleTo(actor, memberships) }, { ...range, sort: sortBy, descending }).then(
            async (found) => ({
              total: found.total,
              rows: (await detailed(found.rows, actor, memberships)).map(({ team, keys }) => ({
                ...team,
                keys_count: keys.length,
              })),
            }),
          )
      return { teams: rows, total, page, page_size: size, total_pages: Math.ceil(total / size) }
    },

    async available(actor) {
      const memberships = await membershipsOf(db, actor.userId)
      const ids = availableTeams(config()).filter((id) => !memberships.teams.has(id))
      // Not what they may spend or who pays: only what tells them apart.
      return (await findTeamViews(db, ids)).map(({ team_id, team_alias, models, members, metadata }) => ({
        team_id,
        team_alias,
        description: metadata['description'] ?? null,
        models,
        members_with_roles: members.map(({ role }) => ({ role })),
      }))
    },

    setBlocked: (teamId, blocked, by) =>
      change(
        teamId,
        by,
        blocked ? '/team/block' : '/team/unblock',
        'organization',
        () => ({ blocked }),
        blocked ? 'blocked' : 'unblocked',
      ),

    addModels: (teamId, models, by) =>
      // A team without a list may use every model: naming one takes none away.
      change(teamId, by, '/team/model/add', 'organization', (team) => ({
        models: [...new Set([...(team.models.length === 0 ? [EVERYTHING] : team.models), ...models])].filter(
          (name) => name !== NOTHING,
        ),
      })),

    removeModels: (teamId, models, by) =>
      change(teamId, by, '/team/model/delete', 'organization', (team) => {
        const left = team.models.filter((name) => !models.includes(name))
        // Nothing left must not turn into everything.
        return { models: left.length === 0 && team.models.length > 0 ? [NOTHING] : left }
      }),

    async permissions(teamId, actor) {
      const memberships = await membershipsOf(db, actor.userId)
      return permissionsOf(await visibleTeam(db, teamId, actor, memberships))
    },

    setPermissions: (teamId, permissions, by) =>
      change(teamId, by, '/team/permissions_update', 'team', () => ({ team_member_permissions: [...new Set(permissions)] })),

    async addPermissions(teamIds, permissions, by) {
      if (teamIds === null && !isAdmin(by.actor)) throw adminOnly(by.actor, '/team/permissions_bulk_update')
      const ids =
        teamIds ??
        (await listTeams(db, {}, { limit: null, offset: 0, sort: 'created_at', descending: false })).rows.map(
          (team) => team.team_id,
        )
      for (const id of new Set(ids)) {
        await change(id, by, '/team/permissions_bulk_update', 'team', (team) => ({
          team_member_permissions: [...new Set([...(team.team_member_permissions ?? MEMBER_PERMISSIONS), ...permissions])],
        }))
      }
      return { message: 'Team member permissions updated', teams_updated: new Set(ids).size, permissions_appended: permissions }
    },

    async callbacks(teamId, actor) {
      const memberships = await membershipsOf(db, actor.userId)
      const team = await visibleTeam(db, teamId, actor, memberships)
      const defaults = config().litellm_settings.default_team_settings?.find((entry) => entry.team_id === teamId)
      return { status: 'success', data: { team_id: teamId, ...callbackSettings(team.metadata, defaults) } }
    },

    async setCallback(teamId, callback, by) {
      const data = await change(teamId, by, '/team/{team_id}/callback', 'team', ({ metadata }) => {
        const others = callbacksOf(metadata).filter(
          ({ callback_name, callback_type }) =>
            callback_name !== callback.callback_name || callback_type !== callback.callback_type,
        )
        return { metadata: sealCallbackSecrets({ ...metadata, logging: [...others, callback] }, metadata, sealer) }
      })
      return { status: 'success', data }
    },

    async removeCallback(teamId, name, by) {
      const data = await change(teamId, by, '/team/{team_id}/callback', 'team', ({ metadata }) => {
        const left = callbacksOf(metadata).filter(({ callback_name }) => callback_name !== name)
        if (left.length === callbacksOf(metadata).length) {
          throw new GatewayError('not_found', `Team ${teamId} has no callback ${name}.`, { param: 'callback_name' })
        }
        return { metadata: { ...metadata, logging: left } }
      })
      return { status: 'success', data }
    },

    async disableLogging(teamId, by) {
      await change(teamId, by, '/team/{team_id}/disable_logging', 'team', ({ metadata }) => ({
        metadata: { ...metadata, logging: [] },
      }))
      return {
        status: 'success',
        message: `Logging disabled for team ${teamId}`,
        data: { team_id: teamId, success_callbacks: [], failure_callbacks: [] },
      }
    },
  }
}

/** The members a new team begins with: those named, and who makes it as its admin unless that is a proxy admin. */
function founders(fields: TeamFields, actor: Identity): ReturnType<typeof membersOf> {
  const named = membersOf([
    ...((fields['members_with_roles'] as unknown[] | null | undefined) ?? []),
    ...((fields['admins'] as string[] | null | undefined) ?? []).map((user_id) => ({ user_id, role: 'admin' })),
    ...((fields['members'] as string[] | null | undefined) ?? []).map((user_id) => ({ user_id, role: 'user' })),
  ])
  const { userId } = actor
  if (isAdmin(actor) || userId === null || named.some((member) => member.userId === userId)) return named
  return [...named, { userId, email: null, role: 'admin' }]
}

function boundsTouched(columns: Partial<TeamRow>): boolean {
  const names = ['organization_id', 'models', 'max_budget_nano', 'tpm_limit', 'rpm_limit', 'metadata'] as const
  return names.some((name) => columns[name] !== undefined)
}

function permissionsOf(team: TeamView): Record<string, unknown> {
  return {
    team_id: team.team_id,
    team_member_permissions: team.team_member_permissions ?? MEMBER_PERMISSIONS,
    all_available_permissions: PERMISSIONS,
  }
}

function taken(teamId: string): GatewayError {
  return badRequest('team_id', `Team id = ${teamId} already exists. Please use a different team id.`)
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}
