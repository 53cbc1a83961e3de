import type { UsageEvent } from '../proto/usage.ts'
import type { Codec } from '../shared/bus/codec.ts'
import { costOf } from '../shared/cost.ts'
import type { GatewayError } from '../shared/errors.ts'
import type { HttpClient } from '../shared/http/client.ts'
import { type Admission, mustEnter } from './admission/admission.ts'
import { answerHeaders } from './answer-headers.ts'
import { attempt } from './attempt.ts'
import { attemptLocal, costsNothing, isLocal } from './attempt-local.ts'
import { type AttemptDeps, type AttemptResult, type AttemptTimeouts, openAttempt, type StreamOutput } from './attempt-result.ts'
import type { Call } from './call.ts'
import { promptText, type TokenCounter } from './count-tokens.ts'
import { hedged } from './hedge.ts'
import type { Observer } from './observe.ts'
import type { Reply } from './reply.ts'
import { booking, intent, unsettled } from './report.ts'
import type { Affinity } from './routing/affinity.ts'
import type { AttemptEnd } from './routing/deployment-state.ts'
import type { Selector } from './routing/select.ts'
import type { Route, RouterRuntime } from './runtime.ts'
import type { Spool } from './spool.ts'
import { requestFor } from './upstream-request.ts'

/** One attempt of a call on one route, from what it holds to what it cost. */
export interface TryDeps extends AttemptDeps {
  routerId: string
  codec: Codec
  spool: Pick<Spool<UsageEvent>, 'intend'>
  tokens: TokenCounter
  admission: Pick<Admission, 'enter' | 'leave' | 'rehold' | 'again'>
  selector: Selector
  affinity: Pick<Affinity, 'learn'>
  observe: Observer
  random(): number
}

export interface Tried {
  result: AttemptResult
  route: Route
}

/** Milliseconds the call still has: the bus's deadline, and the request's own limit. */
export function timeLeft(deps: Pick<TryDeps, 'clock'>, call: Call): number {
  const limit = Math.min(call.incoming.deadline, call.options.timeout ?? Number.POSITIVE_INFINITY)
  return limit - (deps.clock.monotonic() - call.startedMonotonic)
}

/** Admits the call to what the route limits, and notes that it will be called. The refusal is returned: another route may do. */
export function prepare(
  deps: TryDeps,
  call: Call,
  runtime: RouterRuntime,
  route: Route,
): GatewayError | null | Promise<GatewayError | null> {
  if (mustEnter(call, route)) {
    return deps.admission.enter(call, runtime, route).then((refused) => (refused === null ? note(deps, call, route) : refused))
  }
  return note(deps, call, route)
}

/**
 * A router that dies from here on leaves word of what it did to the next process with its spool. Requests over HTTP go on at once: their client
 * has the word written before the first byte leaves (`withWord`), in one write for all that leave in a turn.
 */
function note(deps: TryDeps, call: Call, route: Route): null | Promise<null> {
  if (costsNothing(call, route)) return null
  const open = openAttempt(route, call.attempts.length, deps.clock.now())
  if (!isLocal(call, route)) {
    deps.spool.intend(intent(call, open, deps.routerId))
    return null
  }
  let written = false
  let resume = (): void => {
    written = true
  }
  deps.spool.intend(intent(call, open, deps.routerId), () => resume())
  if (written) return null
  return new Promise((resolve) => {
    resume = () => resolve(null)
  })
}

/** A client whose requests leave only when what the spool was told is in its file. */
export function withWord(http: HttpClient, spool: Pick<Spool<UsageEvent>, 'writeNow'>): HttpClient {
  const leaving = (): void => spool.writeNow()
  return {
    send(request, sink) {
      request.leaving = leaving
      return http.send(request, sink)
    },
    close: () => http.close(),
  }
}

function outputOf(deps: TryDeps, call: Call, route: Route, reply: Reply): StreamOutput {
  return {
    start(record, headers, contentType = call.dialect.streamType) {
      // A continuation goes on in the stream that is open.
      if (call.resume !== null) return
      const head = {
        'content-type': contentType,
        'cache-control': 'no-cache',
        ...answerHeaders(call, route, headers, deps.clock.monotonic()),
      }
      reply.start(head, booking(deps.codec, call, record, deps.routerId))
    },
    write: (bytes) => reply.write(bytes),
  }
}

/** One attempt, counted and priced. */
export async function tryRoute(deps: TryDeps, call: Call, runtime: RouterRuntime, route: Route, reply: Reply): Promise<Tried> {
  const begun = deps.clock.monotonic()
  const result = await start(deps, call, runtime, route, outputOf(deps, call, route, reply))
  ended(deps, call, route, result, begun)
  const settling = settleAttempt(deps, call, route, result)
  if (settling !== null) await settling
  return { result, route }
}

/**
 * An attempt, and a second one elsewhere when it does not begin to answer within `after` milliseconds. Both count, in the order they began.
 * `another` picks where it goes; null = nowhere.
 */
export async function tryHedged(
  deps: TryDeps,
  call: Call,
  runtime: RouterRuntime,
  first: Route,
  reply: Reply,
  after: number,
  another: () => Route | null,
): Promise<Tried> {
  const outcome = await hedged(
    {
      clock: deps.clock,
      after,
      async second() {
        const route = another()
        if (route === null || !(await deps.admission.again(call, runtime, [route], true))) return null
        if (mustEnter(call, route) && (await deps.admission.enter(call, runtime, route)) !== null) return null
        const running = unsettled(call, openAttempt(first, call.attempts.length, deps.clock.now()))
        await note(deps, { ...call, attempts: [...call.attempts, running] }, route)
        return route
      },
      run: (branch) => run(deps, branch.call, runtime, branch.route, branch.output),
    },
    call,
    first,
    (branch) => outputOf(deps, branch.call, branch.route, reply),
  )
  for (const { result, route } of outcome.began) await settleAttempt(deps, call, route, result)
  return outcome
}

/** Books an attempt to its call. A promise only where its input must be counted first: off the path of answers that say. */
function settleAttempt(deps: TryDeps, call: Call, route: Route, { record }: AttemptResult): Promise<void> | null {
  call.attempts.push(record)
  const { usage } = record
  if (usage?.estimated === true && usage.input === 0) {
    return deps.tokens.count(promptText(requestFor(call, route))).then((input) => {
      usage.input = input
      price(deps, call, route, record)
    })
  }
  price(deps, call, route, record)
  return null
}

/** What the attempt cost, in nano-dollars, where it used something; and who is told of it. */
function price(deps: TryDeps, call: Call, route: Route, record: AttemptResult['record']): void {
  const { usage } = record
  if (usage !== undefined) {
    if (usage.serviceTier !== undefined) record.serviceTier = usage.serviceTier
    if (route.prices !== null) {
      call.cost = costOf(usage, route.prices, { elapsed: record.endedAt - record.startedAt })
      record.cost = call.cost.total
      record.rateVersion = route.prices.rateVersion
    }
  }
  if (record.outcome === 'success') deps.affinity.learn(call, route, usage)
  deps.observe.attempt(call, record)
}

/** One attempt as its deployment sees it: begun, run, ended. Never rejects. */
async function run(
  deps: TryDeps,
  call: Call,
  runtime: RouterRuntime,
  route: Route,
  output: StreamOutput,
): Promise<AttemptResult> {
  const begun = deps.clock.monotonic()
  const result = await start(deps, call, runtime, route, output)
  ended(deps, call, route, result, begun)
  return result
}

function start(deps: TryDeps, call: Call, runtime: RouterRuntime, route: Route, output: StreamOutput): Promise<AttemptResult> {
  const timeouts = timeoutsOf(deps, call, route, runtime)
  deps.selector.begin(route)
  if (isLocal(call, route)) return attemptLocal(deps, call, route, timeouts, output)
  const trying = attempt(deps, call, route, timeouts, output)
  if (call.endpoint.mode !== 'count_tokens') return trying
  return trying.then((result) =>
    result.kind === 'failed' && UNKNOWN.has(result.error.status)
      ? attemptLocal(deps, call, route, timeouts, output, true)
      : result,
  )
}

/** How servers that speak a protocol, but do not count in it, say so. */
const UNKNOWN: ReadonlySet<number> = new Set([404, 405, 501])

/** `begun`: monotonic milliseconds. */
function ended(deps: TryDeps, call: Call, route: Route, result: AttemptResult, begun: number): void {
  const { record } = result
  const error = result.kind === 'failed' ? result.error : null
  if (route.limits !== null) deps.admission.leave(call, route, record.usage)
  const end: AttemptEnd = {
    error: result.kind === 'cancelled' ? 'cancelled' : (error?.code ?? null),
    elapsed: deps.clock.monotonic() - begun,
    firstToken: record.firstTokenAt === null ? null : record.firstTokenAt - record.startedAt,
    inputTokens: record.usage?.input ?? 0,
    outputTokens: record.usage?.output ?? 0,
  }
  if (error?.retryAfter !== undefined) end.retryAfter = error.retryAfter
  deps.selector.end(route, call, end)
}

/** The request's own limit is for the whole call; those of the deployment and the settings are for each attempt. */
function timeoutsOf(deps: TryDeps, call: Call, route: Route, { settings }: RouterRuntime): AttemptTimeouts {
  const own = route.deployment.timeout ?? settings.timeout
  const total = call.options.timeout === null ? own : Math.max(1, timeLeft(deps, call))
  const first = call.stream
    ? (call.options.streamTimeout ?? route.deployment.streamTimeout ?? Math.min(total, settings.streamTimeout))
    : total
  return { total, firstByte: first, silence: settings.stallTimeout }
}
