import type { Deployment, RuntimeSettings, RuntimeSnapshot } from '../../proto/deployment.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import type { Catalog } from '../../shared/catalog/catalog.ts'
import type { Config } from '../../shared/config/config.ts'
import { deploymentsOf, settingsOf } from '../../shared/config/runtime.ts'
import type { Sealer } from '../../shared/config/secrets.ts'
import type { Log } from '../../shared/log.ts'

/** Key of the one value in the runtime bucket. */
const RUNTIME = 'runtime'

export interface Runtime {
  readonly deployments: readonly Deployment[]
  readonly settings: RuntimeSettings
  /** A deployment by id; undefined for one of another configuration. */
  deployment(id: string): Deployment | undefined
  /** Builds everything from a new configuration and publishes it; a configuration that cannot be built leaves the old one in place and rejects. */
  use(config: Config): Promise<void>
}

/** What routers and edges serve by: compiled here, published in the runtime bucket, mirrored by them. */
export async function createRuntime(deps: {
  bus: Bus
  config: Config
  env: Record<string, string | undefined>
  sealer: Sealer
  catalog: Catalog
  /** No master key is set: every caller is an admin. */
  open: boolean
  log: Log
}): Promise<Runtime> {
  const { bus, env, sealer, catalog, log } = deps
  const bucket = await bus.bucket(bus.subjects.runtimeBucket)
  let deployments: Deployment[] = []
  let settings: RuntimeSettings
  let byId = new Map<string, Deployment>()

  async function use(config: Config): Promise<void> {
    const built = {
      deployments: deploymentsOf(config, env, sealer, { catalog }),
      settings: { ...settingsOf(config), open: deps.open },
    }
    const present = (await bucket.get(RUNTIME)) as RuntimeSnapshot | undefined
    const revision = (present?.revision ?? 0) + 1
    const snapshot: RuntimeSnapshot = { v: WIRE_VERSION, revision, ...built }
    await bucket.put(RUNTIME, snapshot)
    deployments = built.deployments
    settings = built.settings
    byId = new Map(deployments.map((deployment) => [deployment.id, deployment]))
    bus.announce('deployment', { revision })
    log.info({ revision, deployments: deployments.length }, 'runtime published')
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
    use,
  }
}
