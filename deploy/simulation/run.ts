import { closeSync, readdirSync, readlinkSync } from 'node:fs'
import { createMemoryCounters } from '../../shared/counters/memory.ts'
import { createMemoryIdempotency } from '../../shared/idempotency/memory.ts'
import type { Log } from '../../shared/log.ts'
import { createSimulatedBus, type SimulatedBus } from './bus.ts'
import { createSimulatedClients, type Request, type SimulatedClients } from './clients.ts'
import { type Cluster, createCluster, MASTER_KEY, removeSpools, type Shared, type Slot } from './cluster.ts'
import { createSimulatedCounters, type SimulatedCounters } from './counters.ts'
import { createSimulatedDatabase, type SimulatedDatabase } from './database.ts'
import { checkLeaks, checkRun } from './invariants.ts'
import { configFor, type Fault, type Plan } from './plan.ts'
import { createRandom } from './random.ts'
import { seedIds } from './seeded-ids.ts'
import type { Store } from './store.ts'
import { createSimulatedUpstream, type SimulatedUpstream } from './upstream.ts'
import { createWorld, type World } from './world.ts'

/** Unix milliseconds at which every run begins: noon, far from the end of a day or month. */
export const START = Date.UTC(2026, 5, 10, 12)

export interface Result {
  seed: number
  hash: string
  /** Invariants that did not hold, one sentence each. */
  violations: string[]
  calls: number
  answered: number
  virtualSeconds: number
  steps: number
  statements: number
  /** What went wrong on purpose, by kind. */
  faults: Record<string, number>
}

/** Everything there is while a run goes on. */
export interface Scene {
  plan: Plan
  world: World
  bus: SimulatedBus
  database: SimulatedDatabase
  counters: SimulatedCounters
  upstream: SimulatedUpstream
  clients: SimulatedClients
  cluster: Cluster
  violations: string[]
}

export interface RunOptions {
  plan: Plan
  store: Store
  shared: Shared
  directory: string
  trace?: ((line: string) => void) | undefined
  log?: Log | undefined
  /** Breaks something on purpose, before the first call: for proofs that the checks see it. */
  sabotage?: ((scene: Scene) => void) | undefined
}

/** Virtual milliseconds a start of everything may take, a call may take, and that all may need to come to rest. */
const START_LIMIT = 60_000
const CALL_LIMIT = 90_000
const REST_LIMIT = 240_000
const STOP_LIMIT = 60_000

/** Plays one plan to its end and says what did not hold. */
export async function run(options: RunOptions): Promise<Result> {
  const { plan, store, directory } = options
  const random = createRandom(plan.seed)
  const restore = seedIds(random.fork('ids'))
  try {
    await store.reset()
    const world = createWorld({ start: START, ...(options.trace === undefined ? {} : { trace: options.trace }) })
    const held = createMemoryCounters({ clock: world.clock })
    const bus = createSimulatedBus(world, random.fork('bus'), { ...plan.bus, loss: 0, durableLoss: 0, slow: 0 })
    const database = createSimulatedDatabase(world, store.db, random.fork('database'), START)
    const counters = createSimulatedCounters(world, held, random.fork('counters'))
    const upstream = createSimulatedUpstream(world, random.fork('upstream'), plan.upstream)
    const clients = createSimulatedClients(world, random.fork('clients'))
    const idempotency = createMemoryIdempotency({ clock: world.clock })
    const cluster = createCluster({
      world,
      random: random.fork('cluster'),
      bus,
      database,
      counters,
      idempotency,
      upstream,
      clients,
      config: configFor(),
      edges: plan.edges,
      routers: plan.routers,
      accountings: plan.accountings,
      directory,
      shared: options.shared,
      ...(options.log === undefined ? {} : { log: options.log }),
    })
    const scene: Scene = { plan, world, bus, database, counters, upstream, clients, cluster, violations: [] }
    const counted = await play(scene, options)
    for (const crash of world.crashes) scene.violations.push(`crash: ${crash}`)
    const calls = clients.answers.filter(({ request }) => request.tag.startsWith('call-'))
    return {
      seed: plan.seed,
      hash: world.hash,
      violations: scene.violations,
      calls: calls.length,
      answered: calls.filter(({ how, status }) => how === 'answer' && status === 200).length,
      virtualSeconds: Math.round(world.now / 1_000),
      steps: world.steps,
      statements: database.counts.statements,
      faults: {
        ...counted,
        'message-lost': bus.counts.lost,
        'message-slow': bus.counts.slowed,
        'message-cut': bus.counts.cut,
        redelivered: bus.durable.redelivered,
        'counters-reply-lost': counters.counts.lost,
        'counters-refused': counters.counts.refused,
        'database-reply-lost': database.counts.lost,
        'client-left': calls.filter(({ how }) => how === 'left').length,
        'router-again': upstream.served.filter(({ aborted }) => aborted).length,
        ...Object.fromEntries(
          Object.entries(upstream.counts)
            .filter(([name]) => name !== 'whole')
            .map(([name, count]) => [`upstream-${name}`, count]),
        ),
      },
    }
  } finally {
    restore()
    closeLeft(directory)
    removeSpools(directory)
  }
}

async function play(scene: Scene, options: RunOptions): Promise<Record<string, number>> {
  const { plan, world, cluster, clients, bus, counters, violations } = scene
  // One after the other: what one reads from files is read before the next begins.
  for (const slot of cluster.slots) world.after(0, null, `start ${slot.name}`, () => cluster.start(slot))
  if (!(await world.run(() => cluster.ready, START_LIMIT))) {
    violations.push(`start: not everything serves after ${START_LIMIT} ms. ${cluster.failures.at(-1) ?? ''}`)
    return {}
  }
  if (!(await makeKeys(scene))) return {}
  options.sabotage?.(scene)
  Object.assign(bus.faults, plan.bus)
  counters.replyLoss = plan.replyLoss
  const from = world.now
  for (const call of plan.calls)
    world.after(call.at, null, `begin ${call.tag}`, () => clients.send(edgeName(cluster, call.edge), requestOf(call)))
  const counted: Record<string, number> = {}
  for (const fault of plan.faults) {
    counted[fault.kind] = (counted[fault.kind] ?? 0) + 1
    world.after(fault.at, null, fault.kind, () => befall(scene, fault))
  }
  const longest = Math.max(plan.length, ...plan.faults.map((fault) => fault.at + fault.for))
  await world.run(() => world.now >= from + longest, from + longest + 1)
  calm(scene)
  const ended = (): boolean =>
    clients.answers.filter(({ request }) => request.tag.startsWith('call-')).length >= plan.calls.length &&
    clients.answers.every(({ how }) => how !== null)
  await world.run(ended, world.now + CALL_LIMIT)
  const atRest = await rest(scene)
  await checkRun(scene, atRest)
  await stopAll(scene)
  checkLeaks(scene)
  return counted
}

function edgeName(cluster: Cluster, number: number): string {
  return cluster.slots.find(({ name }) => name === `edge${number}`)?.process?.name ?? ''
}

function requestOf(call: Plan['calls'][number]): Request {
  const { tag, key, model, stream, maxTokens, leaves, reads } = call
  const body = { model, stream, max_tokens: maxTokens, user: tag, messages: [{ role: 'user', content: tag }] }
  return {
    tag,
    method: 'POST',
    path: '/v1/chat/completions',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
    leaves,
    reads,
  }
}

/** As an admin does, over the management API. */
async function makeKeys({ plan, world, cluster, clients, violations }: Scene): Promise<boolean> {
  for (const { name, budget, rpm, parallel } of plan.keys) {
    const fields = {
      key: name,
      ...(budget === null ? {} : { max_budget: budget / 1e9 }),
      ...(rpm === null ? {} : { rpm_limit: rpm }),
      ...(parallel === null ? {} : { max_parallel_requests: parallel }),
    }
    const answer = clients.send(edgeName(cluster, 1), {
      tag: `key ${name}`,
      method: 'POST',
      path: '/key/generate',
      headers: { authorization: `Bearer ${MASTER_KEY}`, 'content-type': 'application/json' },
      body: JSON.stringify(fields),
      leaves: null,
      reads: null,
    })
    await world.run(() => answer.how !== null, world.now + START_LIMIT)
    if (answer.status === 200) continue
    violations.push(`start: a key could not be made: ${answer.how} ${answer.status} ${answer.text}`)
    return false
  }
  return true
}

function befall(scene: Scene, fault: Fault): void {
  const { world, cluster, bus, counters, database } = scene
  const slot = 'slot' in fault ? (cluster.slots.find(({ name }) => name === fault.slot) as Slot) : null
  const process = slot?.process ?? null
  const later = (what: string, run: () => void): void => void world.after(fault.for, null, what, run)
  switch (fault.kind) {
    case 'kill':
    case 'kill-at-write': {
      if (slot === null || process === null) return
      const kill = (): void => {
        cluster.kill(slot)
        later(`start ${slot.name}`, () => cluster.start(slot))
      }
      if (fault.kind === 'kill') kill()
      else process.beforeImmediate = kill
      return
    }
    case 'restart':
      if (slot === null || process === null || slot.service === null) return
      void cluster.stop(slot, 15_000).then(() => {
        if (slot.process === process) cluster.kill(slot)
        cluster.start(slot)
      })
      return
    case 'freeze':
      process?.freeze()
      later('thaw', () => process?.thaw())
      return
    case 'disconnect':
      if (process === null) return
      bus.disconnect(process.name)
      later('connect', () => bus.connect(process.name))
      return
    case 'kill-at-commit':
      database.onCommit = (committing, done) => {
        if (slot === null || committing !== slot.process || done !== fault.done) return
        database.onCommit = null
        cluster.kill(slot)
        later(`start ${slot.name}`, () => cluster.start(slot))
      }
      return
    case 'bus-away': {
      const names = world.processes.map(({ name }) => name)
      for (const name of names) bus.disconnect(name)
      later('bus back', () => {
        for (const name of names) bus.connect(name)
      })
      return
    }
    case 'database-away':
      database.away = true
      later('database back', () => {
        database.away = false
      })
      return
    case 'counters-away':
      counters.away = true
      later('counters back', () => {
        counters.away = false
      })
  }
}

/** Nothing goes wrong from here on; what is down comes back. */
function calm({ world, cluster, bus, counters, database }: Scene): void {
  world.note('calm')
  Object.assign(bus.faults, { loss: 0, slow: 0, durableLoss: 0 })
  counters.replyLoss = 0
  counters.away = false
  database.away = false
  database.onCommit = null
  for (const process of [...world.processes]) {
    process.beforeImmediate = null
    process.thaw()
    bus.connect(process.name)
  }
  for (const slot of cluster.slots) world.after(0, null, `start ${slot.name}`, () => cluster.start(slot))
}

/** Waits until nothing is held, spooled or on its way. */
async function rest({ world, cluster, bus, counters, clients, database, upstream }: Scene): Promise<boolean> {
  const observer = counters.look
  let totals = { leases: 1, held: 1 }
  const quiet = (): boolean =>
    totals.leases === 0 &&
    totals.held === 0 &&
    clients.open === 0 &&
    upstream.open.length === 0 &&
    bus.open.streams === 0 &&
    database.open === 0 &&
    bus.durable.empty &&
    cluster.ready &&
    cluster.slots.every(({ role, service }) => role !== 'router' || (service as { spoolPending?: number }).spoolPending === 0)
  const until = world.now + REST_LIMIT
  while (world.now < until) {
    await world.run(() => false, world.now + 1_000)
    totals = await observer()
    if (quiet()) return true
  }
  return false
}

async function stopAll({ world, cluster, violations }: Scene): Promise<void> {
  let stopped = false
  const stop = async (): Promise<void> => {
    for (const role of ['edge', 'router', 'accounting'] as const) {
      const slots = cluster.slots.filter((slot) => slot.role === role)
      await Promise.all(slots.map((slot) => cluster.stop(slot, 5_000)))
    }
    stopped = true
  }
  void stop().catch((thrown) => violations.push(`stop: ${String(thrown)}`))
  await world.run(() => stopped, world.now + STOP_LIMIT)
  if (!stopped) violations.push(`stop: services do not end within ${STOP_LIMIT} ms`)
  // What the last words left on the way.
  await world.run(() => false, world.now + 15_000)
}

/** A router that was killed has not closed its files. */
function closeLeft(directory: string): void {
  for (const name of readdirSync('/proc/self/fd')) {
    try {
      if (readlinkSync(`/proc/self/fd/${name}`).startsWith(directory)) closeSync(Number(name))
    } catch {
      // Closed meanwhile.
    }
  }
}
