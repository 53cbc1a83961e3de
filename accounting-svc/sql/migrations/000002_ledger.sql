-- What was used and what it cost. Entries are only ever added.
--
-- One entry per billed attempt of a call; a call without any has one entry of cost 0, so that every call is here. `entry` says
-- what kind it is:
--   settled    the report of the router that served the call
--   unsettled  booked by somebody else from what was known when that router died
--   reversal   the negative of an unsettled entry whose call was reported after all
--
-- A unique key of a partitioned table must hold the partition column. That costs nothing here: started_at is part of the usage
-- event, so the same event delivered twice carries the same value.

create table ledger (
  call_id           text not null,
  take              smallint not null,
  attempt           smallint not null,
  entry             text not null check (entry in ('settled', 'unsettled', 'reversal')),
  -- Of the call; UTC months are the partitions.
  started_at        timestamptz not null,
  -- 1 on the entry that stands for the whole call in counts, 0 on its further billed attempts, -1 on a reversal of the former.
  calls             smallint not null,

  key_hash          text not null,
  key_alias         text,
  user_id           text,
  team_id           text,
  organization_id   text,
  end_user          text,
  tags              jsonb not null default '[]',

  endpoint          text not null,
  requested_model   text not null,
  model_group       text not null,
  model             text,
  provider          text,
  deployment_id     text,
  api_base          text,
  reported_model    text,
  service_tier      text,

  outcome           text not null,
  status            smallint not null,
  error_code        text,
  error_message     text,
  attempt_started_at timestamptz not null,
  first_token_at    timestamptz,
  ended_at          timestamptz not null,

  input_tokens      bigint not null,
  output_tokens     bigint not null,
  cache_read_tokens bigint not null,
  cache_write_tokens bigint not null,
  reasoning_tokens  bigint not null,
  -- What is left of the usage: hour-long cache writes, audio, tool calls.
  other_usage       jsonb,
  estimated         boolean not null,
  cost_nano         bigint not null,
  -- Null when no price was known: cost 0 then means "unknown".
  rate_version      text,

  stream            boolean not null,
  cache_hit         boolean not null,
  session_id        text,
  client_ip         text,
  router_id         text not null,
  metadata          jsonb not null default '{}',
  booked_at         timestamptz not null default now(),

  unique (call_id, take, attempt, entry, started_at)
) partition by range (started_at);

-- Takes what no monthly partition covers, so that a wrong clock or a missing partition never refuses an entry.
create table ledger_default partition of ledger default;

-- Only the time: entries of one millisecond are few enough to be sorted when they are read.
create index ledger_time on ledger (started_at);
create index ledger_key on ledger (key_hash, started_at);
create index ledger_user on ledger (user_id, started_at) where user_id is not null;
create index ledger_team on ledger (team_id, started_at) where team_id is not null;
create index ledger_end_user on ledger (end_user, started_at) where end_user is not null;
-- Almost always empty, so asking it for every batch costs next to nothing.
create index ledger_unsettled on ledger (call_id) where entry = 'unsettled';

create function refuse_ledger_change() returns trigger language plpgsql as $$
begin
  raise exception 'the ledger is append-only: book a correcting entry instead';
end $$;

create trigger append_only before update or delete or truncate on ledger
  for each statement execute function refuse_ledger_change();

-- Daily sums of the ledger, kept in the transaction that adds the entries. Text that may be missing is '' because these columns
-- are the key.
create table daily_spend (
  day                date not null,
  key_hash           text not null,
  user_id            text not null,
  team_id            text not null,
  organization_id    text not null,
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
  primary key (day, key_hash, user_id, team_id, organization_id, model_group, model, provider, endpoint)
);

create index daily_spend_user on daily_spend (user_id, day) where user_id <> '';
create index daily_spend_team on daily_spend (team_id, day) where team_id <> '';

-- Usage events that cannot be booked: kept as they came, for a person to look at and book again.
create table ledger_rejected (
  digest      text primary key,
  event       text not null,
  reason      text not null,
  rejected_at timestamptz not null default now()
);
