import type { Transaction } from '../../shared/db/db.ts'
import { assignments, columns, placeholders } from './columns.ts'

/** A row of `organizations`; its limits are those of its budget row. */
export interface OrganizationRow {
  organization_id: string
  organization_alias: string | null
  budget_id: string | null
  metadata: Record<string, unknown>
  models: string[]
  object_permission: unknown
  created_at: Date
  created_by: string | null
  updated_at: Date
  updated_by: string | null
}

/** Every column by name: some of the table are on their way out. */
const COLUMNS = [
  'organization_id',
  'organization_alias',
  'budget_id',
  'metadata',
  'models',
  'object_permission',
  'created_at',
  'created_by',
  'updated_at',
  'updated_by',
] as const satisfies readonly (keyof OrganizationRow)[]

const JSON_COLUMNS: ReadonlySet<string> = new Set<keyof OrganizationRow>(['metadata', 'object_permission'])

/** An organization with what was spent in the present window. */
export interface OrganizationView extends OrganizationRow {
  spend_nano: number
  reset_at: Date | null
}

const VIEW = `select ${COLUMNS.map((name) => `o.${name}`).join(', ')}, coalesce(s.spent_nano, 0) as spend_nano, s.reset_at
  from organizations o left join spend s on s.scope = scope_of('organization', o.organization_id)`

/** Adds an organization. Fails on an id that exists (see sql-state.ts). */
export async function insertOrganization(
  tx: Transaction,
  row: Partial<OrganizationRow> & Pick<OrganizationRow, 'organization_id'>,
): Promise<void> {
  const { names, values } = columns(row, JSON_COLUMNS)
  await tx.query(`insert into organizations (${names.join(', ')}) values (${placeholders(names.length)})`, values)
}

export async function updateOrganization(tx: Transaction, id: string, changes: Partial<OrganizationRow>): Promise<void> {
  const { names, values } = columns(changes, JSON_COLUMNS)
  await tx.query(`update organizations set ${assignments(names, 2)} where organization_id = $1`, [id, ...values])
}

/** Holds off others who would change the organization or what its limits bound, until the transaction ends. */
export async function lockOrganization(tx: Transaction, id: string): Promise<void> {
  await tx.query('select 1 from organizations where organization_id = $1 for update', [id])
}

export async function findOrganization(db: Transaction, id: string): Promise<OrganizationView | undefined> {
  const rows = await db.query<OrganizationView>(`${VIEW} where o.organization_id = $1`, [id])
  return rows[0]
}

/** Organizations in the order they were made: all of them, or those of these ids; `alias` is part of the name, whatever its case. */
export function listOrganizations(db: Transaction, ids: readonly string[] | null, alias?: string): Promise<OrganizationView[]> {
  return db.query<OrganizationView>(
    `${VIEW} where ($1::text[] is null or o.organization_id = any($1))
       and ($2::text is null or position(lower($2) in lower(o.organization_alias)) > 0)
     order by o.created_at, o.organization_id`,
    [ids, alias ?? null],
  )
}

/** Deletes organizations with their memberships. Their teams and keys are deleted before. */
export async function deleteOrganizations(tx: Transaction, ids: readonly string[]): Promise<void> {
  await tx.query('delete from organization_members where organization_id = any($1)', [ids])
  await tx.query('update users set organization_id = null where organization_id = any($1)', [ids])
  await tx.query('delete from organizations where organization_id = any($1)', [ids])
}

/** Hashes of the keys of these organizations that are in no team of theirs. */
export async function keysOfOrganizations(tx: Transaction, ids: readonly string[]): Promise<string[]> {
  const rows = await tx.query<{ token: string }>('select token from keys where organization_id = any($1)', [ids])
  return rows.map((row) => row.token)
}

/** A membership with what was spent in the present window. */
export interface OrganizationMemberView {
  organization_id: string
  user_id: string
  user_email: string | null
  user_role: string
  budget_id: string | null
  spend_nano: number
  reset_at: Date | null
  created_at: Date
  updated_at: Date
}

/** Members of these organizations in the order they came. */
export function listOrganizationMembers(db: Transaction, ids: readonly string[]): Promise<OrganizationMemberView[]> {
  return db.query<OrganizationMemberView>(
    `select m.organization_id, m.user_id, u.user_email, m.user_role, m.budget_id, m.created_at, m.updated_at,
       coalesce(s.spent_nano, 0) as spend_nano, s.reset_at
     from organization_members m left join users u on u.user_id = m.user_id
     left join spend s on s.scope = scope_of(scope_of('organization_member', m.organization_id), m.user_id)
     where m.organization_id = any($1) order by m.organization_id, m.created_at, m.user_id`,
    [ids],
  )
}

export async function insertOrganizationMember(
  tx: Transaction,
  member: { organizationId: string; userId: string; role: string; budgetId: string | null; at: Date },
): Promise<void> {
  await tx.query(
    `insert into organization_members (organization_id, user_id, user_role, budget_id, created_at, updated_at)
     values ($1, $2, $3, $4, $5, $5)`,
    [member.organizationId, member.userId, member.role, member.budgetId, member.at],
  )
}

export async function updateOrganizationMember(
  tx: Transaction,
  organizationId: string,
  userId: string,
  changes: { user_role?: string; budget_id?: string | null; updated_at: Date },
): Promise<void> {
  const { names, values } = columns(changes, new Set())
  await tx.query(`update organization_members set ${assignments(names, 3)} where organization_id = $1 and user_id = $2`, [
    organizationId,
    userId,
    ...values,
  ])
}

export async function deleteOrganizationMember(tx: Transaction, organizationId: string, userId: string): Promise<void> {
  await tx.query('delete from organization_members where organization_id = $1 and user_id = $2', [organizationId, userId])
}
