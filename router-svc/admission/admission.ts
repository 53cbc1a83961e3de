import type { RuntimeSettings } from '../../proto/deployment.ts'
import { type Limit, scopes } from '../../proto/limits.ts'
import type { Bus } from '../../shared/bus/bus.ts'
import type { Clock } from '../../shared/clock.ts'
import { worstCost } from '../../shared/cost.ts'
import {
  type AdmitScope,
  type Admission as Answer,
  type Counters,
  leaseId,
  RENEW_INTERVAL,
  type RunningLease,
} from '../../shared/counters/counters.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Log } from '../../shared/log.ts'
import { nanoOf } from '../../shared/money.ts'
import type { Call } from '../call.ts'
import type { Resolution, Route, RouterRuntime } from '../runtime.ts'
import { estimate } from './estimate.ts'
import type { LimitSource } from './limit-source.ts'
import { type Refused, refusal, repeatableFor } from './refusal.ts'
import { applies, budgetOf, defaultModelLimit, isFreeOf, outputReserve, tokenCap } from './scopes-of-call.ts'
import { Ticket } from './ticket.ts'

/**
 * Money and limits of a call, from its admission to its settlement. A call that nothing limits gets no ticket and costs no round trip.
 */
export interface Admission {
  /** Holds in every scope of the call or in none. Throws or rejects with the refusal, or with `counters_away`. */
  admit(call: Call, runtime: AdmissionRuntime, resolution: Resolution): Ticket | null | Promise<Ticket | null>
  /**
   * Before an attempt on `route`, where providers or deployments have budgets: adds theirs to the call's. The refusal is returned, because
   * another route may do; null = go on.
   */
  enter(call: Call, runtime: AdmissionRuntime, route: Route): Promise<GatewayError | null>
  /** The call is over; nano-dollars and tokens of all its attempts. Never throws: what fails here the ledger's projection mends. */
  settle(call: Call, cost: number, tokens: number): void
  /** Calls running under a lease. */
  readonly running: number
  stop(): Promise<void>
}

/** What admission reads of the runtime. */
export type AdmissionRuntime = Pick<RouterRuntime, 'settings' | 'anyFree'>

export interface AdmissionDeps {
  bus: Pick<Bus, 'onChange'>
  counters: Counters
  limits: LimitSource
  clock: Clock
  log: Log
}

/** Output tokens a stream reserves first; it reserves more as it grows, so that a large `max_tokens` does not hold a budget it never uses. */
const STREAM_STEPS = [1_024, 128, 16] as const
/** Milliseconds between warnings about the same trouble. */
const WARN_INTERVAL = 10_000

export function createAdmission(deps: AdmissionDeps): Admission {
  const { counters, clock, log } = deps
  const running = new Set<Ticket>()
  let warnedAt = Number.NEGATIVE_INFINITY

  function warn(err: unknown, text: string): void {
    const now = clock.monotonic()
    if (now - warnedAt < WARN_INTERVAL) return
    warnedAt = now
    log.warn({ err }, text)
  }

  function admit(call: Call, runtime: AdmissionRuntime, resolution: Resolution): Ticket | null | Promise<Ticket | null> {
    const { options } = call
    const { settings } = runtime
    const customer = settings.customerLimits ? options.endUser : null
    const tags = settings.tagLimits ? options.tags : NONE
    if (customer === null && tags.length === 0) return admitTo(call, runtime, resolution, call.identity.limits)
    const named = deps.limits.find(customer, tags)
    const go = (found: Awaited<typeof named>) => {
      if (found.customer?.blocked === true) {
        throw new GatewayError('blocked_customer', `Authentication Error, the customer ${options.endUser} is blocked.`)
      }
      return admitTo(call, runtime, resolution, [...call.identity.limits, ...found.limits])
    }
    return named instanceof Promise ? named.then(go) : go(named)
  }

  function admitTo(
    call: Call,
    runtime: AdmissionRuntime,
    resolution: Resolution,
    all: readonly Limit[],
  ): Ticket | null | Promise<Ticket | null> {
    const limits = all.filter((limit) => applies(limit, call, resolution))
    const byDefault = defaultModelLimit(call, resolution, limits)
    if (byDefault !== null) limits.push(byDefault)
    const run = runLimit(call)
    if (run !== null) limits.push(run)
    if (limits.length === 0) return null
    return tryAdmit(call, runtime, ticketFor(call, runtime.settings, resolution, limits))
  }

  function ticketFor(call: Call, settings: RuntimeSettings, resolution: Resolution, limits: Limit[]): Ticket {
    const reserve = outputReserve(call, settings)
    const modelOutput = resolution.routes[0]?.target.maxOutputTokens ?? null
    const size = estimate(call.request, call.endpoint.mode, { output: reserve, modelOutput })
    // A token limit smaller than what an unlimited answer might use: the answer is limited, or hardly any call would fit.
    const cap = size.bounded ? null : tokenCap(limits)
    if (cap !== null) {
      call.request = { ...call.request, max_tokens: cap }
      size.outputTokens = cap
      size.bounded = true
    }
    call.inputTokens = size.inputTokens
    const free = resolution.routes.every(isFreeOf)
    const now = clock.now()
    const asked: AdmitScope[] = limits.map((limit) => ({
      scope: limit.scope,
      requests: limit.requests ?? null,
      tokens: limit.tokens ?? null,
      parallel: limit.parallel ?? null,
      budget: free ? null : budgetOf(limit, now),
      spent: limit.spent,
      revision: limit.revision,
    }))
    const budgeted = asked.some(({ budget }) => budget !== null)
    const costOf = budgeted ? dearest(resolution.routes, size.inputTokensAtMost) : null
    return new Ticket({
      lease: leaseId(call.message.callId, call.message.take),
      limits,
      scopes: asked,
      tokens: size.inputTokens + size.outputTokens,
      output: size.outputTokens,
      bounded: size.bounded,
      metered: budgeted && call.stream,
      costOf,
    })
  }

  /** A stream that does not fit is tried with less output reserved: it asks for more as it grows, and ends where there is none. */
  function tryAdmit(call: Call, runtime: AdmissionRuntime, ticket: Ticket): Ticket | null | Promise<Ticket | null> {
    const steps = ticket.metered ? STREAM_STEPS : WHOLE
    const attempt = (step: number): Ticket | null | Promise<Ticket | null> => {
      ticket.reserve(steps[step] as number)
      const answer = counters.admit(ticket.request)
      return answer instanceof Promise ? answer.then((known) => judge(known, step)) : judge(answer, step)
    }
    const judge = (answer: Answer, step: number): Ticket | null | Promise<Ticket | null> => {
      if (answer.granted) {
        ticket.states = answer.states
        running.add(ticket)
        if (ticket.metered)
          ticket.meter(
            (hold) => counters.extend(ticket.request.lease, hold),
            () => exhausted(call, ticket),
          )
        return ticket
      }
      const smaller = steps[step + 1]
      if (answer.limit === 'budget' && smaller !== undefined && smaller < ticket.reserved) return attempt(step + 1)
      const error = refused(call, ticket, answer)
      // The edge cannot tell a free model from another.
      if (answer.limit === 'budget' && runtime.anyFree) call.refusedFor = 0
      throw error
    }
    const away = (thrown: unknown): null => {
      if (!(thrown instanceof GatewayError) || thrown.code !== 'counters_away' || runtime.settings.countersAway === 'refuse')
        throw thrown
      warn(thrown, 'the counters are away: calls with limits pass unchecked, as configured')
      return null
    }
    try {
      const result = attempt(0)
      return result instanceof Promise ? result.catch(away) : result
    } catch (thrown) {
      return away(thrown)
    }
  }

  function refused(call: Call, ticket: Ticket, answer: Answer & { granted: false }): GatewayError {
    const why: Refused = {
      limit: ticket.limits[answer.index] as Limit,
      budget: ticket.request.scopes[answer.index]?.budget ?? null,
      type: answer.limit,
      state: answer.state,
      hold: ticket.request.hold,
      tokens: ticket.request.tokens,
    }
    const now = clock.now()
    call.refusedFor = repeatableFor(why, now)
    return refusal(why, call.identity.keyAlias, now)
  }

  /** A running stream reached what its budgets have: it ends, and the client is told which one. */
  function exhausted(call: Call, ticket: Ticket): void {
    const run = ticket.limits.find(({ kind }) => kind === 'run')
    call.end?.(
      run === undefined
        ? new GatewayError(
            'budget_exceeded',
            'Budget has been exceeded! A budget of this call was used up while it ran; the answer ends here.',
          )
        : new GatewayError('run_cap_reached', `The cap of run ${run.owner} was reached; the answer ends here.`),
    )
  }

  async function enter(call: Call, runtime: AdmissionRuntime, route: Route): Promise<GatewayError | null> {
    const more = runtime.settings.providerBudgets.filter(
      ({ kind, owner }) =>
        (kind === 'provider' && owner === route.provider.name) || (kind === 'deployment' && owner === route.deployment.id),
    )
    if (more.length === 0) return null
    const before = call.ticket
    const base = before?.base ?? []
    const resolution: Resolution = { group: call.modelGroup, routes: [route], served: [] }
    const ticket = ticketFor(call, runtime.settings, resolution, [...base, ...more])
    ticket.base = base
    try {
      // The same lease again: what the call held so far is replaced in one step.
      const admitted = await tryAdmit(call, runtime, ticket)
      if (admitted === null) return null
      if (before !== null) {
        before.stopMeter()
        running.delete(before)
      }
      call.ticket = admitted
      return null
    } catch (thrown) {
      if (thrown instanceof GatewayError && thrown.code !== 'counters_away') return thrown
      throw thrown
    }
  }

  function settle(call: Call, cost: number, tokens: number): void {
    const { ticket } = call
    if (ticket === null) return
    running.delete(ticket)
    ticket.stopMeter()
    try {
      const settling = counters.settle(ticket.request.lease, { cost, tokens })
      // What is not settled here goes when the ledger has booked the call.
      if (settling instanceof Promise) settling.catch((err: unknown) => warn(err, 'a call could not be settled in the counters'))
    } catch (err) {
      warn(err, 'a call could not be settled in the counters')
    }
  }

  function renew(): void {
    if (running.size === 0) return
    const leases: RunningLease[] = [...running].map(({ request }) => request)
    Promise.resolve()
      .then(() => counters.renew(leases))
      .catch((err: unknown) => warn(err, 'leases could not be renewed'))
  }

  const timer = clock.every(RENEW_INTERVAL, renew)
  // The counters lost their data and are being rebuilt: what runs must be in them before new calls are.
  const listening = deps.bus.onChange('budget', (payload) => {
    if ((payload as { rebuild?: unknown } | null)?.rebuild === true) renew()
  })
  const hearing = counters.onLoss(renew)

  return {
    admit,
    enter,
    settle,
    get running() {
      return running.size
    },
    async stop() {
      timer.cancel()
      hearing()
      await Promise.all([listening.stop(), deps.limits.stop()])
    },
  }
}

const NONE: readonly string[] = []
const WHOLE = [Number.POSITIVE_INFINITY] as const

/** The dearest way the call can go, by output tokens. */
function dearest(routes: readonly Route[], inputTokens: number): (outputTokens: number) => number {
  return (outputTokens) => {
    let most = 0
    for (const { prices } of routes) {
      if (prices !== null) most = Math.max(most, worstCost(prices, { inputTokens, outputTokens }))
    }
    return most
  }
}

/** `x-run-id` with `x-run-cap` in dollars: a budget that lives as long as the run. Throws GatewayError `bad_request`. */
function runLimit(call: Call): Limit | null {
  const { headers } = call.message
  const id = headers['x-run-id']
  if (id === undefined || id === '') return null
  const text = headers['x-run-cap'] ?? call.identity.metadata['run_cap']
  if (text === undefined || text === null) return null
  let cap: number
  try {
    cap = nanoOf(text as string | number)
  } catch {
    throw new GatewayError('bad_request', 'x-run-cap is not an amount of dollars, for example 0.50.', { param: 'x-run-cap' })
  }
  if (cap < 0) throw new GatewayError('bad_request', 'x-run-cap must not be negative.', { param: 'x-run-cap' })
  const owner = id.slice(0, 128)
  const scope = scopes.run(call.identity.keyHash, owner)
  return { scope, kind: 'run', owner, budget: cap, spent: 0, revision: 0, resetAt: null }
}
