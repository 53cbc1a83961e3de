import { once } from './connection.ts'
import { findInspector, heapAfterCollection } from './soak-heap.ts'
import { type Held, readHeld } from './soak-processes.ts'
import { openServers, type ServersHeld } from './soak-servers.ts'
import type { ProcessSeries } from './soak-verdict.ts'
import type { Gateway } from './topologies.ts'

/** One look at everything, kept in the order of time. */
export interface Sample {
  minute: number
  /** Calls the edges say they are answering. */
  inFlight: number
  /** Connections of PostgreSQL's own to its clients. */
  postgresConnections: number
  servers: ServersHeld
}

/** Looks at the processes of a gateway: memory and files at each `look`, heaps at each `collect`. */
export async function watchGateway(gateway: Gateway) {
  const servers = openServers(gateway.dataDirectory)
  const held = (): Map<string, Held> => readHeld(gateway.pids, gateway.nameOf)
  const inspectors = new Map<string, string>()
  const metrics: string[] = []
  for (const [name, { ports, script }] of held()) {
    const inspector = script ? await findInspector(ports) : null
    if (inspector !== null) inspectors.set(name, inspector)
    for (const port of script ? ports : []) {
      if ((await scrape(port)) === null) continue
      metrics.push(`http://127.0.0.1:${port}`)
      // An edge tells the same on its own port and on that of its probes.
      break
    }
  }
  const series: Record<string, ProcessSeries> = {}
  const of = (name: string, files: number): ProcessSeries => {
    series[name] ??= { heap: [], anonymous: [], files: { before: files, most: files, after: files } }
    return series[name]
  }
  const samples: Sample[] = []
  const problems: string[] = []
  const sum = async (): Promise<number> => {
    let calls = 0
    for (const origin of metrics) calls += (await scrape(Number(new URL(origin).port))) ?? 0
    return calls
  }
  return {
    series,
    samples,
    problems,
    inspected: [...inspectors.keys()],
    /** CPU microseconds of each process so far. */
    cpu: (): Record<string, number> => Object.fromEntries([...held()].map(([name, { cpu }]) => [name, cpu])),
    /** PSS bytes and connections of each process now. */
    now: held,
    files: (): Record<string, number> => Object.fromEntries([...held()].map(([name, { files }]) => [name, files])),
    /** Sets what counts as idle. */
    idle: (): void => {
      for (const [name, { files }] of held()) Object.assign(of(name, files).files, { before: files, most: files, after: files })
    },
    look: async (minute: number): Promise<Sample> => {
      const now = held()
      for (const [name, { anonymous, files }] of now) {
        const kept = of(name, files)
        // Of Node's only after a collection, below: what garbage holds until then comes and goes.
        if (!inspectors.has(name)) kept.anonymous.push({ minute, value: anonymous })
        kept.files.most = Math.max(kept.files.most, files)
        kept.files.after = files
      }
      const [inFlight, state] = await Promise.all([sum(), servers.read()])
      const sample = {
        ...{ minute, inFlight, servers: state },
        postgresConnections: now.get('postgres')?.connections ?? 0,
      }
      samples.push(sample)
      return sample
    },
    collect: async (minute: number): Promise<void> => {
      for (const [name, url] of inspectors) {
        try {
          const value = await heapAfterCollection(url)
          of(name, 0).heap.push({ minute, value })
        } catch (error) {
          problems.push(`${name}: ${(error as Error).message}`)
        }
      }
      for (const [name, { anonymous, files }] of held()) {
        if (inspectors.has(name)) of(name, files).anonymous.push({ minute, value: anonymous })
      }
    },
    servers: () => servers.read(),
    inFlight: sum,
    close: () => servers.close(),
  }
}

export type Watch = Awaited<ReturnType<typeof watchGateway>>

/** Calls in flight as the metrics of this port say; 0 where it has metrics without that figure, null where it has none. */
async function scrape(port: number): Promise<number | null> {
  try {
    const { status, body } = await once({ origin: `http://127.0.0.1:${port}`, path: '/metrics', method: 'GET' }, 10_000)
    const text = body.toString()
    if (status !== 200 || !text.startsWith('# HELP')) return null
    return Number(/^litellm_in_flight_requests(?:\{\})? (\d+)/m.exec(text)?.[1] ?? 0)
  } catch {
    return null
  }
}
