import { randomBytes, randomUUID } from 'node:crypto'

/** Id of a call: a UUID, as LiteLLM's `x-litellm-call-id`. */
export function callId(): string {
  return randomUUID()
}

/** Id of a process on the bus: role and ten random letters, usable as a subject token. */
export function processId(role: string): string {
  return `${role}-${randomBytes(8).toString('base64url').replace(/[-_]/g, '0').slice(0, 10)}`
}

/** A new virtual key: `sk-` and 16 random bytes, URL-safe base64 (22 characters), as LiteLLM makes them. */
export function virtualKey(): string {
  return `sk-${randomBytes(16).toString('base64url')}`
}

/** Id of a team, a user, a budget and whatever else is given none by its maker: a UUID, as LiteLLM's. */
export function rowId(): string {
  return randomUUID()
}

/** Id of an audit entry. */
export function auditId(): string {
  return randomUUID()
}

/** Id of a trace, as W3C Trace Context writes it: 16 random bytes in hexadecimal, never all zero. */
export function traceId(): string {
  return hexadecimal(16)
}

/** Id of a span: 8 random bytes in hexadecimal, never all zero. */
export function spanId(): string {
  return hexadecimal(8)
}

function hexadecimal(bytes: number): string {
  const made = randomBytes(bytes)
  // All zero means none (W3C Trace Context §3.2.2).
  if (made[0] === 0) made[0] = 1
  return made.toString('hex')
}
