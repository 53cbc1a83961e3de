import { formatDollars } from '../shared/money.ts'

/** `JSON.rawJSON` of ECMAScript 2026: text that `JSON.stringify` copies as it is. Node 22 has it; the compiler's library does not know it yet. */
const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown }

/** Nano-dollars as a JSON number in dollars with all its digits: through a double, 9007199.254740991 would lose its last one. */
export function dollars(nano: number): unknown {
  return rawJSON(formatDollars(nano))
}

/** A price in nano-dollars per million tokens as a JSON number in dollars per token: fifteen places further right. */
export function dollarsPerToken(nanoPerMillion: number): unknown {
  const digits = String(nanoPerMillion).padStart(16, '0')
  return rawJSON(`${digits.slice(0, -15)}.${digits.slice(-15)}`.replace(/\.?0+$/, ''))
}
