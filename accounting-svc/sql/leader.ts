import type { Database } from '../../shared/db/db.ts'

/**
 * Takes or keeps the leadership `name` for `ttl` milliseconds by the database's clock. False while somebody else has it. A lease in a
 * row and no session lock: it works through connection poolers too.
 */
export async function claimLeadership(db: Database, name: string, holder: string, ttl: number): Promise<boolean> {
  const rows = await db.query(
    `insert into leaders as l (name, holder, held_until) values ($1, $2, clock_timestamp() + $3 * interval '1 millisecond')
     on conflict (name) do update set holder = excluded.holder, held_until = excluded.held_until
       where l.holder = excluded.holder or l.held_until < clock_timestamp()
     returning holder`,
    [name, holder, ttl],
    'leader_claim',
  )
  return rows.length > 0
}

/** Leaves the leadership to whoever asks next. */
export async function leaveLeadership(db: Database, name: string, holder: string): Promise<void> {
  await db.query('delete from leaders where name = $1 and holder = $2', [name, holder], 'leader_leave')
}
