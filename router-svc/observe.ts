import { ERRORS, type ErrorCode } from '../proto/errors.ts'
import type { Attempt, UsageEvent } from '../proto/usage.ts'
import type { GatewayError } from '../shared/errors.ts'
import type { Counter, Histogram, Metrics } from '../shared/metrics.ts'
import type { Call } from './call.ts'
import type { Mirror } from './routing/mirror.ts'
import type { Savings } from './routing/prompt-cache.ts'
import type { Route } from './runtime.ts'

/** Who is told what calls did; metrics and traces. Must not throw. */
export interface Observer {
  attempt(call: Call, record: Attempt): void
  /** `cost` in nano-dollars. */
  call(call: Call, event: UsageEvent, cost: number): void
  /** A deployment was taken out of rotation after `error`. */
  cooledDown(route: Route, error: ErrorCode): void
  /** How a deployment does now, when that has changed: 0 healthy, 1 failing in part, 2 out. */
  deploymentState(route: Route, level: 0 | 1 | 2): void
  /** A call went on to the model group `fallback` after `error`. */
  fallback(call: Call, fallback: string, error: GatewayError, succeeded: boolean): void
  /** What keeping conversations where their prompt is cached has brought since the start. */
  savings(savings: Savings): void
  /** Copies of calls for groups that are tried out, now and since the start. */
  mirroring(copies: Pick<Mirror, 'running' | 'dropped'>): void
  /** A stream died after text was sent, and was continued to its end or not. */
  failover(call: Call, outcome: 'complete' | 'broken'): void
}

export const noObserver: Observer = {
  attempt() {},
  call() {},
  cooledDown() {},
  deploymentState() {},
  fallback() {},
  savings() {},
  mirroring() {},
  failover() {},
}

/** What calls of one key to one deployment are counted in. */
interface Handles {
  deploymentRequests: Counter
  deploymentSuccesses: Counter
  deploymentTokenLatency: Histogram
  requests: Counter
  spend: Counter
  totalTokens: Counter
  inputTokens: Counter
  outputTokens: Counter
  apiLatency: Histogram
  timeToFirstToken: Histogram
  overhead: Histogram
}

/** Handles kept at once; with more keys than this the oldest are looked up again. */
const HANDLES_MAX = 4_000

/**
 * Counts what the router knows, under LiteLLM's names. The handles of a key and a deployment are looked up once: making eleven label sets
 * a call costs as much as choosing a deployment.
 */
export function createObserver(metrics: Metrics): Observer {
  const kept = new Map<string, Handles>()
  let droppedBefore = 0

  const handlesOf = (call: Call, record: Attempt): Handles => {
    const key = `${call.identity.keyHash} ${record.deploymentId} ${record.model} ${call.options.endUser ?? ''} ${call.requestedModel}`
    let handles = kept.get(key)
    if (handles === undefined) {
      if (kept.size >= HANDLES_MAX) kept.delete(kept.keys().next().value as string)
      handles = makeHandles(metrics, call, record)
      kept.set(key, handles)
    }
    return handles
  }

  return {
    attempt(call, record) {
      const handles = handlesOf(call, record)
      handles.deploymentRequests.add()
      if (record.outcome === 'success') {
        handles.deploymentSuccesses.add()
        const seconds = (record.endedAt - record.startedAt) / 1000
        const output = record.usage?.output ?? 0
        if (output > 0) handles.deploymentTokenLatency.observe(seconds / output)
      } else if (record.error !== undefined) {
        const failure = {
          exception_status: String(record.error.status ?? ERRORS[record.error.code].status),
          exception_class: ERRORS[record.error.code].class,
        }
        metrics.deploymentFailures.with({ ...labelsOf(call, record), ...failure }).add()
      }
    },
    call(call, event, cost) {
      const record = event.attempts[event.attempts.length - 1]
      if (record === undefined) return
      const handles = handlesOf(call, record)
      handles.requests.add()
      handles.spend.add(cost / 1e9)
      const { usage } = record
      if (usage !== undefined) {
        handles.totalTokens.add(usage.input + usage.output)
        handles.inputTokens.add(usage.input)
        handles.outputTokens.add(usage.output)
      }
      if (record.outcome !== 'success') return
      handles.apiLatency.observe((record.endedAt - record.startedAt) / 1000)
      if (call.stream && record.firstTokenAt !== null)
        handles.timeToFirstToken.observe((record.firstTokenAt - record.startedAt) / 1000)
      handles.overhead.observe(Math.max(0, event.endedAt - event.startedAt - call.upstreamTime) / 1000)
    },
    cooledDown(route, error) {
      metrics.deploymentCooldowns.with({ ...deploymentLabels(route), exception_status: String(ERRORS[error].status) }).add()
    },
    deploymentState(route, level) {
      metrics.deploymentState.with(deploymentLabels(route)).set(level)
    },
    fallback(call, fallback, error, succeeded) {
      const { identity } = call
      const counter = succeeded ? metrics.deploymentFallbacks : metrics.deploymentFailedFallbacks
      counter
        .with({
          requested_model: call.requestedModel,
          fallback_model: fallback,
          hashed_api_key: identity.keyHash,
          api_key_alias: identity.keyAlias ?? '',
          team: identity.teamId ?? '',
          team_alias: identity.teamAlias ?? '',
          exception_status: String(error.status),
          exception_class: ERRORS[error.code].class,
          model_id: call.attempts.at(-1)?.deploymentId ?? '',
        })
        .add()
    },
    savings({ calls, hits, cachedTokens, nanoDollars }) {
      metrics.promptCacheCalls.with({}).set(calls)
      metrics.promptCacheHits.with({}).set(hits)
      metrics.promptCacheTokens.with({}).set(cachedTokens)
      metrics.promptCacheSaved.with({}).set(nanoDollars / 1e9)
    },
    mirroring({ running, dropped }) {
      metrics.mirroredCalls.with({}).set(running)
      metrics.mirrorDropped.with({}).add(dropped - droppedBefore)
      droppedBefore = dropped
    },
    failover(call, outcome) {
      metrics.failovers.with({ requested_model: call.requestedModel, outcome }).add()
    },
  }
}

function makeHandles(metrics: Metrics, call: Call, record: Attempt): Handles {
  const labels = labelsOf(call, record)
  return {
    deploymentRequests: metrics.deploymentRequests.with(labels),
    deploymentSuccesses: metrics.deploymentSuccesses.with(labels),
    deploymentTokenLatency: metrics.deploymentTokenLatency.with(labels),
    requests: metrics.requests.with(labels),
    spend: metrics.spend.with(labels),
    totalTokens: metrics.totalTokens.with(labels),
    inputTokens: metrics.inputTokens.with(labels),
    outputTokens: metrics.outputTokens.with(labels),
    apiLatency: metrics.apiLatency.with(labels),
    timeToFirstToken: metrics.timeToFirstToken.with(labels),
    overhead: metrics.overhead.with(labels),
  }
}

function deploymentLabels({ deployment, model, apiBase, provider }: Route) {
  return { litellm_model_name: model, model_id: deployment.id, api_base: apiBase ?? '', api_provider: provider.name }
}

function labelsOf(call: Call, record: Attempt) {
  const { identity } = call
  return {
    end_user: call.options.endUser ?? '',
    hashed_api_key: identity.keyHash,
    api_key_alias: identity.keyAlias ?? '',
    team: identity.teamId ?? '',
    team_alias: identity.teamAlias ?? '',
    user: identity.userId ?? '',
    user_email: identity.userEmail ?? '',
    model: record.model,
    litellm_model_name: record.model,
    requested_model: call.requestedModel,
    model_group: call.modelGroup,
    model_id: record.deploymentId,
    api_base: record.apiBase ?? '',
    api_provider: record.provider,
  }
}
