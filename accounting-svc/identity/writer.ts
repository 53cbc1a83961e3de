import type { Identity } from '../../proto/identity.ts'
import { CHANGED_BY } from './audit.ts'

/** Who writes, as the rows and the audit log name them. */
export interface Writer {
  actor: Identity
  /** The header `litellm-changed-by`. */
  changedBy: string | undefined
}

export function writerOf(call: { identity: Identity; header(name: string): string | undefined }): Writer {
  return { actor: call.identity, changedBy: call.header(CHANGED_BY) }
}
