/**
 * Responses that the gateway keeps itself, for all routers: those of models whose provider keeps none. Two implementations, `memory.ts` (one
 * process) and `redis.ts`, under one suite (`store.suite.ts`). Methods reject with GatewayError `counters_away` while the store is away.
 */
export interface ResponseStore {
  /** Keeps a record for `keep` milliseconds. False when there is no room for it. */
  put(key: string, record: string, keep: number): Promise<boolean>
  get(key: string): Promise<string | null>
  /** False when there was none. */
  delete(key: string): Promise<boolean>
}

/** Bytes of one record worth keeping: each holds the whole conversation so far. */
export const RECORD_MAX = 16 * 1024 * 1024
/** Milliseconds responses are kept: as long as OpenAI keeps its own. */
export const KEEP_DEFAULT = 30 * 86_400_000
