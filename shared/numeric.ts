/**
 * A number, or the text of one, as a number; NaN for everything else. `Number` of an object asks the object, and one of a request that brings
 * a `toString` of its own makes it throw.
 */
export function numeric(value: unknown): number {
  return typeof value === 'number' || typeof value === 'string' ? Number(value) : Number.NaN
}
