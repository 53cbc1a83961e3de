import { readdirSync, readFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'

export const ROOT = resolve(import.meta.dirname, '../..')
export const FOLDERS = ['proto', 'shared', 'edge', 'router-svc', 'accounting-svc', 'loadtest', 'deploy'] as const

/** Tests, and what only tests use. */
const TEST = /\.(test|suite|testkit)\.ts$|\/tests\/|\/(testing|test-[a-z-]+|[a-z-]+-fixture)\.ts$/

export interface Source {
  /** From the root, with forward slashes. */
  path: string
  text: string
  /** `text` without comments. */
  code: string
  isTest: boolean
}

/** Every TypeScript and JavaScript file of ours. */
export function sources(): Source[] {
  return FOLDERS.flatMap((folder) => walk(join(ROOT, folder)))
    .filter((file) => /\.(ts|mjs)$/.test(file))
    .map((file) => {
      const text = readFileSync(file, 'utf8')
      const path = relative(ROOT, file)
      return { path, text, code: withoutComments(text), isTest: TEST.test(path) }
    })
}

/** Paths of everything in a folder, files and folders, dependencies and results left out. */
export function walk(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.name !== 'node_modules' && entry.name !== 'results' && !entry.name.startsWith('.'))
    .flatMap((entry) => {
      const path = join(folder, entry.name)
      return entry.isDirectory() ? [path, ...walk(path)] : [path]
    })
}

/** What a file imports: static, dynamic with a literal, and re-exports. */
export function importsOf(source: Source): string[] {
  const statements = source.code.matchAll(/^\s*(?:import|export)\b(?:[^;'"]*?\bfrom\s*)?\s*['"]([^'"]+)['"]/gm)
  const dynamic = source.code.matchAll(/\bimport\(\s*['"]([^'"]+)['"]\s*\)/g)
  return [...statements, ...dynamic].map((match) => match[1] as string)
}

/**
 * Removes comments. Strings and templates are stepped over, so that an address inside one (`http://…`) is not taken for a
 * comment; a regular expression holding a quote or two slashes would mislead it, which can only hide the rest of its line.
 */
function withoutComments(text: string): string {
  return text.replace(/'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, (match) =>
    match.startsWith('/') ? '' : match,
  )
}
