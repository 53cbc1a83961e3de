import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Plan, type PlannedCall, type Simulated, simulate } from './simulated-calls.testkit.ts'
import { checkAll } from './simulated-invariants.testkit.ts'
import { plans } from './simulated-plans.testkit.ts'
import type { Play } from './simulated-provider.testkit.ts'

/** More by hand: `TURNPIKE_TEST_PLANS=20000 TURNPIKE_TEST_SEED=1 npx vitest run … serve.properties`. */
const PLANS = Number(process.env['TURNPIKE_TEST_PLANS'] ?? 300)
const SEED = process.env['TURNPIKE_TEST_SEED']

describe('the router', () => {
  it('ends every call once, says nothing twice, loses nothing and leaves nothing behind, whatever providers and clients do', async () => {
    await fc.assert(
      fc.asyncProperty(plans, async (made) => {
        await checkAll(await simulate(made))
      }),
      { numRuns: PLANS, ...(SEED === undefined ? {} : { seed: Number(SEED) }) },
    )
  }, 3_600_000)

  describe('has failed, and does no more, with', () => {
    it('a time limit of the request on a call that may be hedged', async () => {
      const world = await held({ hedgeAfter: 200, calls: [{ ...CALL, timeout: 4_000 }], plays: [{ ...PLAY, wait: 100 }] })
      expect(world.gateway.events[0]).toMatchObject({ outcome: 'success' })
    })

    it('a call that ran out of time: it is told as that, not as a client that left', async () => {
      const world = await held({ calls: [{ ...CALL, deadline: 1_000 }], plays: [{ ...PLAY, kind: 'stalls' }] })
      expect(world.gateway.events[0]).toMatchObject({ outcome: 'cancelled', error: { code: 'deadline_exceeded' } })
    })
  })
})

const CALL: PlannedCall = {
  at: 0,
  endpoint: 'acompletion',
  stream: true,
  includeUsage: false,
  deadline: 120_000,
  timeout: null,
  leavesAt: null,
  slow: null,
}

const PLAY: Play = {
  kind: 'whole',
  status: 500,
  retryAfter: null,
  wait: 0,
  pace: 25,
  words: 3,
  tool: 'none',
  usage: true,
  fault: 0.5,
  piece: 1,
  repeats: false,
}

/** Plays a plan of which only what matters is said, and checks all that must hold of any. */
async function held(fields: Partial<Plan>): Promise<Simulated> {
  const world = await simulate({
    deployments: [{ group: 'gpt', speaks: 'openai', prefill: false, order: null, weight: 1 }],
    fallbacks: {},
    maxFallbacks: 5,
    numRetries: 0,
    retryPolicy: {},
    failover: { enabled: true, max: 2 },
    hedgeAfter: null,
    cooldownTime: 5_000,
    allowedFails: null,
    calls: [CALL],
    plays: [PLAY],
    draws: [0],
    spool: 0,
    ...fields,
  })
  await checkAll(world)
  return world
}
