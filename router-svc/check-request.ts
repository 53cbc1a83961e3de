import type { RuntimeSettings } from '../proto/deployment.ts'
import { GatewayError } from '../shared/errors.ts'
import type { Call } from './call.ts'

/**
 * What the operator asks of every body (surface reference §2.1, §2.8, §3.2 step 11). Throws GatewayError `bad_request` naming the missing
 * parameters, `unsafe_parameter` for a missing `user`, and for tags where clients may not send any, or too many.
 */
export function checkRequest(call: Call, settings: RuntimeSettings): void {
  const { identity, parsed } = call
  const serviceAccount = identity.metadata['service_account_id'] != null
  checkPresent(parsed, identity.enforcedParams)
  checkPresent(parsed, settings.enforcedParams)
  if (serviceAccount) checkPresent(parsed, settings.serviceAccountEnforcedParams)
  if (settings.enforceUserParam && parsed['user'] === undefined && !namesUser(call)) {
    throw new GatewayError('unsafe_parameter', "Authentication Error, 'user' param not passed in. 'enforce_user_param'=True", {
      param: 'user',
    })
  }
  if (settings.rejectClientTags && call.options.tags.some((tag) => !identity.tags.includes(tag))) {
    throw new GatewayError('bad_request', 'This gateway does not take tags from clients: leave `tags` and `metadata.tags` out.', {
      param: 'tags',
    })
  }
  if (call.options.tags.length - identity.tags.length > TAGS_MAX) {
    throw new GatewayError('bad_request', `A call takes at most ${TAGS_MAX} tags beside those of its key.`, { param: 'tags' })
  }
}

/** Each is matched, looked up for its budget and summed up in accounting. */
const TAGS_MAX = 100

/** Anthropic's clients name the user in the protocol's own place. */
function namesUser({ dialect, request }: Call): boolean {
  return dialect.name === 'anthropic' && request['user'] !== undefined
}

function checkPresent(parsed: Readonly<Record<string, unknown>>, paths: readonly string[]): void {
  for (const path of paths) {
    if (valueAt(parsed, path) !== undefined) continue
    throw new GatewayError('bad_request', `BadRequest please pass param=${path} in the request body. This is a required param.`, {
      param: path,
    })
  }
}

/** The value under a dotted path; undefined where there is none. */
function valueAt(value: unknown, path: string): unknown {
  let at: unknown = value
  for (const name of path.split('.')) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, name)) return undefined
    at = (at as Record<string, unknown>)[name]
  }
  return at
}
