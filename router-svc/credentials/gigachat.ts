import { createHash } from 'node:crypto'
import { bearerOf } from './fetched-token.ts'
import type { CredentialMaker } from './index.ts'
import { variableOf } from './settings.ts'

const OAUTH = 'https://ngw.devices.sberbank.ru:9443/api/v2/oauth'
const PERSONAL = 'GIGACHAT_API_PERS'

/**
 * GigaChat: an authorization key (client id and secret in base64) exchanged for tokens of half an hour. Its certificates are signed by a root that
 * Node does not know: operators name the file in NODE_EXTRA_CA_CERTS.
 */
export const gigachatCredential: CredentialMaker = (_, { key, env, tokens }) => {
  if (key === null) return { problem: 'no authorization key is configured (api_key or GIGACHAT_CREDENTIALS)' }
  if (tokens === undefined) return { problem: 'tokens of GigaChat cannot be fetched here' }
  const scope = variableOf(env, 'GIGACHAT_SCOPE') || PERSONAL
  return bearerOf(tokens, {
    id: `gigachat ${scope} ${key}`,
    issuer: 'GigaChat',
    member: 'access_token',
    request: (now) => ({
      method: 'POST',
      url: OAUTH,
      headers: {
        authorization: `Basic ${key}`,
        'content-type': 'application/x-www-form-urlencoded',
        accept: 'application/json',
        rquid: requestId(`${key} ${now}`),
      },
      body: new URLSearchParams({ scope }).toString(),
    }),
  })
}

/** A UUID that is another for every request. */
function requestId(of: string): string {
  const hex = createHash('sha256').update(of).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}
