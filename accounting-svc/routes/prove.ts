import { nanoField } from '../dollars.ts'
import { writerOf } from '../identity/writer.ts'
import type { ProveReport, Prover } from '../prove/prove.ts'
import { type Route, route, z } from './route.ts'

/** Milliseconds in which calls are made: with what follows a run ends before edges give up on a management request (300 s). */
const LOAD_LIMIT = 150_000

const share = (byDefault: number) => z.number().min(0).max(1).default(byDefault)

const input = z.object({
  calls: z.number().int().min(1).max(100_000).default(1_000),
  concurrency: z.number().int().min(1).max(1_000).default(64),
  budget: z.number().positive().optional().describe('Dollars the key of the run may spend; beats budget_share'),
  budget_share: z
    .number()
    .min(0)
    .max(10)
    .default(0.8)
    .describe('Share of the cost of all calls that the key may spend: the rest must be refused'),
  streams: share(0.5).describe('Share of the calls that stream'),
  aborts: share(0.05).describe('Share of the calls whose client leaves before the end'),
  seed: z.number().int().min(0).max(4_294_967_295).default(1).describe('The same seed makes the same calls'),
})

const count = z.number().int()

const output = z.object({
  id: z.string(),
  passed: z.boolean(),
  overspend: count.describe('Nano-dollars spent beyond the budget'),
  lost: count.describe('Answers the provider bills that are not in the ledger'),
  duplicate: count.describe('Ledger entries beyond what the provider bills'),
  cost_error: count.describe('Nano-dollars, sum of the differences between the ledger and what the stated usage costs'),
  differences: z.array(z.object({ what: z.string(), expected: count, found: count })),
  problems: z.array(z.string()),
  offenders: z.object({ lost: z.array(z.string()), duplicate: z.array(z.string()), cost_error: z.array(z.string()) }),
  budget_nano: count,
  spent_nano: count,
  calls: z.object({ made: count, answered: count, refused: count, left: count, cut: count, failed: count }),
  reasons: z.record(z.string(), count),
  provider: z.object({ requests: count, failed: count, strangers: count }),
  ledger: z.object({ entries: count, billed: count, estimated: count, estimated_nano: count, presumed: count }),
  load_ms: count,
  settle_ms: count,
})

/** /prove: the self-test. */
export function proveRoutes(prover: Prover): Route[] {
  return [
    route({
      method: 'POST',
      path: '/prove',
      tag: 'prove',
      summary: 'Send a load through the gateway to a provider of its own and compare every book with what that provider served',
      access: 'admin',
      input,
      output,
      async handle(call) {
        const { budget, budget_share, calls, concurrency, streams, aborts, seed } = call.input
        const nano = budget === undefined ? null : nanoField(budget, 'budget')
        const report = await prover.run(
          {
            calls,
            concurrency,
            streams,
            aborts,
            seed,
            budget: nano === null ? { share: budget_share } : { nano },
            limit: LOAD_LIMIT,
          },
          writerOf(call),
          call.signal,
        )
        return reportObject(report)
      },
    }),
  ]
}

function reportObject({
  id,
  verdict,
  problems,
  budget,
  calls,
  provider,
  entries,
  loadTime,
  settleTime,
}: ProveReport): z.output<typeof output> {
  const { overspend, lost, duplicate, costError, differences, offenders, estimated } = verdict
  const ended = { made: calls.length, answered: 0, refused: 0, left: 0, cut: 0, failed: 0 }
  const reasons: Record<string, number> = {}
  for (const { end, reason } of calls) {
    ended[end] += 1
    if (reason !== null) reasons[reason] = (reasons[reason] ?? 0) + 1
  }
  return {
    id,
    passed: overspend + lost + duplicate + costError + differences.length + problems.length === 0,
    overspend,
    lost,
    duplicate,
    cost_error: costError,
    differences,
    problems,
    offenders: { lost: offenders.lost, duplicate: offenders.duplicate, cost_error: offenders.costError },
    budget_nano: budget,
    spent_nano: verdict.spent,
    calls: ended,
    reasons,
    provider,
    ledger: {
      entries,
      billed: verdict.billed,
      estimated: estimated.entries,
      estimated_nano: estimated.cost,
      presumed: verdict.presumed,
    },
    load_ms: loadTime,
    settle_ms: settleTime,
  }
}
