import type { Attempt, TokenUsage } from '../../proto/usage.ts'
import { type AdmitRequest, type Admission as Answer, type Counters, leaseId } from '../../shared/counters/counters.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Call } from '../call.ts'
import type { Route } from '../runtime.ts'
import type { Estimate } from './estimate.ts'
import type { RateLimit } from './route-limits.ts'

/**
 * What attempts hold of their deployment: requests, tokens, a slot. Each attempt has leases of its own, so that a deployment counts every
 * request it was sent, also those of calls that ended elsewhere, and gives its slot back when the attempt is over, not the call.
 */
export interface AttemptLeases {
  /** Null = go on; else why not: `deployment_busy` where a slot was missing, `no_deployment` where a minute's requests or tokens are used up. */
  take(call: Call, route: Route, size: () => Estimate): GatewayError | null | Promise<GatewayError | null>
  /** The attempt on `route` is over. */
  leave(call: Call, route: Route, usage: TokenUsage | undefined): void
  /** The call is over: whatever attempts of it still hold. */
  leaveAll(call: Call): void
  /** What must be renewed. */
  running(): AdmitRequest[]
}

export interface AttemptLeasesDeps {
  counters: Counters
  /** A slot of the group is free. */
  freed(group: string): void
  /** Told of counters that could not be given something back; they expire by themselves. */
  warn(err: unknown, text: string): void
}

interface Held {
  route: Route
  group: string
  leases: { request: AdmitRequest; counts: RateLimit['counts'] }[]
  /** It has a slot of this router's own count. */
  here: boolean
}

/** Milliseconds after which LiteLLM tells clients to come back to a deployment whose minute is used up. */
const RATE_RETRY = 60_000
/** Milliseconds after which a slot may be free. */
const SLOT_RETRY = 1_000

export function createAttemptLeases({ counters, freed, warn }: AttemptLeasesDeps): AttemptLeases {
  /** By the call's message, which all views of a call share. */
  const calls = new Map<object, Held[]>()
  /** Calls at once by deployment, where this router counts them itself. */
  const here = new Map<string, number>()
  let sequence = 0

  function take(call: Call, route: Route, size: () => Estimate): GatewayError | null | Promise<GatewayError | null> {
    const { limits } = route
    if (limits === null || (limits.here === null && limits.rates.length === 0)) return null
    // Whoever comes back to a deployment has left it: two attempts of a call that run at once are on two.
    leave(call, route, lastOn(call.attempts, route))
    const { id } = route.deployment
    const inside = here.get(id) ?? 0
    if (limits.here !== null && inside >= limits.here) return busy(id, limits.here)
    const held: Held = { route, group: call.modelGroup, leases: [], here: limits.here !== null }
    if (held.here) here.set(id, inside + 1)
    const list = calls.get(call.message)
    if (list === undefined) calls.set(call.message, [held])
    else list.push(held)
    return limits.rates.length === 0 ? null : admitAll(call, held, limits.rates, size())
  }

  /** One after the other: nearly every deployment has one at most. */
  async function admitAll(call: Call, held: Held, rates: readonly RateLimit[], size: Estimate): Promise<GatewayError | null> {
    for (const { limit, counts } of rates) {
      const request: AdmitRequest = {
        lease: `${leaseId(call.message.callId, call.message.take)}@${sequence++}`,
        scopes: [
          {
            scope: limit.scope,
            requests: limit.requests ?? null,
            tokens: limit.tokens ?? null,
            parallel: limit.parallel ?? null,
            budget: null,
            spent: 0,
            revision: 0,
          },
        ],
        tokens:
          counts === 'input' ? size.inputTokens : counts === 'output' ? size.outputTokens : size.inputTokens + size.outputTokens,
        hold: 0,
      }
      let answer: Answer
      try {
        answer = await counters.admit(request)
      } catch (thrown) {
        undo(call, held)
        throw thrown
      }
      // Settled meanwhile: the client left while we asked.
      if (!calls.get(call.message)?.includes(held)) {
        if (answer.granted) giveBack(() => counters.release(request.lease))
        return null
      }
      if (answer.granted) held.leases.push({ request, counts })
      else {
        undo(call, held)
        return answer.limit === 'parallel' ? busy(limit.owner, limit.parallel ?? 0) : overRate()
      }
    }
    return null
  }

  /** The attempt will not be made: its request does not count either. */
  function undo(call: Call, held: Held): void {
    forget(call, held)
    for (const { request } of held.leases) giveBack(() => counters.release(request.lease))
    if (held.here) free(held)
  }

  function end(held: Held, usage: TokenUsage | undefined): void {
    for (const { request, counts } of held.leases) {
      giveBack(() => counters.settle(request.lease, { cost: 0, tokens: tokensOf(usage, counts) }))
    }
    if (held.here) free(held)
    freed(held.group)
  }

  function free({ route }: Held): void {
    const { id } = route.deployment
    const left = (here.get(id) ?? 1) - 1
    if (left <= 0) here.delete(id)
    else here.set(id, left)
  }

  function forget(call: Call, held: Held): void {
    const list = calls.get(call.message) ?? []
    const rest = list.filter((other) => other !== held)
    if (rest.length === 0) calls.delete(call.message)
    else calls.set(call.message, rest)
  }

  function leave(call: Call, route: Route, usage: TokenUsage | undefined): void {
    if (calls.size === 0) return
    const held = calls.get(call.message)?.find((one) => one.route === route)
    if (held === undefined) return
    forget(call, held)
    end(held, usage)
  }

  function giveBack(work: () => void | Promise<void>): void {
    try {
      const working = work()
      if (working instanceof Promise) working.catch((err: unknown) => warn(err, 'a slot could not be given back'))
    } catch (err) {
      warn(err, 'a slot could not be given back')
    }
  }

  return {
    take,
    leave,
    leaveAll(call) {
      if (calls.size === 0) return
      const list = calls.get(call.message)
      if (list === undefined) return
      calls.delete(call.message)
      for (const held of list) end(held, lastOn(call.attempts, held.route))
    },
    running() {
      return [...calls.values()].flatMap((list) => list.flatMap(({ leases }) => leases.map(({ request }) => request)))
    },
  }
}

function lastOn(attempts: readonly Attempt[], route: Route): TokenUsage | undefined {
  return attempts.findLast(({ deploymentId }) => deploymentId === route.deployment.id)?.usage
}

/** What an attempt used; tokens from a provider's cache do not count against limits (surface reference §3.5). */
function tokensOf(usage: TokenUsage | undefined, counts: RateLimit['counts']): number {
  if (usage === undefined) return 0
  const input = usage.input - usage.cacheRead
  return counts === 'input' ? input : counts === 'output' ? usage.output : input + usage.output
}

function busy(id: string, limit: number): GatewayError {
  return new GatewayError('deployment_busy', `Deployment ${id} is at its limit of ${limit} calls at once.`, {
    retryAfter: SLOT_RETRY,
  })
}

/** LiteLLM's words (surface reference §5.3), by which its clients know it. */
function overRate(): GatewayError {
  return new GatewayError('no_deployment', 'Deployment over user-defined ratelimit.', {
    type: 'rate_limit_error',
    retryAfter: RATE_RETRY,
  })
}
