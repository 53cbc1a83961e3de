import type { Transaction } from '../../shared/db/db.ts'
import { rowId } from '../../shared/ids.ts'
import { type BudgetRow, countLinks, insertBudget } from '../sql/budgets.ts'
import { actorOf } from './access.ts'
import {
  BUDGET_FIELDS,
  type BudgetFields,
  badRequest,
  budgetColumns,
  changeBudget,
  makeBudget,
  requireBudget,
  saysBudget,
} from './budgets.ts'
import type { Writer } from './writer.ts'

/**
 * The budget row that an owner (a customer, a tag) is linked to once `fields` are written; null = none. `budget_id` links to a row that
 * is there, limits make or change a row of the owner's own: one that others share is copied first, so that changing one owner never
 * changes another. Throws GatewayError `bad_request` for both at once, and for a row that does not exist.
 */
export async function ownBudget(
  tx: Transaction,
  present: string | null,
  fields: BudgetFields,
  by: Writer,
  now: number,
  zone: string,
): Promise<BudgetRow | null> {
  const says = BUDGET_FIELDS.some((name) => fields[name] !== undefined)
  const linked = fields['budget_id']
  if (typeof linked === 'string') {
    if (saysBudget(fields)) throw badRequest('budget_id', 'Set either max_budget and other limits or budget_id, not both.')
    return requireBudget(tx, linked)
  }
  if (linked === null && !saysBudget(fields)) return null
  if (present === null || linked === null) return saysBudget(fields) ? makeBudget(tx, fields, by, now) : null
  const row = await requireBudget(tx, present, says)
  if (!says) return row
  if ((await countLinks(tx, present)) <= 1) return changeBudget(tx, present, fields, by, now, zone)
  const [at, who] = [new Date(now), actorOf(by.actor)]
  const stamp = { created_at: at, created_by: who, updated_at: at, updated_by: who }
  return insertBudget(tx, { ...row, ...budgetColumns(fields), ...stamp, budget_id: rowId() })
}
