import type { Deployment } from '../../proto/deployment.ts'
import { DEFAULT_ROUTING, type RoutingSettings } from '../../proto/routing.ts'
import { type TestClock, testClock } from '../../shared/clock.ts'
import { type Call, openCall } from '../call.ts'
import type { Resolution, Route, RouterRuntime } from '../runtime.ts'
import { createStates, type States } from './states.ts'
import type { ChoiceContext } from './strategies/strategy.ts'

export type Fields = Partial<Deployment> & { price?: [input: number, output: number] | null }

export interface Group {
  clock: TestClock
  states: States
  settings: RoutingSettings
  routes: Route[]
  resolution: Resolution
  runtime: RouterRuntime
  call(fields?: Partial<Call>): Call
  context(fields?: Partial<ChoiceContext>): ChoiceContext
}

/** A model group of made-up deployments with real states, on a clock that stands still. */
export function makeGroup(
  deployments: Record<string, Fields>,
  settings: Partial<RoutingSettings> = {},
  clock = testClock(),
  states = createStates({ clock }),
): Group {
  const routing = { ...DEFAULT_ROUTING, ...settings }
  const routes = Object.entries(deployments).map(([id, { price, ...fields }]) => {
    const deployment = {
      id,
      modelGroup: 'group',
      provider: 'openai',
      weight: 1,
      rpm: null,
      tpm: null,
      order: null,
      blocked: false,
      tags: [],
      info: {},
      ...fields,
    } as unknown as Deployment
    const prices = price == null ? null : { rateVersion: 'r', input: price[0], output: price[1] }
    const provider = { name: deployment.provider, chat: {} }
    return {
      deployment,
      provider,
      model: 'model',
      apiBase: null,
      prices,
      state: states.of(id),
      tagPatterns: null,
    } as unknown as Route
  })
  states.use(
    routes.map(({ deployment }) => deployment),
    routing,
  )
  const resolution = { group: 'group', routes, served: [] }
  const runtime = { settings: { routing, providerBudgets: [] }, routes, resolve: () => resolution } as unknown as RouterRuntime
  const head = { endpoint: 'acompletion', headers: {}, identity: { keyHash: 'k', teamId: null, tags: [], metadata: {} } }
  return {
    clock,
    states,
    settings: routing,
    routes,
    resolution,
    runtime,
    call: (fields) =>
      Object.assign(openCall({ head } as never, clock), { requestedModel: 'group', modelGroup: 'group', routing }, fields),
    context: (fields) => ({
      settings: routing,
      columns: states.columns,
      now: clock.monotonic(),
      wallNow: clock.now(),
      random: Math.random,
      stream: false,
      inputTokens: 0,
      ...fields,
    }),
  }
}

/** `count` deployments named d0, d1, …. */
export function many(count: number, fields: (index: number) => Fields = () => ({})): Record<string, Fields> {
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`d${index}`, fields(index)]))
}

/** An attempt that took so long and made so many tokens. */
export function success(elapsed = 100, outputTokens = 10) {
  return { error: null, elapsed, firstToken: null, inputTokens: 5, outputTokens } as const
}

export function failure(
  error: 'provider_error' | 'provider_rate_limited' | 'provider_timeout' | 'provider_authentication' = 'provider_error',
) {
  return { error, elapsed: 100, firstToken: null, inputTokens: 0, outputTokens: 0 } as const
}

export function idOf(route: Route | null): string | null {
  return route === null ? null : route.deployment.id
}
