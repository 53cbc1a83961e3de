import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { testClock } from '../shared/clock.ts'
import { createLog } from '../shared/log.ts'
import { startPostgres } from './servers.ts'
import { createShared } from './simulation/cluster.ts'
import { calmPlan, planOf } from './simulation/plan.ts'
import { run, START } from './simulation/run.ts'
import { openStore } from './simulation/store.ts'

const directory = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'turnpike-simulation-'))
const t0 = performance.now()
const server = await startPostgres({
  directory: join(directory, 'postgres'),
  settings: { fsync: 'off', full_page_writes: 'off', synchronous_commit: 'off' },
})
const store = await openStore(server.url, testClock(START))
console.log('store', Math.round(performance.now() - t0))
const shared = createShared()
for (let seed = Number(process.argv[2] ?? 1); seed <= Number(process.argv[3] ?? 1); seed++) {
  const from = performance.now()
  const plan = process.argv[4] === 'calm' ? calmPlan(seed) : planOf(seed)
  const result = await run({
    plan,
    store,
    shared,
    directory: join(directory, 'run'),
    trace: process.env.TRACE ? (l) => console.log(l) : undefined,
    log: process.env.LOG ? createLog(process.env.LOG, 'sim') : undefined,
  })
  console.log(seed, Math.round(performance.now() - from), JSON.stringify(result))
}
await store.drop()
await server.stop()
rmSync(directory, { recursive: true, force: true })
