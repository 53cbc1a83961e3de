import type { Deployment, RuntimeSettings } from '../../proto/deployment.ts'
import { type Limit, scopes } from '../../proto/limits.ts'

/** What limits one deployment, whoever calls it. Compiled once per route; null on nearly every one. */
export interface RouteLimits {
  /** Budgets of its provider and its own: held with the call's, under the call's lease. */
  budgets: readonly Limit[]
  /** Requests, tokens and calls at once, exact over all routers: held by each attempt under a lease of its own. */
  rates: readonly RateLimit[]
  /** Calls at once in this router alone; null = not limited here. */
  here: number | null
}

export interface RateLimit {
  limit: Limit
  /** Which tokens of a call count in it. */
  counts: 'all' | 'input' | 'output'
}

type Settings = Pick<RuntimeSettings, 'providerBudgets' | 'routing'>

/**
 * The limits of a deployment of `provider`, or null. Rates per minute are enforced where the settings say so (`usage-based-routing-v2`,
 * `enforce_model_rate_limits`); else they only weigh.
 *
 * Calls at once are sized as LiteLLM does (surface reference §5.3): the deployment's own number, else its rpm, else six requests for every
 * thousand tokens per minute, else the settings' default. LiteLLM counts them in each process. Here the two that an operator wrote down as
 * such hold over all routers; the two that are only derived are counted in the router, because a round trip to the counters for every call
 * of every deployment with an rpm would cost more than the derived number is worth.
 */
export function routeLimits(deployment: Deployment, provider: string, settings: Settings): RouteLimits | null {
  const budgets = settings.providerBudgets.filter(
    ({ kind, owner }) => (kind === 'provider' && owner === provider) || (kind === 'deployment' && owner === deployment.id),
  )
  const { rates, here } = ratesOf(deployment, settings)
  return budgets.length === 0 && rates.length === 0 && here === null ? null : { budgets, rates, here }
}

function ratesOf(deployment: Deployment, { routing }: Settings): Pick<RouteLimits, 'rates' | 'here'> {
  const { id, itpm, otpm } = deployment
  const rpm = deployment.rpm ?? null
  const tpm = deployment.tpm ?? null
  const own = deployment.maxParallelRequests ?? null
  const enforced = enforces(deployment, routing)
  const derived = own === null ? (rpm ?? (tpm === null ? null : Math.max(1, Math.floor((tpm / 1000) * 6)))) : null
  const parallel = own ?? (derived === null ? routing.defaultMaxParallel : null)
  const scope = scopes.deployment(id)
  const rates: RateLimit[] = []
  const all = {
    ...(enforced && rpm !== null ? { requests: rpm } : {}),
    ...(enforced && tpm !== null ? { tokens: tpm } : {}),
    ...(parallel === null ? {} : { parallel }),
  }
  if (Object.keys(all).length > 0) rates.push({ limit: limitOf(scope, id, all), counts: 'all' })
  if (enforced && itpm !== undefined) {
    rates.push({ limit: limitOf(scopes.direction(scope, 'input'), id, { tokens: itpm }), counts: 'input' })
  }
  if (enforced && otpm !== undefined) {
    rates.push({ limit: limitOf(scopes.direction(scope, 'output'), id, { tokens: otpm }), counts: 'output' })
  }
  return { rates, here: derived }
}

function enforces({ modelGroup }: Deployment, routing: RuntimeSettings['routing']): boolean {
  return (
    routing.strategy === 'usage-based-routing-v2' ||
    routing.optionalChecks.includes('enforce_model_rate_limits') ||
    (routing.groupChecks[modelGroup]?.includes('enforce_model_rate_limits') ?? false)
  )
}

function limitOf(scope: string, owner: string, fields: Partial<Limit>): Limit {
  return { scope, kind: 'deployment', owner, spent: 0, revision: 0, resetAt: null, ...fields }
}
