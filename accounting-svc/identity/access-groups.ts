import type { Bus } from '../../shared/bus/bus.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Database, Transaction } from '../../shared/db/db.ts'
import { alreadyExists } from '../../shared/db/sql-state.ts'
import { GatewayError } from '../../shared/errors.ts'
import { rowId } from '../../shared/ids.ts'
import {
  type AccessGroupRow,
  type AccessGroupView,
  closeWithout,
  deleteAccessGroup,
  findAccessGroup,
  type Grantee,
  grant,
  insertAccessGroup,
  listAccessGroups,
  missingGrantees,
  revoke,
  updateAccessGroup,
} from '../sql/access-groups.ts'
import { archiveRows } from '../sql/archive.ts'
import { audit } from '../sql/audit.ts'
import { actorOf } from './access.ts'
import { announceKeys } from './announce-keys.ts'
import { auditEntry } from './audit.ts'
import { tokenOf } from './keys.ts'
import type { Writer } from './writer.ts'

/** What a client sends to make or change a group, already checked against its schema (routes/access-groups.ts). */
export interface AccessGroupFields {
  access_group_name?: string | undefined
  description?: string | null | undefined
  access_model_names?: string[] | null | undefined
  access_mcp_server_ids?: string[] | null | undefined
  access_agent_ids?: string[] | null | undefined
  /** Teams and keys it is granted to; where it is sent, no others. */
  assigned_team_ids?: string[] | null | undefined
  assigned_key_ids?: string[] | null | undefined
}

export interface AccessGroups {
  create(fields: AccessGroupFields & { access_group_name: string }, by: Writer): Promise<Record<string, unknown>>
  update(id: string, fields: AccessGroupFields, by: Writer): Promise<Record<string, unknown>>
  remove(id: string, by: Writer): Promise<void>
  info(id: string): Promise<Record<string, unknown>>
  list(): Promise<Record<string, unknown>[]>
}

/**
 * The rules of access groups: bundles of models (and of tools and agents) granted to keys and teams. Taking one away never widens what
 * anybody may call.
 */
export function createAccessGroups(deps: { db: Database; bus: Bus; clock: Clock }): AccessGroups {
  const { db, bus, clock } = deps

  /** Everybody who has or had the group: what they may call has changed. */
  function announce(...views: AccessGroupView[]): void {
    announceKeys(bus, new Set(views.flatMap((view) => view.keys)))
    for (const teamId of new Set(views.flatMap((view) => view.teams))) bus.announce('identity', { teamId })
  }

  /** Grants the group to exactly these keys or teams. */
  async function assign(tx: Transaction, table: Grantee, group: AccessGroupView, ids: readonly string[]): Promise<void> {
    const missing = await missingGrantees(tx, table, ids)
    if (missing.length > 0) {
      const param = table === 'keys' ? 'assigned_key_ids' : 'assigned_team_ids'
      throw new GatewayError('not_found', `${param}: there is no ${missing.map((id) => `'${id}'`).join(', ')}.`, { param })
    }
    await takeAway(
      tx,
      table,
      group,
      group[table].filter((id) => !ids.includes(id)),
    )
    await grant(tx, table, group.access_group_id, ids)
  }

  async function takeAway(tx: Transaction, table: Grantee, group: AccessGroupView, ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return
    await closeWithout(tx, table, group.access_group_id, ids)
    await revoke(tx, table, group.access_group_id, ids)
  }

  async function write(tx: Transaction, group: AccessGroupView, fields: AccessGroupFields): Promise<AccessGroupView> {
    if (fields.assigned_team_ids !== undefined) await assign(tx, 'teams', group, fields.assigned_team_ids ?? [])
    if (fields.assigned_key_ids !== undefined) await assign(tx, 'keys', group, (fields.assigned_key_ids ?? []).map(tokenOf))
    return mustFind(tx, group.access_group_id)
  }

  return {
    async create(fields, by) {
      const id = rowId()
      const [at, who] = [new Date(clock.now()), actorOf(by.actor)]
      const made = await db.transaction(async (tx) => {
        const stamp = { created_at: at, created_by: who, updated_at: at, updated_by: who }
        const row = { ...groupColumns(fields), ...stamp, access_group_id: id, access_group_name: fields.access_group_name }
        await insertAccessGroup(tx, row).catch((error: unknown) => {
          throw alreadyExists(error) ? taken(fields.access_group_name) : error
        })
        const group = await write(tx, await mustFind(tx, id), fields)
        await audit(tx, auditEntry(by.actor, by.changedBy, 'created', 'access_groups', id, null, shown(group)))
        return group
      })
      announce(made)
      return shown(made)
    },

    async update(id, fields, by) {
      const [before, after] = await db.transaction(async (tx) => {
        const old = await mustFind(tx, id, true)
        const changes = groupColumns(fields)
        if (changes.models?.length === 0) {
          await closeWithout(tx, 'keys', id, old.keys)
          await closeWithout(tx, 'teams', id, old.teams)
        }
        const stamp = { updated_at: new Date(clock.now()), updated_by: actorOf(by.actor) }
        await updateAccessGroup(tx, id, { ...changes, ...stamp }).catch((error: unknown) => {
          throw alreadyExists(error) ? taken(fields.access_group_name) : error
        })
        const group = await write(tx, old, fields)
        await audit(tx, auditEntry(by.actor, by.changedBy, 'updated', 'access_groups', id, shown(old), shown(group)))
        return [old, group]
      })
      announce(before, after)
      return shown(after)
    },

    async remove(id, by) {
      const gone = await db.transaction(async (tx) => {
        const group = await mustFind(tx, id, true)
        await takeAway(tx, 'keys', group, group.keys)
        await takeAway(tx, 'teams', group, group.teams)
        await archiveRows(tx, 'access_groups', [{ id, row: shown(group) }], actorOf(by.actor))
        await deleteAccessGroup(tx, id)
        await audit(tx, auditEntry(by.actor, by.changedBy, 'deleted', 'access_groups', id, shown(group), null))
        return group
      })
      announce(gone)
    },

    async info(id) {
      return shown(await mustFind(db, id))
    },

    async list() {
      return (await listAccessGroups(db)).map(shown)
    },
  }
}

/** The columns that `fields` set; null empties a list. */
function groupColumns(fields: AccessGroupFields): Partial<AccessGroupRow> {
  const columns: Partial<AccessGroupRow> = {}
  if (fields.access_group_name !== undefined) columns.access_group_name = fields.access_group_name
  if (fields.description !== undefined) columns.description = fields.description
  if (fields.access_model_names !== undefined) columns.models = fields.access_model_names ?? []
  if (fields.access_mcp_server_ids !== undefined) columns.mcp_server_ids = fields.access_mcp_server_ids ?? []
  if (fields.access_agent_ids !== undefined) columns.agent_ids = fields.access_agent_ids ?? []
  return columns
}

function shown({ models, mcp_server_ids, agent_ids, keys, teams, ...rest }: AccessGroupView): Record<string, unknown> {
  return {
    ...rest,
    access_model_names: models,
    access_mcp_server_ids: mcp_server_ids,
    access_agent_ids: agent_ids,
    assigned_team_ids: teams,
    assigned_key_ids: keys,
  }
}

async function mustFind(tx: Transaction, id: string, lock = false): Promise<AccessGroupView> {
  const group = await findAccessGroup(tx, id, lock)
  if (group === undefined) throw new GatewayError('not_found', `Access group '${id}' not found`, { param: 'access_group_id' })
  return group
}

function taken(name: string | undefined): GatewayError {
  return new GatewayError('already_exists', `Access group '${name ?? ''}' already exists`, { param: 'access_group_name' })
}
