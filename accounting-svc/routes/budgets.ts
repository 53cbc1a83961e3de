import type { Budgets } from '../identity/budgets.ts'
import { writerOf } from '../identity/writer.ts'
import { budgetShape, budgetShown, list } from './field-types.ts'
import { type Route, route, z } from './route.ts'

const fields = z.object({
  ...budgetShape,
  allowed_models: list().nullish(),
  budget_reset_at: z
    .string()
    .nullish()
    .describe('Follows from budget_duration; taken and not stored, so that a row can be sent back'),
})
const id = () => z.string().min(1)

/** /budget/…: limits that several owners share. */
export function budgetRoutes(budgets: Budgets): Route[] {
  const tag = 'budget management'
  return [
    route({
      method: 'POST',
      path: '/budget/new',
      tag,
      summary: 'Make a budget row to link keys, members, organizations, projects, customers and tags to',
      access: 'admin',
      input: fields.extend({ budget_id: id().nullish() }),
      output: budgetShown,
      handle: (call) => budgets.make(call.input, writerOf(call)),
    }),
    route({
      method: 'POST',
      path: '/budget/update',
      tag,
      summary: 'Change a budget row for everybody who is linked to it; what is not named stays',
      access: 'admin',
      input: fields.extend({ budget_id: id() }),
      output: budgetShown,
      handle: (call) => budgets.change(call.input, writerOf(call)),
    }),
    route({
      method: 'POST',
      path: '/budget/info',
      tag,
      summary: 'Budget rows by id',
      access: 'read',
      input: z.object({ budgets: list().min(1, 'expected at least one id') }),
      output: z.array(budgetShown),
      handle: ({ input }) => budgets.info(input.budgets),
    }),
    route({
      method: 'POST',
      path: '/budget/delete',
      tag,
      summary: 'Delete a budget row; who was linked to it is left without its limits',
      access: 'admin',
      input: z.object({ id: id() }),
      output: budgetShown,
      handle: (call) => budgets.remove(call.input.id, writerOf(call)),
    }),
    route({
      method: 'GET',
      path: '/budget/list',
      tag,
      summary: 'Every budget row',
      access: 'admin',
      input: z.object({}),
      output: z.array(budgetShown),
      handle: () => budgets.list(),
    }),
    route({
      method: 'GET',
      path: '/budget/settings',
      tag,
      summary: 'The fields of a budget row, described',
      access: 'admin',
      input: z.object({ budget_id: id() }),
      output: z.array(
        z.object({
          field_name: z.string(),
          field_type: z.string(),
          field_description: z.string(),
          field_value: z.unknown(),
          stored_in_db: z.boolean(),
          field_default_value: z.null(),
        }),
      ),
      handle: ({ input }) => budgets.settings(input.budget_id),
    }),
  ]
}
