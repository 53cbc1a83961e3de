import { GatewayError } from '../../shared/errors.ts'
import { isFields } from '../providers/json.ts'
import type { CarriedRequest } from './carrier.ts'

/** Of the request, not passed on: about the connection, the caller's credential with us, or its signature. */
const KEPT_BACK =
  /^(?:host|connection|keep-alive|proxy-.+|transfer-encoding|content-length|te|trailer|upgrade|expect|accept-encoding|cookie|origin|referer|authorization|api-key|x-api-key|x-goog-api-key|ocp-apim-subscription-key|x-forwarded-.+|forwarded|x-real-ip|x-litellm-.+|litellm_user_api_key|x-turnpike-.+|sec-.+|priority|x-http-method(?:-override)?|x-method-override|traceparent|tracestate|x-amz-(?:date|content-sha256|security-token|user-agent)|amz-sdk-.+)$/
/** The same of a client that proves itself to the provider: its credential is the provider's. */
const CREDENTIALS =
  /^(?:authorization|api-key|x-api-key|x-goog-api-key|ocp-apim-subscription-key|x-amz-(?:date|content-sha256|security-token|user-agent)|amz-sdk-.+)$/

/** A segment that leads elsewhere: what lies beside the target is not meant to be reached. */
const ELSEWHERE = /(?:^|[/\\]|%2f|%5c)(?:\.|%2e){1,2}(?:$|[/\\?#;]|%2f|%5c|%3b)/i
/** Servers take one for a slash, and end the path at the other: what is checked here would not be what they read. */
const AMBIGUOUS = /[\\#]/
/** Means the same unencoded (RFC 3986 §2.3), and is compared as such. */
const NEEDLESS = /%(?:2d|2e|5f|7e|3\d|[46][1-9a-f]|[57][\da])/gi

/** Headers of the client's request as the provider gets them. */
export function passedHeaders({
  headers,
  ownCredentials,
}: Pick<CarriedRequest, 'headers' | 'ownCredentials'>): Record<string, string> {
  const passed: Record<string, string> = {}
  for (const name in headers) {
    if (KEPT_BACK.test(name) && !(ownCredentials === true && CREDENTIALS.test(name))) continue
    passed[name] = headers[name] as string
  }
  return passed
}

/**
 * What follows the prefix, as the client wrote it: decoding and encoding again would change what some signatures and ids mean. Letters alone are
 * decoded that need no encoding, so that no spelling hides a model. Throws GatewayError `bad_request` for a path that leads out of it.
 */
export function restOf({ path, pattern }: Pick<CarriedRequest, 'path' | 'pattern'>): string {
  const rest = checkedRest(path.slice(pattern.indexOf('{rest}')))
  return rest.replace(NEEDLESS, (encoded) => String.fromCharCode(Number.parseInt(encoded.slice(1), 16)))
}

/** The same for a rest. */
export function checkedRest(rest: string): string {
  if (ELSEWHERE.test(rest)) throw new GatewayError('bad_request', 'The path may not hold the segments "." and "..".')
  if (AMBIGUOUS.test(rest)) throw new GatewayError('bad_request', 'The path may not hold "\\" and "#" unencoded.')
  return rest
}

type Body = Pick<CarriedRequest, 'body' | 'headers' | 'json' | 'form'>

/**
 * The fields of a body in which a model may be named; null for one that has none: bytes, other documents. Rejects with GatewayError `bad_request`
 * where the provider may read what we cannot: then nobody would know whose model is asked for, and what it costs.
 */
export async function readFields(request: Body): Promise<Record<string, unknown> | null> {
  const { body, headers } = request
  if (body.length === 0) return null
  const encoding = headers['content-encoding'] ?? ''
  if (!/^(?:identity)?$/i.test(encoding)) {
    throw new GatewayError('bad_request', `The request body may not be compressed (content-encoding: ${encoding}).`)
  }
  const fields = request.json() ?? (await request.form())
  if (fields !== null) return fields
  const type = headers['content-type'] ?? 'application/json'
  if (!/json\b(?!l|-lines|-seq)/i.test(type) && !/^application\/x-www-form-urlencoded/i.test(type)) return null
  try {
    const value: unknown = JSON.parse(Buffer.from(body).toString('utf8'))
    return isFields(value) ? value : null
  } catch {
    throw new GatewayError('bad_request', 'The request body is not valid JSON in UTF-8.')
  }
}

export function withQuery(url: string, query: string): string {
  if (query === '') return url
  return `${url}${url.includes('?') ? '&' : '?'}${query}`
}
