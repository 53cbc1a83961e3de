import { type Fields, isFields, text } from './wire.ts'

/** Keywords the structured output grammar refuses (400); what they say is kept for the model in the description. */
const REFUSED = new Set([
  'minimum',
  'maximum',
  'exclusiveMinimum',
  'exclusiveMaximum',
  'multipleOf',
  'minLength',
  'maxLength',
  'pattern',
  'maxItems',
  'uniqueItems',
  'contains',
  'minContains',
  'maxContains',
  'minProperties',
  'maxProperties',
  'propertyNames',
  'patternProperties',
  'unevaluatedProperties',
  'unevaluatedItems',
  'dependentRequired',
  'dependentSchemas',
  'prefixItems',
  'not',
  'if',
  'then',
  'else',
])

const FORMATS = new Set(['date-time', 'time', 'date', 'duration', 'email', 'hostname', 'uri', 'ipv4', 'ipv6', 'uuid'])

/** Keywords whose value is a map of schemas, a list of schemas, or one schema. */
const MAPS = new Set(['properties', '$defs', 'definitions'])
const LISTS = new Set(['anyOf', 'allOf'])

/**
 * A JSON schema in the subset that `output_config.format` and strict tools accept. Objects are closed, `oneOf` becomes `anyOf`, refused
 * keywords move into the description. The argument is not changed.
 */
export function strictSchema(schema: Fields): Fields {
  const strict: Fields = {}
  const notes: string[] = []
  for (const [keyword, value] of Object.entries(schema)) {
    if (isRefused(keyword, value)) notes.push(`${keyword}: ${JSON.stringify(value)}`)
    else if (keyword === 'oneOf') strict['anyOf'] = each(value)
    else if (LISTS.has(keyword)) strict[keyword] = each(value)
    else if (MAPS.has(keyword) && isFields(value)) strict[keyword] = map(value)
    else if (keyword === 'items' && isFields(value)) strict['items'] = strictSchema(value)
    else strict[keyword] = value
  }
  if (Array.isArray(schema['prefixItems']) && !isFields(schema['items'])) strict['items'] = { anyOf: each(schema['prefixItems']) }
  if (isObjectSchema(schema)) strict['additionalProperties'] = false
  if (notes.length > 0)
    strict['description'] = [text(schema['description']), `(${notes.join(', ')})`].filter((part) => part !== '').join('\n')
  return strict
}

/** The schema of a tool's input, which must say that it is an object. */
export function inputSchema(parameters: unknown): Fields {
  if (!isFields(parameters)) return { type: 'object', properties: {} }
  return parameters['type'] === 'object' ? parameters : { ...parameters, type: 'object' }
}

function isRefused(keyword: string, value: unknown): boolean {
  if (keyword === 'minItems') return typeof value !== 'number' || value > 1
  if (keyword === 'format') return typeof value === 'string' && !FORMATS.has(value)
  return REFUSED.has(keyword)
}

function isObjectSchema(schema: Fields): boolean {
  const type = schema['type']
  return (
    type === 'object' ||
    (Array.isArray(type) && type.includes('object')) ||
    (type === undefined && isFields(schema['properties']))
  )
}

function each(value: unknown): unknown {
  return Array.isArray(value) ? value.map((entry) => (isFields(entry) ? strictSchema(entry) : entry)) : value
}

function map(value: Fields): Fields {
  return Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, isFields(entry) ? strictSchema(entry) : entry]))
}
