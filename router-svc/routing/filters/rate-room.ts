import { GatewayError } from '../../../shared/errors.ts'
import type { Route } from '../../runtime.ts'
import { inputTokensOf } from './context-window.ts'
import type { Filter } from './filter.ts'

const MINUTE = 60_000

/**
 * Deployments with room left in this minute, by what routers know of each other (`enable_pre_call_checks`): it keeps calls from where they
 * would be refused, and enforces nothing.
 */
export const rateRoom: Filter = {
  name: 'rate room',
  applies: (call) => call.routing.preCallChecks,
  keep(routes, call) {
    const { startedAt } = call
    const fits = ({ deployment, state }: Route): boolean =>
      (deployment.rpm === null || state.requests(startedAt) < deployment.rpm) &&
      (deployment.tpm === null || state.tokens(startedAt) + inputTokensOf(call) <= deployment.tpm)
    return routes.every(fits) ? routes : routes.filter(fits)
  },
  refusal(call) {
    const wait = MINUTE - (call.startedAt % MINUTE)
    return new GatewayError(
      'no_deployment',
      `No deployments available for selected model, Try again in ${Math.ceil(wait / 1000)} seconds. Passed model=${call.modelGroup}. ` +
        'Every deployment has used up its requests or tokens of this minute.',
      { retryAfter: wait },
    )
  },
}
