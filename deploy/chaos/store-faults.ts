import { type Fault, pause, UNCOUNTED } from './fault.ts'
import { BUSLESS } from './server-faults.ts'

/** Servers that come back without what they kept, or do not come back for long. */
export const storeFaults: readonly Fault[] = [
  {
    name: 'postgres-refuses',
    title: 'PostgreSQL refuses connections for {outage}',
    allows: { endings: [], gap: 2_000, recovers: 0 },
    async run({ proxies }, { outage }) {
      await proxies.postgres.refuse(true)
      await pause(outage)
      await proxies.postgres.refuse(false)
    },
  },
  {
    name: 'nats-loses-store',
    title: 'NATS killed and started again without its store, then one of two routers killed and started',
    allows: { endings: BUSLESS, gap: 12_000, recovers: 8_000, presumed: true },
    async run(world) {
      await world.servers.nats.kill()
      await world.servers.nats.start({ empty: true })
      // It finds what it serves by in that store.
      await world.kill('router', 0)
      await world.start('router', 0)
    },
  },
  {
    name: 'redis-flushed',
    title: 'FLUSHALL in Redis',
    allows: { endings: [UNCOUNTED], gap: 2_000, recovers: 15_000 },
    async run({ redis }) {
      await redis.call('FLUSHALL')
    },
  },
  {
    name: 'redis-emptied',
    title: 'Redis killed and started again empty',
    allows: { endings: [UNCOUNTED], gap: 2_000, recovers: 15_000 },
    async run({ servers }) {
      await servers.redis.kill()
      await servers.redis.start({ empty: true })
    },
  },
]
