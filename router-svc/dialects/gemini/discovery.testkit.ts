import { readFileSync } from 'node:fs'
import { isObject } from '../../../shared/json-object.ts'

interface Schema {
  type?: string
  $ref?: string
  format?: string
  enum?: string[]
  items?: Schema
  properties?: Record<string, Schema>
  additionalProperties?: Schema
}

const FILE = new URL('../../../../shared/specs/google-generativelanguage-discovery.json', import.meta.url)

/** What the published description of Google's API knows, for tests. */
export function discovery(): { problems(value: unknown, schema: string): string[] } {
  const { schemas } = JSON.parse(readFileSync(FILE, 'utf8')) as { schemas: Record<string, Schema> }

  function check(value: unknown, schema: Schema, place: string): string[] {
    if (schema.$ref !== undefined) return check(value, schemas[schema.$ref] ?? {}, place)
    const wrong = [`${place}: ${JSON.stringify(value)?.slice(0, 60)} is no ${schema.format ?? schema.type}`]
    switch (schema.type) {
      case 'object':
        return isObject(value) ? members(value, schema, place) : wrong
      case 'array':
        if (!Array.isArray(value)) return wrong
        return value.flatMap((item, index) => check(item, schema.items ?? {}, `${place}[${index}]`))
      case 'string':
        if (typeof value !== 'string') return wrong
        if (schema.enum !== undefined && !schema.enum.includes(value)) return [`${place}: ${value} is none of its values`]
        return schema.format === 'byte' && !/^[A-Za-z0-9+/_-]*=*$/.test(value) ? wrong : []
      case 'integer':
        return Number.isInteger(value) ? [] : wrong
      case 'number':
        return typeof value === 'number' ? [] : wrong
      case 'boolean':
        return typeof value === 'boolean' ? [] : wrong
      default:
        return []
    }
  }

  function members(value: Readonly<Record<string, unknown>>, schema: Schema, place: string): string[] {
    // Objects of no fixed shape: arguments of calls, results of functions.
    if (schema.properties === undefined) return []
    return Object.entries(value).flatMap(([name, member]) => {
      const known = schema.properties?.[name] ?? schema.additionalProperties
      return known === undefined ? [`${place}.${name}: is not in the description`] : check(member, known, `${place}.${name}`)
    })
  }

  return {
    problems: (value, schema) => check(value, schemas[schema] ?? { type: 'nothing' }, schema),
  }
}
