import { readFileSync } from 'node:fs'
import type { Deployment } from '../../../proto/deployment.ts'
import { isObject } from '../../../shared/json-object.ts'
import { BOUNDARIES, type Boundaries, TIERS, type Tier } from './complexity.ts'

/** A model name that stands for the choice of a group, as its deployment says it (surface reference §14.6), read once. */
export type AutoRouter = SemanticRouter | ComplexityRouter

interface Common {
  /** Null = there must be a match. */
  readonly defaultModel: string | null
  /** Answers bear the chosen group's name instead of the router's. */
  readonly showsChoice: boolean
}

export interface SemanticRouter extends Common {
  readonly kind: 'semantic'
  readonly embeddingModel: string
  readonly routes: readonly SemanticRoute[]
}

export interface SemanticRoute {
  /** The group. */
  readonly name: string
  readonly utterances: readonly string[]
  /** Cosine a question must reach with one of them. */
  readonly threshold: number
}

export interface ComplexityRouter extends Common {
  readonly kind: 'complexity'
  readonly tiers: Readonly<Partial<Record<Tier, string>>>
  readonly boundaries: Boundaries
}

/** Where a route does not say; LiteLLM's too. */
const THRESHOLD = 0.5

const NOT_SERVED = ['adaptive', 'quality'] as const

/** Reads the settings of a deployment of `auto_router/…`. Every problem names the setting. */
export function autoRouterOf({ settings, fromDatabase, model }: Deployment): AutoRouter | { problem: string } {
  for (const kind of NOT_SERVED)
    if (settings[`${kind}_router_config`] !== undefined || model === `${kind}_router`)
      return { problem: `the ${kind} router is not served: use auto_router_config or complexity_router_config` }
  const showsChoice = settings['return_raw_model_name'] === true
  const complexity = settings['complexity_router_config']
  if (complexity !== undefined || model === 'complexity_router') {
    const config = objectIn(complexity ?? {}, 'complexity_router_config')
    return 'problem' in config
      ? config
      : complexityRouter(config.fields, textOf(settings['complexity_router_default_model']), showsChoice)
  }
  const path = textOf(settings['auto_router_config_path'])
  let given: unknown = settings['auto_router_config']
  let name = 'auto_router_config'
  if (given === undefined && path !== null) {
    if (fromDatabase) return { problem: 'auto_router_config_path cannot be used by a stored model: use auto_router_config' }
    name = `auto_router_config_path ${path}`
    try {
      given = readFileSync(path, 'utf8')
    } catch {
      return { problem: `${name} cannot be read` }
    }
  }
  if (given === undefined) return { problem: 'auto_router_config or auto_router_config_path is missing' }
  const config = objectIn(given, name)
  return 'problem' in config ? config : semanticRouter(config.fields, settings, name, showsChoice)
}

type Fields = Readonly<Record<string, unknown>>

function semanticRouter(
  config: Fields,
  settings: Fields,
  name: string,
  showsChoice: boolean,
): SemanticRouter | { problem: string } {
  const embeddingModel = textOf(settings['auto_router_embedding_model']) ?? textOf(config['encoder_name'])
  if (embeddingModel === null) return { problem: 'auto_router_embedding_model is missing' }
  if (!Array.isArray(config['routes'])) return { problem: `${name}: routes must be a list` }
  const routes: SemanticRoute[] = []
  for (const [index, raw] of (config['routes'] as unknown[]).entries()) {
    const at = `${name}: routes[${index}]`
    const { name: group, utterances, score_threshold: threshold } = isObject(raw) ? raw : {}
    if (typeof group !== 'string' || group === '') return { problem: `${at}.name must be the name of a model` }
    if (!Array.isArray(utterances) || !utterances.every((one) => typeof one === 'string' && one !== ''))
      return { problem: `${at}.utterances must be a list of texts` }
    if (threshold !== undefined && threshold !== null && typeof threshold !== 'number')
      return { problem: `${at}.score_threshold must be a number` }
    routes.push({ name: group, utterances: utterances as string[], threshold: threshold ?? THRESHOLD })
  }
  return { kind: 'semantic', embeddingModel, routes, defaultModel: textOf(settings['auto_router_default_model']), showsChoice }
}

function complexityRouter(
  config: Fields,
  defaultModel: string | null,
  showsChoice: boolean,
): ComplexityRouter | { problem: string } {
  const at = 'complexity_router_config'
  const tiers: Partial<Record<Tier, string>> = {}
  for (const [name, model] of Object.entries(isObject(config['tiers']) ? config['tiers'] : {})) {
    const tier = TIERS.find((known) => known === name.toLowerCase())
    if (tier === undefined) return { problem: `${at}: tiers.${name} is none of ${TIERS.join(', ')}` }
    if (typeof model !== 'string' || model === '') return { problem: `${at}: tiers.${name} must be the name of a model` }
    tiers[tier] = model
  }
  if (Object.keys(tiers).length === 0) return { problem: `${at}: tiers is missing` }
  const given = isObject(config['tier_boundaries']) ? config['tier_boundaries'] : {}
  const boundary = (name: string, otherwise: number): number => (typeof given[name] === 'number' ? given[name] : otherwise)
  const boundaries: Boundaries = {
    medium: boundary('simple_medium', BOUNDARIES.medium),
    complex: boundary('medium_complex', BOUNDARIES.complex),
    reasoning: boundary('complex_reasoning', BOUNDARIES.reasoning),
  }
  return { kind: 'complexity', tiers, boundaries, defaultModel, showsChoice }
}

/** The object itself, or JSON text of one. */
function objectIn(given: unknown, name: string): { fields: Fields } | { problem: string } {
  let value = given
  if (typeof given === 'string') {
    try {
      value = JSON.parse(given)
    } catch {
      return { problem: `${name} is not valid JSON` }
    }
  }
  return isObject(value) ? { fields: value } : { problem: `${name} must be an object` }
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' && value !== '' ? value : null
}
