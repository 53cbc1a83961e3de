import { type Attempt, NO_TOKENS, type TokenUsage } from '../proto/usage.ts'
import { GatewayError, toGatewayError } from '../shared/errors.ts'
import {
  type AttemptDeps,
  type AttemptResult,
  type AttemptTimeouts,
  breaksOff,
  closeAttempt,
  openAttempt,
  type StreamOutput,
} from './attempt-result.ts'
import { answeringModel, type Call } from './call.ts'
import type { ChatChunk, Usage } from './canonical/chat.ts'
import type { CountResponse } from './canonical/count.ts'
import { tokensOf } from './canonical/usage.ts'
import { promptText, roughTokens, type TokenCounter } from './count-tokens.ts'
import {
  askHandler,
  type HandledProvider,
  type HandlerContext,
  handlerError,
  isHandled,
  streamHandler,
} from './handlers/handler.ts'
import { inProviderWords } from './providers/error-status.ts'
import { isLocal as isLocalProvider, type LocalProvider, type LocalStep, mock, mockRequested } from './providers/mock.ts'
import { restoringNames } from './providers/plain-chat.ts'
import type { Adapter, StreamDecoder } from './providers/provider.ts'
import { type ChunkEncoder, estimate } from './read-stream.ts'
import { bytesOf, decodeContext, translatingUnary } from './read-unary.ts'
import { chunkEncoder } from './readers.ts'
import type { Route } from './runtime.ts'
import { adapterOf, requestFor, type Sent, unsent } from './upstream-request.ts'

export interface LocalAttemptDeps extends AttemptDeps {
  random(): number
  /** Absent where nothing is counted: no health check does. */
  tokens?: TokenCounter
}

/** Whether this attempt is answered here: by the mock, a canned answer that the request or the deployment asks for, a module of the operator's. */
export function isLocal(call: Call, route: Route): boolean {
  return route.provider.local === true || mockRequested(call.request, route.deployment) || countsHere(call, route)
}

/** Whether it is, and nobody can be owed anything for it: what a module of the operator's does may cost. */
export function costsNothing(call: Call, route: Route): boolean {
  return isLocal(call, route) && (countsHere(call, route) || !asksHandler(call, route))
}

function asksHandler(call: Call, { provider, deployment }: Route): boolean {
  return isHandled(provider) && !mockRequested(call.request, deployment)
}

function countsHere(call: Call, { provider }: Route): boolean {
  return call.endpoint.mode === 'count_tokens' && provider.count_tokens === undefined
}

/**
 * One try without a network of ours. Ends in the same ways as `attempt`, and is cancelled and timed the same. `counts`: it is asked how many tokens
 * the request has, and the provider does not say.
 */
export function attemptLocal(
  deps: LocalAttemptDeps,
  call: Call,
  route: Route,
  timeouts: AttemptTimeouts,
  output: StreamOutput,
  counts = countsHere(call, route),
): Promise<AttemptResult> {
  return new LocalTry(deps, call, route, timeouts, output, counts).run()
}

class LocalTry {
  readonly #deps: LocalAttemptDeps
  readonly #call: Call
  readonly #route: Route
  readonly #output: StreamOutput
  readonly #timeouts: AttemptTimeouts
  readonly #record: Attempt
  readonly #counts: boolean
  #committed = false
  #encoder: ChunkEncoder | null = null
  /** Ends the wait under way. */
  #wake: (() => void) | null = null
  #stopped: GatewayError | null = null
  /** Tells a module of the operator's that nobody waits any more. */
  #abort: AbortController | null = null
  #decoder: StreamDecoder<unknown> | null = null

  constructor(
    deps: LocalAttemptDeps,
    call: Call,
    route: Route,
    timeouts: AttemptTimeouts,
    output: StreamOutput,
    counts: boolean,
  ) {
    this.#counts = counts
    this.#deps = deps
    this.#call = call
    this.#route = route
    this.#timeouts = timeouts
    this.#output = output
    this.#record = openAttempt(route, call.attempts.length, deps.clock.now())
  }

  async run(): Promise<AttemptResult> {
    const { clock, wheel } = this.#deps
    const call = this.#call
    const begun = clock.monotonic()
    call.stop = () => this.#stop(new GatewayError('cancelled'))
    call.end = (error) => this.#stop(error)
    const { total } = this.#timeouts
    const timer = wheel.set(total, () =>
      this.#stop(new GatewayError('provider_timeout', `litellm.Timeout: the attempt took longer than ${total / 1000} s.`)),
    )
    try {
      return await this.#answer()
    } catch (thrown) {
      return this.#failure(this.#stopped ?? toGatewayError(thrown))
    } finally {
      if (!this.#committed) call.upstreamTime += clock.monotonic() - begun
      timer.cancel()
      call.stop = null
      call.end = null
      call.incoming.onWritable = null
    }
  }

  async #answer(): Promise<AttemptResult> {
    const { clock, random } = this.#deps
    const call = this.#call
    if (this.#counts) return this.#count()
    const { provider: own } = this.#route
    if (isHandled(own) && asksHandler(call, this.#route)) return this.#handle(own)
    const provider: LocalProvider = isLocalProvider(own) && !isHandled(own) ? own : mock
    const request = requestFor(call, this.#route)
    const made = provider.answer(call.endpoint.mode, request, this.#route.deployment, {
      clock,
      random,
      callId: call.message.callId,
    })
    if (made.kind === 'stream') return this.#stream(made.steps)
    await this.#wait(made.delay)
    if (made.kind === 'failure') throw made.error
    const shown = call.capture === null ? made.response : call.capture.response(made.response)
    const body = bytesOf(call.dialect.encodeResponse(shown, answeringModel(call), call.request))
    const contentType = call.dialect.contentType?.(shown, call.request) ?? 'application/json'
    this.#record.firstTokenAt = clock.now()
    const record = closeAttempt(this.#record, this.#deps, 'success', null, usageOf(made.response))
    return { kind: 'answered', record, headers: {}, body, contentType }
  }

  /** For a provider that cannot say how many tokens a chat is. */
  async #count(): Promise<AttemptResult> {
    const call = this.#call
    const text = promptText(requestFor(call, this.#route))
    const tokens = (await this.#deps.tokens?.count(text)) ?? roughTokens(text.length)
    if (this.#stopped !== null) throw this.#stopped
    const response: CountResponse = { tokens, billing: NO_TOKENS }
    const body = bytesOf(call.dialect.encodeResponse(response, answeringModel(call), call.request))
    const record = closeAttempt(this.#record, this.#deps, 'success', null, { ...NO_TOKENS })
    return { kind: 'answered', record, headers: {}, body, contentType: 'application/json' }
  }

  async #stream(steps: Iterable<LocalStep>): Promise<AttemptResult> {
    const call = this.#call
    const encoder = chunkEncoder(call, this.#route)
    this.#encoder = encoder
    for (const step of steps) {
      await this.#wait(step.delay)
      if ('error' in step) throw step.error
      const waiting = this.#write(encoder, step.chunk)
      if (waiting !== null) await waiting
    }
    return {
      kind: 'streamed',
      record: closeAttempt(this.#record, this.#deps, 'success', null, encoder.usage(null)),
      last: encoder.end(),
    }
  }

  /** Asks a module of the operator's. Its failures are a provider's. */
  async #handle(provider: HandledProvider): Promise<AttemptResult> {
    const { clock } = this.#deps
    const call = this.#call
    const sent = unsent(call, this.#route)
    this.#abort = new AbortController()
    const context = contextOf(this.#route, this.#abort.signal)
    try {
      if (call.stream && adapterOf(call, this.#route).decodeStream !== undefined)
        return await this.#handleStream(provider, sent, context)
      const request = { ...sent.request, model: this.#route.model }
      const { body, headers } = await this.#within(askHandler(provider, call.endpoint.mode, request, context))
      const answer = translatingUnary(call, this.#route, sent, clock.now()).read(body, headers)
      if (answer.reportedModel !== null) this.#record.reportedModel = answer.reportedModel
      this.#record.firstTokenAt = clock.now()
      const record = closeAttempt(this.#record, this.#deps, 'success', null, answer.usage)
      return { kind: 'answered', record, headers: {}, body: answer.body, contentType: answer.contentType ?? 'application/json' }
    } catch (thrown) {
      throw inProviderWords(handlerError(thrown, provider), provider.name)
    }
  }

  async #handleStream(provider: HandledProvider, sent: Sent, context: HandlerContext): Promise<AttemptResult> {
    const call = this.#call
    const adapter = adapterOf(call, this.#route) as Required<Adapter<unknown, unknown, unknown>>
    const plain = adapter.decodeStream(decodeContext(call, this.#route, sent, this.#deps.clock.now()))
    const decoder = sent.names === null ? plain : restoringNames(plain as StreamDecoder<ChatChunk>, sent.names)
    this.#decoder = decoder
    const encoder = chunkEncoder(call, this.#route)
    this.#encoder = encoder
    const asked = { ...sent.request, model: this.#route.model }
    const chunks = streamHandler(provider, call.endpoint.mode, asked, context)
    let over = false
    try {
      while (!over) {
        const { firstByte, silence } = this.#timeouts
        const next = await this.#within(chunks.next(), this.#committed ? silence : firstByte)
        over = next.done === true
        for (const chunk of decoder.push({ event: '', data: next.done === true ? '[DONE]' : next.value })) {
          const waiting = this.#write(encoder, chunk)
          if (waiting !== null) await waiting
        }
      }
    } finally {
      // It may be in the middle of something that does not heed the signal: nobody waits for it.
      if (!over) chunks.return(undefined).catch(() => undefined)
    }
    if (encoder.reportedModel !== null) this.#record.reportedModel = encoder.reportedModel
    const record = closeAttempt(this.#record, this.#deps, 'success', null, encoder.usage(decoder.usage ?? null))
    return { kind: 'streamed', record, last: encoder.end() }
  }

  /** One chunk on its way to the client; a promise where the client is behind. Throws when stopped. */
  #write(encoder: ChunkEncoder, chunk: unknown): Promise<void> | null {
    const call = this.#call
    const text = encoder.push(chunk)
    if (text === '') return null
    if (encoder.firstToken) {
      this.#record.firstTokenAt ??= this.#deps.clock.now()
      call.firstTokenAt ??= this.#record.firstTokenAt
    }
    if (!this.#committed) {
      this.#committed = true
      this.#output.start(this.#record, {})
    }
    const more = this.#output.write(Buffer.from(text))
    call.ticket?.progress(encoder.outputTokens)
    if (this.#stopped !== null) throw this.#stopped
    return more ? null : this.#writable()
  }

  #failure(error: GatewayError): AttemptResult {
    const encoder = this.#committed || this.#encoder?.firstToken === true ? this.#encoder : null
    const usage = encoder?.usage(this.#decoder?.usage ?? null)
    if (error.code === 'cancelled')
      return { kind: 'cancelled', record: closeAttempt(this.#record, this.#deps, 'cancelled', null, usage) }
    const record = closeAttempt(this.#record, this.#deps, encoder === null ? 'failure' : 'partial', error, usage)
    const committed = this.#committed || (encoder !== null && this.#call.resume !== null)
    return {
      kind: 'failed',
      record,
      error,
      committed,
      headers: {},
      tell: committed ? (told) => (encoder as ChunkEncoder).error(told) : null,
      continuation: committed && breaksOff(error) ? (encoder as ChunkEncoder).continuation() : null,
    }
  }

  #stop(error: GatewayError): void {
    this.#stopped ??= error
    this.#abort?.abort(error)
    this.#wake?.()
  }

  /** Waits `delay` milliseconds. Throws when stopped before or meanwhile. */
  async #wait(delay: number): Promise<void> {
    if (delay > 0 && this.#stopped === null) {
      await new Promise<void>((resolve) => {
        const timer = this.#deps.clock.after(delay, resolve)
        this.#wake = () => {
          timer.cancel()
          resolve()
        }
      })
      this.#wake = null
    }
    if (this.#stopped !== null) throw this.#stopped
  }

  /** What somebody else's code promised. Throws when stopped meanwhile, and when it takes longer than `limit` milliseconds. */
  async #within<Result>(work: Promise<Result>, limit: number | null = null): Promise<Result> {
    const late = (): void =>
      this.#stop(new GatewayError('provider_timeout', `litellm.Timeout: nothing came for ${(limit ?? 0) / 1000} s.`))
    const timer = limit === null ? null : this.#deps.wheel.set(limit, late)
    try {
      return await new Promise<Result>((resolve, reject) => {
        this.#wake = () => reject(this.#stopped)
        work.then(resolve, reject)
        if (this.#stopped !== null) reject(this.#stopped)
      })
    } finally {
      this.#wake = null
      timer?.cancel()
    }
  }

  async #writable(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve
      this.#call.incoming.onWritable = resolve
    })
    this.#wake = null
    if (this.#stopped !== null) throw this.#stopped
  }
}

function contextOf({ model, key, apiBase, target }: Route, signal: AbortSignal): HandlerContext {
  const ended: typeof fetch = (input, init) => {
    const own = init?.signal ?? null
    return fetch(input, { ...init, signal: own === null ? signal : AbortSignal.any([signal, own]) })
  }
  return { model, apiKey: key ?? null, apiBase, settings: target.settings, signal, fetch: ended }
}

function usageOf(response: { usage?: unknown; billing?: TokenUsage }): TokenUsage {
  if (response.billing !== undefined) return response.billing
  const usage = response.usage as Usage | null | undefined
  return usage === null || usage === undefined ? estimate(0) : tokensOf(usage)
}
