import { resolve } from 'node:path'
import process from 'node:process'
import { parseArgs } from 'node:util'
import { systemClock } from '../shared/clock.ts'
import { entryOf } from '../shared/entry.ts'
import { type Lifecycle, stopOnSignals } from '../shared/lifecycle.ts'
import { StartError } from '../shared/start-error.ts'

const USAGE = `Usage: npm start -- [options]               the whole gateway in one process
       npm run cluster -- [options]         two edges, two routers, accounting, NATS, Redis, PostgreSQL
       npm run edge | router | accounting   one service of a cluster; settings from the environment
       npm run import -- --litellm URL      keys, teams, users, budgets and spend of a LiteLLM database (URL: postgres://…);
                                            says what it would do, and does it with --apply
       node deploy/setup.mjs check-config FILE
       node deploy/setup.mjs migrate [--config FILE] [--data DIR]

  --config FILE     config.yaml; without one, providers are taken from the environment (OPENAI_API_KEY, …)
  --model MODEL     serve this model too, as provider/model; may be repeated (start)
  --port PORT       4000 (cluster: the first edge's; the second takes the next)
  --host HOST       0.0.0.0
  --master-key KEY  else LITELLM_MASTER_KEY, else one is made and kept in the data folder
  --data DIR        .turnpike
  --routers N       2 (cluster)
  --apply           write what the import found (import)
  --skip-conflicts  leave out what is here with other content, instead of refusing all (import)`

const OPTIONS = {
  config: { type: 'string' },
  model: { type: 'string', multiple: true },
  port: { type: 'string' },
  host: { type: 'string' },
  'master-key': { type: 'string' },
  data: { type: 'string' },
  routers: { type: 'string' },
  litellm: { type: 'string' },
  apply: { type: 'boolean' },
  'skip-conflicts': { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const

/** Routers of a cluster: enough that one can be restarted while the other serves. */
const ROUTERS = 2

type Arguments = ReturnType<typeof parse>

const COMMANDS: Record<string, (args: Arguments) => Promise<void>> = {
  start,
  cluster,
  'check-config': checkConfig,
  migrate: migrateDatabase,
  import: importDatabase,
  edge: () => service('edge'),
  router: () => service('router'),
  accounting: () => service('accounting'),
}

async function main(): Promise<void> {
  const [name = 'start', ...rest] = process.argv.slice(2)
  const command = entryOf(COMMANDS, name)
  if (command === undefined) throw new StartError(`Unknown command "${name}".\n\n${USAGE}`)
  const args = parse(rest)
  if (args.values.help) console.log(USAGE)
  else await command(args)
}

function parse(args: string[]) {
  try {
    return parseArgs({ args, options: OPTIONS, allowPositionals: true })
  } catch (error) {
    throw new StartError(`${(error as Error).message}\n\n${USAGE}`)
  }
}

/** The options that the gateway's ways of running share; refuses what was written as an option of none. */
function common({ values, positionals }: Arguments) {
  if (positionals.length > 0) throw new StartError(`Unexpected argument "${positionals[0]}".\n\n${USAGE}`)
  return {
    configFile: values.config ?? null,
    host: values.host,
    port: portOf(values.port),
    masterKey: values['master-key'],
    dataDirectory: values.data,
    note: (text: string) => console.log(text),
  }
}

function portOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const port = Number(text)
  if (/^\d+$/.test(text) && port <= 65535) return port
  throw new StartError(`"${text}" is not a port: give a number from 0 (any free one) to 65535.`)
}

function countOf(text: string | undefined): number {
  if (text === undefined) return ROUTERS
  if (/^[1-9]\d?$/.test(text)) return Number(text)
  throw new StartError(`"${text}" is not a number of routers: give 1 to 99.`)
}

async function start(args: Arguments): Promise<void> {
  const from = performance.now()
  const options = common(args)
  // After the arguments, so that a typo is told at once: this loads the whole gateway.
  const { startEmbedded } = await import('./embedded.ts')
  const gateway = await startEmbedded({ ...options, models: args.values.model ?? [], env: process.env, quiet: true })
  endOnSignals(gateway.lifecycle, () => gateway.reload())
  const { loaded, settings } = gateway
  for (const text of [...loaded.warnings, ...settings.warnings]) console.log(`Warning: ${text}`)
  const { greeting } = await import('./greeting.ts')
  const seconds = ((performance.now() - from) / 1000).toFixed(2)
  console.log(
    greeting({ ...gateway, urls: [gateway.url], dataDirectory: resolve(settings.dataDirectory), env: process.env, seconds }),
  )
}

async function cluster(args: Arguments): Promise<void> {
  const from = performance.now()
  const { port = 4000, ...options } = common(args)
  if (args.values.model !== undefined) throw new StartError('A cluster reads its models from a file: use --config.')
  const { startCluster } = await import('./cluster.ts')
  const running = await startCluster({
    ...options,
    ports: port === 0 ? [0, 0] : [port, port + 1],
    routers: countOf(args.values.routers),
    env: process.env,
    write: (line) => process.stdout.write(`${line}\n`),
  })
  endOnSignals(running.lifecycle)
  const { greeting } = await import('./greeting.ts')
  const seconds = ((performance.now() - from) / 1000).toFixed(2)
  console.log(greeting({ ...running, urls: running.urls, dataDirectory: running.dataDirectory, env: process.env, seconds }))
}

/** Runs one service of a cluster in this process; it reads its own arguments and environment. */
async function service(role: 'edge' | 'router' | 'accounting'): Promise<void> {
  process.argv.splice(2, 1)
  const mains = {
    edge: () => import('../edge/main.ts'),
    router: () => import('../router-svc/main.ts'),
    accounting: () => import('../accounting-svc/main.ts'),
  }
  await mains[role]()
}

async function checkConfig({ positionals, values }: Arguments): Promise<void> {
  const file = positionals[0] ?? values.config
  if (file === undefined || positionals.length > 1) throw new StartError(`check-config takes one file.\n\n${USAGE}`)
  const { loadConfig } = await import('../shared/config/load.ts')
  const { tracingSettings } = await import('../shared/config/tracing.ts')
  const { config, env, warnings, notes } = loadConfig(file, process.env)
  tracingSettings(env, config)
  for (const text of warnings) console.log(`Warning: ${text}`)
  for (const text of notes) console.log(`Note: ${text}`)
  console.log(`${file} is valid: ${config.model_list.length} deployments.`)
}

async function migrateDatabase(args: Arguments): Promise<void> {
  const { configFile, dataDirectory, note } = common(args)
  const { migrateOnly } = await import('./migrate-only.ts')
  const applied = await migrateOnly({ configFile, dataDirectory, env: process.env, note })
  console.log(applied === 0 ? 'The database is up to date.' : `The database was brought up to date: ${applied} migrations.`)
}

async function importDatabase(args: Arguments): Promise<void> {
  const { configFile, dataDirectory, note } = common(args)
  const { litellm, apply = false, 'skip-conflicts': skipConflicts = false } = args.values
  if (litellm === undefined) throw new StartError(`import takes --litellm postgres://….\n\n${USAGE}`)
  const { runImport } = await import('./import.ts')
  const { formatReport } = await import('../accounting-svc/import/report.ts')
  const now = systemClock.now()
  const report = await runImport({ litellm, apply, skipConflicts, configFile, dataDirectory, env: process.env, now, note })
  console.log(formatReport(report))
  if (report.refused && apply) process.exitCode = 1
}

/** SIGHUP reads the configuration again, unless a terminal that closes sends it. */
function endOnSignals(lifecycle: Lifecycle, reload: (() => Promise<void>) | null = null): void {
  stopOnSignals(lifecycle, process, systemClock, () => {
    if (reload === null || process.stdout.isTTY) return false
    void reload()
    return true
  })
}

/** Failures an operator can mend are shown as they are; the rest with their stack. */
function fail(error: unknown): never {
  const known = error instanceof Error && (error.name === 'StartError' || error.name === 'ConfigError')
  console.error(known ? error.message : error)
  process.exit(1)
}

await main().catch(fail)
