import type { Attempt, TokenUsage } from '../proto/usage.ts'
import { GatewayError } from '../shared/errors.ts'
import type { OutgoingCall } from '../shared/http/client.ts'
import { exchange } from '../shared/http/exchange.ts'
import { usageAsked } from './admission/estimate-media.ts'
import {
  type AttemptDeps,
  type AttemptResult,
  type AttemptTimeouts,
  closeAttempt,
  type StreamOutput,
  unreadable,
} from './attempt-result.ts'
import { chunksOfAnswer } from './cache/chunks-of-answer.ts'
import type { Call } from './call.ts'
import { inProviderWords } from './providers/error-status.ts'
import type { Ask, Conversation, Headers, UpstreamAnswer, UpstreamRequest } from './providers/provider.ts'
import { answerOf } from './read-unary.ts'
import { chunkEncoder } from './readers.ts'
import type { Route } from './runtime.ts'
import type { AttemptTrace } from './trace.ts'
import { adapterOf, type Sent } from './upstream-request.ts'

/** One of many answers must fit in memory; bytes. */
const ANSWER_LIMIT = 256 * 1024 * 1024

export interface ConverseOptions {
  record: Attempt
  timeouts: AttemptTimeouts
  /** What was asked, for whoever encodes the answer; `upstream` is the last request that was sent. */
  sent: Sent
  conversation: Conversation<unknown>
  /** Goes on as one request does: the answer to it is the stream, or the answer. `left`: milliseconds. */
  last(upstream: UpstreamRequest, left: number): Promise<AttemptResult>
  output: StreamOutput
}

/**
 * One try of several requests: what the adapter yields is sent, what came is given back, until it has the answer or names the request that
 * will. Never rejects. Pauses are cut short, and requests under way aborted, when the call is stopped or its time is over.
 */
export async function converse(deps: AttemptDeps, call: Call, route: Route, options: ConverseOptions): Promise<AttemptResult> {
  const { record, timeouts, sent, conversation } = options
  const { clock } = deps
  const begun = clock.monotonic()
  const trace = deps.trace?.attempt(call, record) ?? null
  const running = new Set<OutgoingCall>()
  let end: (error: GatewayError) => void = () => undefined
  const ended = new Promise<never>((_, reject) => {
    end = reject
  })
  ended.catch(() => undefined)
  const timer = deps.wheel.set(timeouts.total, () =>
    end(new GatewayError('provider_timeout', `the attempt took longer than ${timeouts.total / 1000} s`)),
  )
  call.stop = () => end(new GatewayError('cancelled'))
  call.end = end
  let headers: Headers = {}
  let sentAny = false
  /** What is billed if it ends here. */
  let used: () => TokenUsage | null = () => null

  const answers = async ({ send, after = 0, refusals, used: usedBy }: Ask): Promise<UpstreamAnswer[]> => {
    const came: (UpstreamAnswer | null)[] = send.map(() => null)
    used = () => usedBy?.(came) ?? null
    if (after > 0) await Promise.race([ended, pause(deps, after)])
    sentAny = true
    const asked = send.map(async (upstream, at) => {
      const answer = await one(deps, route, upstream, running, trace)
      if (answer.status < 400 || refusals === true) came[at] = answer
      return answer
    })
    const given = await Promise.race([ended, Promise.all(asked)])
    for (const { status, headers: named, body } of given) {
      headers = named
      if (status >= 400 && refusals !== true) throw route.provider.decodeError(status, named, Buffer.from(body).toString('utf8'))
    }
    return given
  }

  let last: UpstreamRequest | null = null
  try {
    let step = conversation.next([])
    while (step.done !== true) step = conversation.next(await answers(step.value))
    if (isLast(step.value)) last = step.value.last
    else if (call.stream && adapterOf(call, route).decodeStream !== undefined) {
      return streamed(deps, call, route, options, headers, step.value)
    } else {
      const { body, usage, reportedModel, contentType = 'application/json' } = answerOf(call, sent, step.value)
      if (reportedModel !== null) record.reportedModel = reportedModel
      record.firstTokenAt = clock.now()
      return { kind: 'answered', record: closeAttempt(record, deps, 'success', null, usage), headers, body, contentType }
    }
  } catch (thrown) {
    const error = inProviderWords(unreadable(deps, route, thrown), route.provider.name)
    if (error.code === 'cancelled') {
      const begun = soFar(used) ?? (sentAny ? usageAsked(sent.request, call.endpoint.mode) : null) ?? undefined
      return { kind: 'cancelled', record: closeAttempt(record, deps, 'cancelled', null, begun) }
    }
    const billed = soFar(used) ?? undefined
    const closed = closeAttempt(record, deps, billed === undefined ? 'failure' : 'partial', error, billed)
    return { kind: 'failed', record: closed, error, committed: false, headers, tell: null, continuation: null }
  } finally {
    timer.cancel()
    for (const outgoing of running) outgoing.abort()
    call.stop = null
    call.end = null
    call.upstreamTime += clock.monotonic() - begun
  }
  return options.last(last, Math.max(1, timeouts.total - (clock.monotonic() - begun)))
}

/** Told by answers of a provider that failed: what cannot be read is not billed. */
function soFar(used: () => TokenUsage | null): TokenUsage | null {
  try {
    return used()
  } catch {
    return null
  }
}

/** An answer that came whole where a stream was asked for. */
function streamed(
  deps: AttemptDeps,
  call: Call,
  route: Route,
  { record, output }: ConverseOptions,
  headers: Headers,
  answer: unknown,
): AttemptResult {
  const encoder = chunkEncoder(call, route)
  let text = ''
  for (const chunk of chunksOfAnswer(answer as Record<string, unknown>)) text += encoder.push(chunk)
  record.firstTokenAt = deps.clock.now()
  call.firstTokenAt ??= record.firstTokenAt
  output.start(record, headers)
  output.write(Buffer.from(text))
  call.ticket?.progress(encoder.outputTokens)
  const usage = encoder.usage(null)
  return { kind: 'streamed', record: closeAttempt(record, deps, 'success', null, usage), last: encoder.end() }
}

function isLast(value: unknown): value is { last: UpstreamRequest } {
  return typeof value === 'object' && value !== null && 'last' in value
}

async function one(
  deps: AttemptDeps,
  route: Route,
  upstream: UpstreamRequest,
  running: Set<OutgoingCall>,
  trace: AttemptTrace | null,
): Promise<UpstreamAnswer> {
  const { method, url, headers: own, body, publicOnly } = await proved(route, upstream, deps.clock.now())
  const headers = trace === null ? own : trace.on(own)
  let outgoing: OutgoingCall | null = null
  const opened = (made: OutgoingCall): void => {
    outgoing = made
    running.add(made)
  }
  const request = { method, url, headers, ...(body === '' ? {} : { body }), ...(publicOnly === true ? { publicOnly } : {}) }
  try {
    // Silence and slowness are the attempt's to judge.
    return await exchange(deps.http, request, { limit: 0, maxBytes: ANSWER_LIMIT, opened })
  } finally {
    if (outgoing !== null) running.delete(outgoing)
  }
}

/** The request with what proves who calls, where its address is one of the provider's own: an answer may name any. */
export async function proved(route: Route, upstream: UpstreamRequest, now: number): Promise<UpstreamRequest> {
  if (!isOwn(route.target.base, upstream.url)) {
    if (!isPublic(upstream.url))
      throw new GatewayError(
        'provider_malformed',
        'The provider’s answer names an address that is not fetched: it is not public, or not https.',
      )
    return { ...upstream, publicOnly: true }
  }
  const request = { ...upstream, headers: { ...upstream.headers, ...route.headers } }
  if (route.credential === null) return request
  return { ...request, headers: { ...request.headers, ...(await route.credential.headers(request, now)) } }
}

/** What an answer may have the gateway fetch from elsewhere: nothing in the clear, and nothing by an address or a name inside a network. */
function isPublic(url: string): boolean {
  if (!URL.canParse(url)) return false
  const { protocol, hostname } = new URL(url)
  if (protocol !== 'https:' || hostname.startsWith('[') || /^[\d.]+$/.test(hostname)) return false
  return hostname.includes('.') && !/\.(?:local|localhost|internal|intranet|lan|home|corp)\.?$/.test(hostname)
}

/** The same origin, or another host of the same domain over TLS. */
function isOwn(base: string, url: string): boolean {
  if (!URL.canParse(base) || !URL.canParse(url)) return false
  const own = new URL(base)
  const asked = new URL(url)
  if (own.origin === asked.origin) return true
  return asked.protocol === 'https:' && own.protocol === 'https:' && domainOf(own.hostname) === domainOf(asked.hostname)
}

/** Where everybody may have a host: a neighbour is not the provider. */
const SHARED =
  /(?:^|\.)(?:azure\.(?:com|us|cn|net)|azurewebsites\.net|windows\.net|amazonaws\.com(?:\.cn)?|on\.aws|googleapis\.com|run\.app|googleusercontent\.com|workers\.dev|vercel\.app|hf\.space|huggingface\.cloud|modal\.run|fly\.dev|onrender\.com|ngrok(?:-free)?\.(?:app|io|dev))$/
/** Suffixes of two labels that belong to nobody: `co.uk`, `com.br`. */
const PUBLIC = /^(?:com?|net|org|gov|edu|ac|or|ne|go)\.[a-z]{2}$/

/** The labels that one owner has; of an address, a single name, and where hosts are let to everybody all of it. */
function domainOf(host: string): string {
  if (/^[\d.]+$|:/.test(host) || SHARED.test(host)) return host
  const labels = host.split('.')
  const domain = labels.slice(-2).join('.')
  return PUBLIC.test(domain) ? labels.slice(-3).join('.') : domain
}

function pause({ clock }: AttemptDeps, milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    clock.after(milliseconds, resolve)
  })
}
