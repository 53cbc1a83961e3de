import type { Transaction } from '../../shared/db/db.ts'

/**
 * Keeps rows that are being deleted as they were, in the transaction that deletes them. `rows` is what goes, by its id; values of
 * secrets must not be in it.
 */
export async function archiveRows(
  tx: Transaction,
  table: string,
  rows: readonly { id: string; row: unknown }[],
  deletedBy: string,
): Promise<void> {
  if (rows.length === 0) return
  await tx.query(
    `insert into archive (table_name, object_id, row, deleted_by)
     select $1, object_id, row::jsonb, $4 from unnest($2::text[], $3::text[]) as gone (object_id, row)`,
    [table, rows.map(({ id }) => id), rows.map(({ row }) => JSON.stringify(row)), deletedBy],
  )
}
