import { answerText } from '../../loadtest/answer-text.ts'
import { Connection, callBytes, once } from '../../loadtest/connection.ts'
import { type Ending, endingOf, HUNG, SPENT, WHOLE } from './endings.ts'
import type { World } from './world.ts'

/**
 * The clients: whole answers and streams at a steady rate, each with a text of its own, by keys with and without limits, over kept-alive
 * connections to whichever edge says it is ready, as a load balancer would. Open loop: what hangs does not slow down what comes after it.
 */

/** Whose call it is: no limits; a budget that is never reached; one that is used up while the fault lasts. */
export type KeyKind = 'free' | 'rich' | 'poor'

export interface ClientKey {
  kind: KeyKind
  key: string
  hash: string
  /** Dollars; null = none. */
  budget: number | null
}

export interface SeenCall {
  marker: string
  stream: boolean
  kind: KeyKind
  edge: number
  /** Monotonic milliseconds. */
  startedAt: number
  endedAt: number
  ending: Ending
  /** The body of a failed call, cut short, for whoever asks why. */
  said: string
}

export interface Rates {
  /** Calls begun per second. */
  whole: number
  streams: number
  /** Streams of this many chunks, so many milliseconds apart. */
  chunks: number
  interval: number
}

export const STEADY: Rates = { whole: 30, streams: 6, chunks: 40, interval: 50 }

/** Milliseconds after which a call has hung; nothing here may take a minute. */
const GIVE_UP = 60_000
/** Milliseconds between questions whether an edge is ready, and for an answer. */
const PROBE_EVERY = 250
const PROBE_LIMIT = 1_000
const SIZE = 24
const TICK = 10

export interface Load {
  /** From here on calls are on these keys and counted under this label; through the proxies of the edges, or past them. */
  aim(label: string, keys: readonly ClientKey[], options?: { rates?: Rates; proxied?: boolean }): void
  /** Begins no calls until aimed again. */
  rest(): void
  /** Calls that were begun under a label; those still running are not in it. */
  seen(label: string): SeenCall[]
  /** Resolves when no call of a label runs any more. */
  ended(label: string): Promise<void>
  /** The longest time, in milliseconds, that this process itself stood still under a label: what happened then says little. */
  stalled(label: string): number
  stop(): void
}

/** Begins with nothing; `next` gives numbers from 0 to 1 and decides whose call is next. */
export function createLoad(world: World, next: () => number): Load {
  const balancer = createBalancer(world)
  const calls = new Map<string, SeenCall[]>()
  const running = new Map<string, number>()
  const stalls = new Map<string, number>()
  let waiters: { label: string; done: () => void }[] = []
  let aimed: { label: string; keys: readonly ClientKey[]; rates: Rates } | null = null
  let sequence = 0
  let due = { whole: 0, streams: 0 }
  let before = performance.now()

  const tick = setInterval(() => {
    const now = performance.now()
    const passed = (now - before) / 1000
    before = now
    if (aimed === null) return
    stalls.set(aimed.label, Math.max(stalls.get(aimed.label) ?? 0, passed * 1000 - TICK))
    due = { whole: due.whole + passed * aimed.rates.whole, streams: due.streams + passed * aimed.rates.streams }
    for (; due.whole >= 1; due.whole -= 1) begin(false)
    for (; due.streams >= 1; due.streams -= 1) begin(true)
  }, TICK)

  function begin(stream: boolean): void {
    if (aimed === null) return
    const { label, keys, rates } = aimed
    const one = keys[Math.floor(next() * keys.length)] as ClientKey
    const marker = `${label}-${sequence++}`
    const chunks = stream ? rates.chunks : 4
    const pace = stream ? `chunks=${chunks},interval=${rates.interval}` : `chunks=${chunks},latency=${Math.floor(next() * 100)}`
    const body = JSON.stringify({
      model: 'cent',
      stream,
      metadata: { marker },
      messages: [{ role: 'user', content: `[[upstream id=${marker},text=own:${marker},size=${SIZE},${pace}]]` }],
    })
    const startedAt = performance.now()
    running.set(label, (running.get(label) ?? 0) + 1)
    balancer.call({ key: one.key, body, stream, limit: GIVE_UP + chunks * rates.interval }, (edge, got) => {
      const ending = got === null ? HUNG : endingOf(got, answerText(0, chunks * SIZE, `own:${marker}`))
      const fine = ending === WHOLE || ending === SPENT
      const seen = { marker, stream, kind: one.kind, edge, startedAt, endedAt: performance.now(), ending }
      const list = calls.get(label) ?? []
      calls.set(label, list)
      list.push({ ...seen, said: fine ? '' : (got?.body ?? '').slice(-400) })
      running.set(label, (running.get(label) ?? 1) - 1)
      waiters = waiters.filter((waiter) => {
        if (waiter.label !== label || running.get(label) !== 0) return true
        waiter.done()
        return false
      })
    })
  }

  return {
    aim(label, keys, { rates = STEADY, proxied = false } = {}) {
      balancer.go(proxied)
      due = { whole: 0, streams: 0 }
      aimed = { label, keys, rates }
    },
    rest() {
      aimed = null
    },
    seen: (label) => calls.get(label) ?? [],
    stalled: (label) => stalls.get(label) ?? 0,
    ended: (label) =>
      (running.get(label) ?? 0) === 0 ? Promise.resolve() : new Promise((done) => waiters.push({ label, done })),
    stop() {
      clearInterval(tick)
      balancer.stop()
    },
  }
}

interface Got {
  stream: boolean
  status: number
  body: string
  broken: string | null
}

interface Asked {
  key: string
  body: string
  stream: boolean
  /** Milliseconds for the whole answer. */
  limit: number
}

/** Sends each call to an edge that is ready, in turn; when none says so, to any. A refused connection was not a call yet, so the next edge gets it. */
function createBalancer(world: World) {
  const targets = world.edges.map(() => ({ origin: '', ready: true, probing: false, free: [] as Connection[] }))
  go(false)
  let turn = 0

  const probe = setInterval(() => {
    for (const target of targets) {
      if (target.probing) continue
      target.probing = true
      void once({ origin: target.origin, path: '/health/readiness', method: 'GET' }, PROBE_LIMIT).then(
        ({ status }) => note(target, status === 200),
        () => note(target, false),
      )
    }
  }, PROBE_EVERY)

  /** A proxy takes connections while nothing is behind it, and nobody is refused by one: only who must be cut or slowed goes through it. */
  function go(proxied: boolean): void {
    for (const [index, target] of targets.entries()) {
      target.origin = proxied ? `http://127.0.0.1:${world.edges[index]?.port}` : (world.cluster.urls[index] as string)
      for (const connection of target.free.splice(0)) connection.abort()
    }
  }

  function note(target: (typeof targets)[number], ready: boolean): void {
    target.probing = false
    target.ready = ready
    // Its idle connections are of no more use.
    if (!ready) for (const connection of target.free.splice(0)) connection.abort()
  }

  function call(asked: Asked, done: (edge: number, got: Got | null) => void, tried = 0): void {
    turn += 1
    const order = targets.map((_, offset) => (turn + offset) % targets.length)
    const edge = order.find((index) => targets[index]?.ready) ?? (order[0] as number)
    const target = targets[edge] as (typeof targets)[number]
    const { origin } = target
    const connection = target.free.pop() ?? new Connection(origin)
    const got: Got = { stream: asked.stream, status: 0, body: '', broken: null }
    const timer = setTimeout(() => {
      connection.abort()
      done(edge, null)
    }, asked.limit)
    const headers = { authorization: `Bearer ${asked.key}` }
    const bytes = callBytes({ origin, path: '/v1/chat/completions', headers, body: asked.body })
    const decoder = new TextDecoder()
    connection.call(bytes, {
      onHead: (head) => {
        got.status = head.status
      },
      onData: (data) => {
        got.body += decoder.decode(data, { stream: true })
      },
      onEnd: () => {
        clearTimeout(timer)
        if (target.ready && target.origin === origin) target.free.push(connection)
        else connection.abort()
        done(edge, got)
      },
      onError: (error) => {
        clearTimeout(timer)
        const code = (error as NodeJS.ErrnoException).code ?? error.message
        got.broken = code
        if (code === 'ECONNREFUSED') {
          note(target, false)
          if (tried < targets.length) {
            call(asked, done, tried + 1)
            return
          }
        }
        done(edge, got)
      },
    })
  }

  return {
    call,
    go,
    stop() {
      clearInterval(probe)
      for (const { free } of targets) for (const connection of free) connection.abort()
    },
  }
}
