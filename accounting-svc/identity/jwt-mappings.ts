import type { Clock } from '../../shared/clock.ts'
import type { Database, Transaction } from '../../shared/db/db.ts'
import { alreadyExists } from '../../shared/db/sql-state.ts'
import { GatewayError } from '../../shared/errors.ts'
import { rowId } from '../../shared/ids.ts'
import { type AuditAction, audit } from '../sql/audit.ts'
import {
  deleteJwtMapping,
  findJwtMapping,
  insertJwtMapping,
  type JwtMappingRow,
  listJwtMappings,
  updateJwtMapping,
} from '../sql/jwt-mappings.ts'
import { findKey } from '../sql/keys.ts'
import { actorOf } from './access.ts'
import { auditEntry } from './audit.ts'
import { badRequest } from './budgets.ts'
import { tokenOf } from './key-fields.ts'
import type { Writer } from './writer.ts'

/** What a client sends: null and absent = leave as it is. */
export interface JwtMappingFields {
  jwt_claim_name?: string | null | undefined
  jwt_claim_value?: string | null | undefined
  /** The key or its hash. */
  key?: string | null | undefined
  description?: string | null | undefined
  is_active?: boolean | null | undefined
}

export interface JwtMappings {
  make(fields: JwtMappingFields, by: Writer): Promise<Record<string, unknown>>
  change(id: string, fields: JwtMappingFields, by: Writer): Promise<Record<string, unknown>>
  remove(id: string, by: Writer): Promise<Record<string, unknown>>
  info(id: string): Promise<Record<string, unknown>>
  list(page: number, size: number): Promise<Record<string, unknown>>
}

/** Claims of tokens that stand for virtual keys. The hash of the key is never shown. */
export function createJwtMappings(deps: { db: Database; clock: Clock }): JwtMappings {
  const { db, clock } = deps

  async function columnsOf(tx: Transaction, fields: JwtMappingFields): Promise<Partial<JwtMappingRow>> {
    const { key, jwt_claim_name, jwt_claim_value, description, is_active } = fields
    const columns: Partial<JwtMappingRow> = {}
    if (jwt_claim_name != null) columns.jwt_claim_name = jwt_claim_name
    if (jwt_claim_value != null) columns.jwt_claim_value = jwt_claim_value
    if (description != null) columns.description = description
    if (is_active != null) columns.is_active = is_active
    if (key != null) {
      const token = tokenOf(key)
      if ((await findKey(tx, token)) === undefined) throw badRequest('key', 'There is no such key.')
      columns.token = token
    }
    return columns
  }

  async function must(tx: Transaction, id: string, lock = false): Promise<JwtMappingRow> {
    const row = await findJwtMapping(tx, id, lock)
    if (row === undefined) throw new GatewayError('not_found', `There is no JWT key mapping ${id}.`, { param: 'id' })
    return row
  }

  function written(tx: Transaction, by: Writer, action: AuditAction, before: JwtMappingRow | null, after: JwtMappingRow | null) {
    const id = (after ?? before)?.id ?? ''
    const [was, is] = [before, after].map((row) => (row === null ? null : mappingObject(row)))
    return audit(tx, auditEntry(by.actor, by.changedBy, action, 'jwt_key_mappings', id, was, is))
  }

  return {
    async make(fields, by) {
      const [at, who] = [new Date(clock.now()), actorOf(by.actor)]
      return db.transaction(async (tx) => {
        const columns = await columnsOf(tx, fields)
        const stamp = { created_at: at, created_by: who, updated_at: at, updated_by: who }
        const row = await insertJwtMapping(tx, { ...columns, ...stamp, id: rowId() }).catch(claimTaken)
        await written(tx, by, 'created', null, row)
        return mappingObject(row)
      })
    },

    async change(id, fields, by) {
      return db.transaction(async (tx) => {
        const before = await must(tx, id, true)
        const stamp = { updated_at: new Date(clock.now()), updated_by: actorOf(by.actor) }
        const after = await updateJwtMapping(tx, id, { ...(await columnsOf(tx, fields)), ...stamp }).catch(claimTaken)
        await written(tx, by, 'updated', before, after)
        return mappingObject(after)
      })
    },

    async remove(id, by) {
      return db.transaction(async (tx) => {
        const before = await must(tx, id, true)
        await deleteJwtMapping(tx, id)
        await written(tx, by, 'deleted', before, null)
        return { status: 'success', id }
      })
    },

    async info(id) {
      return mappingObject(await must(db, id))
    },

    async list(page, size) {
      const { rows, total } = await listJwtMappings(db, { limit: size, offset: (page - 1) * size })
      return {
        mappings: rows.map(mappingObject),
        total_count: total,
        current_page: page,
        total_pages: Math.ceil(total / size),
      }
    },
  }
}

function mappingObject({ token: _, ...row }: JwtMappingRow): Record<string, unknown> {
  return row
}

function claimTaken(error: unknown): never {
  throw alreadyExists(error) ? badRequest('jwt_claim_value', 'This claim is mapped to a key already.') : error
}
