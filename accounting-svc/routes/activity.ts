import type { Identity } from '../../proto/identity.ts'
import type { Database } from '../../shared/db/db.ts'
import { GatewayError } from '../../shared/errors.ts'
import { dollars } from '../dollars.ts'
import { readsAll } from '../identity/access.ts'
import { createActivity, type Names, showTotals } from '../ledger/activity.ts'
import {
  type ActivityOwner,
  type ActivityQuery,
  type ActivityRow,
  activityPage,
  countActivity,
  sumActivity,
} from '../sql/activity.ts'
import { membershipsOf } from '../sql/memberships.ts'
import { narrowedBy, type ReportFilter } from '../sql/report-filter.ts'
import { entityNames, keyNames } from '../sql/report-names.ts'
import { type Columns, csvStream, wantsCsv } from './csv.ts'
import { dates, daysOf, format, listOf, reachOf, zoneOf } from './report-input.ts'
import { type Route, type RouteCall, route, z } from './route.ts'

/** Rows counted for `total_pages`; beyond, only `has_more` is exact. */
const MOST_COUNTED = 100_000
/** Rows that an aggregated report still breaks down completely: some 3 MB of JSON. Beyond, by its TOP keys and owners. */
const MOST_WHOLE = 2_000
const TOP = 10

/** How each kind of owner is asked for, and what its names are called. */
const OWNERS: Readonly<Record<ActivityOwner, { ids: string; excluded: string; nameField: string }>> = {
  user: { ids: 'user_id', excluded: 'exclude_user_ids', nameField: 'user_alias' },
  team: { ids: 'team_ids', excluded: 'exclude_team_ids', nameField: 'team_alias' },
  organization: { ids: 'organization_ids', excluded: 'exclude_organization_ids', nameField: 'organization_alias' },
  tag: { ids: 'tags', excluded: 'exclude_tags', nameField: 'description' },
  customer: { ids: 'end_user_ids', excluded: 'exclude_end_user_ids', nameField: 'alias' },
}

const metrics = z.object({
  spend: z.number().describe('Dollars'),
  prompt_tokens: z.number(),
  completion_tokens: z.number(),
  cache_read_input_tokens: z.number(),
  cache_creation_input_tokens: z.number(),
  total_tokens: z.number(),
  successful_requests: z.number(),
  failed_requests: z.number(),
  api_requests: z.number(),
})
const group = z.record(z.string(), z.looseObject({ metrics, metadata: z.record(z.string(), z.unknown()) }))
const answer = z.object({
  results: z.array(
    z.object({
      date: z.string(),
      metrics,
      breakdown: z.object({
        mcp_servers: group,
        models: group,
        model_groups: group,
        providers: group,
        endpoints: group,
        api_keys: group,
        entities: group,
      }),
    }),
  ),
  metadata: z.looseObject({ total_spend: z.number(), page: z.number(), total_pages: z.number(), has_more: z.boolean() }),
})

const common = {
  ...dates,
  ...format,
  model: z.string().optional(),
  api_key: z.string().optional().describe('SHA-256 of a key, or several separated by commas'),
  timezone: z
    .string()
    .optional()
    .describe('Zone of the days: minutes behind UTC, as getTimezoneOffset() gives them, or an IANA name'),
}
const paging = {
  page: z.coerce.number().int().min(1).default(1),
  page_size: z.coerce.number().int().min(1).max(1000).default(50),
}

/** /<owner>/daily/activity: use per day, broken down by model, provider, key and owner. */
export function activityRoutes(db: Database): Route[] {
  return (Object.keys(OWNERS) as ActivityOwner[]).flatMap((owner) => {
    const { ids, excluded } = OWNERS[owner]
    const owners = { [ids]: z.string().optional().describe('Only these, separated by commas'), [excluded]: z.string().optional() }
    return [
      route({
        method: 'GET',
        path: `/${owner}/daily/activity`,
        tag: 'spend',
        summary: `Use per day by ${owner}, a page at a time`,
        access: 'key',
        input: z.object({ ...common, ...owners, ...paging }),
        output: answer,
        handle: async (call) => {
          const query = await queryOf(db, owner, call)
          return wantsCsv(call)
            ? csvStream(allRows(db, query, call.signal), COLUMNS, `${owner}-activity`)
            : page(db, query, call.input)
        },
      }),
      route({
        method: 'GET',
        path: `/${owner}/daily/activity/aggregated`,
        tag: 'spend',
        summary: `Use per day by ${owner}, all at once`,
        access: 'key',
        input: z.object({ ...common, ...owners }),
        output: answer,
        handle: async (call) => {
          const query = await queryOf(db, owner, call)
          return wantsCsv(call) ? csvStream(allRows(db, query, call.signal), COLUMNS, `${owner}-activity`) : aggregated(db, query)
        },
      }),
    ]
  })
}

type Input = { [Field in keyof typeof common]?: string | undefined } & Record<string, unknown>

async function queryOf(
  db: Database,
  owner: ActivityOwner,
  call: Pick<RouteCall<unknown>, 'identity'> & { input: unknown },
): Promise<ActivityQuery> {
  const input = call.input as Input
  const days = daysOf(input)
  const { ids, excluded } = OWNERS[owner]
  const filter: ReportFilter = {}
  const models = listOf(input.model)
  if (models !== undefined) filter.model = models
  const keys = listOf(input.api_key)
  if (keys !== undefined) filter.keyHash = keys
  const query: ActivityQuery = { owner, filter, zone: zoneOf(input.timezone), firstDay: days.first, lastDay: days.last }
  const asked = listOf(input[ids] as string | undefined)
  if (asked !== undefined) query.entities = asked
  // Calls of nobody count in the activity of users; teams and organizations are those that there are.
  else if (owner !== 'user') query.entities = []
  const without = listOf(input[excluded] as string | undefined)
  if (without !== undefined) query.withoutEntities = without
  if (!readsAll(call.identity)) await narrow(db, owner, query, call.identity)
  return query
}

/** Holds a query to what `identity` may see. Throws `route_denied` when it names an owner that is none of its business. */
async function narrow(db: Database, owner: ActivityOwner, query: ActivityQuery, identity: Identity): Promise<void> {
  const reach = await reachOf(db, identity)
  if (reach === 'all') return
  const asked = query.entities ?? []
  if (owner === 'user') {
    const other = asked.find((id) => id !== identity.userId)
    if (other !== undefined) throw denied('user', other)
    query.filter.reach = { ...reach, teamIds: [], organizationIds: [] }
    return
  }
  query.filter.reach = reach
  if (owner === 'tag' || owner === 'customer') return
  const { teams, organizations, permissions } = await membershipsOf(db, identity.userId)
  const mine = new Set(owner === 'team' ? teams.keys() : organizations.keys())
  const inKey = owner === 'team' ? identity.teamId : identity.organizationId
  if (inKey !== null) mine.add(inKey)
  const other = asked.find((id) => !mine.has(id))
  if (other !== undefined) throw denied(owner, other)
  if (owner !== 'team') return
  // A team may let all its members see its activity.
  const open = [...permissions].filter(([, routes]) => routes.includes('/team/daily/activity')).map(([id]) => id)
  query.filter.reach = { ...reach, teamIds: [...reach.teamIds, ...open] }
}

function denied(owner: string, id: string): GatewayError {
  return new GatewayError('route_denied', `You may not see the activity of ${owner} ${id.slice(0, 80)}.`, { param: owner })
}

async function page(db: Database, query: ActivityQuery, input: { page: number; page_size: number }): Promise<unknown> {
  const counting = query.zone === 'UTC' ? countActivity(db, query, MOST_COUNTED) : null
  const found = await activityPage(db, query, input.page_size + 1, (input.page - 1) * input.page_size)
  const count = found[0]?.total ?? (await (counting ?? countActivity(db, query, MOST_COUNTED)))
  const rows = found.slice(0, input.page_size)
  const activity = createActivity()
  for (const row of rows) activity.add(row)
  return {
    results: activity.results(await namesOf(db, query.owner, rows)),
    metadata: showTotals(activity.total, {
      page: input.page,
      totalPages: Math.ceil(count / input.page_size),
      hasMore: found.length > input.page_size,
    }),
  }
}

/**
 * Everything at once. A small report is complete. In a large one all sums are, its keys and owners are the TOP ones of the whole span, or
 * the answer would grow with days × models × keys, and one by tag or customer has no keys.
 */
async function aggregated(db: Database, query: ActivityQuery): Promise<unknown> {
  const activity = createActivity()
  const named: ActivityRow[] = []
  const rows = await activityPage(db, query, MOST_WHOLE + 1, 0)
  if (rows.length <= MOST_WHOLE) {
    for (const row of rows) activity.add(row)
    named.push(...rows)
  } else {
    const [sums, keys, entities] = await Promise.all([
      sumActivity(db, query, ['day', 'model_group', 'model', 'provider', 'endpoint']),
      sumActivity(db, keysOf(query), ['key_hash'], { orderBy: 'cost_nano', limit: TOP }),
      sumActivity(db, query, ['entity'], { orderBy: 'cost_nano', limit: TOP }),
    ])
    const ofKeys = { ...query, filter: { ...query.filter, keyHash: keys.map((row) => row.key_hash) } }
    const ofEntities = { ...query, entities: entities.map((row) => row.entity) }
    // A key has a row for each of its tags and customers: too many to add up here.
    const few = query.owner !== 'tag' && query.owner !== 'customer'
    const [byKey, byEntity] = await Promise.all([
      few ? sumActivity(db, ofKeys, ['day', 'key_hash', 'model_group', 'model', 'provider', 'endpoint']) : [],
      sumActivity(db, ofEntities, ['day', 'entity']),
    ])
    for (const row of sums) activity.add(row, { sums: true, keys: false, entities: false })
    for (const row of byKey) activity.add(row, { sums: false, keys: true, entities: false })
    for (const row of byEntity) activity.add(row, { sums: false, keys: false, entities: true })
    named.push(...byKey, ...byEntity)
  }
  return {
    results: activity.results(await namesOf(db, query.owner, named)),
    metadata: showTotals(activity.total, { page: 1, totalPages: 1, hasMore: false }),
  }
}

/** Where nothing narrows a report, its keys are those that cost the whole gateway most: these sums are kept. */
function keysOf(query: ActivityQuery): ActivityQuery {
  const { entities, ...whole } = query
  const narrowed = narrowedBy(query.filter).length > 0 || (entities ?? []).length > 0 || (query.withoutEntities ?? []).length > 0
  return narrowed ? query : { ...whole, owner: 'user' }
}

async function namesOf(db: Database, owner: ActivityOwner, rows: readonly ActivityRow[]): Promise<Names> {
  const hashes = [...new Set(rows.map((row) => row.key_hash))]
  const ids = [...new Set(rows.map((row) => row.entity))]
  const [keys, entities] = await Promise.all([keyNames(db, hashes), entityNames(db, owner, ids)])
  return { keys, entities, entityField: OWNERS[owner].nameField }
}

/** Rows read at once while a file streams. */
const BATCH = 20_000

/** Everything, a day at a time: a page deep in a year would count through all rows before it. */
async function* allRows(db: Database, query: ActivityQuery, signal: AbortSignal): AsyncGenerator<ActivityRow> {
  for (const { day } of await sumActivity(db, query, ['day'])) {
    for (let offset = 0; !signal.aborted; offset += BATCH) {
      const rows = await activityPage(db, { ...query, firstDay: day, lastDay: day }, BATCH, offset)
      yield* rows
      if (rows.length < BATCH) break
    }
  }
}

const COLUMNS: Columns<ActivityRow> = {
  date: (row) => row.day,
  entity: (row) => row.entity,
  api_key: (row) => row.key_hash,
  model_group: (row) => row.model_group,
  model: (row) => row.model,
  provider: (row) => row.provider,
  endpoint: (row) => row.endpoint,
  spend: (row) => dollars(BigInt(row.cost_nano)),
  prompt_tokens: (row) => row.input_tokens,
  completion_tokens: (row) => row.output_tokens,
  cache_read_input_tokens: (row) => row.cache_read_tokens,
  cache_creation_input_tokens: (row) => row.cache_write_tokens,
  api_requests: (row) => row.calls,
  successful_requests: (row) => row.successful_calls,
  failed_requests: (row) => row.failed_calls,
}
