import type { Catalog } from '../catalog/catalog.ts'
import { PROVIDERS } from '../catalog/providers.ts'
import { unavailable } from '../catalog/unavailable.ts'
import { KNOWN_PROVIDERS } from './known.ts'
import { nearest } from './nearest.ts'

/** Which provider a deployment calls, and which of its models; or why that cannot be said. */
export type ModelTarget =
  | { kind: 'served'; provider: string; model: string }
  /** LiteLLM has this provider, we do not. */
  | { kind: 'unserved'; provider: string }
  | { kind: 'unknown'; problem: string }

/** Model names that tell their maker by themselves. Names that are not here are looked up in the catalogue. */
const BARE_NAMES: readonly (readonly [RegExp, string])[] = [
  [
    /^(gpt-|chatgpt-|ft:gpt-|o[134](-|$|\*)|text-embedding-|(omni|text)-moderation|davinci-002|babbage-002|codex-mini|computer-use)/,
    'openai',
  ],
  [/^(whisper-1|tts-1|dall-e-)/, 'openai'],
  [/^claude-/, 'anthropic'],
  [/^mock$/, 'mock'],
]

/** The wildcards that let clients of a gateway without a model list name models without their provider. */
export const BARE_WILDCARDS: readonly { name: string; provider: string }[] = [
  { name: 'gpt-*', provider: 'openai' },
  { name: 'chatgpt-*', provider: 'openai' },
  { name: 'o1*', provider: 'openai' },
  { name: 'o3*', provider: 'openai' },
  { name: 'o4*', provider: 'openai' },
  { name: 'text-embedding-*', provider: 'openai' },
  { name: 'claude-*', provider: 'anthropic' },
]

/**
 * Reads `provider/model`, or a bare model name. `custom` is `custom_llm_provider`, which beats what the name says; `own` are providers that the
 * configuration adds.
 */
export function targetOf(
  name: string,
  custom: string | null | undefined,
  catalog: Catalog,
  own: readonly string[] = [],
): ModelTarget {
  const slash = name.indexOf('/')
  const prefix = slash > 0 ? name.slice(0, slash) : null
  const rest = slash > 0 ? name.slice(slash + 1) : name
  if (custom !== null && custom !== undefined && custom !== '')
    return named(custom, prefix === custom ? rest : name, 'custom_llm_provider', own)
  if (prefix !== null) return named(prefix, rest, `the model "${name}"`, own)

  const maker = BARE_NAMES.find(([pattern]) => pattern.test(name))?.[1] ?? catalog.maker(name)
  if (maker !== null) return named(maker, name, `the model "${name}"`, own)
  const problem = `does not say which provider serves "${name}"; write provider/model, for example openai/${name}`
  return { kind: 'unknown', problem }
}

function named(provider: string, model: string, where: string, own: readonly string[]): ModelTarget {
  if (Object.hasOwn(PROVIDERS, provider) || own.includes(provider)) {
    if (model === '')
      return { kind: 'unknown', problem: `names the provider "${provider}" but no model; write ${provider}/<model>` }
    return { kind: 'served', provider, model }
  }
  const gone = unavailable(provider)
  if (gone !== null) return { kind: 'unknown', problem: `cannot be served: ${gone}` }
  if (KNOWN_PROVIDERS.has(provider)) return { kind: 'unserved', provider }
  return { kind: 'unknown', problem: `${where} names the provider "${provider}", which is not known; ${suggestion(provider)}` }
}

function suggestion(provider: string): string {
  const near = nearest(provider, Object.keys(PROVIDERS))
  if (near.length > 0) return `did you mean ${near.join(' or ')}?`
  return `for a server that speaks OpenAI’s protocol write openai/<model> and its api_base. Known: ${Object.keys(PROVIDERS).sort().join(', ')}`
}
