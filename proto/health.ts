import type { Deployment } from './deployment.ts'

/** Asks a router to check deployments now. */
export interface HealthRequest {
  v: number
  /** Ids of deployments in the runtime; at most CHECKS_MAX. */
  deployments?: string[]
  /** One that is not in the runtime: whether it would serve. */
  test?: Deployment
}

export interface HealthReply {
  v: number
  /** In no particular order. Deployments that cannot be checked (a wildcard without `health_check_model`, an unknown id) are left out. */
  checks: HealthCheck[]
}

/** How one check went. */
export interface HealthCheck {
  deploymentId: string
  healthy: boolean
  /** Milliseconds it took. */
  elapsed: number
  /** What was wrong, and as which HTTP status a client would have seen it. */
  error?: string
  status?: number
}

/** Checks in one request: the one who asks spreads more over several routers. */
export const CHECKS_MAX = 20
/** Milliseconds a check may take where the deployment does not say. */
export const CHECK_TIMEOUT = 60_000
