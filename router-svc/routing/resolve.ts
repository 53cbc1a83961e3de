import { unavailable } from '../../shared/catalog/unavailable.ts'
import { entryOf } from '../../shared/entry.ts'
import { GatewayError } from '../../shared/errors.ts'
import { mayCall } from '../../shared/model-access.ts'
import type { Call } from '../call.ts'
import type { Resolution, RouterRuntime } from '../runtime.ts'
import { conditionContext, matches } from './conditions.ts'
import { NO_PREFERENCES } from './preferences.ts'

/**
 * Alias, access and the deployments behind the name (surface reference §5.1): a deployment's id, aliases of key and team, group aliases, the
 * group with the team's own first, wildcards, upstream names; then what the operator's rules make of it, and for names nobody knows the
 * first default fallback. Starts from `call.modelGroup`, which is what the client asked for. Throws GatewayError `unknown_model`,
 * `model_denied`.
 */
export function resolve(call: Call, runtime: RouterRuntime): Resolution {
  const asked = call.modelGroup
  const found = find(call, runtime, asked)
  checkAccess(call, runtime, asked, found)
  const resolution = ruled(call, runtime, asked, found) ?? byDefault(call, runtime)
  if (resolution === null) throw unknown(call, asked)
  call.modelGroup = resolution.group
  return resolution
}

/** A group named by settings or, its access checked before, by the client: a fallback, the target of a rule, a mirror. Null = not there. */
export function resolveTarget(call: Call, runtime: RouterRuntime, model: string): Resolution | null {
  const alias = call.identity.routing?.modelGroupAlias
  const name = (alias && entryOf(alias, model)) ?? model
  return runtime.resolve(name, call.identity.teamId)
}

/** Throws GatewayError `model_denied` or `unknown_model` when the client may not name `model` where `place` does. */
export function checkNamed(call: Call, runtime: RouterRuntime, model: string, place: string): void {
  const name = aliasOf(call, model)
  const found = resolveTarget(call, runtime, name)
  if (!mayCall(call.identity, [model, name, runtime.aliased(name)], found?.served ?? [])) {
    throw new GatewayError(
      'model_denied',
      `The model '${model}' in '${place}' is not available for this API key. Call \`/v1/models\` to view available models for your key.`,
      { param: place },
    )
  }
  if (found === null) {
    throw new GatewayError(
      'unknown_model',
      `Invalid model name '${model}' in '${place}'. Call \`/v1/models\` to view available models for your key.`,
      { param: place },
    )
  }
}

interface Found {
  /** After the aliases of key and team, and without a suffix that was taken for a preference. */
  name: string
  resolution: Resolution | null
}

function find(call: Call, runtime: RouterRuntime, asked: string): Found {
  const { teamId } = call.identity
  // An alias never hides a deployment's id.
  const name = Object.hasOwn(call.identity.aliases, asked) ? aliasOf(call, asked) : asked
  if (name !== asked) {
    const byId = runtime.resolve(asked, teamId)
    if (byId !== null && byId.routes.length === 1 && byId.routes[0]?.deployment.id === asked)
      return { name: asked, resolution: byId }
  }
  const resolution = resolveTarget(call, runtime, name)
  return unsuffixed(call, runtime, name, resolution) ?? { name, resolution }
}

/**
 * `gpt-4o:floor`: sorted by price, `:nitro`: by throughput, as OpenRouter's users write it. Only where the name with its suffix is nobody's:
 * a wildcard that takes any name does not count against a group of the very name before the colon.
 */
function unsuffixed(call: Call, runtime: RouterRuntime, name: string, whole: Resolution | null): Found | null {
  const colon = name.lastIndexOf(':')
  if (colon < 1) return null
  const sort = SUFFIXES[name.slice(colon + 1)]
  if (sort === undefined || (whole !== null && !whole.group.includes('*'))) return null
  const bare = name.slice(0, colon)
  const resolution = resolveTarget(call, runtime, aliasOf(call, bare))
  if (resolution === null || (whole !== null && resolution.group.includes('*'))) return null
  call.preferences = { ...(call.preferences ?? NO_PREFERENCES), sort: call.preferences?.sort ?? sort }
  return { name: bare, resolution }
}

const SUFFIXES: Readonly<Record<string, 'price' | 'throughput'>> = Object.assign(Object.create(null), {
  floor: 'price',
  nitro: 'throughput',
})

function checkAccess(call: Call, runtime: RouterRuntime, asked: string, { name, resolution }: Found): void {
  if (mayCall(call.identity, [asked, name, runtime.aliased(name)], resolution?.served ?? [])) return
  throw new GatewayError(
    'model_denied',
    `The requested model '${asked}' is not available for this API key, or the model name is invalid. Call \`/v1/models\` to view available models for your key.`,
    { param: 'model' },
  )
}

/** What the operator's rules make of a name, first match wins. Their targets are the operator's word: access was checked for what was asked. */
function ruled(call: Call, runtime: RouterRuntime, asked: string, { name, resolution }: Found): Resolution | null {
  const { conditions } = call.routing
  if (conditions.length === 0) return resolution
  const names = [asked, name, resolution?.group ?? name]
  const context = conditionContext(call)
  for (const rule of conditions) {
    if (rule.models.length > 0 && !rule.models.some((model) => names.includes(model))) continue
    if (!matches(rule.when, context)) continue
    return resolveTarget(call, runtime, rule.then) ?? resolution
  }
  return resolution
}

function byDefault(call: Call, runtime: RouterRuntime): Resolution | null {
  const target = call.routing.fallbacks.general['*']?.[0]
  if (target === undefined || call.requestFallbacks.disabled) return null
  const resolution = resolveTarget(call, runtime, target.model)
  if (resolution !== null && target.overrides !== undefined) call.request = { ...call.request, ...target.overrides }
  return resolution
}

function unknown(call: Call, asked: string): GatewayError {
  const gone = unavailable(asked.split('/', 1)[0] as string)
  const advice = gone === null ? 'Call `/v1/models` to view available models for your key' : `It cannot be served: ${gone}`
  return new GatewayError(
    'unknown_model',
    `${call.endpoint.path.replace('/v1', '')}: Invalid model name passed in model=${asked}. ${advice}.`,
    { param: 'model' },
  )
}

function aliasOf({ identity: { aliases } }: Call, model: string): string {
  return entryOf(aliases, model) ?? model
}
