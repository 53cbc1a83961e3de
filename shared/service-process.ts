import { parseArgs } from 'node:util'
import type { Role } from '../proto/subjects.ts'
import type { Bus } from './bus/bus.ts'
import { connectNatsBus } from './bus/nats.ts'
import { type Clock, systemClock } from './clock.ts'
import { type LoadedConfig, loadConfig } from './config/load.ts'
import { type ProcessSettings, processSettings } from './config/process.ts'
import { type HealthServer, startHealthServer } from './health-server.ts'
import { processId } from './ids.ts'
import { createLifecycle, type Lifecycle, type ProcessSignals, stopOnSignals } from './lifecycle.ts'
import { createLog, type Log } from './log.ts'
import { StartError } from './start-error.ts'

/** What a service of a cluster is given to build itself from. */
export interface ServiceContext {
  bus: Bus
  clock: Clock
  log: Log
  settings: ProcessSettings
  loaded: LoadedConfig
  lifecycle: Lifecycle
  /** Reads the configuration again. Throws ConfigError. */
  load(): LoadedConfig
  /** What SIGHUP does from now on instead of ending the process, unless it comes from the terminal the process was started in. */
  onHangup(run: () => void): void
}

/** A service that runs. */
export interface RunningService {
  ready(): boolean | Promise<boolean>
  /** Prometheus text in pieces. */
  metrics(): AsyncIterable<string>
  /** The port it serves, for whoever started it on any free one. */
  port: number | null
}

/** `process`, as far as a service needs it. */
export interface ServiceHost extends ProcessSignals {
  argv: string[]
  env: Record<string, string | undefined>
  stderr: { write(text: string): unknown }
  stdout?: { isTTY?: boolean }
  /** There when a parent started it with a channel: it is told the ports. */
  send?: ((message: ServiceStarted) => unknown) | undefined
}

/** What a service tells the process that started it, once it serves. */
export interface ServiceStarted {
  started: Role
  id: string
  port: number | null
  healthPort: number | null
}

/**
 * Runs one service of a cluster until a signal: configuration (`--config FILE` or CONFIG_FILE_PATH, then the environment), the NATS
 * bus, whatever `start` builds, the health server. A failure to start is printed and ends the process with code 1.
 */
export async function runService(
  role: Role,
  host: ServiceHost,
  start: (context: ServiceContext) => Promise<RunningService>,
): Promise<void> {
  const clock = systemClock
  let lifecycle: Lifecycle | null = null
  try {
    const { values } = parseArgs({ args: host.argv.slice(2), options: { config: { type: 'string' } } })
    const load = (): LoadedConfig => loadConfig(values.config ?? null, host.env)
    const loaded = load()
    const settings = processSettings(loaded.env, loaded.config)
    const id = processId(role)
    const log = createLog(settings.logLevel, id)
    for (const text of [...loaded.warnings, ...settings.warnings]) log.warn({}, text)
    if (settings.natsUrl === null) throw new StartError(`The ${role} of a cluster needs NATS: set NATS_URL.`)
    lifecycle = createLifecycle({ clock, log, drainLimit: settings.drainLimit })
    let hangup: (() => void) | null = null
    // A terminal that closes says so with the same signal.
    const onHangup = (run: () => void): void => {
      hangup = host.stdout?.isTTY === true ? null : run
    }
    stopOnSignals(lifecycle, host, clock, () => {
      hangup?.()
      return hangup !== null
    })

    const bus = await connectNatsBus({ ...natsAddress(settings.natsUrl), prefix: settings.natsPrefix, role, id, clock, log })
    lifecycle.add({ name: 'bus', stop: () => bus.close() })
    const service = await start({ bus, clock, log, settings, loaded, lifecycle, load, onHangup })
    const health = await startHealth(settings, lifecycle, service)
    log.info({ port: service.port, healthPort: health?.port ?? null }, `${role} started`)
    host.send?.({ started: role, id, port: service.port, healthPort: health?.port ?? null })
  } catch (error) {
    host.stderr.write(`${role}: ${explain(error)}\n`)
    // What did start is stopped: a half-started service must not stay in a queue group.
    lifecycle?.hurry()
    await lifecycle?.shutdown('it could not start')
    host.exit(1)
  }
}

async function startHealth(
  settings: ProcessSettings,
  lifecycle: Lifecycle,
  service: RunningService,
): Promise<HealthServer | null> {
  if (settings.health === null) return null
  const server = await startHealthServer({
    ...settings.health,
    ready: async () => !lifecycle.stopping && (await service.ready()),
    metrics: () => service.metrics(),
  })
  lifecycle.add({ name: 'health server', stop: () => server.stop() })
  return server
}

/** Servers without credentials, and the credentials: the NATS client does not read them from an address. */
export function natsAddress(urls: readonly string[]): { servers: string[]; user?: string; password?: string; token?: string } {
  const parsed = urls.map((url) => new URL(url.includes('://') ? url : `nats://${url}`))
  const servers = parsed.map((url) => `${url.protocol}//${url.host}`)
  const credential = parsed.find((url) => url.username !== '')
  if (credential === undefined) return { servers }
  const user = decodeURIComponent(credential.username)
  return credential.password === ''
    ? { servers, token: user }
    : { servers, user, password: decodeURIComponent(credential.password) }
}

/** Failures an operator can mend are a sentence; the rest keep their stack. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.name === 'StartError' || error.name === 'ConfigError' ? error.message : (error.stack ?? error.message)
}
