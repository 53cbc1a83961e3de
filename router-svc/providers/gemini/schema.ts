import { type Fields, isFields } from './wire.ts'

/** Keywords the service does not read in JSON Schema, and refuses in places. */
const UNREAD = new Set(['$comment', 'discriminator', 'examples', 'strict', 'const'])

/** What OpenAPI's subset knows. */
const OPENAPI = [
  'type',
  'format',
  'title',
  'description',
  'nullable',
  'enum',
  'items',
  'minItems',
  'maxItems',
  'properties',
  'required',
  'minProperties',
  'maxProperties',
  'minLength',
  'maxLength',
  'pattern',
  'minimum',
  'maximum',
  'anyOf',
  'propertyOrdering',
] as const

const FORMATS = new Set(['date-time', 'enum', 'int32', 'int64', 'float', 'double'])

/** Definitions that hold themselves are followed this far. */
const DEPTH_LIMIT = 32

/** A JSON Schema as models from Gemini 2 on take it. `const` is an `enum` of one. */
export function jsonSchema(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(jsonSchema)
  if (!isFields(schema)) return schema
  const plain: Fields = {}
  for (const [name, value] of Object.entries(schema)) {
    if (UNREAD.has(name)) continue
    // Names of properties are no keywords.
    if ((name === 'properties' || name === '$defs' || name === 'definitions') && isFields(value))
      plain[name] = each(value, jsonSchema)
    else plain[name] = name === 'enum' || name === 'default' || name === 'required' ? value : jsonSchema(value)
  }
  if (schema['const'] !== undefined) plain['enum'] = [schema['const']]
  return plain
}

/** The same in OpenAPI's subset, for older models: definitions put in, unions as `anyOf`, null as `nullable`, texts for `enum`. */
export function openapiSchema(schema: unknown): Fields {
  const root = isFields(schema) ? schema : {}
  return converted(root, root, 0)
}

function converted(given: Fields, root: Fields, depth: number): Fields {
  const schema = resolved(given, root)
  if (depth > DEPTH_LIMIT) return { type: 'object' }
  const inner = (value: unknown): Fields => converted(isFields(value) ? value : {}, root, depth + 1)
  const out: Fields = {}
  for (const name of OPENAPI) if (schema[name] !== undefined) out[name] = schema[name]
  if (schema['const'] !== undefined) out['enum'] = [schema['const']]
  const union = schema['anyOf'] ?? schema['oneOf'] ?? typeUnion(schema)
  if (Array.isArray(union)) return unionOf(union, schema, inner)
  const type = out['type']
  if (Array.isArray(type)) {
    out['type'] = type.find((each) => each !== 'null') ?? 'string'
    if (type.includes('null')) out['nullable'] = true
  }
  if (isFields(schema['properties'])) {
    out['properties'] = each(schema['properties'], inner)
    out['type'] ??= 'object'
  }
  if (schema['items'] !== undefined) out['items'] = inner(schema['items'])
  else if (out['type'] === 'array') out['items'] = { type: 'string' }
  if (Array.isArray(out['enum'])) {
    out['enum'] = out['enum'].filter((value) => value !== '' && value !== null).map(String)
    out['type'] = 'string'
  }
  if (!FORMATS.has(String(out['format']))) delete out['format']
  return out
}

/** Several types beside null are a union; one is not. */
function typeUnion(schema: Fields): Fields[] | undefined {
  const types = schema['type']
  if (!Array.isArray(types) || types.filter((type) => type !== 'null').length < 2) return undefined
  return types.map((type) => ({ ...schema, type, description: undefined }))
}

function unionOf(union: unknown[], schema: Fields, inner: (value: unknown) => Fields): Fields {
  const isNull = (value: unknown): boolean => isFields(value) && value['type'] === 'null'
  const members = union.filter((value) => !isNull(value)).map(inner)
  const nullable = members.length < union.length ? { nullable: true } : {}
  const described = typeof schema['description'] === 'string' ? { description: schema['description'] } : {}
  const [only] = members
  if (members.length === 1 && only !== undefined) return { ...only, ...described, ...nullable }
  return { ...described, anyOf: members, ...nullable }
}

/** What `$ref` points to inside the document, with what stands beside it. */
function resolved(schema: Fields, root: Fields): Fields {
  let found = schema
  for (let step = 0; typeof found['$ref'] === 'string' && step < DEPTH_LIMIT; step += 1) {
    const { $ref: reference, ...beside } = found
    let target: unknown = root
    for (const name of String(reference).replace(/^#\/?/, '').split('/')) {
      if (name !== '') target = isFields(target) ? target[name] : undefined
    }
    found = isFields(target) ? { ...target, ...beside } : beside
  }
  return found
}

function each(fields: Fields, change: (value: unknown) => unknown): Fields {
  return Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, change(value)]))
}
