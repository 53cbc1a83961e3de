import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Clock } from '../../../shared/clock.ts'
import type { Log } from '../../../shared/log.ts'
import type { Route } from '../../runtime.ts'
import { remember } from './lists.ts'
import type { ChoiceContext, Strategy } from './strategy.ts'

/** What a module of the operator's exports as its default. It answers at once, with one of the candidates it was given. */
export interface CustomStrategy {
  choose(candidates: readonly CustomCandidate[], context: CustomContext): CustomCandidate
}

/** A deployment as such a module sees it: no credential, and nothing it could change. */
export interface CustomCandidate {
  readonly id: string
  readonly modelGroup: string
  readonly provider: string
  readonly model: string
  readonly weight: number
  readonly rpm: number | null
  readonly tpm: number | null
  readonly tags: readonly string[]
  readonly region: string | null
  readonly info: Readonly<Record<string, unknown>>
  /** Nano-dollars per million tokens; null = not priced. */
  readonly inputPrice: number | null
  readonly outputPrice: number | null
  readonly inFlight: number
  /** Milliseconds per output token and to the first token; 0 = not measured. */
  readonly latency: number
  readonly firstToken: number
  /** In the running minute. */
  readonly requests: number
  readonly tokens: number
}

export type CustomContext = Pick<ChoiceContext, 'stream' | 'inputTokens' | 'random' | 'wallNow'>

export interface CustomDeps {
  clock: Clock
  log: Log
  /** Loads a module; another one in tests. */
  load?(url: string): Promise<unknown>
}

/** Faults of the module are logged at most so often. */
const LOG_INTERVAL = 10_000

/**
 * The operator's own strategy. While its module is being loaded, when that fails, and whenever it throws or answers with something else
 * than a candidate, `fallback` chooses.
 */
export function createCustom({ clock, log, load = (url) => import(url) }: CustomDeps): {
  /**
   * Loads the module of the settings in force, unless its file is the one loaded already, unchanged. Until a changed one is loaded, and when it cannot
   * be, the one before stays. Resolves when that is done; never rejects.
   */
  use(path: string | null): Promise<void>
  strategy(fallback: Strategy): Strategy
} {
  let current: string | null = null
  /** Of the file that was loaded last, or whose loading failed; null = none yet. */
  let version: string | null = null
  let module: CustomStrategy | null = null
  let turns = 0
  let loggedAt = Number.NEGATIVE_INFINITY

  const complain = (problem: string): void => {
    if (clock.monotonic() - loggedAt < LOG_INTERVAL) return
    loggedAt = clock.monotonic()
    log.error({ module: current, problem }, 'the custom strategy failed; simple-shuffle chooses instead')
  }
  const viewsOf = remember((candidates) => {
    const views = candidates.map((route) => viewOf(route, clock))
    return { views: Object.freeze(views), routes: new Map(views.map((view, index) => [view, candidates[index] as Route])) }
  })

  return {
    async use(path) {
      const turn = ++turns
      if (path !== current) {
        current = path
        version = null
        module = null
      }
      if (path === null) return
      const found = await versionOf(path)
      // Meanwhile other settings may have come into force.
      if (turn !== turns || found === version) return
      version = found
      try {
        const { href } = pathToFileURL(resolve(path))
        // Modules are kept by their address: with the version in it a changed file is another module.
        const loaded = (await load(found === '' ? href : `${href}?version=${found}`)) as { default?: Partial<CustomStrategy> }
        if (typeof loaded.default?.choose !== 'function') throw new Error('it has no default export with a function "choose"')
        if (current === path && version === found) module = loaded.default as CustomStrategy
      } catch (thrown) {
        const instead = current === path && module !== null ? 'the one loaded before' : 'simple-shuffle'
        log.error({ module: path, err: thrown }, `the custom strategy cannot be loaded; ${instead} chooses instead`)
      }
    },
    strategy: (fallback) => ({
      choose(candidates, context) {
        if (module === null) return fallback.choose(candidates, context)
        const { views, routes } = viewsOf(candidates)
        try {
          const { stream, inputTokens, random, wallNow } = context
          const route = routes.get(module.choose(views, { stream, inputTokens, random, wallNow }))
          if (route !== undefined) return route
          complain('it answered with something that is no candidate')
        } catch (thrown) {
          complain(thrown instanceof Error ? thrown.message : String(thrown))
        }
        return fallback.choose(candidates, context)
      },
    }),
  }
}

/** Another text when the file is another; '' = it cannot be seen, and loading it will say why. */
async function versionOf(path: string): Promise<string> {
  try {
    const { mtimeMs, size } = await stat(path)
    return `${mtimeMs}-${size}`
  } catch {
    return ''
  }
}

function viewOf({ deployment, model, prices, state }: Route, clock: Clock): CustomCandidate {
  return Object.freeze({
    id: deployment.id,
    modelGroup: deployment.modelGroup,
    provider: deployment.provider,
    model,
    weight: deployment.weight,
    rpm: deployment.rpm,
    tpm: deployment.tpm,
    tags: Object.freeze([...deployment.tags]),
    region: deployment.region ?? null,
    info: Object.freeze({ ...deployment.info }),
    inputPrice: prices?.input ?? null,
    outputPrice: prices?.output ?? null,
    get inFlight() {
      return state.inFlight
    },
    get latency() {
      return state.latency(clock.monotonic())
    },
    get firstToken() {
      return state.firstToken(clock.monotonic())
    },
    get requests() {
      return state.requests(clock.now())
    },
    get tokens() {
      return state.tokens(clock.now())
    },
  })
}
