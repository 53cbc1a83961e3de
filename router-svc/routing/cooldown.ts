import { ERRORS, type ErrorCode } from '../../proto/errors.ts'
import type { FailureKind, RoutingSettings } from '../../proto/routing.ts'

/** What a failure is judged by: the settings that hold for the call, the deployment's own, and what was counted. */
export interface CooldownInput {
  error: ErrorCode
  /** Milliseconds, as the provider said. */
  retryAfter: number | undefined
  settings: Pick<RoutingSettings, 'allowedFails' | 'allowedFailsPolicy' | 'cooldownTime' | 'disableCooldowns'>
  /** Its own values beat those of the settings. */
  deployment: OwnCooldown
  /** Deployments of the group. */
  groupSize: number
  /** This minute, the failure itself included. */
  successes: number
  failures: number
  /** Failures in a row of less than a cooldown between each, the failure itself included. */
  fails: number
  /** It has been cooled down, and nothing has succeeded since. */
  probing: boolean
}

export interface OwnCooldown {
  modelGroup: string
  cooldownTime?: number
  allowedFails?: number
  allowedFailsPolicy?: RoutingSettings['allowedFailsPolicy']
}

/** LiteLLM's thresholds (surface reference §5.5). */
const SINGLE_MINIMUM = 1_000
const RATE_MINIMUM = 5
const RATE = 0.5
const ALLOWED_FAILS_DEFAULT = 3

/** Providers ask for minutes, or for the rest of the day (surface reference §15, 19): longer than this only when an operator says so. */
const RETRY_AFTER_MAX = 60_000

/**
 * Milliseconds a deployment is cooled down for after a failure, or null. Pure; LiteLLM's rules (surface reference §5.5, §5.10), and one
 * more where the failure rate decides: a deployment that fails its first call after a cooldown goes out again at once.
 */
export function decideCooldown(input: CooldownInput): number | null {
  const { deployment, settings, retryAfter } = input
  const own = deployment.cooldownTime ?? settings.cooldownTime
  if (settings.disableCooldowns || own <= 0 || !isEligible(input.error) || isPattern(deployment)) return null
  if (!(usesPolicy(input) ? exceedsAllowed(input) : failsTooOften(input))) return null
  return retryAfter !== undefined && retryAfter > 0 ? Math.min(retryAfter, Math.max(RETRY_AFTER_MAX, own)) : own
}

/** Whether allowed failures are configured; else the failure rate decides. */
export function usesPolicy({ deployment, settings }: Pick<CooldownInput, 'deployment' | 'settings'>): boolean {
  return (
    (deployment.allowedFails ?? settings.allowedFails) !== null ||
    hasEntries(deployment.allowedFailsPolicy) ||
    hasEntries(settings.allowedFailsPolicy)
  )
}

function exceedsAllowed({ error, fails, deployment, settings }: CooldownInput): boolean {
  const kind = kindOf(error)
  const policy = kind === null ? undefined : (deployment.allowedFailsPolicy?.[kind] ?? settings.allowedFailsPolicy[kind])
  return fails > (policy ?? deployment.allowedFails ?? settings.allowedFails ?? ALLOWED_FAILS_DEFAULT)
}

function failsTooOften({ error, groupSize, successes, failures, probing }: CooldownInput): boolean {
  const { status } = ERRORS[error]
  const alone = groupSize <= 1
  const total = successes + failures
  const rate = total === 0 ? 0 : failures / total
  if ((status === 429 || probing) && !alone) return true
  if (rate === 1 && total >= SINGLE_MINIMUM) return true
  if (rate > RATE && total >= RATE_MINIMUM && !alone) return true
  return status === 401 || status === 404
}

/**
 * Whether an error may cool a deployment down: 429, 401, 408, 404 and what is the provider's fault. Never a connection that could not be
 * made, which says as much about us; a stream cut short was made, and does count.
 */
export function isEligible(error: ErrorCode): boolean {
  if (!tellsOfDeployment(error) || error === 'provider_connection') return false
  const { status } = ERRORS[error]
  return status >= 500 || status === 429 || status === 401 || status === 408 || status === 404
}

/** Whether an error says something about the deployment: not what the request got wrong, and not what happened to us. */
export function tellsOfDeployment(error: ErrorCode): boolean {
  return error.startsWith('provider_') && !REQUESTS_FAULT.has(error)
}

const REQUESTS_FAULT: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'provider_bad_request',
  'provider_unprocessable',
  'provider_conflict',
])

/** One deployment behind a pattern serves many models: that one of them fails says nothing about the others. */
function isPattern({ modelGroup }: OwnCooldown): boolean {
  return modelGroup.includes('*')
}

/** The name under which policies count an eligible error. */
function kindOf(error: ErrorCode): FailureKind | null {
  const { status } = ERRORS[error]
  if (status === 429) return 'RateLimitError'
  if (status === 408) return 'TimeoutError'
  if (status === 401) return 'AuthenticationError'
  return status >= 500 ? 'InternalServerError' : null
}

function hasEntries(policy: RoutingSettings['allowedFailsPolicy'] | undefined): boolean {
  return policy !== undefined && Object.keys(policy).length > 0
}
