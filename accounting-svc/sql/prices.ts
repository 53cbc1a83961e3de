import type { Prices } from '../../proto/deployment.ts'
import type { Transaction } from '../../shared/db/db.ts'

/** A row of `price_overrides`. */
export interface PriceOverrideRow {
  id: string
  provider: string
  model: string
  prices: Prices
  effective_from: Date
  created_at: Date
  created_by: string | null
}

export async function insertPriceOverride(tx: Transaction, row: Omit<PriceOverrideRow, 'created_at'>): Promise<PriceOverrideRow> {
  const rows = await tx.query<PriceOverrideRow>(
    `insert into price_overrides (id, provider, model, prices, effective_from, created_by)
     values ($1, $2, $3, $4::jsonb, $5, $6) returning *`,
    [row.id, row.provider, row.model, JSON.stringify(row.prices), row.effective_from, row.created_by],
  )
  return rows[0] as PriceOverrideRow
}

/** Undefined when there is none. */
export async function deletePriceOverride(tx: Transaction, id: string): Promise<PriceOverrideRow | undefined> {
  const rows = await tx.query<PriceOverrideRow>('delete from price_overrides where id = $1 returning *', [id])
  return rows[0]
}

/** Every override, in the order in which they begin. */
export function listPriceOverrides(tx: Transaction): Promise<PriceOverrideRow[]> {
  return tx.query<PriceOverrideRow>('select * from price_overrides order by effective_from, created_at, id')
}
