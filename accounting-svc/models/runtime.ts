import type { Deployment, RuntimeSettings, RuntimeSnapshot } from '../../proto/deployment.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import type { Bus, Service } from '../../shared/bus/bus.ts'
import type { Catalog } from '../../shared/catalog/catalog.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Config } from '../../shared/config/config.ts'
import { ownRows } from '../../shared/config/own-providers.ts'
import { deploymentsOf, settingsOf } from '../../shared/config/runtime.ts'
import type { Sealer } from '../../shared/config/secrets.ts'
import { servicesOf } from '../../shared/config/services.ts'
import type { Database } from '../../shared/db/db.ts'
import type { Log } from '../../shared/log.ts'
import { expansionsOf } from './expansions.ts'
import type { PriceBook } from './price-book.ts'
import { type LimitSettingsNow, limitSettingsNow } from './router-budgets.ts'

/** Key of the one value in the runtime bucket. */
const RUNTIME = 'runtime'

export interface Runtime {
  readonly deployments: readonly Deployment[]
  readonly settings: RuntimeSettings
  /** A deployment by id; undefined for one of another configuration. */
  deployment(id: string): Deployment | undefined
  /** Builds everything from a new configuration and publishes it; a configuration that cannot be built leaves the old one in place and rejects. */
  use(config: Config): Promise<void>
  /** The same for this process alone, when another one has published it. */
  follow(config: Config): Promise<void>
  /** Publishes again with the prices that hold now; `elsewhere`: another process has published them, and only this one's copy is old. */
  reprice(elsewhere?: boolean): Promise<void>
  /** Publishes these deployments beside the configured ones, until others take their place; hidden ones, of the self-test. */
  serveBeside(deployments: readonly Deployment[]): Promise<void>
  /** Publishes again with the models that providers themselves list, by deployment. */
  listed(lists: ReadonlyMap<string, readonly string[]>): Promise<void>
  /** Publishes again when customers or tags came to be limited, or no longer are. */
  recheckLimits(): Promise<void>
  /** Publishes again when the bucket has lost what was published: the bus came back without its files. Whether it had. */
  restore(): Promise<boolean>
}

/** What routers and edges serve by: compiled here, published in the runtime bucket, mirrored by them. */
export async function createRuntime(deps: {
  bus: Bus
  db: Database
  clock: Clock
  config: Config
  env: Record<string, string | undefined>
  sealer: Sealer
  catalog: Catalog
  prices: PriceBook
  /** No master key is set: every caller is an admin. */
  open: boolean
  /** Ids of deployments that take no calls, beside those the configuration blocks. */
  blocked?: () => ReadonlySet<string>
  log: Log
}): Promise<Runtime> {
  const { bus, env, sealer, catalog, prices, log } = deps
  const bucket = await bus.bucket(bus.subjects.runtimeBucket)
  let deployments: Deployment[] = []
  let settings: RuntimeSettings
  let byId = new Map<string, Deployment>()
  let { config } = deps
  let configured: Deployment[] = []
  let beside: readonly Deployment[] = []
  let turn: Promise<unknown> = Promise.resolve()
  let published = 0
  /** Models by the provider's own list, of deployments whose provider was asked. */
  let live: ReadonlyMap<string, readonly string[]> = new Map()

  async function publish(built: Pick<RuntimeSnapshot, 'deployments' | 'settings' | 'services' | 'providers'>): Promise<void> {
    const present = (await bucket.get(RUNTIME)) as RuntimeSnapshot | undefined
    const revision = Math.max(present?.revision ?? 0, published) + 1
    published = revision
    const snapshot: RuntimeSnapshot = {
      v: WIRE_VERSION,
      revision,
      services: servicesOf(config, env, sealer, catalog),
      providers: { ...ownRows(config.turnpike_settings.providers) },
      ...built,
      pricing: prices.pricing(),
      expansions: expansionsOf(built.deployments, (deployment) => live.get(deployment.id) ?? catalog.models(deployment.provider)),
    }
    await bucket.put(RUNTIME, snapshot)
    keep(built.deployments)
    settings = built.settings
    bus.announce('deployment', { revision })
    log.info({ revision, deployments: deployments.length }, 'runtime published')
  }

  function keep(built: Deployment[]): void {
    deployments = built
    byId = new Map(deployments.map((deployment) => [deployment.id, deployment]))
  }

  async function build(next: Config): Promise<{ own: Deployment[] } & Pick<RuntimeSnapshot, 'deployments' | 'settings'>> {
    const blocked = deps.blocked?.() ?? new Set()
    const own = deploymentsOf(next, env, sealer, { catalog }).map((deployment) =>
      blocked.has(deployment.id) ? { ...deployment, blocked: true } : deployment,
    )
    const built = prices.use(next, [...own, ...beside])
    const limits = await limitSettingsNow(deps, next, built)
    return { own, deployments: built, settings: { ...settingsOf(next, sealer, env), ...limits, open: deps.open } }
  }

  async function use(next: Config): Promise<void> {
    const { own, ...built } = await build(next)
    await publish({
      ...built,
      services: servicesOf(next, env, sealer, catalog),
      providers: { ...ownRows(next.turnpike_settings.providers) },
    })
    config = next
    configured = own
  }

  async function follow(next: Config): Promise<void> {
    const built = await build(next)
    keep(built.deployments)
    settings = built.settings
    config = next
    configured = built.own
  }

  /** Publishing is one at a time: the later of two would otherwise put back what the earlier read. */
  function inTurn(work: () => Promise<void>): Promise<void> {
    const done = turn.then(work)
    turn = done.catch(() => undefined)
    return done
  }

  await use(deps.config)
  return {
    get deployments() {
      return deployments
    },
    get settings() {
      return settings
    },
    deployment: (id) => byId.get(id),
    use: (next) => inTurn(() => use(next)),
    async restore() {
      let lost = false
      await inTurn(async () => {
        lost = (await bucket.get(RUNTIME)) === undefined
        if (lost) await use(config)
      })
      return lost
    },
    follow: (next) => inTurn(() => follow(next)),
    reprice: (elsewhere = false) =>
      inTurn(async () => {
        if (elsewhere) keep(prices.again())
        else await publish({ deployments: prices.again(), settings })
      }),
    serveBeside: (others) =>
      inTurn(async () => {
        beside = others
        await publish({ deployments: prices.use(config, [...configured, ...beside]), settings })
      }),
    listed: (lists) =>
      inTurn(async () => {
        live = lists
        await publish({ deployments, settings })
      }),
    recheckLimits: () =>
      inTurn(async () => {
        const now = await limitSettingsNow(deps, config, deployments)
        if (asked(now) !== asked(settings)) await publish({ deployments, settings: { ...settings, ...now } })
      }),
  }
}

function asked({ customerLimits, tagLimits }: Pick<LimitSettingsNow, 'customerLimits' | 'tagLimits'>): string {
  return `${customerLimits} ${tagLimits}`
}

/**
 * For those who write customers and tags: resolves when routers are told to ask about them, where the first came to be limited, so that what was
 * answered holds. Never rejects: the change is announced too, and `watchLimits` tries again.
 */
export async function limitsInForce(
  { runtime, log }: { runtime: Pick<Runtime, 'settings' | 'recheckLimits'>; log: Log },
  kind: 'customerLimits' | 'tagLimits',
): Promise<void> {
  if (runtime.settings[kind]) return
  await runtime.recheckLimits().catch((error: unknown) => {
    log.error({ err: error }, 'whether customers and tags are limited could not be read')
  })
}

/** Keeps `customerLimits` and `tagLimits` of the settings as customers, tags and budgets change. */
export function watchLimits(deps: { bus: Bus; runtime: Runtime; log: Log }): Service {
  return deps.bus.onChange('budget', () => {
    deps.runtime.recheckLimits().catch((error: unknown) => {
      deps.log.error({ err: error }, 'whether customers and tags are limited could not be read')
    })
  })
}
