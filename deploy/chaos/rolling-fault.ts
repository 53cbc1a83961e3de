import type { Fault } from './fault.ts'

/** A deployment of a new version: every process drains, ends and starts, one after another, while streams run and new ones begin. */
export const rollingFault: Fault = {
  name: 'rolling-restart',
  title: 'rolling restart of every process, each drained',
  allows: { endings: [], gap: 2_000, recovers: 0 },
  load: 'long-streams',
  async run({ cluster }) {
    for (const { role, index } of cluster.members()) {
      await cluster.kill(role, index, 'SIGTERM')
      await cluster.restart(role, index)
    }
  },
}
