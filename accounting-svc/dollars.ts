import { GatewayError } from '../shared/errors.ts'
import { formatDollars, nanoOf } from '../shared/money.ts'

/** `JSON.rawJSON` of ECMAScript 2026: text that `JSON.stringify` copies as it is. Node 22 has it; the compiler's library does not know it yet. */
const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown }

/** Nano-dollars as a JSON number in dollars with all its digits: through a double, 9007199.254740991 would lose its last one. */
export function dollars(nano: number | bigint): unknown {
  return rawJSON(formatDollars(nano))
}

/** A price in nano-dollars per million tokens as a JSON number in dollars per token: fifteen places further right. */
export function dollarsPerToken(nanoPerMillion: number): unknown {
  const digits = String(nanoPerMillion).padStart(16, '0')
  return rawJSON(`${digits.slice(0, -15)}.${digits.slice(-15)}`.replace(/\.?0+$/, ''))
}

/**
 * Dollars as a client sent them → nano-dollars; null and an empty text (dashboards send it) mean none. Throws GatewayError `bad_request`
 * that names `field` for what cannot be counted exactly.
 */
export function nanoField(value: unknown, field: string): number | null {
  if (value === null || value === '') return null
  try {
    return nanoOf(value as number | string)
  } catch {
    throw new GatewayError('bad_request', `${field} is not an amount of dollars this gateway can count exactly.`, {
      type: 'bad_request_error',
      param: field,
    })
  }
}

/** Nano-dollars as JSON dollars; null stays null. */
export function dollarsOrNull(nano: number | null): unknown {
  return nano === null ? null : dollars(nano)
}
