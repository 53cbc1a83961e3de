import type { Catalog } from '../catalog/catalog.ts'
import { fieldNames } from '../schema.ts'
import { configSchema, deploymentParamsSchema, modelEntrySchema, modelInfoSchema } from './config.ts'
import { inspectRouting } from './inspect-routing.ts'
import {
  isPriceName,
  KNOWN_GENERAL_SETTINGS,
  KNOWN_LITELLM_SETTINGS,
  KNOWN_PARAMS,
  KNOWN_ROUTER_SETTINGS,
  KNOWN_SECTIONS,
  OPENAI_PARAMS,
  PROVIDER_PARAMS,
  RESTRICTIONS,
} from './known.ts'
import { nearest } from './nearest.ts'
import { inspectPassThrough } from './pass-through.ts'
import { fieldOf, isActingPrice } from './price-fields.ts'
import { pricesOfFields } from './prices.ts'
import type { Path } from './references.ts'
import { targetOf } from './target.ts'

export interface Finding {
  path: Path
  message: string
  /** It is about the name at the end of the path rather than the value. */
  aboutName?: true
}

/** Where any name is allowed, shorter ones resemble each other too easily (`top_k`, `top_p`) to call one a mistake. */
const SHORTEST_SUGGESTED = 6
/** Names remembered with what they were meant to be. */
const MEANT_MAX = 1_000

/** What a schema cannot see: misspelt names, providers, names that refer to each other. */
export interface Findings {
  problems: Finding[]
  warnings: Finding[]
  notes: Finding[]
}

/** Looks through a resolved tree; takes whatever shape it has, because shapes are the schema's matter. */
export function inspect(tree: Record<string, unknown>, catalog: Catalog): Findings {
  const findings: Findings = { problems: [], warnings: [], notes: [] }
  names(findings, tree, [], fieldNames(configSchema), KNOWN_SECTIONS)
  const shape = configSchema.shape
  names(findings, tree['litellm_settings'], ['litellm_settings'], fieldNames(shape.litellm_settings), KNOWN_LITELLM_SETTINGS)
  names(findings, tree['router_settings'], ['router_settings'], fieldNames(shape.router_settings), KNOWN_ROUTER_SETTINGS)
  names(findings, tree['general_settings'], ['general_settings'], fieldNames(shape.general_settings), KNOWN_GENERAL_SETTINGS)
  names(findings, tree['turnpike_settings'], ['turnpike_settings'], fieldNames(shape.turnpike_settings), new Set())
  const entries = listOf(tree['model_list'])
  const handled = listOf(mappingOf(tree['litellm_settings'])['custom_provider_map']).map((one) =>
    String(mappingOf(one)['provider']),
  )
  const own = [...Object.keys(mappingOf(mappingOf(tree['turnpike_settings'])['providers'])), ...handled]
  for (const [index, entry] of entries.entries()) model(findings, mappingOf(entry), ['model_list', index], catalog, own)
  identities(findings, entries)
  weights(findings, entries)
  inspectRouting(findings, tree)
  credentials(findings, tree, entries)
  inspectPassThrough(findings, tree)
  services(findings, tree, catalog)
  callbacks(findings, tree)
  return findings
}

/** Names of a section: declared ones are fine, known ones are noted, others are probably misspelt. */
function names(findings: Findings, section: unknown, path: Path, declared: readonly string[], known: ReadonlySet<string>): void {
  for (const name of Object.keys(mappingOf(section))) {
    if (declared.includes(name) || (path.length === 0 && name === 'include')) continue
    if (known.has(name) && RESTRICTIONS.has(name)) {
      const message = 'has no effect in Turnpike yet: what it forbids is allowed'
      findings.warnings.push({ path: [...path, name], message, aboutName: true })
      continue
    }
    if (known.has(name)) {
      findings.notes.push({ path: [...path, name], message: 'has no effect in Turnpike yet', aboutName: true })
      continue
    }
    const near = nearest(name, [...declared, ...known])
    const hint = near.length > 0 ? `; did you mean ${near.join(' or ')}?` : '; it has no effect'
    findings.warnings.push({ path: [...path, name], message: `"${name}" is not a known name${hint}`, aboutName: true })
  }
}

function model(findings: Findings, entry: Record<string, unknown>, path: Path, catalog: Catalog, own: readonly string[]): void {
  names(findings, entry, path, fieldNames(modelEntrySchema), new Set())
  const params = mappingOf(entry['litellm_params'])
  paramNames(findings, params, [...path, 'litellm_params'])
  const info = mappingOf(entry['model_info'])
  for (const name of Object.keys(info)) suggest(findings, name, meantInfo, [...path, 'model_info', name])

  undeclaredPrices(findings, params, [...path, 'litellm_params'])
  undeclaredPrices(findings, info, [...path, 'model_info'])

  const name = params['model']
  if (typeof name !== 'string' || name === '' || name === '*') return
  const custom = params['custom_llm_provider']
  const target = targetOf(name, typeof custom === 'string' ? custom : null, catalog, own)
  const at = [...path, 'litellm_params', 'model']
  if (target.kind === 'unknown') findings.problems.push({ path: at, message: target.problem })
  if (target.kind === 'unserved') {
    const message = `Turnpike does not serve the provider "${target.provider}" yet; this deployment is left out`
    findings.warnings.push({ path: at, message })
  }
}

/** Any name may be a parameter of the provider, so only what is nearly a known name is taken for a mistake. */
function paramNames(findings: Findings, params: Record<string, unknown>, path: Path): void {
  const declared = fieldNames(deploymentParamsSchema)
  for (const name of Object.keys(params)) {
    if (declared.includes(name) || OPENAI_PARAMS.has(name)) continue
    if (isActingPrice(name)) continue
    if (KNOWN_PARAMS.has(name) || isPriceName(name)) {
      findings.notes.push({
        path: [...path, name],
        message: 'has no effect in Turnpike yet, unless the provider’s adapter reads it',
      })
      continue
    }
    suggest(findings, name, meantParam, [...path, name])
  }
}

/** Most prices have a threshold, a tier or a variant in their name, so that no schema can list them. */
function undeclaredPrices(findings: Findings, fields: Record<string, unknown>, path: Path): void {
  for (const [name, value] of Object.entries(fields)) {
    if (value === null || !isActingPrice(name) || declaredPrice(name)) continue
    const at = [...path, name]
    if (fieldOf(name) !== null) {
      const number = typeof value === 'string' && value.trim() === '' ? Number.NaN : Number(value)
      if (!(number >= 0 && number < 1)) {
        findings.problems.push({ path: at, message: 'expected dollars per token, for example 0.0000025' })
      }
      continue
    }
    try {
      if (pricesOfFields('config', { [name]: value }, null) === null) throw new RangeError(`${name} is not a price`)
    } catch (error) {
      findings.problems.push({ path: at, message: error instanceof Error ? error.message : 'not a price' })
    }
  }
}

function declaredPrice(name: string): boolean {
  return fieldNames(deploymentParamsSchema).includes(name)
}

function suggest(findings: Findings, name: string, meant: (name: string) => string | null, path: Path): void {
  const near = meant(name)
  if (near === null) return
  findings.warnings.push({ path, message: `"${name}" is not a known name; did you mean ${near}?`, aboutName: true })
}

/**
 * Which of these a name was probably meant to be, null where it is one of them or like none. Remembered: a name is compared with all in 0.1 to 0.5 ms,
 * and a thousand deployments have the same few.
 */
function meantOf(candidates: readonly string[]): (name: string) => string | null {
  const known = new Set(candidates)
  const meant = new Map<string, string | null>()
  return (name) => {
    if (known.has(name) || PROVIDER_PARAMS.has(name) || name.length < SHORTEST_SUGGESTED) return null
    let near = meant.get(name)
    if (near === undefined) {
      near = nearest(name, candidates, 1)[0] ?? null
      if (meant.size >= MEANT_MAX) meant.clear()
      meant.set(name, near)
    }
    return near
  }
}

const meantInfo = meantOf(fieldNames(modelInfoSchema))
const meantParam = meantOf([...fieldNames(deploymentParamsSchema), ...OPENAI_PARAMS, ...KNOWN_PARAMS])

/** Two deployments with one id could not be told apart. */
function identities(findings: Findings, entries: readonly unknown[]): void {
  const first = new Map<string, number>()
  for (const [index, entry] of entries.entries()) {
    const id = mappingOf(mappingOf(entry)['model_info'])['id']
    if (typeof id !== 'string') continue
    const other = first.get(id)
    if (other === undefined) first.set(id, index)
    else {
      const message = `the id "${id}" is taken by model_list[${other}]; give each deployment its own, or none`
      findings.problems.push({ path: ['model_list', index, 'model_info', 'id'], message })
    }
  }
}

/** Where one deployment of a group has a weight, the others count as 0: they would get no traffic. */
function weights(findings: Findings, entries: readonly unknown[]): void {
  const weighted = new Set(entries.filter(hasWeight).map((entry) => mappingOf(entry)['model_name']))
  for (const [index, entry] of entries.entries()) {
    if (hasWeight(entry) || !weighted.has(mappingOf(entry)['model_name'])) continue
    const message = 'has no weight although another deployment of its name has one: it gets no traffic while that one is healthy'
    findings.warnings.push({ path: ['model_list', index], message })
  }
}

function hasWeight(entry: unknown): boolean {
  const weight = mappingOf(mappingOf(entry)['litellm_params'])['weight']
  return weight !== undefined && weight !== null
}

function credentials(findings: Findings, tree: Record<string, unknown>, entries: readonly unknown[]): void {
  const known = listOf(tree['credential_list']).map((credential) => mappingOf(credential)['credential_name'])
  for (const [index, entry] of entries.entries()) {
    const name = mappingOf(mappingOf(entry)['litellm_params'])['litellm_credential_name']
    if (typeof name !== 'string' || known.includes(name)) continue
    const path = ['model_list', index, 'litellm_params', 'litellm_credential_name']
    findings.problems.push({ path, message: `credential_list has no credential_name "${name}"` })
  }
}

/** Of those who are told of calls two are there: `otel`, and `prometheus`, whose page is always open. */
function callbacks(findings: Findings, tree: Record<string, unknown>): void {
  for (const name of ['callbacks', 'success_callback']) {
    const written = mappingOf(tree['litellm_settings'])[name]
    const path = ['litellm_settings', name]
    const entries =
      typeof written === 'string' ? [[written, path] as const] : listOf(written).map((one, at) => [one, [...path, at]] as const)
    for (const [one, at] of entries) {
      if (typeof one !== 'string' || one === 'otel' || one === 'prometheus') continue
      findings.notes.push({ path: at, message: `"${one}" has no effect in Turnpike yet; there are otel and prometheus` })
    }
  }
}

/** Providers that sections beside the models name. */
function services(findings: Findings, tree: Record<string, unknown>, catalog: Catalog): void {
  const check = (holder: unknown, path: Path): void => {
    const provider = mappingOf(holder)['custom_llm_provider']
    if (typeof provider !== 'string' || targetOf(`${provider}/*`, null, catalog).kind === 'served') return
    const message = `Turnpike does not serve the provider "${provider}" yet; this entry is left out`
    findings.warnings.push({ path: [...path, 'custom_llm_provider'], message })
  }
  for (const section of ['files_settings', 'batch_settings', 'finetune_settings']) {
    for (const [index, entry] of listOf(tree[section]).entries()) check(entry, [section, index])
  }
  check(tree['assistant_settings'], ['assistant_settings'])
  for (const [index, entry] of listOf(tree['vector_store_registry']).entries()) {
    check(mappingOf(entry)['litellm_params'], ['vector_store_registry', index, 'litellm_params'])
  }
}

function mappingOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}
