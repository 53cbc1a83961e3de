import type { Organizations } from '../identity/organizations.ts'
import { writerOf } from '../identity/writer.ts'
import { amount, budgetShape, budgetShown, limit, list, map } from './field-types.ts'
import { type Route, route, z } from './route.ts'

const id = () => z.string().min(1)
const role = () => z.enum(['org_admin', 'internal_user', 'internal_user_viewer'])
const perModel = () => z.record(z.string(), limit())

const fields = z.object({
  ...budgetShape,
  budget_id: z.string().nullish().describe('A budget row to share, instead of limits of its own'),
  models: list().nullish(),
  metadata: map().nullish(),
  model_rpm_limit: perModel().nullish(),
  model_tpm_limit: perModel().nullish(),
  object_permission: map().nullish(),
})

const shown = z.object({
  organization_id: z.string(),
  organization_alias: z.string().nullable(),
  budget_id: z.string().nullable(),
  spend: z.number().describe('Dollars of the present window'),
  metadata: map(),
  models: list(),
  object_permission: map().nullable(),
  created_at: z.iso.datetime(),
  created_by: z.string().nullable(),
  updated_at: z.iso.datetime(),
  updated_by: z.string().nullable(),
  litellm_budget_table: budgetShown.nullable(),
})
const membership = z.object({
  organization_id: z.string(),
  user_id: z.string(),
  user_email: z.string().nullable(),
  user_role: z.string(),
  budget_id: z.string().nullable(),
  spend: z.number().describe('Dollars of the present window'),
  litellm_budget_table: budgetShown.nullable(),
})
const whole = shown.extend({ members: z.array(membership), teams: z.array(map()) })

const member = z
  .object({ user_id: id().nullish(), user_email: z.string().nullish(), role: role().default('internal_user') })
  .refine((entry) => entry.user_id != null || entry.user_email != null, 'expected user_id or user_email')
const oneMember = z.object({ organization_id: id(), user_id: id().nullish(), user_email: z.string().nullish() })
const isNamed = (body: { user_id?: unknown; user_email?: unknown }): boolean => body.user_id != null || body.user_email != null

/** /organization/…: what is above teams. */
export function organizationRoutes(organizations: Organizations): Route[] {
  const tag = 'organization management'
  return [
    route({
      method: 'POST',
      path: '/organization/new',
      tag,
      summary: 'Make an organization',
      access: 'admin',
      input: fields.extend({ organization_alias: id(), organization_id: z.string().nullish() }),
      output: shown,
      handle: (call) => organizations.create(call.input, writerOf(call)),
    }),
    ...(['/organization/update', '/v2/organization/{organization_id}'] as const).map((path) =>
      route({
        method: 'PATCH',
        path,
        tag,
        summary: 'Change an organization; what is not named stays',
        access: 'key',
        input: fields.extend({ organization_alias: id().nullish(), organization_id: id() }),
        output: whole,
        handle: (call) => organizations.update(call.input, writerOf(call)),
      }),
    ),
    route({
      method: 'DELETE',
      path: '/organization/delete',
      tag,
      summary: 'Delete organizations with their teams, keys and memberships',
      access: 'key',
      input: z.object({ organization_ids: list().min(1, 'expected at least one id') }),
      output: z.array(shown),
      handle: (call) => organizations.remove(call.input.organization_ids, writerOf(call)),
    }),
    route({
      method: 'GET',
      path: '/organization/list',
      tag,
      summary: 'Every organization the caller may look at',
      access: 'key',
      input: z.object({ org_id: z.string().optional(), org_alias: z.string().optional().describe('Part of it') }),
      output: z.array(whole),
      handle: ({ input, identity }) => organizations.list({ id: input.org_id, alias: input.org_alias }, identity),
    }),
    route({
      method: 'GET',
      path: '/organization/info',
      tag,
      summary: 'An organization with its members, teams and limits',
      access: 'key',
      input: z.object({ organization_id: id() }),
      output: whole,
      handle: ({ input, identity }) => organizations.info(input.organization_id, identity),
    }),
    route({
      method: 'POST',
      path: '/organization/member_add',
      tag,
      summary: 'Make users members of an organization; users nobody knows yet are made',
      access: 'key',
      input: z.object({
        organization_id: id(),
        member: z.union([member, z.array(member).min(1)]),
        max_budget_in_organization: amount().nullish().describe('Dollars'),
      }),
      output: z.object({
        organization_id: z.string(),
        updated_users: z.array(map()),
        updated_organization_memberships: z.array(membership),
      }),
      handle: (call) => organizations.addMembers(call.input, writerOf(call)),
    }),
    route({
      method: 'PATCH',
      path: '/organization/member_update',
      tag,
      summary: 'Change a member’s role or budget',
      access: 'key',
      input: oneMember
        .extend({ role: role().nullish(), max_budget_in_organization: amount().nullish().describe('Dollars') })
        .refine(isNamed, 'expected user_id or user_email'),
      output: membership,
      handle: (call) => organizations.updateMember(call.input, writerOf(call)),
    }),
    route({
      method: 'DELETE',
      path: '/organization/member_delete',
      tag,
      summary: 'End a membership',
      access: 'key',
      input: oneMember.refine(isNamed, 'expected user_id or user_email'),
      output: membership.extend({ user: map().nullable() }),
      handle: (call) => organizations.removeMember(call.input, writerOf(call)),
    }),
  ]
}
