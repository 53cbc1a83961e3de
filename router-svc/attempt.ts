import type { Attempt, TokenUsage } from '../proto/usage.ts'
import type { Timer } from '../shared/clock.ts'
import { GatewayError, toGatewayError } from '../shared/errors.ts'
import type { OutgoingCall, ResponseSink } from '../shared/http/client.ts'
import { usageAsked } from './admission/estimate-media.ts'
import { converse, proved } from './attempt-converse.ts'
import {
  type AttemptDeps,
  type AttemptResult,
  type AttemptTimeouts,
  breaksOff,
  closeAttempt,
  neverSent,
  openAttempt,
  type StreamOutput,
  unreadable,
} from './attempt-result.ts'
import type { Call } from './call.ts'
import { roughTokens } from './count-tokens.ts'
import type { Credential } from './credentials/credential.ts'
import { isStream } from './framing.ts'
import { inProviderWords } from './providers/error-status.ts'
import type { Headers, UpstreamRequest } from './providers/provider.ts'
import { countsNothing, estimate, type StreamReader } from './read-stream.ts'
import type { UnaryReader } from './read-unary.ts'
import { forwardedBytes, streamReader, unaryReader } from './readers.ts'
import type { Route } from './runtime.ts'
import type { AttemptTrace } from './trace.ts'
import { adapterOf, conversationOf, encodeUpstream, type Sent } from './upstream-request.ts'

/** A timer this late, in milliseconds, did not run because nothing did. */
const ASLEEP = 250
/** An error body is read up to here; the rest is of no use to anyone. */
const ERROR_BODY_LIMIT = 64 * 1024
const OPEN_BRACE = 0x7b
/** Where words of the model begin in the JSON of an answer. */
const WORDS = /"(?:content|text|thinking|reasoning_content|arguments)"\s*:\s*"/g
/** How an answer ends that had begun; an error object in its place is no answer. */
const BROKEN: ReadonlySet<GatewayError['code']> = new Set<GatewayError['code']>([
  'provider_connection',
  'provider_truncated',
  'provider_timeout',
  'provider_malformed',
])
/** An answer that is not a stream must fit in memory. */
const ANSWER_LIMIT = 256 * 1024 * 1024

/**
 * One try on one deployment: encode, credential, call, decode. Never rejects: every way it can end is a result.
 */
export function attempt(
  deps: AttemptDeps,
  call: Call,
  route: Route,
  timeouts: AttemptTimeouts,
  output: StreamOutput,
): Promise<AttemptResult> {
  const record = openAttempt(route, call.attempts.length, deps.clock.now())
  if (route.problem !== null) {
    const error = new GatewayError(
      'provider_authentication',
      `litellm.AuthenticationError: deployment ${route.deployment.id}: ${route.problem}.`,
    )
    return Promise.resolve(neverSent(record, deps, error))
  }
  return new Promise((resolve) => {
    try {
      const several = conversationOf(call, route, deps.clock.now())
      if (several !== null) {
        const { sent, conversation } = several
        const last = async (upstream: UpstreamRequest, left: number): Promise<AttemptResult> => {
          const request = await proved(route, upstream, deps.clock.now())
          const limits = { ...timeouts, total: left, firstByte: Math.min(left, timeouts.firstByte) }
          return new Promise((done) => {
            new Try(deps, call, route, record, limits, output, done).send({ ...sent, upstream: request })
          })
        }
        resolve(converse(deps, call, route, { record, timeouts, sent, conversation, last, output }))
        return
      }
      const sent = encodeUpstream(call, route)
      const trying = new Try(deps, call, route, record, timeouts, output, resolve)
      if (route.credential === null) trying.send(sent)
      else trying.prove(route.credential, sent)
    } catch (thrown) {
      const error = toGatewayError(thrown)
      resolve(neverSent(record, deps, error))
    }
  })
}

/**
 * States: waiting (request sent) → refused (status ≥ 400: collecting the error body) | unary (collecting) | streaming → settled.
 */
class Try implements ResponseSink {
  readonly #deps: AttemptDeps
  readonly #call: Call
  readonly #route: Route
  readonly #record: Attempt
  readonly #timeouts: AttemptTimeouts
  readonly #output: StreamOutput
  readonly #resolve: (result: AttemptResult) => void
  readonly #begun: number
  readonly #trace: AttemptTrace | null
  #sent: Sent | null = null
  #http: OutgoingCall | null = null
  #timer: Timer | null = null
  #headers: Headers = {}
  #status = 0
  #parts: Uint8Array[] = []
  #collected = 0
  #stream: StreamReader | null = null
  #unary: UnaryReader | null = null
  #committed = false
  #settled = false
  #answering = false
  #paused = false
  /** When the limits are looked at next, monotonic. */
  #due = Number.POSITIVE_INFINITY
  /** When the provider was last heard of, monotonic. */
  #heard: number

  constructor(
    deps: AttemptDeps,
    call: Call,
    route: Route,
    record: Attempt,
    timeouts: AttemptTimeouts,
    output: StreamOutput,
    resolve: (result: AttemptResult) => void,
  ) {
    this.#deps = deps
    this.#call = call
    this.#route = route
    this.#record = record
    this.#timeouts = timeouts
    this.#output = output
    this.#resolve = resolve
    this.#begun = deps.clock.monotonic()
    this.#trace = deps.trace?.attempt(call, record) ?? null
    this.#heard = this.#begun
  }

  /** Sends once the credential's headers are there. Nothing is sent for a call that was stopped meanwhile. */
  prove(credential: Credential, sent: Sent): void {
    this.#listen()
    Promise.resolve()
      .then(() => credential.headers(sent.upstream, this.#deps.clock.now()))
      .then(
        (headers) => {
          if (!this.#settled)
            this.send({ ...sent, upstream: { ...sent.upstream, headers: { ...sent.upstream.headers, ...headers } } })
        },
        (thrown: unknown) => this.#fail(toGatewayError(thrown)),
      )
  }

  send(sent: Sent): void {
    this.#sent = sent
    const { upstream } = sent
    this.#listen()
    this.#watch()
    // No time was left for it.
    if (this.#settled) return
    const writable = (): void => {
      // Silence that we asked for is not the provider's.
      this.#heard = this.#deps.clock.monotonic()
      this.#paused = false
      this.#http?.resume()
    }
    this.#call.incoming.onWritable = writable
    this.#http = this.#deps.http.send(
      {
        method: upstream.method,
        url: upstream.url,
        headers: this.#trace === null ? upstream.headers : this.#trace.on(upstream.headers),
        body: upstream.body,
        headersTimeout: 0,
        bodyTimeout: 0,
        ...(upstream.publicOnly === true ? { publicOnly: true as const } : {}),
      },
      this,
    )
  }

  head(status: number, headers: Headers): void {
    this.#heard = this.#deps.clock.monotonic()
    this.#answering = true
    this.#status = status
    this.#headers = headers
    if (status >= 400) return
    try {
      const forwarded = forwardedBytes(this.#call, this.#route, this.#sent as Sent, headers, this.#deps.clock.now())
      if (forwarded !== null) this.#stream = forwarded
      else if (!this.#call.stream) this.#unary = unaryReader(this.#call, this.#route, this.#sent as Sent, this.#deps.clock.now())
      else if (isStream(adapterOf(this.#call, this.#route).framing ?? 'sse', headers['content-type'] ?? '')) {
        this.#stream = streamReader(this.#call, this.#route, this.#sent as Sent, this.#deps.clock.now())
      }
      // Anything else in answer to a stream request is collected and read at its end.
    } catch (thrown) {
      this.#fail(unreadable(this.#deps, this.#route, thrown))
    }
  }

  data(bytes: Uint8Array): void {
    if (this.#settled) return
    this.#heard = this.#deps.clock.monotonic()
    if (this.#stream === null) {
      this.#collect(bytes)
      return
    }
    try {
      this.#forward(this.#stream.push(bytes))
      if (this.#stream.done) this.#succeedStream()
    } catch (thrown) {
      this.#fail(unreadable(this.#deps, this.#route, thrown))
    }
  }

  end(): void {
    if (this.#settled) return
    try {
      if (this.#stream !== null) {
        this.#forward(this.#stream.finish())
        this.#succeedStream()
      } else if (this.#unary !== null) this.#succeedUnary(this.#unary)
      else this.#fail(this.#readRefusal())
    } catch (thrown) {
      this.#fail(unreadable(this.#deps, this.#route, thrown))
    }
  }

  failed(error: GatewayError): void {
    this.#fail(error)
  }

  /** Hears of it when the call is stopped, or ended with an error of ours. */
  #listen(): void {
    const stop = (): void => this.#cancel()
    const end = (error: GatewayError): void => this.#fail(error)
    this.#call.stop = stop
    this.#call.end = end
  }

  /**
   * One deadline for three limits, set anew only when it falls due: undici's own two timers would be made anew for every call, because
   * they differ.
   */
  #watch(): void {
    const now = this.#deps.clock.monotonic()
    const { total, firstByte, silence } = this.#timeouts
    const left = this.#begun + total - now
    // A stream has begun when its first token is there: heads and pings come early.
    const begins =
      this.#answering && (this.#stream === null || this.#committed) ? Number.POSITIVE_INFINITY : this.#begun + firstByte
    const silent = this.#answering ? this.#heard + silence : Number.POSITIVE_INFINITY
    // Whoever slept (a busy machine, SIGSTOP) reads what came meanwhile before calling anybody silent.
    const slept = now - this.#due > ASLEEP
    const quietLeft = this.#paused ? silence : Math.max(Math.min(begins, silent) - now, slept ? 1 : 0)
    if (left <= 0) this.#fail(timeout(`the attempt took longer than ${inSeconds(total)}`))
    // Looked at again within `silence` even while nothing has begun, or silence right after the first byte would count as a slow start.
    else if (quietLeft > 0) {
      const next = Math.min(left, quietLeft, silence)
      this.#due = now + next
      this.#timer = this.#deps.wheel.set(next, () => this.#watch())
    } else if (silent < begins)
      this.#fail(timeout(`the provider fell silent for ${inSeconds(silence)} in the middle of its answer`))
    else this.#fail(timeout(`the provider did not start to answer within ${inSeconds(firstByte)}`))
  }

  #collect(bytes: Uint8Array): void {
    this.#collected += bytes.length
    const limit = this.#unary === null ? ERROR_BODY_LIMIT : ANSWER_LIMIT
    if (this.#collected <= limit) this.#parts.push(bytes)
    else if (this.#unary !== null)
      this.#fail(new GatewayError('provider_malformed', `The answer is larger than ${ANSWER_LIMIT} bytes.`))
  }

  #forward(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    const stream = this.#stream as StreamReader
    if (stream.firstToken && this.#record.firstTokenAt === null) {
      this.#record.firstTokenAt = this.#deps.clock.now()
      this.#call.firstTokenAt ??= this.#record.firstTokenAt
    }
    if (!this.#committed) {
      this.#committed = true
      this.#call.upstreamTime += this.#deps.clock.monotonic() - this.#begun
      this.#output.start(this.#record, this.#headers, stream.contentType)
    }
    if (this.#trace !== null) this.#trace.sees(bytes)
    const more = this.#output.write(bytes)
    this.#call.ticket?.progress(stream.outputTokens)
    if (more || this.#settled) return
    this.#paused = true
    this.#http?.pause()
  }

  #succeedStream(): void {
    const stream = this.#stream as StreamReader
    if (!this.#committed) throw new GatewayError('provider_malformed', 'The provider sent an empty stream.')
    if (stream.reportedModel !== null) this.#record.reportedModel = stream.reportedModel
    this.#settle({
      kind: 'streamed',
      record: closeAttempt(this.#record, this.#deps, 'success', null, stream.usage()),
      last: stream.last(),
    })
    // What follows its last word is nobody's, but a connection that nobody reads is never free again.
    if (this.#paused) this.#http?.resume()
  }

  #succeedUnary(reader: UnaryReader): void {
    const {
      body,
      usage,
      reportedModel,
      contentType = 'application/json',
    } = reader.read(join(this.#parts, this.#collected), this.#headers)
    if (reportedModel !== null) this.#record.reportedModel = reportedModel
    if (this.#trace !== null) this.#trace.sees(body)
    this.#record.firstTokenAt = this.#deps.clock.now()
    this.#call.upstreamTime += this.#deps.clock.monotonic() - this.#begun
    this.#settle({
      kind: 'answered',
      record: closeAttempt(this.#record, this.#deps, 'success', null, usage),
      headers: this.#headers,
      body,
      contentType,
    })
  }

  /** The body of a refusal, or of an answer to a stream request that is no stream. */
  #readRefusal(): GatewayError {
    const text = Buffer.from(join(this.#parts, Math.min(this.#collected, ERROR_BODY_LIMIT))).toString('utf8')
    return this.#route.provider.decodeError(this.#status, this.#headers, text)
  }

  #fail(failure: GatewayError): void {
    if (this.#settled) return
    const error = inProviderWords(failure, this.#route.provider.name)
    this.#http?.abort()
    if (!this.#committed) this.#call.upstreamTime += this.#deps.clock.monotonic() - this.#begun
    // What the provider said is billed, whether it came out or not.
    const stream = this.#committed || this.#stream?.firstToken === true ? this.#stream : null
    const usage = stream === null ? this.#saidInPart(error) : this.#usageOf(stream)
    const record = closeAttempt(this.#record, this.#deps, usage === undefined ? 'failure' : 'partial', error, usage)
    // A continuation that said something moved on the encoder it shares with the beginning: it is the client's, even if all of it is held back.
    const committed = this.#committed || (stream !== null && this.#call.resume !== null)
    this.#settle({
      kind: 'failed',
      record,
      error,
      committed,
      headers: this.#headers,
      tell: committed ? (told) => (stream as StreamReader).errorEvent(told) : null,
      continuation: committed && breaksOff(error) ? (stream as StreamReader).continuation() : null,
    })
  }

  /** A whole answer that began and could not be read to its end was made, and is billed for, by whoever sent it: what came of its words. */
  #saidInPart(error: GatewayError): TokenUsage | undefined {
    if (this.#unary === null || this.#parts[0]?.[0] !== OPEN_BRACE || !BROKEN.has(error.code)) return undefined
    const asked = this.#usageAsked()
    if (asked !== null) return asked
    const json = Buffer.from(join(this.#parts, this.#collected)).toString('utf8')
    let characters = 0
    for (const { 0: opening, index } of json.matchAll(WORDS)) {
      const from = index + opening.length
      characters += endOfText(json, from) - from
    }
    return estimate(roughTokens(characters))
  }

  /** What is billed of images and sounds by what was asked for: who makes them tells at the end, if at all. */
  #usageAsked(): TokenUsage | null {
    return this.#sent === null ? null : usageAsked(this.#sent.request, this.#call.endpoint.mode)
  }

  /** What a stream used so far; of one that has not told, what was asked for. */
  #usageOf(stream: StreamReader): TokenUsage {
    try {
      const usage = stream.usage()
      if (usage.estimated !== true || !countsNothing(usage)) return usage
      return this.#usageAsked() ?? usage
    } catch {
      // It tells in the whole of an answer that did not come whole.
      return this.#usageAsked() ?? estimate(0)
    }
  }

  #cancel(): void {
    if (this.#settled) return
    this.#http?.abort()
    // Once the provider has the request, what it does not get to say is estimated, the input by whoever books it.
    const usage =
      this.#stream === null
        ? this.#http?.sent === true
          ? (this.#usageAsked() ?? estimate(0))
          : undefined
        : this.#usageOf(this.#stream)
    this.#settle({
      kind: 'cancelled',
      record: closeAttempt(this.#record, this.#deps, 'cancelled', null, usage),
    })
  }

  #settle(result: AttemptResult): void {
    this.#settled = true
    this.#timer?.cancel()
    this.#call.stop = null
    this.#call.end = null
    this.#call.incoming.onWritable = null
    this.#resolve(result)
  }
}

function timeout(text: string): GatewayError {
  return new GatewayError('provider_timeout', `${text}.`)
}

/** Milliseconds as seconds for a text. */
function inSeconds(time: number): string {
  return `${Math.round(time) / 1000} s`
}

function join(parts: Uint8Array[], length: number): Uint8Array {
  return parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts, length)
}

/**
 * Where the JSON text ends that begins at `from`, or what came of it. Searched, not matched: an expression that steps over escapes needs stack
 * for each of them, and throws at a few million.
 */
function endOfText(json: string, from: number): number {
  for (let at = json.indexOf('"', from); at >= 0; at = json.indexOf('"', at + 1)) {
    let before = at
    while (json[before - 1] === '\\') before -= 1
    if ((at - before) % 2 === 0) return at
  }
  return json.length
}
