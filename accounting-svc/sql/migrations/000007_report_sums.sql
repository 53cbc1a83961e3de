-- What reports need to answer within a moment on tens of millions of calls. Measured in loadtest/results/reports.jsonl.

-- The calls of a session. Cut, because clients choose the name and PostgreSQL refuses an index entry above 2,704 bytes.
create index ledger_session on ledger (left(session_id, 128)) where session_id is not null;
-- Failures and cache hits are few, so these hardly cost anything.
create index ledger_failure on ledger (status, started_at) include (model_group, api_base, calls) where outcome <> 'success';
create index ledger_cache_hit on ledger (key_hash, started_at) where cache_hit;
-- The most expensive calls: above five cents.
create index ledger_dear on ledger (cost_nano, started_at) where cost_nano >= 50000000;
-- A model that few use, or none, would otherwise be looked for through everything.
create index ledger_model on ledger (model, started_at);
create index ledger_model_group on ledger (model_group, started_at);
-- Tags and customers of a key.
create index daily_label_spend_key on daily_label_spend (key_hash, kind, day);

-- Daily sums condensed, for reports over everybody: by model without owners, and by owner without models. They are made of a day when it
-- is two days past (jobs/condense-days.ts), so booking does not wait for them. A day in report_days and not in report_stale is read
-- from here, any other from daily_spend and daily_label_spend.
create table daily_model_spend (
  -- Whose calls: user = all, team and organization = those that have one, tag, customer.
  kind               text not null,
  day                date not null,
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
  primary key (kind, day, model_group, model, provider, endpoint)
);
create table daily_owner_spend (
  -- key, user, team, organization, tag, customer
  kind               text not null,
  day                date not null,
  owner              text not null,
  cost_nano          bigint not null,
  input_tokens       bigint not null,
  output_tokens      bigint not null,
  cache_read_tokens  bigint not null,
  cache_write_tokens bigint not null,
  calls              bigint not null,
  successful_calls   bigint not null,
  failed_calls       bigint not null,
  primary key (kind, day, owner)
) partition by list (kind);
-- Customers and keys are many, the others few: apart, the days of each lie together.
create table daily_owner_spend_key partition of daily_owner_spend for values in ('key');
create table daily_owner_spend_customer partition of daily_owner_spend for values in ('customer');
create table daily_owner_spend_user partition of daily_owner_spend for values in ('user');
create table daily_owner_spend_other partition of daily_owner_spend default;

-- Days that have been condensed.
create table report_days (
  day          date primary key,
  condensed_at timestamptz not null default now()
);
-- Marks of bookings on days past: what was condensed of them no longer holds. Only ever added to by bookings, so that none waits for
-- another; taken away by whoever condenses the day, before it reads the sums: a booking that commits later leaves its mark.
create table report_stale (
  day date not null
);
create index report_stale_day on report_stale (day);

create function mark_report_days() returns trigger language plpgsql as $$
begin
  insert into report_stale (day) select distinct day from changed where day < (now() at time zone 'UTC')::date - 1;
  return null;
end $$;
create trigger mark_inserted after insert on daily_spend referencing new table as changed
  for each statement execute function mark_report_days();
create trigger mark_updated after update on daily_spend referencing new table as changed
  for each statement execute function mark_report_days();
create trigger mark_deleted after delete on daily_spend referencing old table as changed
  for each statement execute function mark_report_days();
create trigger mark_inserted after insert on daily_label_spend referencing new table as changed
  for each statement execute function mark_report_days();
create trigger mark_updated after update on daily_label_spend referencing new table as changed
  for each statement execute function mark_report_days();
create trigger mark_deleted after delete on daily_label_spend referencing old table as changed
  for each statement execute function mark_report_days();
