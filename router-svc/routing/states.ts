import type { Deployment } from '../../proto/deployment.ts'
import {
  DEFAULT_ROUTING,
  type DeploymentHealth,
  type DeploymentLoad,
  type DeploymentReport,
  type RoutingSettings,
} from '../../proto/routing.ts'
import type { Clock } from '../../shared/clock.ts'
import { type Columns, createColumnStore } from './columns.ts'
import type { AttemptEnd, DeploymentState } from './deployment-state.ts'
import { mayEject } from './ejection.ts'
import { type Shared, State } from './state.ts'

/** One state per deployment id, whatever runtime is in force. */
export interface States {
  /** Made when first asked for. */
  of(deploymentId: string): DeploymentState
  /** The deployments and settings in force. States of deployments that no runtime had for ABSENT_LIMIT are dropped. */
  use(deployments: readonly Deployment[], routing: RoutingSettings): void
  /** Rises whenever a deployment left the rotation, or came back before its time: lists made before are out of date. */
  readonly version: number
  readonly columns: Columns
  /** An attempt begins. */
  begin(state: DeploymentState): void
  /** It ended; `failed` = in a way that tells of the deployment. */
  end(state: DeploymentState, end: AttemptEnd, failed: boolean, stream: boolean): void
  /** Takes it out of rotation for so many milliseconds; every router is told at once. */
  coolDown(state: DeploymentState, duration: number): void
  /** The same for an outlier. False = its group has as many ejected as may be. */
  eject(state: DeploymentState, duration: number): boolean
  /**
   * A background check's result, `age` milliseconds old. One that is older than what is known is not taken. With a policy of allowed
   * failures, a failed check is one of them.
   */
  health(id: string, health: { healthy: boolean; error?: string }, age: number): void
  view(): DeploymentReport[]
  /** What news.ts tells and hears. */
  readonly news: StateNews
}

/** The side of the states that other routers see. */
export interface StateNews {
  /** Whether what changes is collected for others. */
  share(others: boolean): void
  /** Told at once: out for so many milliseconds; 0 = back. Null = nobody listens. */
  onRotation: ((kind: 'cooldowns' | 'ejected', id: string, duration: number) => void) | null
  /** What changed since it was last asked; with `refresh`, all that has calls running, too. */
  loads(refresh: boolean): Map<string, DeploymentLoad>
  /** Results of checks made here since it was last asked. */
  health(): Map<string, DeploymentHealth>
  /** Milliseconds that are left of cooldowns and ejections, for a router that has just come. */
  rotation(): { cooldowns: Record<string, number>; ejected: Record<string, number> }
  /** What another router says. Deployments that this one does not know are skipped. */
  cooledDown(id: string, duration: number): void
  ejected(id: string, duration: number): void
  load(routerId: string, id: string, load: DeploymentLoad): void
  checked(id: string, health: DeploymentHealth): void
  /** Once a second: forgets what is too old, and what routers said that are not among the living. */
  sweep(alive: (routerId: string) => boolean): void
}

/** A deployment may be away for a moment while an operator edits; its state is not lost by that. */
const ABSENT_LIMIT = 10 * 60_000

export function createStates({ clock }: { clock: Clock }): States {
  const kept = new Map<string, State>()
  const store = createColumnStore()
  const shared: Shared = { store, settings: DEFAULT_ROUTING, version: 0, sharing: false, changed: new Set() }

  const of = (id: string): State => {
    let state = kept.get(id)
    if (state === undefined) {
      state = new State(id, shared)
      kept.set(id, state)
    }
    return state
  }

  const mayEjectState = (state: State, now: number): boolean => {
    let ejected = 0
    for (const other of state.group) if (other !== state && other.ejected(now)) ejected += 1
    return mayEject(state.group.length, ejected, shared.settings.ejection)
  }

  const news: StateNews = {
    share(others) {
      if (shared.sharing === others) return
      shared.sharing = others
      if (others) for (const state of kept.values()) shared.changed.add(state)
      else {
        for (const state of shared.changed) state.forgetNews()
        shared.changed.clear()
      }
    },
    onRotation: null,
    loads(refresh) {
      if (refresh) for (const state of kept.values()) if (state.ownInFlight > 0) shared.changed.add(state)
      const loads = new Map<string, DeploymentLoad>()
      for (const state of shared.changed) loads.set(state.id, state.takeLoad())
      shared.changed.clear()
      return loads
    },
    health() {
      const found = new Map<string, DeploymentHealth>()
      const now = clock.monotonic()
      for (const state of kept.values()) {
        const health = state.healthNews ? state.health(now) : null
        state.healthNews = false
        if (health !== null) found.set(state.id, health)
      }
      return found
    },
    rotation() {
      const now = clock.monotonic()
      const cooldowns: Record<string, number> = {}
      const ejected: Record<string, number> = {}
      for (const { id, cooldownUntil, ejectedUntil } of kept.values()) {
        if (cooldownUntil > now) cooldowns[id] = Math.ceil(cooldownUntil - now)
        if (ejectedUntil > now) ejected[id] = Math.ceil(ejectedUntil - now)
      }
      return { cooldowns, ejected }
    },
    cooledDown(id, duration) {
      const state = kept.get(id)
      if (state === undefined) return
      if (duration > 0) state.coolDown(clock.monotonic() + duration)
      else if (state.cooldownUntil > 0) state.restore()
    },
    ejected(id, duration) {
      const state = kept.get(id)
      const now = clock.monotonic()
      // Two routers may each eject another one at the same time; together they may not eject more than one router alone.
      if (state !== undefined && (state.ejected(now) || mayEjectState(state, now))) state.eject(now + duration, now)
    },
    load: (routerId, id, load) => kept.get(id)?.hear(routerId, load, clock.monotonic(), clock.now()),
    checked: (id, health) => void kept.get(id)?.check(health, clock.monotonic() - health.age, false),
    sweep(alive) {
      const now = clock.monotonic()
      const wallNow = clock.now()
      for (const state of kept.values()) {
        state.sweep(now, wallNow, alive)
        if (state.absentSince === null || now - state.absentSince < ABSENT_LIMIT || state.ownInFlight > 0) continue
        kept.delete(state.id)
        state.drop()
      }
    },
  }

  return {
    of,
    use(deployments, routing) {
      shared.settings = routing
      shared.version += 1
      const now = clock.monotonic()
      for (const state of kept.values()) state.absentSince ??= now
      const groups = new Map<string, State[]>()
      for (const { id, modelGroup } of deployments) {
        const state = of(id)
        state.absentSince = null
        const group = groups.get(modelGroup)
        if (group === undefined) groups.set(modelGroup, [state])
        else group.push(state)
      }
      for (const group of groups.values()) for (const state of group) state.group = group
    },
    get version() {
      return shared.version
    },
    columns: store.columns,
    begin(state) {
      ;(state as State).begin(clock.monotonic(), clock.now())
    },
    end(given, end, failed, stream) {
      const state = given as State
      const now = clock.monotonic()
      state.end(end, failed, stream, now, clock.now())
      if (end.error !== null || !state.probing(now)) return
      state.restore()
      news.onRotation?.('cooldowns', state.id, 0)
    },
    coolDown(given, duration) {
      const state = given as State
      state.coolDown(clock.monotonic() + duration)
      news.onRotation?.('cooldowns', state.id, duration)
    },
    eject(given, duration) {
      const state = given as State
      const now = clock.monotonic()
      if (!mayEjectState(state, now)) return false
      state.eject(now + duration, now)
      news.onRotation?.('ejected', state.id, duration)
      return true
    },
    health(id, health, age) {
      const state = of(id)
      const now = clock.monotonic()
      const { allowedFailsPolicy, cooldownTime } = shared.settings
      const counts = !health.healthy && Object.keys(allowedFailsPolicy).length > 0
      if (state.check(health, now - age, true) && counts) state.countFail(now, cooldownTime)
    },
    view() {
      const now = clock.monotonic()
      const wallNow = clock.now()
      return [...kept.values()].filter(({ absentSince }) => absentSince === null).map((state) => state.view(now, wallNow))
    },
    news,
  }
}
