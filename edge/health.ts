import type { RuntimeSnapshot } from '../proto/deployment.ts'
import { BEAT_LIMIT } from '../proto/frames.ts'
import { PRODUCT_VERSION } from '../proto/version.ts'
import type { Bus } from '../shared/bus/bus.ts'
import { answerJson } from './answer.ts'
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
