import type { Identity } from '../../proto/identity.ts'
import { scopes } from '../../proto/limits.ts'
import type { Config } from '../../shared/config/config.ts'
import type { Transaction } from '../../shared/db/db.ts'
import { GatewayError } from '../../shared/errors.ts'
import { rowId } from '../../shared/ids.ts'
import { dollars, dollarsOrNull, nanoField } from '../dollars.ts'
import { timeAfter } from '../ledger/budgets.ts'
import { setWindow } from '../ledger/windows.ts'
import { audit } from '../sql/audit.ts'
import { type BudgetRow, findBudget, insertBudget } from '../sql/budgets.ts'
import { setSpend } from '../sql/limits.ts'
import { membershipsOf } from '../sql/memberships.ts'
import { deleteMember, insertMember, listMembers, type MemberView, updateMember, usersOutside } from '../sql/team-members.ts'
import { keysOfTeams, type TeamView } from '../sql/teams.ts'
import { findUser, findUsers, insertUser, lockEmail, userIdsByEmail } from '../sql/users.ts'
import { actorOf, isAdmin } from './access.ts'
import { announceKeys } from './announce-keys.ts'
import { auditEntry } from './audit.ts'
import { type BudgetFields, badRequest, budgetColumns, makeBudget, saysBudget, scheduleOwner, zoneOf } from './budgets.ts'
import { ownBudget } from './own-budget.ts'
import { removeKeys } from './removal.ts'
import { tellSpent } from './spend-changes.ts'
import { availableTeams, changeTeam, memberBudgetOf, type TeamDeps, visibleTeam } from './team-changes.ts'
import { membershipObject, type TeamFields, teamObject } from './team-fields.ts'
import { userColumns, userInfo, withUserDefaults } from './user-fields.ts'
import type { Writer } from './writer.ts'

export interface TeamMembers {
  add(fields: TeamFields & { team_id: string }, by: Writer): Promise<Record<string, unknown>>
  /** The same one by one: one that fails does not keep the others from joining. `members` null = every user. */
  addMany(teamId: string, members: readonly unknown[] | null, fields: TeamFields, by: Writer): Promise<Record<string, unknown>>
  update(fields: TeamFields & { team_id: string }, by: Writer): Promise<Record<string, unknown>>
  /** The keys the user has in the team go with the membership. */
  remove(fields: TeamFields & { team_id: string }, by: Writer): Promise<Record<string, unknown>>
  /** The caller's own membership. */
  own(teamId: string, actor: Identity): Promise<Record<string, unknown>>
  /** Lowers what a member has spent in its present window. */
  resetSpend(teamId: string, userId: string, to: unknown, by: Writer): Promise<Record<string, unknown>>
  /** Puts a member back to the team's default limits. */
  resetBudget(teamId: string, userId: string, by: Writer): Promise<Record<string, unknown>>
}

/** Somebody to be made a member: by id, or by address where the id is null. */
export interface NewMember {
  userId: string | null
  email: string | null
  role: 'admin' | 'user'
}

/** Members as clients send them. */
export function membersOf(sent: readonly unknown[]): NewMember[] {
  return sent.map((entry) => {
    const { user_id, user_email, role } = entry as Record<string, unknown>
    return { userId: text(user_id), email: text(user_email), role: role === 'admin' ? 'admin' : 'user' }
  })
}

/** Fields of a membership that its budget row holds. */
const BUDGET_OF_MEMBER = ['max_budget_in_team', 'budget_duration', 'tpm_limit', 'rpm_limit'] as const

/** What `fields` say of a member's own budget row. */
function budgetOfMember(fields: TeamFields): BudgetFields {
  return Object.fromEntries(
    BUDGET_OF_MEMBER.flatMap((name) =>
      fields[name] === undefined ? [] : [[name === 'max_budget_in_team' ? 'max_budget' : name, fields[name]]],
    ),
  )
}

interface Joining {
  tx: Transaction
  config: Config
  by: Writer
  now: number
}

/**
 * Makes users members of a team, in the transaction that holds its lock; users nobody knows yet are made. Each gets a budget row of
 * its own where `fields` hold limits. Gives their ids. Throws GatewayError `bad_request` for one who is a member already.
 */
export async function joinMembers(
  joining: Joining,
  team: TeamView,
  members: readonly NewMember[],
  fields: TeamFields,
): Promise<string[]> {
  const { tx, config, by, now } = joining
  const present = new Set(team.members.map(({ user_id }) => user_id))
  const limits = budgetOfMember(fields)
  const fallback = await memberBudgetOf(tx, team)
  const ids: string[] = []
  for (const member of members) {
    const userId = await userOf(joining, member)
    if (present.has(userId)) throw already(team.team_id, userId)
    present.add(userId)
    const own = saysBudget(limits) ? await makeBudget(tx, limits, by, now) : null
    await insertMember(tx, {
      team_id: team.team_id,
      user_id: userId,
      role: member.role,
      budget_id: own?.budget_id ?? null,
      allowed_models: (fields['allowed_models'] as string[] | null | undefined) ?? [],
      // Members that come together keep their order.
      created_at: new Date(now + ids.length),
    })
    await scheduleMember(tx, team.team_id, userId, own ?? fallback, now, config)
    ids.push(userId)
  }
  return ids
}

async function scheduleMember(
  tx: Transaction,
  teamId: string,
  userId: string,
  budget: BudgetRow | null,
  now: number,
  config: Config,
): Promise<void> {
  const scope = scopes.teamMember(teamId, userId)
  await scheduleOwner(tx, { scope, budget }, budget?.budget_duration ?? null, now, zoneOf(config))
}

/** The user that is meant, made where there is none. Throws GatewayError `bad_request` for an address of several. */
export async function userOf({ tx, config, by, now }: Joining, member: NewMember): Promise<string> {
  if (member.email !== null) await lockEmail(tx, member.email)
  if (member.userId === null && member.email !== null) {
    const ids = await userIdsByEmail(tx, member.email)
    if (ids.length > 1) throw badRequest('user_email', 'More than one user has this user_email: name one by user_id.')
    if (ids[0] !== undefined) return ids[0]
  }
  const userId = member.userId ?? rowId()
  if ((await findUser(tx, userId)) !== undefined) return userId
  if (member.email !== null && (await userIdsByEmail(tx, member.email)).length > 0)
    throw badRequest('user_email', `user_email belongs to another user than ${userId}.`)
  const fields = withUserDefaults({ user_email: member.email }, config)
  const [at, who] = [new Date(now), actorOf(by.actor)]
  await insertUser(tx, {
    ...userColumns(fields),
    user_id: userId,
    created_at: at,
    created_by: who,
    updated_at: at,
    updated_by: who,
  })
  const user = await findUser(tx, userId)
  if (user === undefined) throw new Error('a user that was just made is not there')
  const owner = { scope: scopes.user(userId), own: user, windows: user.budget_limits }
  await scheduleOwner(tx, owner, user.budget_duration, now, zoneOf(config))
  await audit(tx, auditEntry(by.actor, by.changedBy, 'created', 'users', userId, null, userInfo(user)))
  return userId
}

/** The rules of memberships of teams. Every write is audited in its own transaction and told to the edges after it. */
export function createTeamMembers(deps: TeamDeps): TeamMembers {
  const { db, bus, clock, config } = deps

  /** Somebody may join by themselves what the configuration lets everybody join, as a plain member without limits of their own. */
  function joinsAlone(teamId: string, members: readonly NewMember[], fields: TeamFields, actor: Identity): boolean {
    const [member] = members
    const limited = fields['allowed_models'] != null || saysBudget(budgetOfMember(fields))
    const self = members.length === 1 && member?.userId != null && member.userId === actor.userId && member.role === 'user'
    return self && !limited && availableTeams(config()).includes(teamId)
  }

  async function add(teamId: string, members: readonly NewMember[], fields: TeamFields, by: Writer) {
    const allowed = joinsAlone(teamId, members, fields, by.actor)
    const changed = await changeTeam(deps, by, { teamId, path: '/team/member_add', right: 'team', allowed }, (tx, team) =>
      joinMembers({ tx, config: config(), by, now: clock.now() }, team, members, fields),
    )
    const ids = new Set(changed.result)
    const joined = (await listMembers(db, [teamId])).filter((member) => ids.has(member.user_id))
    return { changed, joined }
  }

  async function shownMember(tx: Transaction, member: MemberView, team: TeamView): Promise<Record<string, unknown>> {
    const own = member.budget_id === null ? undefined : await findBudget(tx, member.budget_id)
    return membershipObject(member, own ?? (await memberBudgetOf(tx, team)))
  }

  /** The row a member's limits come from once `limits` are written: always one of its own. */
  async function ownRow(
    tx: Transaction,
    member: MemberView,
    team: TeamView,
    limits: BudgetFields,
    by: Writer,
  ): Promise<BudgetRow> {
    const now = clock.now()
    if (member.budget_id !== null) {
      const row = await ownBudget(tx, member.budget_id, limits, by, now, zoneOf(config()))
      if (row !== null) return row
    }
    // What the default says and the change does not goes along: leaving it must not lift a limit.
    const fallback = await memberBudgetOf(tx, team)
    if (fallback === null) return makeBudget(tx, limits, by, now)
    const [at, who] = [new Date(now), actorOf(by.actor)]
    const stamp = { created_at: at, created_by: who, updated_at: at, updated_by: who }
    return insertBudget(tx, { ...fallback, ...budgetColumns(limits), ...stamp, budget_id: rowId() })
  }

  async function memberAudit(tx: Transaction, member: MemberView, team: TeamView, before: unknown, by: Writer): Promise<void> {
    const after = await findMember(tx, team.team_id, { userId: member.user_id })
    const shown = after === undefined ? null : await shownMember(tx, after, team)
    const id = `${team.team_id}:${member.user_id}`
    await audit(
      tx,
      auditEntry(by.actor, by.changedBy, after === undefined ? 'deleted' : 'updated', 'team_members', id, before, shown),
    )
  }

  return {
    async add(fields, by) {
      const sent = fields['member']
      const members = membersOf(Array.isArray(sent) ? sent : [sent])
      const { changed, joined } = await add(fields.team_id, members, fields, by)
      const users = await findUsers(
        db,
        joined.map(({ user_id }) => user_id),
      )
      return {
        ...teamObject(changed.team, changed.budget),
        updated_users: users.map(userInfo),
        updated_team_memberships: await Promise.all(joined.map((member) => shownMember(db, member, changed.team))),
      }
    },

    async addMany(teamId, sent, fields, by) {
      const members =
        sent === null
          ? (await usersOutside(db, teamId)).map((userId): NewMember => ({ userId, email: null, role: 'user' }))
          : membersOf(sent)
      const results: Record<string, unknown>[] = []
      for (const member of members) {
        const named = { user_id: member.userId, user_email: member.email }
        const result = await add(teamId, [member], fields, by).then(
          async ({ changed, joined }) => ({
            ...named,
            user_id: joined[0]?.user_id ?? member.userId,
            success: true,
            error: null,
            updated_team_membership: joined[0] === undefined ? null : await shownMember(db, joined[0], changed.team),
          }),
          (error: unknown) => {
            // One who is a member already, or cannot be told: the others' turn. What is wrong with the caller or the team is not.
            if (!(error instanceof GatewayError) || error.code !== 'bad_request') throw error
            return { ...named, success: false, error: error.message, updated_team_membership: null }
          },
        )
        results.push(result)
      }
      const successes = results.filter(({ success }) => success === true).length
      const memberships = await membershipsOf(db, by.actor.userId)
      const team = await visibleTeam(db, teamId, by.actor, memberships)
      return {
        team_id: teamId,
        results,
        total_requested: results.length,
        successful_additions: successes,
        failed_additions: results.length - successes,
        updated_team: teamObject(team, await memberBudgetOf(db, team)),
      }
    },

    async update(fields, by) {
      const { team_id: teamId } = fields
      const { result } = await changeTeam(deps, by, { teamId, path: '/team/member_update', right: 'team' }, async (tx, team) => {
        const member = await requireMember(tx, teamId, fields)
        const before = await shownMember(tx, member, team)
        const limits = budgetOfMember(fields)
        const changes: Parameters<typeof updateMember>[3] = {}
        if (fields['role'] != null) changes.role = String(fields['role'])
        if (fields['allowed_models'] !== undefined) changes.allowed_models = (fields['allowed_models'] as string[] | null) ?? []
        const metadata = increased(member.metadata, fields, clock.now())
        if (metadata !== null) changes.metadata = metadata
        if (Object.keys(limits).length > 0) {
          const row = await ownRow(tx, member, team, limits, by)
          changes.budget_id = row.budget_id
          await scheduleMember(tx, teamId, member.user_id, row, clock.now(), config())
        }
        await updateMember(tx, teamId, member.user_id, changes)
        await memberAudit(tx, member, team, before, by)
        const after = await requireMember(tx, teamId, { user_id: member.user_id })
        const own = after.budget_id === null ? undefined : await findBudget(tx, after.budget_id)
        return { after, budget: own ?? (await memberBudgetOf(tx, team)) }
      })
      const { after, budget } = result
      return {
        team_id: teamId,
        user_id: after.user_id,
        user_email: after.user_email,
        role: after.role,
        max_budget_in_team: dollarsOrNull(budget?.max_budget_nano ?? null),
        budget_duration: budget?.budget_duration ?? null,
        tpm_limit: budget?.tpm_limit ?? null,
        rpm_limit: budget?.rpm_limit ?? null,
        allowed_models: after.allowed_models,
        temp_budget_increase: after.metadata['temp_budget_increase'] ?? null,
        temp_budget_expiry: after.metadata['temp_budget_expiry'] ?? null,
      }
    },

    async remove(fields, by) {
      const { team_id: teamId } = fields
      const changed = await changeTeam(deps, by, { teamId, path: '/team/member_delete', right: 'team' }, async (tx, team) => {
        const member = await requireMember(tx, teamId, fields)
        const before = await shownMember(tx, member, team)
        const tokens = await keysOfTeams(tx, [teamId], member.user_id)
        await removeKeys(tx, tokens, by)
        await deleteMember(tx, teamId, member.user_id)
        await setWindow(tx, scopes.teamMember(teamId, member.user_id), null, clock.now(), zoneOf(config()))
        await memberAudit(tx, member, team, before, by)
        return tokens
      })
      announceKeys(bus, changed.result)
      return teamObject(changed.team, changed.budget)
    },

    async own(teamId, actor) {
      const memberships = await membershipsOf(db, actor.userId)
      const team = await visibleTeam(db, teamId, actor, memberships)
      const member = actor.userId === null ? undefined : await findMember(db, teamId, { userId: actor.userId })
      if (member === undefined) throw new GatewayError('not_found', `You are no member of team ${teamId}.`, { param: 'team_id' })
      return { ...(await shownMember(db, member, team)), team_alias: team.team_alias }
    },

    async resetSpend(teamId, userId, to, by) {
      const path = '/team/{team_id}/member/{user_id}/reset_spend'
      const { result } = await changeTeam(deps, by, { teamId, path, right: 'team' }, async (tx, team) => {
        if (userId === by.actor.userId && !isAdmin(by.actor)) {
          throw new GatewayError('route_denied', 'Nobody resets what they have spent themselves.', { param: 'user_id' })
        }
        const member = await requireMember(tx, teamId, { user_id: userId })
        const before = await shownMember(tx, member, team)
        const spend = nanoField(to, 'reset_to') ?? 0
        if (spend > member.spend_nano) throw badRequest('reset_to', 'reset_to is more than the member has spent.')
        const spent = await setSpend(tx, scopes.teamMember(teamId, userId), spend)
        await memberAudit(tx, member, team, before, by)
        return { spent, spend, member, budget: await findBudget(tx, member.budget_id ?? team.team_member_budget_id ?? '') }
      })
      await tellSpent(deps, [result.spent])
      return {
        team_id: teamId,
        user_id: userId,
        spend: dollars(result.spend),
        previous_spend: dollars(result.member.spend_nano),
        max_budget: dollarsOrNull(result.budget?.max_budget_nano ?? null),
      }
    },

    async resetBudget(teamId, userId, by) {
      const path = '/team/{team_id}/member/{user_id}/reset_budget'
      const changed = await changeTeam(deps, by, { teamId, path, right: 'team' }, async (tx, team) => {
        const member = await requireMember(tx, teamId, { user_id: userId })
        const before = await shownMember(tx, member, team)
        await updateMember(tx, teamId, userId, { budget_id: null })
        await scheduleMember(tx, teamId, userId, await memberBudgetOf(tx, team), clock.now(), config())
        await memberAudit(tx, member, team, before, by)
      })
      const member = await requireMember(db, teamId, { user_id: userId })
      return shownMember(db, member, changed.team)
    },
  }
}

async function findMember(
  db: Transaction,
  teamId: string,
  by: { userId: string } | { email: string },
): Promise<MemberView | undefined> {
  const members = await listMembers(db, [teamId])
  if ('userId' in by) return members.find((member) => member.user_id === by.userId)
  const found = members.filter((member) => member.user_email?.toLowerCase() === by.email.toLowerCase())
  if (found.length > 1) throw badRequest('user_email', 'More than one member has this user_email: name one by user_id.')
  return found[0]
}

/** The member that `fields` name by `user_id` or `user_email`. Throws GatewayError `not_found` for one who is none. */
async function requireMember(db: Transaction, teamId: string, fields: TeamFields): Promise<MemberView> {
  const [userId, email] = [text(fields['user_id']), text(fields['user_email'])]
  const param = userId === null ? 'user_email' : 'user_id'
  const member =
    userId === null && email === null
      ? undefined
      : await findMember(db, teamId, userId === null ? { email: email ?? '' } : { userId })
  if (member === undefined)
    throw new GatewayError('not_found', `${param}: ${userId ?? email} is no member of team ${teamId}.`, { param })
  return member
}

/** A membership's metadata with the temporary increase that `fields` set or (null) take away; null = they say nothing of it. */
function increased(present: Record<string, unknown>, fields: TeamFields, now: number): Record<string, unknown> | null {
  const [increase, until] = [fields['temp_budget_increase'], fields['temp_budget_expiry']]
  if (increase === undefined && until === undefined) return null
  if ((increase == null) !== (until == null))
    throw badRequest('temp_budget_expiry', 'temp_budget_increase and temp_budget_expiry are only of use together: send both.')
  const { temp_budget_increase: _, temp_budget_expiry: __, ...rest } = present
  if (increase == null) return rest
  nanoField(increase, 'temp_budget_increase')
  return { ...rest, temp_budget_increase: increase, temp_budget_expiry: endOf(String(until), now) }
}

/** A time given as such or as a duration from now, ISO 8601. */
function endOf(text: string, now: number): string {
  const time = /^\d+(mo|[smhdw])$/.test(text.trim()) ? timeAfter(now, text) : Date.parse(text)
  if (Number.isNaN(time)) throw badRequest('temp_budget_expiry', 'temp_budget_expiry is neither a date nor a duration.')
  return new Date(time).toISOString()
}

function already(teamId: string, userId: string): GatewayError {
  return new GatewayError('bad_request', `User ${userId} is already a member of team ${teamId}.`, {
    type: 'team_member_already_in_team',
    param: 'user_id',
  })
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}
