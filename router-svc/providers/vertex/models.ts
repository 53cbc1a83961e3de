/** Where a project's calls go when nobody names a location; LiteLLM's choice too. */
export const DEFAULT_LOCATION = 'us-central1'

/** Two locations stand for many regions, and have a domain of their own. */
const MULTI_REGIONS = new Set(['us', 'eu'])

/** The service's host for a location. */
export function hostOf(location: string): string {
  if (location === 'global') return 'aiplatform.googleapis.com'
  return MULTI_REGIONS.has(location) ? `aiplatform.${location}.rep.googleapis.com` : `${location}-aiplatform.googleapis.com`
}

export function isLocation(name: string): boolean {
  return /^[a-z]+(?:-[a-z]+\d+)?$/.test(name)
}

/** Old projects carry a domain: `example.com:name`. */
export function isProject(id: string): boolean {
  return /^(?:[a-z\d.-]+:)?[a-z\d-]+$/i.test(id)
}

/**
 * Whose protocol a model is spoken to in. `google`: Gemini's; `claude`: Anthropic's; `partner`: OpenAI's as the vendor sells it; `open`: OpenAI's
 * as Google serves it; `endpoint`: OpenAI's at a model the operator deployed.
 */
export type Family = 'google' | 'claude' | 'partner' | 'open' | 'endpoint'

export interface Model {
  family: Family
  /** Folder of its publisher; empty for an endpoint of the project's own. */
  publisher: string
  /** Its name there, or the endpoint's number. */
  id: string
}

/** Models of partners, known by how their names begin: their own way to be asked. */
const PARTNERS: readonly (readonly [RegExp, string])[] = [
  [/^(?:mistral|codestral|ministral|mixtral|pixtral|magistral|devstral)/, 'mistralai'],
  [/^(?:jamba|ai21)/, 'ai21'],
]

/** Publishers of open models, for names that leave them out. */
const OPEN: readonly (readonly [RegExp, string])[] = [
  [/^llama/, 'meta'],
  [/^qwen/, 'qwen'],
  [/^deepseek/, 'deepseek-ai'],
  [/^gpt-oss/, 'openai'],
  [/^kimi/, 'moonshotai'],
  [/^minimax/, 'minimaxai'],
  [/^glm/, 'zai-org'],
  [/^grok/, 'xai'],
]

const NUMBER = /^\d+$/

/**
 * The model a name stands for, in any of the spellings LiteLLM's operators use: `gemini-2.5-pro`, `google/…`, `gemini/123` and `123` (tuned),
 * `claude-…`, `mistral-…`, `meta/llama-…`, `openapi/meta/llama-…`, `openai/123` (deployed), `publishers/P/models/M`. `baseModel`: what is behind
 * a number.
 */
export function modelOf(name: string, baseModel: string | null = null): Model {
  const path = /(?:^|\/)publishers\/([^/]+)\/models\/([^/:]+)$/.exec(name)
  if (path !== null) return published(path[1] as string, path[2] as string)
  const endpoint = /(?:^|\/)endpoints\/(\d+)$/.exec(name)
  if (endpoint !== null) return numbered(endpoint[1] as string, baseModel)
  const bare = name.replace(/^vertex_ai(?:_beta)?\//, '')
  if (NUMBER.test(bare)) return numbered(bare, baseModel)
  const slash = bare.indexOf('/')
  if (slash < 0) return unprefixed(bare)
  const prefix = bare.slice(0, slash)
  const rest = bare.slice(slash + 1)
  if (prefix === 'openapi') return open(rest)
  if (prefix === 'gemini') return NUMBER.test(rest) ? { family: 'google', publisher: '', id: rest } : published('google', rest)
  if (NUMBER.test(rest)) return { family: 'endpoint', publisher: '', id: rest }
  return published(prefix, rest)
}

/** A number without a word of what is behind it is a tuned Gemini. */
function numbered(id: string, baseModel: string | null): Model {
  const family = baseModel === null ? 'google' : modelOf(baseModel).family
  return { family: family === 'google' ? 'google' : 'endpoint', publisher: '', id }
}

function unprefixed(id: string): Model {
  if (id.startsWith('claude')) return { family: 'claude', publisher: 'anthropic', id }
  for (const [pattern, publisher] of PARTNERS) if (pattern.test(id)) return { family: 'partner', publisher, id }
  for (const [pattern] of OPEN) if (pattern.test(id)) return open(id)
  return { family: 'google', publisher: 'google', id }
}

function published(publisher: string, id: string): Model {
  if (publisher === 'google') return { family: 'google', publisher, id }
  if (publisher === 'anthropic') return { family: 'claude', publisher, id }
  if (publisher === 'mistralai' || publisher === 'ai21') return { family: 'partner', publisher, id }
  return open(`${publisher}/${id}`)
}

function open(id: string): Model {
  const publisher = id.includes('/') ? id.slice(0, id.indexOf('/')) : OPEN.find(([pattern]) => pattern.test(id))?.[1]
  if (publisher === undefined) return { family: 'open', publisher: '', id }
  return { family: 'open', publisher, id: id.includes('/') ? id : `${publisher}/${id}` }
}
