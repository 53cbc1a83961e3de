import type { Spent } from '../../shared/counters/counters.ts'
import type { Transaction } from '../../shared/db/db.ts'
import { textArray } from './array-literals.ts'

/** A sum above what a double counts exactly ($9 million) is said to be that much; the row itself is exact. */
const SPENT = 'least(spent_nano, 9007199254740991)::bigint as spent'
/**
 * Rounded to the hour: `updated_at` is indexed, and PostgreSQL updates a row in place (HOT) only while no indexed column changes. The
 * rows of busy keys change a hundred times a second.
 */
const THIS_HOUR = `date_trunc('hour', now())`

/**
 * Adds nano-dollars to what these scopes spent and says what that makes. Each scope once, in one order everywhere, so that two writers
 * never deadlock. The rows stay locked until the transaction ends: call it last.
 */
export function addSpent(tx: Transaction, scopes: readonly string[], amounts: readonly bigint[]): Promise<Spent[]> {
  return tx.query<Spent>(
    `insert into spend (scope, spent_nano, revision, updated_at)
     select scope, amount, 1, ${THIS_HOUR} from unnest($1::text[], $2::bigint[]) as a(scope, amount)
     on conflict (scope) do update set
       spent_nano = spend.spent_nano + excluded.spent_nano, revision = spend.revision + 1, updated_at = excluded.updated_at
     returning scope, ${SPENT}, revision`,
    [textArray(scopes, (scope) => scope), `{${amounts.join(',')}}`],
    'spend_add',
  )
}

/** What these scopes spent; those that never did are missing. */
export function findSpent(tx: Transaction, scopes: readonly string[]): Promise<Spent[]> {
  return tx.query<Spent>(`select scope, ${SPENT}, revision from spend where scope = any($1::text[])`, [scopes], 'spend_find')
}

/** What was spent in the scopes touched in the last two days, by name, after `after`; at most `most`. */
export function recentSpent(tx: Transaction, after: string, most: number): Promise<Spent[]> {
  return tx.query<Spent>(
    `select scope, ${SPENT}, revision from spend
     where scope > $1 and updated_at >= ${THIS_HOUR} - interval '2 days' order by scope limit $2`,
    [after, most],
    'spend_recent',
  )
}

/** Sets the window of a scope. One that runs with the same duration stays open until it was to close. Times are Unix milliseconds. */
export async function upsertWindow(tx: Transaction, scope: string, duration: string, resetAt: number): Promise<void> {
  await tx.query(
    `insert into spend (scope, budget_duration, reset_at) values ($1, $2, to_timestamp($3::double precision / 1000))
     on conflict (scope) do update set budget_duration = excluded.budget_duration, reset_at = excluded.reset_at
     where spend.budget_duration is distinct from excluded.budget_duration or spend.reset_at is null`,
    [scope, duration, resetAt],
    'spend_window',
  )
}

/** Takes the window of a scope away: what was spent stays and is never reset. */
export async function clearWindow(tx: Transaction, scope: string): Promise<void> {
  await tx.query(
    'update spend set budget_duration = null, reset_at = null where scope = $1 and (budget_duration is not null or reset_at is not null)',
    [scope],
    'spend_no_window',
  )
}

/** A scope whose window is over. */
export interface DueWindow {
  scope: string
  duration: string | null
}

/**
 * Windows that were to close by `now`, at most `most`, locked until the transaction ends. Rows that a booking holds are left out instead
 * of waited for: it takes its locks in an order of its own, and the two would wait for each other.
 */
export function lockDueWindows(tx: Transaction, now: number, most: number): Promise<DueWindow[]> {
  return tx.query<DueWindow>(
    `select scope, budget_duration as duration from spend where reset_at <= to_timestamp($1::double precision / 1000)
     order by reset_at limit $2 for no key update skip locked`,
    [now, most],
    'spend_due',
  )
}

/** The same for one scope that is due, waiting for its row: while nothing else is locked nobody can be kept waiting by that for long. */
export async function lockDueWindow(tx: Transaction, now: number, scope: string): Promise<DueWindow[]> {
  return tx.query<DueWindow>(
    `select scope, budget_duration as duration from spend where scope = $2 and reset_at <= to_timestamp($1::double precision / 1000)
     for no key update`,
    [now, scope],
    'spend_due_one',
  )
}

/** Names of scopes whose window was to close by `now`, at most `most`. */
export async function findDueWindows(db: Transaction, now: number, most: number): Promise<string[]> {
  const rows = await db.query<{ scope: string }>(
    'select scope from spend where reset_at <= to_timestamp($1::double precision / 1000) order by reset_at limit $2',
    [now, most],
    'spend_due_names',
  )
  return rows.map(({ scope }) => scope)
}

/** Opens new windows: nothing is spent in them. A reset time of null closes it for good. */
export function resetSpent(tx: Transaction, scopes: readonly string[], resetAt: readonly (number | null)[]): Promise<Spent[]> {
  return tx.query<Spent>(
    `update spend s set spent_nano = 0, revision = revision + 1, updated_at = ${THIS_HOUR},
       reset_at = to_timestamp(r.reset_at / 1000)
     from unnest($1::text[], $2::double precision[]) as r(scope, reset_at) where s.scope = r.scope
     returning s.scope, ${SPENT}, revision`,
    [scopes, resetAt],
    'spend_reset',
  )
}
