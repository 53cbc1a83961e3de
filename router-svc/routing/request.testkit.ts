import type { CallMessage } from '../../proto/call.ts'
import type { Deployment, RuntimeSettings } from '../../proto/deployment.ts'
import type { Identity } from '../../proto/identity.ts'
import { DEFAULT_ROUTING, type RoutingSettings } from '../../proto/routing.ts'
import type { IncomingStream } from '../../shared/bus/bus.ts'
import { testClock } from '../../shared/clock.ts'
import { createSealer } from '../../shared/config/secrets.ts'
import { type Call, decode, openCall } from '../call.ts'
import { deployment, identity, settings } from '../handle.testkit.ts'
import { createProviders } from '../providers/index.ts'
import { type CompileDeps, compileRuntime, type Route, type RouterRuntime } from '../runtime.ts'
import type { DeploymentState } from './deployment-state.ts'

export interface Asked {
  identity?: Partial<Identity>
  headers?: Record<string, string>
  routing?: Partial<RoutingSettings>
}

/** A call with its body read, as `readRouting` gets it. */
export function callOf(body: Record<string, unknown>, { identity: fields = {}, headers = {}, routing = {} }: Asked = {}): Call {
  const message = {
    v: 1,
    callId: 'c',
    take: 1,
    endpoint: 'acompletion',
    identity: { ...identity, ...fields },
    headers,
  } as CallMessage
  const call = openCall({ head: message } as unknown as IncomingStream, testClock())
  const whole = { model: 'gpt', messages: [{ role: 'user', content: 'Hello' }], ...body }
  decode(call, Buffer.from(JSON.stringify(whole)), settings)
  call.routing = { ...DEFAULT_ROUTING, ...routing }
  return call
}

/** What a test plays of a deployment's state. */
export type Played = { -readonly [Name in 'inFlight' | 'cooldownUntil']: DeploymentState[Name] } & {
  requests: number
  tokens: number
  share: number
}

const IDLE: Played = { inFlight: 0, cooldownUntil: 0, requests: 0, tokens: 0, share: 1 }

export function runtimeOf(
  deployments: Deployment[],
  changes: Partial<RuntimeSettings> = {},
  { catalog, played = {} }: { catalog?: CompileDeps['catalog']; played?: Record<string, Partial<Played>> } = {},
): RouterRuntime {
  const snapshot = { v: 1, revision: 1, deployments, settings: { ...settings, ...changes } }
  return compileRuntime(snapshot, {
    providers: createProviders(),
    sealer: createSealer(null),
    env: {},
    catalog: catalog ?? { prices: () => null, facts: () => null },
    states: { of: (id) => stateOf(id, { ...IDLE, ...played[id] }) },
  })
}

export function routesOf(...args: Parameters<typeof runtimeOf>): readonly Route[] {
  return runtimeOf(...args).routes
}

export const ids = (routes: readonly Route[]): string[] => routes.map((route) => route.deployment.id)

export { deployment }

function stateOf(id: string, played: Played): DeploymentState {
  return {
    id,
    inFlight: played.inFlight,
    cooldownUntil: played.cooldownUntil,
    ejectedUntil: 0,
    share: () => played.share,
    unhealthy: () => false,
    latency: () => 0,
    firstToken: () => 0,
    throughput: () => 0,
    requests: () => played.requests,
    tokens: () => played.tokens,
  }
}
