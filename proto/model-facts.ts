import type { WireError } from './errors.ts'

/** What accounting asks a router about models: routers know how providers are spoken to. */
export type ModelQuestion =
  | { v: number; kind: 'parameters'; models: ModelName[] }
  /** The models of the provider behind a deployment, by its own list. */
  | { v: number; kind: 'list'; deploymentId: string }

export interface ModelName {
  provider: string
  model: string
}

export interface ModelAnswer {
  v: number
  /** Of `parameters`: OpenAI's chat parameters each model takes, in the order asked; null = the provider is not known, or has no chat. */
  parameters?: (string[] | null)[]
  /** Of `list`: names as the provider has them. */
  models?: string[]
  error?: WireError
}

/** Milliseconds a router may take. */
export const MODEL_QUESTION_LIMIT = 10_000
