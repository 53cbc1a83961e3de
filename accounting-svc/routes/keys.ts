import type { Keys } from '../identity/keys.ts'
import { writerOf } from '../identity/writer.ts'
import { budgetLimits, budgetShown, duration, limit, list, map, modelBudgets } from './field-types.ts'
import { type Route, route, z } from './route.ts'

/** Number or text of one; dashboards send both. */
const amount = () => z.union([z.number().min(0), z.string().regex(/^(\d+(\.\d*)?|\.\d+)?([eE][+-]?\d+)?$/, 'expected a number')])
/** Limits per model. */
const limits = () => z.record(z.string(), z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER))

/** What /key/generate and /key/update take (surface reference §2.1). Unknown fields are let through and forgotten, as there. */
const fields = z.object({
  key_alias: z.string().nullish(),
  duration: z.string().nullish().describe('30s, 15m, 12h, 7d, 2w, 1mo; null or "-1" = for ever'),
  models: list().nullish(),
  aliases: map().nullish(),
  config: map().nullish(),
  spend: amount().nullish().describe('Dollars'),
  max_budget: amount().nullish().describe('Dollars'),
  soft_budget: amount().nullish().describe('Dollars'),
  budget_duration: z.string().nullish(),
  budget_limits: budgetLimits().nullish(),
  budget_id: z.string().nullish(),
  model_max_budget: modelBudgets().nullish(),
  budget_fallbacks: z.record(z.string(), list()).nullish(),
  tpm_limit: limit().optional(),
  rpm_limit: limit().optional(),
  tpm_limit_type: z.enum(['guaranteed_throughput', 'best_effort_throughput', 'dynamic']).nullish(),
  rpm_limit_type: z.enum(['guaranteed_throughput', 'best_effort_throughput', 'dynamic']).nullish(),
  model_tpm_limit: limits().nullish(),
  model_rpm_limit: limits().nullish(),
  mcp_rpm_limit: map().nullish(),
  max_parallel_requests: limit().optional(),
  metadata: map().nullish(),
  tags: list().nullish(),
  permissions: map().nullish(),
  guardrails: list().nullish(),
  policies: list().nullish(),
  prompts: list().nullish(),
  disable_global_guardrails: z.boolean().nullish(),
  blocked: z.boolean().nullish(),
  allowed_cache_controls: list().nullish(),
  allowed_routes: list().nullish(),
  allowed_passthrough_routes: list().nullish(),
  key_type: z.enum(['default', 'llm_api', 'management', 'read_only']).nullish(),
  team_id: z.string().nullish(),
  user_id: z.string().nullish(),
  organization_id: z.string().nullish(),
  project_id: z.string().nullish(),
  agent_id: z.string().nullish(),
  object_permission: map().nullish(),
  access_group_ids: list().nullish(),
  enforced_params: list().nullish(),
  default_estimated_output_tokens: z.number().int().positive().nullish(),
  default_estimated_output_tokens_per_model: z.record(z.string(), z.number().int().positive()).nullish(),
  throttle_on_budget_exceeded: z.boolean().nullish(),
  allowed_vector_store_indexes: z.array(map()).nullish(),
  auto_rotate: z.boolean().nullish(),
  rotation_interval: duration().nullish(),
  router_settings: map().nullish(),
  send_invite_email: z.boolean().nullish(),
  temp_budget_increase: z.number().min(0).nullish(),
  temp_budget_expiry: z.string().nullish(),
})

/** A key as it is shown. Without the hash in /key/info. */
const shown = z.object({
  key_name: z.string(),
  key_alias: z.string().nullable(),
  spend: z.number().describe('Dollars'),
  expires: z.iso.datetime().nullable(),
  models: list(),
  aliases: map(),
  config: map(),
  user_id: z.string().nullable(),
  team_id: z.string().nullable(),
  organization_id: z.string().nullable(),
  permissions: map(),
  max_parallel_requests: z.number().nullable(),
  metadata: map(),
  blocked: z.boolean().nullable(),
  tpm_limit: z.number().nullable(),
  rpm_limit: z.number().nullable(),
  max_budget: z.number().nullable(),
  soft_budget: z.number().nullable(),
  budget_duration: z.string().nullable(),
  budget_reset_at: z.iso.datetime().nullable(),
  budget_id: z.string().nullable(),
  allowed_cache_controls: list(),
  allowed_routes: list(),
  model_spend: map(),
  model_max_budget: map(),
  created_at: z.iso.datetime(),
  created_by: z.string().nullable(),
  updated_at: z.iso.datetime(),
  updated_by: z.string().nullable(),
  litellm_budget_table: budgetShown.nullable(),
  object_permission: map().nullable(),
})
const whole = shown.extend({ token: z.string() })
const generated = whole.extend({ key: z.string().describe('Shown once'), token_id: z.string() })

const flag = () => z.stringbool().default(false)
const keyBody = z.object({ key: z.string().min(1).describe('The key or its SHA-256') })
const own = { key: z.string().nullish().describe('A key of your own; begins with sk-') }
const paging = (size: number) => ({
  page: z.coerce.number().int().min(1).default(1),
  size: z.coerce.number().int().min(1).max(100).default(size),
})
const pages = { total_count: z.number(), current_page: z.number(), total_pages: z.number() }
const bulk = z.object({
  total_requested: z.number(),
  successful_updates: z.array(z.object({ key: z.string(), key_info: generated })),
  failed_updates: z.array(z.object({ key: z.string(), key_info: z.null(), failed_reason: z.string() })),
})
/** What /key/regenerate takes beside what /key/generate takes. */
const replacing = fields.extend({
  key: z.string().min(1).nullish().describe('The key or its SHA-256; default the caller’s own'),
  new_key: z.string().nullish().describe('The new key; begins with sk-'),
  new_master_key: z.string().nullish().describe('Refused: the master key is set in the configuration'),
  grace_period: z.string().nullish().describe('How long the old key works on, such as 48h; default not at all'),
})
/** Up to when keys expire, or `never`. */
const expiry = z
  .union([z.literal('never'), z.iso.datetime({ offset: true }), z.iso.date()])
  .transform((text) => (text === 'never' ? text : new Date(text)))

/** /key/…: making and changing virtual keys. */
export function keyRoutes(keys: Keys): Route[] {
  const tag = 'key management'
  return [
    route({
      method: 'POST',
      path: '/key/generate',
      tag,
      summary: 'Make a virtual key',
      access: 'key',
      input: fields.extend(own),
      output: generated,
      handle: (call) => keys.generate(call.input, writerOf(call)),
    }),
    route({
      method: 'POST',
      path: '/key/service-account/generate',
      tag,
      summary: 'Make a key of a team that belongs to no user',
      access: 'key',
      input: fields.extend(own),
      output: generated,
      handle: (call) => keys.generateServiceAccount(call.input, writerOf(call)),
    }),
    route({
      method: 'GET',
      path: '/key/info',
      tag,
      summary: 'What a key may do and has spent; without `key` the caller’s own',
      access: 'key',
      input: z.object({ key: z.string().min(1).optional().describe('The key or its SHA-256') }),
      output: z.object({ key: z.string(), info: shown }),
      handle: ({ input, identity }) => keys.info(input.key, identity),
    }),
    route({
      method: 'POST',
      path: '/v2/key/info',
      tag,
      summary: 'The same of several keys; those that are not there are left out',
      access: 'read',
      input: z.object({ keys: list().min(1, 'expected at least one key') }),
      output: z.object({ key: list(), info: z.array(whole) }),
      handle: ({ input, identity }) => keys.infos(input.keys, identity),
    }),
    route({
      method: 'GET',
      path: '/key/list',
      tag,
      summary: 'Keys, a page at a time',
      access: 'key',
      input: z.object({
        ...paging(10),
        user_id: z.string().optional(),
        team_id: z.string().optional(),
        organization_id: z.string().optional(),
        project_id: z.string().optional(),
        agent_id: z.string().optional(),
        access_group_id: z.string().optional(),
        key_hash: z.string().optional(),
        key_alias: z.string().optional(),
        expires: expiry.optional(),
        return_full_object: flag(),
        include_team_keys: flag(),
        include_created_by_keys: flag(),
        substring_matching: flag(),
        expand: z.string().optional().describe('`user`: each key with its user'),
        status: z.enum(['active', 'deleted']).optional(),
        sort_by: z.string().optional(),
        sort_order: z.enum(['asc', 'desc']).default('desc'),
      }),
      output: z.object({ keys: z.array(z.union([z.string(), whole])), ...pages }),
      handle: ({ input, identity }) =>
        keys.list(
          {
            page: input.page,
            size: input.size,
            userId: input.user_id,
            teamId: input.team_id,
            organizationId: input.organization_id,
            projectId: input.project_id,
            agentId: input.agent_id,
            accessGroupId: input.access_group_id,
            keyHash: input.key_hash,
            keyAlias: input.key_alias,
            expires: input.expires,
            substring: input.substring_matching,
            full: input.return_full_object,
            includeTeamKeys: input.include_team_keys,
            includeCreatedByKeys: input.include_created_by_keys,
            expandUser: input.expand?.split(',').includes('user') ?? false,
            deleted: input.status === 'deleted',
            sortBy: input.sort_by,
            descending: input.sort_order === 'desc',
          },
          identity,
        ),
    }),
    route({
      method: 'GET',
      path: '/key/aliases',
      tag,
      summary: 'Aliases of keys, a page at a time',
      access: 'key',
      input: z.object({ ...paging(50), search: z.string().optional(), team_id: z.string().optional() }),
      output: z.object({ aliases: list(), ...pages, size: z.number() }),
      handle: ({ input: { team_id: teamId, ...query }, identity }) => keys.aliases({ ...query, teamId }, identity),
    }),
    route({
      method: 'POST',
      path: '/key/update',
      tag,
      summary: 'Change a key; what is not named stays',
      access: 'key',
      input: fields.extend({ key: z.string().min(1).describe('The key or its SHA-256') }),
      output: generated,
      handle: (call) => keys.update(call.input, writerOf(call)),
    }),
    route({
      method: 'POST',
      path: '/key/bulk_update',
      tag,
      summary: 'Change many keys, each in its own way; one that fails does not keep the others from changing',
      access: 'admin',
      input: z.object({ keys: z.array(fields.extend({ key: z.string().min(1) })).min(1, 'expected at least one key') }),
      output: bulk,
      handle: (call) => keys.updateMany(call.input.keys, writerOf(call)),
    }),
    route({
      method: 'POST',
      path: '/team/key/bulk_update',
      tag,
      summary: 'Change keys of a team in the same way: those named in `keys`, or all of them',
      access: 'key',
      input: z.object({
        team_id: z.string().min(1),
        keys: list().nullish().describe('Keys or hashes; default every key of the team'),
        key_ids: list().nullish().describe('Another name of keys'),
        all_keys_in_team: z.boolean().nullish(),
        update_fields: fields.describe('What is not named stays'),
      }),
      output: bulk,
      handle: (call) => {
        const { team_id, keys: named, key_ids, all_keys_in_team, update_fields } = call.input
        const chosen = all_keys_in_team === true ? null : (named ?? key_ids ?? null)
        return keys.updateTeam(team_id, chosen, update_fields, writerOf(call))
      },
    }),
    ...(['/key/regenerate', '/key/{key}/regenerate'] as const).map((path) =>
      route({
        method: 'POST',
        path,
        tag,
        summary: 'Replace a key by a new one with the same limits and spend; fields of the body override',
        access: 'key',
        input: replacing,
        output: generated,
        handle: (call) => keys.regenerate(call.input.key ?? call.identity.keyHash, call.input, writerOf(call)),
      }),
    ),
    route({
      method: 'POST',
      path: '/key/{key}/reset_spend',
      tag,
      summary: 'Lower what a key has spent in its present window',
      access: 'key',
      input: z.object({ key: z.string().min(1), reset_to: amount().describe('Dollars, at most what is spent') }),
      output: z.object({
        key_hash: z.string(),
        spend: z.number(),
        previous_spend: z.number(),
        max_budget: z.number().nullable(),
        budget_reset_at: z.iso.datetime().nullable(),
      }),
      handle: (call) => keys.resetSpend(call.input.key, call.input.reset_to, writerOf(call)),
    }),
    route({
      method: 'POST',
      path: '/key/health',
      tag,
      summary: 'Whether the caller’s key works, and the logging callbacks set on it',
      access: 'key',
      input: z.object({}),
      output: z.object({
        key: z.enum(['healthy', 'unhealthy']),
        logging_callbacks: z.object({ callbacks: list(), status: z.string(), details: z.string() }).nullable(),
      }),
      handle: ({ identity }) => keyHealth(identity.metadata),
    }),
    route({
      method: 'POST',
      path: '/key/delete',
      tag,
      summary: 'Delete keys by themselves, their hashes or their aliases',
      access: 'key',
      input: z
        .object({ keys: list().nullish(), key_aliases: list().nullish() })
        .refine((body) => (body.keys ?? body.key_aliases ?? []).length > 0, 'expected keys or key_aliases'),
      output: z.object({ deleted_keys: list() }),
      handle: (call) => keys.remove(call.input.keys ?? [], call.input.key_aliases ?? [], writerOf(call)),
    }),
    ...(['block', 'unblock'] as const).map((verb) =>
      route({
        method: 'POST',
        path: `/key/${verb}`,
        tag,
        summary: verb === 'block' ? 'Refuse calls with a key' : 'Let a blocked key work again',
        access: 'key',
        input: keyBody,
        output: whole,
        handle: (call) => keys.setBlocked(call.input.key, verb === 'block', writerOf(call)),
      }),
    ),
  ]
}

/** A key that reached this route works. Callbacks of single keys are not run yet, and that is said rather than "healthy". */
function keyHealth(metadata: Record<string, unknown>): Record<string, unknown> {
  const logging = Array.isArray(metadata['logging']) ? metadata['logging'] : []
  const callbacks = logging.flatMap((entry: unknown) => {
    const name = typeof entry === 'object' && entry !== null ? (entry as Record<string, unknown>)['callback_name'] : undefined
    return typeof name === 'string' ? [name] : []
  })
  if (callbacks.length === 0) return { key: 'healthy', logging_callbacks: null }
  const details = 'Logging callbacks of single keys are not run by this gateway.'
  return { key: 'unhealthy', logging_callbacks: { callbacks, status: 'unhealthy', details } }
}
