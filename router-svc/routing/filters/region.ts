import { GatewayError } from '../../../shared/errors.ts'
import type { Call } from '../../call.ts'
import type { Filter } from './filter.ts'

/**
 * Deployments in the regions a call may be served in: what the customer, the key or team (`metadata.allowed_model_region`) and the request
 * (`allowed_model_region`) say must all hold. One whose region nobody configured is in none: where data must stay is not for guessing.
 */
export const region: Filter = {
  name: 'region',
  applies: (call) => allowedRegions(call).length > 0,
  keep(routes, call) {
    const allowed = allowedRegions(call)
    return routes.filter(({ deployment }) => allowed.every((area) => isIn(deployment.region, area)))
  },
  refusal(call) {
    return new GatewayError(
      'no_deployment',
      `No deployments available for selected model in the allowed region. Passed model=${call.modelGroup}, ` +
        `allowed_model_region=${allowedRegions(call).join(', ')}.`,
      { status: 403, type: 'permission_error', param: 'model' },
    )
  },
}

const NOWHERE_ASKED: readonly string[] = []

function allowedRegions(call: Call): readonly string[] {
  const asked = call.parsed['allowed_model_region']
  const own = call.identity.metadata['allowed_model_region']
  const ofCustomer = call.allowedRegion
  if (asked == null && own == null && ofCustomer === null) return NOWHERE_ASKED
  return [asked, own, ofCustomer].filter((name): name is string => typeof name === 'string' && name !== '')
}

/** How clouds begin the names of what lies in an area; AWS, Google and Azure. */
const AREAS: Readonly<Record<string, RegExp>> = {
  eu: /^(eu-|europe-|westeurope|northeurope|francecentral|francesouth|germany|sweden|polandcentral|spaincentral|italynorth|austriaeast|eu$)/,
  us: /^(us-|eastus|westus|centralus|northcentralus|southcentralus|westcentralus|us$)/,
}

/** Whether a region is the one allowed, lies in the area that name stands for, or begins with it (`eu-west` of `eu-west-1`). Pure. */
export function isIn(name: string | undefined, allowed: string): boolean {
  if (name === undefined) return false
  const place = name.toLowerCase()
  const area = allowed.toLowerCase()
  if (place === area || place.startsWith(`${area}-`)) return true
  return Object.hasOwn(AREAS, area) && (AREAS[area] as RegExp).test(place)
}
