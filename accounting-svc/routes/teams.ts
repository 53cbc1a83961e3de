import type { TeamMembers } from '../identity/team-members.ts'
import type { Teams } from '../identity/teams.ts'
import { PERMISSIONS } from '../identity/teams.ts'
import { writerOf } from '../identity/writer.ts'
import { TEAM_SORTS, type TeamSort } from '../sql/teams.ts'
import { amount, budgetLimits, budgetShown, duration, limit, list, map, modelBudgets } from './field-types.ts'
import { type Route, route, z } from './route.ts'

const id = () => z.string().min(1)
const limitType = () => z.enum(['guaranteed_throughput', 'best_effort_throughput', 'dynamic'])
const role = () => z.enum(['admin', 'user'])
const permissions = () => z.array(z.enum(PERMISSIONS))
const perModel = () => z.record(z.string(), limit())

const member = z
  .object({ user_id: id().nullish(), user_email: z.string().nullish(), role: role().default('user') })
  .refine((entry) => entry.user_id != null || entry.user_email != null, 'expected user_id or user_email')

/** What /team/new and /team/update take (surface reference §1.7). Unknown fields are let through and forgotten, as there. */
const fields = z.object({
  team_alias: z.string().nullish(),
  organization_id: z.string().nullish(),
  metadata: map().nullish(),
  tpm_limit: limit().optional(),
  rpm_limit: limit().optional(),
  tpm_limit_type: limitType().nullish(),
  rpm_limit_type: limitType().nullish(),
  max_parallel_requests: limit().optional(),
  max_budget: amount().nullish().describe('Dollars'),
  soft_budget: amount().nullish().describe('Dollars: alert, do not refuse'),
  budget_duration: duration().nullish(),
  budget_limits: budgetLimits().nullish(),
  model_max_budget: modelBudgets().nullish(),
  models: list().nullish(),
  blocked: z.boolean().nullish(),
  model_aliases: z.record(z.string(), z.string()).nullish(),
  tags: list().nullish(),
  guardrails: list().nullish(),
  policies: list().nullish(),
  prompts: list().nullish(),
  disable_global_guardrails: z.boolean().nullish(),
  object_permission: map().nullish(),
  allowed_passthrough_routes: list().nullish(),
  model_rpm_limit: perModel().nullish(),
  model_tpm_limit: perModel().nullish(),
  mcp_rpm_limit: map().nullish(),
  team_member_permissions: permissions().nullish(),
  team_member_budget: amount().nullish().describe('Dollars each member may cost who has no budget of their own'),
  team_member_budget_duration: duration().nullish(),
  team_member_rpm_limit: limit().optional(),
  team_member_tpm_limit: limit().optional(),
  team_member_key_duration: duration().nullish(),
  default_team_member_models: list().nullish(),
  router_settings: map().nullish(),
  access_group_ids: list().nullish(),
  allowed_vector_store_indexes: z.array(map()).nullish(),
  secret_manager_settings: map().nullish(),
  enforced_file_expires_after: map().nullish(),
  enforced_batch_output_expires_after: map().nullish(),
  default_estimated_output_tokens: z.number().int().positive().nullish(),
  default_estimated_output_tokens_per_model: z.record(z.string(), z.number().int().positive()).nullish(),
})

/** What a membership takes. */
const memberLimits = {
  max_budget_in_team: amount().nullish().describe('Dollars'),
  budget_duration: duration().nullish(),
  tpm_limit: limit().optional(),
  rpm_limit: limit().optional(),
  allowed_models: list().nullish(),
}

/** A team as it is shown. */
const shown = z.object({
  team_id: z.string(),
  team_alias: z.string().nullable(),
  organization_id: z.string().nullable(),
  admins: list(),
  members: list(),
  members_with_roles: z.array(z.object({ user_id: z.string(), user_email: z.string().nullable(), role: z.string() })),
  metadata: map(),
  tpm_limit: z.number().nullable(),
  rpm_limit: z.number().nullable(),
  max_parallel_requests: z.number().nullable(),
  max_budget: z.number().nullable().describe('Dollars'),
  soft_budget: z.number().nullable().describe('Dollars'),
  budget_duration: z.string().nullable(),
  budget_reset_at: z.iso.datetime().nullable(),
  budget_limits: z.array(map()).nullable(),
  models: list(),
  blocked: z.boolean(),
  spend: z.number().describe('Dollars of the present window'),
  model_aliases: map(),
  model_id: z.null(),
  litellm_model_table: map().nullable(),
  team_member_budget_id: z.string().nullable(),
  team_member_budget_table: budgetShown.nullable(),
  team_member_permissions: list().nullable(),
  object_permission: map().nullable(),
  created_at: z.iso.datetime(),
  updated_at: z.iso.datetime(),
})
const membership = z.object({
  team_id: z.string(),
  user_id: z.string(),
  user_email: z.string().nullable(),
  role: z.string(),
  spend: z.number().describe('Dollars of the present window'),
  budget_id: z.string().nullable(),
  litellm_budget_table: budgetShown.nullable(),
  allowed_models: list(),
})
const updated = z.object({ team_id: z.string(), data: shown })
const status = z.object({ status: z.literal('success'), data: map() })

const oneMember = z.object({ team_id: id(), user_id: id().nullish(), user_email: z.string().nullish() })
const named = {
  check: (body: { user_id?: unknown; user_email?: unknown }) => body.user_id != null || body.user_email != null,
  text: 'expected user_id or user_email',
}

/** Most members added by one call. */
const MOST_MEMBERS = 500

/** /team/…: teams themselves. */
export function teamRoutes(teams: Teams): Route[] {
  const tag = 'team management'
  const team = z.object({ team_id: id() })
  return [
    route({
      method: 'POST',
      path: '/team/new',
      tag,
      summary: 'Make a team',
      access: 'key',
      input: fields.extend({
        team_id: z.string().nullish(),
        members_with_roles: z.array(member).nullish(),
        admins: list().nullish(),
        members: list().nullish(),
      }),
      output: shown,
      handle: (call) => teams.create(call.input, writerOf(call)),
    }),
    ...(
      [
        ['POST', '/team/update'],
        ['PATCH', '/team/{team_id}'],
      ] as const
    ).map(([method, path]) =>
      route({
        method,
        path,
        tag,
        summary: 'Change a team; what is not named stays',
        access: 'key',
        input: fields.extend({ team_id: id() }),
        output: updated,
        handle: (call) => teams.update(call.input, writerOf(call)),
      }),
    ),
    route({
      method: 'POST',
      path: '/team/delete',
      tag,
      summary: 'Delete teams with their keys, projects and memberships',
      access: 'key',
      input: z.object({ team_ids: list().min(1, 'expected at least one id') }),
      output: z.array(shown),
      handle: (call) => teams.remove(call.input.team_ids, writerOf(call)),
    }),
    route({
      method: 'GET',
      path: '/team/info',
      tag,
      summary: 'A team with its keys and memberships; without `team_id` the caller’s own',
      access: 'key',
      input: z.object({ team_id: id().optional() }),
      output: z.object({ team_id: z.string(), team_info: shown, keys: z.array(map()), team_memberships: z.array(membership) }),
      handle: ({ input, identity }) => teams.info(input.team_id, identity),
    }),
    route({
      method: 'GET',
      path: '/team/list',
      tag,
      summary: 'Every team the caller may look at',
      access: 'key',
      input: z.object({ user_id: z.string().optional(), organization_id: z.string().optional() }),
      output: z.array(shown.extend({ keys: z.array(map()), team_memberships: z.array(membership) })),
      handle: ({ input, identity }) => teams.list({ userId: input.user_id, organizationId: input.organization_id }, identity),
    }),
    route({
      method: 'GET',
      path: '/v2/team/list',
      tag,
      summary: 'Teams the caller may look at, a page at a time',
      access: 'key',
      input: z.object({
        page: z.coerce.number().int().min(1).default(1),
        page_size: z.coerce.number().int().min(1).max(100).default(10),
        user_id: z.string().optional(),
        organization_id: z.string().optional(),
        team_id: z.string().optional(),
        team_alias: z.string().optional().describe('Part of it'),
        search: z.string().optional().describe('Part of the alias, or the id'),
        sort_by: z.enum(Object.keys(TEAM_SORTS) as [TeamSort, ...TeamSort[]]).default('created_at'),
        sort_order: z.enum(['asc', 'desc']).default('desc'),
        status: z.enum(['active', 'deleted']).default('active'),
      }),
      output: z.object({
        teams: z.array(shown.extend({ keys_count: z.number() })),
        total: z.number(),
        page: z.number(),
        page_size: z.number(),
        total_pages: z.number(),
      }),
      handle: ({ input, identity }) =>
        teams.page(
          {
            page: input.page,
            size: input.page_size,
            userId: input.user_id,
            organizationId: input.organization_id,
            teamId: input.team_id,
            alias: input.team_alias,
            search: input.search,
            sortBy: input.sort_by,
            descending: input.sort_order === 'desc',
            deleted: input.status === 'deleted',
          },
          identity,
        ),
    }),
    route({
      method: 'GET',
      path: '/team/available',
      tag,
      summary: 'Teams the caller may join by themselves',
      access: 'key',
      input: z.object({}),
      output: z.array(map()),
      handle: ({ identity }) => teams.available(identity),
    }),
    ...(['block', 'unblock'] as const).map((verb) =>
      route({
        method: 'POST',
        path: `/team/${verb}`,
        tag,
        summary: verb === 'block' ? 'Refuse calls with the keys of a team' : 'Let the keys of a blocked team work again',
        access: 'key',
        input: team,
        output: shown,
        handle: (call) => teams.setBlocked(call.input.team_id, verb === 'block', writerOf(call)),
      }),
    ),
    ...(['add', 'delete'] as const).map((verb) =>
      route({
        method: 'POST',
        path: `/team/model/${verb}`,
        tag,
        summary: verb === 'add' ? 'Let a team use more models' : 'Take models from a team',
        access: 'key',
        input: team.extend({ models: list() }),
        output: shown,
        handle: (call) => {
          const { team_id, models } = call.input
          return verb === 'add'
            ? teams.addModels(team_id, models, writerOf(call))
            : teams.removeModels(team_id, models, writerOf(call))
        },
      }),
    ),
    ...permissionRoutes(teams),
    ...callbackRoutes(teams),
  ]
}

function permissionRoutes(teams: Teams): Route[] {
  const tag = 'team management'
  return [
    route({
      method: 'GET',
      path: '/team/permissions_list',
      tag,
      summary: 'Routes that members of a team may call for its keys',
      access: 'key',
      input: z.object({ team_id: id() }),
      output: z.object({ team_id: z.string(), team_member_permissions: list(), all_available_permissions: list() }),
      handle: ({ input, identity }) => teams.permissions(input.team_id, identity),
    }),
    route({
      method: 'POST',
      path: '/team/permissions_update',
      tag,
      summary: 'Set the routes that members of a team may call for its keys',
      access: 'key',
      input: z.object({ team_id: id(), team_member_permissions: permissions() }),
      output: shown,
      handle: (call) => teams.setPermissions(call.input.team_id, call.input.team_member_permissions, writerOf(call)),
    }),
    route({
      method: 'POST',
      path: '/team/permissions_bulk_update',
      tag,
      summary: 'Add routes to those that members of many teams may call',
      access: 'key',
      input: z
        .object({
          permissions: permissions().min(1, 'expected at least one'),
          team_ids: list().nullish(),
          apply_to_all_teams: z.boolean().default(false),
        })
        .refine((body) => body.apply_to_all_teams !== (body.team_ids != null), 'expected either team_ids or apply_to_all_teams'),
      output: z.object({ message: z.string(), teams_updated: z.number(), permissions_appended: list() }),
      handle: ({ input, ...call }) =>
        teams.addPermissions(input.apply_to_all_teams ? null : (input.team_ids ?? []), input.permissions, writerOf(call)),
    }),
  ]
}

function callbackRoutes(teams: Teams): Route[] {
  const tag = 'team management'
  const path = '/team/{team_id}/callback'
  return [
    route({
      method: 'GET',
      path,
      tag,
      summary: 'Where the calls of a team are reported',
      access: 'key',
      input: z.object({ team_id: id() }),
      output: status,
      handle: ({ input, identity }) => teams.callbacks(input.team_id, identity),
    }),
    route({
      method: 'POST',
      path,
      tag,
      summary: 'Report the calls of a team',
      access: 'key',
      input: z.object({
        team_id: id(),
        callback_name: id(),
        callback_type: z.enum(['success', 'failure', 'success_and_failure']).default('success_and_failure'),
        callback_vars: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])).default({}),
      }),
      output: status,
      handle: ({ input: { team_id, ...callback }, ...call }) => teams.setCallback(team_id, callback, writerOf(call)),
    }),
    route({
      method: 'DELETE',
      path: '/team/{team_id}/callback/{callback_name}',
      tag,
      summary: 'Report the calls of a team there no more',
      access: 'key',
      input: z.object({ team_id: id(), callback_name: id() }),
      output: status,
      handle: ({ input, ...call }) => teams.removeCallback(input.team_id, input.callback_name, writerOf(call)),
    }),
    route({
      method: 'POST',
      path: '/team/{team_id}/disable_logging',
      tag,
      summary: 'Report the calls of a team nowhere',
      access: 'key',
      input: z.object({ team_id: id() }),
      output: status.extend({ message: z.string() }),
      handle: ({ input, ...call }) => teams.disableLogging(input.team_id, writerOf(call)),
    }),
  ]
}

/** /team/member_…: who belongs to a team, and their limits in it. */
export function teamMemberRoutes(members: TeamMembers): Route[] {
  const tag = 'team management'
  return [
    route({
      method: 'POST',
      path: '/team/member_add',
      tag,
      summary: 'Make users members of a team; users nobody knows yet are made',
      access: 'key',
      input: z.object({ team_id: id(), member: z.union([member, z.array(member).min(1)]), ...memberLimits }),
      output: shown.extend({ updated_users: z.array(map()), updated_team_memberships: z.array(membership) }),
      handle: (call) => members.add(call.input, writerOf(call)),
    }),
    route({
      method: 'POST',
      path: '/team/bulk_member_add',
      tag,
      summary: 'Make many users, or all, members of a team; those who cannot be are named',
      access: 'key',
      input: z
        .object({
          team_id: id(),
          members: z.array(member).min(1).max(MOST_MEMBERS).nullish(),
          all_users: z.boolean().nullish(),
          ...memberLimits,
        })
        .refine((body) => (body.all_users === true) !== (body.members != null), 'expected either members or all_users'),
      output: z.object({
        team_id: z.string(),
        results: z.array(map()),
        total_requested: z.number(),
        successful_additions: z.number(),
        failed_additions: z.number(),
        updated_team: shown,
      }),
      handle: ({ input, ...call }) =>
        members.addMany(input.team_id, input.all_users === true ? null : (input.members ?? []), input, writerOf(call)),
    }),
    route({
      method: 'POST',
      path: '/team/member_update',
      tag,
      summary: 'Change a member’s role or limits, which are then its own',
      access: 'key',
      input: oneMember
        .extend({
          ...memberLimits,
          role: role().nullish(),
          temp_budget_increase: amount().nullish().describe('Dollars on top until temp_budget_expiry'),
          temp_budget_expiry: z.string().nullish(),
        })
        .refine(named.check, named.text),
      output: z.object({
        team_id: z.string(),
        user_id: z.string(),
        user_email: z.string().nullable(),
        role: z.string(),
        max_budget_in_team: z.number().nullable(),
        budget_duration: z.string().nullable(),
        tpm_limit: z.number().nullable(),
        rpm_limit: z.number().nullable(),
        allowed_models: list(),
      }),
      handle: (call) => members.update(call.input, writerOf(call)),
    }),
    route({
      method: 'POST',
      path: '/team/member_delete',
      tag,
      summary: 'End a membership; the keys the user has in the team go with it',
      access: 'key',
      input: oneMember.refine(named.check, named.text),
      output: shown,
      handle: (call) => members.remove(call.input, writerOf(call)),
    }),
    route({
      method: 'GET',
      path: '/team/{team_id}/members/me',
      tag,
      summary: 'The caller’s own membership',
      access: 'key',
      input: z.object({ team_id: id() }),
      output: membership.extend({ team_alias: z.string().nullable() }),
      handle: ({ input, identity }) => members.own(input.team_id, identity),
    }),
    route({
      method: 'POST',
      path: '/team/{team_id}/member/{user_id}/reset_spend',
      tag,
      summary: 'Lower what a member has spent in its present window',
      access: 'key',
      input: z.object({ team_id: id(), user_id: id(), reset_to: amount().describe('Dollars, at most what is spent') }),
      output: z.object({
        team_id: z.string(),
        user_id: z.string(),
        spend: z.number(),
        previous_spend: z.number(),
        max_budget: z.number().nullable(),
      }),
      handle: ({ input, ...call }) => members.resetSpend(input.team_id, input.user_id, input.reset_to, writerOf(call)),
    }),
    route({
      method: 'POST',
      path: '/team/{team_id}/member/{user_id}/reset_budget',
      tag,
      summary: 'Put a member back to the team’s default limits',
      access: 'key',
      input: z.object({ team_id: id(), user_id: id() }),
      output: membership,
      handle: (call) => members.resetBudget(call.input.team_id, call.input.user_id, writerOf(call)),
    }),
  ]
}
