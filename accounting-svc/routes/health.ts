import { PRODUCT_VERSION } from '../../proto/version.ts'
import { json, type Route, route, z } from './route.ts'

/** Probes. `ready` says whether requests may be sent here, `database` whether the database answers. */
export function healthRoutes(deps: { ready: () => boolean; database: () => Promise<boolean> }): Route[] {
  const nothing = z.object({})
  return [
    route({
      method: 'GET',
      path: '/health/readiness',
      tag: 'health',
      summary: 'Whether this process can serve',
      access: 'public',
      input: nothing,
      output: z.object({ status: z.string(), db: z.string(), litellm_version: z.string() }),
      async handle() {
        const database = await deps.database()
        const healthy = database && deps.ready()
        return json(
          {
            status: healthy ? 'healthy' : 'unhealthy',
            db: database ? 'connected' : 'Not connected',
            cache: null,
            litellm_version: PRODUCT_VERSION,
            success_callbacks: [],
          },
          healthy ? 200 : 503,
        )
      },
    }),
    route({
      method: 'GET',
      path: '/health/liveliness',
      aliases: ['/health/liveness'],
      tag: 'health',
      summary: 'Whether this process runs',
      access: 'public',
      input: nothing,
      output: z.string(),
      handle: () => "I'm alive!",
    }),
  ]
}
