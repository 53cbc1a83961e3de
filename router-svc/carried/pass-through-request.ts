import { GatewayError } from '../../shared/errors.ts'
import type { CarriedRequest } from './carrier.ts'

/** Of the request, not passed on: about the connection, the caller's credential with us, or its signature. */
const KEPT_BACK =
  /^(?:host|connection|keep-alive|proxy-.+|transfer-encoding|content-length|te|trailer|upgrade|expect|accept-encoding|cookie|origin|referer|authorization|api-key|x-api-key|x-goog-api-key|ocp-apim-subscription-key|x-forwarded-.+|forwarded|x-real-ip|x-litellm-.+|litellm_user_api_key|x-turnpike-.+|sec-.+|priority|traceparent|tracestate|x-amz-(?:date|content-sha256|security-token|user-agent)|amz-sdk-.+)$/
/** The same of a client that proves itself to the provider: its credential is the provider's. */
const CREDENTIALS =
  /^(?:authorization|api-key|x-api-key|x-goog-api-key|ocp-apim-subscription-key|x-amz-(?:date|content-sha256|security-token|user-agent)|amz-sdk-.+)$/

/** A segment that leads elsewhere: what lies beside the target is not meant to be reached. */
const ELSEWHERE = /(?:^|[/\\]|%2f|%5c)(?:\.|%2e){1,2}(?:$|[/\\?#]|%2f|%5c)/i

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
 * What follows the prefix, as the client wrote it: decoding and encoding again would change what some signatures and ids mean. Throws GatewayError
 * `bad_request` for a path that leads out of it.
 */
export function restOf({ path, pattern }: Pick<CarriedRequest, 'path' | 'pattern'>): string {
  return checkedRest(path.slice(pattern.indexOf('{rest}')))
}

/** The same for a rest. */
export function checkedRest(rest: string): string {
  if (ELSEWHERE.test(rest)) throw new GatewayError('bad_request', 'The path may not hold the segments "." and "..".')
  return rest
}

export function withQuery(url: string, query: string): string {
  if (query === '') return url
  return `${url}${url.includes('?') ? '&' : '?'}${query}`
}
