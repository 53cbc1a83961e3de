import type { StrategyName } from '../../../proto/routing.ts'
import { createHighestThroughput } from './highest-throughput.ts'
import { createLeastBusy } from './least-busy.ts'
import { createLowestCost } from './lowest-cost.ts'
import { createLowestLatency } from './lowest-latency.ts'
import { createLowestUsage } from './lowest-usage.ts'
import type { Strategy } from './strategy.ts'
import { createWeighted } from './weighted.ts'

/** The strategies by LiteLLM's name of `routing_strategy`; `custom` is the operator's. */
export function createStrategies(custom: (fallback: Strategy) => Strategy): Readonly<Record<StrategyName, Strategy>> {
  const weighted = createWeighted()
  return {
    'simple-shuffle': weighted,
    'least-busy': createLeastBusy(),
    'latency-based-routing': createLowestLatency(),
    'usage-based-routing': createLowestUsage(),
    'usage-based-routing-v2': createLowestUsage(),
    'cost-based-routing': createLowestCost(),
    'throughput-based-routing': createHighestThroughput(),
    custom: custom(weighted),
  }
}
