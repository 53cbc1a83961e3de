-- Who may call. Money is bigint nano-dollars. Money inside jsonb (model_max_budget, budget_limits) is kept as it was sent, in
-- dollars, because it is echoed to the client and converted where it is enforced.

create table organizations (
  organization_id    text primary key,
  organization_alias text,
  budget_id          text,
  spend_nano         bigint not null default 0,
  max_budget_nano    bigint,
  budget_duration    text,
  budget_reset_at    timestamptz,
  models             text[] not null default '{}',
  metadata           jsonb not null default '{}',
  tpm_limit          bigint,
  rpm_limit          bigint,
  created_at         timestamptz not null default now(),
  created_by         text,
  updated_at         timestamptz not null default now(),
  updated_by         text
);

create table teams (
  team_id               text primary key,
  team_alias            text,
  organization_id       text,
  members_with_roles    jsonb not null default '[]',
  metadata              jsonb not null default '{}',
  spend_nano            bigint not null default 0,
  max_budget_nano       bigint,
  soft_budget_nano      bigint,
  budget_duration       text,
  budget_reset_at       timestamptz,
  models                text[] not null default '{}',
  model_aliases         jsonb not null default '{}',
  model_max_budget      jsonb not null default '{}',
  max_parallel_requests bigint,
  tpm_limit             bigint,
  rpm_limit             bigint,
  blocked               boolean not null default false,
  created_at            timestamptz not null default now(),
  created_by            text,
  updated_at            timestamptz not null default now(),
  updated_by            text
);

create table users (
  user_id               text primary key,
  user_alias            text,
  user_email            text,
  user_role             text,
  sso_user_id           text unique,
  organization_id       text,
  teams                 text[] not null default '{}',
  models                text[] not null default '{}',
  metadata              jsonb not null default '{}',
  spend_nano            bigint not null default 0,
  max_budget_nano       bigint,
  budget_duration       text,
  budget_reset_at       timestamptz,
  max_parallel_requests bigint,
  tpm_limit             bigint,
  rpm_limit             bigint,
  created_at            timestamptz not null default now(),
  created_by            text,
  updated_at            timestamptz not null default now(),
  updated_by            text
);

create table keys (
  -- SHA-256 of the key in hex; the key itself is nowhere.
  token                 text primary key check (token ~ '^[0-9a-f]{64}$'),
  key_name              text not null,
  key_alias             text,
  spend_nano            bigint not null default 0,
  max_budget_nano       bigint,
  soft_budget_nano      bigint,
  expires               timestamptz,
  models                text[] not null default '{}',
  aliases               jsonb not null default '{}',
  config                jsonb not null default '{}',
  permissions           jsonb not null default '{}',
  metadata              jsonb not null default '{}',
  user_id               text,
  team_id               text,
  organization_id       text,
  project_id            text,
  agent_id              text,
  budget_id             text,
  budget_duration       text,
  budget_reset_at       timestamptz,
  budget_limits         jsonb,
  model_spend           jsonb not null default '{}',
  model_max_budget      jsonb not null default '{}',
  budget_fallbacks      jsonb not null default '{}',
  max_parallel_requests bigint,
  tpm_limit             bigint,
  rpm_limit             bigint,
  blocked               boolean,
  allowed_cache_controls text[] not null default '{}',
  allowed_routes        text[] not null default '{}',
  policies              text[] not null default '{}',
  access_group_ids      text[] not null default '{}',
  router_settings       jsonb,
  object_permission     jsonb,
  throttle_on_budget_exceeded boolean not null default false,
  default_estimated_output_tokens bigint,
  default_estimated_output_tokens_per_model jsonb,
  soft_budget_cooldown  boolean not null default false,
  auto_rotate           boolean not null default false,
  rotation_interval     text,
  rotation_count        int not null default 0,
  last_rotation_at      timestamptz,
  key_rotation_at       timestamptz,
  created_at            timestamptz not null default now(),
  created_by            text,
  updated_at            timestamptz not null default now(),
  updated_by            text
);

create unique index keys_alias on keys (key_alias) where key_alias is not null;
create index keys_user on keys (user_id);
create index keys_team on keys (team_id);
create index keys_created on keys (created_at desc, token);
