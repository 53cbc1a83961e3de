import { GatewayError } from '../../../shared/errors.ts'
import { isFields } from '../json.ts'
import type { Target } from '../provider.ts'

type Fields = Record<string, unknown>

/** One entry of a row's `unsupported` or `drop` list, read once. */
export interface ParameterRule {
  name: string
  matches(value: unknown): boolean
}

/** Reads `name`, `name=value`, `name.type` and `name>1` (shared/catalog/providers.ts). */
export function parameterRule(text: string): ParameterRule {
  const parts = /^([a-z_]+)(?:([=.>])(.+))?$/.exec(text)
  if (parts === null) throw new Error(`not a parameter rule: ${text}`)
  const [, name = '', operator, operand = ''] = parts
  switch (operator) {
    case '=':
      return { name, matches: (value) => (typeof value === 'boolean' ? String(value) : value) === operand }
    case '.':
      return { name, matches: (value) => isFields(value) && value['type'] === operand }
    case '>':
      return { name, matches: (value) => typeof value === 'number' && value > Number(operand) }
    default:
      return { name, matches: () => true }
  }
}

/**
 * Takes out of `body` what the provider refuses. Throws GatewayError `unsupported_parameter` naming every one when they may not be
 * dropped. `request` is the canonical request, whose own `drop_params` and `allowed_openai_params` add to the deployment's.
 */
export function refuseUnsupported(
  body: Fields,
  rules: readonly ParameterRule[],
  request: Readonly<Fields>,
  target: Target,
): void {
  let refused: string[] | null = null
  for (const rule of rules) {
    const value = body[rule.name]
    if (value === undefined || value === null || !rule.matches(value) || isAllowed(rule.name, request, target)) continue
    if (mayDrop(request, target)) delete body[rule.name]
    else {
      refused ??= []
      refused.push(rule.name)
    }
  }
  if (refused === null) return
  throw new GatewayError(
    'unsupported_parameter',
    `litellm.UnsupportedParamsError: ${target.provider} does not support parameters: [${refused.map((name) => `'${name}'`).join(', ')}], ` +
      `for model=${target.model}. Set drop_params: true to leave them out, or name them in allowed_openai_params to send them.`,
    { param: refused[0] as string },
  )
}

/** Takes out what a row drops without a word. */
export function dropQuietly(body: Fields, rules: readonly ParameterRule[]): void {
  for (const rule of rules) {
    const value = body[rule.name]
    if (value !== undefined && value !== null && rule.matches(value)) delete body[rule.name]
  }
}

/** Takes out what `additional_drop_params` of the deployment and the request name: `name`, or a path as `tools[*].function.strict`. */
export function dropNamed(body: Fields, request: Readonly<Fields>, target: Target): void {
  for (const path of target.additionalDropParams) dropPath(body, path)
  const more = request['additional_drop_params']
  if (!Array.isArray(more)) return
  for (const path of more) if (typeof path === 'string') dropPath(body, path)
}

function dropPath(body: Fields, path: string): void {
  const steps = path.split(/[.[\]]+/).filter((step) => step !== '')
  const [first, ...rest] = steps
  if (first === undefined || !Object.hasOwn(body, first)) return
  if (rest.length === 0) delete body[first]
  else body[first] = without(body[first], rest)
}

/** `value` without what `steps` lead to; parts not on the way are shared, not copied. */
function without(value: unknown, steps: readonly string[]): unknown {
  const [step, ...rest] = steps
  if (step === undefined) return value
  if (Array.isArray(value)) {
    const index = step === '*' ? null : Number(step)
    if (rest.length === 0) return index === null ? [] : value.filter((_, at) => at !== index)
    return value.map((item, at) => (index === null || at === index ? without(item, rest) : item))
  }
  if (!isFields(value) || !Object.hasOwn(value, step)) return value
  const copy = { ...value }
  if (rest.length === 0) delete copy[step]
  else copy[step] = without(copy[step], rest)
  return copy
}

export function mayDrop(request: Readonly<Fields>, target: Target): boolean {
  return target.dropParams || request['drop_params'] === true
}

export function isAllowed(name: string, request: Readonly<Fields>, target: Target): boolean {
  if (target.allowedOpenaiParams.includes(name)) return true
  const more = request['allowed_openai_params']
  return Array.isArray(more) && more.includes(name)
}
