import { ERRORS } from '../proto/errors.ts'
import type { Identity } from '../proto/identity.ts'
import type { Counter, Histogram, Metrics } from '../shared/metrics.ts'
import type { ObservedCall } from './inference.ts'

interface Handles {
  requests: Counter
  latency: Histogram
}

/**
 * Counts answered calls. What only the router knows comes from its answer headers. Address and user agent stay empty: they would make a label
 * set per client, and a person's address has no place in a metrics store.
 */
export function createObserver(metrics: Metrics): (observed: ObservedCall) => void {
  /** Successes per identity object, which lives as long as it is cached; making the labels takes ten times a look-up. */
  const held = new WeakMap<Identity, Map<string, Handles>>()

  function succeeded(observed: ObservedCall, identity: Identity): Handles {
    let ofIdentity = held.get(identity)
    if (ofIdentity === undefined) {
      ofIdentity = new Map()
      held.set(identity, ofIdentity)
    }
    const headers = observed.end.head?.headers
    const key = `${observed.endpoint.name} ${observed.end.status} ${headers?.['x-litellm-model-id']} ${headers?.['x-litellm-model-group']}`
    let handles = ofIdentity.get(key)
    if (handles === undefined) {
      const labels = labelsOf(observed)
      const latency = metrics.requestLatency.with({ ...labels, model: labels.requested_model })
      handles = { requests: metrics.proxyRequests.with(labels), latency }
      ofIdentity.set(key, handles)
    }
    return handles
  }

  return (observed) => {
    const { identity, duration, end } = observed
    if (identity !== null && end.error === null && end.status < 400) {
      const { requests, latency } = succeeded(observed, identity)
      requests.add()
      latency.observe(duration / 1000)
      return
    }
    const labels = labelsOf(observed)
    metrics.proxyRequests.with(labels).add()
    const status = String(end.error?.status ?? end.status)
    const name = end.error === null ? '' : ERRORS[end.error.code].class
    metrics.proxyFailures.with({ ...labels, exception_status: status, exception_class: name }).add()
  }
}

function labelsOf({ endpoint, identity, end }: ObservedCall) {
  const headers = end.head?.headers
  return {
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
}
