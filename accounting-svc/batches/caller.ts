import { ENDPOINTS } from '../../proto/endpoints.ts'
import { type Identity, MASTER_KEY_ALIAS } from '../../proto/identity.ts'
import { routeAllowed } from '../identity/access.ts'
import { type Identities, masterIdentity } from '../identity/publish.ts'
import type { BatchError } from '../sql/own-batches.ts'

/** Groups of routes a key's list may name (surface reference §0.1). */
const GROUPS: Readonly<Record<string, readonly string[]>> = {
  anthropic: ['anthropic_routes', 'llm_api_routes'],
  openai: ['openai_routes', 'llm_api_routes'],
}

/**
 * Whose calls the lines of a batch are, as it is now, or why there is nobody any more. An edge asks the same of every call; lines come to no
 * edge. Rejects with GatewayError `accounting_away`.
 */
export async function callerOf(
  identities: Pick<Identities, 'find'>,
  keyHash: string,
  endpoint: string,
  now: number,
): Promise<Identity | BatchError> {
  const identity = keyHash === MASTER_KEY_ALIAS ? masterIdentity() : await identities.find(keyHash)
  const wrong = (code: string, message: string): BatchError => ({ code, message, param: null, line: null })
  if (identity === null) return wrong('invalid_api_key', 'The key that made this batch is not valid any more.')
  const shown = identity.keyName
  if (identity.blocked) return wrong('blocked_key', `The key ${shown} that made this batch is blocked.`)
  if (identity.teamBlocked) return wrong('blocked_key', `The team of the key ${shown} that made this batch is blocked.`)
  if (identity.expires !== null && identity.expires <= now)
    return wrong('expired_key', `The key ${shown} that made this batch has expired.`)
  const row = ENDPOINTS.find(({ path }) => path === endpoint)
  const groups = GROUPS[row?.dialect ?? ''] ?? GROUPS['openai'] ?? []
  const { allowedRoutes } = identity
  if (!allowedRoutes.some((entry) => groups.includes(entry)) && !routeAllowed(allowedRoutes, endpoint))
    return wrong('route_denied', `The key ${shown} that made this batch may not call ${endpoint}.`)
  return identity
}
