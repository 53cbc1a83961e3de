-- Everybody who can be given a budget, and one place for what they spent. Money is bigint nano-dollars.

-- What was spent in the present window of a scope (proto/limits.ts names them). Written in the transaction that books the entries;
-- the counters are a projection of it. `revision` rises with every change of `spent_nano`, so that a projection never goes back.
create table spend (
  scope           text primary key,
  spent_nano      bigint not null default 0,
  revision        bigint not null default 0,
  -- Null = the window never closes.
  budget_duration text,
  reset_at        timestamptz,
  updated_at      timestamptz not null default now()
);
create index spend_reset on spend (reset_at) where reset_at is not null;
create index spend_updated on spend (updated_at);

insert into spend (scope, spent_nano, revision, budget_duration, reset_at)
  select 'key|' || token, spend_nano, 1, budget_duration, budget_reset_at from keys
  union all select 'user|' || replace(replace(user_id, '%', '%25'), '|', '%7C'), spend_nano, 1, budget_duration, budget_reset_at from users
  union all select 'team|' || replace(replace(team_id, '%', '%25'), '|', '%7C'), spend_nano, 1, budget_duration, budget_reset_at from teams
  union all select 'organization|' || replace(replace(organization_id, '%', '%25'), '|', '%7C'), spend_nano, 1, budget_duration, budget_reset_at
    from organizations;

-- Limits that several owners share; each has its own spend.
create table budgets (
  budget_id             text primary key,
  max_budget_nano       bigint,
  soft_budget_nano      bigint,
  max_parallel_requests bigint,
  tpm_limit             bigint,
  rpm_limit             bigint,
  model_max_budget      jsonb not null default '{}',
  budget_duration       text,
  allowed_models        text[] not null default '{}',
  created_at            timestamptz not null default now(),
  created_by            text,
  updated_at            timestamptz not null default now(),
  updated_by            text
);

-- An organization's limits are those of its budget row.
insert into budgets (budget_id, max_budget_nano, budget_duration, tpm_limit, rpm_limit)
  select gen_random_uuid()::text || '/' || organization_id, max_budget_nano, budget_duration, tpm_limit, rpm_limit
  from organizations where budget_id is null;
update organizations o set budget_id = b.budget_id from budgets b
  where o.budget_id is null and b.budget_id like '%/' || o.organization_id;
alter table organizations add column object_permission jsonb;

create table organization_members (
  organization_id text not null,
  user_id         text not null,
  user_role       text not null default 'internal_user',
  budget_id       text,
  created_at      timestamptz not null default now(),
  updated_at      timestamptz not null default now(),
  primary key (organization_id, user_id)
);
create index organization_members_user on organization_members (user_id);

create table team_members (
  team_id    text not null,
  user_id    text not null,
  -- admin or user
  role       text not null default 'user',
  -- Null = the team's default for members.
  budget_id  text,
  -- Temporary increase and its end.
  metadata   jsonb not null default '{}',
  allowed_models text[] not null default '{}',
  created_at timestamptz not null default now(),
  primary key (team_id, user_id)
);
create index team_members_user on team_members (user_id);

insert into users (user_id, user_email)
  select distinct on (member ->> 'user_id') member ->> 'user_id', member ->> 'user_email'
  from teams, jsonb_array_elements(members_with_roles) as member where member ->> 'user_id' is not null
  on conflict do nothing;
insert into team_members (team_id, user_id, role)
  select team_id, member ->> 'user_id', coalesce(member ->> 'role', 'user')
  from teams, jsonb_array_elements(members_with_roles) as member where member ->> 'user_id' is not null
  on conflict do nothing;
insert into team_members (team_id, user_id) select unnest(teams), user_id from users on conflict do nothing;

alter table teams
  add column budget_limits jsonb,
  add column team_member_budget_id text,
  add column team_member_permissions text[],
  add column default_team_member_models text[] not null default '{}',
  add column router_settings jsonb,
  add column policies text[] not null default '{}',
  add column access_group_ids text[] not null default '{}',
  add column object_permission jsonb,
  add column default_estimated_output_tokens bigint,
  add column default_estimated_output_tokens_per_model jsonb;
create index teams_organization on teams (organization_id);

alter table users
  add column password text,
  add column model_max_budget jsonb not null default '{}',
  add column budget_limits jsonb,
  add column allowed_cache_controls text[] not null default '{}',
  add column policies text[] not null default '{}',
  add column object_permission jsonb;
create index users_email on users (lower(user_email));

alter table keys add column last_active timestamptz;
create index keys_organization on keys (organization_id) where organization_id is not null;
create index keys_project on keys (project_id) where project_id is not null;
create index keys_budget on keys (budget_id) where budget_id is not null;

create table projects (
  project_id    text primary key,
  project_alias text,
  description   text,
  team_id       text not null,
  budget_id     text,
  metadata      jsonb not null default '{}',
  models        text[] not null default '{}',
  blocked       boolean not null default false,
  object_permission jsonb,
  created_at    timestamptz not null default now(),
  created_by    text,
  updated_at    timestamptz not null default now(),
  updated_by    text
);
create index projects_team on projects (team_id);

-- End users. A row appears with the first call that names one, so that it can be blocked and given a budget.
create table customers (
  user_id              text primary key,
  alias                text,
  blocked              boolean not null default false,
  allowed_model_region text,
  default_model        text,
  budget_id            text,
  object_permission    jsonb,
  created_at           timestamptz not null default now(),
  updated_at           timestamptz not null default now()
);
create index customers_budget on customers (budget_id) where budget_id is not null;

create table tags (
  tag_name    text primary key,
  description text,
  models      text[] not null default '{}',
  model_info  jsonb,
  budget_id   text,
  created_at  timestamptz not null default now(),
  created_by  text,
  updated_at  timestamptz not null default now()
);

-- Bundles of models (and later tools and agents) granted to keys and teams by id.
create table access_groups (
  access_group_id   text primary key,
  access_group_name text not null unique,
  description       text,
  models            text[] not null default '{}',
  mcp_server_ids    text[] not null default '{}',
  agent_ids         text[] not null default '{}',
  created_at        timestamptz not null default now(),
  created_by        text,
  updated_at        timestamptz not null default now(),
  updated_by        text
);

-- Hashes that were rotated away and still work until `revoke_at`, for the key that took their place.
create table deprecated_keys (
  token        text primary key check (token ~ '^[0-9a-f]{64}$'),
  active_token text not null,
  revoke_at    timestamptz not null
);
create index deprecated_keys_active on deprecated_keys (active_token);

create table jwt_key_mappings (
  id              text primary key,
  jwt_claim_name  text not null,
  jwt_claim_value text not null,
  token           text not null,
  description     text,
  is_active       boolean not null default true,
  created_at      timestamptz not null default now(),
  created_by      text,
  updated_at      timestamptz not null default now(),
  updated_by      text,
  unique (jwt_claim_name, jwt_claim_value)
);

create table invitations (
  id          text primary key,
  user_id     text not null,
  is_accepted boolean not null default false,
  accepted_at timestamptz,
  expires_at  timestamptz not null,
  created_at  timestamptz not null default now(),
  created_by  text,
  updated_at  timestamptz not null default now(),
  updated_by  text
);

-- Rows that were deleted, as they were.
create table archive (
  id         bigint generated always as identity primary key,
  table_name text not null,
  object_id  text not null,
  row        jsonb not null,
  deleted_at timestamptz not null default now(),
  deleted_by text
);
create index archive_object on archive (table_name, object_id);

-- Every management write. Never holds a key or another secret.
create table audit_log (
  id                 text primary key,
  at                 timestamptz not null default now(),
  changed_by         text not null,
  -- Hash, or the alias of the master key.
  changed_by_api_key text not null,
  -- created, updated, deleted, blocked, unblocked, rotated
  action             text not null,
  table_name         text not null,
  object_id          text not null,
  before_value       jsonb,
  updated_values     jsonb
);
create index audit_log_time on audit_log (at desc);
create index audit_log_object on audit_log (table_name, object_id, at desc);
create trigger append_only before update or delete or truncate on audit_log
  for each statement execute function refuse_ledger_change();

-- Corrections and opening balances are entries like any other.
alter table ledger drop constraint ledger_entry_check;
alter table ledger add constraint ledger_entry_check check (entry ~ '^(settled|unsettled|reversal|opening|adjustment:.+)$');
alter table ledger add column project_id text, add column extra_scopes text[];

-- Daily sums by tag and by customer: a call has any number of tags, so they cannot be in the key of daily_spend.
create table daily_label_spend (
  day                date not null,
  -- tag or customer
  kind               text not null,
  label              text not null,
  key_hash           text not null,
  team_id            text not null,
  model_group        text not null,
  model              text not null,
  provider           text not null,
  endpoint           text not null,
  cost_nano          bigint not null,
  input_tokens       bigint not null,
  output_tokens      bigint not null,
  cache_read_tokens  bigint not null,
  cache_write_tokens bigint not null,
  calls              bigint not null,
  successful_calls   bigint not null,
  failed_calls       bigint not null,
  primary key (kind, day, label, key_hash, team_id, model_group, model, provider, endpoint)
);
create index daily_label_spend_label on daily_label_spend (kind, label, day);
create index daily_spend_organization on daily_spend (organization_id, day) where organization_id <> '';

-- Prices set through the API; the newest one that began before a call holds for it.
create table price_overrides (
  id             text primary key,
  provider       text not null,
  model          text not null,
  -- Nano-dollars per million tokens and per unit, as proto/deployment.ts has them; `rateVersion` inside.
  prices         jsonb not null,
  effective_from timestamptz not null,
  created_at     timestamptz not null default now(),
  created_by     text
);
create index price_overrides_model on price_overrides (provider, model, effective_from desc);

-- The name of an owner's scope, as proto/limits.ts makes it.
create function scope_of(kind text, id text) returns text language sql immutable parallel safe
  return kind || '|' || replace(replace(id, '%', '%25'), '|', '%7C');
