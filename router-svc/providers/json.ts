import { GatewayError } from '../../shared/errors.ts'
import { isObject } from '../../shared/json-object.ts'

export { isObject as isFields } from '../../shared/json-object.ts'

/** Reading loose JSON: what every protocol spoken natively does the same way. */

/** A plain JSON object. */
export type Fields = Record<string, unknown>

/** The value when it is a string, else `otherwise`. */
export function text(value: unknown, otherwise = ''): string {
  return typeof value === 'string' ? value : otherwise
}

/** The text of a body, which is UTF-8. */
export function sourceOf(body: Uint8Array): string {
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8')
}

/** Throws GatewayError `provider_malformed`, in which `what` (`The answer`, `An event of the stream`) begins the sentence. */
export function jsonValue(source: string, what: string): unknown {
  try {
    return JSON.parse(source)
  } catch (cause) {
    throw new GatewayError('provider_malformed', `${what} is not valid JSON.`, { cause })
  }
}

/** The same for what must be an object. */
export function jsonObject(source: string, what: string): Fields {
  const value = jsonValue(source, what)
  if (!isObject(value)) throw new GatewayError('provider_malformed', `${what} is not a JSON object.`)
  return value
}

/** The object a text is; null where it is none, or no JSON at all. */
export function fieldsIn(source: string): Fields | null {
  try {
    const value: unknown = JSON.parse(source)
    return isObject(value) ? value : null
  } catch {
    return null
  }
}

/** The object an event of a stream holds. Throws GatewayError `provider_malformed`. */
export function eventObject(data: string): Fields {
  return jsonObject(data, 'An event of the stream')
}

/** Input of a tool that ran at the provider; one that is cut off is kept as text. */
export function parsedInput(source: string): unknown {
  try {
    return JSON.parse(source)
  } catch {
    return source
  }
}
