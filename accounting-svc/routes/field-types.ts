import { nanoOf } from '../../shared/money.ts'
import { nextReset } from '../ledger/budgets.ts'
import { z } from './route.ts'

/** Types of fields that many management bodies share. Null puts back the default of what it is sent for. */

export const map = () => z.record(z.string(), z.unknown())
export const list = () => z.array(z.string())

/** Dollars as a number or a text of one: dashboards send both, and "" for none. */
export const amount = () => z.union([z.number(), z.string()]).refine(isAmount, 'expected dollars, 0 or more, of at most 9007199')

/** A count per minute or at once as a number or a text of one; null and "" for none. */
export const limit = () =>
  z
    .union([z.null(), z.number(), z.string()])
    .refine((value) => value === null || value === '' || isCount(value), 'expected an integer of 0 or more')
    .transform((value) => (value === null || value === '' ? null : Number(value)))

/** 30s, 15m, 12h, 7d, 2w, 1mo. */
export const duration = () =>
  z.string().refine(isDuration, 'expected a duration: a number and a unit, such as 30s, 15m, 12h, 7d, 2w or 1mo')

/** `model_max_budget`: dollars per model, alone or with a window and limits (surface reference §2.1). */
export const modelBudgets = () =>
  z.record(
    z.string(),
    z.union([
      amount(),
      z.looseObject({
        budget_limit: amount().nullish(),
        max_budget: amount().nullish(),
        time_period: duration().nullish(),
        budget_duration: duration().nullish(),
        tpm_limit: limit().optional(),
        rpm_limit: limit().optional(),
      }),
    ]),
  )

/** `budget_limits`: further windows. */
export const budgetLimits = () => z.array(z.looseObject({ budget_duration: duration(), max_budget: amount() }))

/** What a budget row takes, wherever one is made. */
export const budgetShape = {
  max_budget: amount().nullish().describe('Dollars'),
  soft_budget: amount().nullish().describe('Dollars: alert, do not refuse'),
  max_parallel_requests: limit().optional(),
  tpm_limit: limit().optional(),
  rpm_limit: limit().optional(),
  model_max_budget: modelBudgets().nullish(),
  budget_duration: duration().nullish().describe('30s, 15m, 12h, 7d, 2w, 1mo; null = never reset'),
}

/** A budget row as it is shown; null where there is none. */
export const budgetShown = z.object({
  budget_id: z.string(),
  max_budget: z.number().nullable().describe('Dollars'),
  soft_budget: z.number().nullable().describe('Dollars'),
  max_parallel_requests: z.number().nullable(),
  tpm_limit: z.number().nullable(),
  rpm_limit: z.number().nullable(),
  model_max_budget: map(),
  budget_duration: z.string().nullable(),
  budget_reset_at: z.iso.datetime().nullable(),
  allowed_models: list(),
  created_at: z.iso.datetime(),
  created_by: z.string().nullable(),
  updated_at: z.iso.datetime(),
  updated_by: z.string().nullable(),
})

function isAmount(value: number | string): boolean {
  if (value === '') return true
  try {
    return nanoOf(value) >= 0 && !(Number(value) < 0)
  } catch {
    return false
  }
}

function isCount(value: number | string): boolean {
  const count = typeof value === 'string' && !/^\d+$/.test(value) ? -1 : Number(value)
  return Number.isSafeInteger(count) && count >= 0
}

function isDuration(text: string): boolean {
  try {
    return nextReset(0, text) > 0
  } catch {
    return false
  }
}
