import { type ObjectOwner, ownersOf } from '../../proto/objects.ts'
import { OWN, PART_BYTES } from '../../proto/own-batches.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Database, Transaction } from '../../shared/db/db.ts'
import { GatewayError } from '../../shared/errors.ts'
import { rowId } from '../../shared/ids.ts'
import { writeObject } from '../sql/objects.ts'
import {
  deleteOwnFile,
  findOwnFile,
  finishOwnFile,
  listOverdueFiles,
  type OwnFileRow,
  ownFileBytes,
  ownPartsBytes,
  putOwnPart,
  readOwnPart,
  writeOwnFile,
} from '../sql/own-files.ts'
import type { BatchSettings } from './settings.ts'

type Facts = Record<string, unknown>

/**
 * Files kept in the database, in parts.
 *
 *   uploading   its parts come; nobody sees it
 *   ready       whole; listed, read, and gone when its time is over
 *
 * Methods reject with GatewayError `not_found`, `body_too_large` or `bad_request`.
 */
export interface OwnFiles {
  begin(
    file: Pick<OwnFileRow, 'filename' | 'purpose' | 'bytes'> & { owner: ObjectOwner; lifetime: number | null },
  ): Promise<Facts>
  put(id: string, part: number, content: Uint8Array): Promise<void>
  end(id: string): Promise<Facts>
  read(id: string): Promise<Facts>
  /** Null = there are no more. */
  readPart(id: string, part: number): Promise<Uint8Array | null>
  delete(id: string): Promise<Facts>
  /** Deletes what is overdue. */
  sweep(): Promise<void>
}

const MEGABYTE = 1024 * 1024
/** Milliseconds after which an upload that has not ended never will. */
const ABANDONED = 3_600_000
const SWEPT_AT_ONCE = 100

export function createOwnFiles(deps: { db: Database; clock: Clock; settings: () => BatchSettings }): OwnFiles {
  const { db, clock, settings } = deps
  return {
    async begin({ owner: maker, filename, purpose, bytes, lifetime }) {
      const { fileBytes, ownerBytes, fileLifetime } = settings()
      if (bytes > fileBytes) throw tooLarge(`The file has ${bytes} bytes; at most ${fileBytes} are allowed for a batch.`)
      const now = clock.now()
      const [owner = ''] = ownersOf(maker)
      const expiresAt = now + (lifetime ?? fileLifetime)
      const id = `file-${rowId().replaceAll('-', '')}`
      const file = {
        id,
        owner,
        maker,
        filename: clean(filename),
        purpose,
        bytes,
        state: 'uploading' as const,
        createdAt: now,
        expiresAt,
      }
      await db.transaction(async (tx) => {
        const used = await ownFileBytes(tx, owner)
        if (used + bytes > ownerBytes) {
          const of = `${Math.ceil((used + bytes) / MEGABYTE)} MB of ${Math.floor(ownerBytes / MEGABYTE)} MB`
          throw tooLarge(`The files of ${owner.split(':')[0]} would take ${of}. Delete files that are not needed any more.`)
        }
        await writeOwnFile(tx, file)
      })
      return factsOf(file)
    },
    async put(id, part, content) {
      if (content.length > PART_BYTES) throw new GatewayError('bad_request', 'A part of a file is too large.')
      await db.transaction(async (tx) => {
        if ((await findOwnFile(tx, id))?.state !== 'uploading') throw missing(id)
        await putOwnPart(tx, id, part, content)
      })
    },
    async end(id) {
      return db.transaction(async (tx) => {
        const file = await findOwnFile(tx, id)
        if (file === undefined) throw missing(id)
        // The answer to the first time may have been lost.
        if (file.state === 'ready') return factsOf(file)
        const bytes = await ownPartsBytes(tx, id)
        if (bytes !== file.bytes)
          throw new GatewayError('bad_request', `Of ${file.bytes} bytes of the file only ${bytes} arrived.`)
        await finishOwnFile(tx, id, bytes)
        await listFile(tx, file)
        return factsOf(file)
      })
    },
    async read(id) {
      return factsOf(await readyFile(db, id))
    },
    readPart: (id, part) => readOwnPart(db, id, part),
    async delete(id) {
      return db.transaction(async (tx) => {
        const file = await deleteOwnFile(tx, id)
        if (file === undefined) throw missing(id)
        await listFile(tx, file, clock.now())
        return { id, object: 'file', deleted: true }
      })
    },
    async sweep() {
      const now = clock.now()
      for (const id of await listOverdueFiles(db, now, now - ABANDONED, SWEPT_AT_ONCE)) {
        await db.transaction(async (tx) => {
          const file = await deleteOwnFile(tx, id)
          if (file?.state === 'ready') await listFile(tx, file, now)
        })
      }
    },
  }
}

/** The file, when it is whole. Rejects with GatewayError `not_found`. */
export async function readyFile(db: Database | Transaction, id: string): Promise<OwnFileRow> {
  const file = await findOwnFile(db, id)
  if (file?.state !== 'ready') throw missing(id)
  return file
}

/** A text that becomes a file in parts, as it is written; in a transaction, so that it is there whole or not at all. */
export interface FileWriter {
  write(text: string): Promise<void>
  /** The id; null for nothing written, of which no file is made. */
  end(): Promise<string | null>
}

export function fileWriter(
  tx: Transaction,
  file: Pick<OwnFileRow, 'id' | 'maker' | 'filename' | 'createdAt' | 'expiresAt'>,
): FileWriter {
  const whole = { ...file, purpose: 'batch_output', state: 'uploading' as const, bytes: 0 }
  const [owner = ''] = ownersOf(file.maker)
  let rest: Buffer[] = []
  let restBytes = 0
  let part = 0
  let bytes = 0
  const put = async (content: Buffer): Promise<void> => {
    if (bytes === 0) await writeOwnFile(tx, { ...whole, owner })
    await putOwnPart(tx, file.id, part, content)
    part += 1
    bytes += content.length
  }
  return {
    async write(text) {
      const added = Buffer.from(text)
      rest.push(added)
      restBytes += added.length
      if (restBytes < PART_BYTES) return
      let all = Buffer.concat(rest)
      for (; all.length >= PART_BYTES; all = all.subarray(PART_BYTES)) await put(all.subarray(0, PART_BYTES))
      rest = [all]
      restBytes = all.length
    },
    async end() {
      if (restBytes > 0) await put(Buffer.concat(rest))
      if (bytes === 0) return null
      await finishOwnFile(tx, file.id, bytes)
      await listFile(tx, { ...whole, bytes })
      return file.id
    },
  }
}

/** Has lists show it; or, once deleted, not any more. `deletedAt`: Unix milliseconds. */
async function listFile(tx: Transaction, file: OwnFileRow, deletedAt?: number): Promise<void> {
  const [ownerName = ''] = ownersOf(file.maker)
  await writeObject(tx, {
    ...file.maker,
    kind: 'file',
    deploymentId: OWN,
    id: file.id,
    provider: OWN,
    ownerName,
    what: deletedAt === undefined ? 'created' : 'deleted',
    facts: JSON.stringify(factsOf(file)),
    at: deletedAt ?? file.createdAt,
  })
}

/** In OpenAI's form. */
function factsOf({ id, bytes, filename, purpose, createdAt, expiresAt }: OwnFileRow): Facts {
  return {
    id,
    object: 'file',
    bytes,
    created_at: Math.floor(createdAt / 1000),
    expires_at: expiresAt === null ? null : Math.floor(expiresAt / 1000),
    filename,
    purpose,
    status: 'processed',
  }
}

/** What PostgreSQL takes as text. */
function clean(name: string): string {
  return name.replaceAll('\0', '').slice(0, 512)
}

function missing(id: string): GatewayError {
  return new GatewayError('not_found', `No such file: ${id}.`)
}

function tooLarge(text: string): GatewayError {
  return new GatewayError('body_too_large', text, { param: 'file' })
}
