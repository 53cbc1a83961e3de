import { isObject } from '../../../shared/json-object.ts'
import { camelled, type Fields } from './wire.ts'

/** Counts that JSON of Google's writes as texts, being 64-bit integers. */
const COUNTS = ['minItems', 'maxItems', 'minLength', 'maxLength', 'minProperties', 'maxProperties']

/** A schema of Google's subset of OpenAPI as JSON Schema: types in lower case, `nullable` a type, order of properties left out. */
export function jsonSchemaOf(given: unknown): Fields {
  const { propertyOrdering: _order, nullable, type, properties, items, anyOf, ...schema } = isObject(given) ? camelled(given) : {}
  if (typeof type === 'string' && type !== 'TYPE_UNSPECIFIED') {
    const name = type.toLowerCase()
    schema['type'] = nullable === true ? [name, 'null'] : name
  }
  for (const name of COUNTS) if (typeof schema[name] === 'string') schema[name] = Number(schema[name])
  if (isObject(properties)) {
    schema['properties'] = Object.fromEntries(Object.entries(properties).map(([name, value]) => [name, jsonSchemaOf(value)]))
  }
  if (items !== undefined) schema['items'] = jsonSchemaOf(items)
  if (Array.isArray(anyOf)) schema['anyOf'] = anyOf.map(jsonSchemaOf)
  return schema
}
