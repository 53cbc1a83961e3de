import type { Strategy } from './strategy.ts'
import { weighted } from './weighted.ts'

/** The strategies by LiteLLM's name of `routing_strategy`. */
export const strategies: Readonly<Record<string, Strategy>> = {
  'simple-shuffle': weighted,
}
