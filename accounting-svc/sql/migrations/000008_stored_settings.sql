-- What the management API set over the configuration file. Secrets inside values are sealed.
create table stored_settings (
  -- litellm_settings, router_settings, general_settings, turnpike_settings
  section    text not null,
  name       text not null,
  value      jsonb not null,
  updated_at timestamptz not null default now(),
  updated_by text,
  primary key (section, name)
);

-- Fallbacks of single model groups: rows of their own, so that two who change two groups do not undo each other.
create table stored_fallbacks (
  -- general, context_window, content_policy
  kind        text not null,
  model_group text not null,
  targets     jsonb not null,
  updated_at  timestamptz not null default now(),
  updated_by  text,
  primary key (kind, model_group)
);

-- Deployments paused through the API; those of a file are not in the database otherwise.
create table blocked_deployments (
  deployment_id text primary key,
  blocked_at    timestamptz not null default now(),
  blocked_by    text
);
