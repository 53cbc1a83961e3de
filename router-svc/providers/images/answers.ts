import { GatewayError } from '../../../shared/errors.ts'
import type { ImageResponse } from '../../canonical/image.ts'
import { type Fields, isFields, jsonObject, sourceOf } from '../json.ts'
import { decodeError } from '../openai/error.ts'
import type { Headers, UpstreamAnswer, UpstreamRequest } from '../provider.ts'
import { base64Of } from './adapter.ts'

/** What answers of vendors of images have in common. */

export function objectIn({ body }: Pick<UpstreamAnswer, 'body'>): Fields {
  return jsonObject(sourceOf(body), 'The answer')
}

/** An image as its address, or as data in an address, or as base64. Throws `provider_malformed` for what is none of them. */
export function imageOf(text: string): ImageResponse['data'][number] {
  if (/^https?:/.test(text)) return { url: text }
  const base64 = text.replace(/^data:[^,]*,/, '')
  // The beginning of it tells; an image may be megabytes.
  if (/^[\w+/=-]+$/.test(base64.slice(0, 100))) return { b64_json: base64 }
  throw new GatewayError('provider_malformed', 'The answer holds an image that is none.')
}

/** Images of a list of addresses, or of one. Throws `provider_malformed` for anything else in their place. */
export function imagesIn(value: unknown): ImageResponse['data'] {
  const list: unknown[] = Array.isArray(value) ? value : [value]
  return list.map((entry) => {
    const found = isFields(entry) ? (entry['url'] ?? entry['file'] ?? entry['uri']) : entry
    if (typeof found === 'string' && found !== '') return imageOf(found)
    throw new GatewayError('provider_malformed', 'The answer holds an image that is none.')
  })
}

/** The bytes of an answer that is an image; null where it is none. */
export function imageBytes({ headers, body }: { headers: Headers; body: Uint8Array }): ImageResponse['data'][number] | null {
  return /^(?:image\/|application\/octet-stream)/.test(headers['content-type'] ?? '') ? { b64_json: base64Of(body) } : null
}

/** A job that failed, in the words of the provider. `policy`: what was asked for, or came out, may not be shown. */
export function failure(provider: string, message: unknown, policy = false, status = 200): GatewayError {
  const said = typeof message === 'string' && message !== '' ? message : 'The image could not be made'
  const error = { message: said, ...(policy ? { code: 'content_policy_violation' } : { type: 'failed' }) }
  return decodeError(provider, status, {}, JSON.stringify({ error }))
}

export function get(url: string): UpstreamRequest {
  return { method: 'GET', url, headers: {}, body: '' }
}
