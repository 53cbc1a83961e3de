import type { CacheSettings } from '../../proto/routing.ts'
import type { Call } from '../call.ts'
import type { CachedAnswer } from './cache.ts'
import type { Guard, GuardedCache } from './guard.ts'
import { READ_LIMIT } from './guard.ts'
import { partitionOf } from './key.ts'
import type { Vectors } from './vectors.ts'

/** The vector of a text, made by a model group; `call` says on whose account. May reject. */
export type Embed = (text: string, model: string, call: Call) => Promise<Float32Array>

/** Answers to similar prompts. Off unless the settings say so; within one tenant, namespace, model group and set of parameters (key.ts). */
export interface Semantic {
  /** Null: this call has no prompt to compare, or no vector could be made of it. Never rejects. */
  begin(call: Call, settings: CacheSettings, namespace: string | null): Promise<SemanticTurn | null>
}

/** One call's prompt. */
export interface SemanticTurn {
  /** The answer to the most similar prompt, when that is similar enough and the answer `suits`. */
  find(suits: (answer: CachedAnswer) => boolean): Promise<SimilarAnswer | null>
  /** The answer to this prompt was kept under `key`. */
  add(key: string, ttl: number): Promise<void>
}

export interface SimilarAnswer {
  key: string
  answer: CachedAnswer
  similarity: number
}

export interface SemanticDeps {
  vectors: Vectors
  /** Where the answers are. */
  cache: GuardedCache
  /** Before the vectors, and one before the embedding model: one that is away must not take the other along. */
  guard: Guard
  embedGuard: Guard
  embed: Embed
}

/** Milliseconds a call waits for the vector of its prompt. */
export const EMBED_LIMIT = 5_000
/** Characters of a prompt that is compared: a longer one is past what embedding models read. */
const PROMPT_MAX = 32_000

export function createSemantic({ vectors, cache, guard, embedGuard, embed }: SemanticDeps): Semantic {
  return {
    async begin(call, settings, namespace) {
      const text = promptOf(call.request)
      const model = settings.semantic?.embeddingModel
      if (text === null || model === undefined || text.length > PROMPT_MAX) return null
      const vector = await embedGuard.run('embed', EMBED_LIMIT, null, () => embed(text, model, call))
      if (vector === null) return null
      const partition = partitionOf(call, settings, namespace)
      const threshold = call.identity.routing?.similarity ?? settings.semantic?.threshold ?? 1
      return {
        async find(suits) {
          const near = await guard.run('search', READ_LIMIT, null, () => vectors.find(partition, vector, threshold))
          if (near === null) return null
          const answer = await cache.get(near.key)
          if (answer === null) void guard.run('search', READ_LIMIT, undefined, () => vectors.delete([near.key]))
          return answer === null || answer.mode !== call.endpoint.mode || !suits(answer) ? null : { ...near, answer }
        },
        add: (key, ttl) => guard.run('index', READ_LIMIT, undefined, () => vectors.add(partition, vector, key, ttl)),
      }
    },
  }
}

/** The words of a request with who said them; null = it has none, or several prompts at once. */
export function promptOf(request: Readonly<Record<string, unknown>>): string | null {
  const { messages, prompt } = request
  if (typeof prompt === 'string') return prompt === '' ? null : prompt
  if (!Array.isArray(messages)) return null
  const said = messages.flatMap(({ role, content }: { role: string; content?: unknown }) => {
    const text = textOf(content)
    return text === '' ? [] : [`${role}: ${text}`]
  })
  return said.length === 0 ? null : said.join('\n')
}

function textOf(content: unknown): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  return content
    .map((part: { type?: unknown; text?: unknown }) => (part.type === 'text' && typeof part.text === 'string' ? part.text : ''))
    .join('\n')
}
