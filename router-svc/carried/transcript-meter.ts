import { createHash } from 'node:crypto'
import { NO_TOKENS, type TokenUsage, type UsageEvent } from '../../proto/usage.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import { costOf } from '../../shared/cost.ts'
import { type Fields, isFields, text } from '../providers/json.ts'
import type { Route } from '../runtime.ts'
import type { CarriedRequest, CarriedTools, Meter } from './carrier.ts'
import { usageMeter } from './usage-meter.ts'

const TRANSCRIPT = /^v2\/transcript\/([\w-]{1,64})$/

/** Every deployment's: the id alone is unique. */
const KEY = { kind: 'transcript', deploymentId: 'assemblyai' } as const
/** Milliseconds. */
const HOUR = 3_600_000

/**
 * AssemblyAI hears in jobs: what one costs is known when it is looked at after it is done. It is booked then, as an event of the job's own, and
 * remembered as settled, so that however often and whoever looks it is booked once. What is looked at twice before that is remembered is booked
 * under the same name and hour, which is once, too.
 */
export async function transcriptMeter(
  request: Pick<CarriedRequest, 'method' | 'identity'>,
  rest: string,
  route: Route,
  tools: Pick<CarriedTools, 'book' | 'now' | 'objects'>,
): Promise<Meter | null> {
  const id = TRANSCRIPT.exec(rest)?.[1]
  if (request.method === 'POST') return usageMeter()
  if (request.method !== 'GET' || id === undefined) return null
  const { deploymentId } = KEY
  const known = await tools.objects
    .list({ kind: KEY.kind, owners: null, only: { deploymentId, id }, limit: 1, order: 'asc' })
    .catch(() => null)
  if (known?.objects[0]?.settled === true) return null
  const reader = {
    see(value: unknown): void {
      const event = isFields(value) && value['status'] === 'completed' ? eventOf(id, value, request, route, tools) : null
      if (event !== null) tools.book(event)
    },
    usage: (): TokenUsage | null => null,
    model: null,
  }
  return usageMeter(reader)
}

function eventOf(
  id: string,
  job: Fields,
  { identity }: Pick<CarriedRequest, 'identity'>,
  route: Route,
  tools: Pick<CarriedTools, 'now'>,
): UsageEvent | null {
  const seconds = job['audio_duration']
  if (typeof seconds !== 'number' || !(seconds > 0 && seconds < 1e9)) return null
  const usage: TokenUsage = { ...NO_TOKENS, units: { audio_ms_in: Math.round(seconds * 1000) } }
  const models = job['speech_models']
  const listed = Array.isArray(models) ? text(models[0]) : ''
  const model = text(job['speech_model_used']) || text(job['speech_model']) || listed || 'best'
  const { prices } = route
  const endedAt = tools.now()
  // Part of what makes an entry unique.
  const startedAt = endedAt - (endedAt % HOUR)
  return {
    v: WIRE_VERSION,
    callId: `transcript-${createHash('sha256').update(`assemblyai/${id}`).digest('hex').slice(0, 32)}`,
    take: 1,
    endpoint: 'pass_through_endpoint',
    stream: false,
    keyHash: identity.keyHash,
    keyAlias: identity.keyAlias,
    userId: identity.userId,
    teamId: identity.teamId,
    organizationId: identity.organizationId,
    projectId: identity.projectId,
    endUser: null,
    tags: [...identity.tags],
    requestedModel: model,
    modelGroup: model,
    startedAt,
    firstTokenAt: null,
    endedAt,
    outcome: 'success',
    status: 200,
    objects: [
      { ...KEY, id, provider: 'assemblyai', what: 'created' },
      { ...KEY, id, provider: 'assemblyai', what: 'settled' },
    ],
    attempts: [
      {
        index: 0,
        deploymentId: route.deployment.id,
        provider: 'assemblyai',
        model,
        apiBase: route.apiBase,
        startedAt,
        firstTokenAt: null,
        endedAt: startedAt,
        outcome: 'success',
        usage,
        ...(prices === null ? {} : { cost: costOf(usage, prices).total, rateVersion: prices.rateVersion }),
      },
    ],
    routerId: '',
  }
}
