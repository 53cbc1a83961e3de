import { GatewayError } from '../../shared/errors.ts'
import { isObject } from '../../shared/json-object.ts'

type Fields = Readonly<Record<string, unknown>>

/** What a field must be; null and absence are always fine. */
export type Kind =
  | 'string'
  | 'boolean'
  | 'number'
  | 'integer'
  | 'positive integer'
  | 'object'
  | 'list'
  | 'string or list of strings'
  | 'string or object'
  | 'list of strings'

const CHECKS: Readonly<Record<Kind, (value: unknown) => boolean>> = {
  string: (value) => typeof value === 'string',
  boolean: (value) => typeof value === 'boolean',
  number: (value) => typeof value === 'number',
  integer: (value) => Number.isInteger(value),
  'positive integer': (value) => Number.isInteger(value) && (value as number) > 0,
  object: isObject,
  list: Array.isArray,
  'string or list of strings': (value) => typeof value === 'string' || isStrings(value),
  'string or object': (value) => typeof value === 'string' || isObject(value),
  'list of strings': isStrings,
}

/** Checks the fields a table names. Throws GatewayError `bad_request` naming the first that is wrong, in the order of the table. */
export function checkFields(body: Fields, kinds: readonly (readonly [string, Kind])[], path = ''): void {
  for (const [name, kind] of kinds) {
    const value = body[name]
    if (value === undefined || value === null || CHECKS[kind](value)) continue
    throw invalid(path + name, kind, value)
  }
}

/** The model name, which every request needs. */
export function checkModel(body: Fields): void {
  const { model } = body
  if (typeof model !== 'string' || model === '') throw invalid('model', 'non-empty string', model)
}

/** The refusal of a field: its place, what it must be, what it is. The value is not repeated: it may be long, or a secret. */
export function invalid(place: string, expected: string, value: unknown): GatewayError {
  const article = /^[aeiou]/.test(expected) ? 'an' : 'a'
  const text =
    value === undefined || value === null
      ? `Missing required parameter: '${place}' (${article} ${expected}).`
      : `Invalid type for '${place}': expected ${article} ${expected}, got ${describe(value)}.`
  return new GatewayError('bad_request', text, { param: place })
}

function describe(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list'
  if (value === '') return 'an empty string'
  switch (typeof value) {
    case 'object':
      return 'an object'
    case 'number':
      return `the number ${value}`
    default:
      return `a ${typeof value}`
  }
}

export function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}
