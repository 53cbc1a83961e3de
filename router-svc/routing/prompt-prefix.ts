import { type Hash, Hasher } from './hash.ts'

/** How the beginning of a conversation is recognised: one hash after the tools and system messages, and one after each further message. */
export interface PromptPrefix {
  /** `at[0]`: tools and system; `at[n]`: with n messages more. */
  readonly at: readonly Hash[]
  /**
   * Which of them names the conversation wherever it stands now: tools and system where they alone are worth caching (many conversations share
   * them), else with the first message.
   */
  readonly root: number
}

/** Providers cache from about 1,024 tokens (OpenAI, Anthropic's larger models); four characters are about a token. */
const CACHEABLE_CHARACTERS = 4 * 1_024
const SYSTEM = new Set(['system', 'developer'])
/** Where providers are told to cache; clients move it with every turn, and it changes nothing of the text. */
const MARKER = 'cache_control'

/** The prefixes of a canonical chat; null where there is no chat, or too little of it to be cached. Pure. */
export function promptPrefix(request: Readonly<Record<string, unknown>>): PromptPrefix | null {
  const { messages, tools } = request
  if (!Array.isArray(messages) || messages.length === 0) return null
  const hasher = new Hasher()
  if (tools !== undefined) hasher.json(tools, MARKER)
  let index = 0
  while (index < messages.length && SYSTEM.has((messages[index] as { role?: unknown } | null)?.role as string)) {
    hasher.json(messages[index], MARKER)
    index += 1
  }
  const at = [hasher.value]
  const shared = hasher.characters
  for (; index < messages.length; index += 1) {
    hasher.json(messages[index], MARKER)
    at.push(hasher.value)
  }
  if (hasher.characters < CACHEABLE_CHARACTERS) return null
  return { at, root: shared >= CACHEABLE_CHARACTERS ? 0 : Math.min(1, at.length - 1) }
}
