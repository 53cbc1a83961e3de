/** How hard a question is, by what it says: rules that cost microseconds, no model. Pure. */

export const TIERS = ['simple', 'medium', 'complex', 'reasoning'] as const
export type Tier = (typeof TIERS)[number]

/** Scores at which the next tier begins. */
export interface Boundaries {
  medium: number
  complex: number
  reasoning: number
}

export const BOUNDARIES: Boundaries = { medium: 0.15, complex: 0.35, reasoning: 0.6 }

/** Characters of a text that is short, and of one that is long (about 15 and 400 tokens). */
const SHORT = 60
const LONG = 1600

const CODE =
  /```|\b(?:function|class|def|import|return|const|async|await|SELECT|INSERT|UPDATE|regex|compile|stack ?trace|traceback|exception|refactor|debug|unit tests?|endpoint|API|SQL|JSON|python|javascript|typescript|rust|java|golang|c\+\+|bash|docker(?:file)?)\b|[{};]\s*$/gim
const REASONING =
  /\b(?:step[ -]by[ -]step|prove|proof|deriv(?:e|ation)|reason (?:through|about)|think (?:through|carefully|hard)|analy[sz]e|evaluate|compare|trade-?offs?|pros and cons|explain why|justify|root cause|hypothes[ie]s|implications?|what would happen if)\b/gi
const TECHNICAL =
  /\b(?:architecture|distributed|concurren(?:t|cy)|consisten(?:t|cy)|scalab(?:le|ility)|latency|throughput|kubernetes|microservices?|encryption|authentication|database|transactions?|algorithms?|complexity|optimi[sz](?:e|ation)|machine learning|neural|statistic(?:s|al)|theorem|integral|matrix|quantum|genom(?:e|ic)|pharmac\w+|jurisdiction|compliance)\b/gi
const SIMPLE =
  /^\s*(?:hi|hello|hey|thanks?|thank you|ok(?:ay)?|yes|no|good (?:morning|evening|night)|what(?:'s| is| are)|who (?:is|was)|when (?:is|was|did)|where is|define|translate|spell|how (?:old|far|tall|many days))\b/i
const STEPS = /\bfirst\b[\s\S]*\b(?:then|next|second|finally)\b|^\s*(?:\d+[.)]|[-*])\s/im

/** From 0 (a greeting) to 1. */
export function scoreOf(question: string): number {
  const share = (pattern: RegExp, enough: number): number => Math.min(1, countOf(pattern, question) / enough)
  const length = Math.min(1, Math.max(0, (question.length - SHORT) / (LONG - SHORT)))
  const score =
    0.1 * length +
    0.3 * share(CODE, 3) +
    0.25 * share(REASONING, 2) +
    0.25 * share(TECHNICAL, 3) +
    (SIMPLE.test(question) ? -0.05 : 0) +
    (STEPS.test(question) ? 0.06 : 0) +
    (countOf(/\?/g, question) > 1 ? 0.04 : 0)
  return Math.min(1, Math.max(0, score))
}

/** Two words that ask for reasoning are enough for the highest tier, whatever the rest says. */
export function tierOf(question: string, { medium, complex, reasoning }: Boundaries = BOUNDARIES): Tier {
  if (countOf(REASONING, question) > 1) return 'reasoning'
  const score = scoreOf(question)
  if (score >= reasoning) return 'reasoning'
  if (score >= complex) return 'complex'
  return score >= medium ? 'medium' : 'simple'
}

/** Different words: one that is repeated says nothing more. */
function countOf(pattern: RegExp, question: string): number {
  return new Set((question.match(pattern) ?? []).map((word) => word.trim().toLowerCase())).size
}
