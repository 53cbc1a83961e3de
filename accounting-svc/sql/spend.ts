import type { Transaction } from '../../shared/db/db.ts'

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
