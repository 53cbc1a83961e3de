import type { IncomingStream } from '../shared/bus/bus.ts'
import type { Clock } from '../shared/clock.ts'
import { type AttemptResult, openAttempt, type StreamOutput } from './attempt-result.ts'
import type { Call } from './call.ts'
import type { Route } from './runtime.ts'

/** One attempt of a pair: its own view of the call, so that neither stops the other by accident. */
export interface Branch {
  call: Call
  route: Route
  output: StreamOutput
}

export interface HedgeDeps {
  clock: Clock
  /** Milliseconds without a first byte after which the second attempt begins. */
  after: number
  /** Where the second one goes; null = nowhere, and the first one goes on alone. Asked when it is due. */
  second(): Promise<Route | null>
  /** Never rejects. */
  run(branch: Branch): Promise<AttemptResult>
}

export interface Hedged {
  /** Of the one that answers; when both fail, of the first. */
  result: AttemptResult
  route: Route
  /** Both, in the order they began. Both are billed. */
  began: { result: AttemptResult; route: Route }[]
}

/**
 * A second attempt elsewhere when the first does not begin to answer: whoever begins first answers, the other is stopped.
 *
 * States: alone (only the first runs) → racing (both run, neither began) → decided (one answers, the other is being stopped) → over.
 */
export async function hedged(
  deps: HedgeDeps,
  call: Call,
  first: Route,
  outputOf: (branch: Pick<Branch, 'call' | 'route'>) => StreamOutput,
): Promise<Hedged> {
  const race = new Race(call, deps, outputOf)
  const entries = [race.enter(first)]
  if (await race.lasts(entries[0] as Entry, deps.after)) {
    const route = await deps.second().catch(() => null)
    if (route !== null && race.winner === null && call.cancelled === null) entries.push(race.enter(route))
  }
  const began = await Promise.all(entries.map(async ({ ended, branch }) => ({ result: await ended, route: branch.route })))
  const winner = race.leave()
  return { ...(began[entries.indexOf(winner)] as Hedged['began'][number]), began }
}

interface Entry {
  branch: Branch
  ended: Promise<AttemptResult>
}

class Race {
  winner: Entry | null = null
  readonly #call: Call
  readonly #deps: HedgeDeps
  readonly #outputOf: (branch: Pick<Branch, 'call' | 'route'>) => StreamOutput
  readonly #entries: Entry[] = []
  #decide: () => void = () => {}

  constructor(call: Call, deps: HedgeDeps, outputOf: (branch: Pick<Branch, 'call' | 'route'>) => StreamOutput) {
    this.#call = call
    this.#deps = deps
    this.#outputOf = outputOf
    call.stop = () => this.#each((branch) => branch.stop?.())
    call.end = (error) => this.#each((branch) => branch.end?.(error))
  }

  enter(route: Route): Entry {
    // Only what an attempt hangs on the stream is its own; bytes go out through its output.
    const { deadline } = this.#call.incoming
    const incoming = { deadline, onWritable: null } as unknown as IncomingStream
    // Each attempt is one of the call's: the second of a pair comes after the first, which is still open.
    const attempts = [...this.#call.attempts]
    for (const { branch } of this.#entries) attempts.push(openAttempt(branch.route, attempts.length, this.#deps.clock.now()))
    const call: Call = { ...this.#call, incoming, attempts, stop: null, end: null, upstreamTime: 0 }
    const output = this.#outputOf({ call, route })
    const branch: Branch = {
      call,
      route,
      output: {
        start: (record, headers) => {
          if (this.#wins(entry)) output.start(record, headers)
        },
        write: (bytes) => this.winner !== entry || output.write(bytes),
      },
    }
    const entry: Entry = { branch, ended: Promise.resolve(null as never) }
    this.#entries.push(entry)
    entry.ended = this.#deps.run(branch).then((result) => {
      if (result.kind === 'answered') this.#wins(entry)
      return result
    })
    return entry
  }

  /** Whether an attempt neither began to answer nor ended for so long. */
  lasts(entry: Entry, milliseconds: number): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = this.#deps.clock.after(milliseconds, () => resolve(this.winner === null))
      const settle = (): void => {
        timer.cancel()
        resolve(false)
      }
      this.#decide = settle
      entry.ended.then(settle, settle)
    })
  }

  /** Puts into the call what the one that answered learnt, and returns it. */
  leave(): Entry {
    const winner = this.winner ?? (this.#entries[0] as Entry)
    const { call } = winner.branch
    this.#call.upstreamTime += call.upstreamTime
    this.#call.firstTokenAt ??= call.firstTokenAt
    this.#call.inputTokens ??= call.inputTokens
    this.#call.stop = null
    this.#call.end = null
    this.#call.incoming.onWritable = null
    return winner
  }

  /** The first that begins to answer; the others are stopped. */
  #wins(entry: Entry): boolean {
    if (this.winner !== null) return this.winner === entry
    this.winner = entry
    this.#call.incoming.onWritable = () => entry.branch.call.incoming.onWritable?.()
    for (const other of this.#entries) if (other !== entry) other.branch.call.stop?.()
    this.#decide()
    return true
  }

  #each(what: (call: Call) => void): void {
    for (const { branch } of this.#entries) what(branch.call)
  }
}
