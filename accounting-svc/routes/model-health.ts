import type { Deployment } from '../../proto/deployment.ts'
import { BEAT_LIMIT } from '../../proto/frames.ts'
import type { Identity } from '../../proto/identity.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import type { Catalog } from '../../shared/catalog/catalog.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Config } from '../../shared/config/config.ts'
import { deploymentOf } from '../../shared/config/runtime.ts'
import type { Sealer } from '../../shared/config/secrets.ts'
import { toGatewayError } from '../../shared/errors.ts'
import { adminOnly, readsAll } from '../identity/access.ts'
import { NOBODY } from '../identity/open-routes.ts'
import type { KeptCheck, ModelHealth } from '../models/model-health.ts'
import { modelInfo } from '../models/model-info.ts'
import type { Runtime } from '../models/runtime.ts'
import { type Route, route, z } from './route.ts'

export interface ModelHealthRoutesDeps {
  health: ModelHealth
  runtime: Runtime
  catalog: Catalog
  config: () => Config
  env: Record<string, string | undefined>
  sealer: Sealer
  bus: Pick<Bus, 'fleet'>
  clock: Clock
}

const endpoint = z.looseObject({ model: z.string(), model_id: z.string(), model_name: z.string() })
const choice = { model: z.string().optional(), model_id: z.string().optional() }
const record = z.object({
  model_name: z.string(),
  model_id: z.string(),
  status: z.string().describe('healthy or unhealthy'),
  error_message: z.string().nullable(),
  response_time_ms: z.number().nullable(),
  checked_at: z.string(),
})

/** Whether the deployments serve (surface reference §1.10). */
export function modelHealthRoutes(deps: ModelHealthRoutesDeps): Route[] {
  const { health, runtime } = deps
  const chosen = ({ model, model_id }: { model?: string | undefined; model_id?: string | undefined }): Deployment[] =>
    runtime.deployments.filter(
      ({ hidden, id, modelGroup }) =>
        hidden !== true && (model === undefined || modelGroup === model) && (model_id === undefined || id === model_id),
    )
  return [
    route({
      method: 'GET',
      path: '/health',
      tag: 'health',
      summary: 'Which deployments serve: as last checked in the background, else each is called now',
      access: 'key',
      input: z.object(choice),
      output: z.object({
        healthy_endpoints: z.array(endpoint),
        unhealthy_endpoints: z.array(endpoint.extend({ error: z.string() })),
        unknown_endpoints: z.array(endpoint).describe('Blocked, or wildcards that name no model to check'),
        healthy_count: z.number(),
        unhealthy_count: z.number(),
        unknown_count: z.number(),
      }),
      async handle({ input, identity }) {
        mayLook(identity, '/health')
        const deployments = chosen(input)
        const checks = await recentOrNow(deps, deployments)
        return sorted(deployments, checks)
      },
    }),
    route({
      method: 'GET',
      path: '/health/latest',
      tag: 'health',
      summary: 'The last check of every deployment',
      access: 'admin',
      input: z.object({}),
      output: z.object({ latest_health_checks: z.record(z.string(), record), total_models: z.number() }),
      handle() {
        const checks = chosen({}).flatMap((deployment) => {
          const check = health.latest(deployment.id)
          return check === null ? [] : [[deployment.id, recordOf(deployment, check)] as const]
        })
        return { latest_health_checks: Object.fromEntries(checks), total_models: checks.length }
      },
    }),
    route({
      method: 'GET',
      path: '/health/history',
      tag: 'health',
      summary: 'Checks this process remembers, newest first',
      access: 'admin',
      input: z.object({
        ...choice,
        status_filter: z.enum(['healthy', 'unhealthy']).optional(),
        limit: z.coerce.number().int().min(1).max(1_000).default(100),
        offset: z.coerce.number().int().min(0).default(0),
      }),
      output: z.object({
        health_checks: z.array(record),
        total_records: z.number(),
        limit: z.number(),
        offset: z.number(),
      }),
      handle({ input }) {
        const { limit, offset, status_filter: status } = input
        const all = chosen(input)
          .flatMap((deployment) => health.history(deployment.id).map((check) => ({ deployment, check })))
          .filter(({ check }) => status === undefined || check.healthy === (status === 'healthy'))
          .toSorted((a, b) => b.check.at - a.check.at)
        const page = all.slice(offset, offset + limit)
        return {
          health_checks: page.map(({ deployment, check }) => recordOf(deployment, check)),
          total_records: all.length,
          limit,
          offset,
        }
      },
    }),
    route({
      method: 'GET',
      path: '/health/shared-status',
      tag: 'health',
      summary: 'How routers share their checks: always, and without a lock',
      access: 'admin',
      input: z.object({}),
      output: z.object({ shared_health_check_enabled: z.boolean(), cached_results: z.number() }),
      handle: () => ({
        shared_health_check_enabled: runtime.settings.routing.health.background,
        cached_results: chosen({}).filter(({ id }) => health.latest(id) !== null).length,
      }),
    }),
    route({
      method: 'GET',
      path: '/health/backlog',
      tag: 'health',
      summary: 'Calls running now, as the processes last said',
      access: 'admin',
      input: z.object({}),
      output: z.object({ in_flight_requests: z.number(), admitted_requests: z.number() }),
      handle: () => ({ in_flight_requests: running(deps.bus, 'edge'), admitted_requests: running(deps.bus, 'router') }),
    }),
    testRoute(deps),
  ]
}

function testRoute(deps: ModelHealthRoutesDeps): Route {
  return route({
    method: 'POST',
    path: '/health/test_connection',
    tag: 'health',
    summary: 'Whether a deployment would serve, before it is added',
    access: 'admin',
    input: z.object({
      litellm_params: z.looseObject({ model: z.string() }),
      mode: z.string().nullish(),
      model_info: z.looseObject({}).nullish(),
    }),
    output: z.object({ status: z.string().describe('success or error'), result: z.looseObject({}) }),
    async handle({ input }) {
      const { mode, litellm_params, model_info } = input
      const entry = {
        model_name: litellm_params.model,
        litellm_params,
        model_info: { ...model_info, ...(mode == null ? {} : { mode }) },
      }
      const { config, catalog, env, sealer } = deps
      // As if it came from the database: who may add models must not be able to read the gateway's own secrets.
      const deployment = deploymentOf(entry, env, sealer, { catalog, credentials: config().credential_list, fromDatabase: true })
      try {
        const { healthy, error, elapsed } = await deps.health.test(deployment)
        if (healthy) return { status: 'success', result: { response_time_ms: elapsed } }
        return { status: 'error', result: { error, response_time_ms: elapsed } }
      } catch (thrown) {
        const error = toGatewayError(thrown)
        if (error.status >= 500) throw error
        return { status: 'error', result: { error: error.message } }
      }
    },
  })
}

/** Those who read everything, keys whose routes name this one (that list was checked before, so it does), and all where it is public. */
function mayLook(identity: Identity, path: string): void {
  const named = identity.allowedRoutes.length > 0 || identity.keyHash === NOBODY.keyHash
  if (!readsAll(identity) && !named) throw adminOnly(identity, path)
}

/** With background checks their results, as long as they count; whatever has none is called now. */
async function recentOrNow(
  { health, runtime, clock }: ModelHealthRoutesDeps,
  deployments: readonly Deployment[],
): Promise<Map<string, KeptCheck>> {
  const { background, staleness } = runtime.settings.routing.health
  const known = new Map<string, KeptCheck>()
  for (const { id } of background ? deployments : []) {
    const check = health.latest(id)
    if (check !== null && clock.now() - check.at <= staleness) known.set(id, check)
  }
  const rest = deployments.filter(({ id, blocked }) => !blocked && !known.has(id))
  for (const check of rest.length === 0 ? [] : await health.check(rest)) known.set(check.deploymentId, check)
  return known
}

function sorted(deployments: readonly Deployment[], checks: ReadonlyMap<string, KeptCheck>): Record<string, unknown> {
  const healthy: unknown[] = []
  const unhealthy: unknown[] = []
  const unknown: unknown[] = []
  for (const deployment of deployments) {
    const check = checks.get(deployment.id)
    const shown = shownOf(deployment)
    if (check === undefined) unknown.push(shown)
    else if (check.healthy) healthy.push(shown)
    else unhealthy.push({ ...shown, error: check.error ?? '', ...(check.status === null ? {} : { status_code: check.status }) })
  }
  return {
    healthy_endpoints: healthy,
    unhealthy_endpoints: unhealthy,
    unknown_endpoints: unknown,
    healthy_count: healthy.length,
    unhealthy_count: unhealthy.length,
    unknown_count: unknown.length,
  }
}

/** Parameters without credentials, as /model/info has them. */
function shownOf(deployment: Deployment): Record<string, unknown> {
  const params = modelInfo(deployment, [])['litellm_params'] as Record<string, unknown>
  return { ...params, model_id: deployment.id, model_name: deployment.modelGroup, blocked: deployment.blocked }
}

function recordOf(deployment: Deployment, { healthy, error, elapsed, at }: KeptCheck): z.output<typeof record> {
  return {
    model_name: deployment.modelGroup,
    model_id: deployment.id,
    status: healthy ? 'healthy' : 'unhealthy',
    error_message: error,
    response_time_ms: elapsed,
    checked_at: new Date(at).toISOString(),
  }
}

function running(bus: Pick<Bus, 'fleet'>, role: 'edge' | 'router'): number {
  let sum = 0
  for (const member of bus.fleet()) {
    const { inFlight } = member.fields
    if (member.role === role && member.age < BEAT_LIMIT && typeof inFlight === 'number') sum += inFlight
  }
  return sum
}
