import type { Clock } from './clock.ts'
import type { Log } from './log.ts'

/** Something a process is made of. Parts stop in the reverse of the order they were added. */
export interface Part {
  readonly name: string
  /** Takes nothing new and resolves when what runs is finished, or after `limit` milliseconds. */
  drain?(limit: number): Promise<void>
  stop(): Promise<void>
}

export interface Lifecycle {
  /** Adds a part that has started. */
  add(part: Part): void
  /** True from the first `shutdown` on: readiness answers no. */
  readonly stopping: boolean
  /** Drains every part, then stops every part, latest first. The same promise each time. Never rejects: what fails is logged. */
  shutdown(reason: string): Promise<void>
  /** Ends the draining of a shutdown under way: parts are stopped at once. */
  hurry(): void
}

/**
 * Starts in order, drains and stops in reverse. All draining comes before any stopping, so that a part being drained still finds
 * the ones below it at work: a router that finishes its streams needs accounting to take their bill.
 *
 * `drainLimit`: milliseconds for all draining together.
 */
export function createLifecycle(deps: { clock: Clock; log: Log; drainLimit: number }): Lifecycle {
  const parts: Part[] = []
  let done: Promise<void> | null = null
  let hurry: () => void = () => undefined
  const hurried = new Promise<void>((resolve) => {
    hurry = resolve
  })

  const guarded = async (part: Part, verb: string, work: Promise<void> | undefined) => {
    try {
      await work
    } catch (error) {
      deps.log.error({ part: part.name, error }, `could not ${verb} ${part.name}`)
    }
  }

  const run = async (reason: string) => {
    deps.log.info({ reason }, 'stopping')
    const deadline = deps.clock.monotonic() + deps.drainLimit
    for (const part of parts.toReversed()) {
      const left = Math.max(0, deadline - deps.clock.monotonic())
      await Promise.race([guarded(part, 'drain', part.drain?.(left)), hurried])
    }
    for (const part of parts.toReversed()) await guarded(part, 'stop', part.stop())
    deps.log.info({}, 'stopped')
  }

  return {
    add: (part) => void parts.push(part),
    get stopping() {
      return done !== null
    },
    shutdown(reason) {
      done ??= run(reason)
      return done
    },
    hurry,
  }
}

/** The part of `process` that signals need. */
export interface ProcessSignals {
  on(event: 'SIGINT' | 'SIGTERM' | 'SIGHUP' | 'disconnect', listener: () => void): unknown
  exit(code: number): void
}

/** One Ctrl-C arrives up to three times: from the terminal, from npm and from the launcher. Milliseconds. */
const SAME_SIGNAL = 500
/** How long stopping may take once hurried, milliseconds. */
const HURRY_LIMIT = 5000

/**
 * Shuts down on the first SIGINT, SIGTERM, SIGHUP or loss of the parent (its IPC channel), then exits 0. A second signal ends the
 * draining; a third, or five seconds, ends the process with code 1. SIGHUP does not count where `onHangup` takes it: whoever returns true.
 */
export function stopOnSignals(
  lifecycle: Lifecycle,
  signals: ProcessSignals,
  clock: Clock,
  onHangup: () => boolean = () => false,
): void {
  let count = 0
  let last = Number.NEGATIVE_INFINITY
  const handle = (reason: string) => () => {
    const now = clock.monotonic()
    if (now - last < SAME_SIGNAL) return
    last = now
    count += 1
    if (count === 1) {
      void lifecycle.shutdown(reason).then(() => signals.exit(0))
    } else if (count === 2) {
      lifecycle.hurry()
      clock.after(HURRY_LIMIT, () => signals.exit(1))
    } else {
      signals.exit(1)
    }
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) signals.on(signal, handle(signal))
  const hangup = handle('SIGHUP')
  signals.on('SIGHUP', () => void (onHangup() || hangup()))
  signals.on('disconnect', handle('the parent process is gone'))
}
