import type { Metrics } from '../../shared/metrics.ts'
import type { Call } from '../call.ts'
import type { CachedAnswer } from './cache.ts'

/** Who counts what the cache did. */
export interface CacheCounts {
  hit(call: Call, answer: CachedAnswer): void
  miss(call: Call): void
  /** A store was away, slow or unreadable. */
  trouble(operation: string): void
}

export const noCacheCounts: CacheCounts = { hit() {}, miss() {}, trouble() {} }

/** Counts under LiteLLM's names (surface reference §9.4). */
export function createCacheCounts(metrics: Metrics): CacheCounts {
  return {
    hit(call, answer) {
      const labels = labelsOf(call, answer.deploymentId)
      metrics.cacheHits.with(labels).add()
      const usage = answer.response['usage'] as { total_tokens?: unknown } | undefined
      if (typeof usage?.total_tokens === 'number') metrics.cachedTokens.with(labels).add(usage.total_tokens)
    },
    miss(call) {
      metrics.cacheMisses.with(labelsOf(call, '')).add()
    },
    trouble(operation) {
      metrics.cacheTrouble.with({ operation }).add()
    },
  }
}

function labelsOf({ identity, options, modelGroup }: Call, deploymentId: string) {
  return {
    model: modelGroup,
    hashed_api_key: identity.keyHash,
    api_key_alias: identity.keyAlias ?? '',
    team: identity.teamId ?? '',
    team_alias: identity.teamAlias ?? '',
    end_user: options.endUser ?? '',
    user: identity.userId ?? '',
    model_id: deploymentId,
  }
}
