import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { type Document, isMap, isScalar, LineCounter, type Node, parseDocument } from 'yaml'
import { type Catalog, createCatalog } from '../catalog/catalog.ts'
import { isNestedDeeper, NESTING_MAX } from '../nesting.ts'
import type { SchemaProblem } from '../schema.ts'
import { sentenceOf } from '../schema.ts'
import { type Config, checkConfig, configSchema, environmentOf } from './config.ts'
import { environmentModels } from './found.ts'
import { inspect } from './inspect.ts'
import { type Environment, formatPath, type Path, referenceOf, resolveReferences } from './references.ts'

/** One thing that is wrong with the configuration, and where. */
export interface Problem {
  /** `model_list[2].litellm_params.rpm`; empty for the file as a whole. */
  path: string
  file: string
  /** From 1; null when the problem has no place in a file. */
  line: number | null
  column: number | null
  /** A sentence: what was expected, and the fix. Never holds a secret. */
  message: string
}

/** The configuration cannot be used. `message` lists every problem, one a line. */
export class ConfigError extends Error {
  readonly problems: readonly Problem[]
  /** What is probably a mistake too, as in LoadedConfig. */
  readonly warnings: readonly string[]

  constructor(problems: readonly Problem[], warnings: readonly string[] = []) {
    const count = problems.length === 1 ? '1 problem' : `${problems.length} problems`
    super(`The configuration has ${count}:\n${problems.map((problem) => `  ${line(problem)}`).join('\n')}`)
    this.name = 'ConfigError'
    this.problems = problems
    this.warnings = warnings
  }
}

export interface LoadedConfig {
  config: Config
  /** What is probably a mistake, one sentence each with its place. */
  warnings: string[]
  /** LiteLLM settings that are known but have no effect yet, and the like; for the log at level info. */
  notes: string[]
  /** The given environment with the file's `environment_variables` over it. */
  env: Environment
  /** Every file that was read, absolute; empty when the configuration came from the environment. */
  files: string[]
}

export interface LoadOptions {
  /** Adds a deployment each, public name = model: the `--model openai/gpt-4o` flag. */
  models?: string[]
  catalog?: Catalog
}

/** Most times that aliases may multiply the nodes of a file: a "billion laughs" file is refused. */
const MOST_ALIASES = 1000
/** Faults of a file's YAML that are told: of one that is no YAML at all, every character is one. */
const MOST_FAULTS = 50
const TOO_DEEP = `The file has more than ${NESTING_MAX} lists and mappings inside one another.`

/**
 * Reads LiteLLM's `config.yaml` (and what it includes), resolves references, checks everything.
 *
 * Without a path: `CONFIG_FILE_PATH`; without that: a configuration from the environment (`found.ts`).
 * Throws ConfigError with every problem at once.
 */
export function loadConfig(path: string | null, env: Environment, options: LoadOptions = {}): LoadedConfig {
  const catalog = options.catalog ?? createCatalog()
  const file = path ?? env['CONFIG_FILE_PATH'] ?? null
  const problems: Problem[] = []
  const warnings: string[] = []
  const sources = new Sources(problems)
  const raw = file === null || file === '' ? {} : sources.read(resolve(file))
  if (sources.files.length === 0) raw['model_list'] = environmentModels(env, (options.models ?? []).length === 0)
  addModels(raw, options.models ?? [])

  const place = (at: Path, name = false): Pick<Problem, 'path' | 'file' | 'line' | 'column'> => ({
    path: formatPath(at),
    ...sources.place(at, name),
  })
  const missing = (at: Path, name: string): void => {
    warnings.push(line({ ...place(at), message: `the environment variable ${name} is not set; the value counts as absent` }))
  }
  const own = resolveReferences(raw['environment_variables'] ?? {}, env, (at, name) =>
    missing(['environment_variables', ...at], name),
  )
  const effective: Environment = isMapping(own) ? { ...env, ...environmentOf(own) } : env
  const { environment_variables: _, ...rest } = raw
  const tree = { ...(resolveReferences(rest, effective, missing) as Record<string, unknown>), environment_variables: own }

  applyDefaults(tree)

  const checked = checkConfig(tree)
  if (!checked.ok) {
    for (const problem of checked.problems) problems.push({ ...place(problem.path), message: explain(problem, raw, tree) })
  }
  const found = inspect(tree, catalog)
  for (const { path: at, message } of found.problems) problems.push({ ...place(at), message })
  for (const { path: at, message, aboutName } of found.warnings) warnings.push(line({ ...place(at, aboutName), message }))
  const notes = found.notes.map(({ path: at, message, aboutName }) => line({ ...place(at, aboutName), message }))
  if (!checked.ok || problems.length > 0) throw new ConfigError(sorted(problems), warnings)

  const config = withFallbacks(checked.config, effective)
  return { config: freeze(config), warnings, notes, env: effective, files: sources.files }
}

/** A key that stands where something else belongs, such as a model's name, which problems repeat. */
const KEY = /\bsk-[\w-]{6,}/g

/** `file:line:column path message`, without what is not known. */
function line(problem: Problem): string {
  const place = problem.line === null ? problem.file : `${problem.file}:${problem.line}:${problem.column}`
  const message = problem.message.replace(KEY, 'sk-…')
  return [place, problem.path === '' ? '' : `${problem.path}:`, message].filter((piece) => piece !== '').join(' ')
}

/** The files of a configuration as parsed, and where each merged value came from. */
class Sources {
  readonly files: string[] = []
  readonly #problems: Problem[]
  /** By the first one or two keys of a path in the merged tree: which file holds it, under which path. */
  readonly #origins = new Map<string, { source: Source; path: Path }>()

  constructor(problems: Problem[]) {
    this.#problems = problems
  }

  /** The file with its includes merged in: lists appended, single values and the keys of mappings overridden, as LiteLLM does. */
  read(file: string, above: readonly string[] = []): Record<string, unknown> {
    const source = this.#parse(file)
    if (source === null) return {}
    const { include, ...tree } = source.tree
    const merged: Record<string, unknown> = {}
    this.#merge(merged, tree, source)
    for (const [index, name] of [include ?? []].flat().entries()) {
      const path = Array.isArray(include) ? ['include', index] : ['include']
      if (typeof name !== 'string') {
        this.#add(source, path, 'expected the name of a file, relative to this one')
        continue
      }
      const target = resolve(dirname(file), name)
      if (target === file || above.includes(target)) {
        this.#add(source, path, `includes "${name}", which includes this file: remove one of the two`)
        continue
      }
      const inner = new Sources(this.#problems)
      const included = inner.read(target, [...above, file])
      this.files.push(...inner.files)
      this.#mergeIncluded(merged, included, inner)
    }
    return merged
  }

  /** File, line and column of the deepest part of `path` that stands in a file: of its value, or of its name. */
  place(path: Path, name = false): { file: string; line: number | null; column: number | null } {
    const origin = this.#origins.get(keyOf(path.slice(0, 2))) ?? this.#origins.get(keyOf(path.slice(0, 1)))
    const depth = this.#origins.has(keyOf(path.slice(0, 2))) ? 2 : 1
    if (origin === undefined) return { file: this.files[0] ?? 'command line', line: null, column: null }
    return { file: origin.source.file, ...position(origin.source, [...origin.path, ...path.slice(depth)], name) }
  }

  #merge(into: Record<string, unknown>, tree: Record<string, unknown>, source: Source): void {
    for (const [key, value] of Object.entries(tree)) {
      into[key] = value
      this.#origins.set(keyOf([key]), { source, path: [key] })
      for (const child of childKeys(value)) this.#origins.set(keyOf([key, child]), { source, path: [key, child] })
    }
  }

  #mergeIncluded(into: Record<string, unknown>, included: Record<string, unknown>, inner: Sources): void {
    for (const [key, value] of Object.entries(included)) {
      const present = into[key]
      let offset = 0
      if (Array.isArray(value) && Array.isArray(present)) {
        offset = present.length
        into[key] = [...present, ...value]
      } else if (isMapping(value) && isMapping(present)) {
        into[key] = { ...present, ...value }
      } else {
        into[key] = value
      }
      const whole = inner.#origins.get(keyOf([key]))
      if (whole !== undefined && !this.#origins.has(keyOf([key]))) this.#origins.set(keyOf([key]), whole)
      for (const child of childKeys(value)) {
        const origin = inner.#origins.get(keyOf([key, child]))
        const moved = typeof child === 'number' ? child + offset : child
        if (origin !== undefined) this.#origins.set(keyOf([key, moved]), origin)
      }
    }
  }

  #parse(file: string): Source | null {
    let content: string
    try {
      content = readFileSync(file, 'utf8')
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown error'
      const why = code === 'ENOENT' ? 'does not exist; check the path' : `cannot be read (${code})`
      this.#problems.push({ path: '', file, line: null, column: null, message: `The file ${why}.` })
      return null
    }
    this.files.push(file)
    const lines = new LineCounter()
    const document = parseDocument(content, { lineCounter: lines, merge: true, prettyErrors: false })
    for (const error of [...document.errors, ...document.warnings].slice(0, MOST_FAULTS)) {
      const { line, col } = lines.linePos(error.pos[0])
      this.#problems.push({ path: '', file, line, column: col, message: yamlMessage(error.code, error.message) })
    }
    const source = { file, document, lines, tree: {} }
    if (document.errors.length > 0) return null
    return this.#plain(source)
  }

  #plain(source: Source): Source | null {
    let tree: unknown
    try {
      tree = source.document.toJS({ maxAliasCount: MOST_ALIASES })
    } catch (error) {
      this.#add(
        source,
        [],
        `The aliases (*name) cannot be followed: ${error instanceof Error ? error.message : 'unknown error'}.`,
      )
      return null
    }
    if (tree === null || tree === undefined) return source
    // An alias inside what it names has no end either.
    if (isNestedDeeper(tree)) {
      this.#add(source, [], TOO_DEEP)
      return null
    }
    if (!isMapping(tree)) {
      this.#add(source, [], 'Expected a mapping at the top (`model_list:` and so on).')
      return null
    }
    return { ...source, tree }
  }

  #add(source: Source, path: Path, message: string): void {
    this.#problems.push({ path: formatPath(path), file: source.file, ...position(source, path), message })
  }
}

interface Source {
  file: string
  document: Document
  lines: LineCounter
  tree: Record<string, unknown>
}

/** Where `path` stands: its value, or its key when that is asked for or the value is no scalar; else the nearest part above it. */
function position(source: Source, path: Path, name = false): { line: number | null; column: number | null } {
  for (let length = path.length; length > 0; length--) {
    const start = startOf(source.document, path.slice(0, length), name && length === path.length)
    if (start !== null) {
      const { line, col } = source.lines.linePos(start)
      return { line, column: col }
    }
  }
  return { line: 1, column: 1 }
}

function startOf(document: Document, path: Path, name: boolean): number | null {
  const value = document.getIn(path, true) as Node | undefined
  if (!name && isScalar(value) && value.range) return value.range[0]
  const parent = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true)
  if (isMap(parent)) {
    const pair = parent.items.find(({ key }) => isScalar(key) && key.value === path.at(-1))
    if (isScalar(pair?.key) && pair.key.range) return pair.key.range[0]
  }
  return value?.range?.[0] ?? null
}

function yamlMessage(code: string, message: string): string {
  if (code === 'DUPLICATE_KEY') return 'This key stands twice in one mapping; remove one of the two.'
  if (code === 'TAB_AS_INDENT') return 'A tab is used for indentation; YAML wants spaces.'
  // The parser's own end at some thousand levels.
  if (message.includes('call stack')) return TOO_DEEP
  return `Not valid YAML: ${message.replace(/\.?$/, '.')}`
}

/** A schema problem with what was found instead, and the field's own sentence as the fix. */
function explain(problem: SchemaProblem, raw: unknown, tree: unknown): string {
  const found = shown(problem.path, valueAt(raw, problem.path), valueAt(tree, problem.path))
  const sentence = sentenceOf(configSchema, problem.path)
  const text = found === null ? problem.message : `${problem.message}, got ${found}`
  return sentence === undefined ? `${text}.` : `${text}. ${sentence}`
}

const SECRET = /(^|_)(key|secret|password|token|credentials?|headers?|values|url)$/i

/** A value as it may be printed: what came from the environment or has the name of a secret is not. */
function shown(path: Path, written: unknown, value: unknown): string | null {
  if (value === undefined) return null
  const reference = referenceOf(written)
  if (reference !== null)
    return value === null
      ? `nothing: the environment variable ${reference} is not set`
      : `the value of the environment variable ${reference}`
  if (Array.isArray(value)) return 'a list'
  if (isMapping(value)) return 'a mapping'
  if (path.some((part) => typeof part === 'string' && SECRET.test(part))) return `a ${typeof value}`
  const text = JSON.stringify(value)
  return text.length > 60 ? `${text.slice(0, 57)}…` : text
}

/** What the file leaves to the environment (surface reference §4.5): the file's value counts first. */
function withFallbacks(config: Config, env: Environment): Config {
  const general = {
    ...config.general_settings,
    master_key: config.general_settings.master_key || env['LITELLM_MASTER_KEY'] || null,
    database_url: config.general_settings.database_url || env['DATABASE_URL'] || null,
  }
  return { ...config, general_settings: general }
}

/** `router_settings.default_litellm_params` under the parameters of every deployment. */
function applyDefaults(tree: Record<string, unknown>): void {
  const defaults = valueAt(tree, ['router_settings', 'default_litellm_params'])
  const entries = tree['model_list']
  if (!isMapping(defaults) || !Array.isArray(entries)) return
  for (const entry of entries) {
    if (isMapping(entry) && isMapping(entry['litellm_params']))
      entry['litellm_params'] = { ...defaults, ...entry['litellm_params'] }
  }
}

function addModels(raw: Record<string, unknown>, models: readonly string[]): void {
  if (models.length === 0) return
  const entries = models.map((model) => ({ model_name: model, litellm_params: { model } }))
  const present = raw['model_list'] ?? []
  if (Array.isArray(present)) raw['model_list'] = [...present, ...entries]
}

function sorted(problems: readonly Problem[]): Problem[] {
  return problems.toSorted((a, b) => (a.file === b.file ? (a.line ?? 0) - (b.line ?? 0) : 0))
}

function valueAt(tree: unknown, path: Path): unknown {
  let value = tree
  for (const key of path) {
    if (typeof value !== 'object' || value === null) return undefined
    value = (value as Record<string | number, unknown>)[key]
  }
  return value
}

function childKeys(value: unknown): (string | number)[] {
  if (Array.isArray(value)) return [...value.keys()]
  return isMapping(value) ? Object.keys(value) : []
}

function keyOf(path: Path): string {
  return JSON.stringify(path)
}

function isMapping(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value)
    for (const child of Object.values(value)) freeze(child)
  }
  return value
}
