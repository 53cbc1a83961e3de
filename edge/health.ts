import type { RuntimeSnapshot } from '../proto/deployment.ts'
import { BEAT_LIMIT } from '../proto/frames.ts'
import type { Identity } from '../proto/identity.ts'
import { PRODUCT_VERSION } from '../proto/version.ts'
import type { Bus } from '../shared/bus/bus.ts'
import { GatewayError } from '../shared/errors.ts'
import { answerJson } from './answer.ts'
import { HEALTH_GROUPS, routeAllowed } from './auth/check-identity.ts'
import type { Exchange } from './exchange.ts'

export interface Readiness {
  ready: boolean
  /** Why not. */
  reason: string | null
  /** `connected`, or `disconnected`: no accounting beats, or none whose database answers. */
  db: string
}

/**
 * Whether calls can be served: settings are mirrored, the bus is there and some router beats. Accounting being away does not count: known
 * keys go on working.
 */
export function readiness(bus: Bus, runtime: RuntimeSnapshot | null, draining: boolean): Readiness {
  const fleet = bus.fleet().filter((member) => member.age < BEAT_LIMIT)
  const connected = fleet.some((member) => member.role === 'accounting' && member.fields['db'] === 'connected')
  const db = connected ? 'connected' : 'disconnected'
  const reason = draining
    ? 'shutting down'
    : !bus.ready
      ? 'the bus is not connected'
      : runtime === null
        ? 'no configuration has arrived yet'
        : !fleet.some((member) => member.role === 'router')
          ? 'no router is known'
          : null
  return { ready: reason === null, reason, db }
}

/** GET /health/liveliness */
export function answerLiveness(exchange: Exchange, draining: boolean): void {
  if (draining) answerJson(exchange, 503, { status: 'shutting_down' })
  else answerJson(exchange, 200, "I'm alive!")
}

/** GET /health/readiness */
export function answerReadiness(exchange: Exchange, state: Readiness): void {
  if (state.ready) answerJson(exchange, 200, { status: 'healthy', db: state.db, litellm_version: PRODUCT_VERSION })
  else answerJson(exchange, 503, { status: 'unhealthy', db: state.db, reason: state.reason })
}

/**
 * GET /health, for admins and keys whose routes name it. Deployments are listed as configured under `unknown_endpoints`: the edge probes none,
 * so it calls none healthy. Throws GatewayError `admin_only`.
 */
export function answerHealth(exchange: Exchange, runtime: RuntimeSnapshot, identity: Identity): void {
  const admin = identity.role === 'proxy_admin' || identity.role === 'proxy_admin_viewer'
  const named = identity.allowedRoutes.length > 0 && routeAllowed(identity.allowedRoutes, exchange.path, HEALTH_GROUPS)
  if (!admin && !named) {
    throw new GatewayError(
      'admin_only',
      `Authentication Error, only a proxy admin may call this route. Route=${exchange.path}. Your role=${identity.role}`,
    )
  }
  const query = new URLSearchParams(exchange.query)
  const model = query.get('model')
  const id = query.get('model_id')
  const unknown = runtime.deployments
    .filter(({ hidden }) => hidden !== true)
    .filter((deployment) => (model === null || deployment.modelGroup === model) && (id === null || deployment.id === id))
    .map((deployment) => ({
      model: `${deployment.provider}/${deployment.model}`,
      model_name: deployment.modelGroup,
      model_id: deployment.id,
      api_base: deployment.apiBase,
      blocked: deployment.blocked,
    }))
  answerJson(exchange, 200, {
    healthy_endpoints: [],
    unhealthy_endpoints: [],
    unknown_endpoints: unknown,
    healthy_count: 0,
    unhealthy_count: 0,
    unknown_count: unknown.length,
  })
}
