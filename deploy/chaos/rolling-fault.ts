import type { Fault } from './fault.ts'

/** A deployment of a new version: every process drains, ends and starts, one after another, while streams run and new ones begin. */
export const rollingFault: Fault = {
  name: 'rolling-restart',
  title: 'rolling restart of every process, each drained, under {streams} streams of {lasts} at once',
  allows: { endings: [], gap: 2_000, recovers: 0 },
  load: 'long-streams',
  async run(world) {
    for (const { role, index } of world.cluster.members()) {
      await world.cluster.kill(role, index, 'SIGTERM')
      await world.start(role, index)
    }
  },
}
