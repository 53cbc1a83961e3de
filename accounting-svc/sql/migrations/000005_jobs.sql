-- Who does the work that one process of a cluster does for all.
create table leaders (
  name       text primary key,
  holder     text not null,
  held_until timestamptz not null
);

-- Rows of busy scopes change many times a second; with room in their page they are changed in place.
alter table spend set (fillfactor = 50);

-- What a scope crossed, once per window, threshold and limit. `sent_at`: when the webhook took it.
create table budget_alerts (
  scope       text not null,
  -- soft, or percent of the budget: 80, 100
  threshold   text not null,
  limit_nano  bigint not null,
  -- When the window closes; infinity = never.
  window_end  timestamptz not null,
  spent_nano  bigint not null,
  budget_nano bigint,
  soft_nano   bigint,
  -- Who it is, for people: aliases, addresses.
  owner       jsonb not null default '{}',
  created_at  timestamptz not null default now(),
  sent_at     timestamptz,
  attempts    int not null default 0,
  primary key (scope, threshold, limit_nano, window_end)
);
create index budget_alerts_unsent on budget_alerts (created_at) where sent_at is null;
