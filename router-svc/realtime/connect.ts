import { SOCKET_MESSAGE_MAX } from '../../proto/sockets.ts'
import type { Attempt } from '../../proto/usage.ts'
import type { Clock } from '../../shared/clock.ts'
import { GatewayError, toGatewayError } from '../../shared/errors.ts'
import type { ClientSocket, OpenSocket, SocketSink } from '../../shared/http/websocket.ts'
import { type Admission, mustEnter } from '../admission/admission.ts'
import { closeAttempt, openAttempt } from '../attempt-result.ts'
import type { Call } from '../call.ts'
import type { Observer } from '../observe.ts'
import type { Headers, RealtimeAdapter, UpstreamRequest } from '../providers/provider.ts'
import type { Selector } from '../routing/select.ts'
import type { Resolution, Route, RouterRuntime } from '../runtime.ts'

export interface ConnectDeps {
  sockets: OpenSocket
  clock: Clock
  admission: Pick<Admission, 'enter' | 'leave'>
  selector: Pick<Selector, 'candidates' | 'choose' | 'begin' | 'end'>
  observe: Pick<Observer, 'attempt'>
}

/** A socket to a provider, open; what it says waits in the tap until somebody listens. */
export interface Connected {
  route: Route
  socket: ClientSocket
  tap: Tap
  headers: Headers
  /** Under way: whoever has the session closes it. */
  record: Attempt
  /** Milliseconds it took. */
  elapsed: number
}

/** Milliseconds for a handshake: limits of calls are made for answers, and may be hours. */
const CONNECT_LIMIT = 30_000

/**
 * The deployments of a group in turn, each once, until one opens a socket. `turn` is what limits of deployments are asked for. The failed attempts are
 * the call's. Rejects with the last GatewayError.
 */
export async function connect(
  deps: ConnectDeps,
  call: Call,
  turn: Call,
  runtime: RouterRuntime,
  resolution: Resolution,
): Promise<Connected> {
  let last: GatewayError | null = null
  for (const tier of deps.selector.candidates(call, resolution, runtime)) {
    let left: readonly Route[] = tier
    while (left.length > 0) {
      if (call.cancelled !== null) throw new GatewayError('cancelled')
      const route = deps.selector.choose(left, call)
      left = left.filter((one) => one !== route)
      const refused = mustEnter(turn, route) ? await deps.admission.enter(turn, runtime, route) : null
      if (refused !== null) {
        last = refused
        continue
      }
      const opened = await tryOne(deps, call, route, runtime)
      if (!(opened instanceof GatewayError)) return opened
      if (route.limits !== null) deps.admission.leave(turn, route, undefined)
      last = opened
      if (!elsewhere(opened)) throw opened
    }
  }
  throw last ?? new GatewayError('no_deployment')
}

/** Whether another deployment may do better: what is wrong with the request itself is wrong there too. */
function elsewhere({ retryable, status }: GatewayError): boolean {
  return retryable || status === 401 || status === 403 || status === 404 || status === 429
}

async function tryOne(
  deps: ConnectDeps,
  call: Call,
  route: Route,
  { settings }: RouterRuntime,
): Promise<Connected | GatewayError> {
  const { clock, selector } = deps
  const record = openAttempt(route, call.attempts.length, clock.now())
  const begun = clock.monotonic()
  selector.begin(route)
  try {
    const asked = call.options.timeout ?? route.deployment.timeout ?? settings.timeout
    const timeout = Math.min(asked, CONNECT_LIMIT, call.incoming.deadline)
    const opened = await opening(deps, call, route, timeout)
    const elapsed = clock.monotonic() - begun
    call.upstreamTime += elapsed
    return { route, record, elapsed, ...opened }
  } catch (thrown) {
    const error = toGatewayError(thrown)
    call.upstreamTime += clock.monotonic() - begun
    closeAttempt(record, deps, error.code === 'cancelled' ? 'cancelled' : 'failure', error)
    call.attempts.push(record)
    const end = { elapsed: clock.monotonic() - begun, firstToken: null, inputTokens: 0, outputTokens: 0 }
    const { retryAfter } = error
    selector.end(route, call, {
      ...end,
      error: error.code === 'cancelled' ? 'cancelled' : error.code,
      ...(retryAfter === undefined ? {} : { retryAfter }),
    })
    deps.observe.attempt(call, record)
    return error
  }
}

async function opening(
  { sockets, clock }: ConnectDeps,
  call: Call,
  route: Route,
  timeout: number,
): Promise<Pick<Connected, 'socket' | 'tap' | 'headers'>> {
  if (route.problem !== null)
    throw new GatewayError('provider_authentication', `litellm.AuthenticationError: ${route.provider.name}: ${route.problem}.`)
  const query = Object.fromEntries(new URLSearchParams(call.message.carried?.query ?? ''))
  const adapter = route.provider.realtime as RealtimeAdapter
  const upstream = adapter.open({ query, headers: call.message.headers }, route.target)
  const headers = { ...upstream.headers, ...route.headers }
  const asked: UpstreamRequest = { method: 'GET', url: upstream.url, headers, body: '' }
  const proof = route.credential === null ? {} : await route.credential.headers(asked, clock.now())
  if (call.cancelled !== null) throw new GatewayError('cancelled')
  return new Promise((resolve, reject) => {
    const tap = new Tap({
      opened: (answered) => {
        call.stop = null
        resolve({ socket, tap, headers: answered })
      },
      refused: (status, answered, body) =>
        // An answer below 400 is no refusal, and no socket either.
        reject(
          status < 400
            ? new GatewayError('provider_malformed', `The provider answered ${status} instead of opening a socket.`)
            : route.provider.decodeError(status, answered, Buffer.from(body).toString('utf8')),
        ),
      failed: reject,
    })
    const socket = sockets(
      {
        url: upstream.url,
        headers: { ...headers, ...proof },
        protocols: upstream.protocols,
        timeout,
        messageLimit: SOCKET_MESSAGE_MAX,
      },
      tap,
    )
    call.stop = () => {
      socket.destroy()
      reject(new GatewayError('cancelled'))
    }
  })
}

type Opening = Pick<SocketSink, 'opened' | 'refused' | 'failed'>
export type Listener = Pick<SocketSink, 'message' | 'drained' | 'closed' | 'failed'>

/** Stands between a socket and who listens to it: what is said before somebody does is kept. */
export class Tap implements SocketSink {
  readonly #opening: Opening
  #open = false
  #listener: Listener | null = null
  #kept: ((listener: Listener) => void)[] = []

  constructor(opening: Opening) {
    this.#opening = opening
  }

  listen(listener: Listener): void {
    this.#listener = listener
    for (const say of this.#kept.splice(0)) say(listener)
  }

  opened(headers: Record<string, string>): void {
    this.#open = true
    this.#opening.opened(headers)
  }

  refused(status: number, headers: Record<string, string>, body: Uint8Array): void {
    this.#opening.refused(status, headers, body)
  }

  message(kind: 'text' | 'binary', payload: Uint8Array): void {
    this.#say((listener) => listener.message(kind, payload))
  }

  drained(): void {
    this.#say((listener) => listener.drained())
  }

  closed(code: number, reason: string): void {
    this.#say((listener) => listener.closed(code, reason))
  }

  failed(error: GatewayError): void {
    if (this.#open) this.#say((listener) => listener.failed(error))
    else this.#opening.failed(error)
  }

  #say(say: (listener: Listener) => void): void {
    if (this.#listener === null) this.#kept.push(say)
    else say(this.#listener)
  }
}
