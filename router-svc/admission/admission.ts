import type { RuntimeSettings } from '../../proto/deployment.ts'
import { type Limit, scopes } from '../../proto/limits.ts'
import type { TokenUsage } from '../../proto/usage.ts'
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
import type { ChatRequest } from '../canonical/chat.ts'
import { type Continuation, continueRequest } from '../failover/continuation.ts'
import { isUnlimited } from '../internal-call.ts'
import type { Resolution, Route, RouterRuntime } from '../runtime.ts'
import { createAttemptLeases } from './attempt-leases.ts'
import { type Estimate, estimate } from './estimate.ts'
import type { LimitSource } from './limit-source.ts'
import { type Refused, refusal, repeatableFor } from './refusal.ts'
import { applies, budgetOf, countsTokens, defaultModelLimit, isFreeOf, outputReserve, tokenCap } from './scopes-of-call.ts'
import { type Raise, Ticket } from './ticket.ts'

/**
 * Money and limits of a call, from its admission to its settlement. A call that nothing limits gets no ticket and costs no round trip.
 */
export interface Admission {
  /** Holds in every scope of the call or in none. Throws or rejects with the refusal, or with `counters_away`. */
  admit(call: Call, runtime: AdmissionRuntime, resolution: Resolution): Ticket | null | Promise<Ticket | null>
  /**
   * Before an attempt on `route`, where that has limits or the one before had (`mustEnter`): holds in its budgets and in those of its provider,
   * counts it in its minute, takes a slot. The refusal is returned, because another route may do; null = go on. `deployment_busy` = worth
   * waiting for.
   */
  enter(call: Call, runtime: AdmissionRuntime, route: Route): Promise<GatewayError | null>
  /** The attempt on `route` is over: its slot is free for the next, and its tokens are counted as they were. */
  leave(call: Call, route: Route, usage: TokenUsage | undefined): void
  /**
   * The call goes on to another group, whose models may be dearer: raises what it holds to the dearest of them. False = a budget has no room
   * for that.
   */
  rehold(call: Call, runtime: AdmissionRuntime, resolution: Resolution): boolean | Promise<boolean>
  /**
   * Another attempt follows ones that cost something, or `beside` one that still runs: holds for those too. False = a budget has no room for
   * that. Without it a call that is tried three times could cost three times what it holds. `routes`: where it may go; where all of them are
   * free, there is always room.
   */
  again(call: Call, runtime: AdmissionRuntime, routes: readonly Route[], beside?: boolean): boolean | Promise<boolean>
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
  /** A slot of a deployment of this group is free again; absent = nobody waits for one. */
  freed?(group: string): void
}

/** Whether `enter` must be asked before an attempt: the route has limits, or the call holds in budgets of another one. */
export function mustEnter(call: Call, route: Route): boolean {
  return route.limits !== null || call.ticket?.entered === true
}

/** Output tokens a stream reserves first; it reserves more as it grows, so that a large `max_tokens` does not hold a budget it never uses. */
const STREAM_STEPS = [1_024, 128, 16] as const
/**
 * How often, and after how many milliseconds, a further take asks again where a budget or the slots have no room: the take before it was not
 * accepted in time and is cancelled, but may still hold what this one needs.
 */
const RETAKE_TRIES = 5
const RETAKE_PAUSE = 200
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

  const attempts = createAttemptLeases({ counters, freed: deps.freed ?? (() => undefined), warn })

  function admit(call: Call, runtime: AdmissionRuntime, resolution: Resolution): Ticket | null | Promise<Ticket | null> {
    if (isUnlimited(call)) return null
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
      call.allowedRegion = found.customer?.region ?? null
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

  function sizeOf(call: Call, settings: RuntimeSettings, routes: readonly Route[]): Estimate {
    const modelOutput = routes[0]?.target.maxOutputTokens ?? null
    const { mode } = call.endpoint
    return estimate(call.request, mode, {
      output: outputReserve(call, settings),
      modelOutput,
      mediaTokens: mode === 'chat' || routes.some(countsTokens),
    })
  }

  function ticketFor(call: Call, settings: RuntimeSettings, resolution: Resolution, limits: Limit[]): Ticket {
    const size = sizeOf(call, settings, resolution.routes)
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
    const costOf = budgeted ? dearest(resolution.routes, size) : null
    return new Ticket({
      lease: leaseId(call.message.callId, call.message.take),
      limits,
      scopes: asked,
      tokens: size.inputTokens + size.outputTokens,
      output: size.outputTokens,
      bounded: size.bounded,
      // What is made in pieces of bytes tells nothing of its cost before its end.
      metered: budgeted && call.stream && size.units === null,
      costOf,
    })
  }

  /** A stream that does not fit is tried with less output reserved: it asks for more as it grows, and ends where there is none. */
  function tryAdmit(call: Call, runtime: AdmissionRuntime, ticket: Ticket): Ticket | null | Promise<Ticket | null> {
    const steps = ticket.metered ? STREAM_STEPS : WHOLE
    let tries = call.message.take > 1 ? RETAKE_TRIES : 0
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
      if ((answer.limit === 'budget' || answer.limit === 'parallel') && tries > 0) {
        tries -= 1
        return new Promise<void>((resolve) => void clock.after(RETAKE_PAUSE, resolve)).then(() => attempt(0))
      }
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
    const budgets = route.limits?.budgets ?? []
    const before = call.ticket
    const held = budgets.length === 0 && before?.entered !== true ? null : await holdFor(call, runtime, route, budgets, before)
    if (held !== null) return held
    return attempts.take(call, route, () => sizeOf(call, runtime.settings, [route]))
  }

  /** The call's own limits and the budgets of the route, under the call's lease: what it held so far is replaced in one step. */
  async function holdFor(
    call: Call,
    runtime: AdmissionRuntime,
    route: Route,
    budgets: readonly Limit[],
    before: Ticket | null,
  ): Promise<GatewayError | null> {
    const base = before?.base ?? []
    if (base.length === 0 && budgets.length === 0) {
      letGo(before as Ticket)
      return null
    }
    const resolution: Resolution = { group: call.modelGroup, routes: [route], served: [] }
    const ticket = ticketFor(call, runtime.settings, resolution, [...base, ...budgets])
    ticket.base = base
    // What failed attempts cost belongs to the budgets they were made under.
    ticket.past = before?.extraScopes ?? []
    ticket.keepBeside(before?.beside ?? 0)
    try {
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

  /** Nothing of the call's own limits it, and nothing of the route it goes to: what it held for another one is given back. */
  function letGo(ticket: Ticket): void {
    ticket.stopMeter()
    running.delete(ticket)
    giveBack(() => counters.release(ticket.request.lease))
  }

  function rehold(call: Call, runtime: AdmissionRuntime, resolution: Resolution): boolean | Promise<boolean> {
    const { ticket } = call
    if (ticket === null || !ticket.limits.some((limit) => budgetOf(limit, clock.now()) !== null)) return true
    if (resolution.routes.every(isFreeOf)) return true
    if (!ticket.budgeted) return admitAnew(call, runtime, resolution, ticket)
    const size = sizeOf(call, runtime.settings, resolution.routes)
    const raise = ticket.dearer(dearest(resolution.routes, size), size)
    return held(ticket, raise.hold, runtime.settings.countersAway, () => ticket.raise(raise))
  }

  function again(call: Call, runtime: AdmissionRuntime, routes: readonly Route[], beside = false): boolean | Promise<boolean> {
    const { ticket } = call
    if (ticket === null || !ticket.budgeted) return true
    // What is held covers all that was made so far, and what costs nothing needs no room beside it.
    if (routes.every(isFreeOf)) return true
    const raise = call.resume === null ? null : continued(call, runtime.settings, routes, ticket)
    const single = raise === null ? ticket.single : raise.costOf(raise.reserved)
    let more = beside ? single : 0
    for (const { cost } of call.attempts) more += cost ?? 0
    if (raise === null && more <= ticket.beside) return true
    return held(ticket, single + more, runtime.settings.countersAway, () => {
      if (raise !== null) ticket.raise(raise)
      ticket.keepBeside(more)
    })
  }

  /** What an answer that goes on elsewhere needs: its beginning is input now, and some words that say so. */
  function continued(call: Call, settings: RuntimeSettings, routes: readonly Route[], ticket: Ticket): Raise {
    const request = continueRequest(call.request as ChatRequest, (call.resume as Continuation).text, null)
    const size = sizeOf({ ...call, request }, settings, routes)
    return ticket.dearer(dearest(routes, size), size)
  }

  /** Whether every budget of the ticket has room for so much; `granted` runs when it has. */
  function held(
    ticket: Ticket,
    hold: number,
    whenAway: RuntimeSettings['countersAway'],
    granted: () => void,
  ): boolean | Promise<boolean> {
    const done = (fits: boolean): boolean => {
      if (fits) granted()
      return fits
    }
    if (hold <= ticket.request.hold) return done(true)
    const away = (err: unknown): boolean => {
      warn(err, 'a hold could not be raised for another attempt')
      return whenAway === 'allow'
    }
    const extended = counters.extend(ticket.request.lease, hold)
    return extended instanceof Promise ? extended.then(done, away) : done(extended)
  }

  /** A call that was free so far asked no budget; now it must. */
  async function admitAnew(call: Call, runtime: AdmissionRuntime, resolution: Resolution, before: Ticket): Promise<boolean> {
    const ticket = ticketFor(call, runtime.settings, resolution, [...before.base])
    try {
      const admitted = await tryAdmit(call, runtime, ticket)
      if (admitted === null) return true
      before.stopMeter()
      running.delete(before)
      call.ticket = admitted
      return true
    } catch (thrown) {
      if (thrown instanceof GatewayError) return false
      throw thrown
    }
  }

  function settle(call: Call, cost: number, tokens: number): void {
    attempts.leaveAll(call)
    const { ticket } = call
    if (ticket === null) return
    running.delete(ticket)
    ticket.stopMeter()
    // What is not settled here goes when the ledger has booked the call.
    giveBack(() => counters.settle(ticket.request.lease, { cost, tokens }))
  }

  function giveBack(work: () => void | Promise<void>): void {
    try {
      const working = work()
      if (working instanceof Promise) working.catch((err: unknown) => warn(err, 'a call could not be settled in the counters'))
    } catch (err) {
      warn(err, 'a call could not be settled in the counters')
    }
  }

  function renew(): void {
    const leases: RunningLease[] = attempts.running()
    for (const { request } of running) leases.push(request)
    if (leases.length === 0) return
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
    leave: attempts.leave,
    rehold,
    again,
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
function dearest(routes: readonly Route[], size: Estimate): (outputTokens: number) => number {
  const { inputTokensAtMost: inputTokens, units } = size
  const options = units === null ? undefined : { media: true, units }
  return (outputTokens) => {
    let most = 0
    for (const { prices } of routes) {
      if (prices !== null) most = Math.max(most, worstCost(prices, { inputTokens, outputTokens }, options))
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
