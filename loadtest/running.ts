import type { ProcessSample } from './cpu.ts'
import type { Model } from './scenarios.ts'

/** How one kind of call is made. */
export interface Target {
  path: string
  model: string
  headers: Record<string, string>
  dialect: 'openai' | 'anthropic'
  /** Further fields of the body. */
  extra?: Record<string, unknown>
}

/** One thing that is measured, as processes of its own: how it is called, what its parts are named. */
export interface Running {
  name: string
  version: string
  origin: string
  /** Null where it has no such call. */
  target: Record<Model, Target | null>
  pids: number[]
  nameOf(sample: ProcessSample): string
  /** Dollars the ledger has booked on the key; null where there is no ledger. */
  spend: (() => Promise<number>) | null
  /** The nth of the keys that setup `keys` has made. */
  keyOf?(number: number): string
  stop(): Promise<void>
}

export const CHAT = '/v1/chat/completions'
export const MESSAGES = '/v1/messages'
const ANTHROPIC = { 'anthropic-version': '2023-06-01' }

/** The three kinds of call at a gateway that tells models apart by their name. */
export function targets(headers: Record<string, string>, extra?: Record<string, unknown>): Record<Model, Target> {
  const more = extra === undefined ? {} : { extra }
  return {
    chat: { path: CHAT, model: 'bench', headers, dialect: 'openai', ...more },
    translated: { path: CHAT, model: 'bench-claude', headers, dialect: 'openai', ...more },
    messages: { path: MESSAGES, model: 'bench', headers: { ...ANTHROPIC, ...headers }, dialect: 'anthropic', ...more },
  }
}
