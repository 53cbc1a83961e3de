import type { Identity } from '../../proto/identity.ts'
import type { Clock } from '../../shared/clock.ts'
import { hashKey } from '../../shared/config/secrets.ts'
import { GatewayError } from '../../shared/errors.ts'
import { type Identities, masterIdentity } from './publish.ts'

/** Headers that may carry a key, the strongest first (surface reference §0). */
const KEY_HEADERS = [
  'x-litellm-api-key',
  'authorization',
  'api-key',
  'x-api-key',
  'x-goog-api-key',
  'ocp-apim-subscription-key',
] as const

/**
 * Who sent a management request. The edge does not check these: accounting does it for both of its doors. Throws GatewayError
 * `no_credential`, `malformed_credential`, `unknown_key`, `expired_key`, `blocked_key` or `accounting_away`.
 */
export async function authenticate(
  header: (name: string) => string | undefined,
  deps: { identities: Identities; clock: Clock; keyHeaderName: string | null },
): Promise<Identity> {
  const { identities, clock } = deps
  if (identities.open) return masterIdentity()
  const key = presentedKey(header, deps.keyHeaderName)
  // A stored hash is not a credential: only what begins like a key is looked up.
  if (!key.startsWith('sk-')) {
    const known = await identities.find(hashKey(key))
    if (known?.role === 'proxy_admin') return known
    throw new GatewayError(
      'malformed_credential',
      `Authentication Error, LiteLLM Virtual Key expected. Received=${shown(key)}, expected to start with 'sk-'.`,
    )
  }
  const keyHash = hashKey(key)
  const identity = await identities.find(keyHash)
  if (identity === null) {
    throw new GatewayError(
      'unknown_key',
      `Authentication Error, Invalid proxy server token passed. Received API Key = ${shown(key)}, Key Hash (Token) =${keyHash}. Unable to find token in cache or \`LiteLLM_VerificationTokenTable\``,
      { param: 'key' },
    )
  }
  if (identity.expires !== null && identity.expires <= clock.now()) {
    const [expires, now] = [identity.expires, clock.now()].map((time) => new Date(time).toISOString())
    throw new GatewayError(
      'expired_key',
      `Authentication Error - Expired Key. Key Expiry time ${expires} and current time ${now}`,
      {
        param: shown(key),
      },
    )
  }
  if (identity.blocked) throw new GatewayError('blocked_key')
  if (identity.teamBlocked) {
    throw new GatewayError(
      'blocked_key',
      `Authentication Error, Team=${identity.teamId} is blocked. Update via \`/team/unblock\` if your admin.`,
    )
  }
  return identity
}

function presentedKey(header: (name: string) => string | undefined, keyHeaderName: string | null): string {
  for (const name of keyHeaderName === null ? KEY_HEADERS : [keyHeaderName.toLowerCase()]) {
    const value = header(name)?.trim()
    if (value === undefined || value === '') continue
    const bearer = /^bearer +(.+)$/i.exec(value)?.[1]
    if (bearer !== undefined) return bearer
    if (name === 'authorization') throw new GatewayError('malformed_credential')
    return value
  }
  throw new GatewayError('no_credential')
}

/** A key as it may be shown. */
export function shown(key: string): string {
  return key.length >= 12 ? `${key.startsWith('sk-') ? 'sk-' : ''}...${key.slice(-4)}` : '...'
}
