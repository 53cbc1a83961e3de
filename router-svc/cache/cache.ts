/**
 * Where answers are kept. Implementations: memory.ts, redis.ts, disk.ts, s3.ts; one suite (cache.suite.ts). Keys are made by key.ts, and hold
 * the tenant. A cache that is away or slow is a miss, never a failed call; its trouble is counted and logged, not thrown.
 */
export interface Cache {
  /** Null = not there, or expired. */
  get(key: string): Promise<CachedAnswer | null>
  /** `ttl` in milliseconds. */
  set(key: string, answer: CachedAnswer, ttl: number): Promise<void>
  delete(keys: readonly string[]): Promise<number>
  /** Everything of this gateway's. */
  flush(): Promise<void>
  /** Resolves with what there is to know, for /cache/ping; rejects with GatewayError when it is away. */
  ping(): Promise<Record<string, unknown>>
  close(): Promise<void>
}

/** A complete, successful answer in canonical form: any dialect and any stream can be made of it. */
export interface CachedAnswer {
  /** Unix milliseconds at which it was made. */
  at: number
  mode: string
  /** Canonical response: a ChatResponse, CompletionResponse or EmbeddingResponse. */
  response: Record<string, unknown>
  modelGroup: string
  deploymentId: string
  /** What it cost whoever made it, nano-dollars. */
  cost: number
}
