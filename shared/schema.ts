import { z } from 'zod'

export { z }

/** One thing that is wrong with a value: where (keys and indexes from the top) and what was expected. */
export interface SchemaProblem {
  path: (string | number)[]
  message: string
}

/** A number written as such, or as text (`"0.5"`): LiteLLM takes both where a number is meant. */
export function numeric(rules: { min?: number; max?: number; integer?: boolean } = {}) {
  const wanted = describeNumber(rules)
  return z.union([z.number(), z.string()], { error: `expected ${wanted}` }).transform((value, context): number => {
    const number = typeof value === 'number' ? value : value.trim() === '' ? Number.NaN : Number(value)
    const fits =
      Number.isFinite(number) &&
      (rules.integer !== true || Number.isSafeInteger(number)) &&
      (rules.min === undefined || number >= rules.min) &&
      (rules.max === undefined || number <= rules.max)
    if (fits) return number
    context.addIssue({ code: 'custom', message: `expected ${wanted}` })
    return z.NEVER
  })
}

/** A boolean, or one of the texts for it: `yes` and `on` too, which older YAML read as true. */
export function flag() {
  return z.union([z.boolean(), z.stringbool({ truthy: ['true', 'yes', 'on', '1'], falsy: ['false', 'no', 'off', '0'] })], {
    error: 'expected true or false',
  })
}

/** A text, or a list of texts; always read as a list. */
export function textOrList() {
  return z
    .union([z.string(), z.array(z.string())], { error: 'expected a text or a list of texts' })
    .transform((value) => (typeof value === 'string' ? [value] : value))
}

/** Checks `value`; gives the parsed value, or every problem. */
export function check<S extends z.ZodType>(
  schema: S,
  value: unknown,
): { ok: true; value: z.output<S> } | { ok: false; problems: SchemaProblem[] } {
  const result = schema.safeParse(value, { error: (issue) => issue.message ?? sentence(issue) })
  if (result.success) return { ok: true, value: result.data }
  return { ok: false, problems: result.error.issues.map((issue) => ({ path: issue.path.map(part), message: issue.message })) }
}

/** The sentence (`.describe`) of the field at `path`, where the schema has one. */
export function sentenceOf(schema: z.core.$ZodType, path: readonly (string | number)[]): string | undefined {
  let current: z.core.$ZodType | undefined = schema
  for (const key of path) {
    current = childOf(unwrapped(current), key)
    if (current === undefined) return undefined
  }
  return z.globalRegistry.get(current)?.description
}

/** Names of the fields an object schema declares. */
export function fieldNames(schema: z.core.$ZodType): string[] {
  const object = unwrapped(schema)
  return object instanceof z.ZodObject ? Object.keys(object.shape) : []
}

function childOf(schema: z.core.$ZodType, key: string | number): z.core.$ZodType | undefined {
  if (schema instanceof z.ZodObject) return schema.shape[key]
  if (schema instanceof z.ZodArray) return schema.element
  if (schema instanceof z.ZodRecord) return schema.valueType
  return undefined
}

function unwrapped(schema: z.core.$ZodType): z.core.$ZodType {
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodNullable) return unwrapped(schema.unwrap())
  return schema
}

/** What zod found, as a sentence that says what was expected. Null falls back to zod's own words. */
function sentence(issue: z.core.$ZodRawIssue): string | null {
  switch (issue.code) {
    case 'invalid_type':
      return issue.input === undefined ? `is missing; expected ${article(issue.expected)}` : `expected ${article(issue.expected)}`
    case 'invalid_value':
      return `expected ${issue.values.map((value) => JSON.stringify(value)).join(' or ')}`
    case 'too_small':
      return issue.origin === 'string' ? 'must not be empty' : `must be at least ${issue.minimum}`
    case 'too_big':
      return `must be at most ${issue.maximum}`
    default:
      return null
  }
}

const ARTICLES: Record<string, string> = {
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a mapping (`key: value` lines)',
  record: 'a mapping (`key: value` lines)',
}

function article(type: string): string {
  return ARTICLES[type] ?? type
}

function describeNumber(rules: { min?: number; max?: number; integer?: boolean }): string {
  const kind = rules.integer === true ? 'a whole number' : 'a number'
  if (rules.min !== undefined && rules.max !== undefined) return `${kind} from ${rules.min} to ${rules.max}`
  if (rules.min !== undefined) return `${kind}, ${rules.min} or more`
  return kind
}

function part(key: PropertyKey): string | number {
  return typeof key === 'symbol' ? String(key) : key
}
