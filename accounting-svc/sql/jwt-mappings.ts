import type { Transaction } from '../../shared/db/db.ts'
import { assignments, columns, placeholders } from './columns.ts'

/** A claim of a token that stands for a virtual key. */
export interface JwtMappingRow {
  id: string
  jwt_claim_name: string
  jwt_claim_value: string
  /** Hash of the key. */
  token: string
  description: string | null
  is_active: boolean
  created_at: Date
  created_by: string | null
  updated_at: Date
  updated_by: string | null
}

const NO_JSON: ReadonlySet<string> = new Set()

/** Adds a row. Fails on a claim that is mapped already (see sql-state.ts). */
export async function insertJwtMapping(
  tx: Transaction,
  row: Partial<JwtMappingRow> & Pick<JwtMappingRow, 'id'>,
): Promise<JwtMappingRow> {
  const { names, values } = columns(row, NO_JSON)
  const rows = await tx.query<JwtMappingRow>(
    `insert into jwt_key_mappings (${names.join(', ')}) values (${placeholders(names.length)}) returning *`,
    values,
  )
  return rows[0] as JwtMappingRow
}

/** Changes a row that is there. Fails on a claim that is mapped already (see sql-state.ts). */
export async function updateJwtMapping(tx: Transaction, id: string, changes: Partial<JwtMappingRow>): Promise<JwtMappingRow> {
  const { names, values } = columns(changes, NO_JSON)
  const rows = await tx.query<JwtMappingRow>(`update jwt_key_mappings set ${assignments(names, 2)} where id = $1 returning *`, [
    id,
    ...values,
  ])
  return rows[0] as JwtMappingRow
}

export async function deleteJwtMapping(tx: Transaction, id: string): Promise<void> {
  await tx.query('delete from jwt_key_mappings where id = $1', [id])
}

/** The row, locked until the transaction ends where `lock`. */
export async function findJwtMapping(db: Transaction, id: string, lock = false): Promise<JwtMappingRow | undefined> {
  const rows = await db.query<JwtMappingRow>(`select * from jwt_key_mappings where id = $1${lock ? ' for update' : ''}`, [id])
  return rows[0]
}

/** One page, the oldest first, and how many there are in all. */
export async function listJwtMappings(
  db: Transaction,
  page: { limit: number; offset: number },
): Promise<{ rows: JwtMappingRow[]; total: number }> {
  const [count] = await db.query<{ total: number }>('select count(*) as total from jwt_key_mappings')
  const rows = await db.query<JwtMappingRow>('select * from jwt_key_mappings order by created_at, id limit $1 offset $2', [
    page.limit,
    page.offset,
  ])
  return { rows, total: count?.total ?? 0 }
}
