import type { Bus } from '../shared/bus/bus.ts'
import { createCodec } from '../shared/bus/codec.ts'
import type { Catalog } from '../shared/catalog/catalog.ts'
import type { Clock } from '../shared/clock.ts'
import type { Config } from '../shared/config/config.ts'
import type { Sealer } from '../shared/config/secrets.ts'
import type { Counters } from '../shared/counters/counters.ts'
import type { Database } from '../shared/db/db.ts'
import { migrate } from '../shared/db/migrate.ts'
import { createHttpClient } from '../shared/http/client.ts'
import { postJson } from '../shared/http/post.ts'
import type { Log } from '../shared/log.ts'
import { createOwnBatches } from './batches/own-batches.ts'
import { createOwnFiles } from './batches/own-files.ts'
import { createLineRunner } from './batches/run-lines.ts'
import { serveOwnBatches } from './batches/serve-own-batches.ts'
import { type BatchSettings, batchSettings } from './batches/settings.ts'
import { sweepBatches } from './batches/sweep-batches.ts'
import { tellDatabaseState } from './database-state.ts'
import { type Door, listen, serveTunnel } from './http.ts'
import { requireAccess } from './identity/access.ts'
import { authenticate } from './identity/authenticate.ts'
import { createBudgets } from './identity/budgets.ts'
import { keyRotationJob } from './identity/key-rotation.ts'
import { createKeys } from './identity/keys.ts'
import { NOBODY, unlessPublic } from './identity/open-routes.ts'
import { createIdentities, serveIdentities } from './identity/publish.ts'
import { serveLimits } from './identity/serve-limits.ts'
import { createUsers } from './identity/users.ts'
import { watchImports } from './import/watch-imports.ts'
import { startJobs } from './jobs/jobs.ts'
import { keepRuntime } from './jobs/keep-runtime.ts'
import { listModels } from './jobs/list-models.ts'
import { makePartitions } from './jobs/partitions.ts'
import { rebuildAtStart } from './jobs/rebuild-counters.ts'
import { createSpenders } from './ledger/alerts.ts'
import { createLedger } from './ledger/book.ts'
import { consumeUsage } from './ledger/consume.ts'
import { createCustomerNames } from './ledger/customers.ts'
import { serveObjects, settleObjects } from './ledger/objects.ts'
import { createPricing } from './ledger/price.ts'
import { createProjection } from './ledger/projection.ts'
import { createConfiguration, watchConfiguration } from './models/configuration.ts'
import { createModelHealth } from './models/model-health.ts'
import { createPriceBook } from './models/price-book.ts'
import { watchPrices } from './models/prices.ts'
import { watchRouterStates } from './models/router-states.ts'
import { createRuntime, watchLimits } from './models/runtime.ts'
import { allRoutes } from './routes/index.ts'
import { createRequestRouter, type RequestRouter } from './routes/route.ts'

/** The numbered SQL files. */
export const MIGRATIONS = new URL('./sql/migrations/', import.meta.url)

/** Milliseconds for a webhook to answer. */
const POST_LIMIT = 5_000
/** Largest body of a management request, bytes. */
const BODY_LIMIT = 10 * 1024 * 1024

export interface AccountingDeps {
  bus: Bus
  db: Database
  config: Config
  env: Record<string, string | undefined>
  clock: Clock
  log: Log
  /** Null or empty: the gateway is open, every caller is its admin. */
  masterKey: string | null
  sealer: Sealer
  catalog: Catalog
  /** The caller's to close. */
  counters: Counters
  /** Address of the own listener; null = management only through the edges. Port 0 = a free one. */
  listen?: { host: string; port: number } | null
}

export interface Accounting {
  /** Of the own listener; 0 = none. */
  readonly port: number
  /** Whether management requests, identities and usage events are being served. */
  ready(): boolean
  /** Builds and publishes a new configuration; one that cannot be built is refused and the old one stays. */
  reconfigure(config: Config): Promise<void>
  /** Takes nothing new; resolves when what runs is finished or after `limit` milliseconds. */
  drain(limit: number): Promise<void>
  /** Ends this service. The bus and the database are the caller's to close. */
  stop(): Promise<void>
}

/**
 * Money and management: brings the database up to date, publishes the runtime, answers who a key is, books what the routers report,
 * serves the management API through its own listener and through the edges. Rejects when the database is away or newer.
 */
export async function createAccounting(deps: AccountingDeps): Promise<Accounting> {
  const { bus, db, env, clock, log, sealer, catalog, counters } = deps
  let draining = false
  const ready = (): boolean => !draining && bus.ready && db.connected

  await migrate(db, MIGRATIONS, log)
  await makePartitions(db, clock)

  const configuration = createConfiguration({ db, bus, sealer, catalog, file: deps.config, runtime: () => runtime, log })
  await configuration.load()
  const config = configuration.current

  const identities = createIdentities({
    db,
    bus,
    clock,
    config,
    deployments: () => runtime.deployments,
    masterKey: deps.masterKey,
  })
  const keys = createKeys({ db, identities, counters, config, env, clock, log })
  const budgets = createBudgets({ db, bus, config, clock })
  const users = createUsers({ db, bus, keys, counters: deps.counters, config, clock, log })
  const priceBook = createPriceBook({ db, catalog, clock })
  await priceBook.load()
  const runtime = await createRuntime({
    bus,
    db,
    clock,
    config: config(),
    env,
    sealer,
    catalog,
    prices: priceBook,
    open: identities.open,
    blocked: () => configuration.blocked,
    log,
  })
  const projection = createProjection({ counters, clock, log })
  const customerNames = createCustomerNames({ db, log })
  const spenders = createSpenders()
  const ledger = createLedger({
    db,
    price: createPricing(priceBook),
    log,
    async onBooked({ leases, spent, customers }) {
      spenders.note(spent)
      await projection.book(leases, spent)
      await customerNames.seen(customers)
    },
  })

  const routerStates = watchRouterStates({ bus, clock })
  const health = createModelHealth({ bus, clock })
  const router: RequestRouter = createRequestRouter({
    routes: allRoutes({
      configuration,
      routerStates,
      health,
      env,
      keys,
      budgets,
      users,
      db,
      config,
      bus,
      clock,
      sealer,
      runtime,
      book: priceBook,
      projection,
      ledger,
      catalog,
      counters,
      log,
      ready,
      database: () => answers(db),
      router: () => router,
    }),
    authenticate: async (header, path) =>
      unlessPublic(runtime.settings, path) ??
      authenticate(header, { identities, clock, keyHeaderName: runtime.settings.keyHeaderName }),
    authorize: requireAccess,
    onError: (error, method, path) => log.error({ err: error, method, path }, 'a management request failed'),
    bodyLimit: BODY_LIMIT,
    nobody: NOBODY,
  })

  const settings = (): BatchSettings => batchSettings(config())
  const files = createOwnFiles({ db, clock, settings })
  const batches = createOwnBatches({ db, clock, changed: () => lines.wake() })
  const lines = createLineRunner({ db, bus, codec: createCodec(), clock, log, identities, settings })

  const services = [
    serveIdentities(bus, identities),
    serveLimits({ bus, db, clock, config }),
    watchLimits({ bus, runtime, log }),
    watchConfiguration({ bus, clock, configuration, log }),
    routerStates,
    health,
    watchPrices({ bus, clock, book: priceBook, runtime, log }),
    serveTunnel(bus, router, { bodyLimit: BODY_LIMIT, log }),
    consumeUsage({ bus, ledger, log }),
    serveObjects({ bus, db }),
    serveOwnBatches({ bus, files, batches }),
  ]
  const databaseState = tellDatabaseState({ bus, db, clock })
  await rebuildAtStart({ counters, bus, db, clock, log })
  const rotation = keyRotationJob(keys, env)
  const http = createHttpClient()
  const jobs = startJobs({
    db,
    bus,
    counters,
    projection,
    spenders,
    env,
    post: (url, body) => postJson(http, url, body, POST_LIMIT),
    config,
    clock,
    log,
    others: [
      watchImports({ db, bus }),
      sweepBatches({ db, clock, files }),
      keepRuntime({ runtime, log }),
      listModels({ bus, clock, config, runtime, log }),
      settleObjects({ bus, db, clock, log, every: (config().general_settings.proxy_batch_polling_interval ?? 3_600) * 1_000 }),
      ...(rotation === null ? [] : [rotation]),
    ],
  })
  const door: Door | null = deps.listen == null ? null : await listen(router, deps.listen)

  return {
    port: door?.port ?? 0,
    ready,
    reconfigure: (next) => configuration.useFile(next),
    async drain(limit) {
      draining = true
      const finished = Promise.all([...services.map((service) => service.stop()), door?.drain(), lines.drain()])
      const timer = withLimit(clock, limit)
      await Promise.race([finished, timer.over])
      timer.cancel()
    },
    async stop() {
      draining = true
      await lines.stop()
      await Promise.all([databaseState.stop(), ...services.map((service) => service.stop()), door?.stop(), jobs.stop()])
      await Promise.all([projection.stop(), http.close()])
    },
  }
}

function withLimit(clock: Clock, limit: number): { over: Promise<void>; cancel(): void } {
  let cancel = (): void => undefined
  const over = new Promise<void>((resolve) => {
    const timer = clock.after(limit, resolve)
    cancel = () => timer.cancel()
  })
  return { over, cancel }
}

async function answers(db: Database): Promise<boolean> {
  try {
    await db.ping()
    return true
  } catch {
    return false
  }
}
