import type { Keys } from '../identity/keys.ts'
import { type Route, route, z } from './route.ts'

const map = () => z.record(z.string(), z.unknown())
const list = () => z.array(z.string())
/** Number or text of one; dashboards send both. */
const amount = () => z.union([z.number(), z.string().regex(/^(\d+(\.\d*)?|\.\d+)?([eE][+-]?\d+)?$/, 'expected a number')])
const limit = () => z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER)
const limitOrNull = () => z.union([z.null(), limit()])

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
  budget_limits: z.array(z.looseObject({ budget_duration: z.string(), max_budget: z.number() })).nullish(),
  budget_id: z.string().nullish(),
  model_max_budget: map().nullish(),
  budget_fallbacks: map().nullish(),
  tpm_limit: limitOrNull().optional(),
  rpm_limit: limitOrNull().optional(),
  tpm_limit_type: z.enum(['guaranteed_throughput', 'best_effort_throughput', 'dynamic']).nullish(),
  rpm_limit_type: z.enum(['guaranteed_throughput', 'best_effort_throughput', 'dynamic']).nullish(),
  model_tpm_limit: map().nullish(),
  model_rpm_limit: map().nullish(),
  mcp_rpm_limit: map().nullish(),
  max_parallel_requests: limitOrNull().optional(),
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
  rotation_interval: z.string().nullish(),
  router_settings: map().nullish(),
  send_invite_email: z.boolean().nullish(),
  temp_budget_increase: z.number().nullish(),
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
  litellm_budget_table: z.null(),
  object_permission: map().nullable(),
})
const whole = shown.extend({ token: z.string() })
const generated = whole.extend({ key: z.string().describe('Shown once'), token_id: z.string() })

const flag = () => z.stringbool().default(false)
const keyBody = z.object({ key: z.string().min(1).describe('The key or its SHA-256') })

/** /key/…: making and changing virtual keys. */
export function keyRoutes(keys: Keys): Route[] {
  const tag = 'key management'
  return [
    route({
      method: 'POST',
      path: '/key/generate',
      tag,
      summary: 'Make a virtual key',
      access: 'write',
      input: fields.extend({ key: z.string().nullish().describe('A key of your own; begins with sk-') }),
      output: generated,
      handle: ({ input, identity }) => keys.generate(input, identity),
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
      method: 'GET',
      path: '/key/list',
      tag,
      summary: 'Keys, a page at a time',
      access: 'key',
      input: z.object({
        page: z.coerce.number().int().min(1).default(1),
        size: z.coerce.number().int().min(1).max(100).default(10),
        user_id: z.string().optional(),
        team_id: z.string().optional(),
        organization_id: z.string().optional(),
        key_hash: z.string().optional(),
        key_alias: z.string().optional(),
        return_full_object: flag(),
        substring_matching: flag(),
        sort_by: z.string().optional(),
        sort_order: z.enum(['asc', 'desc']).default('desc'),
      }),
      output: z.object({
        keys: z.array(z.union([z.string(), whole])),
        total_count: z.number(),
        current_page: z.number(),
        total_pages: z.number(),
      }),
      handle: ({ input, identity }) =>
        keys.list(
          {
            page: input.page,
            size: input.size,
            userId: input.user_id,
            teamId: input.team_id,
            organizationId: input.organization_id,
            keyHash: input.key_hash,
            keyAlias: input.key_alias,
            substring: input.substring_matching,
            full: input.return_full_object,
            sortBy: input.sort_by,
            descending: input.sort_order === 'desc',
          },
          identity,
        ),
    }),
    route({
      method: 'POST',
      path: '/key/update',
      tag,
      summary: 'Change a key; what is not named stays',
      access: 'write',
      input: fields.extend({ key: z.string().min(1).describe('The key or its SHA-256') }),
      output: generated,
      handle: ({ input, identity }) => keys.update(input, identity),
    }),
    route({
      method: 'POST',
      path: '/key/delete',
      tag,
      summary: 'Delete keys by themselves, their hashes or their aliases',
      access: 'write',
      input: z
        .object({ keys: list().nullish(), key_aliases: list().nullish() })
        .refine((body) => (body.keys ?? body.key_aliases ?? []).length > 0, 'expected keys or key_aliases'),
      output: z.object({ deleted_keys: list() }),
      handle: ({ input, identity }) => keys.remove(input.keys ?? [], input.key_aliases ?? [], identity),
    }),
    ...(['block', 'unblock'] as const).map((verb) =>
      route({
        method: 'POST',
        path: `/key/${verb}`,
        tag,
        summary: verb === 'block' ? 'Refuse calls with a key' : 'Let a blocked key work again',
        access: 'admin',
        input: keyBody,
        output: whole,
        handle: ({ input, identity }) => keys.setBlocked(input.key, verb === 'block', identity),
      }),
    ),
  ]
}
