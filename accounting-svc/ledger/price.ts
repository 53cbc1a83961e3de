import type { Deployment } from '../../proto/deployment.ts'
import type { Attempt, TokenUsage } from '../../proto/usage.ts'
import type { Catalog } from '../../shared/catalog/catalog.ts'
import { costOf } from '../../shared/cost.ts'
import type { Priced } from './entries.ts'

/**
 * What an attempt costs by the prices accounting knows: those of the deployment, else those the catalogue has for the moment it
 * started. Only where neither is known does the word of the router count.
 */
export function createPricing(deps: {
  catalog: Pick<Catalog, 'prices'>
  deployment: (id: string) => Deployment | undefined
}): (attempt: Attempt, usage: TokenUsage) => Priced {
  const { catalog, deployment } = deps
  return (attempt, usage) => {
    const prices = deployment(attempt.deploymentId)?.prices ?? catalog.prices(attempt.provider, attempt.model, attempt.startedAt)
    if (prices != null) return { cost: costOf(usage, prices).total, rateVersion: prices.rateVersion }
    return { cost: attempt.cost ?? 0, rateVersion: attempt.rateVersion ?? null }
  }
}
