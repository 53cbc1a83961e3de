import type { Transaction } from '../../shared/db/db.ts'
import { assignments, columns, placeholders } from './columns.ts'

/** A row of `budgets`: limits that several owners may share. Money is nano-dollars. */
export interface BudgetRow {
  budget_id: string
  max_budget_nano: number | null
  soft_budget_nano: number | null
  max_parallel_requests: number | null
  tpm_limit: number | null
  rpm_limit: number | null
  model_max_budget: Record<string, unknown>
  budget_duration: string | null
  allowed_models: string[]
  created_at: Date
  created_by: string | null
  updated_at: Date
  updated_by: string | null
}

const JSON_COLUMNS: ReadonlySet<string> = new Set<keyof BudgetRow>(['model_max_budget'])

/** Adds a row. Fails on an id that exists (see sql-state.ts). */
export async function insertBudget(db: Transaction, row: Partial<BudgetRow> & Pick<BudgetRow, 'budget_id'>): Promise<BudgetRow> {
  const { names, values } = columns(row, JSON_COLUMNS)
  const rows = await db.query<BudgetRow>(
    `insert into budgets (${names.join(', ')}) values (${placeholders(names.length)}) returning *`,
    values,
  )
  return rows[0] as BudgetRow
}

/** Changes a row; undefined when there is none. */
export async function updateBudget(db: Transaction, id: string, changes: Partial<BudgetRow>): Promise<BudgetRow | undefined> {
  const { names, values } = columns(changes, JSON_COLUMNS)
  const rows = await db.query<BudgetRow>(`update budgets set ${assignments(names, 2)} where budget_id = $1 returning *`, [
    id,
    ...values,
  ])
  return rows[0]
}

/** The row, locked until the transaction ends where `lock`. */
export async function findBudget(db: Transaction, id: string, lock = false): Promise<BudgetRow | undefined> {
  const rows = await db.query<BudgetRow>(`select * from budgets where budget_id = $1${lock ? ' for update' : ''}`, [id])
  return rows[0]
}

export function findBudgets(db: Transaction, ids: readonly string[]): Promise<BudgetRow[]> {
  return db.query<BudgetRow>('select * from budgets where budget_id = any($1) order by created_at, budget_id', [ids])
}

export function listBudgets(db: Transaction): Promise<BudgetRow[]> {
  return db.query<BudgetRow>('select * from budgets order by created_at, budget_id')
}

export async function deleteBudget(db: Transaction, id: string): Promise<BudgetRow | undefined> {
  const rows = await db.query<BudgetRow>('delete from budgets where budget_id = $1 returning *', [id])
  return rows[0]
}

export type OwnerKind = 'key' | 'team_member' | 'organization_member' | 'organization' | 'project' | 'customer' | 'tag'

/** Somebody whose limits are a budget row's, and what it says itself, which goes before the row. */
export interface LinkedOwner {
  kind: OwnerKind
  id: string
  /** The user of a membership. */
  member: string | null
  budget_duration: string | null
  model_max_budget: Record<string, unknown> | null
}

/** Everybody linked to the row; members of a team whose default it is too, unless they have one of their own. */
export function linkedOwners(db: Transaction, id: string): Promise<LinkedOwner[]> {
  return db.query<LinkedOwner>(
    `select 'key' as kind, token as id, null as member, budget_duration, model_max_budget from keys where budget_id = $1
     union all select 'team_member', m.team_id, m.user_id, null, null
       from team_members m left join teams t on t.team_id = m.team_id where coalesce(m.budget_id, t.team_member_budget_id) = $1
     union all select 'organization_member', organization_id, user_id, null, null from organization_members where budget_id = $1
     union all select 'organization', organization_id, null, null, null from organizations where budget_id = $1
     union all select 'project', project_id, null, null, null from projects where budget_id = $1
     union all select 'customer', user_id, null, null, null from customers where budget_id = $1
     union all select 'tag', tag_name, null, null, null from tags where budget_id = $1`,
    [id],
  )
}

/** How many rows name the budget row, a team whose default it is counting once. */
export async function countLinks(db: Transaction, id: string): Promise<number> {
  const rows = await db.query<{ links: number }>(
    `select (select count(*) from keys where budget_id = $1) + (select count(*) from team_members where budget_id = $1)
       + (select count(*) from teams where team_member_budget_id = $1)
       + (select count(*) from organization_members where budget_id = $1) + (select count(*) from organizations where budget_id = $1)
       + (select count(*) from projects where budget_id = $1) + (select count(*) from customers where budget_id = $1)
       + (select count(*) from tags where budget_id = $1) as links`,
    [id],
  )
  return rows[0]?.links ?? 0
}

/** Leaves everybody who is linked to the row without it. */
export async function unlinkBudget(db: Transaction, id: string): Promise<void> {
  await db.query(
    `with k as (update keys set budget_id = null where budget_id = $1),
       m as (update team_members set budget_id = null where budget_id = $1),
       t as (update teams set team_member_budget_id = null where team_member_budget_id = $1),
       om as (update organization_members set budget_id = null where budget_id = $1),
       o as (update organizations set budget_id = null where budget_id = $1),
       p as (update projects set budget_id = null where budget_id = $1),
       c as (update customers set budget_id = null where budget_id = $1)
     update tags set budget_id = null where budget_id = $1`,
    [id],
  )
}
