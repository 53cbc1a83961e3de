import { GatewayError } from '../../../shared/errors.ts'
import type { Call } from '../../call.ts'
import type { Adapter } from '../../providers/provider.ts'
import type { Route } from '../../runtime.ts'
import type { Filter } from './filter.ts'

type Request = Readonly<Record<string, unknown>>

/**
 * Deployments that do what the request asks: with `provider.require_parameters` all of it, under `enable_pre_call_checks` its response
 * format, unless parameters may be dropped. A model of which nothing is known is not left out for what it can do.
 */
export const supportedParameters: Filter = {
  name: 'supported parameters',
  applies: (call) => call.preferences?.requireParameters === true || checksFormat(call),
  keep(routes, call) {
    const { request } = call
    const all = call.preferences?.requireParameters === true
    const wanted = all ? capabilities(request) : formatCapability(request)
    const asked = all
      ? { ...request, drop_params: false }
      : { model: request['model'], messages: SAMPLE, response_format: request['response_format'] }
    // Deployments of one model with one set of rules answer alike.
    const judged = new Map<string, boolean>()
    return routes.filter((route) => {
      if (!all && route.deployment.dropParams) return true
      if (route.supports !== null && wanted.some((name) => !route.supports?.has(name))) return false
      const { deployment, model } = route
      const key = `${deployment.provider}\n${model}\n${deployment.allowedOpenaiParams.join()}\n${deployment.additionalDropParams.join()}`
      let supported = judged.get(key)
      if (supported === undefined) {
        supported = takes(route, call, asked)
        judged.set(key, supported)
      }
      return supported
    })
  },
  refusal(call) {
    return new GatewayError(
      'unsupported_parameter',
      `litellm.UnsupportedParamsError: no deployment of model=${call.modelGroup} supports what the request asks for.`,
    )
  },
}

const SAMPLE = [{ role: 'user', content: 'x' }]

function checksFormat(call: Call): boolean {
  return call.routing.preCallChecks && call.request['response_format'] != null && call.request['drop_params'] !== true
}

/** Whether the route's adapter makes a request of it without leaving anything out: it knows what its provider refuses. */
function takes(route: Route, call: Call, request: Request): boolean {
  const adapter = route.provider[call.endpoint.mode] as Adapter<Request, unknown, unknown> | undefined
  if (adapter === undefined || route.provider.local === true) return true
  try {
    adapter.encodeRequest(request, { ...route.target, dropParams: false })
    return true
  } catch (thrown) {
    return !(thrown instanceof GatewayError && thrown.code === 'unsupported_parameter')
  }
}

/** LiteLLM's `supports_…` names, without the prefix, of what a request needs. */
function capabilities(request: Request): string[] {
  const wanted = [...formatCapability(request)]
  if (Array.isArray(request['tools']) && request['tools'].length > 0) wanted.push('function_calling')
  if (request['reasoning_effort'] != null || request['thinking'] != null) wanted.push('reasoning')
  return wanted
}

function formatCapability(request: Request): readonly string[] {
  const format = request['response_format'] as { type?: unknown } | null | undefined
  return format?.type === 'json_schema' ? ['response_schema'] : []
}
