import type { RuntimeSettings } from '../../proto/deployment.ts'
import { type Limit, scopes } from '../../proto/limits.ts'
import { isFree } from '../../shared/cost.ts'
import type { Call } from '../call.ts'
import type { Resolution, Route } from '../runtime.ts'

/** Whether a limit is about this call: about every model, or about this one, named with or without its provider. */
export function applies(limit: Limit, call: Call, resolution: Resolution): boolean {
  const { model } = limit
  if (model === undefined) return true
  if (model === call.requestedModel || model === resolution.group) return true
  const bare = withoutProvider(model)
  return bare === withoutProvider(call.requestedModel) || bare === withoutProvider(resolution.group)
}

function withoutProvider(model: string): string {
  const slash = model.indexOf('/')
  return slash < 0 ? model : model.slice(slash + 1)
}

/** The budget in force at `now` (Unix milliseconds), nano-dollars: with its temporary increase while that holds. */
export function budgetOf(limit: Limit, now: number): number | null {
  if (limit.budgetUntil !== undefined && now >= limit.budgetUntil) return limit.budgetAfter ?? null
  return limit.budget ?? null
}

/** A model that is explicitly free skips budgets; one without a known price does not, though nothing can be held for it. */
export function isFreeOf(route: Route): boolean {
  return route.prices !== null && isFree(route.prices)
}

/** Whether what a route makes or hears is billed by the token; most images and sounds are billed by the piece, and have none. */
export function countsTokens({ prices }: Route): boolean {
  if (prices === null) return false
  return [prices.input, prices.output, prices.imageOutput, prices.audioOutput].some((price) => (price ?? 0) > 0)
}

/** Output tokens to reserve for a call that does not say: the key's word for this model, its word for all, the settings'. */
export function outputReserve(call: Call, settings: RuntimeSettings): number {
  const { estimatedOutputTokens, estimatedOutputTokensPerModel } = call.identity
  return (
    estimatedOutputTokensPerModel[call.requestedModel] ??
    estimatedOutputTokensPerModel[call.modelGroup] ??
    estimatedOutputTokens ??
    settings.holdOutputTokens
  )
}

/**
 * What a deployment gives every key that has no limit of its own on its model (`default_api_key_rpm_limit`, `default_api_key_tpm_limit`);
 * of several deployments the first that says so. Null = nothing.
 */
export function defaultModelLimit(call: Call, resolution: Resolution, own: readonly Limit[]): Limit | null {
  if (own.some(({ kind, model }) => kind === 'key' && model !== undefined)) return null
  for (const { deployment } of resolution.routes) {
    const { keyRpm: requests, keyTpm: tokens } = deployment
    if (requests === undefined && tokens === undefined) continue
    const { keyHash } = call.identity
    return {
      scope: scopes.model(scopes.key(keyHash), resolution.group),
      kind: 'key',
      owner: keyHash,
      model: resolution.group,
      ...(requests === undefined ? {} : { requests }),
      ...(tokens === undefined ? {} : { tokens }),
      spent: 0,
      revision: 0,
      resetAt: null,
    }
  }
  return null
}

/** Token limits below this make an answer without a limit of its own too large to admit; LiteLLM's number and share (surface reference §3.5). */
const SMALL_TOKEN_LIMIT = 4_096
const SHARE = 4

/** What an answer without a limit of its own is limited to, so that it fits a small token limit; null = nothing need be done. */
export function tokenCap(limits: readonly Limit[]): number | null {
  let smallest = Number.POSITIVE_INFINITY
  for (const { tokens } of limits) if (tokens !== undefined) smallest = Math.min(smallest, tokens)
  return smallest < SMALL_TOKEN_LIMIT ? Math.max(1, Math.floor(smallest / SHARE)) : null
}

/** Scopes that an entry's own columns do not name: the usage event lists them. */
export function isExtra(limit: Limit): boolean {
  if (limit.kind === 'proxy' || limit.kind === 'provider' || limit.kind === 'deployment' || limit.kind === 'run') return true
  return limit.scope.includes('|model|') || limit.scope.includes('|window|')
}
