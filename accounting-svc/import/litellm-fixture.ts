import type { Database, Transaction } from '../../shared/db/db.ts'

/**
 * LiteLLM's tables as its public schema creates them, for tests: `name type`, with `+` behind columns and tables that older databases
 * lack. Only what an import can meet.
 */
const TABLES: Readonly<Record<string, string>> = {
  LiteLLM_BudgetTable: `budget_id text primary key, max_budget float8, soft_budget float8, max_parallel_requests int4, tpm_limit int8,
    rpm_limit int8, model_max_budget jsonb, budget_duration text, budget_reset_at timestamp(3), allowed_models+ text[] default '{}',
    created_at timestamp(3) not null default now(), created_by text not null default 'a',
    updated_at timestamp(3) not null default now(), updated_by text not null default 'a'`,
  LiteLLM_OrganizationTable: `organization_id text primary key, organization_alias text not null, budget_id text not null,
    metadata jsonb not null default '{}', models text[] default '{}', spend float8 not null default 0,
    model_spend jsonb not null default '{}', object_permission_id text, created_at timestamp(3) not null default now(),
    created_by text not null default 'a', updated_at timestamp(3) not null default now(), updated_by text not null default 'a'`,
  LiteLLM_ModelTable: `id int4 primary key, aliases jsonb, created_at timestamp(3) not null default now(), created_by text,
    updated_at timestamp(3) not null default now(), updated_by text`,
  LiteLLM_TeamTable: `team_id text primary key, team_alias text, organization_id text, object_permission_id text,
    admins text[] default '{}', members text[] default '{}', members_with_roles jsonb not null default '{}',
    metadata jsonb not null default '{}', max_budget float8, soft_budget float8, spend float8 not null default 0,
    models text[] default '{}', max_parallel_requests int4, tpm_limit int8, rpm_limit int8, budget_duration text,
    budget_reset_at timestamp(3), blocked boolean not null default false, created_at timestamp(3) not null default now(),
    updated_at timestamp(3) not null default now(), model_spend jsonb not null default '{}',
    model_max_budget jsonb not null default '{}', router_settings+ jsonb, team_member_permissions+ text[] default '{}',
    access_group_ids+ text[] default '{}', policies+ text[] default '{}', budget_limits+ jsonb, model_id int4`,
  'LiteLLM_ProjectTable+': `project_id text primary key, project_alias text, description text, team_id text, budget_id text,
    metadata jsonb not null default '{}', models text[] default '{}', spend float8 not null default 0,
    model_spend jsonb not null default '{}', model_rpm_limit jsonb not null default '{}', model_tpm_limit jsonb not null default '{}',
    blocked boolean not null default false, created_at timestamp(3) not null default now(), created_by text,
    updated_at timestamp(3) not null default now(), updated_by text`,
  LiteLLM_UserTable: `user_id text primary key, user_alias text, user_email text, user_role text, password text,
    sso_user_id text unique, organization_id text, object_permission_id text, team_id text, teams text[] default '{}',
    models text[] default '{}', metadata jsonb not null default '{}', max_budget float8, spend float8 not null default 0,
    max_parallel_requests int4, tpm_limit int8, rpm_limit int8, budget_duration text, budget_reset_at timestamp(3),
    allowed_cache_controls text[] default '{}', model_spend jsonb not null default '{}', model_max_budget jsonb not null default '{}',
    created_at timestamp(3) default now(), updated_at timestamp(3) default now()`,
  LiteLLM_TeamMembership: `user_id text not null, team_id text not null, spend float8 not null default 0,
    total_spend+ float8 not null default 0, budget_id text, primary key (user_id, team_id)`,
  LiteLLM_OrganizationMembership: `user_id text not null, organization_id text not null, user_role text, spend float8 default 0,
    budget_id text, created_at timestamp(3) default now(), updated_at timestamp(3) default now(), primary key (user_id, organization_id)`,
  LiteLLM_EndUserTable: `user_id text primary key, alias text, spend float8 not null default 0, allowed_model_region text,
    default_model text, object_permission_id text, budget_id text, blocked boolean not null default false`,
  'LiteLLM_TagTable+': `tag_name text primary key, description text, models text[] default '{}', model_info jsonb,
    spend float8 not null default 0, budget_id text, created_at timestamp(3) not null default now(), created_by text,
    updated_at timestamp(3) not null default now()`,
  LiteLLM_VerificationToken: `token text primary key, key_name text, key_alias text, soft_budget_cooldown boolean not null default false,
    spend float8 not null default 0, expires timestamp(3), models text[] default '{}', aliases jsonb not null default '{}',
    config jsonb not null default '{}', router_settings+ jsonb, user_id text, team_id text, agent_id+ text, project_id+ text,
    permissions jsonb not null default '{}', max_parallel_requests int4, metadata jsonb not null default '{}', blocked boolean,
    tpm_limit int8, rpm_limit int8, max_budget float8, budget_duration text, budget_reset_at timestamp(3),
    allowed_cache_controls text[] default '{}', allowed_routes text[] default '{}', policies+ text[] default '{}',
    access_group_ids+ text[] default '{}', model_spend jsonb not null default '{}', model_max_budget jsonb not null default '{}',
    budget_limits+ jsonb, budget_id text, organization_id text, object_permission_id text, created_at timestamp(3) default now(),
    created_by text, updated_at timestamp(3) default now(), updated_by text, last_active+ timestamp(3),
    rotation_count+ int4 default 0, auto_rotate+ boolean default false, rotation_interval+ text, last_rotation_at+ timestamp(3),
    key_rotation_at+ timestamp(3)`,
  'LiteLLM_DeprecatedVerificationToken+': `id text primary key, token text not null unique, active_token_id text not null,
    revoke_at timestamp(3) not null, created_at timestamp(3) not null default now()`,
  'LiteLLM_JWTKeyMapping+': `id text primary key, jwt_claim_name text not null, jwt_claim_value text not null, token text not null,
    description text, is_active boolean not null default true, created_at timestamp(3) not null default now(), created_by text,
    updated_at timestamp(3) not null default now(), updated_by text, unique (jwt_claim_name, jwt_claim_value)`,
  LiteLLM_ObjectPermissionTable: `object_permission_id text primary key, mcp_servers text[] default '{}',
    mcp_access_groups text[] default '{}', mcp_tool_permissions jsonb, vector_stores text[] default '{}', agents text[] default '{}',
    agent_access_groups text[] default '{}', models text[] default '{}', blocked_tools+ text[] default '{}',
    mcp_toolsets+ text[] default '{}', search_tools+ text[] default '{}'`,
  LiteLLM_ProxyModelTable: `model_id text primary key, model_name text not null, litellm_params jsonb not null, model_info jsonb,
    blocked+ boolean default false`,
  LiteLLM_CredentialsTable: `credential_id text primary key, credential_name text not null unique, credential_values jsonb not null,
    credential_info jsonb`,
  LiteLLM_Config: 'param_name text primary key, param_value jsonb',
  LiteLLM_MCPServerTable: 'server_id text primary key, server_name text, url text',
  LiteLLM_SpendLogs: `request_id text primary key, call_type text not null, api_key text not null default '',
    spend float8 not null default 0, "startTime" timestamp(3) not null, "endTime" timestamp(3) not null`,
}

/** `old`: without the columns and tables that came later. */
export type Generation = 'old' | 'new'

/** Makes LiteLLM's tables. */
export async function createLitellm(db: Database, generation: Generation, schema = 'public'): Promise<void> {
  await db.query(`create schema if not exists "${schema}"`)
  for (const [name, columns] of Object.entries(TABLES)) {
    if (generation === 'old' && name.endsWith('+')) continue
    const kept = splitColumns(columns).filter((column) => generation === 'new' || !/^\S+\+ /.test(column))
    await db.query(
      `create table "${schema}"."${name.replace('+', '')}" (${kept.map((column) => column.replace('+ ', ' ')).join(', ')})`,
    )
  }
}

/** Columns of a table; a comma inside brackets is none of ours. */
function splitColumns(text: string): string[] {
  return text.split(/,(?![^(]*\))/).map((column) => column.trim())
}

/** Adds a row: of what is not said the database's defaults hold. Objects go into JSON columns, lists into array columns. */
export async function addLitellm(db: Transaction, table: string, row: Record<string, unknown>, schema = 'public'): Promise<void> {
  const names = Object.keys(row)
  const values = Object.values(row).map((value) => {
    const plain = value === null || typeof value !== 'object' || value instanceof Date
    return plain || (Array.isArray(value) && value.every((entry) => typeof entry === 'string')) ? value : JSON.stringify(value)
  })
  await db.query(
    `insert into "${schema}"."LiteLLM_${table}" (${names.map((name) => `"${name}"`).join(', ')})
     values (${names.map((_, index) => `$${index + 1}`).join(', ')})`,
    values,
  )
}
