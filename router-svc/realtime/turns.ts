import { type Attempt, NO_TOKENS, type TokenUsage, type UsageEvent } from '../../proto/usage.ts'
import type { Clock } from '../../shared/clock.ts'
import { costOf } from '../../shared/cost.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Admission } from '../admission/admission.ts'
import { mustEnter } from '../admission/admission.ts'
import { closeAttempt, openAttempt } from '../attempt-result.ts'
import type { Call } from '../call.ts'
import type { Observer } from '../observe.ts'
import { usageEvent } from '../report.ts'
import type { Resolution, Route, RouterRuntime } from '../runtime.ts'
import type { Spool } from '../spool.ts'

export interface TurnDeps {
  clock: Clock
  admission: Pick<Admission, 'admit' | 'enter' | 'leave' | 'settle'>
  observe: Pick<Observer, 'attempt' | 'call'>
  spool: Pick<Spool<UsageEvent>, 'append'>
  routerId: string
  /** A fresh call id. */
  newId(): string
}

/** One answer of a session as limits and the ledger see it: a call of its own, under the session's. */
export interface Turn {
  call: Call
  /** Unix milliseconds; null = no answer has begun. */
  begunAt: number | null
}

/** A turn that is not admitted yet. */
export function openTurn(session: Call, deps: Pick<TurnDeps, 'clock' | 'newId'>): Turn {
  const { message, options } = session
  const call: Call = {
    ...session,
    message: { ...message, callId: deps.newId(), take: 1 },
    options: { ...options, sessionId: options.sessionId ?? message.callId },
    startedAt: deps.clock.now(),
    startedMonotonic: deps.clock.monotonic(),
    attempts: [],
    ticket: null,
    inputTokens: null,
  }
  return { call, begunAt: null }
}

/** Asks limits and budgets of the caller. Throws or rejects with the refusal. */
export function admitTurn(turn: Turn, deps: TurnDeps, runtime: RouterRuntime, resolution: Resolution): void | Promise<void> {
  const ticket = deps.admission.admit(turn.call, runtime, resolution)
  if (!(ticket instanceof Promise)) {
    turn.call.ticket = ticket
    return
  }
  return ticket.then((admitted) => {
    turn.call.ticket = admitted
  })
}

/** The same of a further answer on a route: the caller's limits, then the deployment's. */
export function admitOn(
  turn: Turn,
  deps: TurnDeps,
  runtime: RouterRuntime,
  resolution: Resolution,
  route: Route,
): void | Promise<void> {
  const admitted = admitTurn(turn, deps, runtime, resolution)
  if (!mustEnter(turn.call, route)) return admitted
  return (async () => {
    await admitted
    const refused = await deps.admission.enter(turn.call, runtime, route)
    if (refused === null) return
    dropTurn(turn, deps, route)
    throw refused
  })()
}

/** Nothing came of it: what it holds is given back, and nothing is booked. */
export function dropTurn(turn: Turn, { admission }: TurnDeps, route: Route | null): void {
  if (route !== null && route.limits !== null) admission.leave(turn.call, route, undefined)
  admission.settle(turn.call, 0, 0)
}

/** Books what an answer used, at once, so that no more than the answer under way can be lost. `written`: it outlives this process. */
export function bookTurn(
  turn: Turn,
  deps: TurnDeps,
  route: Route,
  end: { usage: TokenUsage | null; outcome: 'success' | 'failure' | 'cancelled' | 'partial'; model: string | null },
  written: () => void,
): void {
  const { call } = turn
  const { clock, admission } = deps
  const record = openAttempt(route, 0, turn.begunAt ?? clock.now())
  record.firstTokenAt = turn.begunAt
  const failed = end.outcome === 'failure'
  const error = failed
    ? new GatewayError('provider_error', 'The provider ended an answer of the session as failed.')
    : end.outcome === 'cancelled'
      ? new GatewayError('cancelled')
      : null
  closeAttempt(record, deps, end.outcome, error, end.usage ?? undefined)
  if (end.model !== null && end.model !== route.model) record.reportedModel = end.model
  price(record, route)
  call.attempts.push(record)
  call.firstTokenAt = turn.begunAt
  const usage = end.usage ?? NO_TOKENS
  const event = usageEvent(call, { outcome: end.outcome, status: 200, error }, deps.routerId, clock.now())
  event.startedAt = record.startedAt
  if (route.limits !== null) admission.leave(call, route, record.usage)
  admission.settle(call, record.cost ?? 0, usage.input + usage.output - usage.cacheRead)
  deps.observe.attempt(call, record)
  deps.observe.call(call, event, record.cost ?? 0)
  deps.spool.append(event, written)
}

/**
 * Books what another model heard of the session. Its prices are its own: `heard` is its route, and no deployment stands in the record, whose prices
 * would be taken for it.
 */
export function bookTranscription(session: Call, deps: TurnDeps, heard: Route, usage: TokenUsage, written: () => void): void {
  const { call } = openTurn(session, deps)
  const record = openAttempt(heard, 0, deps.clock.now())
  record.deploymentId = ''
  closeAttempt(record, deps, 'success', null, usage)
  price(record, heard)
  call.attempts.push(record)
  const event = usageEvent(call, { outcome: 'success', status: 200, error: null }, deps.routerId, deps.clock.now())
  deps.observe.attempt(call, record)
  deps.observe.call(call, event, record.cost ?? 0)
  deps.spool.append(event, written)
}

function price(record: Attempt, { prices }: Route): void {
  if (record.usage === undefined || prices === null) return
  record.cost = costOf(record.usage, prices, { elapsed: record.endedAt - record.startedAt }).total
  record.rateVersion = prices.rateVersion
}
