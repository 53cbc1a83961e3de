import type { Tags } from '../identity/tags.ts'
import { writerOf } from '../identity/writer.ts'
import { budgetShape, budgetShown, list, map } from './field-types.ts'
import { type Route, route, z } from './route.ts'

const name = () => z.string().min(1).max(512)

const fields = z.object({
  name: name(),
  description: z.string().nullish(),
  models: list().nullish().describe('Ids of deployments, as /model/info shows them'),
  ...budgetShape,
  budget_id: z.string().min(1).nullish().describe('A row to share instead of limits of its own'),
})

const shown = z.object({
  name: z.string(),
  description: z.string().nullable(),
  models: list(),
  model_info: map().nullable().describe('Names of the models by id'),
  spend: z.number().describe('Dollars in the present window'),
  budget_id: z.string().nullable(),
  litellm_budget_table: budgetShown.nullable(),
  created_at: z.iso.datetime(),
  created_by: z.string().nullable(),
  updated_at: z.iso.datetime(),
})

const day = () =>
  z.string().refine((text) => /^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(Date.parse(text)), 'expected YYYY-MM-DD')

const filters = {
  tag_filter: z.string().optional().describe('One tag'),
  tag_filters: z.string().optional().describe('Tags, comma separated'),
}

/** The tags a query names, or null for all. */
function named(input: { tag_filter?: string | undefined; tag_filters?: string | undefined }): string[] | null {
  const names = [input.tag_filter, ...(input.tag_filters?.split(',') ?? [])].flatMap((text) => text?.trim() || [])
  return names.length === 0 ? null : names
}

const PERIODS = [
  ['/tag/dau', 1, 'day'],
  ['/tag/wau', 7, 'week'],
  ['/tag/mau', 30, 'month of 30 days'],
] as const

/** /tag/…: budgets and descriptions of the labels that calls carry. */
export function tagRoutes(tags: Tags): Route[] {
  const tag = 'tag management'
  return [
    route({
      method: 'POST',
      path: '/tag/new',
      tag,
      summary: 'Describe a tag and give it limits of its own, or a budget row to share',
      access: 'admin',
      input: fields,
      output: z.object({ message: z.string(), tag: shown }),
      handle: async (call) => ({
        message: `Tag ${call.input.name} created successfully`,
        tag: await tags.create(call.input, writerOf(call)),
      }),
    }),
    route({
      method: 'POST',
      path: '/tag/update',
      tag,
      summary: 'Change a tag; what is not named stays',
      access: 'admin',
      input: fields,
      output: z.object({ message: z.string(), tag: shown }),
      handle: async (call) => ({
        message: `Tag ${call.input.name} updated successfully`,
        tag: await tags.update(call.input, writerOf(call)),
      }),
    }),
    route({
      method: 'POST',
      path: '/tag/delete',
      tag,
      summary: 'Forget a tag; calls may still carry it, without limits',
      access: 'admin',
      input: z.object({ name: name() }),
      output: z.object({ message: z.string() }),
      handle: async (call) => {
        await tags.remove(call.input.name, writerOf(call))
        return { message: `Tag ${call.input.name} deleted successfully` }
      },
    }),
    route({
      method: 'POST',
      path: '/tag/info',
      tag,
      summary: 'Tags by name',
      access: 'read',
      input: z.object({ names: list() }),
      output: z.record(z.string(), shown),
      handle: ({ input }) => tags.info(input.names),
    }),
    route({
      method: 'GET',
      path: '/tag/list',
      tag,
      summary: 'Every tag that is described here',
      access: 'admin',
      input: z.object({}),
      output: z.array(shown),
      handle: () => tags.list(),
    }),
    route({
      method: 'GET',
      path: '/tag/distinct',
      tag,
      summary: 'Tags that calls carried, described here or not',
      access: 'admin',
      input: z.object({}),
      output: z.object({ results: z.array(z.object({ tag: z.string() })) }),
      handle: async () => ({ results: (await tags.distinct()).map((label) => ({ tag: label })) }),
    }),
    route({
      method: 'GET',
      path: '/tag/summary',
      tag,
      summary: 'Calls, users, tokens and spend per tag, the dearest first',
      access: 'admin',
      input: z.object({
        start_date: day().optional(),
        end_date: day().optional(),
        ...filters,
      }),
      output: z.object({
        results: z.array(
          z.object({
            tag: z.string(),
            unique_users: z.number(),
            total_requests: z.number(),
            successful_requests: z.number(),
            failed_requests: z.number(),
            total_tokens: z.number(),
            total_spend: z.number().describe('Dollars'),
          }),
        ),
      }),
      async handle({ input }) {
        const filter = { from: input.start_date ?? null, to: input.end_date ?? null, tags: named(input) }
        return { results: await tags.summary(filter) }
      },
    }),
    ...PERIODS.map(([path, days, period]) =>
      route({
        method: 'GET',
        path,
        tag,
        summary: `Users per tag in each ${period} of the last seven`,
        access: 'admin',
        input: z.object(filters),
        output: z.object({
          results: z.array(
            z.object({
              tag: z.string(),
              active_users: z.number(),
              date: z.string().describe('Last day'),
              period_start: z.string().nullable(),
              period_end: z.string().nullable(),
            }),
          ),
        }),
        async handle({ input }) {
          const rows = await tags.active(days, named(input))
          return {
            results: rows.map(({ from, to, ...row }) => ({
              ...row,
              date: to,
              period_start: days === 1 ? null : from,
              period_end: days === 1 ? null : to,
            })),
          }
        },
      }),
    ),
    route({
      method: 'GET',
      path: '/tag/user-agent/per-user-analytics',
      tag,
      summary: 'What each user did with each tag in the last thirty days, the dearest first',
      access: 'admin',
      input: z.object({
        ...filters,
        page: z.coerce.number().int().min(1).default(1),
        page_size: z.coerce.number().int().min(1).max(1000).default(50),
      }),
      output: z.object({
        results: z.array(
          z.object({
            user_id: z.string(),
            user_email: z.string().nullable(),
            user_agent: z.string().describe('The tag'),
            successful_requests: z.number(),
            failed_requests: z.number(),
            total_requests: z.number(),
            total_tokens: z.number(),
            spend: z.number().describe('Dollars'),
          }),
        ),
        total_count: z.number(),
        page: z.number(),
        page_size: z.number(),
        total_pages: z.number(),
      }),
      async handle({ input: { page, page_size, ...filter } }) {
        const { rows, total } = await tags.use(named(filter), { page, size: page_size })
        return {
          results: rows.map(({ tag: user_agent, ...row }) => ({ ...row, user_agent })),
          total_count: total,
          page,
          page_size,
          total_pages: Math.ceil(total / page_size),
        }
      },
    }),
  ]
}
