import { readFileSync } from 'node:fs'

/**
 * Loaded before a process' own code (`node --import`): its wall clock is off by the milliseconds that the file TURNPIKE_CHAOS_CLOCK holds, as if
 * somebody had stepped the machine's clock. Time that is measured (`performance.now`, timers) goes on as it does on a machine. Inside the
 * process alone: the same step for all processes of a machine needs rights that a test has not.
 */
const file = process.env['TURNPIKE_CHAOS_CLOCK']
if (file !== undefined) {
  let offset = 0
  const look = (): void => {
    try {
      const read = Number(readFileSync(file, 'utf8'))
      if (Number.isFinite(read)) offset = read
    } catch {
      // Everything is being taken away.
    }
  }
  look()
  setInterval(look, 100).unref()
  const RealDate = Date
  const now = (): number => RealDate.now() + offset
  globalThis.Date = new Proxy(RealDate, {
    construct: (target, args: unknown[], made) => Reflect.construct(target, args.length === 0 ? [now()] : args, made) as object,
    apply: () => new RealDate(now()).toString(),
    get: (target, name) => (name === 'now' ? now : Reflect.get(target, name)),
  })
  // `prlimit --fsize` makes a full disk of a process' own; the signal that comes with it would end Node, the error does what a full disk does.
  process.on('SIGXFSZ', () => undefined)
}
