import { type Cost, type Inputs, REFERENCE, type Source, totalCost } from './capacity-inputs.ts'
import {
  BACKLOG_HOURS,
  beatsDelivered,
  busiestShares,
  CORES,
  cellLimit,
  coresOf,
  HEADROOM,
  HOPS,
  REPLICAS,
  type Size,
  sizeCalls,
  sizeStreams,
  zipf,
} from './capacity-model.ts'
import { markdown } from './report.ts'

const RATES = [1_000, 10_000, 100_000, 1_000_000]
const STREAMS = [1_000, 10_000, 100_000, 1_000_000]
/** Chunks per second of one stream: a delta every 20 ms. */
const PACE = 50
const COST_PARTS = ['edge', 'router', 'nats', 'redis', 'accounting', 'postgres'] as const

/** `deploy/capacity.md`, whole. */
export function capacitySheet(inputs: Inputs): string {
  const sizes = RATES.map((rate) => sizeCalls(inputs, rate))
  return `${[
    '# Capacity',
    'Written by `npm run capacity` from what the bench recorded; a test holds it to that. Arithmetic on figures of a two-core machine whose client, provider and other work shared the cores: ' +
      'it says what is needed in proportion, and where the design ends. Nobody has run Turnpike on more than one machine.',
    '## Measured',
    measured(inputs),
    '## One gateway, and where it ends',
    limits(inputs),
    '## Calls per second',
    calls(inputs, sizes),
    '## Streams',
    streams(inputs),
    '## What is sharded how',
    sharding(inputs),
    '## What the code does not have yet',
    missing(inputs),
  ].join('\n\n')}\n`
}

function measured({ call, chunk, memory, perStream, ledger, rows, jetstream }: Inputs): string {
  const costs = (cost: Cost): string => COST_PARTS.map((part) => `${part} ${short(cost[part])}`).join(', ')
  return `${table(
    ['what', 'figure', 'source'],
    [
      ['a call, µs of processor time', `${costs(call.cost)}; together ${short(totalCost(call.cost))}`, where(call.source)],
      ['a chunk, µs', `${costs(chunk.cost)}; together ${short(totalCost(chunk.cost))}`, where(chunk.source)],
      [
        'memory of a process, MB',
        `edge ${mega(memory.edge)}, router ${mega(memory.router)}, accounting ${mega(memory.accounting)}`,
        where(call.source),
      ],
      ['an open stream, KB, all processes together', short(perStream.bytes / 1024), where(perStream.source)],
      [
        'the ledger, every owner set',
        `${grouped(ledger.perSecond)} calls/s; µs a call: accounting ${short(ledger.accounting)}, postgres ${short(ledger.postgres)}`,
        where(ledger.source),
      ],
      [
        'a row of the ledger, bytes with its indexes',
        `${short(rows.ledger)}; with the sums beside it ${short(rows.total)}`,
        where(rows.source),
      ],
      ['a usage event, bytes', grouped(jetstream.eventBytes), where(jetstream.source)],
      [
        'usage events through one stream, one server, one copy, fsync as NATS does it',
        `${grouped(jetstream.stored)}/s stored; ${grouped(jetstream.one)}/s stored and consumed by one process, ${grouped(jetstream.two)}/s by two (their shares: ${jetstream.shares.join(' and ')})`,
        where(jetstream.source),
      ],
    ],
  )}

- Headroom: everything is sized at ${HEADROOM} × what the average needs.
- A run with a calibration is set in proportion to a machine on which client and provider alone take ${REFERENCE} µs a call (\`results.jsonl\`, line 1); one without is taken as it stands, which on a busy machine is too dear.
- Assumed, not measured: ${HOPS} NATS servers on the way of a message, ${REPLICAS} copies of the usage stream, 300 bytes a chunk on the wire, ${CORES} cores a node.
- A call has a prompt of 1.5 KB and a short answer. Longer ones cost more: the bench has 30 and 300 KB.`
}

function limits(inputs: Inputs): string {
  const { limit, by } = cellLimit(inputs)
  const { call, ledger, jetstream } = inputs
  return `One gateway is one prefix of subjects and keys. It has one Redis primary, one usage stream and one PostgreSQL, and each of them is a bound:

${table(
  ['bound', 'arithmetic', 'calls/s'],
  [
    [
      'Redis: all counters are in one hash slot and its scripts run on one core',
      `1,000,000 / ${short(call.cost.redis)} µs / ${HEADROOM}`,
      grouped(by.redis),
    ],
    ['PostgreSQL: one ledger', `${grouped(ledger.perSecond)} / ${HEADROOM}`, grouped(by.ledger)],
    [
      'JetStream: one usage stream, one consumer, two accounting processes',
      `${grouped(jetstream.two)} / ${HEADROOM}`,
      grouped(by.stream),
    ],
  ],
)}

So one gateway is sized for ${grouped(limit)} calls/s. Edges and routers are not bounded by it: they hold no state that others must see at once. Calls of keys without any limit or budget make no round trip to Redis.
The ledger's bound is that of a PostgreSQL on these two cores; on a machine of its own it is higher, and has not been measured. What booking cannot keep up with waits in JetStream and is late, not lost.`
}

function calls(inputs: Inputs, sizes: readonly Size[]): string {
  const { call, jetstream, rows, ledger } = inputs
  const row = (what: string, how: string, read: (size: Size) => string): string[] => [what, how, ...sizes.map(read)]
  return table(
    ['', 'arithmetic (R = calls/s)', ...sizes.map(({ rate }) => grouped(rate))],
    [
      row('gateways (cells)', `⌈R / ${grouped(cellLimit(inputs).limit)}⌉`, ({ cells }) => grouped(cells)),
      row('cores in use, no headroom', `R × ${short(totalCost(call.cost))} µs`, ({ rate }) => short(coresOf(inputs, rate))),
      row('edge processes, a core each', `⌈R × ${short(call.cost.edge)} µs × ${HEADROOM}⌉, 2 at least`, ({ edges }) =>
        grouped(edges),
      ),
      row('router processes, a core each', `⌈R × ${short(call.cost.router)} µs × ${HEADROOM}⌉, 2 at least`, ({ routers }) =>
        grouped(routers),
      ),
      row('accounting processes', `⌈R × ${short(ledger.accounting)} µs × ${HEADROOM}⌉, 2 a gateway at least`, ({ accountings }) =>
        grouped(accountings),
      ),
      row(`nodes of ${CORES} cores for these`, `⌈processes / ${CORES}⌉, 2 at least`, ({ nodes }) => grouped(nodes)),
      row('their memory, GB', 'processes × memory of each', ({ memory }) => giga(memory)),
      row(
        `NATS servers of ${CORES} cores`,
        `⌈R × ${short(call.cost.nats)} µs × ${HOPS} hops × ${HEADROOM} / ${CORES}⌉, 3 at least`,
        ({ natsServers }) => grouped(natsServers),
      ),
      row('Redis primaries, each with a replica', 'one a gateway', ({ redisPrimaries }) => grouped(redisPrimaries)),
      row('PostgreSQL cores', `⌈R × ${short(ledger.postgres)} µs × ${HEADROOM}⌉, 2 a gateway at least`, ({ postgresCores }) =>
        grouped(postgresCores),
      ),
      row('ledger rows a day', 'R × 86,400, one attempt a call', ({ rowsPerDay }) => million(rowsPerDay)),
      row('PostgreSQL bytes a day, GB', `rows × ${short(rows.total)}`, ({ rowBytesPerDay }) => giga(rowBytesPerDay)),
      row('PostgreSQL rows inserted, a second', 'R', ({ rate }) => grouped(rate)),
      row('transactions a second, at least', 'R / 1,000 a batch, or 5 a gateway', ({ transactions }) => grouped(transactions)),
      row('JetStream, MB/s written', `R × ${grouped(jetstream.eventBytes)} × ${REPLICAS} copies`, ({ streamed }) =>
        mega(streamed),
      ),
      row(`JetStream disk for ${BACKLOG_HOURS} h without accounting, GB`, `that × ${BACKLOG_HOURS} × 3,600`, ({ backlog }) =>
        giga(backlog),
      ),
      row(
        'network through NATS, MB/s',
        'R × (1.5 KB prompt + 1 KB answer + 1 KB headers and frames) × 2, in and out',
        ({ rate }) => mega(rate * 3.5 * 1024 * 2),
      ),
    ],
  )
}

function streams(inputs: Inputs): string {
  const { chunk, perStream } = inputs
  const sizes = STREAMS.map((open) => sizeStreams(inputs, open, PACE))
  type Stream = (typeof sizes)[number]
  const row = (what: string, how: string, read: (size: Stream) => string): string[] => [what, how, ...sizes.map(read)]
  return `Streams with a delta every 20 ms, S of them open; the calls they begin with are in their chunks.

${table(
  ['', 'arithmetic', ...sizes.map(({ open }) => grouped(open))],
  [
    row('chunks a second, C', `S × ${PACE}`, ({ chunks }) => grouped(chunks)),
    row('edge processes', `⌈C × ${short(chunk.cost.edge)} µs × ${HEADROOM}⌉, 2 at least`, ({ edges }) => grouped(edges)),
    row('router processes', `⌈C × ${short(chunk.cost.router)} µs × ${HEADROOM}⌉, 2 at least`, ({ routers }) => grouped(routers)),
    row(
      `NATS servers of ${CORES} cores`,
      `⌈C × ${short(chunk.cost.nats)} µs × ${HOPS} × ${HEADROOM} / ${CORES}⌉, 3 at least`,
      ({ natsServers }) => grouped(natsServers),
    ),
    row('memory of the streams, GB', `S × ${short(perStream.bytes / 1024)} KB`, ({ memory }) => giga(memory)),
    row('network through NATS, MB/s', 'C × 300 bytes × 2, in and out', ({ chunks }) => mega(chunks * 300 * 2)),
  ],
)}`
}

function sharding(inputs: Inputs): string {
  const { limit } = cellLimit(inputs)
  const spreads = [8, 32, 128, 512]
  const crowds: [string, number, number][] = [
    ['10,000 tenants, Zipf 1', 10_000, 1],
    ['10,000 tenants, Zipf 0.7', 10_000, 0.7],
    ['50,000 tenants, Zipf 0.5', 50_000, 0.5],
  ]
  const simulated = crowds.map(([name, tenants, exponent]) => {
    const shares = zipf(tenants, exponent)
    const biggest = shares[0] as number
    return [
      name,
      percent(biggest),
      ...busiestShares(shares, spreads).map(
        (share, index) => `${percent(share)} (even: ${percent(1 / (spreads[index] as number))})`,
      ),
      grouped(limit / biggest),
    ]
  })
  const processes = [20, 200, 2_000]
  return `**Tenants over gateways.** Beyond ${grouped(limit)} calls/s of keys with limits there must be several gateways (cells), each with its own \`nats_prefix\`, Redis, PostgreSQL and master key; they may share NATS, whose subjects the prefix keeps apart. Turnpike does not put tenants into cells, move them, or report over several: a load balancer has to, by host name. A tenant is never in two cells, or its budget would not be exact, so the biggest bounds how far this goes. Simulated, tenants put by hash (Redis' own slots, CRC16):

${table(['', 'biggest tenant', ...spreads.map((cells) => `busiest of ${cells}`), 'most calls/s, the biggest tenant in one cell'], simulated)}

So a million calls per second with exact budgets need tenants that are all small beside ${grouped(limit)} calls/s, and placing by size rather than by hash.

**Lanes** (\`tp.call.<lane>\`). The subject has a lane, routers can serve several, and there is no setting: every edge publishes to \`default\` and every router serves it. NATS spreads one queue group over all its members wherever they are connected, so lanes are for keeping kinds of calls apart, not needed for rate.

**Usage** (\`tp.usage.<router>\`). Each router has a subject of its own and all are in one stream, \`TP_USAGE\`, with one durable consumer, \`ledger\`, that the accounting processes pull from together. More than one stream, or consumers over parts of the subjects, are not there; a cell has its own stream.

**Counters.** Redis holds a whole gateway in one hash slot (\`{tp}:counters:…\`): a Redis cluster would not spread it, and the client does not speak to one. A replica is for failover; after it, counters are rebuilt from the ledger.

**Ledger.** Partitioned by month inside one PostgreSQL, which makes dropping old months cheap and does not spread writes. There is no ledger over several PostgreSQLs but by cells.

**Beats.** Every process hears every other's beat each second: N processes of one gateway cost N² deliveries.

${table(
  ['processes of one gateway', ...processes.map(grouped)],
  [['deliveries a second', ...processes.map((count) => grouped(beatsDelivered(count)))]],
)}

At ${grouped(processes[2] as number)} that is millions of messages a second only to say who is there, so a gateway should stay at some hundreds of processes; cells keep it there.

**Regions.** Subjects carry no region. NATS can join regions (super-cluster with gateways, leaf nodes) without the processes knowing, and its queue groups prefer members of the publisher's own cluster; but identity look-ups, Redis and PostgreSQL have one place. One cell a region works today; one gateway over several regions pays a round trip between them for each call with limits. None of it has been tried.`
}

function missing(inputs: Inputs): string {
  return `Beyond ${grouped(cellLimit(inputs).limit)} calls/s of keys with limits, in the order in which it is met:

- counters over several Redis slots: scopes that cross tenants (customers, tags, the proxy's own) would have to be exact over shards, or leave the admission's one step;
- a ledger over several PostgreSQLs, and reports over all of them;
- several usage streams or consumers by subject; until then accounting processes share one consumer, with 256 messages under way in all (\`shared/bus/nats.ts\`);
- tenants put into cells and moved between them, and one management API over all cells;
- lanes as a setting; regions in subjects; beats that do not reach everybody.`
}

function table(head: string[], rows: string[][]): string {
  return markdown([head, ...rows], 1)
}

function where({ file, line, at, note }: Source): string {
  return `\`${file}\`, line ${line}: ${at.slice(0, 10)}, ${note}`
}

function grouped(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}

function short(value: number): string {
  return value >= 100 ? grouped(value) : value.toFixed(1)
}

function mega(bytes: number): string {
  return short(bytes / 1e6)
}

function giga(bytes: number): string {
  return short(bytes / 1e9)
}

function million(value: number): string {
  return `${grouped(value / 1e6)} million`
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`
}
