import type { Identity } from '../../proto/identity.ts'
import type { AuditAction, AuditEntry } from '../sql/audit.ts'
import { actorOf } from './access.ts'

/** The header by which a program says for whom it writes (surface reference §0 "Actor header"). */
export const CHANGED_BY = 'litellm-changed-by'

/** Longest name taken from the header: it is a name, and anybody with a key may send it. */
const LONGEST_NAME = 256

/**
 * Names whose values never reach the audit log, at any depth. `key` and `token` are credentials wherever management rows use them; the
 * hash of a key is `objectId`.
 */
const SECRETS: ReadonlySet<string> = new Set([
  'key',
  'keys',
  'token',
  'token_id',
  'password',
  'secret',
  'api_key',
  'apikey',
  'authorization',
  'access_token',
  'refresh_token',
  'id_token',
  'private_key',
  'credentials',
  'credential_values',
  'callback_vars',
  'vertex_credentials',
  'secret_manager_settings',
])
/** Prices end in `_per_token`. */
const SECRET_ENDING = /(_api_key|_secret|_secret_key|_secret_access_key|_password|(?<!_per)_token|_private_key|_credentials)$/

/**
 * One management write as `audit` takes it. `changedBy` is the header `litellm-changed-by` or undefined; `before` and `after` are rows
 * as clients see them (null = there is none). Values of secrets are replaced, so what a client sent can be passed as it is.
 */
export function auditEntry(
  actor: Identity,
  changedBy: string | undefined,
  action: AuditAction,
  table: string,
  objectId: string,
  before: unknown,
  after: unknown,
): AuditEntry {
  return {
    changedBy: changedBy?.slice(0, LONGEST_NAME) || actorOf(actor),
    changedByKey: actor.keyHash,
    action,
    table,
    objectId,
    before: withoutSecrets(before),
    after: withoutSecrets(after),
  }
}

/** `value` with `"***"` in place of every secret, at any depth. */
export function withoutSecrets(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutSecrets)
  if (!isPlain(value)) return typeof value === 'string' && value.startsWith('sk-') ? shortened(value) : value
  return Object.fromEntries(
    Object.entries(value).map(([name, inner]) => [name, isSecret(name) && holdsText(inner) ? '***' : withoutSecrets(inner)]),
  )
}

function isSecret(name: string): boolean {
  const lower = name.toLowerCase()
  return SECRETS.has(lower) || SECRET_ENDING.test(lower)
}

/** Null, amounts and flags are no secret, and tell whether there is one. */
function holdsText(value: unknown): boolean {
  return typeof value === 'string' || Array.isArray(value) || isPlain(value)
}

/** A key in a place of another name; `sk-...abcd` is what is shown of keys everywhere. */
function shortened(text: string): string {
  return text.startsWith('sk-...') ? text : '***'
}

/** Dates and raw JSON (dollars.ts) are values, not maps to look into. */
function isPlain(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false
  const prototype = Object.getPrototypeOf(value)
  return prototype === Object.prototype || (prototype === null && !isRawJson(value))
}

const { isRawJSON: isRawJson } = JSON as unknown as { isRawJSON(value: unknown): boolean }
