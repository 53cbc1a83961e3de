import { type Inputs, totalCost } from './capacity-inputs.ts'

/** Every process, server and disk is sized at twice what is needed on average: peaks, a lost node, and what the bench does not have. */
export const HEADROOM = 2
/** Cores of one node. */
export const CORES = 8
/** In a NATS cluster a message mostly enters at one server and leaves at another. Arithmetic, not measured: the bench has one server. */
export const HOPS = 2
export const REPLICAS = 3
/** Hours of usage that JetStream must keep while accounting or PostgreSQL is away. */
export const BACKLOG_HOURS = 24
const DAY = 86_400

/** What one gateway (one prefix: one Redis primary, one usage stream, one PostgreSQL) can take in calls per second, and what bounds it. */
export function cellLimit(inputs: Inputs): { limit: number; by: Record<'redis' | 'ledger' | 'stream', number> } {
  const by = {
    redis: 1e6 / inputs.call.cost.redis / HEADROOM,
    ledger: inputs.ledger.perSecond / HEADROOM,
    stream: inputs.jetstream.two / HEADROOM,
  }
  return { limit: Math.min(by.redis, by.ledger, by.stream), by }
}

export interface Size {
  rate: number
  cells: number
  edges: number
  routers: number
  accountings: number
  natsServers: number
  redisPrimaries: number
  postgresCores: number
  /** Nodes of CORES cores for edges, routers and accountings. */
  nodes: number
  memory: number
  /** Bytes per second. */
  streamed: number
  /** Bytes of JetStream for BACKLOG_HOURS, all replicas. */
  backlog: number
  rowsPerDay: number
  rowBytesPerDay: number
  transactions: number
}

/** Sizes for `rate` calls per second, answers whole. */
export function sizeCalls(inputs: Inputs, rate: number): Size {
  const { cost } = inputs.call
  const processes = (micros: number): number => Math.max(2, Math.ceil((rate * micros * HEADROOM) / 1e6))
  const cells = Math.ceil(rate / cellLimit(inputs).limit)
  const edges = processes(cost.edge)
  const routers = processes(cost.router)
  const accountings = Math.max(2 * cells, processes(inputs.ledger.accounting))
  const { memory, jetstream, rows } = inputs
  return {
    ...{ rate, cells, edges, routers, accountings },
    natsServers: Math.max(3, Math.ceil((rate * cost.nats * HOPS * HEADROOM) / 1e6 / CORES)),
    redisPrimaries: cells,
    postgresCores: Math.max(2 * cells, Math.ceil((rate * inputs.ledger.postgres * HEADROOM) / 1e6)),
    nodes: Math.max(2, Math.ceil((edges + routers + accountings) / CORES)),
    memory: edges * memory.edge + routers * memory.router + accountings * memory.accounting,
    streamed: rate * jetstream.eventBytes * REPLICAS,
    backlog: rate * jetstream.eventBytes * REPLICAS * BACKLOG_HOURS * 3_600,
    rowsPerDay: rate * DAY,
    rowBytesPerDay: rate * DAY * rows.total,
    // Batches of 1,000, and at most five a second of each of two lanes while they are not full (accounting-svc/ledger/consume.ts).
    transactions: Math.max(rate / 1_000, Math.min(rate, 5 * cells)),
  }
}

export interface StreamSize {
  open: number
  chunks: number
  edges: number
  routers: number
  natsServers: number
  memory: number
}

/** Sizes for `open` streams of `pace` chunks per second each. */
export function sizeStreams(inputs: Inputs, open: number, pace: number): StreamSize {
  const { cost } = inputs.chunk
  const chunks = open * pace
  const processes = (micros: number): number => Math.max(2, Math.ceil((chunks * micros * HEADROOM) / 1e6))
  return {
    ...{ open, chunks },
    edges: processes(cost.edge),
    routers: processes(cost.router),
    natsServers: Math.max(3, Math.ceil((chunks * cost.nats * HOPS * HEADROOM) / 1e6 / CORES)),
    memory: open * inputs.perStream.bytes,
  }
}

/** Core-seconds per second of everything of a cluster, without headroom. */
export function coresOf(inputs: Inputs, rate: number): number {
  return (rate * totalCost(inputs.call.cost)) / 1e6
}

/** Beats delivered per second in a gateway of so many processes: each beats once a second and hears all. */
export function beatsDelivered(processes: number): number {
  return processes * processes
}

/** Share of the traffic of each of `tenants` tenants, the nth as 1 / n^exponent (Zipf). */
export function zipf(tenants: number, exponent: number): number[] {
  const weights = Array.from({ length: tenants }, (_, index) => 1 / (index + 1) ** exponent)
  const sum = weights.reduce((left, right) => left + right, 0)
  return weights.map((weight) => weight / sum)
}

/**
 * Share of the busiest shard, for each number of shards, when tenants are put by hash: `tenant-17` goes to the shard that its Redis slot
 * belongs to.
 */
export function busiestShares(shares: readonly number[], shards: readonly number[]): number[] {
  const slots = shares.map((_, index) => slotOf(`tenant-${index}`))
  return shards.map((count) => {
    const loads = new Float64Array(count)
    slots.forEach((slot, index) => {
      const shard = Math.floor((slot * count) / SLOTS)
      loads[shard] = (loads[shard] as number) + (shares[index] as number)
    })
    return loads.reduce((most, load) => Math.max(most, load), 0)
  })
}

export const SLOTS = 16_384

/** The slot of a key in a Redis cluster: CRC16 (XMODEM) of what is in braces, or of all (Redis cluster specification). */
export function slotOf(key: string): number {
  const tag = /\{([^}]+)\}/.exec(key)?.[1] ?? key
  let crc = 0
  for (const byte of Buffer.from(tag)) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit += 1) crc = (crc & 0x8000) === 0 ? (crc << 1) & 0xffff : ((crc << 1) ^ 0x1021) & 0xffff
  }
  return crc % SLOTS
}
