import type { Auth, Provider } from '../provider.ts'
import { decodeError } from './errors.ts'
import { encodeRequest } from './request.ts'
import { decodeResponse } from './response.ts'
import { MessageStream } from './stream.ts'

/** What this adapter reads of a row of the provider table. */
export interface AnthropicRow {
  /** Without trailing slash; null when the operator must give one. */
  base: string | null
  /** Environment variables of the key, and of the base URL. */
  keys: readonly string[]
  bases?: readonly string[]
  /** Where a compatible service differs. */
  name?: string
  auth?: Auth
}

/** A provider that speaks Anthropic's Messages protocol. */
export function anthropic(row: AnthropicRow): Provider {
  return {
    name: row.name ?? 'anthropic',
    auth: row.auth ?? { type: 'header', name: 'x-api-key', bearerPrefix: 'sk-ant-oat' },
    base: row.base,
    keyNames: row.keys,
    ...(row.bases === undefined ? {} : { baseNames: row.bases }),
    chat: {
      mode: 'chat',
      protocol: 'anthropic',
      encodeRequest,
      decodeResponse,
      decodeStream: (context) => new MessageStream(context),
    },
    decodeError,
  }
}
