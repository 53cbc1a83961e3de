import { entryOf } from '../../shared/entry.ts'
import type { Random } from './mutate.ts'

/** As much of JSON Schema as our own OpenAPI document uses. */
export interface Schema {
  type?: string | readonly string[]
  $ref?: string
  properties?: Readonly<Record<string, Schema>>
  required?: readonly string[]
  additionalProperties?: boolean | Schema
  items?: Schema
  prefixItems?: readonly Schema[]
  enum?: readonly unknown[]
  const?: unknown
  anyOf?: readonly Schema[]
  oneOf?: readonly Schema[]
  allOf?: readonly Schema[]
  minimum?: number
  maximum?: number
  minLength?: number
  format?: string
  default?: unknown
}

type Schemas = Readonly<Record<string, Schema>>

/** Texts by the names they stand under, so that one request finds what another made. */
const NAMED: readonly (readonly [RegExp, readonly string[]])[] = [
  [/model/, ['mock', 'to-openai', 'nobody/knows', '*']],
  [/date|since|until|time|expires/, ['2026-01-01', '2026-01-01T00:00:00Z', '2026-13-45', '1d']],
  [/duration|interval|window/, ['30d', '1h', '1mo', '0s', 'x']],
  [/_id$|^id$|^user|^team|^key|alias|name|tag/, ['a', 'b', 'c', 'default', '']],
  [/email/, ['a@example.com', 'a']],
  [/route|path|url/, ['/v1/models', 'llm_api_routes', 'http://127.0.0.1:1/', '/']],
]
const TEXTS: readonly string[] = [
  '',
  'a',
  'b',
  '0',
  '-1',
  ' ',
  '\u0000',
  '\ud800',
  '%',
  "' OR 1=1 --",
  '💥',
  'null',
  'constructor',
  'a'.repeat(3000),
  '2026-01-01',
]
const NUMBERS: readonly number[] = [0, 1, 2, 10, -1, 0.5, 1e-9, 100, 2 ** 31, 2 ** 53, 1e21, -1e308]
/** Levels of a made value: schemas refer to themselves. */
const DEPTH_MAX = 6

/** A value the schema describes, now and then only nearly. */
export function madeFor(schema: Schema, schemas: Schemas, random: Random, name = '', depth = 0): unknown {
  if (schema.$ref !== undefined)
    return madeFor(schemas[schema.$ref.split('/').at(-1) as string] ?? {}, schemas, random, name, depth)
  if (schema.const !== undefined) return schema.const
  if (schema.enum !== undefined) return random.pick(schema.enum)
  if (schema.allOf !== undefined)
    return Object.assign({}, ...schema.allOf.map((one) => madeFor(one, schemas, random, name, depth)))
  const any = schema.anyOf ?? schema.oneOf
  if (any !== undefined) return madeFor(random.pick(any), schemas, random, name, depth)
  const type = typeof schema.type === 'object' ? random.pick(schema.type) : schema.type
  switch (type) {
    case 'object':
      return objectOf(schema, schemas, random, depth)
    case 'array':
      if (depth > DEPTH_MAX) return []
      return Array.from({ length: random.int(3) }, () => madeFor(schema.items ?? {}, schemas, random, name, depth + 1))
    case 'boolean':
      return random.chance(0.5)
    case 'null':
      return null
    case 'integer':
    case 'number':
      return random.chance(0.7)
        ? Math.max(schema.minimum ?? 0, Math.min(schema.maximum ?? 100, random.int(20)))
        : random.pick(NUMBERS)
    case 'string': {
      const named = NAMED.find(([pattern]) => pattern.test(name))?.[1]
      return named !== undefined && random.chance(0.8) ? random.pick(named) : random.pick(TEXTS)
    }
    default:
      return random.pick<unknown>([null, true, 1, 'a', [], {}, { a: 1 }, ['a']])
  }
}

function objectOf(schema: Schema, schemas: Schemas, random: Random, depth: number): Record<string, unknown> {
  const { properties = {}, required = [], additionalProperties } = schema
  const made: Record<string, unknown> = {}
  // All fields at once would fail at the first that is odd: most requests have few.
  const share = random.pick([0, 0.1, 0.1, 0.3, 1])
  for (const [name, one] of Object.entries(properties)) {
    const wanted = required.includes(name) ? !random.chance(0.03) : depth <= DEPTH_MAX && random.chance(share)
    if (wanted) made[name] = madeFor(one, schemas, random, name, depth + 1)
  }
  if (typeof additionalProperties === 'object' && depth <= DEPTH_MAX && random.chance(0.5))
    made[random.pick(['a', 'mock', '', 'tags', '0'])] = madeFor(additionalProperties, schemas, random, 'model', depth + 1)
  return made
}

/** Where a value is not as the schema says; empty when it is. */
export function problemsOf(value: unknown, schema: Schema, schemas: Schemas, at = ''): string[] {
  if (schema.$ref !== undefined) return problemsOf(value, schemas[schema.$ref.split('/').at(-1) as string] ?? {}, schemas, at)
  const any = schema.anyOf ?? schema.oneOf
  if (any !== undefined) {
    const all = any.map((one) => problemsOf(value, one, schemas, at))
    if (!all.some((problems) => problems.length === 0)) return all.toSorted((a, b) => a.length - b.length)[0] as string[]
  }
  const problems = (schema.allOf ?? []).flatMap((one) => problemsOf(value, one, schemas, at))
  const types = schema.type === undefined ? null : [schema.type].flat()
  if (types !== null && !types.some((type) => isOf(value, type as string)))
    return [...problems, `${at || '/'} is ${kindOf(value)}, not ${types.join(' or ')}`]
  if (schema.enum !== undefined && !schema.enum.includes(value)) problems.push(`${at} is none of ${schema.enum.join(', ')}`)
  if (schema.const !== undefined && schema.const !== value) problems.push(`${at} is not ${String(schema.const)}`)
  if (Array.isArray(value)) {
    const { items } = schema
    return items === undefined
      ? problems
      : [...problems, ...value.flatMap((item, index) => problemsOf(item, items, schemas, `${at}/${index}`))]
  }
  if (typeof value !== 'object' || value === null) return problems
  const { properties = {}, required = [], additionalProperties = true } = schema
  for (const name of required) if (!Object.hasOwn(value, name)) problems.push(`${at}/${name} is missing`)
  for (const [name, member] of Object.entries(value)) {
    const own = entryOf(properties, name)
    if (own !== undefined) problems.push(...problemsOf(member, own, schemas, `${at}/${name}`))
    else if (additionalProperties === false) problems.push(`${at}/${name} is not described`)
    else if (typeof additionalProperties === 'object')
      problems.push(...problemsOf(member, additionalProperties, schemas, `${at}/${name}`))
  }
  return problems
}

function isOf(value: unknown, type: string): boolean {
  return type === kindOf(value) || (type === 'integer' && Number.isInteger(value))
}

function kindOf(value: unknown): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'array' : typeof value
}
