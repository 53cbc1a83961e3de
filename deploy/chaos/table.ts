import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { markdown as markdownTable } from '../../loadtest/report.ts'
import { STALL, seconds, type Verdict } from './verdict.ts'

/** One run, one line of `chaos.jsonl`. */
export interface ChaosResult {
  at: string
  commit: string
  machine: string
  seed: number
  quick: boolean
  verdicts: Omit<Verdict, 'samples'>[]
}

const ROOT = join(import.meta.dirname, '../..')
const RESULTS = join(ROOT, 'loadtest/results/chaos.jsonl')
const README = join(ROOT, 'README.md')
const BLOCK = /(<!-- chaos -->\n)[\s\S]*?(\n<!-- \/chaos -->)/

const HEAD = [
  'what was done',
  'calls',
  'failed',
  'longest without a success',
  'slowest answer',
  'last failure after its end',
  'served / booked',
]

/** The table of the README. */
export function markdown({ at, commit, machine, quick, seed, verdicts }: ChaosResult): string {
  const rows = verdicts.map((one) => {
    const failed = Object.entries(one.endings).map(([ending, count]) => `${count} ${ending}`)
    const booked = one.failures.length === 0 ? '' : `; **${one.failures.join('; ')}**`
    const cells = [
      one.title,
      String(one.calls),
      failed.length === 0 ? 'none' : failed.join(', '),
      ...[one.gap, one.slowest, one.recovery].map(seconds),
      `${one.served} / ${one.entries}${one.again === 0 ? '' : `, ${one.again} of them once more`}${booked}${one.stalled > STALL ? `; the clients themselves stood still for ${seconds(one.stalled)}` : ''}`,
    ]
    return cells.map((cell) => cell.replaceAll('|', '\\|'))
  })
  return [
    `${at.slice(0, 10)}, commit ${commit}, ${machine}${quick ? ', `--quick`' : ''}, seed ${seed}:`,
    '',
    markdownTable([HEAD, ...rows], HEAD.length),
  ].join('\n')
}

export function savedResult(): ChaosResult | null {
  if (!existsSync(RESULTS)) return null
  const last = readFileSync(RESULTS, 'utf8').trim().split('\n').at(-1)
  return last === undefined || last === '' ? null : (JSON.parse(last) as ChaosResult)
}

/** The table as it stands in the README. */
export function shownTable(): string | null {
  return BLOCK.exec(readFileSync(README, 'utf8'))?.[0].split('\n').slice(1, -1).join('\n').trim() ?? null
}

/** Appends the line and rewrites the table in the README. */
export function save(result: ChaosResult): void {
  mkdirSync(dirname(RESULTS), { recursive: true })
  appendFileSync(RESULTS, `${JSON.stringify(result)}\n`)
  const readme = readFileSync(README, 'utf8')
  writeFileSync(
    README,
    readme.replace(BLOCK, (_, before: string, after: string) => `${before}\n${markdown(result)}\n${after}`),
  )
}
