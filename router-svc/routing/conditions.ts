import { isQuery, type Query, type QueryOperator, REGEX_INPUT_MAX } from '../../shared/config/rule-query.ts'
import { entryOf } from '../../shared/entry.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Call } from '../call.ts'

/** What the conditions of routing rules and request configs (shared/config/rule-query.ts) come to for one call. Pure. */

export interface ConditionContext {
  metadata: Readonly<Record<string, unknown>>
  /** Names lower case. */
  headers: Readonly<Record<string, unknown>>
  params: Readonly<Record<string, unknown>>
}

type Operator = (value: unknown, operand: unknown) => boolean

const OPERATORS: Readonly<Record<QueryOperator, Operator>> = {
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

/** Whether `context` fulfils `query`, in which `queryProblems` found nothing. */
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
  if (isQuery(value)) return value
  throw new GatewayError('bad_request', 'x-portkey-metadata must hold a JSON object.', { param: 'x-portkey-metadata' })
}

function fulfils(value: unknown, wanted: unknown): boolean {
  if (!isQuery(wanted)) return value === wanted
  for (const name in wanted) if (!OPERATORS[name as QueryOperator](value, wanted[name])) return false
  return true
}

function valueAt(context: ConditionContext, field: string): unknown {
  const dot = field.indexOf('.')
  const source = field.slice(0, dot)
  const path = field.slice(dot + 1)
  if (source === 'headers') return entryOf(context.headers, path.toLowerCase())
  const fields = source === 'metadata' ? context.metadata : context.params
  const whole = entryOf(fields, path)
  if (whole !== undefined || !path.includes('.')) return whole
  let at: unknown = fields
  for (const name of path.split('.')) at = isQuery(at) ? entryOf(at, name) : undefined
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
