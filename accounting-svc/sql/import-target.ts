import type { Transaction } from '../../shared/db/db.ts'
import { auditId } from '../../shared/ids.ts'
import type { EntryOwners } from '../ledger/scopes.ts'

/** Our tables that an import writes, with their keys. */
const KEYS = {
  budgets: ['budget_id'],
  organizations: ['organization_id'],
  users: ['user_id'],
  teams: ['team_id'],
  team_members: ['team_id', 'user_id'],
  organization_members: ['organization_id', 'user_id'],
  projects: ['project_id'],
  customers: ['user_id'],
  tags: ['tag_name'],
  keys: ['token'],
  deprecated_keys: ['token'],
  jwt_key_mappings: ['id'],
} as const satisfies Record<string, readonly string[]>
export type TargetTable = keyof typeof KEYS

/** What may not occur twice beside the key. */
const UNIQUE: Partial<Record<TargetTable, readonly (readonly string[])[]>> = {
  users: [['sso_user_id']],
  keys: [['key_alias']],
  jwt_key_mappings: [['jwt_claim_name', 'jwt_claim_value']],
}

/** A row that says nothing of a customer: the first call that names one makes it. */
const BLANK: Partial<Record<TargetTable, string>> = {
  customers: `ours.alias is null and not ours.blocked and ours.allowed_model_region is null and ours.default_model is null
    and ours.budget_id is null and ours.object_permission is null`,
}

/** Columns that change by themselves: they say nothing of whether two rows are the same. */
const STAMPS: readonly string[] = ['created_at', 'created_by', 'updated_at', 'updated_by', 'last_active']

/** How imports sign what they write in the audit log. */
const SIGNATURE = 'import'
/** Its entries that tell of a whole import. */
const IMPORTS = 'imports'

type Row = Record<string, unknown>

/** One import at a time. */
export async function lockImports(tx: Transaction): Promise<void> {
  // Key: "impo" in bytes. Released with the transaction.
  await tx.query('select pg_advisory_xact_lock(1768779887)')
}

/** A row that is there under the key of one that is to be imported. */
export interface Existing {
  /** Which of the rows, from 0. */
  index: number
  /** Columns in which the two differ. */
  differs: string[]
  /** Nobody has said anything in it yet. */
  blank: boolean
}

/** Which of these rows are there already, and whether they say the same. Every row has the same columns. */
export function findExisting(tx: Transaction, table: TargetTable, rows: readonly Row[]): Promise<Existing[]> {
  const key = KEYS[table]
  const compared = Object.keys(rows[0] ?? {}).filter((name) => !STAMPS.includes(name))
  // Each row becomes JSON once: a comparison column by column would make it so for every column again.
  return tx.query<Existing>(
    `select (theirs.ordinality - 1)::int as index, ${BLANK[table] ?? 'false'} as blank,
       array(select key from jsonb_each(to_jsonb(ours)) as mine (key, value) join jsonb_each(to_jsonb(theirs)) as their (key, value) using (key)
         where key = any($2::text[]) and mine.value is distinct from their.value order by key) as differs
     from ${given(table)} join ${table} ours on ${key.map((name) => `ours.${name} = theirs.${name}`).join(' and ')}`,
    [JSON.stringify(rows), compared],
  )
}

/** The rows of $1 as those of a table, numbered from 1. */
function given(table: TargetTable): string {
  return `jsonb_populate_recordset(null::${table}, $1::jsonb) with ordinality as theirs`
}

/** Which of these rows hold something that only one row may have and another row here has: their index, and the columns. */
export async function findTaken(
  tx: Transaction,
  table: TargetTable,
  rows: readonly Row[],
): Promise<{ index: number; columns: string }[]> {
  const found: { index: number; columns: string }[] = []
  const key = KEYS[table]
  for (const columns of UNIQUE[table] ?? []) {
    const same = columns.map((name) => `ours.${name} = theirs.${name}`).join(' and ')
    const other = key.map((name) => `ours.${name} <> theirs.${name}`).join(' or ')
    found.push(
      ...(await tx.query<{ index: number; columns: string }>(
        `select (theirs.ordinality - 1)::int as index, $2::text as columns
         from ${given(table)} join ${table} ours on ${same} and (${other})`,
        [JSON.stringify(rows), columns.join(', ')],
      )),
    )
  }
  return found
}

/** Which of these ids an earlier import has written, whatever became of them since. */
export async function findImported(tx: Transaction, table: TargetTable, ids: readonly string[]): Promise<Set<string>> {
  const rows = await tx.query<{ object_id: string }>(
    'select distinct object_id from audit_log where table_name = $1 and object_id = any($2::text[]) and changed_by_api_key = $3',
    [table, ids, SIGNATURE],
  )
  return new Set(rows.map((row) => row.object_id))
}

/** Adds rows, or fills ones that say nothing. Every row has the same columns; the others take their defaults. */
export async function insertRows(tx: Transaction, table: TargetTable, rows: readonly Row[]): Promise<void> {
  const columns = Object.keys(rows[0] ?? {})
  const fill =
    BLANK[table] === undefined
      ? ''
      : `on conflict (${KEYS[table].join(', ')}) do update set ${columns.map((name) => `${name} = excluded.${name}`).join(', ')}`
  await tx.query(
    `insert into ${table} (${columns.join(', ')})
     select ${columns.map((name) => `r.${name}`).join(', ')} from jsonb_populate_recordset(null::${table}, $1::jsonb) r ${fill}`,
    [JSON.stringify(rows)],
  )
}

/** One audit entry per row, in the transaction that writes it. */
export async function auditRows(tx: Transaction, table: TargetTable, ids: readonly string[], runId: string): Promise<void> {
  await tx.query(
    `insert into audit_log (id, changed_by, changed_by_api_key, action, table_name, object_id, updated_values)
     select a.id, $4, $4, 'created', $3, a.object_id, jsonb_build_object('imported_from', 'LiteLLM', 'import', $5::text)
     from unnest($1::text[], $2::text[]) as a (id, object_id)`,
    [ids.map(() => auditId()), ids, table, SIGNATURE, runId],
  )
}

/**
 * The audit entry of the whole import: what accounting of a running gateway looks for. `startedAt` (Unix milliseconds) is the time of all
 * its opening entries, by which they are found again.
 */
export async function auditImport(tx: Transaction, runId: string, startedAt: number, summary: object): Promise<void> {
  await tx.query(
    `insert into audit_log (id, changed_by, changed_by_api_key, action, table_name, object_id, updated_values)
     values ($1, $2, $2, 'created', $3, $4, $5)`,
    [auditId(), SIGNATURE, IMPORTS, runId, JSON.stringify({ started_at: startedAt, ...summary })],
  )
}

/** How many imports there were. */
export async function countImports(db: Transaction): Promise<number> {
  const rows = await db.query<{ count: number }>('select count(*) as count from audit_log where table_name = $1', [IMPORTS])
  return rows[0]?.count ?? 0
}

/** Opening entries of every import there was, with whose they are and their cost in nano-dollars. */
export function findOpenings(tx: Transaction): Promise<(EntryOwners & { cost: number })[]> {
  return tx.query(
    `select key_hash as "keyHash", user_id as "userId", team_id as "teamId", organization_id as "organizationId",
       project_id as "projectId", end_user as "endUser", tags, extra_scopes as "extraScopes", cost_nano as cost
     from ledger where entry = 'opening' and started_at = any(array(
       select timestamptz 'epoch' + (updated_values ->> 'started_at')::bigint * interval '1 millisecond'
       from audit_log where table_name = $1))`,
    [IMPORTS],
  )
}

/** Opens the windows of these scopes. Times are Unix milliseconds. One that runs with the same duration stays open as long as it was to. */
export async function openWindows(
  tx: Transaction,
  windows: readonly { scope: string; duration: string; resetAt: number }[],
): Promise<void> {
  await tx.query(
    `insert into spend (scope, budget_duration, reset_at)
     select scope, duration, to_timestamp(reset_at / 1000) from unnest($1::text[], $2::text[], $3::double precision[]) as w (scope, duration, reset_at)
     order by scope
     on conflict (scope) do update set budget_duration = excluded.budget_duration, reset_at = excluded.reset_at
     where spend.budget_duration is distinct from excluded.budget_duration or spend.reset_at is null`,
    [windows.map(({ scope }) => scope), windows.map(({ duration }) => duration), windows.map(({ resetAt }) => resetAt)],
  )
}
