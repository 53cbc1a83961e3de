import { join } from 'node:path'
import process from 'node:process'
import { FAULTS } from './chaos/index.ts'
import { createRunner } from './chaos/run.ts'
import { line } from './chaos/verdict.ts'
import { openWorld } from './chaos/world.ts'

const world = await openWorld({ packages: join(import.meta.dirname, '../.turnpike/packages') })
const runner = createRunner(world, { next: Math.random, told: (verdict) => console.log(line(verdict)) })
try {
  const only = process.argv[2]?.split(',')
  for (const fault of FAULTS.filter(({ name }) => only === undefined || only.includes(name))) {
    await runner.run(fault, { hold: 10_000, outage: 20_000, streams: 200, streamLasts: 6_000 })
  }
  await runner.finish()
} finally {
  runner.stop()
  await world.stop()
}
