/**
 * Where answers are kept. Implementations: memory.ts, redis.ts, disk.ts, s3.ts; one suite (cache.suite.ts). Keys are made by key.ts, and hold
 * the tenant. A store may reject; `guard.ts` stands before it, so that one that is away or slow is a miss, never a failed call.
 */
export interface Cache {
  /** Null = not there, or expired, or not readable. */
  get(key: string): Promise<CachedAnswer | null>
  /** `ttl` in milliseconds. */
  set(key: string, answer: CachedAnswer, ttl: number): Promise<void>
  /** How many were there. */
  delete(keys: readonly string[]): Promise<number>
  /** Everything of this gateway's. */
  flush(): Promise<void>
  /** Resolves with what any key may know (/cache/ping), so not where answers are kept; rejects when the store is away. */
  ping(): Promise<Record<string, unknown>>
  close(): Promise<void>
}

/** A complete, successful answer in canonical form: any dialect and any stream can be made of it. */
export interface CachedAnswer {
  /** Unix milliseconds at which it was made. */
  at: number
  mode: string
  /** Canonical ChatResponse or CompletionResponse; of embeddings one item (embedding-turn.ts). */
  response: Record<string, unknown>
  modelGroup: string
  deploymentId: string
  /** What it cost whoever made it, nano-dollars. */
  cost: number
}

/** An answer from the cache, for one call. */
export interface CacheHit {
  key: string
  answer: CachedAnswer
  /** Cosine similarity of the prompts, where the answer is that of a similar one. */
  similarity: number | null
  /** Milliseconds between the chunks of a replayed stream. */
  pace: number
}
