-- Files and batches that the gateway keeps and runs itself, for models whose provider has no batches. Whose they are is in `objects` too.
create table own_files (
  id         text primary key,
  -- team:…, user:… or key:…
  owner      text not null,
  -- Who made it, as `objects` names them.
  maker      jsonb not null,
  filename   text not null,
  purpose    text not null,
  bytes      bigint not null,
  state      text not null check (state in ('uploading', 'ready')),
  created_at timestamptz not null,
  expires_at timestamptz
);
create index own_files_owner on own_files (owner);
create index own_files_expiry on own_files (expires_at);

create table own_file_parts (
  file_id text not null references own_files on delete cascade,
  part    integer not null,
  content bytea not null,
  primary key (file_id, part)
);

create table own_batches (
  id             text primary key,
  owner          text not null,
  maker          jsonb not null,
  key_hash       text not null,
  endpoint       text not null,
  time_window    text not null,
  metadata       jsonb,
  input_file_id  text not null,
  output_file_id text,
  error_file_id  text,
  state          text not null check (state in
    ('validating', 'in_progress', 'cancelling', 'finalizing', 'completed', 'failed', 'cancelled', 'expired')),
  -- What it becomes once its results are written.
  ending         text check (ending in ('completed', 'failed', 'cancelled', 'expired')),
  -- OpenAI's name of a moment → Unix seconds.
  moments        jsonb not null default '{}',
  total          integer not null default 0,
  -- Counted when it ended; before that from its lines.
  completed      integer not null default 0,
  failed         integer not null default 0,
  errors         jsonb,
  -- Milliseconds files with results are kept; null = the settings'.
  lifetime       bigint,
  created_at     timestamptz not null,
  expires_at     timestamptz not null,
  ended_at       timestamptz,
  -- Which process reads its input or writes its results.
  held_by        text,
  held_until     timestamptz
);
create index own_batches_open on own_batches (created_at) where ended_at is null;

create table own_batch_lines (
  batch_id   text not null references own_batches on delete cascade,
  -- In the input, from 1.
  line       integer not null,
  custom_id  text not null,
  -- Body of the call, JSON; null once there is a result.
  request    text,
  state      text not null default 'waiting' check (state in ('waiting', 'running', 'answered', 'refused')),
  -- The call it is, kept until somebody knows how it ended, and how often it was opened.
  call_id    text,
  takes      integer not null default 0,
  -- Answers that were worth another try.
  failures   integer not null default 0,
  not_before timestamptz not null default '-infinity',
  held_by    text,
  held_until timestamptz,
  -- The line of the output or error file.
  result     text,
  primary key (batch_id, line)
);
create index own_batch_lines_open on own_batch_lines (batch_id, line) where state in ('waiting', 'running');
create index own_batch_lines_held on own_batch_lines (held_by) where state = 'running';
