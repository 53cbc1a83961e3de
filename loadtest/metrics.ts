/** Figures of one scenario on one topology, by the names in `METRICS`. */
export type Figures = Record<string, number>

export interface Metric {
  title: string
  unit: string
  better: 'less' | 'more'
  /** Widens the threshold of a comparison, CPU time being the steadiest. */
  noise: number
}

/** Of something to know, in which no change is better or worse. */
const NEVER = 1e9

/** What is measured. */
export const METRICS: Record<string, Metric> = {
  perSecond: { title: 'calls per second', unit: '/s', better: 'more', noise: 3 },
  p50: { title: 'latency p50', unit: 'µs', better: 'less', noise: 3 },
  p99: { title: 'latency p99', unit: 'µs', better: 'less', noise: 6 },
  addedP50: { title: 'added latency p50', unit: 'µs', better: 'less', noise: 2 },
  addedP99: { title: 'added latency p99', unit: 'µs', better: 'less', noise: 6 },
  addedFirstP50: { title: 'added time to first token p50', unit: 'µs', better: 'less', noise: 2 },
  addedFirstP99: { title: 'added time to first token p99', unit: 'µs', better: 'less', noise: 6 },
  firstP50: { title: 'time to first token p50', unit: 'µs', better: 'less', noise: 3 },
  firstP99: { title: 'time to first token p99', unit: 'µs', better: 'less', noise: 6 },
  chunkP50: { title: 'provider to client, per chunk p50', unit: 'µs', better: 'less', noise: 3 },
  chunkP99: { title: 'provider to client, per chunk p99', unit: 'µs', better: 'less', noise: 6 },
  addedChunkP50: { title: 'added per chunk p50', unit: 'µs', better: 'less', noise: 3 },
  addedChunkP99: { title: 'added per chunk p99', unit: 'µs', better: 'less', noise: 6 },
  chunksPerSecond: { title: 'chunks per second', unit: '/s', better: 'more', noise: 3 },
  cpu: { title: 'CPU per call, all its processes', unit: 'µs', better: 'less', noise: 1 },
  cpuPerChunk: { title: 'CPU per chunk, all its processes', unit: 'µs', better: 'less', noise: 1 },
  open: { title: 'streams open', unit: '', better: 'more', noise: 1 },
  perStream: { title: 'memory per open stream', unit: 'KB', better: 'less', noise: 1 },
  memoryIdle: { title: 'memory before, all its processes', unit: 'MB', better: 'less', noise: 1 },
  memory: { title: 'memory under load', unit: 'MB', better: 'less', noise: 1 },
  memoryAfter: { title: 'memory afterwards', unit: 'MB', better: 'less', noise: 1 },
  missed: { title: 'calls that reached the provider, of each', unit: '', better: 'less', noise: NEVER },
  clientBusy: { title: 'the client itself, of a core', unit: '%', better: 'less', noise: NEVER },
  lateP99: { title: 'lateness of the client itself p99', unit: 'µs', better: 'less', noise: NEVER },
  failed: { title: 'failed calls', unit: '', better: 'less', noise: 1 },
  billed: { title: 'ledger against provider', unit: '%', better: 'more', noise: NEVER },
}
