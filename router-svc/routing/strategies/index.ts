import type { StrategyName } from '../../../proto/routing.ts'
import type { Strategy } from './strategy.ts'
import { weighted } from './weighted.ts'

/** The strategies by LiteLLM's name of `routing_strategy`. */
export const strategies: Partial<Readonly<Record<StrategyName, Strategy>>> = {
  'simple-shuffle': weighted,
}
