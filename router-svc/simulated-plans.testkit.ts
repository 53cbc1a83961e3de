import fc from 'fast-check'
import type { Plan } from './simulated-calls.testkit.ts'

const group = fc.constantFrom('gpt' as const, 'b' as const, 'c' as const)
const groups = fc.uniqueArray(group, { maxLength: 3, size: 'max' })
/** Mostly short: what takes long ends in a limit, and that is one case of many. */
const time = (max: number): fc.Arbitrary<number> =>
  fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(0, 0, 25, 60) },
    { weight: 3, arbitrary: fc.integer({ min: 100, max: 500 }) },
    { weight: 1, arbitrary: fc.nat(max) },
  )
/** Not `double`, which is drawn to the ends. */
const share = fc.constantFrom(0.5, 0, 0.15, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9, 1)

const play = fc.record({
  kind: fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom('whole' as const) },
    {
      weight: 4,
      arbitrary: fc.constantFrom('closes' as const, 'breaks' as const, 'stalls' as const, 'malformed' as const, 'error' as const),
    },
    { weight: 2, arbitrary: fc.constantFrom('refused' as const, 'status' as const, 'html' as const, 'empty' as const) },
  ),
  status: fc.constantFrom(400, 401, 404, 408, 429, 500, 503, 529),
  retryAfter: fc.constantFrom(null, 0, 1, 30),
  wait: time(4_000),
  pace: time(1_500),
  words: fc.constantFrom(3, 0, 1, 2, 4, 6),
  tool: fc.oneof(
    { weight: 6, arbitrary: fc.constant('none' as const) },
    { weight: 1, arbitrary: fc.constantFrom('only' as const, 'after' as const) },
  ),
  usage: fc.boolean(),
  fault: share,
  piece: fc.constantFrom(1, 1, 2, 3, 100, -20, -150, -400),
  repeats: fc.boolean(),
})

const call = fc.record({
  at: fc.oneof(
    fc.constant(0),
    fc.nat(8).map((n) => n * 500),
  ),
  endpoint: fc.constantFrom('acompletion' as const, 'anthropic_messages' as const),
  stream: fc.oneof({ weight: 3, arbitrary: fc.constant(true) }, { weight: 1, arbitrary: fc.constant(false) }),
  includeUsage: fc.boolean(),
  deadline: fc.constantFrom(120_000, 120_000, 120_000, 6_000),
  timeout: fc.constantFrom(null, null, null, 4_000),
  leavesAt: fc.oneof({ weight: 5, arbitrary: fc.constant(null) }, { weight: 1, arbitrary: time(6_000) }),
  slow: fc.option(
    fc
      .record({ from: fc.nat(1_000), length: fc.constantFrom(50, 500, 4_000) })
      .map(({ from, length }) => ({ from, to: from + length })),
    { freq: 3 },
  ),
})

const plan: fc.Arbitrary<Plan> = fc.record({
  deployments: fc
    .array(
      fc.record({
        group,
        speaks: fc.constantFrom('openai' as const, 'anthropic' as const),
        prefill: fc.boolean(),
        order: fc.constantFrom(null, 1, 2),
        weight: fc.constantFrom(1, 3),
      }),
      { minLength: 1, maxLength: 3, size: 'max' },
    )
    .chain((others) =>
      fc
        .constantFrom('openai' as const, 'anthropic' as const)
        .map((speaks) => [{ group: 'gpt' as const, speaks, prefill: true, order: null, weight: 1 }, ...others]),
    ),
  fallbacks: fc.record({ gpt: groups, b: groups, c: groups, '*': groups }, { requiredKeys: ['gpt'] }),
  maxFallbacks: fc.constantFrom(5, 5, 1, 0),
  numRetries: fc.constantFrom(2, 1, 0, 2, 3),
  retryPolicy: fc.oneof(
    fc.constant({}),
    fc.record(
      { RateLimitError: fc.nat(2), InternalServerError: fc.nat(2), TimeoutError: fc.nat(2), BadRequestError: fc.nat(1) },
      { requiredKeys: [] },
    ),
  ),
  failover: fc.record({ enabled: fc.constantFrom(true, true, true, true, false), max: fc.constantFrom(2, 2, 2, 1, 1, 0) }),
  hedgeAfter: fc.constantFrom(null, null, 200),
  cooldownTime: fc.constantFrom(5_000, 0, 500),
  allowedFails: fc.constantFrom(null, 0, 1),
  calls: fc.array(call, { minLength: 1, maxLength: 3 }),
  spool: fc.constantFrom(0, 0, 30),
  plays: fc.array(play, { minLength: 1, maxLength: 8, size: 'max' }),
  draws: fc.array(
    share.map((drawn) => drawn * 0.999),
    { minLength: 1, maxLength: 5 },
  ),
})

/** Plans for one gateway: what it is configured for, who calls it, and how its providers behave. Without bias, which likes short lists. */
export const plans = fc.noBias(plan)
