import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FRAME } from '../../proto/frames.ts'
import type { UsageEvent } from '../../proto/usage.ts'
import { calmPlan, type Plan, planOf } from './plan.ts'
import { openStage, type Stage } from './pool.ts'
import type { Scene } from './run.ts'

/** Seeds of the suite; `npm run simulate` plays more. */
const SEEDS = 200
const PART = 20

/** Seeds that once broke a promise, and what was wrong. */
const KEPT: readonly [seed: number, what: string][] = [
  [63, 'the counters were away when a call was settled, and who booked it died before it could tell them'],
  [61, 'the connection of a stream that was complete while its client was behind stayed paused for ever'],
  [189, 'a router sleeps past the limit of an attempt and gives it up unread'],
  [141, 'a call that is continued elsewhere costs more than its hold covers'],
  [150, 'the beginning of an answer that goes on elsewhere is input there'],
  [357, 'an edge books by estimate what a router that was cut off tells later'],
  [108_415, 'an edge and a router that was started again estimate one call differently in one batch'],
]

let stage: Stage

beforeAll(async () => {
  stage = await openStage(process.env['TURNPIKE_TEST_POSTGRES_URL'] ?? '')
})
afterAll(() => stage.close())

async function violationsOf(plan: Plan, sabotage?: (scene: Scene) => void): Promise<string[]> {
  return (await stage.play(plan, sabotage === undefined ? {} : { sabotage })).violations
}

describe('a simulated cluster', () => {
  for (let from = 1; from <= SEEDS; from += PART) {
    it(`keeps its promises under the seeds ${from} to ${from + PART - 1}`, { timeout: 600_000 }, async () => {
      const broken: string[] = []
      for (let seed = from; seed < from + PART; seed++)
        for (const violation of await violationsOf(planOf(seed)))
          broken.push(`npm run simulate -- --seed ${seed} --trace: ${violation}`)
      expect(broken).toEqual([])
    })
  }

  for (const [seed, what] of KEPT)
    it(`keeps its promises under the seed ${seed}, where ${what}`, { timeout: 120_000 }, async () => {
      expect(await violationsOf(planOf(seed))).toEqual([])
    })

  it('does the same under the same seed', { timeout: 240_000 }, async () => {
    for (const seed of [1, 9, 61, 141]) {
      const [first, second] = [await stage.play(planOf(seed)), await stage.play(planOf(seed))]
      expect(second).toEqual(first)
    }
  })
})

/** Calls of everybody, answered by upstreams that do as they should. */
function plain(fields: Partial<Plan['calls'][number]> = {}): Plan {
  const plan = calmPlan(7)
  const calls = planOf(7).calls.map((call) => ({ ...call, edge: 1, model: 'one', leaves: null, reads: null, ...fields }))
  return { ...plan, calls, length: 15_000 }
}

describe('the checks', () => {
  const cases: { what: string; finds: RegExp; plan?: Plan; break: (scene: Scene) => void }[] = [
    {
      what: 'a call that is booked twice',
      finds: /^booked: .* was served 1 times and has 2 entries/,
      break: ({ bus }) => {
        bus.durable.alter = (events) =>
          (events as UsageEvent[]).flatMap((event) => [event, { ...event, callId: `${event.callId}-b` }])
      },
    },
    {
      what: 'an event that is lost',
      finds: /^booked: .* was served 1 times and has 0 entries/,
      break: ({ bus }) => {
        bus.durable.alter = (events) => events.slice(1)
      },
    },
    {
      what: 'a token that is not booked',
      finds: /^booked: call-\d+ used .* and was booked/,
      break: ({ bus }) => {
        bus.durable.alter = (events) =>
          (events as UsageEvent[]).map((event) => ({
            ...event,
            attempts: event.attempts.map((attempt) =>
              attempt.usage === undefined
                ? attempt
                : { ...attempt, usage: { ...attempt.usage, output: attempt.usage.output - 1 } },
            ),
          }))
      },
    },
    {
      what: 'a hold that is never released',
      finds: /^rest: .*"leases":[1-9]/,
      plan: plain({ key: 'sk-simulated-wide-0002' }),
      break: ({ counters }) => {
        counters.skip = 'book'
      },
    },
    {
      what: 'a budget that is not asked',
      finds: /^budget: sk-simulated-tiny-0003 spent/,
      plan: plain({ key: 'sk-simulated-tiny-0003' }),
      break: ({ counters }) => {
        counters.skip = 'budgets'
      },
    },
    {
      what: 'a piece that is sent twice in place of the next',
      finds: /^bytes: call-\d+ got </,
      plan: plain({ stream: true, key: 'sk-simulated-free-0001' }),
      break: ({ bus }) => {
        let before: unknown = null
        bus.tamper = (kind, seq, payload) => {
          if (kind !== FRAME.data || !Buffer.from(payload as Uint8Array).includes('"content":"<')) return { seq, payload }
          const sent = before ?? payload
          before = payload
          return { seq, payload: sent }
        }
      },
    },
    {
      what: 'a call that never ends',
      finds: /^ended: call-\d+ has no answer/,
      break: ({ world, plan }) => {
        // After the first calls, and nobody thaws what is not frozen by a fault before the end.
        world.after(plan.length / 2, null, 'sabotage', () => {
          const edge = world.processes.find(({ name }) => name === 'edge1')
          edge?.freeze()
          if (edge !== undefined) edge.thaw = () => undefined
        })
      },
    },
    {
      what: 'a sum that is not that of the ledger',
      finds: /^sums: /,
      break: ({ world, database }) => {
        world.after(14_000, null, 'sabotage', () => void database.look('update spend set spent_nano = spent_nano + 1'))
      },
    },
    {
      what: 'a timer that is left',
      finds: /^left: router1 has 1 timers/,
      break: ({ world }) => void world.processes.find(({ name }) => name === 'router1')?.clock.every(1_000, () => undefined),
    },
    {
      what: 'an error that nobody caught',
      finds: /^crash: edge1: Error: sabotage/,
      break: ({ world }) =>
        void world.processes
          .find(({ name }) => name === 'edge1')
          ?.clock.after(100, () => {
            throw new Error('sabotage')
          }),
    },
  ]
  for (const { what, finds, plan = plain(), break: breaks } of cases)
    it(`find ${what}`, { timeout: 120_000 }, async () => {
      expect(await violationsOf(plan)).toEqual([])
      const found = await violationsOf(plan, breaks)
      expect(
        found.some((violation) => finds.test(violation)),
        found.join('\n').slice(0, 2_000),
      ).toBe(true)
    })
})
