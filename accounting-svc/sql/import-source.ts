import type { Transaction } from '../../shared/db/db.ts'

/**
 * How a column of LiteLLM's crosses. Amounts are the decimal text of a double, counts the text of an integer that may be larger than ours,
 * times Unix milliseconds (LiteLLM keeps UTC in columns without a zone), lists arrays of texts.
 */
type Kind = 'text' | 'texts' | 'json' | 'amount' | 'count' | 'time' | 'boolean'

/** What a column holds once it is read; a column that this database lacks is null. */
interface Held {
  text: string | null
  texts: (string | null)[] | null
  json: unknown
  amount: string | null
  count: string | null
  time: number | null
  boolean: boolean | null
}

const LIMITS = { max_parallel_requests: 'count', tpm_limit: 'count', rpm_limit: 'count' } as const
const STAMPS = { created_at: 'time', created_by: 'text', updated_at: 'time', updated_by: 'text' } as const

/** The tables that are read, and of each the columns that matter, by LiteLLM's names. */
export const SOURCE_TABLES = {
  budgets: {
    table: 'LiteLLM_BudgetTable',
    columns: {
      budget_id: 'text',
      max_budget: 'amount',
      soft_budget: 'amount',
      ...LIMITS,
      model_max_budget: 'json',
      budget_duration: 'text',
      budget_reset_at: 'time',
      allowed_models: 'texts',
      ...STAMPS,
    },
  },
  organizations: {
    table: 'LiteLLM_OrganizationTable',
    columns: {
      organization_id: 'text',
      organization_alias: 'text',
      budget_id: 'text',
      metadata: 'json',
      models: 'texts',
      spend: 'amount',
      object_permission_id: 'text',
      ...STAMPS,
    },
  },
  users: {
    table: 'LiteLLM_UserTable',
    columns: {
      user_id: 'text',
      user_alias: 'text',
      user_email: 'text',
      user_role: 'text',
      sso_user_id: 'text',
      organization_id: 'text',
      models: 'texts',
      metadata: 'json',
      max_budget: 'amount',
      spend: 'amount',
      ...LIMITS,
      budget_duration: 'text',
      budget_reset_at: 'time',
      budget_limits: 'json',
      allowed_cache_controls: 'texts',
      model_max_budget: 'json',
      policies: 'texts',
      object_permission_id: 'text',
      ...STAMPS,
    },
  },
  teams: {
    table: 'LiteLLM_TeamTable',
    columns: {
      team_id: 'text',
      team_alias: 'text',
      organization_id: 'text',
      admins: 'texts',
      members: 'texts',
      members_with_roles: 'json',
      metadata: 'json',
      max_budget: 'amount',
      soft_budget: 'amount',
      spend: 'amount',
      models: 'texts',
      ...LIMITS,
      budget_duration: 'text',
      budget_reset_at: 'time',
      blocked: 'boolean',
      model_max_budget: 'json',
      router_settings: 'json',
      team_member_permissions: 'texts',
      default_team_member_models: 'texts',
      access_group_ids: 'texts',
      policies: 'texts',
      budget_limits: 'json',
      model_id: 'text',
      object_permission_id: 'text',
      created_at: 'time',
      updated_at: 'time',
    },
  },
  modelAliases: { table: 'LiteLLM_ModelTable', columns: { id: 'text', aliases: 'json' } },
  teamMembers: {
    table: 'LiteLLM_TeamMembership',
    columns: { user_id: 'text', team_id: 'text', spend: 'amount', budget_id: 'text' },
  },
  organizationMembers: {
    table: 'LiteLLM_OrganizationMembership',
    columns: {
      user_id: 'text',
      organization_id: 'text',
      user_role: 'text',
      spend: 'amount',
      budget_id: 'text',
      created_at: 'time',
      updated_at: 'time',
    },
  },
  projects: {
    table: 'LiteLLM_ProjectTable',
    columns: {
      project_id: 'text',
      project_alias: 'text',
      description: 'text',
      team_id: 'text',
      budget_id: 'text',
      metadata: 'json',
      models: 'texts',
      spend: 'amount',
      model_rpm_limit: 'json',
      model_tpm_limit: 'json',
      blocked: 'boolean',
      object_permission_id: 'text',
      ...STAMPS,
    },
  },
  customers: {
    table: 'LiteLLM_EndUserTable',
    columns: {
      user_id: 'text',
      alias: 'text',
      spend: 'amount',
      allowed_model_region: 'text',
      default_model: 'text',
      budget_id: 'text',
      blocked: 'boolean',
      object_permission_id: 'text',
    },
  },
  tags: {
    table: 'LiteLLM_TagTable',
    columns: {
      tag_name: 'text',
      description: 'text',
      models: 'texts',
      model_info: 'json',
      spend: 'amount',
      budget_id: 'text',
      created_at: 'time',
      created_by: 'text',
      updated_at: 'time',
    },
  },
  keys: {
    table: 'LiteLLM_VerificationToken',
    columns: {
      token: 'text',
      key_name: 'text',
      key_alias: 'text',
      spend: 'amount',
      expires: 'time',
      models: 'texts',
      aliases: 'json',
      config: 'json',
      permissions: 'json',
      metadata: 'json',
      user_id: 'text',
      team_id: 'text',
      organization_id: 'text',
      project_id: 'text',
      agent_id: 'text',
      budget_id: 'text',
      ...LIMITS,
      blocked: 'boolean',
      max_budget: 'amount',
      budget_duration: 'text',
      budget_reset_at: 'time',
      allowed_cache_controls: 'texts',
      allowed_routes: 'texts',
      model_max_budget: 'json',
      budget_fallbacks: 'json',
      policies: 'texts',
      access_group_ids: 'texts',
      router_settings: 'json',
      budget_limits: 'json',
      soft_budget_cooldown: 'boolean',
      rotation_count: 'count',
      auto_rotate: 'boolean',
      rotation_interval: 'text',
      last_rotation_at: 'time',
      key_rotation_at: 'time',
      last_active: 'time',
      object_permission_id: 'text',
      ...STAMPS,
    },
  },
  deprecatedKeys: {
    table: 'LiteLLM_DeprecatedVerificationToken',
    columns: { token: 'text', active_token_id: 'text', revoke_at: 'time' },
  },
  jwtMappings: {
    table: 'LiteLLM_JWTKeyMapping',
    columns: {
      id: 'text',
      jwt_claim_name: 'text',
      jwt_claim_value: 'text',
      token: 'text',
      description: 'text',
      is_active: 'boolean',
      ...STAMPS,
    },
  },
  objectPermissions: {
    table: 'LiteLLM_ObjectPermissionTable',
    columns: {
      object_permission_id: 'text',
      mcp_servers: 'texts',
      mcp_access_groups: 'texts',
      mcp_tool_permissions: 'json',
      vector_stores: 'texts',
      agents: 'texts',
      agent_access_groups: 'texts',
      models: 'texts',
      blocked_tools: 'texts',
      mcp_toolsets: 'texts',
      search_tools: 'texts',
    },
  },
} as const satisfies Record<string, { table: string; columns: Readonly<Record<string, Kind>> }>

export type SourceName = keyof typeof SOURCE_TABLES
/** A row of one of LiteLLM's tables. */
export type SourceRow<Name extends SourceName> = {
  [Column in keyof (typeof SOURCE_TABLES)[Name]['columns']]: Held[(typeof SOURCE_TABLES)[Name]['columns'][Column] & Kind]
}
export type SourceRows = { [Name in SourceName]: SourceRow<Name>[] }

/** Tables whose rows are named in the report because they are not imported, with the column that names them. */
const NAMED = {
  models: ['LiteLLM_ProxyModelTable', 'model_name'],
  credentials: ['LiteLLM_CredentialsTable', 'credential_name'],
  config: ['LiteLLM_Config', 'param_name'],
} as const
export type NamedSource = keyof typeof NAMED

/** Tables that hold what happened, or Prisma's own: nobody expects them to be copied row by row. */
const HISTORY = /^LiteLLM_(SpendLogs|Daily.*Spend|AuditLog|ErrorLogs|Deleted.*|CronJob|.*Metrics|HealthCheck.*|SpendLog.*)/

/** Rows fetched at once. */
const PAGE = 2_000

/** A LiteLLM database that is being read. */
export interface Source {
  /** Every row of a table, with only the columns this database has; none for a table it lacks. */
  rows<Name extends SourceName>(name: Name): Promise<SourceRow<Name>[]>
  /** Names of what is not imported, in order. */
  names(name: NamedSource): Promise<string[]>
  /** Tables of LiteLLM's that hold rows and are neither read nor history. */
  otherTables(): Promise<string[]>
}

/**
 * Opens a LiteLLM database for reading, in a transaction that sees it as it is at this moment and cannot write. Null when it has no
 * table of keys in `schema`.
 */
export async function openSource(tx: Transaction, schema: string): Promise<Source | null> {
  await tx.query('set transaction isolation level repeatable read, read only')
  // The shortest text that gives a double back: servers before PostgreSQL 12 would cut it.
  await tx.query('set local extra_float_digits = 3')
  const present = await columnsOf(tx, schema)
  if (!present.has(SOURCE_TABLES.keys.table)) return null
  const read = new Set<string>([
    ...Object.values(SOURCE_TABLES).map(({ table }) => table),
    ...Object.values(NAMED).map(([table]) => table),
  ])
  return {
    async rows(name) {
      const { table, columns } = SOURCE_TABLES[name]
      const has = present.get(table)
      if (has === undefined) return []
      const list = Object.entries(columns as Record<string, Kind>)
        .map(([column, kind]) => `${has.has(column) ? READ[kind](quoted(column)) : 'null'} as ${quoted(column)}`)
        .join(', ')
      return fetchAll(tx, `select ${list} from ${quoted(schema)}.${quoted(table)}`)
    },
    async names(name) {
      const [table, column] = NAMED[name]
      if (present.get(table)?.has(column) !== true) return []
      const rows = await tx.query<{ name: string }>(
        `select ${quoted(column)}::text as name from ${quoted(schema)}.${quoted(table)} order by 1`,
      )
      return rows.map((row) => row.name)
    },
    async otherTables() {
      const others = [...present.keys()].filter((table) => !read.has(table) && !HISTORY.test(table)).sort()
      const filled: string[] = []
      for (const table of others) {
        const rows = await tx.query(`select from ${quoted(schema)}.${quoted(table)} limit 1`)
        if (rows.length > 0) filled.push(table)
      }
      return filled
    },
  }
}

const READ: Readonly<Record<Kind, (column: string) => string>> = {
  text: (column) => `${column}::text`,
  texts: (column) => `${column}::text[]`,
  json: (column) => `to_jsonb(${column})`,
  amount: (column) => `${column}::text`,
  count: (column) => `${column}::text`,
  time: (column) => `case when isfinite(${column}) then floor(extract(epoch from ${column}) * 1000)::bigint end`,
  boolean: (column) => `${column}::boolean`,
}

/** Tables of LiteLLM's and their columns. */
async function columnsOf(tx: Transaction, schema: string): Promise<Map<string, Set<string>>> {
  const rows = await tx.query<{ table: string; columns: string[] }>(
    `select table_name::text as table, array_agg(column_name::text) as columns from information_schema.columns
     where table_schema = $1 and starts_with(table_name, 'LiteLLM_') group by 1`,
    [schema],
  )
  return new Map(rows.map(({ table, columns }) => [table, new Set(columns)]))
}

/** Through a cursor: a table of a million customers is not held by the driver as one answer. */
async function fetchAll<Row>(tx: Transaction, select: string): Promise<Row[]> {
  await tx.query(`declare source no scroll cursor for ${select}`)
  const rows: Row[] = []
  for (;;) {
    const page = await tx.query<Row>(`fetch ${PAGE} from source`)
    for (const row of page) rows.push(row)
    if (page.length < PAGE) break
  }
  await tx.query('close source')
  return rows
}

/** A name as an identifier: names of schemas come from whoever runs the import. */
function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
