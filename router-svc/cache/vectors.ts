/**
 * Vectors of prompts, and which key each belongs to. Two implementations: `memory-vectors.ts` (one process) and `redis-vectors.ts`. Only
 * vectors of one partition are compared (key.ts). Methods may reject.
 */
export interface Vectors {
  /** The most similar one, when its cosine similarity is at least `threshold`. */
  find(partition: string, vector: Float32Array, threshold: number): Promise<Neighbour | null>
  /** `ttl` in milliseconds. */
  add(partition: string, vector: Float32Array, key: string, ttl: number): Promise<void>
  /** Forgets the vectors of these keys. */
  delete(keys: readonly string[]): Promise<void>
  flush(): Promise<void>
}

export interface Neighbour {
  key: string
  similarity: number
}

/** The vector at length 1, so that a dot product is the cosine; null = it has no direction, or is no vector. */
export function normalized(vector: Float32Array): Float32Array | null {
  let sum = 0
  for (let at = 0; at < vector.length; at++) sum += (vector[at] as number) ** 2
  if (!(sum > 0 && Number.isFinite(sum))) return null
  const length = Math.sqrt(sum)
  return vector.map((value) => value / length)
}
