import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createSequence } from '../../shared/sequence.ts'
import type { Span } from '../chaos/fault.ts'
import { randomFault } from '../chaos/random-fault.ts'
import { createRunner, type Runner } from '../chaos/run.ts'
import { openWorld, type World } from '../chaos/world.ts'

/** Seconds of killing; `npm run chaos` does it for longer, and worse things than kills. */
const SECONDS = Number(process.env['TURNPIKE_CHAOS_SECONDS'] ?? 45)
/** Kills alone last for no time. */
const SPAN: Span = { hold: 0, outage: 0, streams: 0, streamLasts: 1 }
const PACKAGES = join(import.meta.dirname, '../../.turnpike/packages')

/** Everything that can die dies under load; then the books are compared with what the provider served. */
describe('money while everything is killed', () => {
  let world: World
  let runner: Runner
  const seed = Date.now() % 1_000_000
  const next = createSequence(seed)

  beforeAll(async () => {
    world = await openWorld({ packages: PACKAGES })
    runner = createRunner(world, { next })
  }, 120_000)
  afterAll(async () => {
    runner?.stop()
    await world?.stop()
  }, 60_000)

  it(
    'books every call the provider served once, holds nothing afterwards, and counts what the ledger says',
    async () => {
      const killed: string[] = []
      const kills = randomFault(
        SECONDS * 1000,
        next,
        ({ name }) => name.startsWith('kill-'),
        (name) => killed.push(name),
      )
      await runner.run(kills, SPAN)
      const [verdict] = await runner.finish()
      const told = `seed ${seed}, ${killed.join(', ')}: ${JSON.stringify(verdict)}`
      expect(verdict?.failures, told).toEqual([])
      expect(killed.length, told).toBeGreaterThan(SECONDS / 15)
      expect(verdict?.served, told).toBeGreaterThan(SECONDS)
      expect(await world.counters.totals(), told).toEqual({ leases: 0, held: 0 })
    },
    SECONDS * 1000 + 400_000,
  )
})
