import { execFileSync } from 'node:child_process'
import { type Fault, pause } from './fault.ts'

/**
 * A disk without room under the spool of one router. Filling a file system of its own needs rights that not every machine gives, so the router
 * process alone is forbidden to make any file larger (`prlimit --fsize=0`: EFBIG in the place of ENOSPC, from the same write).
 */
export const diskFaults: readonly Fault[] = [
  {
    name: 'disk-full',
    title: 'one of two routers cannot write its spool for {half} (RLIMIT_FSIZE 0)',
    random: true,
    allows: { endings: [], gap: 2_000, recovers: 1_000 },
    async run({ cluster }, { hold }) {
      const router = cluster.members().find(({ role }) => role === 'router')
      limit(router?.pid ?? 0, '0')
      await pause(hold / 2)
      limit(router?.pid ?? 0, 'unlimited')
    },
  },
  {
    name: 'disks-full',
    title: 'no router can write its spool for {half}',
    random: true,
    allows: { endings: ['503 *'], gap: 8_000, recovers: 2_000 },
    async run({ cluster }, { hold }) {
      const routers = cluster.members().filter(({ role }) => role === 'router')
      for (const { pid } of routers) limit(pid, '0')
      await pause(hold / 2)
      for (const { pid } of routers) limit(pid, 'unlimited')
    },
  },
]

function limit(pid: number, soft: string): void {
  execFileSync('prlimit', [`--pid=${pid}`, `--fsize=${soft}:unlimited`])
}
