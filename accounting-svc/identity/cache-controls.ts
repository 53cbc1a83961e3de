import { badRequest } from './budgets.ts'

/** Controls a request may set in its `cache` (surface reference §8.3); `*` stands for all. */
export const CACHE_CONTROLS = ['ttl', 's-maxage', 'no-cache', 'no-store', 'namespace', 'use-cache', '*'] as const

/** Throws GatewayError `bad_request` that names the control nobody knows: a key that may use it could use nothing. */
export function checkCacheControls(given: unknown): void {
  const unknown = Array.isArray(given) ? given.find((name) => !CACHE_CONTROLS.some((known) => known === name)) : undefined
  if (unknown === undefined) return
  throw badRequest(
    'allowed_cache_controls',
    `allowed_cache_controls: ${JSON.stringify(unknown)} is no cache control; there are ${CACHE_CONTROLS.join(', ')}.`,
  )
}
