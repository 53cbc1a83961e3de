import { type Deployment, PLAIN_DEPLOYMENT, type RuntimeSnapshot } from '../../proto/deployment.ts'
import { GatewayError } from '../../shared/errors.ts'
import { mayCall, mayUse } from '../../shared/model-access.ts'
import type { Call } from '../call.ts'
import type { Resolution, Route, RouterRuntime } from '../runtime.ts'
import type { Finder } from './carrier.ts'

export interface FinderDeps {
  runtime: RouterRuntime
  /** What is in force, with its services. */
  snapshot: RuntimeSnapshot
  /** A route for a deployment that need not be in the runtime. */
  compile(deployment: Deployment): Route
  /** Absent where nothing sealed is to be read. */
  open?(sealed: string): string
}

/** Deployments and credentials for a carried call, as far as its caller may use them. */
export function createFinder(call: Pick<Call, 'identity'>, { runtime, snapshot, compile, open }: FinderDeps): Finder {
  const { identity } = call

  function allowed(model: string, resolution: Resolution | null): Route {
    if (!mayCall(identity, [model, runtime.aliased(model)], resolution?.served ?? [])) {
      throw new GatewayError('model_denied', `The model '${model}' is not available for this API key.`, { param: 'model' })
    }
    const route = resolution?.routes.find(({ deployment, problem }) => problem === null && !deployment.blocked)
    if (route === undefined) {
      const text =
        resolution === null ? `Invalid model name passed in model=${model}.` : `No deployment of ${model} can serve now.`
      throw new GatewayError(resolution === null ? 'unknown_model' : 'no_deployment', text, { param: 'model' })
    }
    return route
  }

  return {
    runtime,
    anyModel: identity.models.length === 0 || mayUse(identity, ''),
    services: (purpose) =>
      (snapshot.services ?? [])
        .filter((one) => one.purpose === purpose || one.purpose.startsWith(`${purpose}:`))
        .map(({ purpose: named, deployment }) => ({
          provider: deployment.provider,
          vectorStore: named === purpose ? null : named.slice(purpose.length + 1),
          route: () => usable(compile(deployment), deployment.provider),
        })),
    byModel: (model) => {
      const alias = identity.aliases[model]
      const name = alias !== undefined && Object.hasOwn(identity.aliases, model) ? alias : model
      return allowed(name, runtime.resolve(name, identity.teamId))
    },
    byDeployment(id) {
      const service = snapshot.services?.find(({ deployment }) => deployment.id === id)
      if (service !== undefined) return compile(service.deployment)
      if (id.startsWith(ENVIRONMENT)) return fromEnvironment(id.slice(ENVIRONMENT.length))
      const resolution = runtime.resolve(id, identity.teamId)
      if (resolution?.routes[0]?.deployment.id !== id)
        throw new GatewayError('not_found', `The deployment that holds this object is gone.`)
      return allowed(resolution.group, resolution)
    },
    open: open ?? ((text) => text),
    bare: (provider, base) => {
      const route = compile({ ...NOBODY, id: `pass-through/${provider}`, provider, apiBase: base })
      return { ...route, headers: {}, credential: null, problem: null }
    },
    byProvider(provider, purpose, among = [provider]) {
      const named = snapshot.services?.find((one) => one.purpose === purpose && one.deployment.provider === provider)
      if (named !== undefined) return usable(compile(named.deployment), provider)
      const route = runtime.routes.find((one) => among.includes(one.deployment.provider) && one.problem === null && isOpen(one))
      return route ?? fromEnvironment(provider)
    },
  }

  /** A provider whose key is in the environment alone. */
  function fromEnvironment(provider: string): Route {
    return usable(compile({ ...NOBODY, id: `${ENVIRONMENT}${provider}`, provider }), provider)
  }
}

const ENVIRONMENT = 'environment/'

function isOpen({ deployment }: Route): boolean {
  return !deployment.blocked && deployment.team === undefined
}

function usable(route: Route, provider: string): Route {
  if (route.problem === null) return route
  throw new GatewayError('provider_authentication', `litellm.AuthenticationError: ${provider}: ${route.problem}.`)
}

/** A deployment of no model, for what a provider serves beside its models. */
const NOBODY: Omit<Deployment, 'id' | 'provider'> = { ...PLAIN_DEPLOYMENT, modelGroup: '', model: '' }
