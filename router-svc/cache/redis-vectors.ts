import type { RedisConnection } from '../../shared/redis.ts'
import { unlinkAll } from './redis.ts'
import { type Neighbour, normalized, type Vectors } from './vectors.ts'

export interface RedisVectorsOptions {
  redis: Pick<RedisConnection, 'call'>
  prefix: string
  /** Name of the index; one per length of vectors is made of it. */
  index: string
}

/** Whether the server can search vectors. Rejects when it is away. */
export async function searchesVectors(redis: Pick<RedisConnection, 'call'>): Promise<boolean> {
  try {
    await redis.call('FT._LIST')
    return true
  } catch (thrown) {
    if (isReply(thrown)) return false
    throw thrown
  }
}

/**
 * Vectors all routers share, in the search index of Redis (https://redis.io/docs/latest/develop/ai/search-and-query/vectors/): a hash per answer with
 * its partition, its key and its vector, which expires with the answer.
 */
export function createRedisVectors({ redis, prefix, index }: RedisVectorsOptions): Vectors {
  /** Lengths whose index is there. */
  const made = new Map<number, Promise<void>>()
  const indexOf = (length: number) => `${prefix}:${index}:${length}`
  const names = `{${prefix}}:cache-vector:`
  const nameOf = (key: string, length: number) => `${names}${length}:${key}`

  function ensure(length: number): Promise<void> {
    let making = made.get(length)
    if (making === undefined) {
      making = create(length).catch((thrown) => {
        made.delete(length)
        throw thrown
      })
      made.set(length, making)
    }
    return making
  }

  async function create(length: number): Promise<void> {
    const field = ['vector', 'VECTOR', 'HNSW', 6, 'TYPE', 'FLOAT32', 'DIM', length, 'DISTANCE_METRIC', 'COSINE']
    const schema = ['SCHEMA', 'partition', 'TAG', 'key', 'TEXT', 'NOINDEX', ...field]
    try {
      await redis.call('FT.CREATE', indexOf(length), 'ON', 'HASH', 'PREFIX', 1, nameOf('', length), ...schema)
    } catch (thrown) {
      if (!isReply(thrown) || !/already exists/i.test(thrown.message)) throw thrown
    }
  }

  return {
    async find(partition, asked, threshold) {
      const vector = normalized(asked)
      if (vector === null) return null
      await ensure(vector.length)
      const query = `(@partition:{${partition}})=>[KNN 1 @vector $asked AS distance]`
      const wanted = ['SORTBY', 'distance', 'RETURN', 2, 'key', 'distance', 'DIALECT', 2]
      const reply = await redis.call('FT.SEARCH', indexOf(vector.length), query, 'PARAMS', 2, 'asked', bytesOf(vector), ...wanted)
      const found = neighbourOf(reply)
      return found !== null && found.similarity >= threshold ? found : null
    },
    async add(partition, given, key, ttl) {
      const vector = normalized(given)
      if (vector === null) return
      await ensure(vector.length)
      const name = nameOf(key, vector.length)
      await redis.call('HSET', name, 'partition', partition, 'key', key, 'vector', bytesOf(vector))
      await redis.call('PEXPIRE', name, Math.max(1, Math.ceil(ttl)))
    },
    async delete(keys) {
      const names = keys.flatMap((key) => [...made.keys()].map((length) => nameOf(key, length)))
      if (names.length > 0) await redis.call('UNLINK', ...names)
    },
    flush: () => unlinkAll(redis, names),
  }
}

/** Whether the server said no. By name: the class would load the library in every process. */
function isReply(thrown: unknown): thrown is Error {
  return thrown instanceof Error && thrown.name === 'RedisReplyError'
}

/** `[count, name, [field, value, …]]` → the one found. Redis gives cosine distance, 0 to 2. */
function neighbourOf(reply: unknown): Neighbour | null {
  const fields = Array.isArray(reply) ? (reply[2] as unknown) : null
  if (!Array.isArray(fields)) return null
  const found: Record<string, string> = {}
  for (let at = 0; at + 1 < fields.length; at += 2) found[String(fields[at])] = String(fields[at + 1])
  const distance = Number(found['distance'])
  return found['key'] === undefined || Number.isNaN(distance) ? null : { key: found['key'], similarity: 1 - distance }
}

/** Little endian, as Redis wants it on every machine Node runs on. */
function bytesOf(vector: Float32Array): Buffer {
  return Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength)
}
