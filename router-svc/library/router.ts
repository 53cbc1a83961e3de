import process from 'node:process'
import type { RuntimeSnapshot } from '../../proto/deployment.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import { checkConfig } from '../../shared/config/config.ts'
import { inspect } from '../../shared/config/inspect.ts'
import { type Environment, formatPath, resolveReferences } from '../../shared/config/references.ts'
import { deploymentsOf, settingsOf } from '../../shared/config/runtime.ts'
import { GatewayError, toGatewayError } from '../../shared/errors.ts'
import type { Log } from '../../shared/log.ts'
import { type Calls, createCalls, type Open } from './calls.ts'
import { createDesk } from './desk.ts'
import { createDirect } from './direct.ts'
import { TurnpikeError } from './errors.ts'
import { createParts, type Parts } from './parts.ts'
import type { CallReport } from './report.ts'
import { createServing } from './serving.ts'

/** What every router of this library takes. */
export interface LibraryOptions {
  /** Where keys of providers are found; `process.env`, or what stands in for it. */
  env: Environment
  /** Told of every call when it is over. What it throws becomes a warning of the process. */
  onCall?: (report: CallReport) => void
  /** Default: nothing is logged. */
  log?: Log
}

/** LiteLLM's Router arguments: `model_list`, and whatever its `router_settings` hold (`routing_strategy`, `num_retries`, `fallbacks`, …). */
export interface RouterOptions extends LibraryOptions {
  model_list: ModelListEntry[]
  /** `drop_params`, `cost_discount_config`, … */
  litellm_settings?: Record<string, unknown>
  credential_list?: { credential_name: string; credential_values: Record<string, unknown> }[]
  routing_strategy?: string
  num_retries?: number
  /** Seconds of one attempt. */
  timeout?: number
  stream_timeout?: number
  fallbacks?: Record<string, unknown[]>[]
  context_window_fallbacks?: Record<string, unknown[]>[]
  content_policy_fallbacks?: Record<string, unknown[]>[]
  model_group_alias?: Record<string, unknown>
  allowed_fails?: number
  /** Seconds. */
  cooldown_time?: number
  retry_after?: number
  /** Answers are kept in memory and given again; `litellm_settings.cache_params` says for how long and of what. */
  cache_responses?: boolean
  [setting: string]: unknown
}

/** One deployment. Entries with one `model_name` are balanced. */
export interface ModelListEntry {
  model_name: string
  /** At least `model: 'provider/model'`; `os.environ/NAME` reads the environment. */
  litellm_params: { model: string; [param: string]: unknown }
  model_info?: Record<string, unknown>
}

/** The calls, and their end. */
export interface Client extends Calls {
  /** Calls that have not ended. */
  readonly running: number
  /** Ends what runs and closes the connections. A process also ends by itself once its calls have. */
  close(): Promise<void>
}

/** A router over a list of deployments. */
export interface RouterClient extends Client {
  /** Why deployments cannot serve, by model group: no key, no base URL. */
  problems(): { modelGroup: string; problem: string }[]
}

/** Milliseconds between the beats that keep a process while calls run: the longest a timer takes. */
const BEAT = 2 ** 31 - 1

/** Calls that name their provider: `completion({ model: 'anthropic/claude-…', … })`. */
export function createClient(options: LibraryOptions): Client {
  return createLibrary(options, (parts) => {
    const direct = createDirect(parts)
    return { prepare: direct.prepare, stop: async () => {} }
  })
}

/**
 * Calls by model group, with the strategies, retries, fallbacks, cooldowns and limits of the gateway. Throws TurnpikeError `bad_request` with every
 * problem of the options.
 */
export function createRouter(options: RouterOptions): RouterClient {
  let problems: RouterClient['problems'] = () => []
  const client = createLibrary(options, (parts) => {
    const serving = createServing(parts, snapshotOf(options, parts), { lasting: true })
    problems = serving.problems
    return { prepare: (asked) => ({ serving, asked }), stop: serving.stop }
  })
  return Object.assign(client, { problems })
}

/** What tells the two kinds of client apart. */
interface Source extends Pick<ReturnType<typeof createDirect>, 'prepare'> {
  stop(): Promise<void>
}

function createLibrary({ env, onCall, log }: LibraryOptions, makeSource: (parts: Parts) => Source): Client {
  let beat: NodeJS.Timeout | undefined
  const desk = createDesk({
    onCall,
    busy(some) {
      clearInterval(beat)
      if (some) beat = setInterval(() => {}, BEAT)
    },
    complain: (thrown) => process.emitWarning(thrown instanceof Error ? thrown : String(thrown)),
  })
  const parts = createParts({ env, booked: desk.booked, caused: desk.caused, log })
  const source = rethrown(() => makeSource(parts))
  const open: Open = async (asked) => {
    const prepared = rethrown(() => source.prepare(asked))
    return desk.open(prepared.serving, prepared.asked)
  }
  const client = {
    ...createCalls(open),
    async close() {
      await desk.close()
      await source.stop()
      await parts.http.close()
    },
  }
  return Object.defineProperty(client, 'running', { get: () => desk.running, enumerable: true }) as Client
}

/** The same, with errors as callers of this library get them. */
function rethrown<Value>(run: () => Value): Value {
  try {
    return run()
  } catch (thrown) {
    throw thrown instanceof TurnpikeError ? thrown : new TurnpikeError(toGatewayError(thrown))
  }
}

function snapshotOf(options: RouterOptions, { env, sealer, catalog, log }: Parts): RuntimeSnapshot {
  const { env: _env, onCall: _onCall, log: _log, model_list, credential_list, cache_responses, ...router_settings } = options
  const { litellm_settings: given, ...settings } = router_settings
  const litellm_settings = cache_responses === true ? { cache: true, cache_params: { type: 'local' }, ...given } : given
  const missing: string[] = []
  const tree = resolveReferences(
    { model_list, litellm_settings, credential_list, router_settings: settings },
    env,
    (path, name) => missing.push(`${formatPath(path)}: the environment variable ${name} is not set`),
  ) as Record<string, unknown>
  const found = inspect(tree, catalog)
  // Among settings a name that means nothing is a mistake; elsewhere it may be a provider's own.
  const mistakes = found.warnings.filter(({ path }) => path[0] === 'router_settings')
  const problems = [...missing, ...[...found.problems, ...mistakes].map(({ path, message }) => `${formatPath(path)}: ${message}`)]
  for (const { path, message } of [...found.warnings, ...found.notes]) log.warn({ path: formatPath(path) }, message)
  const checked = checkConfig(tree)
  if (!checked.ok) problems.push(...checked.problems.map(({ path, message }) => `${formatPath(path)}: ${message}`))
  if (!checked.ok || problems.length > 0) {
    const places = problems.map((problem) => problem.replaceAll('router_settings.', ''))
    throw new GatewayError('bad_request', `The options of the router are not valid: ${[...new Set(places)].join('; ')}.`)
  }
  const inForce = settingsOf(checked.config, sealer, env)
  if (inForce.cache != null && inForce.cache.type !== 'memory') {
    const text = 'litellm_settings.cache_params.type: the library caches in memory only (`local`); a gateway has the others'
    throw new GatewayError('bad_request', `The options of the router are not valid: ${text}.`)
  }
  const deployments = deploymentsOf(checked.config, env, sealer, { catalog })
  return { v: WIRE_VERSION, revision: 1, deployments, settings: inForce }
}
