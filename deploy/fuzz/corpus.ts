import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Case, decodeCase, encodeCase } from './target.ts'

const FOLDER = join(import.meta.dirname, 'corpus')

/** Cases kept of a target, by the names of their files. */
export function keptCases(target: string): { name: string; one: Case }[] {
  const folder = join(FOLDER, target)
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .toSorted()
    .map((name) => ({ name, one: decodeCase(readFileSync(join(folder, name))) }))
}

/** Keeps a case; returns its file's name, which is of its bytes. */
export function keepCase(target: string, one: Case): string {
  const bytes = encodeCase(one)
  const name = createHash('sha256').update(bytes).digest('hex').slice(0, 16)
  mkdirSync(join(FOLDER, target), { recursive: true })
  writeFileSync(join(FOLDER, target, name), bytes)
  return name
}
