import { isObject } from '../../../shared/json-object.ts'
import { camelCase } from '../../providers/gemini/parameters.ts'

/** Loose JSON of Google's protocol. */
export type Fields = Record<string, unknown>

/** The fields in the spelling of answers: the service takes both, `max_output_tokens` and `maxOutputTokens`. Not deep. */
export function camelled(fields: Readonly<Fields>): Fields {
  const spelled: Fields = {}
  for (const name in fields) if (fields[name] !== null && fields[name] !== undefined) spelled[camelCase(name)] = fields[name]
  return spelled
}

/** Those of an object in that spelling; empty for anything else. */
export function fieldsOf(value: unknown): Fields {
  return isObject(value) ? camelled(value) : {}
}

/** The objects of a list, in that spelling. */
export function listOf(value: unknown): Fields[] {
  return Array.isArray(value) ? value.filter(isObject).map(camelled) : []
}

export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
