import type { ObjectOwner } from './objects.ts'

/**
 * Batches the gateway runs itself, for models whose provider has none of OpenAI's form: routers carry the calls for them to accounting, which
 * keeps their files and runs their lines.
 */

/** Deployment and provider of files and batches that the gateway keeps. */
export const OWN = 'turnpike'

/** Bytes of one part of a file: it must fit into a message of the bus. */
export const PART_BYTES = 512 * 1024

/** Paths that lines may call. */
export const BATCH_ENDPOINTS: readonly string[] = [
  '/v1/chat/completions',
  '/v1/completions',
  '/v1/embeddings',
  '/v1/responses',
  '/v1/messages',
]

/** Router → accounting. Whose a file or batch is was proved by its id (router-svc/carried/ids.ts). Times are Unix milliseconds, lifetimes too. */
export type OwnBatchesAsk =
  /** A file in parts: begun, its parts put in any order, ended. Until then nobody sees it. */
  | { ask: 'begin file'; owner: ObjectOwner; filename: string; purpose: string; bytes: number; lifetime: number | null }
  | { ask: 'put part'; id: string; part: number; content: Uint8Array }
  | { ask: 'end file'; id: string }
  | { ask: 'read file'; id: string }
  | { ask: 'read part'; id: string; part: number }
  | { ask: 'delete file'; id: string }
  | {
      ask: 'create batch'
      owner: ObjectOwner
      fileId: string
      endpoint: string
      window: string
      metadata: Record<string, unknown> | null
      /** Of the files with results; null = the settings'. */
      lifetime: number | null
    }
  | { ask: 'read batch'; id: string }
  | { ask: 'cancel batch'; id: string }

export type OwnBatchesRequest = { v: number } & OwnBatchesAsk

export interface OwnBatchesReply {
  v: number
  /** The file or batch in OpenAI's form, with bare ids; absent in the answer to a part. */
  object?: Record<string, unknown>
  /** Of `read part`; null = there are no more. */
  content?: Uint8Array | null
}
