import { createHash } from 'node:crypto'
import type { KeptObject } from '../../proto/objects.ts'
import { type Attempt, NO_TOKENS, type UsageEvent } from '../../proto/usage.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import { costOf } from '../../shared/cost.ts'
import { GatewayError } from '../../shared/errors.ts'
import { smallFacts } from '../../shared/object-facts.ts'
import { tokensOf } from '../canonical/usage.ts'
import { type Fields, isFields } from '../providers/json.ts'
import { messageBatchAddress, objectUrl } from '../providers/object-apis.ts'
import type { UpstreamAnswer } from '../providers/provider.ts'
import { decodeUsage } from '../providers/responses/answer.ts'
import type { Route } from '../runtime.ts'
import { type BatchUsage, type ModelUsage, usageOfResults } from './batch-results.ts'
import type { CarriedUpstream } from './carrier.ts'

export interface SettleDeps {
  ask(route: Route, upstream: CarriedUpstream): Promise<UpstreamAnswer>
  book(event: UsageEvent): void
  /** Deployments, for the prices of the models that answered. */
  routes: readonly Route[]
  routerId: string
  now(): number
}

/** Statuses after which nothing of an object changes. */
const ENDED: ReadonlySet<unknown> = new Set(['completed', 'failed', 'cancelled', 'expired', 'ended', 'incomplete'])

/** Whether a batch, a video or a response in the background is done. */
export function isEnded(facts: Fields): boolean {
  return ENDED.has(facts['status'] ?? facts['processing_status'])
}

/** Asks the provider what an object is now. Rejects with GatewayError. */
export async function lookAt(
  deps: Pick<SettleDeps, 'ask'>,
  route: Route,
  { kind, id }: Pick<KeptObject, 'kind' | 'id'>,
): Promise<Fields> {
  const { target } = route
  const path = encodeURIComponent(id)
  const at =
    kind === 'message_batch'
      ? messageBatchAddress(target, `/${path}`)
      : addressOf(kind === 'response' ? responseUrl(route, path) : objectUrl(target, `/${PATHS[kind]}/${path}`))
  const answer = await deps.ask(route, { method: 'GET', ...at, body: '' })
  const text = Buffer.from(answer.body).toString('utf8')
  if (answer.status >= 300) throw route.provider.decodeError(answer.status, answer.headers, text)
  const value: unknown = JSON.parse(text)
  if (!isFields(value)) throw new GatewayError('provider_malformed', 'The answer is not a JSON object.')
  return value
}

function responseUrl({ provider, target }: Route, path: string): URL {
  if (provider.responses === undefined) throw new GatewayError('not_found', 'The deployment no longer speaks Responses.')
  const url = new URL(provider.responses.url(target))
  url.pathname += `/${path}`
  return url
}

function addressOf(url: URL): { url: string; headers: Record<string, string> } {
  return { url: url.href, headers: {} }
}

const PATHS: Readonly<Partial<Record<KeptObject['kind'], string>>> = { batch: 'batches', video: 'videos' }

/**
 * Reads what a batch or video that is done used, and books it for who created it. The event is the same whoever makes it however often, so that it
 * is booked once. False = it is not done. Rejects when results cannot be read: nothing is booked, and it is tried again.
 */
export async function settleObject(deps: SettleDeps, route: Route, object: KeptObject, facts: Fields): Promise<boolean> {
  if (!isEnded(facts)) return false
  const sums = await usageOf(deps, route, object, facts)
  deps.book(settlement(deps, route, object, facts, sums))
  return true
}

async function usageOf(deps: SettleDeps, route: Route, object: KeptObject, facts: Fields): Promise<BatchUsage> {
  const sums: BatchUsage = new Map()
  if (object.kind === 'video') {
    const seconds = Number(facts['seconds'])
    if (facts['status'] !== 'completed' || !(seconds > 0)) return sums
    const size = typeof facts['size'] === 'string' ? `:${facts['size']}` : ''
    const units = { [`video_ms_out${size}`]: Math.round(seconds * 1000) }
    const model = typeof facts['model'] === 'string' ? facts['model'] : route.model
    return sums.set(model, { model, usage: { ...NO_TOKENS, units } })
  }
  if (object.kind === 'response') {
    const output = Array.isArray(facts['output']) ? (facts['output'] as unknown[]) : []
    const usage = decodeUsage(facts['usage'], output)
    const model = typeof facts['model'] === 'string' ? facts['model'] : route.model
    return usage === null ? sums : sums.set(model, { model, usage: tokensOf(usage, facts['service_tier']) })
  }
  if (object.kind === 'message_batch') {
    const results = messageBatchAddress(route.target, `/${encodeURIComponent(object.id)}/results`)
    if (typeof facts['results_url'] === 'string') await readResults(deps, route, results, sums)
    return sums
  }
  const file = facts['output_file_id']
  if (typeof file === 'string' && file !== '') {
    await readResults(deps, route, addressOf(objectUrl(route.target, `/files/${encodeURIComponent(file)}/content`)), sums)
  }
  return sums
}

async function readResults(
  deps: SettleDeps,
  route: Route,
  at: { url: string; headers: Record<string, string> },
  sums: BatchUsage,
): Promise<void> {
  const answer = await deps.ask(route, { method: 'GET', ...at, body: '' })
  // An object that is gone will never tell: what is not known is not billed, and said so.
  if (answer.status === 404 || answer.status === 410) return
  if (answer.status >= 300) throw route.provider.decodeError(answer.status, answer.headers, '')
  await usageOfResults(answer.body, sums)
}

const ENDPOINTS: Readonly<Partial<Record<KeptObject['kind'], string>>> = { video: 'avideo_generation', response: 'aresponses' }

/** The event of a batch's cost. Of the object alone, so that it is the same from whoever sends it. */
function settlement(deps: SettleDeps, route: Route, object: KeptObject, facts: Fields, sums: BatchUsage): UsageEvent {
  const { kind, deploymentId, id, provider, owner } = object
  const digest = createHash('sha256')
    .update(JSON.stringify([kind, deploymentId, id]))
    .digest('hex')
    .slice(0, 32)
  const startedAt = object.createdAt
  const used = [...sums.keys()].sort().map((key) => sums.get(key) as ModelUsage)
  const attempts = used.map(({ model: reported, usage }, index): Attempt => {
    const served = routeOf(deps.routes, route, reported)
    const tier = kind === 'batch' || kind === 'message_batch' ? { serviceTier: 'batch' } : {}
    const prices = served?.prices ?? null
    return {
      index,
      deploymentId: served?.deployment.id ?? `environment/${provider}`,
      provider,
      model: served?.model ?? reported,
      apiBase: route.apiBase,
      startedAt,
      firstTokenAt: null,
      endedAt: startedAt,
      outcome: 'success',
      usage,
      ...(served !== undefined && served.model !== reported ? { reportedModel: reported } : {}),
      ...tier,
      ...(prices === null
        ? {}
        : {
            cost: costOf(usage, prices, { tier: tier.serviceTier ?? usage.serviceTier }).total,
            rateVersion: prices.rateVersion,
          }),
    }
  })
  const model = attempts[0]?.model ?? kind
  return {
    v: WIRE_VERSION,
    callId: `${kind}-${digest}`,
    take: 1,
    endpoint: ENDPOINTS[kind] ?? 'aretrieve_batch',
    stream: false,
    ...owner,
    projectId: owner.projectId,
    endUser: null,
    tags: [],
    requestedModel: model,
    modelGroup:
      attempts.length === 0 ? kind : (routeOf(deps.routes, route, used[0]?.model ?? '')?.deployment.modelGroup ?? model),
    startedAt,
    firstTokenAt: null,
    endedAt: Math.max(startedAt, deps.now()),
    outcome: 'success',
    status: 200,
    attempts,
    routerId: deps.routerId,
    objects: [{ kind, deploymentId, id, provider, what: 'settled', facts: smallFacts(facts) }],
  }
}

/** What a provider calls a model at a date: `gpt-4o-2024-08-06`, `claude-sonnet-4-5-20250929`. */
const DATED = /^-(?:\d{4}-\d{2}-\d{2}|\d{8})$/

/** The deployment of the model that answered: the batch's own where it fits, else any of the same provider. */
function routeOf(routes: readonly Route[], own: Route, reported: string): Route | undefined {
  const fits = ({ model }: Route): boolean =>
    model !== '' && (model === reported || (reported.startsWith(model) && DATED.test(reported.slice(model.length))))
  if (fits(own)) return own
  return routes.find((route) => route.deployment.provider === own.deployment.provider && fits(route))
}
