import type { CacheSettings } from '../../proto/routing.ts'
import type { Clock } from '../../shared/clock.ts'
import type { Call } from '../call.ts'
import type { CachedAnswer, CacheHit } from './cache.ts'
import type { CacheCounts } from './cache-counts.ts'
import type { CacheControls } from './controls.ts'
import type { CacheStore } from './stores.ts'

/** How a call ended that went past the cache. */
export type CallOutcome = { ok: true; deploymentId: string; cost: number } | { ok: false }

/** The cache's part in one call. */
export interface CacheTurn {
  /** The answer; null = the call runs, and is recorded where it may be kept. */
  readonly hit: CacheHit | null
  /** Exactly once, however the call ended; after a hit it does nothing. `cost` in nano-dollars. Returns at once. */
  finish(outcome: CallOutcome): void
}

/** What a turn works with. */
export interface TurnContext {
  call: Call
  settings: CacheSettings
  controls: CacheControls
  store: CacheStore
  clock: Clock
  counts: CacheCounts
}

/** Whether an answer is young enough for this call. */
export function isFresh(answer: CachedAnswer, controls: CacheControls, clock: Clock): boolean {
  return controls.maxAge === null || clock.now() - answer.at <= controls.maxAge
}

/** An answer as it is kept. */
export function answerOf(
  { call, clock }: TurnContext,
  response: Record<string, unknown>,
  { deploymentId, cost }: { deploymentId: string; cost: number },
): CachedAnswer {
  return { at: clock.now(), mode: call.endpoint.mode, response, modelGroup: call.modelGroup, deploymentId, cost }
}

export function hit(
  { call, settings, counts }: TurnContext,
  key: string,
  answer: CachedAnswer,
  similarity: number | null,
): CacheTurn {
  call.cacheKey = key
  counts.hit(call, answer)
  return { hit: { key, answer, similarity, pace: settings.replayPace }, finish() {} }
}
