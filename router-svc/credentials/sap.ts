import type { CredentialMaker } from './index.ts'
import { variableOf } from './settings.ts'
import { tokenHeaders } from './token-headers.ts'

/**
 * SAP AI Core: the service key of an instance, whole (JSON with `clientid`, `clientsecret` and `url`), exchanged for tokens; and the resource group
 * calls are made in.
 */
export const sapCredential: CredentialMaker = (_, { key, env, tokens }) => {
  const service = key === null ? null : serviceKey(key)
  if (service === null)
    return { problem: 'no service key is configured (api_key or AICORE_SERVICE_KEY: JSON with clientid, clientsecret and url)' }
  if (tokens === undefined) return { problem: 'tokens of SAP AI Core cannot be fetched here' }
  const { client, secret, url } = service
  const group = variableOf(env, 'AICORE_RESOURCE_GROUP') || 'default'
  const form = { grant_type: 'client_credentials', client_id: client, client_secret: secret }
  const token = tokens.of({ id: JSON.stringify([url, form]), issuer: 'SAP AI Core', request: () => ({ url, form }) })
  const headersOf = (held: string) => ({ authorization: `Bearer ${held}`, 'ai-resource-group': group })
  return tokenHeaders(token, headersOf)
}

function serviceKey(source: string): { client: string; secret: string; url: string } | null {
  let key: unknown
  try {
    key = JSON.parse(source)
  } catch {
    return null
  }
  if (typeof key !== 'object' || key === null) return null
  const { clientid: client, clientsecret: secret, url } = key as Record<string, unknown>
  if (typeof client !== 'string' || typeof secret !== 'string' || typeof url !== 'string' || !URL.canParse(url)) return null
  return { client, secret, url: `${url.replace(/\/+$/, '')}/oauth/token` }
}
