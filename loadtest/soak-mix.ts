import { deployment } from './setups.ts'

/** One kind of call of the mix. */
export interface Part {
  name: string
  /** Of the calls per second. */
  share: number
  model: 'soak' | 'soak-claude' | 'soak-failing'
  stream: boolean
  /** What the provider does, see `script.ts`. */
  script: string
  /** Characters of prompt, by turns. */
  prompts: readonly number[]
  /** Leave each stream after so many chunks; 0: never. */
  abortAfter: number
  /** Asks for the cache, and so many different questions. 0: not cached. */
  questions: number
  /** The provider states what it cost, so that the ledger must have the very same. */
  exact: boolean
  /** Failures that the script asks for. */
  provoked: readonly string[]
  /** Seconds one takes, for how many connections it needs. */
  seconds: number
}

const PART: Part = {
  ...{ name: '', share: 0, model: 'soak', stream: false, script: '', prompts: [500], abortAfter: 0, questions: 0 },
  ...{ exact: true, provoked: [], seconds: 0.1 },
}
const PACED = 'chunks=40,interval=25,size=12'

/** A day of a gateway in small; the shares add up to 1. */
export const MIX: readonly Part[] = [
  { ...PART, name: 'unary', share: 0.52, prompts: [500, 1_500, 500, 8_000, 500, 1_500, 30_000] },
  { ...PART, name: 'stream', share: 0.12, stream: true, script: PACED, seconds: 1.2 },
  // Long enough that no lateness of the client lets the provider come to its end.
  {
    ...PART,
    name: 'left',
    share: 0.05,
    stream: true,
    script: 'chunks=1200,interval=25',
    abortAfter: 4,
    exact: false,
    seconds: 0.3,
  },
  { ...PART, name: 'translated', share: 0.06, model: 'soak-claude' },
  { ...PART, name: 'translated-stream', share: 0.04, model: 'soak-claude', stream: true, script: PACED, seconds: 1.2 },
  // Every second try of it fails, so that most are answered by the retry.
  { ...PART, name: 'retried', share: 0.02, model: 'soak-failing', script: 'fail=503/2', provoked: ['status 503'], seconds: 1 },
  { ...PART, name: 'refused', share: 0.02, model: 'soak-failing', script: 'fail=400', provoked: ['status 400'] },
  {
    ...{ ...PART, name: 'broken-stream', share: 0.02, model: 'soak-failing', stream: true, exact: false },
    ...{ script: 'chunks=8,interval=10,fault=cut,after=4', provoked: ['cut short'], seconds: 0.5 },
  },
  { ...PART, name: 'cached', share: 0.15, questions: 200 },
]

/** Streams held for the whole run, a delta every five seconds. */
export const HELD: Part = {
  ...{ ...PART, name: 'held', stream: true, exact: false, script: 'chunks=100000,interval=5000' },
}

/** Seconds a call may take: those that are held last as long as the run. */
const CALL_LIMIT = 7_200

/** The part of the configuration that the bench's does not have. */
export function soakConfig(providerUrl: string): string {
  const models = [
    deployment('soak', 'openai/soak', `${providerUrl}/v1`),
    deployment('soak-failing', 'openai/soak', `${providerUrl}/v1`),
    deployment('soak-claude', 'anthropic/soak', providerUrl),
  ]
  return `${models.join('')}litellm_settings:
  cache: true
  cache_params:
    type: local
    mode: default_off
    ttl: 60
router_settings:
  disable_cooldowns: true
  timeout: ${CALL_LIMIT}
`
}

/** The same with another setting: what an operator's edit makes of it, so that it is compiled and published anew. */
export function edited(config: string, turn: number): string {
  return config.replace(/^ {2}timeout: \d+$/m, `  timeout: ${CALL_LIMIT + (turn % 2)}`)
}

/** The bodies of a part, in OpenAI's dialect, sent by turns. */
export function bodiesOf(part: Part): string[] {
  const words = 'how many carts went through the gate today, and what did each of them pay? '
  const marker = part.script === '' ? '' : `[[upstream ${part.script}]] `
  const one = (prompt: number, question: string): string => {
    const content = `${marker}${question}${words.repeat(Math.ceil(prompt / words.length)).slice(0, prompt)}`
    const cache = part.questions > 0 ? { cache: { 'use-cache': true } } : {}
    const stream = part.stream ? { stream: true } : {}
    return JSON.stringify({ model: part.model, max_tokens: 1_000, messages: [{ role: 'user', content }], ...stream, ...cache })
  }
  if (part.questions === 0) return part.prompts.map((prompt) => one(prompt, ''))
  return Array.from({ length: part.questions }, (_, index) => one(part.prompts[0] as number, `question ${index}: `))
}

/** Connections that a part needs at `rate` calls per second of the whole mix; four times what Little's law says, for stalls. */
export function connectionsOf(part: Part, rate: number): number {
  return Math.ceil(rate * part.share * part.seconds * 4) + 10
}
