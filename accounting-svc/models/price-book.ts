import type { CostAdjustment, Deployment, PriceOverride, Prices, Pricing } from '../../proto/deployment.ts'
import type { Attempt } from '../../proto/usage.ts'
import type { Catalog } from '../../shared/catalog/catalog.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Config } from '../../shared/config/config.ts'
import type { Database } from '../../shared/db/db.ts'
import { scaleDecimal } from '../../shared/money.ts'
import { adjusted, adjustmentOf, byModel, modelKey, overrideAt } from '../../shared/pricing.ts'
import { listPriceOverrides } from '../sql/prices.ts'

/** Which prices hold when: of the catalogue, the configuration, and the API, each beating the one before. */
export interface PriceBook {
  /** Reads what was set through the API. */
  load(): Promise<void>
  /** Deployments with the prices that hold now, for routers; remembers what the configuration said of each. */
  use(config: Config, deployments: readonly Deployment[]): Deployment[]
  /** The same deployments again, by what holds now. */
  again(): Deployment[]
  /** What routers need for models that no deployment names. */
  pricing(): Pricing
  /** The prices that hold for an attempt: those of the moment it started. Null when none are known. */
  pricesOf(attempt: PricedAttempt): Prices | null
  /**
   * What attempts cost by a version that stands beside ledger entries, null where it says nothing about one: the catalogue's prices all
   * models it has, the API's one model, the configuration's the deployments it names. Undefined for a version that is not known (any more).
   */
  atVersion(rateVersion: string): ((attempt: PricedAttempt) => Prices | null) | undefined
  /** Unix milliseconds at which prices next change by themselves; null = never. */
  nextChange(): number | null
}

export type PricedAttempt = Pick<Attempt, 'deploymentId' | 'provider' | 'model' | 'startedAt'>

/** A configured price set beats the catalogue; its version begins with this. */
const CONFIGURED = 'config:'

export function createPriceBook(deps: { db: Database; catalog: Catalog; clock: Pick<Clock, 'now'> }): PriceBook {
  const { db, catalog, clock } = deps
  let overrides: PriceOverride[] = []
  let models: ReadonlyMap<string, PriceOverride[]> = new Map()
  let adjustments: Readonly<Record<string, CostAdjustment>> = {}
  let configured: readonly Deployment[] = []
  let byId = new Map<string, Deployment>()

  function overrideOf(provider: string, model: string, at: number): Prices | undefined {
    return models.size === 0 ? undefined : overrideAt(models.get(modelKey(provider, model)), at)?.prices
  }

  function unadjusted(deployment: Deployment | undefined, provider: string, model: string, at: number): Prices | null {
    const as = deployment?.pricedAs
    const named = overrideOf(provider, model, at) ?? (as === undefined ? undefined : overrideOf(as.provider, as.model, at))
    if (named !== undefined) return named
    const own = deployment?.prices ?? null
    if (own?.rateVersion.startsWith(CONFIGURED)) return own
    const listed = catalog.prices(as?.provider ?? provider, as?.model ?? model, at)
    // Where the deployment is (`region`) is known of it, not of the model.
    return listed !== null && own?.region !== undefined ? { ...listed, region: own.region } : listed
  }

  function again(): Deployment[] {
    const now = clock.now()
    return configured.map((deployment) => {
      const { provider, model, prices, pricedAs } = deployment
      const as = pricedAs ?? { provider, model }
      const found = overrideOf(provider, model, now) ?? overrideOf(as.provider, as.model, now) ?? prices
      return { ...deployment, prices: found === null ? null : adjusted(found, adjustmentOf(adjustments, provider)) }
    })
  }

  return {
    async load() {
      const rows = await listPriceOverrides(db)
      overrides = rows.map(({ provider, model, prices, effective_from }) => ({
        provider,
        model,
        prices,
        effectiveFrom: effective_from.getTime(),
      }))
      models = byModel(overrides)
    },
    use(config, deployments) {
      adjustments = adjustmentsOf(config)
      configured = deployments
      byId = new Map(deployments.map((deployment) => [deployment.id, deployment]))
      return again()
    },
    again,
    pricing() {
      const now = clock.now()
      return { overrides: [...models.values()].flatMap((list) => overrideAt(list, now) ?? []), adjustments }
    },
    pricesOf({ deploymentId, provider, model, startedAt }) {
      const prices = unadjusted(byId.get(deploymentId), provider, model, startedAt)
      return prices === null ? null : adjusted(prices, adjustmentOf(adjustments, provider))
    },
    atVersion(rateVersion) {
      const [base = '', suffix] = rateVersion.split('~')
      const adjustment = suffix === undefined ? undefined : adjustmentIn(suffix)
      const as = (prices: Prices | null): Prices | null => (prices === null ? null : adjusted(prices, adjustment))
      const named = overrides.filter(({ prices }) => prices.rateVersion === base)
      if (named.length > 0) {
        return ({ provider, model }) => as(named.find((one) => one.provider === provider && one.model === model)?.prices ?? null)
      }
      if (configured.some(({ prices }) => prices?.rateVersion === base)) {
        return ({ deploymentId }) => {
          const prices = byId.get(deploymentId)?.prices ?? null
          return prices?.rateVersion === base ? as(prices) : null
        }
      }
      if (base !== catalog.version) return undefined
      return ({ deploymentId, provider, model, startedAt }) => {
        const known = byId.get(deploymentId)?.pricedAs
        return as(catalog.prices(known?.provider ?? provider, known?.model ?? model, startedAt))
      }
    },
    nextChange() {
      const now = clock.now()
      const later = overrides.map(({ effectiveFrom }) => effectiveFrom).filter((time) => time > now)
      return later.length === 0 ? null : Math.min(...later)
    },
  }
}

/** `cost_discount_config` and `cost_margin_config` in parts per million and nano-dollars. Pure. */
export function adjustmentsOf(config: Pick<Config, 'litellm_settings'>): Record<string, CostAdjustment> {
  const adjustments: Record<string, CostAdjustment> = {}
  const of = (provider: string): CostAdjustment => {
    adjustments[provider] ??= {}
    return adjustments[provider]
  }
  for (const [provider, share] of Object.entries(config.litellm_settings.cost_discount_config ?? {})) {
    if (share > 0) of(provider).discount = Number(scaleDecimal(share, 6))
  }
  for (const [provider, margin] of Object.entries(config.litellm_settings.cost_margin_config ?? {})) {
    const share = typeof margin === 'number' ? margin : (margin.percentage ?? 0)
    const fixed = typeof margin === 'number' ? 0 : (margin.fixed_amount ?? 0)
    of(provider).margin = Number(scaleDecimal(share, 6))
    if (fixed > 0) of(provider).marginFixed = Number(scaleDecimal(fixed, 9))
  }
  return adjustments
}

/** The end of a version that `adjusted` made. */
function adjustmentIn(suffix: string): CostAdjustment {
  const [discount = 0, margin = 0, marginFixed = 0] = suffix.split(':').map(Number)
  return { discount, margin, marginFixed }
}
