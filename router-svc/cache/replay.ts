import type { TokenUsage, UsageEvent } from '../../proto/usage.ts'
import type { Clock } from '../../shared/clock.ts'
import { GatewayError, toGatewayError } from '../../shared/errors.ts'
import type { Admission } from '../admission/admission.ts'
import { answerHeaders, costHeaders } from '../answer-headers.ts'
import type { Call } from '../call.ts'
import type { ChatRequest, Usage } from '../canonical/chat.ts'
import { tokensOf } from '../canonical/usage.ts'
import type { StreamEncoder } from '../dialects/dialect.ts'
import type { Observer } from '../observe.ts'
import type { Reply } from '../reply.ts'
import { type CallEnd, usageEvent } from '../report.ts'
import type { Spool } from '../spool.ts'
import type { CacheHit } from './cache.ts'
import { chunksOfAnswer } from './chunks-of-answer.ts'

export interface ReplayDeps {
  spool: Pick<Spool<UsageEvent>, 'append'>
  admission: Pick<Admission, 'settle'>
  observe: Observer
  clock: Clock
  routerId: string
}

/** Bytes of a stream replayed at once that are written together. */
const WRITE_BYTES = 16 * 1024

/**
 * Answers a call from the cache, as the stream or the whole answer it asked for: nothing is called, and nothing costs. Reported before its end is
 * sent. Never rejects for what the client does.
 */
export async function replayCached(deps: ReplayDeps, call: Call, reply: Reply, hit: CacheHit): Promise<void> {
  const { response } = hit.answer
  if (!call.stream) {
    const body = Buffer.from(call.dialect.encodeResponse(response, call.requestedModel, call.request))
    const type = call.dialect.contentType?.(response, call.request) ?? 'application/json'
    const headers = { 'content-type': type, ...headersOf(deps, call, hit) }
    await call.responses?.keep(body)
    report(deps, call, hit, () => reply.whole(200, headers, body), reply)
    return
  }
  const { responses } = call.request as ChatRequest
  const options = { model: call.requestedModel, includeUsage: call.includeUsage }
  const encoder = call.dialect.encodeStream(
    call.responses === null || responses === undefined ? options : { ...options, responses },
  )
  if (call.cancelled === null) {
    reply.start({ 'content-type': call.dialect.streamType, 'cache-control': 'no-cache', ...headersOf(deps, call, hit) })
    call.firstTokenAt = deps.clock.now()
  }
  let problem: GatewayError | null = null
  try {
    await write(deps, call, reply, encoder, hit)
  } catch (thrown) {
    // The stream is open by now: its client is told, or it would take what it has for the whole.
    problem = toGatewayError(thrown)
  }
  const last = problem === null ? encoder.end() : encoder.error(problem)
  if (problem === null) await call.responses?.keep(last)
  report(deps, call, hit, () => (problem === null ? reply.end(last) : reply.fail(problem, {}, last)), reply, problem)
}

async function write(
  deps: ReplayDeps,
  call: Call,
  reply: Reply,
  encoder: StreamEncoder<unknown>,
  { answer, pace }: CacheHit,
): Promise<void> {
  let text = ''
  for (const chunk of chunksOfAnswer(answer.response)) {
    if (call.cancelled !== null) return
    text += encoder.push(chunk)
    if (text === '' || (pace === 0 && text.length < WRITE_BYTES)) continue
    const more = reply.write(Buffer.from(text))
    text = ''
    if (!more) await writable(call)
    if (pace > 0) await pause(deps, call, pace)
  }
  if (text !== '' && call.cancelled === null) reply.write(Buffer.from(text))
}

function headersOf({ clock }: ReplayDeps, call: Call, { answer, similarity }: CacheHit): Record<string, string> {
  const headers = answerHeaders(call, null, null, clock.monotonic())
  costHeaders(headers, call, 0)
  headers['x-litellm-cache-hit'] = 'True'
  headers['age'] = String(Math.max(0, Math.floor((clock.now() - answer.at) / 1000)))
  if (similarity !== null) headers['x-litellm-semantic-similarity'] = similarity.toFixed(6)
  return headers
}

/** One event without an attempt: a call that cost nothing, with the tokens it saved. `send` ends the answer once the event is on disk. */
function report(
  deps: ReplayDeps,
  call: Call,
  hit: CacheHit,
  send: () => void,
  reply: Reply,
  problem: GatewayError | null = null,
): void {
  const event: UsageEvent = { ...usageEvent(call, endOf(call, problem), deps.routerId, deps.clock.now()), cacheHit: true }
  if (hit.key !== '') event.cacheKey = hit.key
  const saved = savedBy(hit)
  if (saved !== null) event.savedUsage = saved
  deps.admission.settle(call, 0, 0)
  deps.observe.call(call, event, 0)
  deps.spool.append(event, () => (call.cancelled === null ? send() : reply.drop()))
}

/** What the answer took whoever made it. Without what a provider says it cost: this call paid none of it. */
function savedBy({ answer }: CacheHit): TokenUsage | null {
  const { usage, billing } = answer.response
  if (typeof billing === 'object' && billing !== null) {
    const { reportedCost: _, ...tokens } = billing as TokenUsage
    return tokens
  }
  if (typeof usage !== 'object' || usage === null) return null
  const { reportedCost: _, ...tokens } = tokensOf(usage as Usage)
  return tokens
}

function endOf(call: Call, problem: GatewayError | null): CallEnd {
  if (call.cancelled !== null) {
    const error = new GatewayError(call.cancelled === 'deadline_exceeded' ? 'deadline_exceeded' : 'cancelled')
    return { outcome: 'cancelled', status: error.status, error }
  }
  if (problem !== null) return { outcome: 'partial', status: problem.status, error: problem }
  return { outcome: 'success', status: 200, error: null }
}

/** Until the client has caught up, or left. */
function writable(call: Call): Promise<void> {
  return new Promise((resolve) => {
    const go = (): void => {
      call.incoming.onWritable = null
      call.stop = null
      resolve()
    }
    if (call.cancelled !== null || call.incoming.closed) return go()
    call.incoming.onWritable = go
    call.stop = go
  })
}

function pause({ clock }: ReplayDeps, call: Call, delay: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = clock.after(delay, go)
    call.stop = go
    function go(): void {
      timer.cancel()
      call.stop = null
      resolve()
    }
    if (call.cancelled !== null) go()
  })
}
