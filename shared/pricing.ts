import type { CostAdjustment, PriceOverride, Prices, Pricing } from '../proto/deployment.ts'
import type { Catalog } from './catalog/catalog.ts'

/** Key of the margin that holds for providers without one of their own. */
const GLOBAL = 'global'

/** What is taken off and added to the calls of a provider; undefined for nothing. */
export function adjustmentOf(
  adjustments: Readonly<Record<string, CostAdjustment>>,
  provider: string,
): CostAdjustment | undefined {
  const own = adjustments[provider]
  const all = adjustments[GLOBAL]
  if (own === undefined && all === undefined) return undefined
  const margin = own?.margin === undefined && own?.marginFixed === undefined ? all : own
  const merged: CostAdjustment = {}
  if (own?.discount !== undefined) merged.discount = own.discount
  if (margin?.margin !== undefined) merged.margin = margin.margin
  if (margin?.marginFixed !== undefined) merged.marginFixed = margin.marginFixed
  return Object.keys(merged).length === 0 ? undefined : merged
}

/** Prices with an adjustment, under a version that tells it: the same list prices at another discount are other prices. */
export function adjusted(prices: Prices, adjustment: CostAdjustment | undefined): Prices {
  const { discount = 0, margin = 0, marginFixed = 0 } = adjustment ?? {}
  if (discount === 0 && margin === 0 && marginFixed === 0) return prices
  const changed: Prices = { ...prices, rateVersion: `${prices.rateVersion}~${discount}:${margin}:${marginFixed}` }
  if (discount > 0) changed.discount = discount
  if (margin > 0) changed.margin = margin
  if (marginFixed > 0) changed.marginFixed = marginFixed
  return changed
}

/** The newest of these overrides, sorted by when they begin, that began by `at`. */
export function overrideAt(overrides: readonly PriceOverride[] | undefined, at: number): PriceOverride | undefined {
  return overrides?.findLast(({ effectiveFrom }) => effectiveFrom <= at)
}

/** Overrides by model, each list sorted by when they begin. */
export function byModel(overrides: readonly PriceOverride[]): ReadonlyMap<string, PriceOverride[]> {
  const models = new Map<string, PriceOverride[]>()
  for (const override of overrides.toSorted((a, b) => a.effectiveFrom - b.effectiveFrom)) {
    const key = modelKey(override.provider, override.model)
    const list = models.get(key)
    if (list === undefined) models.set(key, [override])
    else list.push(override)
  }
  return models
}

export function modelKey(provider: string, model: string): string {
  return `${provider}/${model}`
}

/** The catalogue with what is published about prices over it: for processes that price what they serve now. */
export function pricedCatalog<Part extends Pick<Catalog, 'prices'>>(catalog: Part, pricing: Pricing | undefined): Part {
  if (pricing === undefined || (pricing.overrides.length === 0 && Object.keys(pricing.adjustments).length === 0)) return catalog
  const overrides = byModel(pricing.overrides)
  return {
    ...catalog,
    prices(provider, model, at) {
      const found = overrideAt(overrides.get(modelKey(provider, model)), at ?? Number.POSITIVE_INFINITY)?.prices
      const prices = found ?? catalog.prices(provider, model, at)
      return prices === null ? null : adjusted(prices, adjustmentOf(pricing.adjustments, provider))
    },
  }
}
