import { ERRORS } from '../proto/errors.ts'
import type { Metrics } from '../shared/metrics.ts'
import type { ObservedCall } from './inference.ts'

/**
 * Counts answered calls. What only the router knows comes from its answer headers. Address and user agent stay empty: they would make a label
 * set per client, and a person's address has no place in a metrics store.
 */
export function createObserver(metrics: Metrics): (observed: ObservedCall) => void {
  return ({ endpoint, identity, duration, end }) => {
    const headers = end.head?.headers
    const labels = {
      hashed_api_key: identity?.keyHash ?? '',
      api_key_alias: identity?.keyAlias ?? '',
      requested_model: headers?.['x-litellm-model-group'] ?? '',
      team: identity?.teamId ?? '',
      team_alias: identity?.teamAlias ?? '',
      user: identity?.userId ?? '',
      user_email: identity?.userEmail ?? '',
      model_id: headers?.['x-litellm-model-id'] ?? '',
      route: endpoint.path,
      status_code: String(end.status),
    }
    metrics.proxyRequests.with(labels).add()
    if (end.status >= 400 || end.error !== null) {
      const failure = {
        ...labels,
        exception_status: String(end.error?.status ?? end.status),
        exception_class: end.error === null ? '' : ERRORS[end.error.code].class,
      }
      metrics.proxyFailures.with(failure).add()
      return
    }
    metrics.requestLatency.with({ ...labels, model: labels.requested_model }).observe(duration / 1000)
  }
}
