import type { Database } from '../../shared/db/db.ts'

/** Makes sure that the month which holds `time` (Unix milliseconds) has its own partition. Returns whether it had to be made. */
export async function ensureLedgerPartition(db: Database, time: number): Promise<boolean> {
  const date = new Date(time)
  const from = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1)).toISOString()
  const to = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1)).toISOString()
  const name = `ledger_${from.slice(0, 4)}_${from.slice(5, 7)}`
  if (await exists(db, name)) return false
  return db.transaction(async (tx) => {
    // Key: "part" in bytes. Several accounting processes may want the same month.
    await tx.query('select pg_advisory_xact_lock(1885434484)')
    if (await exists(tx, name)) return false
    // Entries may have come in before their partition; they move out of the default first, or it could not be attached.
    // Attached rather than created in place: that takes a lighter lock on the ledger.
    await tx.query(`
      lock table ledger_default in access exclusive mode;
      create table ${name} (like ledger including defaults including constraints);
      with moved as (delete from ledger_default where started_at >= '${from}' and started_at < '${to}' returning *)
        insert into ${name} select * from moved;
      alter table ledger attach partition ${name} for values from ('${from}') to ('${to}');`)
    return true
  })
}

/** Read from the catalogue's table: `to_regclass` answers from a cache that may not have heard of a commit a moment ago. */
async function exists(db: Pick<Database, 'query'>, name: string): Promise<boolean> {
  const rows = await db.query('select from pg_class where relname = $1 and relnamespace = current_schema()::regnamespace', [name])
  return rows.length > 0
}

/** Names of the monthly partitions, oldest first: `ledger_2026_11`. */
export async function findLedgerPartitions(db: Database): Promise<string[]> {
  const rows = await db.query<{ name: string }>(
    `select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
     where i.inhparent = 'ledger'::regclass and c.relname ~ '^ledger_[0-9]{4}_[0-9]{2}$' order by 1`,
  )
  return rows.map(({ name }) => name)
}

/**
 * Drops a monthly partition with all its entries. Gives up after two seconds when it cannot have the ledger for itself, because bookings
 * wait behind it.
 */
export async function dropLedgerPartition(db: Database, name: string): Promise<void> {
  if (!/^ledger_\d{4}_\d{2}$/.test(name)) throw new Error(`${name} is not the name of a monthly partition`)
  await db.transaction(async (tx) => {
    await tx.query(`set local lock_timeout = '2s'`)
    await tx.query(`alter table ledger detach partition ${name}`)
    await tx.query(`drop table ${name}`)
  })
}
