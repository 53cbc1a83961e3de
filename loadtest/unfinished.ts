import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ROOT } from './launch.ts'
import type { Result } from './report.ts'

/** What a run has measured so far, kept after every round, so that one that is cut off can be resumed. */
const FILE = join(ROOT, '.turnpike/bench/unfinished.json')

export function keepPartial(result: Result, file = FILE): void {
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, JSON.stringify(result))
}

/** The run that was cut off, when it was of this commit: figures of two commits are no result. What it left out for time is tried again. */
export function partialOf(commit: string, file = FILE): Partial<Result> {
  if (!existsSync(file)) return {}
  const kept = JSON.parse(readFileSync(file, 'utf8')) as Result
  return kept.commit === commit ? { ...kept, absent: [], skipped: [] } : {}
}
