import { entryOf } from '../entry.ts'

/** Environment variables by name. */
export type Environment = Readonly<Record<string, string | undefined>>

/** Where a value stands: keys and indexes from the top. */
export type Path = readonly (string | number)[]

/** `model_list[2].litellm_params.rpm` */
export function formatPath(path: Path): string {
  return path.map((part, index) => (typeof part === 'number' ? `[${part}]` : index === 0 ? part : `.${part}`)).join('')
}

const REFERENCE = 'os.environ/'

/** The variable a value refers to (`os.environ/NAME` as the whole text), else null. */
export function referenceOf(value: unknown): string | null {
  return typeof value === 'string' && value.startsWith(REFERENCE) ? value.slice(REFERENCE.length).trim() : null
}

/**
 * A copy of `tree` with every reference replaced by what the environment holds: `true` and `false` become booleans, a variable that is
 * not set becomes null and is told to `missing`.
 */
export function resolveReferences(tree: unknown, env: Environment, missing: (path: Path, name: string) => void): unknown {
  const walk = (value: unknown, path: Path): unknown => {
    const name = referenceOf(value)
    if (name !== null) {
      const found = entryOf(env, name)
      if (found === undefined) missing(path, name)
      return found === undefined ? null : readVariable(found)
    }
    if (Array.isArray(value)) return value.map((item, index) => walk(item, [...path, index]))
    if (typeof value === 'object' && value !== null) {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, walk(item, [...path, key])]))
    }
    return value
  }
  return walk(tree, [])
}

function readVariable(text: string): string | boolean {
  const lower = text.trim().toLowerCase()
  if (lower === 'true') return true
  return lower === 'false' ? false : text
}
