import type { Database, Transaction } from '../../shared/db/db.ts'

/** Columns of every kind of daily sums that are added up. */
export const SUM_COLUMNS =
  'cost_nano, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens, calls, successful_calls, failed_calls'
const SUMS = SUM_COLUMNS.split(', ')
  .map((column) => `sum(${column})`)
  .join(', ')
const MODEL = 'model_group, model, provider, endpoint'

/** Owners whose daily sums are condensed. */
export type OwnerKind = 'key' | 'user' | 'team' | 'organization' | 'tag' | 'customer'

/** What a kind of owner is read from while a day is open: the column of the owner and what holds for its rows. */
const LIVE: Readonly<Record<OwnerKind, { table: string; column: string; condition: string }>> = {
  key: { table: 'daily_spend', column: 'key_hash', condition: 'true' },
  user: { table: 'daily_spend', column: 'user_id', condition: 'true' },
  team: { table: 'daily_spend', column: 'team_id', condition: `team_id <> ''` },
  organization: { table: 'daily_spend', column: 'organization_id', condition: `organization_id <> ''` },
  tag: { table: 'daily_label_spend', column: 'label', condition: `kind = 'tag'` },
  customer: { table: 'daily_label_spend', column: 'label', condition: `kind = 'customer'` },
}

/** Of a day `d`: its condensed sums are missing or no longer hold. A day without calls has none and needs none. */
const OPEN = `d::date in (select day from report_stale)
  or (d::date not in (select day from report_days) and exists (select from daily_spend where day = d::date))`

/**
 * The days of a span (both included, absent = since ever) that must be read from the full daily sums: not condensed yet, or changed
 * since. Days before the first call and after the last are left out.
 */
export async function openDays(db: Transaction, first: string | undefined, last: string | undefined): Promise<string[]> {
  const rows = await db.query<{ day: string }>(
    `select d::date as day from generate_series(
       greatest($1::date, (select min(day) from daily_spend))::timestamp, least($2::date, (select max(day) from daily_spend))::timestamp, '1 day') d
     where ${OPEN}`,
    [first ?? null, last ?? null],
  )
  return rows.map((row) => row.day)
}

/** Sums by day and owner, column `name`: condensed but for `open` days. A source to select from; $values gain one. */
export function ownerSums(kind: OwnerKind, name: string, open: readonly string[], values: unknown[]): string {
  const { table, column, condition } = LIVE[kind]
  const days = `$${values.push(open)}::date[]`
  // The condensed sums of teams and organizations have those without one too, as ''.
  return `(select day, owner as ${name}, ${SUM_COLUMNS} from daily_owner_spend where kind = '${kind}' and not day = any(${days})
    union all select day, ${column} as ${name}, ${SUM_COLUMNS} from ${table} where ${kind === 'tag' || kind === 'customer' ? condition : 'true'} and day = any(${days}))`
}

/** Sums by day, model group, model, provider and endpoint of all calls that have an owner of `kind`; for `user`, of all. */
export function modelSums(kind: Exclude<OwnerKind, 'key'>, open: readonly string[], values: unknown[]): string {
  const { table, condition } = LIVE[kind]
  const days = `$${values.push(open)}::date[]`
  return `(select day, ${MODEL}, ${SUM_COLUMNS} from daily_model_spend where kind = '${kind}' and not day = any(${days})
    union all select day, ${MODEL}, ${SUM_COLUMNS} from ${table} where ${condition} and day = any(${days}))`
}

/** Days to condense, oldest first: over for two days, and never condensed or changed since. */
export async function daysToCondense(db: Transaction, most: number): Promise<string[]> {
  const rows = await db.query<{ day: string }>(
    `select d::date as day from generate_series(
       (select min(day) from daily_spend)::timestamp, least((now() at time zone 'UTC')::date - 2, (select max(day) from daily_spend))::timestamp, '1 day') d
     where ${OPEN} order by 1 limit $1`,
    [most],
  )
  return rows.map((row) => row.day)
}

/** Condenses a day anew. Bookings on that day may go on: their marks are newer than those taken away here. */
export function condenseDay(db: Database, day: string): Promise<void> {
  return db.transaction(async (tx) => {
    // Key: "cond" in bytes. Two that condense would add the same rows.
    await tx.query('select pg_advisory_xact_lock(1668247140)')
    // Before the sums are read, and a statement of its own: the next one sees what was committed in between.
    await tx.query('delete from report_stale where day = $1', [day])
    await tx.query('delete from daily_model_spend where day = $1', [day])
    await tx.query('delete from daily_owner_spend where day = $1', [day])
    for (const kind of Object.keys(LIVE) as OwnerKind[]) {
      const { table, column, condition } = LIVE[kind]
      const of = kind === 'tag' || kind === 'customer' ? condition : 'true'
      await tx.query(
        `insert into daily_owner_spend (kind, day, owner, ${SUM_COLUMNS})
         select '${kind}', day, ${column}, ${SUMS} from ${table} where ${of} and day = $1 group by day, ${column}`,
        [day],
      )
      if (kind === 'key') continue
      await tx.query(
        `insert into daily_model_spend (kind, day, ${MODEL}, ${SUM_COLUMNS})
         select '${kind}', day, ${MODEL}, ${SUMS} from ${table} where ${condition} and day = $1 group by day, ${MODEL}`,
        [day],
      )
    }
    await tx.query('insert into report_days (day) values ($1) on conflict (day) do update set condensed_at = now()', [day])
  })
}
