import type { FallbackLists, FallbackTarget } from '../../proto/routing.ts'
import { GatewayError } from '../../shared/errors.ts'
import { fits } from '../../shared/model-access.ts'
import { actorOf } from '../identity/access.ts'
import { auditEntry } from '../identity/audit.ts'
import type { Writer } from '../identity/writer.ts'
import { audit } from '../sql/audit.ts'
import { deleteStoredFallback, putStoredFallback } from '../sql/settings.ts'
import type { Configuration } from './configuration.ts'
import type { Runtime } from './runtime.ts'

/** Kinds of fallback lists as LiteLLM's API calls them → the setting each is. */
export const FALLBACK_FIELDS = {
  general: 'fallbacks',
  context_window: 'context_window_fallbacks',
  content_policy: 'content_policy_fallbacks',
} as const
export type FallbackKind = keyof typeof FALLBACK_FIELDS
export const FALLBACK_KINDS = Object.keys(FALLBACK_FIELDS) as [FallbackKind, ...FallbackKind[]]

const COMPILED: Readonly<Record<FallbackKind, keyof FallbackLists>> = {
  general: 'general',
  context_window: 'contextWindow',
  content_policy: 'contentPolicy',
}

/** Fallbacks of single model groups, set while the gateway runs. */
export interface Fallbacks {
  /** Throws GatewayError `not_found` for a group that is not served, `bad_request` for fallbacks that are not or that are the group. */
  set(group: string, kind: FallbackKind, targets: readonly string[], by: Writer): Promise<void>
  /** What is in force, the file's too. Throws GatewayError `not_found`. */
  get(group: string, kind: FallbackKind): FallbackTarget[]
  /** Takes away what was set here; what the file says holds again. Throws GatewayError `not_found`. */
  remove(group: string, kind: FallbackKind, by: Writer): Promise<void>
}

export function createFallbacks(deps: {
  configuration: Configuration
  runtime: Pick<Runtime, 'deployments' | 'settings'>
}): Fallbacks {
  const { configuration, runtime } = deps

  const served = (name: string): boolean =>
    Object.hasOwn(runtime.settings.modelGroupAlias, name) ||
    runtime.deployments.some(
      ({ hidden, modelGroup, team }) =>
        hidden !== true &&
        (modelGroup === name || team?.publicName === name || (modelGroup.includes('*') && fits(modelGroup, name))),
    )

  const lists = (kind: FallbackKind): Record<string, FallbackTarget[]> => runtime.settings.routing.fallbacks[COMPILED[kind]] ?? {}

  const entry = (
    by: Writer,
    action: 'updated' | 'deleted',
    kind: FallbackKind,
    group: string,
    before: unknown,
    after: unknown,
  ) => {
    const shown = (targets: unknown): unknown => (targets == null ? null : { fallback_type: kind, fallback_models: targets })
    return auditEntry(by.actor, by.changedBy, action, 'fallbacks', group, shown(before), shown(after))
  }

  return {
    async set(group, kind, targets, by) {
      if (group !== '*' && !served(group)) throw missing('model', `There is no model group ${group}.`)
      const wrong = targets.find((target) => target === group || !served(target))
      if (wrong === group) throw badRequest(`${group} cannot be its own fallback.`)
      if (wrong !== undefined) throw badRequest(`There is no model group ${wrong} to fall back to.`)
      if (new Set(targets).size !== targets.length) throw badRequest('A model group stands twice among the fallbacks.')
      await configuration.write(async (tx) => {
        const before = await putStoredFallback(tx, { kind, model_group: group, targets }, actorOf(by.actor))
        await audit(tx, entry(by, 'updated', kind, group, before, targets))
      })
    },
    get(group, kind) {
      const all = lists(kind)
      if (!Object.hasOwn(all, group)) throw missing('model', `${group} has no ${kind} fallbacks.`)
      return all[group] as FallbackTarget[]
    },
    async remove(group, kind, by) {
      await configuration.write(async (tx) => {
        const before = await deleteStoredFallback(tx, kind, group)
        if (before === undefined) {
          const inFile = Object.hasOwn(lists(kind), group)
          throw missing('model', `${group} has no ${kind} fallbacks${inFile ? ' but those of the configuration file' : ''}.`)
        }
        await audit(tx, entry(by, 'deleted', kind, group, before, null))
      })
    },
  }
}

function missing(param: string, text: string): GatewayError {
  return new GatewayError('not_found', text, { param })
}

function badRequest(text: string): GatewayError {
  return new GatewayError('bad_request', text, { type: 'bad_request_error', param: 'fallback_models' })
}
