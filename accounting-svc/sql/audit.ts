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

/** A row of `audit_log`. */
export interface AuditRow {
  id: string
  at: Date
  changed_by: string
  changed_by_api_key: string
  action: string
  table_name: string
  object_id: string
  before_value: unknown
  updated_values: unknown
}

export interface AuditFilter {
  changedBy?: string
  changedByKey?: string
  action?: string
  table?: string
  objectId?: string
  /** Unix milliseconds, the first included, the second not. */
  from?: number
  to?: number
}

/** Columns the list may be sorted by. */
export const AUDIT_SORTS = ['at', 'changed_by', 'action', 'table_name', 'object_id'] as const
export type AuditSort = (typeof AUDIT_SORTS)[number]

/** One page of entries, and how many there are in all. */
export async function listAudit(
  db: Transaction,
  filter: AuditFilter,
  page: { limit: number; offset: number; sort: AuditSort; descending: boolean },
): Promise<{ rows: AuditRow[]; total: number }> {
  const conditions: string[] = []
  const values: unknown[] = []
  const where = (value: unknown, condition: (place: string) => string): void => {
    if (value === undefined) return
    values.push(value)
    conditions.push(condition(`$${values.length}`))
  }
  where(filter.changedBy, (place) => `changed_by = ${place}`)
  where(filter.changedByKey, (place) => `changed_by_api_key = ${place}`)
  where(filter.action, (place) => `action = ${place}`)
  where(filter.table, (place) => `table_name = ${place}`)
  where(filter.objectId, (place) => `object_id = ${place}`)
  where(filter.from, (place) => `at >= to_timestamp(${place}::double precision / 1000)`)
  where(filter.to, (place) => `at < to_timestamp(${place}::double precision / 1000)`)
  const condition = conditions.length === 0 ? '' : `where ${conditions.join(' and ')}`
  const direction = page.descending ? 'desc' : 'asc'
  const [count] = await db.query<{ total: number }>(`select count(*) as total from audit_log ${condition}`, values)
  const rows = await db.query<AuditRow>(
    `select * from audit_log ${condition} order by ${page.sort} ${direction}, at ${direction}, id
     limit $${values.length + 1} offset $${values.length + 2}`,
    [...values, page.limit, page.offset],
  )
  return { rows, total: count?.total ?? 0 }
}

export async function findAudit(db: Transaction, id: string): Promise<AuditRow | undefined> {
  const rows = await db.query<AuditRow>('select * from audit_log where id = $1', [id])
  return rows[0]
}
