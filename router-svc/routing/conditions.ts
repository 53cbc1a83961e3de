import { GatewayError } from '../../shared/errors.ts'
import type { Call } from '../call.ts'
import { regexProblem } from './safe-regex.ts'

/**
 * The language of conditional routing, as Portkey users know it: `{ "metadata.plan": { "$eq": "paid" } }`, several fields meaning all of
 * them, `$and` and `$or` over lists of queries. Fields are `metadata.*`, `headers.*` and `params.*` (what the body says). A field that is
 * missing fulfils `$ne`, `$nin` and `$exists: false`, and nothing else. Pure.
 */

export interface ConditionContext {
  metadata: Readonly<Record<string, unknown>>
  /** Names lower case. */
  headers: Readonly<Record<string, unknown>>
  params: Readonly<Record<string, unknown>>
}

type Query = Readonly<Record<string, unknown>>
type Operator = (value: unknown, operand: unknown) => boolean

const SOURCES = ['metadata', 'headers', 'params'] as const
/** Queries inside each other, and parts of one query: a client writes them too. */
const MAX_DEPTH = 8
const MAX_PARTS = 100
/** Characters a `$regex` is tried on; a longer value does not match. */
const REGEX_INPUT_MAX = 256

const OPERATORS: Readonly<Record<string, Operator>> = {
  $eq: (value, operand) => value === operand,
  $ne: (value, operand) => value !== operand,
  $in: (value, operand) => (operand as unknown[]).includes(value),
  $nin: (value, operand) => !(operand as unknown[]).includes(value),
  $gt: (value, operand) => ordered(value, operand, (order) => order > 0),
  $gte: (value, operand) => ordered(value, operand, (order) => order >= 0),
  $lt: (value, operand) => ordered(value, operand, (order) => order < 0),
  $lte: (value, operand) => ordered(value, operand, (order) => order <= 0),
  $exists: (value, operand) => (value !== undefined) === operand,
  $regex: (value, operand) =>
    typeof value === 'string' && value.length <= REGEX_INPUT_MAX && new RegExp(operand as string).test(value),
}

/** Whether `context` fulfils `query`, which `queryProblem` or the configuration's schema found nothing wrong with. */
export function matches(query: Query, context: ConditionContext): boolean {
  for (const field in query) {
    const wanted = query[field]
    if (field === '$and') {
      if (!(wanted as Query[]).every((part) => matches(part, context))) return false
    } else if (field === '$or') {
      if (!(wanted as Query[]).some((part) => matches(part, context))) return false
    } else if (!fulfils(valueAt(context, field), wanted)) return false
  }
  return true
}

/** What conditions may look at: metadata of the body, over that of Portkey's header; the headers that reach a router; the body. */
export function conditionContext(call: Call): ConditionContext {
  const { headers } = call.message
  return { metadata: { ...headerMetadata(headers), ...call.options.metadata }, headers, params: call.parsed }
}

function headerMetadata(headers: Readonly<Record<string, string>>): Readonly<Record<string, unknown>> | null {
  const text = headers['x-portkey-metadata']
  if (text === undefined || text === '') return null
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // Named below.
  }
  if (isFields(value)) return value
  throw new GatewayError('bad_request', 'x-portkey-metadata must hold a JSON object.', { param: 'x-portkey-metadata' })
}

/** What is wrong with a query, naming where; null = nothing. */
export function queryProblem(query: unknown): string | null {
  let parts = 0
  const check = (part: unknown, place: string, depth: number): string | null => {
    if (!isFields(part)) return `${place} must be an object of conditions`
    if (depth > MAX_DEPTH) return `${place} is nested deeper than ${MAX_DEPTH}`
    for (const [field, wanted] of Object.entries(part)) {
      parts += 1
      if (parts > MAX_PARTS) return `there are more than ${MAX_PARTS} conditions`
      const problem =
        field === '$and' || field === '$or' ? checkList(wanted, `${place}.${field}`, depth) : checkField(field, wanted, place)
      if (problem !== null) return problem
    }
    return null
  }
  const checkList = (list: unknown, place: string, depth: number): string | null => {
    if (!Array.isArray(list) || list.length === 0) return `${place} must be a list of conditions that is not empty`
    for (const [index, part] of list.entries()) {
      const problem = check(part, `${place}[${index}]`, depth + 1)
      if (problem !== null) return problem
    }
    return null
  }
  return check(query, 'query', 0)
}

function checkField(field: string, wanted: unknown, place: string): string | null {
  const dot = field.indexOf('.')
  if (dot < 0 || dot === field.length - 1 || !(SOURCES as readonly string[]).includes(field.slice(0, dot)))
    return `${place}: unknown field '${field}' (expected metadata.…, headers.…, params.…, $and or $or)`
  if (!isFields(wanted)) return isScalar(wanted) ? null : `${place}.${field} must be a value or an object of operators`
  const operators = Object.entries(wanted)
  if (operators.length === 0) return `${place}.${field} has no operator`
  for (const [name, operand] of operators) {
    const problem = operandProblem(name, operand)
    if (problem !== null) return `${place}.${field}: ${problem}`
  }
  return null
}

function operandProblem(name: string, operand: unknown): string | null {
  if (!Object.hasOwn(OPERATORS, name)) return `unknown operator '${name}' (known: ${Object.keys(OPERATORS).join(', ')})`
  switch (name) {
    case '$in':
    case '$nin':
      return Array.isArray(operand) && operand.every(isScalar) ? null : `${name} takes a list of values`
    case '$gt':
    case '$gte':
    case '$lt':
    case '$lte':
      return typeof operand === 'number' || typeof operand === 'string' ? null : `${name} takes a number or a string`
    case '$exists':
      return typeof operand === 'boolean' ? null : '$exists takes true or false'
    case '$regex': {
      if (typeof operand !== 'string') return '$regex takes a string'
      const problem = regexProblem(operand, REGEX_INPUT_MAX)
      return problem === null ? null : `$regex ${problem}`
    }
    default:
      return isScalar(operand) ? null : `${name} takes a string, a number, a boolean or null`
  }
}

function fulfils(value: unknown, wanted: unknown): boolean {
  if (!isFields(wanted)) return value === wanted
  for (const name in wanted) if (!(OPERATORS[name] as Operator)(value, wanted[name])) return false
  return true
}

function valueAt(context: ConditionContext, field: string): unknown {
  const dot = field.indexOf('.')
  const source = field.slice(0, dot)
  const path = field.slice(dot + 1)
  if (source === 'headers') return own(context.headers, path.toLowerCase())
  const fields = source === 'metadata' ? context.metadata : context.params
  const whole = own(fields, path)
  if (whole !== undefined || !path.includes('.')) return whole
  let at: unknown = fields
  for (const name of path.split('.')) at = isFields(at) ? own(at, name) : undefined
  return at
}

/** Numbers by size, text by its characters; a number and text have no order. */
function ordered(value: unknown, operand: unknown, holds: (order: number) => boolean): boolean {
  if (typeof value === 'number' && typeof operand === 'number') return holds(value - operand)
  if (typeof value !== 'string') return false
  // Metadata and headers carry numbers as text.
  if (typeof operand === 'number') return value.trim() !== '' && holds(Number(value) - operand)
  return holds(value < (operand as string) ? -1 : value > (operand as string) ? 1 : 0)
}

function own(fields: Readonly<Record<string, unknown>>, name: string): unknown {
  return Object.hasOwn(fields, name) ? fields[name] : undefined
}

function isScalar(value: unknown): boolean {
  return value === null || ['string', 'number', 'boolean'].includes(typeof value)
}

function isFields(value: unknown): value is Query {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
