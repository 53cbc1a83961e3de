/**
 * Counts tokens where a provider reports none. Off the hot path: the tables (39 to 65 MB of memory) load on first need.
 *
 * The tokenizer grows faster than linearly on one endless word (100,000 letters took 4.9 s), so unbroken runs are cut, and a text over the
 * limit is estimated from its length.
 */
export interface TokenCounter {
  count(text: string): Promise<number>
}

const RUN_LIMIT = 2_000
const TEXT_LIMIT = 50_000

export function createTokenCounter(): TokenCounter {
  let encode: ((text: string, options: { disallowedSpecial: Set<string> }) => number[]) | null = null
  return {
    async count(text) {
      if (text === '') return 0
      if (text.length > TEXT_LIMIT) return roughTokens(text.length)
      encode ??= (await import('gpt-tokenizer/encoding/o200k_base')).encode
      // `<|endoftext|>` in a user's text is text, not a command: an empty set of disallowed tokens keeps it from throwing.
      return encode(cutRuns(text), { disallowedSpecial: new Set() }).length
    },
  }
}

/** About four characters a token, rounded up. */
export function roughTokens(characters: number): number {
  return Math.ceil(characters / 4)
}

function cutRuns(text: string): string {
  return text.replace(new RegExp(`\\S{${RUN_LIMIT}}`, 'g'), '$& ')
}

/** All text of a request's messages, prompt or input, for counting. */
export function promptText(request: Readonly<Record<string, unknown>>): string {
  const parts: string[] = []
  collect(request['messages'] ?? request['prompt'] ?? request['input'], parts)
  if (request['tools'] !== undefined) parts.push(JSON.stringify(request['tools']))
  return parts.join('\n')
}

function collect(value: unknown, parts: string[]): void {
  if (typeof value === 'string') parts.push(value)
  else if (Array.isArray(value)) for (const item of value) collect(item, parts)
  else if (typeof value === 'object' && value !== null) {
    const part = value as Record<string, unknown>
    if (typeof part['text'] === 'string') parts.push(part['text'])
    if (part['content'] !== undefined) collect(part['content'], parts)
    if (Array.isArray(part['tool_calls'])) parts.push(JSON.stringify(part['tool_calls']))
  }
}
