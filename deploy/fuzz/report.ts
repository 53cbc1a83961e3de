import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { commit } from '../../loadtest/commit.ts'
import { machine, markdown } from '../../loadtest/report.ts'
import type { FuzzResult } from './engine.ts'
import { TARGETS } from './index.ts'

const ROOT = join(import.meta.dirname, '../..')
const RESULTS = join(ROOT, 'loadtest/results/fuzz.jsonl')
const README = join(ROOT, 'README.md')
const BEGIN = '<!-- fuzz: begin (written by `npm run fuzz -- --save`) -->'
const END = '<!-- fuzz: end -->'

interface SavedRun {
  at: string
  commit: string
  cpus: number
  results: FuzzResult[]
}

/** Appends a run to the results and writes the newest of each target into the README. */
export function save(results: readonly FuzzResult[], at: Date): void {
  const run: SavedRun = { at: at.toISOString(), commit: commit() || 'unknown', cpus: machine().cores, results: [...results] }
  appendFileSync(RESULTS, `${JSON.stringify(run)}\n`)
  const runs = readFileSync(RESULTS, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as SavedRun)
  const readme = readFileSync(README, 'utf8')
  const [from, to] = [readme.indexOf(BEGIN), readme.indexOf(END)]
  if (from < 0 || to < from) throw new Error(`README.md has no place between "${BEGIN}" and "${END}"`)
  writeFileSync(README, `${readme.slice(0, from + BEGIN.length)}\n\n${tableOf(runs)}\n\n${readme.slice(to)}`)
}

function tableOf(runs: readonly SavedRun[]): string {
  const rows = TARGETS.flatMap(({ name, about }) => {
    const run = runs.findLast(({ results }) => results.some(({ target }) => target === name))
    const result = run?.results.find(({ target }) => target === name)
    if (run === undefined || result === undefined) return []
    const { cases, kept, perSecond, growth, findings, seed } = result
    const grown = `${(growth / 1024 / 1024).toFixed(1)} MB`
    const when = `${run.at.slice(0, 10)}, ${run.commit}, seed ${seed}`
    return [[`\`${name}\``, about, `${cases} + ${kept}`, `${Math.round(perSecond)}`, grown, `${findings.length}`, when]]
  })
  return markdown([['target', 'what it is fed', 'cases (new + kept)', 'cases/s', 'memory grown', 'findings', 'when'], ...rows], 7)
}
