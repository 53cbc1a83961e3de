import type { Users } from '../identity/users.ts'
import { writerOf } from '../identity/writer.ts'
import { USER_SORTS, type UserSort } from '../sql/users.ts'
import { amount, budgetLimits, duration, limit, list, map, modelBudgets } from './field-types.ts'
import { type Route, route, z } from './route.ts'

const ROLES = ['proxy_admin', 'proxy_admin_viewer', 'internal_user', 'internal_user_viewer'] as const
/** What each role is, for whoever hands them out. */
const ROLE_TEXTS: Record<(typeof ROLES)[number], { description: string; ui_label: string }> = {
  proxy_admin: { description: 'Reads and changes everything', ui_label: 'Admin (All Permissions)' },
  proxy_admin_viewer: { description: 'Reads everything, changes nothing', ui_label: 'Admin (View Only)' },
  internal_user: {
    description: 'Makes, changes and deletes keys of their own, sees their own spend',
    ui_label: 'Internal User (Create/Delete/View)',
  },
  internal_user_viewer: {
    description: 'Sees keys and spend of their own, changes nothing',
    ui_label: 'Internal User (View Only)',
  },
}

/** Most users changed by one call that names them. */
const BULK = 500

const email = () => z.string().regex(/^[^\s@]+@[^\s@]+$/, 'expected an e-mail address')
const password = () => z.string().min(8, 'expected at least 8 characters').max(1024)
const empty = () => z.literal('').transform(() => null)

/** What /user/new and /user/update take. Unknown fields are let through and forgotten, as in LiteLLM. */
const fields = z.object({
  user_email: z.union([empty(), email()]).nullish(),
  user_alias: z.string().nullish(),
  user_role: z.enum(ROLES).nullish(),
  sso_user_id: z.string().min(1).nullish(),
  models: list().nullish(),
  max_budget: amount().nullish().describe('Dollars'),
  spend: amount().nullish().describe('Dollars: sets what was spent in the present window'),
  budget_duration: duration().nullish(),
  budget_limits: budgetLimits().nullish(),
  model_max_budget: modelBudgets().nullish(),
  max_parallel_requests: limit().optional(),
  tpm_limit: limit().optional(),
  rpm_limit: limit().optional(),
  model_tpm_limit: map().nullish(),
  model_rpm_limit: map().nullish(),
  mcp_rpm_limit: map().nullish(),
  metadata: map().nullish(),
  permissions: map().nullish(),
  guardrails: list().nullish(),
  prompts: list().nullish(),
  policies: list().nullish(),
  allowed_cache_controls: list().nullish(),
  object_permission: map().nullish(),
})
const changes = fields.extend({ password: password().nullish() })
const named = { user_id: z.string().min(1).nullish(), user_email: fields.shape.user_email }

const team = z.union([
  z.string().min(1),
  z.looseObject({
    team_id: z.string().min(1),
    max_budget_in_team: amount().nullish().describe('Dollars'),
    user_role: z.enum(['admin', 'user']).nullish(),
  }),
])

const shown = z.looseObject({
  user_id: z.string(),
  user_email: z.string().nullable(),
  user_alias: z.string().nullable(),
  user_role: z.string().nullable(),
  spend: z.number().describe('Dollars'),
  max_budget: z.number().nullable(),
  budget_duration: z.string().nullable(),
  budget_reset_at: z.iso.datetime().nullable(),
  models: list(),
  tpm_limit: z.number().nullable(),
  rpm_limit: z.number().nullable(),
  teams: list(),
  metadata: map(),
  organization_memberships: z.array(map()),
})

const isNamed = (body: { user_id?: unknown; user_email?: unknown }): boolean => (body.user_id ?? body.user_email ?? null) !== null
const NOT_NAMED = 'expected user_id or user_email'
/** A list in a query: comma separated. */
const commas = () =>
  z.string().transform((text) =>
    text
      .split(',')
      .map((part) => part.trim())
      .filter((part) => part !== ''),
  )
const page = () => z.coerce.number().int().min(1).default(1)

/** /user/…: the people who sign in, have keys and belong to teams. */
export function userRoutes(users: Users): Route[] {
  const tag = 'internal users'
  return [
    route({
      method: 'POST',
      path: '/user/new',
      tag,
      summary: 'Add a user, and unless auto_create_key is false a first key for them',
      access: 'admin',
      input: fields.extend({
        user_id: z.string().min(1).nullish(),
        teams: z.array(team).nullish(),
        organizations: list().nullish(),
        auto_create_key: z.boolean().default(true),
        send_invite_email: z.boolean().nullish(),
        duration: z
          .union([duration(), z.literal('-1')])
          .nullish()
          .describe('How long the first key works'),
        key_alias: z.string().min(1).nullish(),
        aliases: map().nullish(),
        config: map().nullish(),
        blocked: z.boolean().nullish().describe('Of the first key'),
      }),
      output: shown.extend({ key: z.string().optional().describe('Shown once'), expires: z.iso.datetime().nullish() }),
      handle: (call) => users.create(call.input, writerOf(call)),
    }),
    route({
      method: 'POST',
      path: '/user/update',
      tag,
      summary: 'Change a user; what is not named stays. Users change their own name, address and password',
      access: 'key',
      input: changes.extend(named).refine(isNamed, NOT_NAMED),
      output: z.object({ user_id: z.string(), data: shown }),
      handle: (call) => users.update(call.input, writerOf(call)),
    }),
    route({
      method: 'POST',
      path: '/user/bulk_update',
      tag,
      summary: 'Change many users at once, or all of them in one way',
      access: 'admin',
      input: z
        .object({
          users: z
            .array(changes.extend(named).refine(isNamed, NOT_NAMED))
            .min(1)
            .max(BULK, `expected at most ${BULK} users`)
            .nullish(),
          all_users: z.boolean().default(false),
          user_updates: changes.nullish().describe('What all_users sets'),
        })
        .refine((body) => body.all_users !== (body.users != null), 'expected either users or all_users')
        .refine((body) => body.all_users === (body.user_updates != null), 'all_users and user_updates go together'),
      output: z.object({
        results: z.array(
          z.object({
            user_id: z.string().nullable(),
            user_email: z.string().nullable(),
            success: z.boolean(),
            error: z.string().nullable(),
            updated_user: shown.nullable(),
          }),
        ),
        total_requested: z.number(),
        successful_updates: z.number(),
        failed_updates: z.number(),
      }),
      handle: (call) =>
        call.input.all_users
          ? users.updateAll(call.input.user_updates ?? {}, writerOf(call))
          : users.updateMany(call.input.users ?? [], writerOf(call)),
    }),
    route({
      method: 'POST',
      path: '/user/delete',
      tag,
      summary: 'Delete users with their keys and memberships; how many',
      access: 'admin',
      input: z.object({ user_ids: list().min(1, 'expected at least one user id') }),
      output: z.number(),
      handle: (call) => users.remove(call.input.user_ids, writerOf(call)),
    }),
    route({
      method: 'GET',
      path: '/user/info',
      tag,
      summary: 'A user with keys and teams; without user_id the caller, for admins every key and team',
      access: 'key',
      input: z.object({ user_id: z.string().min(1).optional() }),
      output: z.object({
        user_id: z.string().nullable(),
        user_info: shown.nullable(),
        keys: z.array(map()),
        teams: z.array(map()),
      }),
      handle: ({ input, identity }) => users.info(input.user_id, identity),
    }),
    route({
      method: 'GET',
      path: '/v2/user/info',
      tag,
      summary: 'A user alone; without user_id the caller',
      access: 'key',
      input: z.object({ user_id: z.string().min(1).optional() }),
      output: shown,
      handle: ({ input, identity }) => users.row(input.user_id, identity),
    }),
    route({
      method: 'GET',
      path: '/user/list',
      aliases: ['/user/get_users'],
      tag,
      summary: 'Users, a page at a time',
      access: 'admin',
      input: z.object({
        role: z.enum(ROLES).optional(),
        user_ids: commas().optional().describe('Comma separated'),
        sso_user_ids: commas().optional().describe('Comma separated'),
        user_email: z.string().optional().describe('Part of the address'),
        team: z.string().optional(),
        organization_ids: commas().optional().describe('Comma separated'),
        page: page(),
        page_size: z.coerce.number().int().min(1).max(100).default(25),
        sort_by: z.enum(Object.keys(USER_SORTS) as [UserSort, ...UserSort[]]).default('created_at'),
        sort_order: z.enum(['asc', 'desc']).default('desc'),
      }),
      output: z.object({
        users: z.array(shown.extend({ key_count: z.number() })),
        total: z.number(),
        page: z.number(),
        page_size: z.number(),
        total_pages: z.number(),
      }),
      handle: ({ input }) =>
        users.list({
          page: input.page,
          size: input.page_size,
          sortBy: input.sort_by,
          descending: input.sort_order === 'desc',
          ...(input.role === undefined ? {} : { role: input.role }),
          ...(input.user_ids === undefined ? {} : { userIds: input.user_ids }),
          ...(input.sso_user_ids === undefined ? {} : { ssoUserIds: input.sso_user_ids }),
          ...(input.user_email === undefined ? {} : { email: input.user_email }),
          ...(input.team === undefined ? {} : { team: input.team }),
          ...(input.organization_ids === undefined ? {} : { organizationIds: input.organization_ids }),
        }),
    }),
    route({
      method: 'GET',
      path: '/user/available_roles',
      tag,
      summary: 'The roles a user can have',
      access: 'key',
      input: z.object({}),
      output: z.record(z.string(), z.object({ description: z.string(), ui_label: z.string() })),
      handle: () => ROLE_TEXTS,
    }),
    route({
      method: 'GET',
      path: '/user/available_users',
      tag,
      summary: 'How many users there are; there is no most',
      access: 'key',
      input: z.object({}),
      output: z.object({ total_users: z.null(), total_users_used: z.number(), total_users_remaining: z.null() }),
      handle: async () => ({ total_users: null, total_users_used: await users.count(), total_users_remaining: null }),
    }),
    route({
      method: 'GET',
      path: '/user/filter/ui',
      tag,
      summary: 'Users to pick from by part of an id or an address: for non-admins those of their teams and organizations',
      access: 'key',
      input: z.object({
        user_id: z.string().optional(),
        user_email: z.string().optional(),
        page: page(),
        page_size: z.coerce.number().int().min(1).max(100).default(50),
      }),
      output: z.array(
        z.object({
          user_id: z.string(),
          user_email: z.string().nullable(),
          user_alias: z.string().nullable(),
          user_role: z.string().nullable(),
        }),
      ),
      handle: ({ input, identity }) =>
        users.pick({ userId: input.user_id, email: input.user_email, page: input.page, size: input.page_size }, identity),
    }),
  ]
}
