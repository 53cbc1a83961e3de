import { entryOf } from '../../../shared/entry.ts'
import { type Traits as ClaudeTraits, traitsOf as claudeTraits } from '../anthropic/models.ts'
import { text } from '../json.ts'
import type { Target } from '../provider.ts'

/** What a model behind Converse takes, by its id. The API has no cheap way to ask, and a wrong guess is a 400. */
export interface Traits {
  /** Those of the Messages API, for Claude; null for anybody else. */
  claude: ClaudeTraits | null
  /** How it is told to think: `effort`: `reasoning_effort`; `config`: `reasoning_config`; `nova`: `reasoningConfig`. */
  reasoning: 'claude' | 'effort' | 'config' | 'nova' | 'none'
  /** A call can be demanded; all others take the choice `auto` alone. */
  forcedTools: boolean
  /** `outputConfig.textFormat`. */
  structured: boolean
  /** Cache points in messages and system; `tools`: also among tools. */
  cache: 'none' | 'messages' | 'tools'
  /** Where `top_k` goes among the fields of the model. */
  topK: 'top_k' | 'k' | 'nova'
}

const OTHER: Traits = {
  claude: null,
  reasoning: 'none',
  forcedTools: false,
  structured: false,
  cache: 'none',
  topK: 'top_k',
}

/** First match counts. */
const ROWS: readonly (readonly [RegExp, Partial<Traits>])[] = [
  [/nova-2/, { reasoning: 'nova', forcedTools: true, cache: 'messages', topK: 'nova' }],
  [/nova/, { forcedTools: true, cache: 'messages', topK: 'nova' }],
  [/gpt-oss/, { reasoning: 'effort', forcedTools: true, structured: true }],
  [/qwen3/, { reasoning: 'config', forcedTools: true, structured: true }],
  [
    /deepseek\.v3|gemma-3|minimax|kimi|nemotron|ministral|magistral|mistral-large-3|voxtral/,
    { forcedTools: true, structured: true },
  ],
  [/mistral-large|pixtral/, { forcedTools: true }],
  [/cohere/, { topK: 'k' }],
]

export function traitsOf(model: string): Traits {
  const name = model.toLowerCase()
  if (name.includes('claude')) {
    const claude = claudeTraits(name)
    const reasoning = claude.thinking === 'none' ? 'none' : 'claude'
    return { ...OTHER, claude, reasoning, forcedTools: true, structured: claude.structured, cache: 'tools' }
  }
  for (const [pattern, traits] of ROWS) if (pattern.test(name)) return { ...OTHER, ...traits }
  return OTHER
}

/** Those of a deployment's model: an ARN of a profile or an import does not tell what model it is, `base_model` may. */
export function traitsFor(target: Target): Traits {
  return traitsOf(namesOf(target))
}

/** All a deployment says of what model it is. */
export function namesOf({ model, baseModel, settings }: Target): string {
  return `${model} ${baseModel ?? ''} ${text(settings['base_model'])}`.trim()
}

/** What LiteLLM lets operators write before the model's own id: the API to use, a region, the kind of an imported model. */
const ROUTES = new Set(['converse', 'converse_like', 'invoke', 'llama', 'deepseek_r1', 'qwen2', 'qwen3', 'openai', 'nova'])
/** `eu-west-1`, `us-gov-east-1`, `eusc-de-east-1`. */
export const REGION = /^[a-z]{2,4}(?:-[a-z]+)+-\d$/

/** The id Bedrock knows the model by, the region its name holds or null, and the route written before it; empty = none. */
export function modelOf(name: string): { id: string; region: string | null; route: string } {
  let id = name
  let region: string | null = null
  let route = ''
  for (let slash = id.indexOf('/'); slash > 0 && !id.startsWith('arn:'); slash = id.indexOf('/')) {
    const step = id.slice(0, slash)
    if (REGION.test(step)) region = step
    else if (ROUTES.has(step)) route = step
    else break
    id = id.slice(slash + 1)
  }
  // ARNs of Bedrock's own models leave the account out, never the region.
  const arn = /^arn:[a-z-]+:[a-z]+:([a-z0-9-]+):/.exec(id)
  return { id, region: arn?.[1] ?? region, route }
}

/** How a model is asked through InvokeModel: as Amazon's, in OpenAI's body, or as a text to go on with. */
export type Invoked = 'nova' | 'openai' | 'llama' | 'qwen' | 'deepseek' | 'mistral' | 'titan' | 'other'

/** Kinds of imported models, by the route that names them. */
const IMPORTS: Readonly<Record<string, Invoked>> = {
  openai: 'openai',
  llama: 'llama',
  deepseek_r1: 'deepseek',
  qwen2: 'qwen',
  qwen3: 'qwen',
}

/** First match counts. */
const INVOKED: readonly (readonly [RegExp, Invoked])[] = [
  [/nova/, 'nova'],
  [/titan/, 'titan'],
  [
    /gpt-oss|qwen|deepseek\.v3|jamba|kimi|minimax|glm|nemotron|gemma|ministral|magistral|voxtral|mistral-large-3|pixtral/,
    'openai',
  ],
  [/deepseek/, 'deepseek'],
  [/llama/, 'llama'],
  [/mistral|mixtral/, 'mistral'],
]

/** Null = through Converse, as every model that no route says otherwise of. */
export function invokedAs(model: string, names: string): Invoked | null {
  const { route } = modelOf(model)
  const imported = entryOf(IMPORTS, route)
  if (imported !== undefined) return imported
  if (route !== 'invoke') return null
  const known = names.toLowerCase()
  return INVOKED.find(([pattern]) => pattern.test(known))?.[1] ?? 'other'
}
