import type { Fields } from './json.ts'
import type { UpstreamRequest } from './provider.ts'

/** A POST of JSON. */
export function postJson(url: string, body: Fields): UpstreamRequest {
  return { method: 'POST', url, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
}
