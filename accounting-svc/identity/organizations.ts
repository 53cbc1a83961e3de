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
import { dollars } from '../dollars.ts'
import { setWindow } from '../ledger/windows.ts'
import { archiveRows } from '../sql/archive.ts'
import { type AuditAction, audit } from '../sql/audit.ts'
import { type BudgetRow, findBudget, findBudgets } from '../sql/budgets.ts'
import { setSpend } from '../sql/limits.ts'
import { type Memberships, membershipsOf } from '../sql/memberships.ts'
import {
  deleteOrganizationMember,
  deleteOrganizations,
  findOrganization,
  insertOrganization,
  insertOrganizationMember,
  keysOfOrganizations,
  listOrganizationMembers,
  listOrganizations,
  lockOrganization,
  type OrganizationMemberView,
  type OrganizationRow,
  type OrganizationView,
  updateOrganization,
  updateOrganizationMember,
} from '../sql/organizations.ts'
import { listTeams } from '../sql/teams.ts'
import { findUser, findUsers } from '../sql/users.ts'
import { actorOf, adminOnly, isAdmin, readsAll, runsOrganization, seesOrganization } from './access.ts'
import { announceKeys } from './announce-keys.ts'
import { auditEntry } from './audit.ts'
import {
  BUDGET_FIELDS,
  type BudgetFields,
  badRequest,
  budgetObject,
  makeBudget,
  saysBudget,
  scheduleOwner,
  zoneOf,
} from './budgets.ts'
import { changedMetadata, plainColumns } from './field-columns.ts'
import { ownBudget } from './own-budget.ts'
import { removeKeys, removeTeams } from './removal.ts'
import { tellSpent } from './spend-changes.ts'
import { teamObject } from './team-fields.ts'
import { membersOf, userOf } from './team-members.ts'
import { userInfo } from './user-fields.ts'
import type { Writer } from './writer.ts'

/** What a client sends to make or change an organization, already checked against its schema (routes/organizations.ts). */
export type OrganizationFields = Record<string, unknown>

export interface Organizations {
  create(fields: OrganizationFields, by: Writer): Promise<Record<string, unknown>>
  update(fields: OrganizationFields & { organization_id: string }, by: Writer): Promise<Record<string, unknown>>
  /** The organizations as they were. Their teams and keys are deleted too. */
  remove(ids: readonly string[], by: Writer): Promise<Record<string, unknown>[]>
  info(id: string, actor: Identity): Promise<Record<string, unknown>>
  list(query: { id?: string | undefined; alias?: string | undefined }, actor: Identity): Promise<Record<string, unknown>[]>
  addMembers(fields: OrganizationFields & { organization_id: string }, by: Writer): Promise<Record<string, unknown>>
  updateMember(fields: OrganizationFields & { organization_id: string }, by: Writer): Promise<Record<string, unknown>>
  removeMember(fields: OrganizationFields & { organization_id: string }, by: Writer): Promise<Record<string, unknown>>
}

/** Columns whose value is stored as it is sent, and what null means for them. */
const PLAIN = { organization_alias: null, models: [], object_permission: null } as const

/** Fields without a column: they are kept inside `metadata`, where whoever enforces them looks. */
const IN_METADATA = ['model_rpm_limit', 'model_tpm_limit'] as const

/** What only proxy admins set: what an organization may use and spend. Limits per model are in its metadata. */
const BINDING = [...BUDGET_FIELDS, 'budget_id', 'models', 'metadata', 'object_permission', ...IN_METADATA]

interface OwnerDeps {
  db: Database
  bus: Bus
  counters: Pick<Counters, 'book'>
  config: () => Config
  clock: Clock
  log: Log
}

/** The rules of organizations. Every write is audited in its own transaction and told to the edges after it. */
export function createOrganizations(deps: OwnerDeps): Organizations {
  const { db, bus, clock, config } = deps
  const zone = (): string => zoneOf(config())
  const changed = (organizationId: string): void => bus.announce('identity', { organizationId })

  function stamp(by: Writer): { updated_at: Date; updated_by: string } {
    return { updated_at: new Date(clock.now()), updated_by: actorOf(by.actor) }
  }

  async function schedule(tx: Transaction, id: string, budget: BudgetRow | null): Promise<void> {
    const scope = scopes.organization(id)
    await scheduleOwner(tx, { scope, budget }, budget?.budget_duration ?? null, clock.now(), zone())
  }

  async function shownNow(tx: Transaction, id: string): Promise<Record<string, unknown>> {
    const organization = await mustFind(tx, id)
    return organizationObject(organization, await budgetOf(tx, organization.budget_id))
  }

  /** The organization, locked. Throws GatewayError `not_found` for one the caller cannot see, `admin_only` for one not theirs to run. */
  async function requireRuns(tx: Transaction, id: string, actor: Identity, memberships: Memberships, path: string) {
    await lockOrganization(tx, id)
    const organization = await mustFind(tx, id)
    if (runsOrganization(actor, memberships, id)) return organization
    throw seesOrganization(actor, memberships, id) ? adminOnly(actor, path) : notFound(id)
  }

  /** One write to an organization or to its members. `audited` false: the work audits what it changes itself. */
  async function change<Result>(
    id: string,
    by: Writer,
    path: string,
    audited: boolean,
    work: (tx: Transaction, organization: OrganizationView) => Promise<Result>,
  ): Promise<Result> {
    const memberships = await membershipsOf(db, by.actor.userId)
    const result = await db.transaction(async (tx) => {
      const organization = await requireRuns(tx, id, by.actor, memberships, path)
      const before = await shownNow(tx, id)
      const result = await work(tx, organization)
      const action: AuditAction = 'updated'
      if (audited)
        await audit(tx, auditEntry(by.actor, by.changedBy, action, 'organizations', id, before, await shownNow(tx, id)))
      return result
    })
    changed(id)
    return result
  }

  async function memberAudit(
    tx: Transaction,
    action: AuditAction,
    member: { organization_id: string; user_id: string },
    before: unknown,
    after: unknown,
    by: Writer,
  ): Promise<void> {
    const id = `${member.organization_id}:${member.user_id}`
    await audit(tx, auditEntry(by.actor, by.changedBy, action, 'organization_members', id, before, after))
  }

  async function scheduleMember(tx: Transaction, id: string, userId: string, budget: BudgetRow | null): Promise<void> {
    const scope = scopes.organizationMember(id, userId)
    await scheduleOwner(tx, { scope, budget }, budget?.budget_duration ?? null, clock.now(), zone())
  }

  async function shownMember(tx: Transaction, member: OrganizationMemberView): Promise<Record<string, unknown>> {
    return memberObject(member, await budgetOf(tx, member.budget_id))
  }

  /** An organization with its members and teams. */
  async function whole(organization: OrganizationView): Promise<Record<string, unknown>> {
    const id = organization.organization_id
    const [members, teams] = await Promise.all([
      listOrganizationMembers(db, [id]),
      listTeams(db, { organizationId: id }, { limit: null, offset: 0, sort: 'created_at', descending: false }),
    ])
    const [users, budgets] = await Promise.all([
      findUsers(
        db,
        members.map((member) => member.user_id),
      ),
      findBudgets(
        db,
        [organization.budget_id, ...members.map((member) => member.budget_id)].filter((budgetId) => budgetId !== null),
      ),
    ])
    const rows = new Map(budgets.map((row) => [row.budget_id, row]))
    const people = new Map(users.map((user) => [user.user_id, userInfo(user)]))
    return {
      ...organizationObject(organization, rows.get(organization.budget_id ?? '') ?? null),
      members: members.map((member) => ({
        ...memberObject(member, rows.get(member.budget_id ?? '') ?? null),
        user: people.get(member.user_id) ?? null,
      })),
      teams: teams.rows.map((team) => teamObject(team, null)),
    }
  }

  return {
    async create(fields, by) {
      const id = text(fields['organization_id']) ?? rowId()
      const created = { created_at: new Date(clock.now()), created_by: actorOf(by.actor) }
      const made = await db.transaction(async (tx) => {
        // An organization always has a row to hold its limits, also where it has none yet.
        const budget = (await ownBudget(tx, null, fields, by, clock.now(), zone())) ?? (await makeBudget(tx, {}, by, clock.now()))
        const row = { ...columnsOf(fields, {}), organization_id: id, budget_id: budget.budget_id, ...created, ...stamp(by) }
        await insertOrganization(tx, row).catch((error: unknown) => {
          throw alreadyExists(error) ? badRequest('organization_id', `Organization ${id} already exists.`) : error
        })
        await schedule(tx, id, budget)
        // What one of this id spent before it was deleted is in the ledger.
        const spent = await setSpend(tx, scopes.organization(id), 0)
        const shown = await shownNow(tx, id)
        await audit(tx, auditEntry(by.actor, by.changedBy, 'created', 'organizations', id, null, shown))
        return { shown, spent }
      })
      await tellSpent(deps, [made.spent])
      changed(id)
      return made.shown
    },

    async update(fields, by) {
      const id = fields.organization_id
      // The limits of an organization bind those who run it.
      if (!isAdmin(by.actor) && BINDING.some((name) => fields[name] !== undefined))
        throw adminOnly(by.actor, '/organization/update')
      await change(id, by, '/organization/update', true, async (tx, organization) => {
        const columns = columnsOf(fields, organization.metadata)
        const budget = await ownBudget(tx, organization.budget_id, fields, by, clock.now(), zone())
        await updateOrganization(tx, id, { ...columns, budget_id: budget?.budget_id ?? null, ...stamp(by) })
        await schedule(tx, id, budget)
      })
      return whole(await mustFind(db, id))
    },

    async remove(asked, by) {
      const ids = [...new Set(asked)]
      const memberships = await membershipsOf(db, by.actor.userId)
      const { rows, tokens } = await db.transaction(async (tx) => {
        const rows: { id: string; row: Record<string, unknown> }[] = []
        const tokens: string[] = []
        for (const id of ids) {
          await requireRuns(tx, id, by.actor, memberships, '/organization/delete')
          rows.push({ id, row: await shownNow(tx, id) })
          const order = { limit: null, offset: 0, sort: 'created_at', descending: false } as const
          const teams = (await listTeams(tx, { organizationId: id }, order)).rows.map((team) => team.team_id)
          tokens.push(...(await removeTeams(tx, teams, by, clock.now())))
          const left = await keysOfOrganizations(tx, [id])
          await removeKeys(tx, left, by)
          tokens.push(...left)
          for (const member of await listOrganizationMembers(tx, [id]))
            await setWindow(tx, scopes.organizationMember(id, member.user_id), null, clock.now(), zone())
          await setWindow(tx, scopes.organization(id), null, clock.now(), zone())
        }
        await archiveRows(tx, 'organizations', rows, actorOf(by.actor))
        await deleteOrganizations(tx, ids)
        for (const { id, row } of rows)
          await audit(tx, auditEntry(by.actor, by.changedBy, 'deleted', 'organizations', id, row, null))
        return { rows, tokens }
      })
      for (const id of ids) changed(id)
      announceKeys(bus, tokens)
      return rows.map(({ row }) => row)
    },

    async info(id, actor) {
      const memberships = await membershipsOf(db, actor.userId)
      const organization = await mustFind(db, id)
      if (!seesOrganization(actor, memberships, id) && actor.organizationId !== id) throw notFound(id)
      return whole(organization)
    },

    async list({ id, alias }, actor) {
      const memberships = await membershipsOf(db, actor.userId)
      const mine = readsAll(actor) ? null : [...memberships.organizations.keys()]
      const ids = id === undefined ? mine : mine === null || mine.includes(id) ? [id] : []
      return Promise.all((await listOrganizations(db, ids, alias)).map(whole))
    },

    async addMembers(fields, by) {
      const id = fields.organization_id
      const sent = fields['member']
      const entries = (Array.isArray(sent) ? sent : [sent]) as Record<string, unknown>[]
      const limits: BudgetFields =
        fields['max_budget_in_organization'] == null ? {} : { max_budget: fields['max_budget_in_organization'] }
      const userIds = await change(id, by, '/organization/member_add', false, async (tx) => {
        const joined: string[] = []
        for (const [index, member] of membersOf(entries).entries()) {
          const userId = await userOf({ tx, config: config(), by, now: clock.now() }, member)
          const budget = saysBudget(limits) ? await makeBudget(tx, limits, by, clock.now()) : null
          const role = String(entries[index]?.['role'] ?? 'internal_user')
          const at = new Date(clock.now() + index)
          await insertOrganizationMember(tx, { organizationId: id, userId, role, budgetId: budget?.budget_id ?? null, at }).catch(
            (error: unknown) => {
              throw alreadyExists(error)
                ? badRequest('user_id', `User ${userId} is already a member of organization ${id}.`)
                : error
            },
          )
          await scheduleMember(tx, id, userId, budget)
          const after = await shownMember(tx, await requireMember(tx, id, { user_id: userId }))
          await memberAudit(tx, 'created', { organization_id: id, user_id: userId }, null, after, by)
          joined.push(userId)
        }
        return joined
      })
      const members = (await listOrganizationMembers(db, [id])).filter((member) => userIds.includes(member.user_id))
      return {
        organization_id: id,
        updated_users: (await findUsers(db, userIds)).map(userInfo),
        updated_organization_memberships: await Promise.all(members.map((member) => shownMember(db, member))),
      }
    },

    async updateMember(fields, by) {
      const id = fields.organization_id
      return change(id, by, '/organization/member_update', false, async (tx) => {
        const member = await requireMember(tx, id, fields)
        const before = await shownMember(tx, member)
        const changes: Parameters<typeof updateOrganizationMember>[3] = { updated_at: new Date(clock.now()) }
        if (fields['role'] != null) changes.user_role = String(fields['role'])
        if (fields['max_budget_in_organization'] !== undefined) {
          const limits = { max_budget: fields['max_budget_in_organization'] }
          const budget = await ownBudget(tx, member.budget_id, limits, by, clock.now(), zone())
          changes.budget_id = budget?.budget_id ?? null
          await scheduleMember(tx, id, member.user_id, budget)
        }
        await updateOrganizationMember(tx, id, member.user_id, changes)
        const after = await shownMember(tx, await requireMember(tx, id, { user_id: member.user_id }))
        await memberAudit(tx, 'updated', member, before, after, by)
        return after
      })
    },

    async removeMember(fields, by) {
      const id = fields.organization_id
      const { before, userId } = await change(id, by, '/organization/member_delete', false, async (tx) => {
        const member = await requireMember(tx, id, fields)
        const before = await shownMember(tx, member)
        await deleteOrganizationMember(tx, id, member.user_id)
        await setWindow(tx, scopes.organizationMember(id, member.user_id), null, clock.now(), zone())
        await memberAudit(tx, 'deleted', member, before, null, by)
        return { before, userId: member.user_id }
      })
      const user = await findUser(db, userId)
      return { ...before, user: user === undefined ? null : userInfo(user) }
    },
  }
}

/** The columns that `fields` set; a `metadata` that is sent replaces `present`. */
function columnsOf(fields: OrganizationFields, present: Record<string, unknown>): Partial<OrganizationRow> {
  const columns = plainColumns(fields, PLAIN)
  const metadata = changedMetadata(fields['metadata'], fields, IN_METADATA, present)
  return metadata === null ? columns : { ...columns, metadata }
}

function organizationObject(organization: OrganizationView, budget: BudgetRow | null): Record<string, unknown> {
  const { spend_nano, reset_at, ...rest } = organization
  return {
    ...rest,
    spend: dollars(spend_nano),
    litellm_budget_table: budget === null ? null : budgetObject(budget, reset_at),
  }
}

function memberObject(member: OrganizationMemberView, budget: BudgetRow | null): Record<string, unknown> {
  const { spend_nano, reset_at, ...rest } = member
  return {
    ...rest,
    spend: dollars(spend_nano),
    litellm_budget_table: budget === null ? null : budgetObject(budget, reset_at),
  }
}

async function budgetOf(db: Transaction, id: string | null): Promise<BudgetRow | null> {
  return id === null ? null : ((await findBudget(db, id)) ?? null)
}

async function mustFind(db: Transaction, id: string): Promise<OrganizationView> {
  const organization = await findOrganization(db, id)
  if (organization === undefined) throw notFound(id)
  return organization
}

/** The member that `fields` name by `user_id` or `user_email`. Throws GatewayError `not_found` for one who is none. */
async function requireMember(db: Transaction, id: string, fields: OrganizationFields): Promise<OrganizationMemberView> {
  const [userId, email] = [text(fields['user_id']), text(fields['user_email'])]
  const found = (await listOrganizationMembers(db, [id])).filter((member) =>
    userId === null ? member.user_email?.toLowerCase() === email?.toLowerCase() : member.user_id === userId,
  )
  const param = userId === null ? 'user_email' : 'user_id'
  if (found.length > 1) throw badRequest('user_email', 'More than one member has this user_email: name one by user_id.')
  if (found[0] === undefined) {
    throw new GatewayError('not_found', `${param}: ${userId ?? email} is no member of organization ${id}.`, { param })
  }
  return found[0]
}

function notFound(id: string): GatewayError {
  return new GatewayError('not_found', `Organization not found for organization_id=${id}.`, { param: 'organization_id' })
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}
