import type { Role } from '../../proto/subjects.ts'
import { BROKEN, type Fault, PROCESSES, pause, TOLD, UNCOUNTED } from './fault.ts'

/** What happens to one process of each role: killed, frozen, restarted as an operator would. */
export const processFaults: readonly Fault[] = PROCESSES.flatMap((role) => [killed(role), frozen(role), restarted(role)])

function killed(role: Role): Fault {
  const endings = { edge: BROKEN, router: [TOLD], accounting: [] }[role]
  return {
    name: `kill-${role}`,
    title: `SIGKILL of ${nameOf(role)}, started again`,
    random: true,
    allows: { endings, gap: 3_000, recovers: 1_000, presumed: role === 'router' },
    async run(world) {
      await world.kill(role, 0)
      await pause(1_500)
      await world.start(role, 0)
    },
  }
}

function frozen(role: Role): Fault {
  return {
    name: `freeze-${role}`,
    title: `SIGSTOP of ${nameOf(role)} for {hold}`,
    random: true,
    // A stream whose router is silent for 6 s is told so; a call goes to another. What the router asked the counters before is too late when it wakes.
    allows: { endings: role === 'router' ? [TOLD, UNCOUNTED] : [], gap: 4_000, recovers: 1_000 },
    async run(world, { hold }) {
      await world.cluster.kill(role, 0, 'SIGSTOP')
      await pause(hold)
      await world.cluster.kill(role, 0, 'SIGCONT')
    },
  }
}

function restarted(role: Role): Fault {
  return {
    name: `restart-${role}`,
    title: `SIGTERM of ${nameOf(role)}, started again when it has ended`,
    random: true,
    allows: { endings: [], gap: 3_000, recovers: 1_000 },
    async run(world) {
      await world.cluster.kill(role, 0, 'SIGTERM')
      await world.start(role, 0)
    },
  }
}

function nameOf(role: Role): string {
  return { edge: 'one of two edges', router: 'one of two routers', accounting: 'the only accounting' }[role]
}
