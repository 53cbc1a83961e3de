import type { ObjectKey, ObjectKind, ObjectOwner } from '../../proto/objects.ts'
import type { Database, Transaction } from '../../shared/db/db.ts'

/** Facts are JSON text, times Unix milliseconds. */
export interface ObjectWrite extends ObjectKey, ObjectOwner {
  provider: string
  what: 'created' | 'seen' | 'deleted' | 'settled'
  ownerName: string
  facts: string | null
  at: number
}

const AT = (parameter: string): string => `timestamptz 'epoch' + ${parameter}::bigint * interval '1 millisecond'`

/**
 * Adds an object or brings it up to date. News may come in any order: facts are those last seen, what is deleted or settled stays so, and the owner
 * is who created it.
 */
export async function writeObject(tx: Transaction, object: ObjectWrite): Promise<void> {
  const { what } = object
  if (what === 'seen' || what === 'settled') {
    await tx.query(
      `update objects set
         facts = case when $4::jsonb is not null and ${AT('$5')} >= seen_at then $4::jsonb else facts end,
         seen_at = greatest(seen_at, ${AT('$5')}),
         settled_at = case when $6 then coalesce(settled_at, ${AT('$5')}) else settled_at end
       where kind = $1 and deployment_id = $2 and object_id = $3`,
      [object.kind, object.deploymentId, object.id, object.facts, object.at, what === 'settled'],
      'object_seen',
    )
    return
  }
  await tx.query(
    `insert into objects (kind, deployment_id, object_id, provider, owner, key_hash, key_alias, user_id, team_id, organization_id,
       project_id, facts, created_at, seen_at, deleted_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, coalesce($12::jsonb, '{}'), ${AT('$13')}, ${AT('$13')},
       case when $14 then ${AT('$13')} end)
     on conflict (kind, deployment_id, object_id) do update set
       deleted_at = coalesce(objects.deleted_at, excluded.deleted_at),
       facts = case when $12::jsonb is not null and excluded.seen_at >= objects.seen_at then excluded.facts else objects.facts end,
       seen_at = greatest(objects.seen_at, excluded.seen_at)`,
    [
      object.kind,
      object.deploymentId,
      object.id,
      object.provider,
      object.ownerName,
      object.keyHash,
      object.keyAlias,
      object.userId,
      object.teamId,
      object.organizationId,
      object.projectId,
      object.facts,
      object.at,
      what === 'deleted',
    ],
    'object_write',
  )
}

export interface ObjectRow extends ObjectKey, ObjectOwner {
  provider: string
  facts: Record<string, unknown>
  createdAt: number
  settled: boolean
}

const ROW = `kind, deployment_id as "deploymentId", object_id as id, provider, facts, key_hash as "keyHash", key_alias as "keyAlias",
  user_id as "userId", team_id as "teamId", organization_id as "organizationId", project_id as "projectId",
  (extract(epoch from created_at) * 1000)::bigint as "createdAt", settled_at is not null as settled`

export interface ObjectFilter {
  kind: ObjectKind
  owners: readonly string[] | null
  after: Pick<ObjectKey, 'deploymentId' | 'id'> | null
  /** JSON text of facts that must be so; null = any. */
  where: string | null
  limit: number
  order: 'asc' | 'desc'
}

/** Objects that are not deleted, by when they were made. */
export function listObjects(db: Database, filter: ObjectFilter): Promise<ObjectRow[]> {
  const { order } = filter
  const beyond = order === 'asc' ? '>' : '<'
  return db.query<ObjectRow>(
    `select ${ROW} from objects
     where kind = $1 and deleted_at is null and ($2::text[] is null or owner = any($2))
       and ($3::jsonb is null or facts @> $3::jsonb)
       and ($4::text is null or (created_at, object_id) ${beyond} (
         select created_at, object_id from objects where kind = $1 and deployment_id = $4 and object_id = $5))
     order by created_at ${order === 'asc' ? 'asc' : 'desc'}, object_id ${order === 'asc' ? 'asc' : 'desc'} limit $6`,
    [filter.kind, filter.owners, filter.where, filter.after?.deploymentId ?? null, filter.after?.id ?? null, filter.limit],
    `object_list_${order === 'asc' ? 'asc' : 'desc'}`,
  )
}

/** One object, deleted or not; empty = it is not known. */
export function findObject(db: Database, { kind, deploymentId, id }: ObjectKey): Promise<ObjectRow[]> {
  return db.query<ObjectRow>(
    `select ${ROW} from objects where kind = $1 and deployment_id = $2 and object_id = $3`,
    [kind, deploymentId, id],
    'object_find',
  )
}

/** Objects whose cost is not booked yet, made after `since` (Unix milliseconds); those not looked at for longest first. */
export function listUnsettled(db: Database, kinds: readonly ObjectKind[], since: number, most: number): Promise<ObjectRow[]> {
  return db.query<ObjectRow>(
    `select ${ROW} from objects
     where settled_at is null and kind in ('batch', 'message_batch', 'video', 'response') and kind = any($1) and created_at >= ${AT('$2')}
     order by seen_at limit $3`,
    [kinds, since, most],
    'object_unsettled',
  )
}

/** What cost nothing is settled without an entry; what was looked at goes to the end of the row. */
export async function lookedAt(db: Database, key: ObjectKey, now: number, settled: boolean): Promise<void> {
  await db.query(
    `update objects set seen_at = greatest(seen_at, ${AT('$4')}), settled_at = case when $5 then coalesce(settled_at, ${AT('$4')}) else settled_at end
     where kind = $1 and deployment_id = $2 and object_id = $3`,
    [key.kind, key.deploymentId, key.id, now, settled],
    'object_looked_at',
  )
}
