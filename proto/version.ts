/**
 * The wire version every message carries as `v`.
 *
 * The rule that lets old and new processes run side by side during a rolling restart:
 * fields are added optional, never renamed, never reused, never given another meaning. A reader ignores what it does not
 * know. `WIRE_VERSION` rises only when an old reader would do harm with a new message, and a reader refuses a message whose
 * `v` is above its own.
 */
export const WIRE_VERSION = 1

/** The product version: `x-litellm-version`, `/openapi.json`, the fleet view. */
export const PRODUCT_VERSION = '0.1.0'

/** Whether a message of version `v` may be read by this process. */
export function readable(v: unknown): boolean {
  return typeof v === 'number' && v >= 1 && v <= WIRE_VERSION
}
