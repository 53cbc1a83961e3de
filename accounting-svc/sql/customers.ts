import type { Transaction } from '../../shared/db/db.ts'
import { assignments, columns, placeholders } from './columns.ts'

/** A row of `customers`. */
export interface CustomerRow {
  user_id: string
  alias: string | null
  blocked: boolean
  allowed_model_region: string | null
  default_model: string | null
  budget_id: string | null
  object_permission: unknown
  created_at: Date
  updated_at: Date
}

/** With what was spent in the present window, nano-dollars, and when that closes. */
export interface CustomerView extends CustomerRow {
  spend_nano: number
  reset_at: Date | null
}

const JSON_COLUMNS: ReadonlySet<string> = new Set<keyof CustomerRow>(['object_permission'])

const VIEW = `select c.*, coalesce(s.spent_nano, 0) as spend_nano, s.reset_at
  from customers c left join spend s on s.scope = scope_of('customer', c.user_id)`

/** Adds a customer. Fails on one that exists (see sql-state.ts). */
export async function insertCustomer(tx: Transaction, row: Partial<CustomerRow> & { user_id: string }): Promise<void> {
  const { names, values } = columns(row, JSON_COLUMNS)
  await tx.query(`insert into customers (${names.join(', ')}) values (${placeholders(names.length)})`, values)
}

export async function updateCustomer(tx: Transaction, userId: string, changes: Partial<CustomerRow>): Promise<void> {
  const { names, values } = columns(changes, JSON_COLUMNS)
  await tx.query(`update customers set ${assignments(names, 2)} where user_id = $1`, [userId, ...values])
}

/** Those of the ids that are there, in the order of ids; locked until the transaction ends where `lock`. */
export function findCustomers(tx: Transaction, userIds: readonly string[], lock = false): Promise<CustomerView[]> {
  return tx.query<CustomerView>(`${VIEW} where c.user_id = any($1) order by c.user_id${lock ? ' for update of c' : ''}`, [
    userIds,
  ])
}

/** Customers after `after` in the order of ids, `limit` at a time. */
export function customersAfter(tx: Transaction, after: string, limit: number): Promise<CustomerView[]> {
  return tx.query<CustomerView>(`${VIEW} where c.user_id > $1 order by c.user_id limit $2`, [after, limit])
}

/** Blocks or unblocks customers. Blocking makes rows for those who have none: an id can be blocked before its first call. */
export async function blockCustomers(tx: Transaction, userIds: readonly string[], blocked: boolean): Promise<void> {
  await tx.query(
    `insert into customers (user_id, blocked) select id, $2 from unnest($1::text[]) as id order by id
     on conflict (user_id) do update set blocked = excluded.blocked, updated_at = now()`,
    [userIds, blocked],
  )
}

export async function deleteCustomers(tx: Transaction, userIds: readonly string[]): Promise<void> {
  await tx.query('delete from customers where user_id = any($1)', [userIds])
}
