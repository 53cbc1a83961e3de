import { randomBytes } from 'node:crypto'
import { MIGRATIONS } from '../../accounting-svc/accounting.ts'
import { makePartitions } from '../../accounting-svc/jobs/partitions.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Database } from '../../shared/db/db.ts'
import { migrate } from '../../shared/db/migrate.ts'
import { createPostgres } from '../../shared/db/postgres.ts'
import { silentLog } from '../../shared/log.ts'

/** A database for simulations, of one run after the other. */
export interface Store {
  readonly db: Database
  /** Empties it. */
  reset(): Promise<void>
  /** Drops it. */
  drop(): Promise<void>
}

/**
 * SQL's clock is the simulation's: functions of the same names, found before PostgreSQL's own, read a setting of the session. Nothing but the
 * statements of a run decides how it goes on: no statistics are gathered, and every run begins with files as empty and plans as generic.
 */
const PREPARE = (start: number) => `
create schema simulated;
create function simulated.clock_timestamp() returns timestamptz language sql stable as
  $$ select pg_catalog.to_timestamp(pg_catalog.current_setting('simulated.now')::float8 / 1000) $$;
create function simulated.now() returns timestamptz language sql stable as
  $$ select pg_catalog.to_timestamp(pg_catalog.current_setting('simulated.now')::float8 / 1000) $$;
do $do$ begin
  execute format('alter database %I set search_path = simulated, pg_catalog, public', current_database());
  execute format('alter database %I set plan_cache_mode = force_generic_plan', current_database());
  execute format('alter database %I set synchronous_commit = off', current_database());
  execute format('alter database %I set jit = off', current_database());
  execute format('alter database %I set simulated.now = %L', current_database(), '${start}');
end $do$;
create function simulated.reset() returns void language plpgsql as $$
declare
  one regclass;
  filled bool;
begin
  perform pg_catalog.set_config('session_replication_role', 'replica', true);
  for one in select oid from pg_class where relnamespace = 'simulated'::regnamespace and relkind = 'r' and relname <> 'migrations' loop
    execute format('select exists (select from only %s)', one) into filled;
    if filled then execute format('truncate only %s restart identity cascade', one); end if;
  end loop;
end $$;`

const QUIET = `
do $do$ declare one regclass; begin
  for one in select oid from pg_class where relnamespace = 'simulated'::regnamespace and relkind = 'r' loop
    execute format('alter table %s set (autovacuum_enabled = false)', one);
  end loop;
end $do$`

/** A database of its own on the server at `adminUrl`, its tables made. `clock`: of the first moment of every run. */
export async function openStore(adminUrl: string, clock: Clock): Promise<Store> {
  const name = `simulation_${randomBytes(6).toString('hex')}`
  const onServer = async (text: string): Promise<void> => {
    const admin = createPostgres({ url: adminUrl, log: silentLog, poolSize: 1 })
    await admin.query(text).finally(() => admin.close())
  }
  await onServer(`create database ${name} template template0`)
  const url = new URL(adminUrl)
  url.pathname = `/${name}`
  const first = createPostgres({ url: url.href, log: silentLog, poolSize: 1 })
  await first.query(PREPARE(clock.now())).finally(() => first.close())
  // The settings of a database reach the sessions begun after.
  const db = createPostgres({ url: url.href, log: silentLog, poolSize: 1 })
  await migrate(db, MIGRATIONS, silentLog)
  await makePartitions(db, clock)
  await db.query(QUIET)
  return {
    db,
    async reset() {
      await db.query('select simulated.reset()')
    },
    async drop() {
      await db.close()
      await onServer(`drop database if exists ${name} with (force)`)
    },
  }
}
