import type { Identity } from '../../proto/identity.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Config } from '../../shared/config/config.ts'
import { hashKey } from '../../shared/config/secrets.ts'
import type { Database } from '../../shared/db/db.ts'
import { alreadyExists } from '../../shared/db/sql-state.ts'
import { GatewayError } from '../../shared/errors.ts'
import { virtualKey } from '../../shared/ids.ts'
import {
  deleteKeys,
  findKey,
  findKeys,
  findTeam,
  insertKey,
  KEY_SORTS,
  type KeyFilter,
  type KeyRow,
  type KeySort,
  listKeys,
  updateKey,
} from '../sql/keys.ts'
import { actorOf, adminOnly, isAdmin, owns, readsAll } from './access.ts'
import { columnsOf, type KeyFields, keyInfo, keyObject } from './key-fields.ts'
import { withConfigLimits } from './key-limits.ts'
import type { Identities } from './publish.ts'

export interface Keys {
  generate(fields: KeyFields, actor: Identity): Promise<Record<string, unknown>>
  info(key: string | undefined, actor: Identity): Promise<Record<string, unknown>>
  list(query: KeyListQuery, actor: Identity): Promise<Record<string, unknown>>
  update(fields: KeyFields & { key: string }, actor: Identity): Promise<Record<string, unknown>>
  remove(keys: readonly string[], aliases: readonly string[], actor: Identity): Promise<Record<string, unknown>>
  setBlocked(key: string, blocked: boolean, actor: Identity): Promise<Record<string, unknown>>
}

export interface KeyListQuery {
  page: number
  size: number
  userId?: string | undefined
  teamId?: string | undefined
  organizationId?: string | undefined
  keyHash?: string | undefined
  keyAlias?: string | undefined
  createdBy?: string | undefined
  substring: boolean
  full: boolean
  sortBy?: string | undefined
  descending: boolean
}

/** The rules of virtual keys: create, read, change, block, delete. Every write tells the edges after it is committed. */
export function createKeys(deps: { db: Database; identities: Identities; config: () => Config; clock: Clock }): Keys {
  const { db, identities, clock } = deps

  /** The row of a key that `actor` may see. Others' keys look like missing ones, so that nobody can ask what exists. */
  async function rowFor(key: string, may: (row: KeyRow) => boolean): Promise<KeyRow> {
    const row = await findKey(db, tokenOf(key))
    if (row === undefined || !may(row)) throw notFound()
    return row
  }

  async function change(row: KeyRow, changes: Partial<KeyRow>, actor: Identity): Promise<KeyRow> {
    const stamped = { ...changes, updated_at: new Date(clock.now()), updated_by: actorOf(actor) }
    const updated = await updateKey(db, row.token, stamped).catch((error: unknown) => {
      throw alreadyExists(error) ? aliasTaken(changes.key_alias) : error
    })
    if (updated === undefined) throw notFound()
    identities.changed(row.token)
    return updated
  }

  return {
    async generate(asked, actor) {
      const fields = withConfigLimits(ownedFields(asked, actor), deps.config(), clock.now())
      const key = typeof fields['key'] === 'string' ? fields['key'] : virtualKey()
      if (!key.startsWith('sk-')) throw badKey()
      const now = clock.now()
      const row: Partial<KeyRow> & Pick<KeyRow, 'token' | 'key_name'> = {
        ...columnsOf(fields, now),
        token: hashKey(key),
        key_name: nameOf(key),
        created_at: new Date(now),
        updated_at: new Date(now),
        created_by: actorOf(actor),
        updated_by: actorOf(actor),
      }
      await joinOrganization(db, row)
      const stored = await insertKey(db, row).catch((error: unknown) => {
        throw alreadyExists(error) ? taken(error, row.key_alias) : error
      })
      // An edge may remember that nobody had this key.
      identities.changed(stored.token)
      return { ...echo(fields), ...keyObject(stored), key }
    },

    async info(key, actor) {
      const row = await rowFor(key ?? actor.keyHash, (found) => readsAll(actor) || owns(actor, found))
      return { key: key ?? actor.keyHash, info: keyInfo(row) }
    },

    async list(query, actor) {
      const filter: KeyFilter = { substring: query.substring }
      if (query.userId !== undefined) filter.userId = query.userId
      if (query.teamId !== undefined) filter.teamId = query.teamId
      if (query.organizationId !== undefined) filter.organizationId = query.organizationId
      if (query.keyHash !== undefined) filter.token = tokenOf(query.keyHash)
      if (query.keyAlias !== undefined) filter.alias = query.keyAlias
      if (query.createdBy !== undefined) filter.createdBy = query.createdBy
      if (!readsAll(actor)) {
        if (actor.userId === null) filter.token = actor.keyHash
        else filter.ownedBy = actor.userId
      }
      const { rows, total } = await listKeys(db, filter, {
        limit: query.size,
        offset: (query.page - 1) * query.size,
        sort: sortOf(query.sortBy),
        descending: query.descending,
      })
      return {
        keys: rows.map((row) => (query.full ? { token: row.token, ...keyInfo(row) } : row.token)),
        total_count: total,
        current_page: query.page,
        total_pages: Math.ceil(total / query.size),
      }
    },

    async update({ key, ...fields }, actor) {
      requirePerson(actor, '/key/update')
      const row = await rowFor(key, (found) => isAdmin(actor) || owns(actor, found))
      if (!isAdmin(actor)) refuseRaise(fields, actor)
      const changed = await change(row, columnsOf(fields, clock.now(), row.metadata), actor)
      return { key, ...keyObject(changed) }
    },

    async remove(keys, aliases, actor) {
      requirePerson(actor, '/key/delete')
      const rows = await findKeys(db, keys.map(tokenOf), aliases)
      const mine = rows.filter((row) => isAdmin(actor) || owns(actor, row))
      if (mine.length === 0) throw notFound()
      const deleted = new Set(
        await deleteKeys(
          db,
          mine.map((row) => row.token),
        ),
      )
      for (const token of deleted) identities.changed(token)
      // Said back as they were named: by key or hash first, the rest by the hash their alias stood for.
      const named = keys.filter((key) => deleted.delete(tokenOf(key)))
      return { deleted_keys: [...named, ...deleted] }
    },

    async setBlocked(key, blocked, actor) {
      const row = await rowFor(key, () => isAdmin(actor))
      const changed = await change(row, { blocked }, actor)
      return { token: changed.token, ...keyInfo(changed) }
    },
  }
}

/** A key as management routes take it, or the hash they take instead → hash. */
export function tokenOf(keyOrHash: string): string {
  return keyOrHash.startsWith('sk-') ? hashKey(keyOrHash) : keyOrHash
}

/** `sk-...` and the last four characters; nothing of a key that is mostly those. */
function nameOf(key: string): string {
  return key.length >= 12 ? `sk-...${key.slice(-4)}` : 'sk-...'
}

/** Fields of `asked` for a key made by a non-admin: theirs, and no wider than they are. */
function ownedFields(asked: KeyFields, actor: Identity): KeyFields {
  if (isAdmin(actor)) return asked
  requirePerson(actor, '/key/generate')
  if (asked['user_id'] != null && asked['user_id'] !== actor.userId) throw adminOnly(actor, '/key/generate')
  if (asked['team_id'] != null && asked['team_id'] !== actor.teamId) throw adminOnly(actor, '/key/generate')
  refuseRaise(asked, actor)
  return { ...asked, user_id: actor.userId }
}

/** A key without a user is a program's: it may not raise its own limits, nor make other keys. */
function requirePerson(actor: Identity, path: string): void {
  if (!isAdmin(actor) && actor.userId === null) throw adminOnly(actor, path)
}

/** What only an admin may set on a key: who pays for it, and what has been spent. */
function refuseRaise(fields: KeyFields, actor: Identity): void {
  for (const name of ['spend', 'user_id', 'team_id', 'organization_id', 'budget_id'] as const) {
    if (fields[name] === undefined || fields[name] === null) continue
    if (name === 'user_id' && fields[name] === actor.userId) continue
    if (name === 'team_id' && fields[name] === actor.teamId) continue
    throw adminOnly(actor, `/key (${name})`)
  }
}

/** A key of a team belongs to the team's organization, unless that is said and differs. */
async function joinOrganization(db: Database, row: Partial<KeyRow>): Promise<void> {
  if (row.team_id == null) return
  const team = await findTeam(db, row.team_id)
  if (team === undefined || team.organization_id === null) return
  if (row.organization_id != null && row.organization_id !== team.organization_id) {
    throw new GatewayError('bad_request', `organization_id is not that of team ${row.team_id}.`, {
      type: 'bad_request_error',
      param: 'organization_id',
    })
  }
  row.organization_id = team.organization_id
}

/** What was asked for is said back, also where nothing is stored under that name. */
function echo(fields: KeyFields): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}

function sortOf(name: string | undefined): KeySort {
  const column = name === 'spend' || name === 'max_budget' ? `${name}_nano` : name
  return KEY_SORTS.find((sort) => sort === column) ?? 'created_at'
}

function notFound(): GatewayError {
  return new GatewayError('not_found', 'Key not found in database', { param: 'key' })
}

function badKey(): GatewayError {
  return new GatewayError('bad_request', "Invalid key format. LiteLLM Virtual Key must start with 'sk-'.", {
    type: 'bad_request_error',
    param: 'key',
  })
}

/** Which of the two unique things was taken. */
function taken(error: unknown, alias: string | null | undefined): GatewayError {
  const constraint = typeof error === 'object' && error !== null && 'constraint' in error ? error.constraint : null
  if (constraint === 'keys_alias') return aliasTaken(alias)
  return new GatewayError('bad_request', 'This key already exists.', { type: 'bad_request_error', param: 'key' })
}

function aliasTaken(alias: string | null | undefined): GatewayError {
  return new GatewayError('bad_request', `Key with alias '${alias ?? ''}' already exists. Aliases are unique across all keys.`, {
    type: 'bad_request_error',
    param: 'key_alias',
  })
}
