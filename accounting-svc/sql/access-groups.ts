import type { Transaction } from '../../shared/db/db.ts'
import { assignments, columns, placeholders } from './columns.ts'

/** A row of `access_groups`. */
export interface AccessGroupRow {
  access_group_id: string
  access_group_name: string
  description: string | null
  models: string[]
  mcp_server_ids: string[]
  agent_ids: string[]
  created_at: Date
  created_by: string | null
  updated_at: Date
  updated_by: string | null
}

/** With the keys (hashes) and teams it is granted to. */
export interface AccessGroupView extends AccessGroupRow {
  keys: string[]
  teams: string[]
}

/** Who a group can be granted to. */
export type Grantee = 'keys' | 'teams'

const ID: Record<Grantee, string> = { keys: 'token', teams: 'team_id' }
const NO_JSON: ReadonlySet<string> = new Set()
/** A name no model has: a list of it alone allows nothing, where an empty one allows everything. */
const NOTHING = 'no-default-models'

const VIEW = `select g.*,
    array(select k.token from keys k where g.access_group_id = any(k.access_group_ids) order by k.token) as keys,
    array(select t.team_id from teams t where g.access_group_id = any(t.access_group_ids) order by t.team_id) as teams
  from access_groups g`

/** Adds a group. Fails on a name that exists (see sql-state.ts). */
export async function insertAccessGroup(
  tx: Transaction,
  row: Partial<AccessGroupRow> & Pick<AccessGroupRow, 'access_group_id' | 'access_group_name'>,
): Promise<void> {
  const { names, values } = columns(row, NO_JSON)
  await tx.query(`insert into access_groups (${names.join(', ')}) values (${placeholders(names.length)})`, values)
}

/** Changes a group. Fails on a name that exists (see sql-state.ts). */
export async function updateAccessGroup(tx: Transaction, id: string, changes: Partial<AccessGroupRow>): Promise<void> {
  const { names, values } = columns(changes, NO_JSON)
  await tx.query(`update access_groups set ${assignments(names, 2)} where access_group_id = $1`, [id, ...values])
}

/** The group, locked until the transaction ends where `lock`. */
export async function findAccessGroup(tx: Transaction, id: string, lock = false): Promise<AccessGroupView | undefined> {
  const rows = await tx.query<AccessGroupView>(`${VIEW} where g.access_group_id = $1${lock ? ' for update of g' : ''}`, [id])
  return rows[0]
}

export function listAccessGroups(tx: Transaction): Promise<AccessGroupView[]> {
  return tx.query<AccessGroupView>(`${VIEW} order by g.created_at desc, g.access_group_id`)
}

export async function deleteAccessGroup(tx: Transaction, id: string): Promise<void> {
  await tx.query('delete from access_groups where access_group_id = $1', [id])
}

/** Which of these keys (hashes) or teams do not exist. */
export async function missingGrantees(tx: Transaction, table: Grantee, ids: readonly string[]): Promise<string[]> {
  const rows = await tx.query<{ id: string }>(
    `select id from unnest($1::text[]) as id where not exists (select from ${table} where ${ID[table]} = id)`,
    [ids],
  )
  return rows.map((row) => row.id)
}

/** Grants a group to keys or teams that do not have it. */
export async function grant(tx: Transaction, table: Grantee, groupId: string, ids: readonly string[]): Promise<void> {
  await tx.query(
    `update ${table} set access_group_ids = array_append(access_group_ids, $1)
     where ${ID[table]} = any($2) and not $1 = any(access_group_ids)`,
    [groupId, ids],
  )
}

/**
 * For keys or teams whose models come from this group alone: allows them nothing rather than everything, which is what an empty list of
 * models means. Call it before the group, or its models, are taken away from `ids`.
 */
export async function closeWithout(tx: Transaction, table: Grantee, groupId: string, ids: readonly string[]): Promise<void> {
  await tx.query(
    `update ${table} o set models = array['${NOTHING}'] where ${ID[table]} = any($2) and $1 = any(o.access_group_ids) and o.models = '{}'
     and exists (select from access_groups g where g.access_group_id = $1 and g.models <> '{}')
     and not exists (select from access_groups g
       where g.access_group_id = any(o.access_group_ids) and g.access_group_id <> $1 and g.models <> '{}')`,
    [groupId, ids],
  )
}

/** Takes a group away from keys or teams. */
export async function revoke(tx: Transaction, table: Grantee, groupId: string, ids: readonly string[]): Promise<void> {
  await tx.query(`update ${table} set access_group_ids = array_remove(access_group_ids, $1) where ${ID[table]} = any($2)`, [
    groupId,
    ids,
  ])
}
