import { GatewayError } from '../../../shared/errors.ts'
import type { Route } from '../../runtime.ts'
import { type Preferences, providerName } from '../preferences.ts'
import type { Filter } from './filter.ts'

/**
 * What the request wants of who serves it: `provider.only`, `ignore`, `order` without fallbacks, `max_price`. Names of hosts mean nothing to
 * a deployment whose provider chooses between hosts itself (`ownRouting`): it gets the `provider` object and judges. A deployment without a
 * known price is above any.
 */
export const preferences: Filter = {
  name: 'preferences',
  applies: ({ preferences: asked }) => asked !== null && restricts(asked),
  keep(routes, call) {
    const asked = call.preferences as Preferences
    return routes.filter((route) => route.provider.ownRouting === true || fits(route, asked))
  },
  refusal(call) {
    return new GatewayError(
      'no_deployment',
      `No deployment of model=${call.modelGroup} fits what the field 'provider' of the request asks for.`,
      { status: 404, type: 'not_found_error', param: 'provider' },
    )
  },
}

function restricts({ only, ignore, order, allowFallbacks, maxPrice }: Preferences): boolean {
  return only !== null || ignore !== null || maxPrice !== null || (order !== null && !allowFallbacks)
}

function fits(route: Route, { only, ignore, order, allowFallbacks, maxPrice }: Preferences): boolean {
  if (only !== null && !only.some((name) => isCalled(route, name))) return false
  if (ignore?.some((name) => isCalled(route, name)) === true) return false
  if (order !== null && !allowFallbacks && !order.some((name) => isCalled(route, name))) return false
  if (maxPrice === null) return true
  const { prompt, completion } = maxPrice
  return isWithin(route.prices?.input, prompt) && isWithin(route.prices?.output, completion)
}

function isWithin(price: number | undefined, most: number | null): boolean {
  return most === null || (price !== undefined && price <= most)
}

/** A provider's name or a deployment's id. */
function isCalled({ deployment }: Route, name: string): boolean {
  return providerName(deployment.provider) === name || providerName(deployment.id) === name
}
