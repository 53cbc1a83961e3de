import type { TokenUsage } from '../proto/usage.ts'
import { GatewayError, openaiErrorBody } from '../shared/errors.ts'
import { answeringModel, type Call } from './call.ts'
import type { ChatChunk, ChatRequest } from './canonical/chat.ts'
import { tokensOf } from './canonical/usage.ts'
import { arrayFrames, eventFrames } from './dialects/gemini/stream.ts'
import type { Continuation } from './failover/continuation.ts'
import { encoderOf, resumption } from './failover/resume.ts'
import { failsOver } from './failover/safety.ts'
import { SentText } from './failover/sent-text.ts'
import { forwardResponse, PassThroughStream } from './pass-through.ts'
import { forwardMessage, MessagesPassThrough } from './pass-through-anthropic.ts'
import { ContentsPassThrough, forwardContent } from './pass-through-gemini.ts'
import { forwardResponseObject, ResponsesPassThrough, type Restamp } from './pass-through-responses.ts'
import { restoringNames } from './providers/plain-chat.ts'
import type { Forwarded, Headers, StreamDecoder } from './providers/provider.ts'
import { ChunkEncoder, countsNothing, estimate, type StreamReader, TranslatingReader } from './read-stream.ts'
import { decodeContext, translatingUnary, type UnaryReader } from './read-unary.ts'
import type { Route } from './runtime.ts'
import { adapterOf, passes, prefillOf, type Sent } from './upstream-request.ts'

/** How the answer of this attempt is read. `now`: Unix milliseconds. */
export function unaryReader(call: Call, route: Route, sent: Sent, now: number): UnaryReader {
  return passes(call, adapterOf(call, route)) ? forwardingUnary(call, route, sent, now) : translatingUnary(call, route, sent, now)
}

/** What goes to the client as it comes; null = the answer is read. `now`: Unix milliseconds. */
export function forwardedBytes(call: Call, route: Route, sent: Sent, headers: Headers, now: number): StreamReader | null {
  const adapter = adapterOf(call, route)
  if (adapter.forward === undefined || call.capture !== null) return null
  const forwarded = adapter.forward(headers, decodeContext(call, route, sent, now))
  return forwarded === null ? null : new ForwardedBytes(forwarded)
}

/** How the stream of this attempt is read. `now`: Unix milliseconds. Throws GatewayError `unsupported_endpoint`. */
export function streamReader(call: Call, route: Route, sent: Sent, now: number): StreamReader {
  const adapter = adapterOf(call, route)
  if (passes(call, adapter)) return forwardingStream(call, route)
  if (adapter.decodeStream === undefined)
    throw new GatewayError('unsupported_endpoint', `${call.endpoint.path} cannot be streamed.`)
  const decoder = adapter.decodeStream(decodeContext(call, route, sent, now))
  const named = sent.names === null ? decoder : restoringNames(decoder as StreamDecoder<ChatChunk>, sent.names)
  return new TranslatingReader(named, chunkEncoder(call, route), adapter.framing)
}

/** What writes the stream of this attempt in the client's dialect: from the start, or on from where another one died. */
export function chunkEncoder(call: Call, route: Route): ChunkEncoder {
  const { capture, resume } = call
  const sent = failsOver(call) ? new SentText(resume) : null
  if (resume === null) {
    const options = { model: answeringModel(call), includeUsage: call.includeUsage }
    const { responses } = call.request as ChatRequest
    const asked = call.responses === null || responses === undefined ? options : { ...options, responses }
    const encoder = call.dialect.encodeStream(asked)
    return new ChunkEncoder(encoder, { capture, sent })
  }
  const resumed = resumption(call, resume, route.deployment.id, prefillOf(call, route))
  return new ChunkEncoder(encoderOf(call, resume), { capture, sent, resumed, pending: resume.pending })
}

/** Bytes as the provider wrote them, `model` restamped. */
function forwardingUnary(call: Call, route: Route, sent: Sent, now: number): UnaryReader {
  return {
    read(body, headers) {
      if (call.dialect.protocol === 'anthropic') {
        const { usage, ...message } = forwardMessage(body, answeringModel(call), route.provider.decodeError)
        return usage === null ? translatingUnary(call, route, sent, now).read(body, headers) : { ...message, usage }
      }
      if (call.responses !== null) {
        const { running, ...response } = forwardResponseObject(body, restampOf(call, route))
        if (running !== null) {
          const { id: deploymentId, provider } = route.deployment
          call.objects = [{ kind: 'response', deploymentId, id: running, provider, what: 'created', facts: { status: 'queued' } }]
        }
        return response
      }
      if (call.dialect.protocol === 'gemini') {
        const { usage, ...content } = forwardContent(body, answeringModel(call), route.model, route.provider.decodeError)
        return usage === null ? translatingUnary(call, route, sent, now).read(body, headers) : { ...content, usage }
      }
      const { usage, ...forwarded } = forwardResponse(body, answeringModel(call), route.provider.decodeError)
      const tokens = usage === null ? null : tokensOf(usage)
      // Without usage the words must be counted, and for that they must be read.
      if (tokens === null || countsNothing(tokens)) return translatingUnary(call, route, sent, now).read(body, headers)
      return { ...forwarded, usage: tokens }
    },
  }
}

function restampOf(call: Call, route: Route): Restamp {
  return { model: answeringModel(call), readError: route.provider.decodeError, route, turn: call.responses }
}

function forwardingStream(call: Call, route: Route): StreamReader {
  if (call.responses !== null) return new ResponsesPassThrough(restampOf(call, route))
  if (call.dialect.protocol === 'gemini') {
    const frames = call.dialect.streamType === 'text/event-stream' ? eventFrames() : arrayFrames(false)
    const { decodeError: readError } = route.provider
    return new ContentsPassThrough({
      model: answeringModel(call),
      upstream: route.model,
      frames,
      readError,
      keepText: failsOver(call),
    })
  }
  if (call.dialect.protocol !== 'anthropic') return new ForwardingReader(call, route)
  const readError = route.provider.decodeError
  return new MessagesPassThrough({ model: answeringModel(call), readError, keepText: failsOver(call) })
}

/** Bytes nobody translates. A failure in their midst can be told between events only; anything else is cut off. */
class ForwardedBytes implements StreamReader {
  readonly done = false
  readonly outputTokens = 0
  readonly reportedModel = null
  readonly contentType: string
  firstToken = false
  readonly #forwarded: Forwarded

  constructor(forwarded: Forwarded) {
    this.#forwarded = forwarded
    this.contentType = forwarded.contentType
  }

  push(bytes: Uint8Array): Uint8Array {
    this.#forwarded.see?.(bytes)
    this.firstToken = true
    return bytes
  }

  finish(): Uint8Array {
    this.#forwarded.end?.()
    return NOTHING
  }

  usage(): TokenUsage {
    return this.#forwarded.usage()
  }

  last(): string {
    return ''
  }

  /** The blank lines end the event that was under way. */
  errorEvent(error: GatewayError): string {
    return this.contentType.includes('event-stream') ? `\n\ndata: ${JSON.stringify(openaiErrorBody(error))}\n\n` : ''
  }

  continuation(): null {
    return null
  }
}

const NOTHING = new Uint8Array(0)

class ForwardingReader implements StreamReader {
  readonly #stream: PassThroughStream
  readonly #call: Call

  constructor(call: Call, route: Route) {
    this.#call = call
    this.#stream = new PassThroughStream({
      model: answeringModel(call),
      includeUsage: call.includeUsage,
      choices: typeof call.request['n'] === 'number' ? call.request['n'] : 1,
      readError: route.provider.decodeError,
      keepText: call.dialect.protocol === 'openai-chat' && failsOver(call),
    })
  }

  get done(): boolean {
    return this.#stream.done
  }

  get firstToken(): boolean {
    return this.#stream.firstToken
  }

  /** A delta is a token with OpenAI, several with others. */
  get outputTokens(): number {
    return Math.max(this.#stream.deltas, Math.floor(this.#stream.outputBytes / 4))
  }

  get reportedModel(): string | null {
    return this.#stream.reportedModel
  }

  push(bytes: Uint8Array): Uint8Array {
    return this.#stream.push(bytes)
  }

  finish(): Uint8Array {
    return this.#stream.finish()
  }

  usage(): TokenUsage {
    const reported = this.#stream.usage === null ? null : tokensOf(this.#stream.usage)
    return reported === null || countsNothing(reported) ? estimate(this.outputTokens) : reported
  }

  last(): string {
    return this.#stream.last()
  }

  continuation(): Continuation | null {
    return this.#stream.continuation()
  }

  errorEvent(error: GatewayError): string {
    return (
      this.#stream.unsent() +
      this.#call.dialect.encodeStream({ model: answeringModel(this.#call), includeUsage: false }).error(error)
    )
  }
}
