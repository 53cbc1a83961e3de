import type { Config } from './config.ts'
import type { Environment } from './references.ts'

/**
 * Redis for limits, budgets and whatever names none of its own: `turnpike_settings.redis_url`, `router_settings.redis_url` or
 * `redis_host/port/password`, then `REDIS_URL` or `REDIS_HOST/PORT/USERNAME/PASSWORD/SSL`; null = none.
 */
export function redisUrl(config: Config, env: Environment): string | null {
  const router = config.router_settings
  const written = config.turnpike_settings.redis_url || router.redis_url || null
  if (written !== null) return written
  if (router.redis_host) {
    return serverUrl('redis', {
      host: router.redis_host,
      port: String(router.redis_port ?? 6379),
      password: router.redis_password ?? null,
    })
  }
  const host = env['REDIS_HOST'] || null
  if (env['REDIS_URL'] || host === null) return env['REDIS_URL'] || null
  return serverUrl(env['REDIS_SSL']?.toLowerCase() === 'true' ? 'rediss' : 'redis', {
    host,
    port: env['REDIS_PORT'] || '6379',
    username: env['REDIS_USERNAME'] || null,
    password: env['REDIS_PASSWORD'] || null,
  })
}

/** An address out of its parts; credentials are escaped. */
export function serverUrl(
  scheme: string,
  parts: { host: string; port: string; username?: string | null; password: string | null },
): string {
  const user = encodeURIComponent(parts.username ?? '')
  const password = parts.password === null ? '' : `:${encodeURIComponent(parts.password)}`
  const credential = user === '' && password === '' ? '' : `${user}${password}@`
  return `${scheme}://${credential}${parts.host}:${parts.port}`
}
