import type { Database } from '../../shared/db/db.ts'
import { GatewayError } from '../../shared/errors.ts'
import { tokenOf } from '../identity/keys.ts'
import { type AuditFilter, type AuditRow, type AuditSort, findAudit, listAudit } from '../sql/audit.ts'
import { type Route, route, z } from './route.ts'

const DAY = 86_400_000

/** Our tables as LiteLLM's audit log calls them; a filter may use either name. */
const TABLES: Readonly<Record<string, string>> = {
  keys: 'LiteLLM_VerificationToken',
  users: 'LiteLLM_UserTable',
  teams: 'LiteLLM_TeamTable',
  organizations: 'LiteLLM_OrganizationTable',
  projects: 'LiteLLM_ProjectTable',
  budgets: 'LiteLLM_BudgetTable',
  customers: 'LiteLLM_EndUserTable',
  tags: 'LiteLLM_TagTable',
  access_groups: 'LiteLLM_AccessGroupTable',
  invitations: 'LiteLLM_InvitationLink',
  models: 'LiteLLM_ProxyModelTable',
}

const SORTS: Readonly<Record<string, AuditSort>> = {
  updated_at: 'at',
  changed_by: 'changed_by',
  action: 'action',
  table_name: 'table_name',
  object_id: 'object_id',
}

const entry = z.object({
  id: z.string(),
  updated_at: z.iso.datetime().describe('When it was written'),
  changed_by: z.string(),
  changed_by_api_key: z.string().describe('SHA-256 of the key, or the alias of the master key'),
  action: z.enum(['created', 'updated', 'deleted', 'blocked', 'unblocked', 'rotated']),
  table_name: z.string(),
  object_id: z.string(),
  before_value: z.unknown(),
  updated_values: z.unknown(),
})

/** A day, or a time in ISO 8601 (UTC where it names no zone) with a blank or a T between. */
const moment = () => z.string().refine((text) => !Number.isNaN(timeOf(text)), 'expected YYYY-MM-DD or an ISO 8601 time')

/** /audit: who wrote what through the management API. */
export function auditRoutes(db: Database): Route[] {
  const tag = 'audit'
  return [
    route({
      method: 'GET',
      path: '/audit',
      tag,
      summary: 'Management writes, a page at a time: who, what, before and after',
      access: 'admin',
      input: z.object({
        changed_by: z.string().optional(),
        changed_by_api_key: z.string().optional().describe('The key or its SHA-256'),
        action: entry.shape.action.optional(),
        table_name: z.string().optional(),
        object_id: z.string().optional(),
        start_date: moment().optional(),
        end_date: moment().optional().describe('A day is included whole'),
        sort_by: z.enum(Object.keys(SORTS) as [string, ...string[]]).default('updated_at'),
        sort_order: z.enum(['asc', 'desc']).default('desc'),
        page: z.coerce.number().int().min(1).default(1),
        page_size: z.coerce.number().int().min(1).max(100).default(10),
      }),
      output: z.object({
        audit_logs: z.array(entry),
        total: z.number(),
        page: z.number(),
        page_size: z.number(),
        total_pages: z.number(),
      }),
      async handle({ input }) {
        const filter: AuditFilter = {}
        if (input.changed_by !== undefined) filter.changedBy = input.changed_by
        if (input.changed_by_api_key !== undefined) filter.changedByKey = tokenOf(input.changed_by_api_key)
        if (input.action !== undefined) filter.action = input.action
        if (input.table_name !== undefined) filter.table = tableOf(input.table_name)
        if (input.object_id !== undefined) filter.objectId = tokenOf(input.object_id)
        if (input.start_date !== undefined) filter.from = timeOf(input.start_date)
        if (input.end_date !== undefined) filter.to = timeOf(input.end_date) + (isDay(input.end_date) ? DAY : 1)
        const { rows, total } = await listAudit(db, filter, {
          limit: input.page_size,
          offset: (input.page - 1) * input.page_size,
          sort: SORTS[input.sort_by] ?? 'at',
          descending: input.sort_order === 'desc',
        })
        return {
          audit_logs: rows.map(shown),
          total,
          page: input.page,
          page_size: input.page_size,
          total_pages: Math.ceil(total / input.page_size),
        }
      },
    }),
    route({
      method: 'GET',
      path: '/audit/{id}',
      tag,
      summary: 'One management write',
      access: 'admin',
      input: z.object({ id: z.string() }),
      output: entry,
      async handle({ input }) {
        const row = await findAudit(db, input.id)
        if (row === undefined) throw new GatewayError('not_found', `There is no audit entry ${input.id}.`, { param: 'id' })
        return shown(row)
      },
    }),
  ]
}

function shown({ at, ...row }: AuditRow): Record<string, unknown> {
  return { ...row, table_name: TABLES[row.table_name] ?? row.table_name, updated_at: at }
}

function tableOf(name: string): string {
  return Object.keys(TABLES).find((table) => TABLES[table] === name) ?? name
}

function isDay(text: string): boolean {
  return /^\d{4}-\d{2}-\d{2}$/.test(text)
}

/** Unix milliseconds; NaN for what is no time. */
function timeOf(text: string): number {
  const match = /^(\d{4}-\d{2}-\d{2})(?:[ T](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)(Z|[+-]\d{2}:?\d{2})?)?$/.exec(text.trim())
  return match === null ? Number.NaN : Date.parse(`${match[1]}T${match[2] ?? '00:00'}${match[3] ?? 'Z'}`)
}
