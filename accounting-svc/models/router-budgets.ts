import type { Deployment } from '../../proto/deployment.ts'
import { type Limit, scopes } from '../../proto/limits.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Config } from '../../shared/config/config.ts'
import type { Database } from '../../shared/db/db.ts'
import { budgetLimit, budgetParts } from '../identity/limits.ts'
import { ensureWindows } from '../identity/serve-limits.ts'
import { anyLimited } from '../sql/limits.ts'

/** What of the settings depends on the database. */
export interface LimitSettingsNow {
  /** Whether accounting must be asked about the customer, and about the tags, of a call. */
  customerLimits: boolean
  tagLimits: boolean
  /** Budgets of providers and deployments. */
  providerBudgets: Limit[]
}

/**
 * Whether customers and tags are limited, and the budgets of providers and deployments with what was spent (surface reference §5.9). The
 * windows that only the configuration knows, the proxy's among them, are scheduled on the way.
 */
export async function limitSettingsNow(
  deps: { db: Database; clock: Clock },
  config: Config,
  deployments: readonly Deployment[],
): Promise<LimitSettingsNow> {
  const { litellm_settings: calls, router_settings: router } = config
  const providers = Object.entries(router.provider_budget_config ?? {}).map(([name, entry]) => ({
    scope: scopes.provider(name),
    kind: 'provider' as const,
    owner: name,
    ...budgetParts(entry),
  }))
  const models = deployments.flatMap(({ id, budget }) =>
    budget === undefined
      ? []
      : [
          {
            scope: scopes.deployment(id),
            kind: 'deployment' as const,
            owner: id,
            budget: budget.limit,
            duration: budget.duration,
          },
        ],
  )
  const proxy = calls.max_budget == null ? [] : [{ scope: scopes.proxy, duration: calls.budget_duration ?? null }]
  const [limited, spends] = await Promise.all([
    anyLimited(deps.db),
    ensureWindows({ ...deps, config: () => config }, [...proxy, ...providers, ...models]),
  ])
  return {
    customerLimits: limited.customers || calls.max_end_user_budget != null || calls.max_end_user_budget_id != null,
    tagLimits: limited.tags || Object.keys(calls.tag_budget_config ?? {}).length > 0,
    providerBudgets: [...providers, ...models].flatMap(({ scope, kind, owner, budget }) =>
      budget === null ? [] : [budgetLimit(scope, kind, owner, budget, spends)],
    ),
  }
}
