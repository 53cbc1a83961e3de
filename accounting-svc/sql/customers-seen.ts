import type { Transaction } from '../../shared/db/db.ts'

/** Makes rows for customers that have none. `names` are sorted, so that two writers never deadlock. */
export async function insertCustomers(db: Transaction, names: readonly string[]): Promise<void> {
  await db.query(
    'insert into customers (user_id) select * from unnest($1::text[]) on conflict do nothing',
    [names],
    'customers_seen',
  )
}
