/**
 * What models can do, by substrings of their id. The API has no cheap way to ask, and a wrong guess is a 400; the facts are those of
 * Anthropic's model pages in August 2026.
 */
export interface Traits {
  /** Largest `max_tokens`, in tokens. */
  maxOutput: number
  /** `budget`: thinking with a token budget; `adaptive`: with an effort; `both`: adaptive, and budgets still accepted. */
  thinking: 'none' | 'budget' | 'both' | 'adaptive'
  /** `output_config.format` and strict tools. */
  structured: boolean
  /** `free`: temperature and top_p; `one`: not both together; `none`: neither, nor top_k. */
  sampling: 'free' | 'one' | 'none'
  /** Effort `xhigh` exists; `max` stands in for it elsewhere. */
  xhigh: boolean
  /** An assistant's message at the end is gone on with; refused from 4.6 on. */
  prefill: boolean
}

const LATEST: Traits = {
  maxOutput: 128_000,
  thinking: 'adaptive',
  structured: true,
  sampling: 'none',
  xhigh: true,
  prefill: false,
}
const V4_6: Traits = { maxOutput: 128_000, thinking: 'both', structured: true, sampling: 'one', xhigh: false, prefill: false }
const V4_5: Traits = { maxOutput: 64_000, thinking: 'budget', structured: true, sampling: 'one', xhigh: false, prefill: true }
const OPUS_4: Traits = { maxOutput: 32_000, thinking: 'budget', structured: false, sampling: 'one', xhigh: false, prefill: true }
const SONNET_4: Traits = { ...OPUS_4, maxOutput: 64_000 }
const V3_7: Traits = { maxOutput: 8192, thinking: 'budget', structured: false, sampling: 'free', xhigh: false, prefill: true }
const V3_5: Traits = { maxOutput: 8192, thinking: 'none', structured: false, sampling: 'free', xhigh: false, prefill: true }
const V3: Traits = { ...V3_5, maxOutput: 4096 }
/** Models of others behind this protocol: nothing is known, so nothing is held back. */
const FOREIGN: Traits = { maxOutput: 4096, thinking: 'both', structured: false, sampling: 'free', xhigh: false, prefill: false }

/** First match counts. */
const ROWS: readonly (readonly [RegExp, Traits])[] = [
  [/(opus|sonnet|haiku)-4-6/, V4_6],
  [/(opus|sonnet|haiku)-4-5/, V4_5],
  [/(opus|sonnet|haiku)-4-[78]/, LATEST],
  // Dated, `-0`, `-1`, or bare.
  [/opus-4(-|$|@)/, OPUS_4],
  [/(sonnet|haiku)-4(-|$|@)/, SONNET_4],
  [/claude-3-7/, V3_7],
  [/claude-3-5/, V3_5],
  [/claude-(3|2|instant)/, V3],
  // Newer than this list: most likely like the newest in it.
  [/claude/, LATEST],
]

export function traitsOf(model: string): Traits {
  const name = model.toLowerCase().replaceAll('.', '-')
  for (const [pattern, traits] of ROWS) if (pattern.test(name)) return traits
  return FOREIGN
}
