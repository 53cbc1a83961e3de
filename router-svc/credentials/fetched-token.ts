import { GatewayError } from '../../shared/errors.ts'
import type { HttpClient, OutgoingRequest } from '../../shared/http/client.ts'
import { exchange } from '../../shared/http/exchange.ts'
import type { Credential } from './credential.ts'
import { tokenHeaders } from './token-headers.ts'
import { fieldsOf, type Held, type Tokens } from './tokens.ts'

const LIMITS = { limit: 10_000, maxBytes: 1_000_000 }
/** Where the answer tells no end; milliseconds. */
const SHORTEST = 300_000

/** A token that is got by a request of the issuer's own kind, and says itself when it ends (`expires_at`). */
export interface TokenRequest {
  /** Tells requests apart; two deployments with the same one share the token. Never shown. */
  id: string
  /** For messages. */
  issuer: string
  /** Member of the answer that is the token. */
  member: string
  /** `now`: Unix milliseconds. */
  request(now: number): Pick<OutgoingRequest, 'method' | 'url' | 'headers' | 'body'>
}

/** Bearer tokens of such an issuer. */
export function bearerOf(tokens: Tokens, wanted: TokenRequest): Credential {
  return tokenHeaders(tokens.kept(`token ${wanted.id}`, (now, http) => fetchToken(http, wanted, now)))
}

async function fetchToken(http: HttpClient, { issuer, member, request }: TokenRequest, now: number): Promise<Held<string>> {
  const answer = await exchange(http, request(now), LIMITS)
  const fields = fieldsOf(answer.body.toString('utf8'))
  const token = fields[member]
  if (answer.status < 300 && typeof token === 'string' && token !== '') {
    const at = Number(fields['expires_at'])
    // Seconds, or milliseconds where the number is too large for them.
    return { value: token, expires: at > 0 ? (at > 100_000_000_000 ? at : at * 1000) : now + SHORTEST }
  }
  const code = answer.status >= 500 ? 'provider_unavailable' : 'provider_authentication'
  throw new GatewayError(code, `${issuer} gave no token: HTTP ${answer.status}.`)
}
