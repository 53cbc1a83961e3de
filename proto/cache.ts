import type { WireError } from './errors.ts'

/** What accounting asks one router to do with the response cache, on the cache subject. The reply comes when it is done. */
export interface CacheRequest {
  v: number
  what: 'ping' | 'info' | 'delete' | 'flush'
  /** Of `delete`: keys as `x-litellm-cache-key` tells them. */
  keys?: string[]
}

/** `type`: the store's, as `CacheSettings` names it. */
export type CacheReply = { v: number; type: string; facts: Record<string, unknown> } | { v: number; error: WireError }

/** What all routers then drop of what they hold themselves, on `tp.changed.cache`. */
export interface CacheNews {
  v: number
  /** Null = everything. */
  keys: string[] | null
}
