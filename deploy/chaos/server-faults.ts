import { BROKEN, type Fault, pause, SERVERS, TOLD, UNCOUNTED } from './fault.ts'
import type { ServerName } from './world.ts'

const NAMES = { nats: 'NATS', redis: 'Redis', postgres: 'PostgreSQL' } as const

/** Calls and streams that are under way while the bus is away: their frames are lost, and they say so. */
export const BUSLESS: readonly string[] = [TOLD, '503 *', '502 *', '408 *']

/** How calls may end while the server is away, and after how long without a success. */
const AWAY: Record<ServerName, { endings: readonly string[]; gap: number }> = {
  nats: { endings: BUSLESS, gap: 12_000 },
  redis: { endings: [UNCOUNTED], gap: 3_000 },
  postgres: { endings: [], gap: 3_000 },
}

/** What happens to one server, or to the connections to it. */
export const serverFaults: readonly Fault[] = SERVERS.flatMap((name) => [
  killed(name),
  frozen(name),
  restarted(name),
  cut(name),
  slowed(name),
])

function killed(name: ServerName): Fault {
  return {
    name: `kill-${name}`,
    title: `SIGKILL of ${NAMES[name]}, started again after 2 s`,
    random: true,
    allows: { ...AWAY[name], recovers: 15_000 },
    async run({ servers }) {
      await servers[name].kill()
      await pause(2_000)
      await servers[name].start()
    },
  }
}

function frozen(name: ServerName): Fault {
  return {
    name: `freeze-${name}`,
    title: `SIGSTOP of ${NAMES[name]} for {hold}`,
    random: true,
    allows: { ...AWAY[name], gap: name === 'nats' ? 16_000 : AWAY[name].gap, recovers: 8_000 },
    async run({ servers }, { hold }) {
      servers[name].freeze(true)
      await pause(hold)
      servers[name].freeze(false)
    },
  }
}

function restarted(name: ServerName): Fault {
  return {
    name: `restart-${name}`,
    title: `${NAMES[name]} stopped and started again with what it kept`,
    random: true,
    allows: { ...AWAY[name], recovers: 15_000 },
    async run({ servers }) {
      await servers[name].stop()
      await servers[name].start()
    },
  }
}

function cut(name: ServerName): Fault {
  return {
    name: `cut-${name}`,
    title: `every connection to ${NAMES[name]} reset, three times within 3 s`,
    random: true,
    allows: { ...AWAY[name], recovers: 3_000 },
    async run({ proxies }) {
      for (let time = 0; time < 3; time += 1) {
        proxies[name].cut()
        await pause(1_000)
      }
    },
  }
}

function slowed(name: ServerName): Fault {
  return {
    name: `slow-${name}`,
    title: `100 ms more each way and 1 MB/s on every connection to ${NAMES[name]}`,
    random: true,
    allows: { endings: [], gap: 4_000, recovers: 0 },
    async run({ proxies }, { hold }) {
      proxies[name].slow({ latency: 100, bytesPerSecond: 1_000_000 })
      await pause(hold / 2)
      proxies[name].slow(null)
    },
  }
}

/** Between the routers and the provider, and between the clients and an edge. */
export const connectionFaults: readonly Fault[] = [
  {
    name: 'cut-provider',
    title: 'every connection to the provider reset, three times within 3 s',
    random: true,
    allows: { endings: [TOLD, '500 *', '502 *'], gap: 2_000, recovers: 1_000, unheard: true },
    async run({ proxies }) {
      for (let time = 0; time < 3; time += 1) {
        proxies.provider.cut()
        await pause(1_000)
      }
    },
  },
  {
    name: 'silence-provider',
    title: 'the provider accepts and answers nothing for {hold}',
    random: true,
    allows: { endings: [], gap: 12_000, recovers: 0 },
    async run({ proxies }, { hold }) {
      proxies.provider.silence(true)
      await pause(hold)
      proxies.provider.silence(false)
    },
  },
  {
    name: 'slow-provider',
    title: '500 ms more each way and 100 kB/s on every connection to the provider',
    random: true,
    allows: { endings: [], gap: 4_000, recovers: 0 },
    async run({ proxies }, { hold }) {
      proxies.provider.slow({ latency: 500, bytesPerSecond: 100_000 })
      await pause(hold / 2)
      proxies.provider.slow(null)
    },
  },
  {
    name: 'cut-clients',
    proxied: true,
    title: 'every connection of the clients to one edge reset, three times within 3 s',
    random: true,
    allows: { endings: BROKEN, gap: 1_000, recovers: 1_000 },
    async run({ edges }) {
      for (let time = 0; time < 3; time += 1) {
        edges[0]?.cut()
        await pause(1_000)
      }
    },
  },
  {
    name: 'slow-clients',
    proxied: true,
    title: '200 ms more each way and 10 kB/s on every connection of the clients to one edge',
    random: true,
    allows: { endings: [], gap: 2_000, recovers: 0 },
    async run({ edges }, { hold }) {
      edges[0]?.slow({ latency: 200, bytesPerSecond: 10_000 })
      await pause(hold / 2)
      edges[0]?.slow(null)
    },
  },
]
