import { readFileSync } from 'node:fs'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { parse } from 'yaml'
import { type Fields, isFields } from './json.ts'

/** Descriptions that vendors publish of their own APIs, kept beside the checkout like the recordings. */
export type Spec = 'openai' | 'anthropic' | 'mistral' | 'ollama'

const FOLDER = new URL('../../../shared/specs/', import.meta.url)
const REF = '#/components/schemas/'
/** Errors told of one value. */
const MOST = 8

/** Whether a value has the form; the list of what is wrong with it, empty where nothing is. */
export type Validator = (value: unknown) => string[]

/**
 * A validator of one schema under `components/schemas` (`validatorOf('openai', 'CreateResponse')`). Throws when there is no such schema.
 *
 * Alternatives may overlap: `oneOf` is read as `anyOf`, for vendors write it of forms that include one another. Formats are not checked.
 */
export function validatorOf(spec: Spec, name: string): Validator {
  const schemas = schemasOf(spec)
  const reached: Fields = {}
  reach(name, schemas, reached)
  const ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: false, logger: false })
  const validate = ajv.compile({ $defs: reached, $ref: `#/$defs/${encodeURIComponent(name)}` })
  return (value) => {
    if (validate(value)) return []
    const errors = validate.errors ?? []
    // Of alternatives every one complains; what is wrong furthest down in the value is what was meant.
    const deepest = Math.max(...errors.map(({ instancePath }) => instancePath.split('/').length))
    const told = errors.filter(({ instancePath }) => instancePath.split('/').length === deepest)
    return [...new Set(told.map(({ instancePath, message }) => `${instancePath} ${message ?? ''}`))].slice(0, MOST)
  }
}

const parsed = new Map<Spec, Fields>()

function schemasOf(spec: Spec): Fields {
  let schemas = parsed.get(spec)
  if (schemas === undefined) {
    const source = readFileSync(new URL(`${spec}-openapi.yaml`, FOLDER), 'utf8')
    const document = parse(source, { maxAliasCount: -1 }) as { components: { schemas: Fields } }
    schemas = document.components.schemas
    parsed.set(spec, schemas)
  }
  return schemas
}

/** Collects a schema and all it refers to, each in JSON Schema's own words. */
function reach(name: string, schemas: Fields, reached: Fields): void {
  if (Object.hasOwn(reached, name)) return
  if (schemas[name] === undefined) throw new Error(`the description has no schema ${name}`)
  reached[name] = true
  const found = new Set<string>()
  reached[name] = plain(schemas[name], found)
  for (const next of found) reach(next, schemas, reached)
}

function plain(schema: unknown, found: Set<string>): unknown {
  if (Array.isArray(schema)) return (schema as unknown[]).map((one) => plain(one, found))
  if (!isFields(schema)) return schema
  const made: Fields = {}
  for (const [word, value] of Object.entries(schema)) {
    // A property may have any name, that of a keyword too.
    if (word === 'properties' && isFields(value)) {
      made[word] = Object.fromEntries(Object.entries(value).map(([property, inner]) => [property, plain(inner, found)]))
    } else if (word === '$ref' && typeof value === 'string' && value.startsWith(REF)) {
      const next = value.slice(REF.length)
      found.add(next)
      made['$ref'] = `#/$defs/${encodeURIComponent(next)}`
    } else if (word === 'oneOf') made['anyOf'] = plain(value, found)
    else if (KEPT.has(word)) made[word] = ARGUMENTS.has(word) ? value : plain(value, found)
  }
  // OpenAPI 3.0 says so what 3.1 says by a type.
  return schema['nullable'] === true ? { anyOf: [made, { type: 'null' }] } : made
}

/** Keywords whose value is no schema. */
const ARGUMENTS: ReadonlySet<string> = new Set([
  'type',
  'enum',
  'const',
  'required',
  'minimum',
  'maximum',
  'minLength',
  'maxLength',
  'minItems',
  'maxItems',
  'pattern',
])
const KEPT: ReadonlySet<string> = new Set([...ARGUMENTS, 'anyOf', 'allOf', 'not', 'items', 'prefixItems', 'additionalProperties'])
