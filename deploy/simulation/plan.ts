import { type BusFaults, CALM } from './bus.ts'
import { createRandom, type Random } from './random.ts'
import type { UpstreamFaults } from './upstream.ts'

/** What befalls a cluster; times are virtual milliseconds after the first call may begin. */
export type Fault =
  /** `kill-at-write`: when it is about to write what a turn of its event loop gathered. */
  | { kind: 'kill' | 'kill-at-write' | 'freeze' | 'disconnect' | 'restart'; slot: string; at: number; for: number }
  /** At its next commit: rolled back, or committed and never told. */
  | { kind: 'kill-at-commit'; slot: string; at: number; for: number; done: boolean }
  | { kind: 'bus-away' | 'database-away' | 'counters-away'; at: number; for: number }

export interface PlannedKey {
  name: string
  /** Nano-dollars; null = without a budget. */
  budget: number | null
  /** Requests a minute, calls at once; null = unlimited. */
  rpm: number | null
  parallel: number | null
}

export interface PlannedCall {
  tag: string
  at: number
  edge: number
  key: string
  model: string
  stream: boolean
  maxTokens: number
  leaves: number | null
  reads: number | null
}

/** Everything a run depends on besides the code. */
export interface Plan {
  seed: number
  edges: number
  routers: number
  accountings: number
  keys: PlannedKey[]
  calls: PlannedCall[]
  faults: Fault[]
  bus: BusFaults
  upstream: UpstreamFaults
  /** Share of commands to the counters whose answer is lost. */
  replyLoss: number
  /** Milliseconds in which calls and faults begin. */
  length: number
}

/** A dollar's thousand-millionth part; what one token costs in the simulation. */
export const INPUT_NANO = 1_000
export const OUTPUT_NANO = 2_000
/** What a call costs that is answered by its first attempt. */
export const CALL_NANO = 5 * INPUT_NANO + 10 * OUTPUT_NANO

export function planOf(seed: number): Plan {
  const random = createRandom(seed)
  const length = random.pick([5_000, 15_000, 30_000])
  const plan: Plan = {
    seed,
    edges: 2,
    routers: 3,
    accountings: 2,
    keys: keysOf(random),
    calls: [],
    faults: [],
    bus: { ...CALM, latency: random.pick([0.5, 2, 10]) },
    upstream: { plays: {}, wait: random.pick([50, 500, 3_000]), pace: random.pick([0, 20, 500]) },
    replyLoss: 0,
    length,
  }
  plan.calls = callsOf(random, plan)
  // Each kind in some of the runs, so that what goes wrong in one has few causes.
  if (random.chance(0.5)) plan.upstream.plays = upstreamOf(random)
  if (random.chance(0.3)) Object.assign(plan.bus, { slow: 0.02, slowBy: random.pick([200, 1_500, 4_000]) })
  if (random.chance(0.25)) plan.bus.loss = random.pick([0.002, 0.01, 0.03])
  if (random.chance(0.3)) plan.bus.durableLoss = random.pick([0.02, 0.1, 0.3])
  if (random.chance(0.25)) plan.replyLoss = random.pick([0.01, 0.05])
  plan.faults = faultsOf(random, plan, random.chance(0.75) ? random.between(1, 5) : 0)
  return plan
}

/** The thinnest: one of each, three calls, nothing goes wrong. */
export function calmPlan(seed: number): Plan {
  const plan = planOf(seed)
  return {
    ...plan,
    edges: 1,
    routers: 1,
    accountings: 1,
    calls: plan.calls.slice(0, 3).map((call) => ({ ...call, edge: 1, leaves: null })),
    faults: [],
    bus: { ...CALM },
    upstream: { ...plan.upstream, plays: {} },
    replyLoss: 0,
  }
}

function keysOf(random: Random): PlannedKey[] {
  return [
    { name: 'sk-simulated-free-0001', budget: null, rpm: null, parallel: null },
    { name: 'sk-simulated-wide-0002', budget: 1_000_000_000, rpm: null, parallel: null },
    { name: 'sk-simulated-tiny-0003', budget: CALL_NANO * random.between(2, 8), rpm: null, parallel: null },
    { name: 'sk-simulated-slim-0004', budget: CALL_NANO * random.between(2, 8), rpm: null, parallel: random.between(1, 3) },
    { name: 'sk-simulated-rate-0005', budget: null, rpm: random.between(2, 6), parallel: null },
  ]
}

function callsOf(random: Random, plan: Plan): PlannedCall[] {
  return Array.from({ length: random.between(15, 35) }, (_, index) => ({
    tag: `call-${index}`,
    at: random.next() * plan.length,
    edge: random.between(1, plan.edges),
    key: random.pick(plan.keys).name,
    model: random.pick(['one', 'both', 'both', 'chain']),
    stream: random.chance(0.6),
    maxTokens: 10,
    leaves: random.chance(0.15) ? random.next() * 3_000 : null,
    reads: random.chance(0.1) ? random.pick([100, 400, 2_000]) : null,
  }))
}

function upstreamOf(random: Random): UpstreamFaults['plays'] {
  const some = (): number => (random.chance(0.5) ? random.pick([0.03, 0.1, 0.3]) / 2 : 0)
  return { status: some(), refused: some(), closes: some(), breaks: some(), stalls: some(), error: some() }
}

function faultsOf(random: Random, plan: Plan, count: number): Fault[] {
  const slots = [
    ...Array.from({ length: plan.edges }, (_, n) => `edge${n + 1}`),
    ...Array.from({ length: plan.routers }, (_, n) => `router${n + 1}`),
    ...Array.from({ length: plan.accountings }, (_, n) => `accounting${n + 1}`),
  ]
  return Array.from({ length: count }, (): Fault => {
    const at = random.next() * plan.length
    const long = random.pick([300, 2_000, 7_000, 15_000]) * (0.5 + random.next())
    const kind = random.pick([
      'kill',
      'kill',
      'kill',
      'freeze',
      'freeze',
      'disconnect',
      'restart',
      'kill-at-commit',
      'bus-away',
      'database-away',
      'counters-away',
    ] as const)
    if (kind === 'kill-at-commit')
      return { kind, slot: `accounting${random.between(1, plan.accountings)}`, at, for: long, done: random.chance(0.5) }
    if (kind === 'bus-away' || kind === 'database-away' || kind === 'counters-away') return { kind, at, for: long }
    const slot = random.pick(slots)
    const isAtWrite = kind === 'kill' && slot.startsWith('router') && random.fork(`${at}`).chance(0.4)
    return { kind: isAtWrite ? 'kill-at-write' : kind, slot, at, for: long }
  })
}

/** What the gateway is configured with. */
export function configFor(): unknown {
  const deployment = (group: string, id: string, extra: object = {}) => ({
    model_name: group,
    litellm_params: {
      model: 'openai/simulated',
      api_base: `http://${id}.upstream/v1`,
      api_key: 'simulated',
      input_cost_per_token: INPUT_NANO / 1e9,
      output_cost_per_token: OUTPUT_NANO / 1e9,
      ...extra,
    },
    model_info: { id },
  })
  return {
    model_list: [
      deployment('one', 'alone'),
      deployment('both', 'left'),
      deployment('both', 'right'),
      deployment('chain', 'first'),
    ],
    litellm_settings: { num_retries: 1, request_timeout: 15 },
    router_settings: { cooldown_time: 5, fallbacks: [{ chain: ['one'] }] },
    turnpike_settings: { stall_timeout: 4 },
  }
}
