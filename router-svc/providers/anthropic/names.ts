import { isFields, text } from './wire.ts'

/** What Anthropic accepts as the name of a tool (API reference: `^[a-zA-Z0-9_-]{1,128}$`) and as the id of a call. */
const NAME_LIMIT = 128
const FORBIDDEN = /[^a-zA-Z0-9_-]/g

/**
 * Gives strings a form the provider accepts, the same string always the same form, two strings never one form. Depends only on the
 * order in which strings are first seen, so a conversation that grows keeps its prefix (and the provider's cache of it).
 */
export class Sanitiser {
  readonly #limit: number
  readonly #clean = new Map<string, string>()
  readonly #original = new Map<string, string>()

  constructor(limit = Number.POSITIVE_INFINITY) {
    this.#limit = limit
  }

  clean(original: string): string {
    const known = this.#clean.get(original)
    if (known !== undefined) return known
    const base = original.replace(FORBIDDEN, '_').slice(0, this.#limit) || '_'
    let clean = base
    for (let n = 2; this.#original.has(clean); n += 1) clean = `${base.slice(0, this.#limit - 1 - String(n).length)}_${n}`
    this.#clean.set(original, clean)
    this.#original.set(clean, original)
    return clean
  }

  /** Whether some string was given this form. */
  has(clean: string): boolean {
    return this.#original.has(clean)
  }

  /** The string that `clean` made this of; itself when it made none. */
  original(clean: string): string {
    return this.#original.get(clean) ?? clean
  }
}

/** The names of the tools of a canonical request; request and answer derive the same ones. */
export function toolNames(request: Readonly<Record<string, unknown>>): Sanitiser {
  const names = new Sanitiser(NAME_LIMIT)
  const tools = request['tools']
  if (!Array.isArray(tools)) return names
  // Names that are fine keep their form whatever comes before them.
  const given = tools.map(toolName).filter((name) => name !== '')
  for (const name of given) if (isClean(name)) names.clean(name)
  for (const name of given) names.clean(name)
  return names
}

/** Name of a tool definition, function or native; empty when it has none. */
export function toolName(tool: unknown): string {
  if (!isFields(tool)) return ''
  return isFields(tool['function']) ? text(tool['function']['name']) : text(tool['name'])
}

function isClean(name: string): boolean {
  return name.length <= NAME_LIMIT && name.replace(FORBIDDEN, '_') === name
}
