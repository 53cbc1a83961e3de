import type { TokenUsage } from '../../proto/usage.ts'
import type { Clock, DeadlineWheel, Timer } from '../../shared/clock.ts'
import { GatewayError, toGatewayError } from '../../shared/errors.ts'
import type { HttpClient, OutgoingCall } from '../../shared/http/client.ts'
import type { Call } from '../call.ts'
import type { Headers } from '../providers/provider.ts'
import type { Reply } from '../reply.ts'
import type { CarriedAnswer, CarriedUpstream } from './carrier.ts'

export interface ForwardDeps {
  http: HttpClient
  clock: Clock
  wheel: DeadlineWheel
}

export interface ForwardOptions {
  /** Proved. */
  upstream: CarriedUpstream
  answer: CarriedAnswer & { kind: 'forward' }
  call: Call
  reply: Pick<Reply, 'write'>
  /** The answer begins to go to the client as it comes. */
  open(headers: Record<string, string>, status: number): void
  /** Rejects when the call is over for another reason. */
  stopped: Promise<never>
  /** Milliseconds. */
  limits: { firstByte: number; silence: number }
}

/** What came. `body`: collected, to be sent; null = it went out as it came. */
export interface Forwarded {
  status: number
  /** As the provider sent them, and those of them the client gets. */
  headers: Headers
  shown: Record<string, string>
  body: Uint8Array | null
  usage: TokenUsage | null
  model: string | null
  /** It broke off after its head. */
  error: GatewayError | null
}

/** Of the answer, to the client as they are; others describe the connection, or are the provider's business with us. */
const SHOWN =
  /^(?:content-(?:type|disposition|encoding|language|range)|accept-ranges|etag|last-modified|location|retry-after|request-id|x-request-id|cf-ray|openai-.+|anthropic-.+|x-ratelimit-.+|x-goog-.+|x-amz.+|apim-request-id|x-ms-.+|x-should-retry)$/
/** A refusal is read for the ledger up to here, and collected so far; bytes. */
const REFUSAL_LIMIT = 1024 * 1024
const REWRITTEN_LIMIT = 256 * 1024 * 1024

/**
 * One request, its answer passed on: as it comes, or whole where it is a refusal or must be rewritten. Rejects with GatewayError when nothing of
 * it came.
 *
 * States: waiting → collecting (status ≥ 400, or rewritten) | passing → over.
 */
export function forward(deps: ForwardDeps, options: ForwardOptions): Promise<Forwarded> {
  const { upstream, answer, call, reply } = options
  const { meter } = answer
  return new Promise((resolve, reject) => {
    const parts: Uint8Array[] = []
    let status = 0
    let headers: Headers = {}
    let shown: Record<string, string> = {}
    let collecting = true
    let bytes = 0
    let over = false
    let paused = false
    let timer: Timer | null = null
    let outgoing: OutgoingCall | null = null

    const watch = (limit: number, words: string): void => {
      timer?.cancel()
      timer = deps.wheel.set(limit, () => {
        if (paused) watch(limit, words)
        else fail(new GatewayError('provider_timeout', `litellm.Timeout: ${words} ${limit / 1000} s.`))
      })
    }
    const done = (body: Uint8Array | null, error: GatewayError | null): void => {
      over = true
      timer?.cancel()
      call.incoming.onWritable = null
      const usage = status < 300 ? (meter?.usage() ?? null) : null
      resolve({ status, headers, shown, body, usage, model: meter?.model ?? null, error })
    }
    const fail = (error: GatewayError): void => {
      if (over) return
      outgoing?.abort()
      if (!collecting) {
        done(null, error)
        return
      }
      over = true
      timer?.cancel()
      reject(error)
    }
    options.stopped.catch((thrown: unknown) => fail(toGatewayError(thrown)))
    call.incoming.onWritable = () => {
      paused = false
      outgoing?.resume()
    }
    watch(options.limits.firstByte, 'the provider did not start to answer within')
    const { url, method, body } = upstream
    outgoing = deps.http.send(
      {
        method: method as 'GET',
        url,
        headers: upstream.headers,
        ...(body.length === 0 ? {} : { body }),
        headersTimeout: 0,
        bodyTimeout: 0,
      },
      {
        head(code, named) {
          status = code
          headers = named
          shown = shownOf(named)
          collecting = code >= 400 || (answer.rewrite !== undefined && code < 300)
          watch(options.limits.silence, 'the provider fell silent in the middle of its answer for')
          if (code < 300) meter?.head?.(named)
          if (!collecting) options.open(shown, code)
        },
        data(part) {
          if (over) return
          watch(options.limits.silence, 'the provider fell silent in the middle of its answer for')
          if (status < 300) meter?.see(part)
          if (!collecting) {
            const shown = answer.through?.push(part) ?? part
            if (shown.length === 0 || reply.write(shown)) return
            paused = true
            outgoing?.pause()
            return
          }
          bytes += part.length
          if (bytes <= (status >= 400 ? REFUSAL_LIMIT : REWRITTEN_LIMIT)) parts.push(Uint8Array.from(part))
          else if (status < 400)
            fail(new GatewayError('provider_malformed', `The answer is larger than ${REWRITTEN_LIMIT} bytes.`))
        },
        end() {
          if (over) return
          const whole = collecting ? Buffer.concat(parts) : null
          try {
            const rest = whole === null ? answer.through?.end() : undefined
            if (rest !== undefined && rest.length > 0) reply.write(rest)
            if (whole === null) done(null, null)
            else done(status >= 400 ? whole : (answer.rewrite?.(whole, headers) ?? whole), null)
          } catch (thrown) {
            fail(toGatewayError(thrown))
          }
        },
        failed: fail,
      },
    )
  })
}

/** Headers of a provider's answer that clients get. */
export function shownOf(headers: Headers): Record<string, string> {
  const shown: Record<string, string> = {}
  for (const name in headers) if (SHOWN.test(name)) shown[name] = headers[name] as string
  return shown
}
