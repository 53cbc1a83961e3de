import { regexProblem } from '../safe-regex.ts'

/**
 * The language of conditional routing, as Portkey users know it: `{ "metadata.plan": { "$eq": "paid" } }`, a plain value being `$eq`, several
 * fields meaning all of them, `$and` and `$or` over lists of queries. Fields are `metadata.*`, `headers.*` and `params.*` (what the body says).
 * A field that is missing fulfils `$ne`, `$nin` and `$exists: false`, and nothing else.
 */
export type Query = Readonly<Record<string, unknown>>

const OPERATORS = ['$eq', '$ne', '$gt', '$gte', '$lt', '$lte', '$in', '$nin', '$regex', '$exists'] as const
export type QueryOperator = (typeof OPERATORS)[number]

/** Queries inside each other, and parts of one query: clients write them too. */
const MAX_DEPTH = 8
const MAX_PARTS = 100
/** Characters a `$regex` is tried on, and judged for: whoever sends the text chooses it. */
export const REGEX_INPUT_MAX = 256

/** What is wrong with a query, each naming where; of one that is too large the first such place only. Pure. */
export function queryProblems(query: unknown): string[] {
  const problems: string[] = []
  let parts = 0
  const check = (part: unknown, place: string, depth: number): void => {
    if (parts > MAX_PARTS) return
    if (!isQuery(part)) problems.push(`${place}must be an object of conditions`)
    else if (depth > MAX_DEPTH) problems.push(`${place}is nested deeper than ${MAX_DEPTH}`)
    else {
      for (const [field, wanted] of Object.entries(part)) {
        parts += 1
        if (parts > MAX_PARTS) {
          problems.push(`there are more than ${MAX_PARTS} conditions`)
          return
        }
        if (field === '$and' || field === '$or') checkList(wanted, `${place}${field}`, depth)
        else problems.push(...fieldProblems(field, wanted).map((problem) => `${place}${problem}`))
      }
    }
  }
  const checkList = (list: unknown, place: string, depth: number): void => {
    if (!Array.isArray(list) || list.length === 0) problems.push(`${place} must be a list of conditions that is not empty`)
    else for (const [index, part] of list.entries()) check(part, `${place}[${index}]: `, depth + 1)
  }
  check(query, '', 0)
  return problems
}

/** Names of the headers a query reads, lower case. Pure. */
export function headersOfQuery(query: Query): string[] {
  return Object.entries(query).flatMap(([field, wanted]) => {
    if (Array.isArray(wanted)) return wanted.flatMap((part: unknown) => (isQuery(part) ? headersOfQuery(part) : []))
    return field.startsWith('headers.') ? [field.slice('headers.'.length).toLowerCase()] : []
  })
}

function fieldProblems(field: string, wanted: unknown): string[] {
  if (!/^(metadata|headers|params)\../.test(field))
    return [`"${field}" is no field (expected metadata.NAME, headers.NAME, params.NAME, $and or $or)`]
  if (!isQuery(wanted)) return isScalar(wanted) ? [] : [`${field} must be a value or an object of operators, like {$in: [a, b]}`]
  const operators = Object.entries(wanted)
  if (operators.length === 0) return [`${field} has no operator`]
  return operators.flatMap(([name, operand]) => {
    const problem = operandProblem(name, operand)
    return problem === null ? [] : [`${field}: ${problem}`]
  })
}

function operandProblem(name: string, operand: unknown): string | null {
  switch (OPERATORS.find((known) => known === name)) {
    case undefined:
      return `"${name}" is no operator (there are ${OPERATORS.join(', ')})`
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

function isScalar(value: unknown): boolean {
  return value === null || ['string', 'number', 'boolean'].includes(typeof value)
}

export function isQuery(value: unknown): value is Query {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
