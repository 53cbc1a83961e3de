import type { Sealer } from '../../shared/config/secrets.ts'
import { isObject } from '../../shared/json-object.ts'
import { withoutSecrets } from './audit.ts'

/** Where a team's calls are reported: kept in `metadata.logging` of the team, as LiteLLM does. An empty list reports them nowhere. */
export interface TeamCallback {
  callback_name: string
  callback_type: 'success' | 'failure' | 'success_and_failure'
  callback_vars: Record<string, unknown>
}

/** Shown in place of a secret, and read as "the one you have" when it is sent back. */
const HIDDEN = '***'
const SECRET = /secret|password|token|webhook|(?<!public_)key/i
const REFERENCE = 'os.environ/'

/** The callbacks in a team's metadata; entries that are none are left out. */
export function callbacksOf(metadata: Record<string, unknown>): TeamCallback[] {
  const list = metadata['logging']
  return Array.isArray(list) ? list.filter(isCallback) : []
}

function isCallback(entry: unknown): entry is TeamCallback {
  return isObject(entry) && typeof entry['callback_name'] === 'string' && isObject(entry['callback_vars'])
}

/** `metadata` with the secrets of its callbacks sealed; hidden ones are those of `present`. References to the environment stay as they are. */
export function sealCallbackSecrets(
  metadata: Record<string, unknown>,
  present: Record<string, unknown>,
  sealer: Sealer,
): Record<string, unknown> {
  if (!Array.isArray(metadata['logging'])) return metadata
  const known = callbacksOf(present)
  const logging = metadata['logging'].map((entry: unknown) => {
    if (!isCallback(entry)) return entry
    const before = known.find(({ callback_name }) => callback_name === entry.callback_name)
    return {
      ...entry,
      callback_vars: overSecrets(entry, (value, name) => {
        if (value === HIDDEN) return before?.callback_vars[name] ?? HIDDEN
        return value.startsWith(REFERENCE) || value.startsWith('sealed:') ? value : sealer.seal(value)
      }),
    }
  })
  return { ...metadata, logging }
}

/** `metadata` as it may be shown. */
export function hideCallbackSecrets(metadata: Record<string, unknown>): Record<string, unknown> {
  const shown = { ...metadata }
  const settings = shown['secret_manager_settings']
  if (settings !== undefined) shown['secret_manager_settings'] = withoutSecrets(settings)
  if (Array.isArray(shown['logging']))
    shown['logging'] = shown['logging'].map((entry: unknown) => (isCallback(entry) ? hideOne(entry) : entry))
  return shown
}

function hideOne(entry: TeamCallback): TeamCallback {
  return { ...entry, callback_vars: overSecrets(entry, (value) => (value.startsWith(REFERENCE) ? value : HIDDEN)) }
}

function overSecrets(entry: TeamCallback, change: (value: string, name: string) => unknown): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(entry.callback_vars).map(([name, value]) => [
      name,
      SECRET.test(name) && typeof value === 'string' ? change(value, name) : value,
    ]),
  )
}

/** What a team reports where, as /team/{id}/callback shows it: its own callbacks, or those the configuration gives it. */
export function callbackSettings(
  metadata: Record<string, unknown>,
  defaults: Record<string, unknown> | undefined,
): Record<string, unknown> {
  const own = metadata['logging'] !== undefined
  const callbacks = own ? callbacksOf(metadata).map(hideOne) : []
  const named = (type: 'success' | 'failure'): string[] => {
    const configured = own ? [] : texts(defaults?.[`${type}_callback`])
    const set = callbacks.filter(({ callback_type }) => callback_type !== (type === 'success' ? 'failure' : 'success'))
    return [...new Set([...configured, ...set.map(({ callback_name }) => callback_name)])]
  }
  return {
    success_callbacks: named('success'),
    failure_callbacks: named('failure'),
    callback_vars: Object.assign({}, ...callbacks.map(({ callback_vars }) => callback_vars)),
  }
}

function texts(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  return Array.isArray(value) ? value.filter((item): item is string => typeof item === 'string') : []
}
