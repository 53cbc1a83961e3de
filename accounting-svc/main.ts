import process from 'node:process'
import { createCatalog } from '../shared/catalog/catalog.ts'
import { watchConfig } from '../shared/config/reload.ts'
import { createSealer } from '../shared/config/secrets.ts'
import { openCounters } from '../shared/counters/open.ts'
import { createPostgres } from '../shared/db/postgres.ts'
import { createMetrics } from '../shared/metrics.ts'
import { createRedis } from '../shared/redis.ts'
import { runService } from '../shared/service-process.ts'
import { StartError } from '../shared/start-error.ts'
import { createAccounting } from './accounting.ts'

await runService('accounting', process, async ({ bus, clock, log, settings, loaded, lifecycle, load, onHangup }) => {
  if (settings.databaseUrl === null) throw new StartError('Accounting needs PostgreSQL: set DATABASE_URL.')
  const db = createPostgres({ url: settings.databaseUrl, log, poolSize: settings.databasePool })
  lifecycle.add({ name: 'database', stop: () => db.close() })
  const redis = settings.redisUrl === null ? null : createRedis({ url: settings.redisUrl, log, clock })
  if (redis !== null) lifecycle.add({ name: 'redis', stop: () => redis.close() })
  const counters = openCounters({ redis, prefix: settings.natsPrefix, clock, log, lifecycle })
  const accounting = await createAccounting({
    bus,
    db,
    counters,
    clock,
    log,
    config: loaded.config,
    env: loaded.env,
    masterKey: settings.masterKey,
    sealer: createSealer(settings.saltKey),
    catalog: createCatalog(),
    listen: settings.accounting,
  })
  lifecycle.add({ name: 'accounting', drain: (limit) => accounting.drain(limit), stop: () => accounting.stop() })
  const watch = watchConfig({ loaded, load, apply: ({ config }) => accounting.reconfigure(config), clock, log })
  lifecycle.add({ name: 'configuration', stop: () => watch.stop() })
  onHangup(() => void watch.reload())
  const metrics = createMetrics()
  return { ready: () => accounting.ready(), metrics: () => metrics.pieces(), port: accounting.port }
})
