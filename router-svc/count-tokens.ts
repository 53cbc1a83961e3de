/**
 * Counts tokens where a provider reports none. Off the hot path: the tables (39 to 65 MB of memory) load on first need.
 *
 * The tokenizer grows faster than linearly on one endless word (100,000 letters took 4.9 s), so unbroken runs are cut, and a text over the
 * limit is estimated from its length.
 */
export interface TokenCounter {
  count(text: string): Promise<number>
}

const UNBROKEN = /\S{2000}/g
const TEXT_LIMIT = 50_000
/** Characters counted per turn of the event loop, about 6 ms: when ten thousand streams are left at once, calls go on in between. */
const TURN_LIMIT = 20_000

type Encode = (text: string, options: { disallowedSpecial: Set<string> }) => number[]

export function createTokenCounter(): TokenCounter {
  let encode: Encode | null = null
  let left = TURN_LIMIT
  let scheduled = false
  let waiting: { text: string; resolve: (tokens: number) => void }[] = []

  function tokens(text: string): number {
    left -= text.length
    // `<|endoftext|>` in a user's text is text, not a command: an empty set of disallowed tokens keeps it from throwing.
    return (encode as Encode)(cutRuns(text), { disallowedSpecial: new Set() }).length
  }

  function schedule(): void {
    if (scheduled) return
    scheduled = true
    setImmediate(() => {
      scheduled = false
      left = TURN_LIMIT
      let done = 0
      for (; done < waiting.length && left > 0; done += 1) {
        const { text, resolve } = waiting[done] as (typeof waiting)[number]
        resolve(tokens(text))
      }
      waiting = waiting.slice(done)
      if (waiting.length > 0) schedule()
    })
  }

  return {
    async count(text) {
      if (text === '') return 0
      if (text.length > TEXT_LIMIT) return roughTokens(text.length)
      encode ??= (await import('gpt-tokenizer/encoding/o200k_base')).encode
      schedule()
      return left > 0 ? tokens(text) : new Promise((resolve) => waiting.push({ text, resolve }))
    },
  }
}

/** About four characters a token, rounded up. */
export function roughTokens(characters: number): number {
  return Math.ceil(characters / 4)
}

function cutRuns(text: string): string {
  return text.replace(UNBROKEN, '$& ')
}

/** All text of a request's messages, prompt or input, for counting. */
export function promptText(request: Readonly<Record<string, unknown>>): string {
  const parts: string[] = []
  collect(request['messages'] ?? request['prompt'] ?? request['input'] ?? [request['query'], request['documents']], parts)
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
