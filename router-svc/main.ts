import { join } from 'node:path'
import process from 'node:process'
import { createCatalog } from '../shared/catalog/catalog.ts'
import { handlersDirectory } from '../shared/config/handlers.ts'
import { createSealer } from '../shared/config/secrets.ts'
import { tracingSettings } from '../shared/config/tracing.ts'
import { openCounters } from '../shared/counters/open.ts'
import { openDataDirectory } from '../shared/data-directory.ts'
import { createHttpClient } from '../shared/http/client.ts'
import { openIdempotency } from '../shared/idempotency/open.ts'
import { createMetrics } from '../shared/metrics.ts'
import { openTracer } from '../shared/open-tracer.ts'
import { createRedis } from '../shared/redis.ts'
import { runService } from '../shared/service-process.ts'
import { createCacheCounts } from './cache/cache-counts.ts'
import { checkHandlers } from './handlers/load.ts'
import { createObserver } from './observe.ts'
import { createRouter, ROUTER_DEFAULTS } from './router.ts'

await runService('router', process, async ({ bus, clock, log, settings, loaded, lifecycle }) => {
  const handlers = handlersDirectory(settings.handlersDirectory, loaded.files)
  await checkHandlers(loaded, handlers)
  // A router has a folder of its own: two that shared a spool would each deliver, and delete, the other's events.
  const data = openDataDirectory(join(settings.dataDirectory, 'router'))
  lifecycle.add({ name: 'data folder', stop: async () => data.release() })
  const metrics = createMetrics()
  const tracing = tracingSettings(loaded.env, loaded.config)
  const tracer = await openTracer({ settings: tracing, instance: bus.id, clock, log, lifecycle, random: Math.random })
  const http = createHttpClient()
  lifecycle.add({ name: 'http client', stop: () => http.close() })
  const redis = settings.redisUrl === null ? null : createRedis({ url: settings.redisUrl, log, clock })
  if (redis !== null) lifecycle.add({ name: 'redis', stop: () => redis.close() })
  const counters = openCounters({ redis, prefix: settings.natsPrefix, clock, log, lifecycle })
  const router = await createRouter({
    bus,
    http,
    counters,
    idempotency: openIdempotency({ redis, prefix: settings.natsPrefix, clock }),
    clock,
    log,
    catalog: createCatalog(),
    observe: createObserver(metrics),
    tracer,
    cache: {
      redis,
      redisUrl: settings.redisUrl,
      prefix: settings.natsPrefix,
      directory: data.path,
      counts: createCacheCounts(metrics),
    },
    sealer: createSealer(settings.saltKey),
    env: loaded.env,
    random: Math.random,
    settings: {
      ...ROUTER_DEFAULTS,
      lanes: [...ROUTER_DEFAULTS.lanes],
      spoolDirectory: join(data.path, 'spool'),
      handlersDirectory: handlers,
      idempotencyKeep: settings.idempotencyKeep,
    },
  })
  lifecycle.add({ name: 'router', drain: (limit) => router.drain(limit), stop: () => router.stop() })
  return { ready: () => router.ready(), metrics: () => metrics.pieces(), port: null }
})
