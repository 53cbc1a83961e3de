import type { Transaction } from '../../shared/db/db.ts'
import type { ActivityOwner } from './activity.ts'

/** What a key is called. */
export interface KeyNames {
  token: string
  key_name: string | null
  key_alias: string | null
  team_id: string | null
}

/** What keys are called, those deleted since included. */
export async function keyNames(db: Transaction, hashes: readonly string[]): Promise<ReadonlyMap<string, KeyNames>> {
  const rows = await db.query<KeyNames>(
    `select token, key_name, key_alias, team_id from keys where token = any($1)
     union all
     select distinct on (object_id) object_id, "row" ->> 'key_name', "row" ->> 'key_alias', "row" ->> 'team_id' from archive
     where table_name = 'keys' and object_id = any($1) and not exists (select from keys where token = object_id)`,
    [hashes],
  )
  return new Map(rows.map((row) => [row.token, row]))
}

/** Hashes of the keys of this alias, or where there is none, of those whose alias holds the text, in any case. Deleted ones included. */
export async function keysOfAlias(db: Transaction, text: string, most: number): Promise<string[]> {
  const rows = await db.query<{ token: string; exact: boolean }>(
    `select token, key_alias = $1 as exact from keys where strpos(lower(key_alias), lower($1)) > 0
     union select object_id, "row" ->> 'key_alias' = $1 from archive
     where table_name = 'keys' and strpos(lower("row" ->> 'key_alias'), lower($1)) > 0 order by exact desc limit $2`,
    [text, most],
  )
  return rows.filter((row) => row.exact || rows[0]?.exact === false).map((row) => row.token)
}

const ENTITY_NAMES: Readonly<Record<ActivityOwner, string>> = {
  user: 'select user_id as id, coalesce(user_alias, user_email) as name from users where user_id = any($1)',
  team: 'select team_id as id, team_alias as name from teams where team_id = any($1)',
  organization: 'select organization_id as id, organization_alias as name from organizations where organization_id = any($1)',
  tag: 'select tag_name as id, description as name from tags where tag_name = any($1)',
  customer: 'select user_id as id, alias as name from customers where user_id = any($1)',
}

/** What owners are called; those without a name are missing. */
export async function entityNames(
  db: Transaction,
  owner: ActivityOwner,
  ids: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const rows = await db.query<{ id: string; name: string | null }>(ENTITY_NAMES[owner], [ids])
  return new Map(rows.flatMap(({ id, name }) => (name === null ? [] : [[id, name] as const])))
}
