import type { Customers } from '../identity/customers.ts'
import { writerOf } from '../identity/writer.ts'
import { amount, budgetShape, budgetShown, list, map } from './field-types.ts'
import { type Route, route, z } from './route.ts'
import { jsonStream } from './stream.ts'

const fields = z.object({
  user_id: z.string().min(1).max(512),
  alias: z.string().nullish(),
  blocked: z.boolean().nullish(),
  ...budgetShape,
  spend: amount().nullish().describe('Dollars: sets what was spent in the present window'),
  budget_id: z.string().min(1).nullish().describe('A row to share instead of limits of its own'),
  allowed_model_region: z.enum(['eu', 'us']).nullish(),
  default_model: z.string().nullish().describe('Used where the region allows none of the models asked for'),
  object_permission: map().nullish(),
})

const shown = z.object({
  user_id: z.string(),
  alias: z.string().nullable(),
  spend: z.number().describe('Dollars in the present window'),
  blocked: z.boolean(),
  allowed_model_region: z.string().nullable(),
  default_model: z.string().nullable(),
  budget_id: z.string().nullable(),
  litellm_budget_table: budgetShown.nullable(),
  object_permission: map().nullable(),
  created_at: z.iso.datetime(),
  updated_at: z.iso.datetime(),
})

const ids = z.object({ user_ids: list().min(1, 'expected at least one user id') })

/** /customer/… and /end_user/…: those on whose behalf keys call. */
export function customerRoutes(customers: Customers): Route[] {
  const tag = 'customers'
  const at = (name: string) => ({ path: `/customer/${name}`, aliases: [`/end_user/${name}`], tag, access: 'admin' as const })
  return [
    route({
      ...at('new'),
      method: 'POST',
      summary: 'Add a customer, with limits of its own or a budget row to share',
      input: fields,
      output: shown,
      handle: (call) => customers.create(call.input, writerOf(call)),
    }),
    route({
      ...at('update'),
      method: 'POST',
      summary: 'Change a customer; what is not named stays',
      input: fields,
      output: shown,
      handle: (call) => customers.update(call.input, writerOf(call)),
    }),
    route({
      ...at('delete'),
      method: 'POST',
      summary: 'Delete customers; what they spent stays in the ledger',
      input: ids,
      output: z.object({ deleted_customers: z.number(), message: z.string() }),
      handle: async (call) => ({
        deleted_customers: await customers.remove(call.input.user_ids, writerOf(call)),
        message: `Deleted customers: ${call.input.user_ids.join(', ')}`,
      }),
    }),
    route({
      ...at('block'),
      method: 'POST',
      summary: 'Refuse calls on behalf of customers, also of those not seen yet',
      input: ids,
      output: z.object({ blocked_users: z.array(shown) }),
      handle: async (call) => ({ blocked_users: await customers.setBlocked(call.input.user_ids, true, writerOf(call)) }),
    }),
    route({
      ...at('unblock'),
      method: 'POST',
      summary: 'Let blocked customers be served again',
      input: ids,
      output: z.object({ unblocked_users: z.array(shown) }),
      handle: async (call) => ({ unblocked_users: await customers.setBlocked(call.input.user_ids, false, writerOf(call)) }),
    }),
    route({
      ...at('info'),
      method: 'GET',
      summary: 'A customer with its limits and what was spent',
      input: z.object({ end_user_id: z.string().min(1) }),
      output: shown,
      handle: ({ input }) => customers.info(input.end_user_id),
    }),
    route({
      ...at('list'),
      method: 'GET',
      summary: 'Every customer, in the order of ids',
      input: z.object({}),
      output: z.array(shown),
      handle: ({ signal }) => jsonStream(customers.list(signal), (customer) => customer),
    }),
  ]
}
