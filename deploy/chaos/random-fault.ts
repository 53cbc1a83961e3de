import { BROKEN, type Fault, pause } from './fault.ts'
import { FAULTS } from './index.ts'

/** Milliseconds between two faults, at random up to twice that: what one left behind meets the next. */
const PAUSE = 1_000

/** Faults one after another for so many milliseconds, each once before any comes again, in an order and for as long as `next` says. */
export function randomFault(
  lasts: number,
  next: () => number,
  among: (fault: Fault) => boolean,
  note: (text: string) => void,
): Fault {
  const chosen = FAULTS.filter((fault) => fault.random === true && among(fault))
  return {
    name: 'random',
    title: `for ${Math.round(lasts / 1000)} s one of these after another at random`,
    // Whatever a call may be told is allowed here; what no fault allows is not, and the books have no exceptions.
    allows: {
      endings: [...new Set([...chosen.flatMap(({ allows }) => allows.endings), ...BROKEN])],
      ...{ gap: 45_000, recovers: 20_000, presumed: true, unheard: chosen.some(({ allows }) => allows.unheard === true) },
    },
    async run(world, span) {
      const deadline = performance.now() + lasts
      let order: Fault[] = []
      while (performance.now() < deadline) {
        if (order.length === 0) order = shuffled(chosen, next)
        const fault = order.pop() as Fault
        const hold = Math.round(span.hold * (0.1 + 0.9 * next()))
        note(`${fault.name} (${hold} ms)`)
        await fault.run(world, { ...span, hold })
        await pause(PAUSE * 2 * next())
      }
      await world.mend()
    },
  }
}

function shuffled(faults: readonly Fault[], next: () => number): Fault[] {
  return faults
    .map((fault) => ({ fault, at: next() }))
    .sort((one, other) => one.at - other.at)
    .map(({ fault }) => fault)
}
