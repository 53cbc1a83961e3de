import type { Transaction } from '../../shared/db/db.ts'
import { auditId } from '../../shared/ids.ts'

export type AuditAction = 'created' | 'updated' | 'deleted' | 'blocked' | 'unblocked' | 'rotated'

/** One management write. Values hold what changed as clients see it, and never a key or another secret. */
export interface AuditEntry {
  /** Who: the `litellm-changed-by` header, else the caller's user or key name. */
  changedBy: string
  /** Hash of the key used, or the alias of the master key. */
  changedByKey: string
  action: AuditAction
  /** `keys`, `teams`, `users`, … */
  table: string
  objectId: string
  before: unknown
  after: unknown
}

/** Adds an entry, in the transaction of the write it tells of. */
export async function audit(tx: Transaction, entry: AuditEntry): Promise<void> {
  await tx.query(
    `insert into audit_log (id, changed_by, changed_by_api_key, action, table_name, object_id, before_value, updated_values)
     values ($1, $2, $3, $4, $5, $6, $7, $8)`,
    [
      auditId(),
      entry.changedBy,
      entry.changedByKey,
      entry.action,
      entry.table,
      entry.objectId,
      jsonOrNull(entry.before),
      jsonOrNull(entry.after),
    ],
    'audit',
  )
}

function jsonOrNull(value: unknown): string | null {
  return value === null || value === undefined ? null : JSON.stringify(value)
}
