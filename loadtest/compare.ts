import { parseArgs } from 'node:util'
import { METRICS } from './metrics.ts'
import { figure, type Result, savedResults } from './report.ts'

/**
 * What changed between two results: `node loadtest/compare.ts [before] [after] [--threshold 15]`. A result is named by the start of its
 * commit or its date; without names, the last two. Ends with code 1 when a figure is worse by more than the threshold (percent, times
 * the noise of the metric: CPU time is steady, a 99th percentile is not).
 */
export interface Change {
  topology: string
  scenario: string
  metric: string
  before: number
  after: number
  /** Percent; positive is worse. */
  worse: number
  beyond: boolean
}

/** Compares the figures that both results have. */
export function compare(before: Result, after: Result, threshold: number): Change[] {
  const changes: Change[] = []
  for (const now of after.measured) {
    const then = before.measured.find((one) => one.topology === now.topology && one.scenario === now.scenario)
    if (then === undefined) continue
    for (const [metric, { better, noise }] of Object.entries(METRICS)) {
      const one = then.figures[metric]
      const two = now.figures[metric]
      if (one === undefined || two === undefined || one === two) continue
      const more = one === 0 ? Number.POSITIVE_INFINITY : ((two - one) / Math.abs(one)) * 100
      const worse = better === 'less' ? more : -more
      changes.push({
        topology: now.topology,
        scenario: now.scenario,
        metric,
        before: one,
        after: two,
        worse,
        beyond: worse > threshold * noise,
      })
    }
  }
  return changes
}

function main(): number {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { threshold: { type: 'string', default: '15' } } })
  const results = savedResults()
  const find = (name: string | undefined, fallback: number): Result | undefined =>
    name === undefined
      ? results.at(fallback)
      : results.findLast(({ commit, at }) => commit.startsWith(name) || at.startsWith(name))
  const before = find(positionals[0], -2)
  const after = find(positionals[1], -1)
  if (before === undefined || after === undefined) {
    console.error('there are no two such results in loadtest/results/results.jsonl')
    return 2
  }
  const changes = compare(before, after, Number(values.threshold))
  console.log(`${before.at} ${before.commit} → ${after.at} ${after.commit}`)
  for (const { topology, scenario, metric, before: one, after: two, worse, beyond } of changes) {
    const sign = worse > 0 ? 'worse' : 'better'
    console.log(
      `${beyond ? '!' : ' '} ${topology} ${scenario}: ${METRICS[metric]?.title} ${figure(one)} → ${figure(two)} (${figure(Math.abs(worse))} % ${sign})`,
    )
  }
  return changes.some(({ beyond }) => beyond) ? 1 : 0
}

if (process.argv[1] === import.meta.filename) process.exitCode = main()
