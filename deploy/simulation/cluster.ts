import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type Accounting, createAccounting } from '../../accounting-svc/accounting.ts'
import { createEdge, EDGE_DEFAULTS, type Edge } from '../../edge/edge.ts'
import { noCacheCounts } from '../../router-svc/cache/cache-counts.ts'
import { createRouter, ROUTER_DEFAULTS, type Router } from '../../router-svc/router.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import { type Catalog, createCatalog } from '../../shared/catalog/catalog.ts'
import { type Config, checkConfig } from '../../shared/config/config.ts'
import { createSealer } from '../../shared/config/secrets.ts'
import type { Database, Transaction } from '../../shared/db/db.ts'
import type { IdempotencyStore } from '../../shared/idempotency/store.ts'
import { type Log, silentLog } from '../../shared/log.ts'
import { createMetrics } from '../../shared/metrics.ts'
import type { SimulatedBus } from './bus.ts'
import type { SimulatedClients } from './clients.ts'
import type { SimulatedCounters } from './counters.ts'
import type { SimulatedDatabase } from './database.ts'
import type { Random } from './random.ts'
import type { SimulatedUpstream } from './upstream.ts'
import type { SimulatedProcess, World } from './world.ts'

export const MASTER_KEY = 'sk-simulated-master'
export type RoleName = 'edge' | 'router' | 'accounting'

/** A place for a process, and what runs there. Its first process is named like it. */
export interface Slot {
  readonly name: string
  readonly role: RoleName
  process: SimulatedProcess | null
  service: Edge | Router | Accounting | null
  bus: Bus | null
  /** Processes that ran here. */
  lives: number
}

export interface Cluster {
  readonly slots: readonly Slot[]
  /** Starts a process in a free slot; it serves some virtual time later. */
  start(slot: Slot): void
  kill(slot: Slot): void
  /** Ends a process as SIGTERM does. */
  stop(slot: Slot, drainLimit: number): Promise<void>
  /** Every slot has a process, and all of them serve. */
  readonly ready: boolean
  /** A service that could not start although nothing was away. */
  readonly failures: readonly string[]
}

/** What does not depend on a run and costs time to make. */
export interface Shared {
  catalog: Catalog
}

export function createShared(): Shared {
  return { catalog: createCatalog() }
}

export interface ClusterDeps {
  world: World
  random: Random
  bus: SimulatedBus
  database: SimulatedDatabase
  counters: SimulatedCounters
  idempotency: IdempotencyStore
  upstream: SimulatedUpstream
  clients: SimulatedClients
  config: unknown
  edges: number
  routers: number
  accountings: number
  /** A folder for the spools of the routers. */
  directory: string
  shared: Shared
  log?: Log
}

/** Milliseconds between tries of a service that could not start: what watches processes starts them again. */
const START_AGAIN = 500

export function createCluster(deps: ClusterDeps): Cluster {
  const { world, bus, shared } = deps
  const log = deps.log ?? silentLog
  const config = configOf(deps.config)
  const slots: Slot[] = []
  const failures: string[] = []
  for (const [role, count] of [
    ['edge', deps.edges],
    ['accounting', deps.accountings],
    ['router', deps.routers],
  ] as const)
    for (let n = 1; n <= count; n++) slots.push({ name: `${role}${n}`, role, process: null, service: null, bus: null, lives: 0 })

  function create(slot: Slot, process: SimulatedProcess, joined: Bus): Promise<Edge | Router | Accounting> {
    const { clock } = process
    const named = log.child({ process: process.name })
    switch (slot.role) {
      case 'edge':
        return createEdge({
          bus: joined,
          clock,
          log: named,
          metrics: createMetrics(),
          settings: EDGE_DEFAULTS,
          listen: deps.clients.listener(process),
        })
      case 'accounting':
        return createAccounting({
          bus: joined,
          db: readsFirst(world, deps.database.connect(process)),
          config,
          env: {},
          clock,
          log: named,
          masterKey: MASTER_KEY,
          sealer: createSealer('simulated'),
          catalog: shared.catalog,
          counters: deps.counters.connect(process),
          listen: null,
        })
      case 'router': {
        const directory = join(deps.directory, slot.name)
        mkdirSync(directory, { recursive: true })
        const draws = deps.random.fork(process.name)
        return createRouter({
          bus: joined,
          http: deps.upstream.connect(process),
          counters: deps.counters.connect(process),
          idempotency: deps.idempotency,
          clock,
          log: named,
          catalog: shared.catalog,
          cache: { redis: null, redisUrl: null, prefix: 'tp', directory, counts: noCacheCounts },
          sealer: createSealer('simulated'),
          env: {},
          random: draws.next,
          settings: { ...ROUTER_DEFAULTS, lanes: [...ROUTER_DEFAULTS.lanes], spoolDirectory: join(directory, 'spool') },
        })
      }
    }
  }

  function start(slot: Slot): void {
    if (slot.process !== null) return
    slot.lives += 1
    const process = world.spawn(slot.lives === 1 ? slot.name : `${slot.name}x${slot.lives}`)
    slot.process = process
    const joined = bus.join(process, slot.role, log)
    slot.bus = joined
    create(slot, process, joined).then(
      (service) => {
        if (process.dead) return
        slot.service = service
        world.note(`${process.name} serves`)
      },
      (thrown: unknown) => {
        if (process.dead) return
        failures.push(`${process.name}: ${thrown instanceof Error ? thrown.stack : String(thrown)}`)
        world.note(`${process.name} could not start`)
        kill(slot)
        world.after(START_AGAIN, null, `start ${slot.name}`, () => start(slot))
      },
    )
  }

  function kill(slot: Slot): void {
    slot.process?.kill()
    slot.process = null
    slot.service = null
    slot.bus = null
  }

  return {
    slots,
    failures,
    start,
    kill,
    async stop(slot, drainLimit) {
      const { service, bus: joined } = slot
      if (service === null) return
      await service.drain(drainLimit)
      await service.stop()
      await joined?.close()
    },
    get ready() {
      return slots.every(({ service, role }) => service !== null && (role === 'accounting' || (service as Edge | Router).ready()))
    },
  }
}

/** Removes what the routers of a run left on the disk. */
export function removeSpools(directory: string): void {
  rmSync(directory, { recursive: true, force: true })
}

/** The files of the migrations are read before the first transaction, in no virtual time. */
function readsFirst(world: World, db: Database): Database {
  let begun = (): void => undefined
  void world.hold(
    new Promise<void>((resolve) => {
      begun = resolve
    }),
  )
  return Object.create(db, {
    transaction: {
      value: <Result>(work: (tx: Transaction) => Promise<Result>) => {
        begun()
        return db.transaction(work)
      },
    },
  }) as Database
}

function configOf(tree: unknown): Config {
  const checked = checkConfig(tree)
  if (!checked.ok) throw new Error(JSON.stringify(checked.problems))
  return checked.config
}
