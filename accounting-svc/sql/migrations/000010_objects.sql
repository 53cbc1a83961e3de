-- What providers keep for callers: whose it is, and what it was when last seen.
create table objects (
  kind            text not null,
  deployment_id   text not null,
  -- The provider's.
  object_id       text not null,
  provider        text not null,
  -- team:…, user:… or key:…
  owner           text not null,
  key_hash        text not null,
  key_alias       text,
  user_id         text,
  team_id         text,
  organization_id text,
  project_id      text,
  facts           jsonb not null default '{}',
  created_at      timestamptz not null,
  -- When `facts` were so.
  seen_at         timestamptz not null,
  deleted_at      timestamptz,
  -- When what it cost was booked.
  settled_at      timestamptz,
  primary key (kind, deployment_id, object_id)
);
create index objects_owned on objects (owner, kind, created_at) where deleted_at is null;
create index objects_unsettled on objects (seen_at) where settled_at is null and kind in ('batch', 'message_batch', 'video');
