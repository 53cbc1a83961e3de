import type { ObjectOwner } from '../../proto/objects.ts'
import type { Database, Transaction } from '../../shared/db/db.ts'

const AT = (parameter: string): string => `timestamptz 'epoch' + ${parameter}::bigint * interval '1 millisecond'`

/** Times are Unix milliseconds. */
export interface OwnFileRow {
  id: string
  maker: ObjectOwner
  filename: string
  purpose: string
  bytes: number
  state: 'uploading' | 'ready'
  createdAt: number
  expiresAt: number | null
}

const ROW = `id, maker, filename, purpose, bytes, state, (extract(epoch from created_at) * 1000)::bigint as "createdAt",
  (extract(epoch from expires_at) * 1000)::bigint as "expiresAt"`

/** Adds a file without its parts. A file of this id is replaced: whoever writes results twice writes the same. */
export async function writeOwnFile(tx: Transaction, file: OwnFileRow & { owner: string }): Promise<void> {
  await tx.query('delete from own_files where id = $1', [file.id], 'own_file_replace')
  await tx.query(
    `insert into own_files (id, owner, maker, filename, purpose, bytes, state, created_at, expires_at)
     values ($1, $2, $3, $4, $5, $6, $7, ${AT('$8')}, ${AT('$9')})`,
    [
      file.id,
      file.owner,
      JSON.stringify(file.maker),
      file.filename,
      file.purpose,
      file.bytes,
      file.state,
      file.createdAt,
      file.expiresAt,
    ],
    'own_file_write',
  )
}

/** Bytes of all files of an owner, those on their way included. Others who ask for the same owner wait until the transaction is over. */
export async function ownFileBytes(tx: Transaction, owner: string): Promise<number> {
  await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 0))', [`own_files ${owner}`], 'own_file_lock')
  const [row] = await tx.query<{ bytes: number }>(
    'select coalesce(sum(bytes), 0)::bigint as bytes from own_files where owner = $1',
    [owner],
    'own_file_bytes',
  )
  return row?.bytes ?? 0
}

/** A part; the same one again replaces it. False = there is no such file on its way. */
export async function putOwnPart(tx: Transaction, id: string, part: number, content: Uint8Array): Promise<void> {
  await tx.query(
    `insert into own_file_parts (file_id, part, content) values ($1, $2, $3)
     on conflict (file_id, part) do update set content = excluded.content`,
    [id, part, Buffer.from(content.buffer, content.byteOffset, content.byteLength)],
    'own_part_put',
  )
}

export async function readOwnPart(db: Database | Transaction, id: string, part: number): Promise<Uint8Array | null> {
  const [row] = await db.query<{ content: Buffer }>(
    'select content from own_file_parts where file_id = $1 and part = $2',
    [id, part],
    'own_part_read',
  )
  return row?.content ?? null
}

/** Bytes of the parts that are there. */
export async function ownPartsBytes(tx: Transaction, id: string): Promise<number> {
  const [row] = await tx.query<{ bytes: number }>(
    'select coalesce(sum(octet_length(content)), 0)::bigint as bytes from own_file_parts where file_id = $1',
    [id],
    'own_parts_bytes',
  )
  return row?.bytes ?? 0
}

/** Everybody can have the file from now on. */
export async function finishOwnFile(tx: Transaction, id: string, bytes: number): Promise<void> {
  await tx.query(`update own_files set state = 'ready', bytes = $2 where id = $1`, [id, bytes], 'own_file_finish')
}

export async function findOwnFile(db: Database | Transaction, id: string): Promise<OwnFileRow | undefined> {
  const [row] = await db.query<OwnFileRow>(`select ${ROW} from own_files where id = $1`, [id], 'own_file_find')
  return row
}

/** The file that was there, with its parts gone. */
export async function deleteOwnFile(tx: Transaction, id: string): Promise<OwnFileRow | undefined> {
  const [row] = await tx.query<OwnFileRow>(`delete from own_files where id = $1 returning ${ROW}`, [id], 'own_file_delete')
  return row
}

/** Ids of files whose time is over at `now`, and of uploads begun before `abandoned` that never ended. Unix milliseconds. */
export async function listOverdueFiles(db: Database, now: number, abandoned: number, most: number): Promise<string[]> {
  const rows = await db.query<{ id: string }>(
    `select id from own_files where expires_at <= ${AT('$1')} or (state = 'uploading' and created_at <= ${AT('$2')}) limit $3`,
    [now, abandoned, most],
    'own_file_overdue',
  )
  return rows.map(({ id }) => id)
}
