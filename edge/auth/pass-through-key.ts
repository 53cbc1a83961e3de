import type { Asking } from './authenticate.ts'

/** Where a client of one path puts its key, beside the headers of every path. */
export interface KeyPlace {
  /** The parameter `key` of the address, or the name of Basic authorization, where Langfuse's clients have their public key. */
  in: 'query' | 'basic' | null
  /** A header of that path alone, lower case. */
  header: string | null
}

/** The request with the key where it is looked for. What clients say to the gateway alone beats what they would say to the provider. */
export function askingOf({ path, query, headers, remoteAddress }: Asking, place: KeyPlace): Asking {
  const key = headers['x-litellm-api-key'] || headers['litellm_user_api_key'] || placed(query, headers, place)
  const from = { path, query, remoteAddress }
  return { ...from, headers: key ? { ...headers, 'x-litellm-api-key': key } : headers }
}

function placed(query: string, headers: Asking['headers'], place: KeyPlace): string | null {
  const authorization = headers['authorization'] ?? ''
  if (place.header !== null && headers[place.header]) return headers[place.header] as string
  if (place.in === 'basic' && /^basic /i.test(authorization)) {
    return Buffer.from(authorization.slice(6), 'base64').toString('utf8').split(':')[0] as string
  }
  // AssemblyAI's clients send their key without a scheme.
  if (authorization !== '' && !authorization.includes(' ')) return authorization
  const told = authorization || headers['x-goog-api-key']
  return place.in === 'query' && !told ? new URLSearchParams(query).get('key') : null
}
