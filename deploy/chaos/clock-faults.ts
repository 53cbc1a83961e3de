import { type Fault, pause } from './fault.ts'

const HOUR = 3_600_000

/** The wall clock of every process of ours steps, and steps back. Servers and clients keep theirs. */
export const clockFaults: readonly Fault[] = [
  stepped('clock-forward', 'an hour forward', HOUR),
  stepped('clock-back', 'an hour back', -HOUR),
]

function stepped(name: string, how: string, offset: number): Fault {
  return {
    name,
    title: `the wall clock of every process ${how} for {half}, and right again`,
    random: true,
    allows: { endings: [], gap: 1_000, recovers: 0 },
    async run(world, { hold }) {
      world.stepClock(offset)
      await pause(hold / 2)
      world.stepClock(0)
      // The processes look every 100 ms.
      await pause(200)
    },
  }
}
