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
import type { Usage } from './canonical/chat.ts'
import type { CountResponse } from './canonical/count.ts'
import { tokensOf } from './canonical/usage.ts'
import { promptText, roughTokens, type TokenCounter } from './count-tokens.ts'
import { isLocal as isLocalProvider, type LocalProvider, type LocalStep, mock, mockRequested } from './providers/mock.ts'
import { type ChunkEncoder, estimate } from './read-stream.ts'
import { bytesOf } from './read-unary.ts'
import { chunkEncoder } from './readers.ts'
import type { Route } from './runtime.ts'
import { requestFor } from './upstream-request.ts'

export interface LocalAttemptDeps extends AttemptDeps {
  random(): number
  /** Absent where nothing is counted: no health check does. */
  tokens?: TokenCounter
}

/** Whether this attempt is answered here: the mock, or a canned answer that the request or the deployment asks for. */
export function isLocal(call: Call, route: Route): boolean {
  return route.provider.local === true || mockRequested(call.request, route.deployment) || countsHere(call, route)
}

function countsHere(call: Call, { provider }: Route): boolean {
  return call.endpoint.mode === 'count_tokens' && provider.count_tokens === undefined
}

/**
 * One try without a network. Ends in the same ways as `attempt`, and is cancelled and timed the same. `counts`: it is asked how many tokens
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
      return this.#failure(toGatewayError(thrown))
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
    const provider: LocalProvider = isLocalProvider(this.#route.provider) ? this.#route.provider : mock
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
    const record = closeAttempt(this.#record, this.#deps, 'success', null, usageOf(made.response.usage))
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
      const text = encoder.push(step.chunk)
      if (text === '') continue
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
      if (!more) await this.#writable()
    }
    return {
      kind: 'streamed',
      record: closeAttempt(this.#record, this.#deps, 'success', null, encoder.usage(null)),
      last: encoder.end(),
    }
  }

  #failure(error: GatewayError): AttemptResult {
    const encoder = this.#committed || this.#encoder?.firstToken === true ? this.#encoder : null
    const usage = encoder?.usage(null)
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

  async #writable(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve
      this.#call.incoming.onWritable = resolve
    })
    this.#wake = null
    if (this.#stopped !== null) throw this.#stopped
  }
}

function usageOf(usage: Usage | null | undefined): TokenUsage {
  return usage === null || usage === undefined ? estimate(0) : tokensOf(usage)
}
