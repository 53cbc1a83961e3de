import type { Database, Transaction } from '../shared/db/db.ts'

/** What is made up. The shape is that of a company: few keys do most, a key uses few models, a third of keys serves customers. */
export interface LedgerShape {
  rows: number
  /** Days up to and with `lastDay`, `YYYY-MM-DD`. */
  days: number
  lastDay: string
  keys: number
  users: number
  teams: number
  organizations: number
  models: number
  tags: number
  customers: number
}

export const USUAL_SHAPE: Omit<LedgerShape, 'lastDay'> = {
  rows: 200_000,
  days: 120,
  keys: 5_000,
  users: 1_000,
  teams: 200,
  organizations: 20,
  models: 40,
  tags: 50,
  customers: 20_000,
}

/** SHA-256 of the nth key, as the generated rows have it. */
export const KEY_OF = (n: string): string => `encode(sha256(convert_to('key-' || ${n}, 'UTF8')), 'hex')`

const PROVIDERS = `(array['openai', 'anthropic', 'azure', 'bedrock', 'vertex_ai'])`

/** Milliseconds of a day. */
const DAY = 86_400_000

/**
 * Fills an empty, migrated database with owners, a ledger and the sums that accounting would have kept of it. Everything is made inside the
 * server; indexes are built after the rows. `say` is told of progress. Rejects where the ledger is not empty: it cannot be cleaned.
 */
export async function fillLedger(db: Database, shape: LedgerShape, say: (text: string) => void): Promise<void> {
  const [used] = await db.query('select from ledger limit 1')
  if (used !== undefined) throw new Error('the ledger of this database is not empty')
  await makeOwners(db, shape)
  const first = Date.parse(`${shape.lastDay}T00:00:00Z`) - (shape.days - 1) * DAY
  await makePartitions(db, first, shape.days)
  const indexes = await dropIndexes(db)
  const begun = performance.now()
  for (let day = 0; day < shape.days; day++) {
    const from = Math.floor((shape.rows * day) / shape.days)
    const to = Math.floor((shape.rows * (day + 1)) / shape.days)
    await insertDay(db, shape, new Date(first + day * DAY).toISOString().slice(0, 10), from, to - from)
    if ((day + 1) % 10 === 0) say(`${to} rows in ${Math.round((performance.now() - begun) / 1000)} s`)
  }
  for (const [number, statement] of indexes.entries()) {
    await db.query(statement)
    say(`index ${number + 1} of ${indexes.length} after ${Math.round((performance.now() - begun) / 1000)} s`)
  }
  await db.transaction(addUp)
  say(`sums after ${Math.round((performance.now() - begun) / 1000)} s`)
  for (const table of ['ledger', 'daily_spend', 'daily_label_spend', 'spend', 'keys', 'users', 'teams', 'customers']) {
    await db.query(`vacuum analyze ${table}`)
  }
  say(`vacuumed after ${Math.round((performance.now() - begun) / 1000)} s`)
}

async function makeOwners(db: Database, shape: LedgerShape): Promise<void> {
  await db.query(
    `insert into organizations (organization_id, organization_alias) select 'org-' || n, 'Organization ' || n from generate_series(0, $1 - 1) n`,
    [shape.organizations],
  )
  await db.query(
    `insert into teams (team_id, team_alias, organization_id) select 'team-' || n, 'Team ' || n, 'org-' || n % $2 from generate_series(0, $1 - 1) n`,
    [shape.teams, shape.organizations],
  )
  await db.query(
    `insert into users (user_id, user_email, user_role) select 'user-' || n, n || '@example.com', 'internal_user' from generate_series(0, $1 - 1) n`,
    [shape.users],
  )
  await db.query(
    `insert into team_members (team_id, user_id, role) select 'team-' || n % $2, 'user-' || n, case when n < $2 then 'admin' else 'user' end
     from generate_series(0, $1 - 1) n`,
    [shape.users, shape.teams],
  )
  await db.query(
    `insert into keys (token, key_name, key_alias, user_id, team_id, organization_id)
     select ${KEY_OF('n')}, 'sk-...' || lpad(n::text, 4, '0'), 'key-' || n, 'user-' || n % $2, 'team-' || n % $2 % $3, 'org-' || n % $2 % $3 % $4
     from generate_series(0, $1 - 1) n`,
    [shape.keys, shape.users, shape.teams, shape.organizations],
  )
  await db.query(`insert into tags (tag_name) select 'tag-' || n from generate_series(0, $1 - 1) n`, [shape.tags])
  await db.query(`insert into customers (user_id) select 'customer-' || n from generate_series(0, $1 - 1) n`, [shape.customers])
}

async function makePartitions(db: Database, first: number, days: number): Promise<void> {
  const date = new Date(first)
  for (let month = 0; ; month++) {
    const from = Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + month, 1)
    if (from >= first + days * DAY) return
    const [begin, end] = [from, Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + month + 1, 1)].map((time) =>
      new Date(time).toISOString(),
    )
    const name = `ledger_${begin?.slice(0, 4)}_${begin?.slice(5, 7)}`
    await db.query(`create table if not exists ${name} partition of ledger for values from ('${begin}') to ('${end}')`)
  }
}

/** Drops the ledger's indexes but for its unique one, and gives the statements that make them again. */
async function dropIndexes(db: Database): Promise<string[]> {
  const rows = await db.query<{ name: string; statement: string }>(
    `select indexrelid::regclass::text as name, replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON ') as statement
     from pg_index where indrelid = 'ledger'::regclass and not indisunique`,
  )
  for (const { name } of rows) await db.query(`drop index ${name}`)
  return rows.map(({ statement }) => statement)
}

/** One day of calls, in the order they came, most of them in the middle of the day. */
async function insertDay(db: Database, shape: LedgerShape, day: string, first: number, count: number): Promise<void> {
  const { keys, users, teams, organizations, models, tags, customers } = shape
  await db.query(`select setseed(${(first % 1000) / 1000})`)
  await db.query(
    `insert into ledger (call_id, take, attempt, entry, started_at, calls, key_hash, key_alias, user_id, team_id, organization_id, end_user, tags,
       endpoint, requested_model, model_group, model, provider, deployment_id, outcome, status, error_code, error_message, attempt_started_at,
       first_token_at, ended_at, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, reasoning_tokens, estimated, cost_nano,
       rate_version, stream, cache_hit, session_id, client_ip, router_id, metadata, booked_at)
     select id, 1, 0, 'settled', at, 1, ${KEY_OF('k')}, 'key-' || k, 'user-' || k % ${users}, 'team-' || k % ${users} % ${teams},
       'org-' || k % ${users} % ${teams} % ${organizations}, case when k % 3 = 0 then 'customer-' || c end,
       case when t < 0.4 then '[]'::jsonb when t < 0.8 then jsonb_build_array('tag-' || t1) else jsonb_build_array('tag-' || t1, 'tag-' || t2) end,
       case when m % 10 = 9 then 'aembedding' else 'acompletion' end, 'group-' || m / 2, 'group-' || m / 2, 'model-' || m,
       ${PROVIDERS}[1 + m % 5], 'deployment-' || m, case when failed then 'failure' else 'success' end, case when failed then s else 200 end,
       case when failed then case s when 429 then 'provider_rate_limited' when 400 then 'bad_request' else 'provider_error' end end,
       case when failed then 'The provider refused call ' || id end, at, at + d * 0.2, at + d, i, o, case when h < 0.2 then i / 2 else 0 end, 0, 0, false,
       case when failed or h > 0.97 then 0 else i * (100 + m * 150) + o * (400 + m * 600) end, 'v1', t > 0.5, h > 0.97,
       case when h < 0.2 then 'session-' || c || '-' || '${day}' end, '10.0.0.' || k % 250, 'router-1', '{"client": "sdk"}', at + d
     from (
       select gen_random_uuid()::text as id, floor(${keys} * power(random(), 3))::int as k, random() as t, random() as h,
         floor(${tags} * power(random(), 2))::int as t1, floor(${tags} * power(random(), 2))::int as t2,
         floor(${customers} * power(random(), 2))::int as c, floor(4 * power(random(), 3))::int as pick, random() < 0.02 as failed,
         (array[429, 500, 400])[1 + floor(3 * random())::int] as s, 50 + floor(8000 * power(random(), 4))::int as i,
         10 + floor(1500 * power(random(), 3))::int as o, interval '1 millisecond' * (200 + floor(9000 * power(random(), 3))) as d,
         '${day}'::timestamp at time zone 'UTC' + interval '1 second' * (86399 * (0.7 * n::float8 / ${count} + 0.3 * (1 - cos(pi() * n / ${count})) / 2)) as at
       from generate_series(0, ${count - 1}) n offset 0) call
     cross join lateral (select (k * 7 + pick * 11) % ${models} as m) chosen`,
  )
}

/** The sums that accounting keeps while it books, made from the ledger at once. A key and a model say here who else is concerned. */
async function addUp(db: Transaction): Promise<void> {
  await db.query(`set local work_mem = '1GB'`)
  const totals =
    'cost_nano, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, calls, successful_calls, failed_calls'
  const sums = `sum(cost_nano), sum(input_tokens), sum(output_tokens), sum(cache_read_tokens), sum(cache_write_tokens), sum(calls),
    sum(case when outcome = 'success' then calls else 0 end), sum(case when outcome <> 'success' then calls else 0 end)`
  const day = `(started_at at time zone 'UTC')::date`
  await db.query(
    `insert into daily_spend (day, key_hash, model, user_id, team_id, organization_id, model_group, provider, endpoint, ${totals})
     select ${day}, key_hash, model, min(user_id), min(team_id), min(organization_id), min(model_group), min(provider), min(endpoint), ${sums}
     from ledger group by 1, 2, 3 order by 1, 2`,
  )
  const label = (kind: string, name: string, from: string): string =>
    `insert into daily_label_spend (day, kind, label, key_hash, model, team_id, model_group, provider, endpoint, ${totals})
     select ${day}, '${kind}', ${name}, key_hash, model, min(team_id), min(model_group), min(provider), min(endpoint), ${sums}
     from ${from} group by 1, 3, 4, 5 order by 1, 3`
  await db.query(label('customer', 'end_user', 'ledger where end_user is not null'))
  await db.query(
    label('tag', 'tag', 'ledger cross join lateral (select distinct tag from jsonb_array_elements_text(tags) as tag) as each'),
  )
  for (const [kind, column, table] of [
    ['key', 'key_hash', 'daily_spend'],
    ['user', 'user_id', 'daily_spend'],
    ['team', 'team_id', 'daily_spend'],
    ['organization', 'organization_id', 'daily_spend'],
    ['provider', 'provider', 'daily_spend'],
    ['customer', 'label', `daily_label_spend where kind = 'customer'`],
    ['tag', 'label', `daily_label_spend where kind = 'tag'`],
  ]) {
    await db.query(
      `insert into spend (scope, spent_nano, revision) select scope_of('${kind}', ${column}), sum(cost_nano), 1 from ${table} group by 1`,
    )
  }
}
