import type { ObjectOwner } from '../../proto/objects.ts'
import type { Database, Transaction } from '../../shared/db/db.ts'

const AT = (parameter: string): string => `timestamptz 'epoch' + ${parameter}::bigint * interval '1 millisecond'`
/** Leases go by the database's clock: those of processes differ. */
const LEASE = (parameter: string): string => `clock_timestamp() + ${parameter}::bigint * interval '1 millisecond'`

export type BatchState =
  | 'validating'
  | 'in_progress'
  | 'cancelling'
  | 'finalizing'
  | 'completed'
  | 'failed'
  | 'cancelled'
  | 'expired'
export type BatchEnding = 'completed' | 'failed' | 'cancelled' | 'expired'

/** One problem, as OpenAI tells it; `line` counts from 1. */
export interface BatchError {
  code: string
  message: string
  param: string | null
  line: number | null
}

/** Times are Unix milliseconds. */
export interface OwnBatchRow {
  id: string
  owner: string
  maker: ObjectOwner
  endpoint: string
  window: string
  metadata: Record<string, unknown> | null
  inputFileId: string
  outputFileId: string | null
  errorFileId: string | null
  state: BatchState
  ending: BatchEnding | null
  /** OpenAI's name of a moment → Unix seconds. */
  moments: Record<string, number>
  total: number
  completed: number
  failed: number
  errors: BatchError[] | null
  lifetime: number | null
  createdAt: number
  expiresAt: number
}

const ROW = `id, owner, maker, endpoint, time_window as "window", metadata, input_file_id as "inputFileId",
  output_file_id as "outputFileId", error_file_id as "errorFileId", state, ending, moments, total, completed, failed, errors, lifetime,
  (extract(epoch from created_at) * 1000)::bigint as "createdAt", (extract(epoch from expires_at) * 1000)::bigint as "expiresAt"`

export type NewBatch = Pick<
  OwnBatchRow,
  'id' | 'owner' | 'maker' | 'endpoint' | 'window' | 'metadata' | 'inputFileId' | 'lifetime' | 'createdAt' | 'expiresAt'
>

export async function insertBatch(tx: Transaction, batch: NewBatch): Promise<OwnBatchRow> {
  const [row] = await tx.query<OwnBatchRow>(
    `insert into own_batches (id, owner, maker, key_hash, endpoint, time_window, metadata, input_file_id, lifetime, state, created_at, expires_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'validating', ${AT('$10')}, ${AT('$11')}) returning ${ROW}`,
    [
      batch.id,
      batch.owner,
      JSON.stringify(batch.maker),
      batch.maker.keyHash,
      batch.endpoint,
      batch.window,
      batch.metadata === null ? null : JSON.stringify(batch.metadata),
      batch.inputFileId,
      batch.lifetime,
      batch.createdAt,
      batch.expiresAt,
    ],
    'own_batch_insert',
  )
  return row as OwnBatchRow
}

export async function findBatch(db: Database | Transaction, id: string): Promise<OwnBatchRow | undefined> {
  const [row] = await db.query<OwnBatchRow>(`select ${ROW} from own_batches where id = $1`, [id], 'own_batch_find')
  return row
}

/** Lines with a result so far. */
export async function countLines(db: Database | Transaction, id: string): Promise<{ answered: number; refused: number }> {
  const [row] = await db.query<{ answered: number; refused: number }>(
    `select count(*) filter (where state = 'answered') as answered, count(*) filter (where state = 'refused') as refused
     from own_batch_lines where batch_id = $1`,
    [id],
    'own_batch_count',
  )
  return row ?? { answered: 0, refused: 0 }
}

export interface BatchChange {
  state: BatchState
  ending?: BatchEnding
  /** Which moment it is. */
  moment: string
  /** Unix milliseconds. */
  now: number
  errors?: readonly BatchError[]
}

/** Goes on when it is in one of `from`; undefined = it is not. */
export async function changeBatch(
  db: Database | Transaction,
  id: string,
  from: readonly BatchState[],
  { state, ending, moment, now, errors }: BatchChange,
): Promise<OwnBatchRow | undefined> {
  const [row] = await db.query<OwnBatchRow>(
    `update own_batches set state = $3, ending = coalesce($4, ending), errors = coalesce($7::jsonb, errors),
       moments = moments || jsonb_build_object($5::text, floor($6::bigint / 1000.0)::bigint)
     where id = $1 and state = any($2) returning ${ROW}`,
    [id, from, state, ending ?? null, moment, now, errors === undefined ? null : JSON.stringify(errors)],
    'own_batch_change',
  )
  return row
}

/** What it came to, and its results. */
export async function endBatch(
  tx: Transaction,
  id: string,
  end: Pick<OwnBatchRow, 'outputFileId' | 'errorFileId' | 'completed' | 'failed'> & { state: BatchEnding; now: number },
): Promise<OwnBatchRow | undefined> {
  const [row] = await tx.query<OwnBatchRow>(
    `update own_batches set state = $2, output_file_id = $3, error_file_id = $4, completed = $5, failed = $6, ended_at = ${AT('$7')},
       held_by = null, moments = moments || jsonb_build_object($2 || '_at', floor($7::bigint / 1000.0)::bigint)
     where id = $1 and ended_at is null returning ${ROW}`,
    [id, end.state, end.outputFileId, end.errorFileId, end.completed, end.failed, end.now],
    'own_batch_end',
  )
  return row
}

/** Batches that have not ended, oldest first. */
export function listOpenBatches(db: Database, most: number): Promise<OwnBatchRow[]> {
  return db.query<OwnBatchRow>(
    `select ${ROW} from own_batches where ended_at is null order by created_at limit $1`,
    [most],
    'own_batch_open',
  )
}

/** Takes or keeps the right to read a batch's input or to write its results. False while another process has it. */
export async function holdBatch(db: Database, id: string, holder: string, lease: number): Promise<boolean> {
  const rows = await db.query(
    `update own_batches set held_by = $2, held_until = ${LEASE('$3')}
     where id = $1 and ended_at is null and (held_by is null or held_by = $2 or held_until < clock_timestamp()) returning id`,
    [id, holder, lease],
    'own_batch_hold',
  )
  return rows.length > 0
}

export async function letGoOfBatch(db: Database, id: string, holder: string): Promise<void> {
  await db.query('update own_batches set held_by = null where id = $1 and held_by = $2', [id, holder], 'own_batch_let_go')
}

export interface NewLine {
  line: number
  customId: string
  request: string
}

export async function insertLines(tx: Transaction, id: string, lines: readonly NewLine[]): Promise<void> {
  await tx.query(
    `insert into own_batch_lines (batch_id, line, custom_id, request)
     select $1, line, custom_id, request from unnest($2::int[], $3::text[], $4::text[]) as t (line, custom_id, request)`,
    [id, lines.map(({ line }) => line), lines.map(({ customId }) => customId), lines.map(({ request }) => request)],
    'own_lines_insert',
  )
}

export async function setTotal(tx: Transaction, id: string, total: number): Promise<void> {
  await tx.query('update own_batches set total = $2 where id = $1', [id, total], 'own_batch_total')
}

export interface ClaimedLine {
  line: number
  customId: string
  request: string
  callId: string
  takes: number
  failures: number
}

/**
 * Takes up to `most` lines that wait, or whose process died; first come those on top of the file. `atOnce`: lines of the batch that may run in the
 * whole cluster, `inAll`: those of all batches, which processes that look at the same moment may exceed by what each takes.
 */
export function claimLines(
  db: Database,
  id: string,
  by: { holder: string; lease: number; now: number; most: number; atOnce: number; inAll: number },
): Promise<ClaimedLine[]> {
  return db.query<ClaimedLine>(
    `with batch as (select id from own_batches where id = $1 and state = 'in_progress' for update skip locked),
       running as (
         select count(*) as everywhere, count(*) filter (where batch_id = $1) as here
         from own_batch_lines where state = 'running' and held_until >= clock_timestamp()),
       picked as (
         select l.line from own_batch_lines l
         where l.batch_id = (select id from batch) and l.state in ('waiting', 'running')
           and (l.state = 'waiting' and l.not_before <= ${AT('$4')} or l.state = 'running' and l.held_until < clock_timestamp())
         order by l.line
         limit (select greatest(0, least($5::bigint, $6::bigint - here, $7::bigint - everywhere)) from running)
         for update skip locked)
     update own_batch_lines l set state = 'running', held_by = $2, held_until = ${LEASE('$3')}, takes = takes + 1,
       call_id = coalesce(call_id, gen_random_uuid()::text)
     from picked where l.batch_id = $1 and l.line = picked.line
     returning l.line, l.custom_id as "customId", l.request, l.call_id as "callId", l.takes, l.failures`,
    [id, by.holder, by.lease, by.now, by.most, by.atOnce, by.inAll],
    'own_lines_claim',
  )
}

/** Keeps what a process holds. */
export async function renewHeld(db: Database, holder: string, lease: number): Promise<void> {
  await db.query(
    `update own_batch_lines set held_until = ${LEASE('$2')} where held_by = $1 and state = 'running'`,
    [holder, lease],
    'own_lines_renew',
  )
  await db.query(
    `update own_batches set held_until = ${LEASE('$2')} where held_by = $1 and ended_at is null`,
    [holder, lease],
    'own_batches_renew',
  )
}

/** Gives back what a process holds: another may go on at once. The calls stay the same ones. */
export async function releaseHeld(db: Database, holder: string): Promise<void> {
  await db.query(
    `update own_batch_lines set state = 'waiting', held_by = null where held_by = $1 and state = 'running'`,
    [holder],
    'own_lines_release',
  )
  await db.query('update own_batches set held_by = null where held_by = $1 and ended_at is null', [holder], 'own_batches_release')
}

/** The first result counts. False = there was one, or the line is another call by now. */
export async function recordLine(
  db: Database,
  id: string,
  line: { line: number; callId: string; state: 'answered' | 'refused'; result: string },
): Promise<boolean> {
  const rows = await db.query(
    `update own_batch_lines set state = $4, result = $5, request = null, held_by = null, held_until = null
     where batch_id = $1 and line = $2 and call_id = $3 and state in ('waiting', 'running') returning line`,
    [id, line.line, line.callId, line.state, line.result],
    'own_line_record',
  )
  return rows.length > 0
}

/** Back in the row until `notBefore` (Unix milliseconds). `known`: how its call ended is known, so the next is another one. */
export async function deferLine(
  db: Database,
  id: string,
  line: { line: number; callId: string; holder: string; notBefore: number; known: boolean; failed: boolean },
): Promise<void> {
  await db.query(
    `update own_batch_lines set state = 'waiting', held_by = null, not_before = ${AT('$5')},
       call_id = case when $6 then null else call_id end, takes = case when $6 then 0 else takes end,
       failures = failures + case when $7 then 1 else 0 end
     where batch_id = $1 and line = $2 and call_id = $3 and held_by = $4 and state = 'running'`,
    [id, line.line, line.callId, line.holder, line.notBefore, line.known, line.failed],
    'own_line_defer',
  )
}

/** Lines of a batch without a result: those that wait, and those that run at a living process. */
export async function countOpenLines(db: Database | Transaction, id: string): Promise<{ waiting: number; running: number }> {
  const [row] = await db.query<{ waiting: number; running: number }>(
    `select count(*) filter (where state = 'waiting' or held_until < clock_timestamp()) as waiting,
       count(*) filter (where state = 'running' and held_until >= clock_timestamp()) as running
     from own_batch_lines where batch_id = $1 and state in ('waiting', 'running')`,
    [id],
    'own_lines_open',
  )
  return row ?? { waiting: 0, running: 0 }
}

export interface EndedLine {
  line: number
  customId: string
  state: 'waiting' | 'running' | 'answered' | 'refused'
  result: string | null
}

/** The next lines after `after`, in order: at most `most`, and at most `bytes` of results, but for a first one that is larger. */
export function listLines(tx: Transaction, id: string, after: number, most: number, bytes: number): Promise<EndedLine[]> {
  return tx.query<EndedLine>(
    `with page as (
       select line, custom_id, state, result from own_batch_lines where batch_id = $1 and line > $2 order by line limit $3)
     select line, custom_id as "customId", state, result from (
       select *, row_number() over above as number, sum(octet_length(result)) over above as bytes
       from page window above as (order by line)) as next
     where number = 1 or coalesce(bytes, 0) <= $4 order by line`,
    [id, after, most, bytes],
    'own_lines_list',
  )
}

/** What is in the files with results need not be kept twice. */
export async function deleteLines(tx: Transaction, id: string): Promise<void> {
  await tx.query('delete from own_batch_lines where batch_id = $1', [id], 'own_lines_delete')
}

/** Batches that ended before `before` (Unix milliseconds) are forgotten here; `objects` remembers what they were. */
export async function forgetBatches(db: Database, before: number): Promise<void> {
  await db.query(`delete from own_batches where ended_at < ${AT('$1')}`, [before], 'own_batch_forget')
}
