import { scaleDecimal } from '../../shared/money.ts'

/** Nano-dollars in a dollar, as a power of ten. */
const NANO = 9

/** What LiteLLM keeps of a value, as we keep it. Texts of nothing are none. */
export function textOf(value: string | null): string | null {
  return value === null || value === '' ? null : value
}

/**
 * Dollars spent, as the text of a double → nano-dollars, rounded half to even; null is 0. Throws RangeError for what is no number, and
 * beyond ± $9,007,199 (2^53 nano-dollars).
 */
export function spentNano(dollars: string | null): number {
  if (dollars === null) return 0
  const nano = Number(scaleDecimal(dollars, NANO))
  if (!Number.isSafeInteger(nano)) throw new RangeError(`${dollars} dollars is more than can be counted exactly`)
  return nano
}

/**
 * A budget in dollars → nano-dollars. Infinity is none. People write a budget of billions to mean none: such a one becomes the largest
 * that can be counted, $9,007,199. Throws RangeError for what is no number.
 */
export function budgetNano(dollars: string | null): number | null {
  if (dollars === null || dollars === 'Infinity') return null
  const nano = scaleDecimal(dollars, NANO)
  return nano > Number.MAX_SAFE_INTEGER ? Number.MAX_SAFE_INTEGER : Number(nano)
}

/** A limit, which at LiteLLM may be as large as a 64-bit integer. */
export function countOf(text: string | null): number | null {
  return text === null ? null : Math.min(Number(text), Number.MAX_SAFE_INTEGER)
}

export function listOf(list: readonly (string | null)[] | null): string[] {
  return (list ?? []).filter((entry): entry is string => entry !== null)
}

/** JSON as it is stored; LiteLLM has written some of it as a text of JSON. */
export function jsonOf(value: unknown): unknown {
  if (typeof value !== 'string') return value ?? null
  try {
    return JSON.parse(value) as unknown
  } catch {
    return value
  }
}

/** A JSON object; what is none is an empty one. */
export function objectOf(value: unknown): Record<string, unknown> {
  const parsed = jsonOf(value)
  return typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed) ? (parsed as Record<string, unknown>) : {}
}

/** Unix milliseconds → the form our rows are written in. */
export function momentOf(time: number | null): string | null {
  return time === null ? null : new Date(time).toISOString()
}

/** A duration as it is; null for what is none, so that a budget never closes rather than at a time nobody meant. */
export function durationOf(text: string | null): string | null {
  return text !== null && /^\s*\d{1,9}(mo|[smhdw])/.test(text) ? text : null
}
