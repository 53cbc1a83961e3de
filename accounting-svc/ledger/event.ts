import type { Attempt, Outcome, UsageEvent } from '../../proto/usage.ts'
import { readable } from '../../proto/version.ts'
import { usageProblem } from './usage.ts'

/** Why an event cannot be booked, or the event. */
export type Checked = { event: UsageEvent } | { reason: string }

const OUTCOMES: ReadonlySet<unknown> = new Set<Outcome>(['success', 'failure', 'cancelled', 'partial', 'unsettled'])
/** The last millisecond of 2199: until then microseconds, which PostgreSQL counts in, are exact in a double. */
const LAST_TIME = 7_258_118_399_999
const SMALLINT_MAX = 32_767

/**
 * Checks the shape of a usage event from the bus by hand: this runs for every call served, and a schema library costs twenty
 * times as much. What the database would refuse is refused here, so that one bad event cannot fail a batch.
 */
export function checkUsageEvent(value: unknown): Checked {
  if (typeof value !== 'object' || value === null) return { reason: 'not a map' }
  const event = value as Partial<UsageEvent>
  if (!readable(event.v)) return { reason: `version ${String(event.v)} is newer than this program` }
  if (!text(event.callId) || event.callId.length > 512) return { reason: 'callId' }
  if (!count(event.take, 1, SMALLINT_MAX)) return { reason: 'take' }
  if (!text(event.keyHash)) return { reason: 'keyHash' }
  if (!text(event.endpoint)) return { reason: 'endpoint' }
  if (typeof event.requestedModel !== 'string') return { reason: 'requestedModel' }
  if (typeof event.modelGroup !== 'string') return { reason: 'modelGroup' }
  if (!count(event.startedAt, 1, LAST_TIME)) return { reason: 'startedAt' }
  if (!count(event.endedAt, 1, LAST_TIME)) return { reason: 'endedAt' }
  if (event.firstTokenAt != null && !count(event.firstTokenAt, 1, LAST_TIME)) return { reason: 'firstTokenAt' }
  if (!OUTCOMES.has(event.outcome)) return { reason: 'outcome' }
  if (!count(event.status, 0, SMALLINT_MAX)) return { reason: 'status' }
  if (event.tags !== undefined && !texts(event.tags)) return { reason: 'tags' }
  if (event.scopes !== undefined && !texts(event.scopes)) return { reason: 'scopes' }
  for (const field of [
    'keyAlias',
    'userId',
    'teamId',
    'organizationId',
    'projectId',
    'endUser',
    'sessionId',
    'clientIp',
    'routerId',
    'cacheKey',
  ] as const) {
    if (event[field] != null && typeof event[field] !== 'string') return { reason: field }
  }
  if (event.savedUsage !== undefined) {
    const reason = usageProblem(event.savedUsage)
    if (reason !== null) return { reason: `saved ${reason}` }
  }
  if (!Array.isArray(event.attempts)) return { reason: 'attempts' }
  const seen = new Set<number>()
  for (const attempt of event.attempts) {
    const reason = attemptProblem(attempt)
    if (reason !== null) return { reason: `attempts: ${reason}` }
    if (seen.has(attempt.index)) return { reason: 'attempts: two of one index' }
    seen.add(attempt.index)
  }
  return { event: event as UsageEvent }
}

function attemptProblem(value: unknown): string | null {
  if (typeof value !== 'object' || value === null) return 'not a map'
  const attempt = value as Partial<Attempt>
  if (!count(attempt.index, 0, SMALLINT_MAX)) return 'index'
  if (typeof attempt.deploymentId !== 'string') return 'deploymentId'
  if (typeof attempt.provider !== 'string') return 'provider'
  if (typeof attempt.model !== 'string') return 'model'
  if (attempt.apiBase != null && typeof attempt.apiBase !== 'string') return 'apiBase'
  if (!count(attempt.startedAt, 1, LAST_TIME)) return 'startedAt'
  if (!count(attempt.endedAt, 1, LAST_TIME)) return 'endedAt'
  if (attempt.firstTokenAt != null && !count(attempt.firstTokenAt, 1, LAST_TIME)) return 'firstTokenAt'
  if (!OUTCOMES.has(attempt.outcome)) return 'outcome'
  if (attempt.cost !== undefined && !count(attempt.cost, 0, Number.MAX_SAFE_INTEGER)) return 'cost'
  return attempt.usage === undefined ? null : usageProblem(attempt.usage)
}

function texts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}

function text(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}

function count(value: unknown, least: number, most: number): value is number {
  return Number.isInteger(value) && (value as number) >= least && (value as number) <= most
}
