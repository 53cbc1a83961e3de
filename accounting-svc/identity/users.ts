import type { Identity } from '../../proto/identity.ts'
import { scopes } from '../../proto/limits.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Config } from '../../shared/config/config.ts'
import type { Counters, Spent } from '../../shared/counters/counters.ts'
import type { Database, Transaction } from '../../shared/db/db.ts'
import { alreadyExists } from '../../shared/db/sql-state.ts'
import { GatewayError } from '../../shared/errors.ts'
import { rowId } from '../../shared/ids.ts'
import type { Log } from '../../shared/log.ts'
import { setWindow } from '../ledger/windows.ts'
import { archiveRows } from '../sql/archive.ts'
import { audit } from '../sql/audit.ts'
import { setSpend } from '../sql/limits.ts'
import {
  countUsers,
  deleteUsers,
  findUser,
  findUsers,
  insertUser,
  keysOfUsers,
  listUsers,
  lockEmail,
  type UserChanges,
  type UserFilter,
  type UserSort,
  type UserView,
  updateUser,
  userIdsAfter,
  userIdsByEmail,
} from '../sql/users.ts'
import { actorOf, adminOnly, isAdmin, readsAll } from './access.ts'
import { announceKeys } from './announce-keys.ts'
import { auditEntry } from './audit.ts'
import { scheduleOwner, zoneOf } from './budgets.ts'
import type { Keys } from './keys.ts'
import { hashPassword } from './password.ts'
import { removeKeys } from './removal.ts'
import { spendField, tellSpent } from './spend-changes.ts'
import { FOR_KEY, type UserFields, userColumns, userInfo, withUserDefaults } from './user-fields.ts'
import { joinAll, teamsShown } from './user-teams.ts'
import type { Writer } from './writer.ts'

export interface Users {
  create(fields: UserFields, writer: Writer): Promise<Record<string, unknown>>
  /** `fields` names the user by `user_id` or `user_email`. */
  update(fields: UserFields, writer: Writer): Promise<Record<string, unknown>>
  /** The same for many: one that fails does not keep the others from changing. */
  updateMany(updates: readonly UserFields[], writer: Writer): Promise<Record<string, unknown>>
  updateAll(fields: UserFields, writer: Writer): Promise<Record<string, unknown>>
  /** How many were deleted, with their keys and memberships. */
  remove(userIds: readonly string[], writer: Writer): Promise<number>
  /** Without an id: of the caller, or of everybody where the caller may read everything. */
  info(userId: string | undefined, actor: Identity): Promise<Record<string, unknown>>
  /** The user alone. */
  row(userId: string | undefined, actor: Identity): Promise<Record<string, unknown>>
  list(query: UserListQuery): Promise<Record<string, unknown>>
  /** Users to pick from: all for those who read everything, else those the caller shares a team or an organization with. */
  pick(
    query: { userId?: string | undefined; email?: string | undefined; page: number; size: number },
    actor: Identity,
  ): Promise<unknown[]>
  count(): Promise<number>
}

export interface UserListQuery extends UserFilter {
  page: number
  size: number
  sortBy: UserSort
  descending: boolean
}

/** What users may change about themselves. */
const OWN_FIELDS: ReadonlySet<string> = new Set(['user_id', 'user_email', 'user_alias', 'password'])
/** Keys listed with a user; more are a matter of /key/list, which has pages. */
const KEYS_SHOWN = 1000
/** Users changed between two looks at the table when everybody is. */
const ALL_PAGE = 500

/** The rules of internal users. Every write is audited in its own transaction and told to the edges after it. */
export function createUsers(deps: {
  db: Database
  bus: Bus
  keys: Keys
  counters: Pick<Counters, 'book'>
  config: () => Config
  clock: Clock
  log: Log
}): Users {
  const { db, bus, keys, config, clock } = deps
  const changed = (userId: string): void => bus.announce('identity', { userId })

  /** Schedules the budget windows of a user as it is stored now; the user with them. */
  async function scheduled(tx: Transaction, userId: string): Promise<UserView> {
    const user = await mustFind(tx, userId)
    const owner = { scope: scopes.user(userId), own: user, windows: user.budget_limits }
    await scheduleOwner(tx, owner, user.budget_duration, clock.now(), zoneOf(config()))
    return mustFind(tx, userId)
  }

  async function insert(fields: UserFields, writer: Writer): Promise<{ user: UserView; spent: Spent }> {
    const userId = text(fields['user_id']) ?? rowId()
    const stamp = { created_by: actorOf(writer.actor), updated_by: actorOf(writer.actor) }
    const row: UserChanges = {
      ...userColumns(fields),
      ...stamp,
      created_at: new Date(clock.now()),
      updated_at: new Date(clock.now()),
    }
    return db.transaction(async (tx) => {
      await requireFreeEmail(tx, text(fields['user_email']), null)
      await insertUser(tx, { ...row, user_id: userId }).catch((error: unknown) => {
        throw alreadyExists(error) ? taken(error, userId) : error
      })
      await joinAll({ tx, config: config(), by: writer, now: clock.now() }, userId, fields)
      // Set also where it is 0: what another user of this id left is not this one's spend.
      const spent = await setSpend(tx, scopes.user(userId), spendField(fields) ?? 0)
      const user = await scheduled(tx, userId)
      await audit(tx, auditEntry(writer.actor, writer.changedBy, 'created', 'users', userId, null, userInfo(user)))
      return { user, spent }
    })
  }

  /** Deletes users with their memberships and windows. What they spent stays, so that no number of theirs ever goes back. */
  async function drop(tx: Transaction, users: readonly UserView[], writer: Writer): Promise<void> {
    for (const user of users) {
      const { user_id: id, teams } = user
      const owned = [scopes.user(id), ...teams.map((teamId) => scopes.teamMember(teamId, id))]
      for (const scope of owned) await setWindow(tx, scope, null, clock.now(), zoneOf(config()))
      await audit(tx, auditEntry(writer.actor, writer.changedBy, 'deleted', 'users', id, userInfo(user), null))
    }
    await deleteUsers(
      tx,
      users.map((user) => user.user_id),
    )
  }

  /** Takes back a user whose key could not be made: half of what was asked for is not what was asked for. */
  async function undo(user: UserView, writer: Writer): Promise<void> {
    await db.transaction((tx) => drop(tx, [user], writer))
    changed(user.user_id)
  }

  async function update(fields: UserFields, writer: Writer): Promise<Record<string, unknown>> {
    const userId = text(fields['user_id']) ?? (await idOfEmail(db, text(fields['user_email'])))
    requireMay(writer.actor, userId, fields)
    const password = text(fields['password'])
    const hash = password === null ? undefined : await hashPassword(password)
    const { user, spents } = await db.transaction(async (tx) => {
      const before = await mustFind(tx, userId)
      const changes: UserChanges = { ...userColumns(fields, before.metadata), ...(hash === undefined ? {} : { password: hash }) }
      if (text(fields['user_id']) !== null) await requireFreeEmail(tx, text(fields['user_email']), userId)
      const stamp = { updated_at: new Date(clock.now()), updated_by: actorOf(writer.actor) }
      await updateUser(tx, userId, { ...changes, ...stamp }).catch((error: unknown) => {
        throw alreadyExists(error) ? taken(error, userId) : error
      })
      const spend = spendField(fields)
      const spents = spend === null ? [] : [await setSpend(tx, scopes.user(userId), spend)]
      const after = await scheduled(tx, userId)
      const values = { ...userInfo(after), ...(hash === undefined ? {} : { password: hash }) }
      await audit(tx, auditEntry(writer.actor, writer.changedBy, 'updated', 'users', userId, userInfo(before), values))
      return { user: after, spents }
    })
    await tellSpent(deps, spents)
    changed(userId)
    return { user_id: userId, data: userInfo(user) }
  }

  async function results(
    updates: AsyncIterable<UserFields> | Iterable<UserFields>,
    writer: Writer,
  ): Promise<Record<string, unknown>> {
    const done: Record<string, unknown>[] = []
    for await (const fields of updates) {
      const named = { user_id: fields['user_id'] ?? null, user_email: fields['user_email'] ?? null }
      done.push(
        await update(fields, writer).then(
          ({ user_id, data }) => ({ ...named, user_id, success: true, error: null, updated_user: data }),
          (error: unknown) => {
            if (!(error instanceof GatewayError) || error.status >= 500) throw error
            return { ...named, success: false, error: error.message, updated_user: null }
          },
        ),
      )
    }
    const successes = done.filter((result) => result['success'] === true).length
    return {
      results: done,
      total_requested: done.length,
      successful_updates: successes,
      failed_updates: done.length - successes,
    }
  }

  async function* everybody(fields: UserFields): AsyncGenerator<UserFields> {
    let last = ''
    for (;;) {
      const ids = await userIdsAfter(db, last, ALL_PAGE)
      for (const id of ids) yield { ...fields, user_id: id }
      if (ids.length < ALL_PAGE) return
      last = ids.at(-1) as string
    }
  }

  async function keyRows(userId: string | undefined, actor: Identity): Promise<unknown> {
    const page = await keys.list({ page: 1, size: KEYS_SHOWN, userId, substring: false, full: true, descending: true }, actor)
    return page['keys']
  }

  return {
    async create(asked, writer) {
      const fields = withUserDefaults(asked, config())
      const { user, spent } = await insert(fields, writer)
      await tellSpent(deps, [spent])
      changed(user.user_id)
      if (fields['auto_create_key'] === false) return userInfo(user)
      const forKey = Object.fromEntries(FOR_KEY.flatMap((name) => (fields[name] == null ? [] : [[name, fields[name]]])))
      const key = await keys.generate({ ...forKey, user_id: user.user_id }, writer).catch(async (error: unknown) => {
        await undo(user, writer)
        throw error
      })
      const { key: secret, key_name, key_alias, token, token_id, expires } = key
      return { ...userInfo(user), key: secret, key_name, key_alias, token, token_id, expires }
    },

    update,

    updateMany: (updates, writer) => results(updates, writer),

    updateAll: (fields, writer) => results(everybody(fields), writer),

    async remove(userIds, writer) {
      const ids = [...new Set(userIds)]
      const users = await findUsers(db, ids)
      const known = new Set(users.map((user) => user.user_id))
      requireAll(
        'user_ids',
        ids.filter((id) => !known.has(id)),
      )
      const tokens = await db.transaction(async (tx) => {
        const gone = await keysOfUsers(tx, ids)
        await removeKeys(tx, gone, writer)
        const rows = users.map((user) => ({ id: user.user_id, row: userInfo(user) }))
        await archiveRows(tx, 'users', rows, actorOf(writer.actor))
        await drop(tx, users, writer)
        return gone
      })
      announceKeys(bus, tokens)
      for (const id of ids) changed(id)
      return users.length
    },

    async info(userId, actor) {
      if (userId === undefined && readsAll(actor)) {
        return { user_id: null, user_info: null, keys: await keyRows(undefined, actor), teams: await teamsShown(db, undefined) }
      }
      const id = readable(userId, actor)
      const user = await mustFind(db, id)
      return { user_id: id, user_info: userInfo(user), keys: await keyRows(id, actor), teams: await teamsShown(db, id) }
    },

    async row(userId, actor) {
      return userInfo(await mustFind(db, readable(userId, actor)))
    },

    async list({ page, size, sortBy, descending, ...filter }) {
      const { rows, total } = await listUsers(db, filter, { limit: size, offset: (page - 1) * size, sort: sortBy, descending })
      return {
        users: rows.map((user) => ({ ...userInfo(user), key_count: user.key_count })),
        total,
        page,
        page_size: size,
        total_pages: Math.ceil(total / size),
      }
    },

    async pick({ userId, email, page, size }, actor) {
      if (!readsAll(actor) && actor.userId === null) return []
      const filter: UserFilter = {
        ...(userId === undefined ? {} : { userIdPart: userId }),
        ...(email === undefined ? {} : { email }),
        ...(readsAll(actor) || actor.userId === null ? {} : { near: actor.userId }),
      }
      const order = { sort: 'created_at', descending: true } as const
      const { rows } = await listUsers(db, filter, { limit: size, offset: (page - 1) * size, ...order })
      return rows.map(({ user_id, user_email, user_alias, user_role }) => ({ user_id, user_email, user_alias, user_role }))
    },

    count: () => countUsers(db),
  }
}

/** The user that `actor` may read: whoever they name where they read everything, else only themselves. */
function readable(userId: string | undefined, actor: Identity): string {
  const id = userId ?? actor.userId
  if (id === null) throw new GatewayError('not_found', 'This key belongs to no user.', { param: 'user_id' })
  if (readsAll(actor) || id === actor.userId) return id
  throw new GatewayError('route_denied', 'A key may only read the user it belongs to.', { param: 'user_id' })
}

/** Admins change everything, users their name, address and password, viewers of everything the last two, other viewers nothing. */
function requireMay(actor: Identity, userId: string, fields: UserFields): void {
  if (isAdmin(actor)) return
  const named = Object.keys(fields).filter((name) => fields[name] !== undefined)
  const own = actor.userId === userId && named.every((name) => OWN_FIELDS.has(name))
  if (own && actor.role === 'internal_user') return
  if (own && actor.role === 'proxy_admin_viewer' && !named.includes('user_alias')) return
  throw adminOnly(actor, '/user/update')
}

async function idOfEmail(db: Transaction, email: string | null): Promise<string> {
  if (email === null) throw new GatewayError('bad_request', 'user_id or user_email is needed.', { param: 'user_id' })
  const ids = await userIdsByEmail(db, email)
  if (ids.length > 1) {
    throw new GatewayError('bad_request', 'More than one user has this user_email: name one by user_id.', { param: 'user_email' })
  }
  if (ids[0] === undefined) throw new GatewayError('not_found', 'No user has this user_email.', { param: 'user_email' })
  return ids[0]
}

async function requireFreeEmail(tx: Transaction, email: string | null, owner: string | null): Promise<void> {
  if (email === null) return
  await lockEmail(tx, email)
  if ((await userIdsByEmail(tx, email)).some((id) => id !== owner)) {
    throw new GatewayError('already_exists', `User with email ${email} already exists.`, { param: 'user_email' })
  }
}

function requireAll(field: string, missing: readonly string[]): void {
  if (missing.length === 0) return
  throw new GatewayError('not_found', `${field}: there is no ${missing.map((id) => `'${id}'`).join(', ')}.`, { param: field })
}

async function mustFind(tx: Transaction, userId: string): Promise<UserView> {
  const user = await findUser(tx, userId)
  if (user === undefined) throw new GatewayError('not_found', `User ${userId} not found.`, { param: 'user_id' })
  return user
}

function taken(error: unknown, userId: string): GatewayError {
  const constraint = typeof error === 'object' && error !== null && 'constraint' in error ? error.constraint : null
  return constraint === 'users_pkey'
    ? new GatewayError('already_exists', `User with id ${userId} already exists.`, { param: 'user_id' })
    : new GatewayError('already_exists', 'Another user has this sso_user_id.', { param: 'sso_user_id' })
}

function text(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}
