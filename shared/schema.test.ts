import { describe, expect, it } from 'vitest'
import { check, fieldNames, flag, numeric, sentenceOf, textOrList, z } from './schema.ts'

const read = (schema: z.ZodType, value: unknown): unknown => {
  const result = check(schema, value)
  return result.ok ? result.value : result.problems.map(({ path, message }) => `${path.join('.')} ${message}`.trim())
}

describe('numeric', () => {
  it('takes numbers and texts of numbers', () => {
    expect([1.5, '1.5', ' 2 ', '1e3', 0].map((value) => read(numeric(), value))).toEqual([1.5, 1.5, 2, 1000, 0])
  })

  it('refuses everything else with what was expected', () => {
    for (const value of ['', ' ', 'ten', Number.NaN, Number.POSITIVE_INFINITY, true, null, [1]]) {
      expect(read(numeric(), value)).toEqual(['expected a number'])
    }
    expect(read(numeric({ min: 0, integer: true }), '1.5')).toEqual(['expected a whole number, 0 or more'])
    expect(read(numeric({ min: 1, max: 5 }), 6)).toEqual(['expected a number from 1 to 5'])
  })
})

describe('flag', () => {
  it('takes booleans and the texts older YAML reads as one', () => {
    expect([true, 'true', 'Yes', 'on', '1'].map((value) => read(flag(), value))).toEqual([true, true, true, true, true])
    expect([false, 'False', 'no', 'OFF', '0'].map((value) => read(flag(), value))).toEqual([false, false, false, false, false])
    expect(read(flag(), 'maybe')).toEqual(['expected true or false'])
    expect(read(flag(), 1)).toEqual(['expected true or false'])
  })
})

describe('textOrList', () => {
  it('reads one text as a list of one', () => {
    expect(read(textOrList(), 'a')).toEqual(['a'])
    expect(read(textOrList(), ['a', 'b'])).toEqual(['a', 'b'])
    expect(read(textOrList(), 5)).toEqual(['expected a text or a list of texts'])
  })
})

describe('check', () => {
  const schema = z.looseObject({
    name: z.string().min(1).describe('What it is called.'),
    inner: z.array(z.object({ level: z.enum(['low', 'high']), count: numeric().nullish().describe('How many.') })).optional(),
  })

  it('says what is missing, of another type, empty or not among the choices', () => {
    expect(read(schema, {})).toEqual(['name is missing; expected a text'])
    expect(read(schema, { name: 5, inner: {} })).toEqual(['name expected a text', 'inner expected a list'])
    expect(read(schema, { name: '', inner: [{ level: 'medium' }] })).toEqual([
      'name must not be empty',
      'inner.0.level expected "low" or "high"',
    ])
  })

  it('keeps names it does not declare', () => {
    expect(read(schema, { name: 'a', more: 1 })).toEqual({ name: 'a', more: 1 })
  })

  it('finds the sentence of a field through lists and optional parts', () => {
    expect(sentenceOf(schema, ['name'])).toBe('What it is called.')
    expect(sentenceOf(schema, ['inner', 3, 'count'])).toBe('How many.')
    expect(sentenceOf(schema, ['inner', 3, 'nothing'])).toBeUndefined()
    expect(fieldNames(schema)).toEqual(['name', 'inner'])
  })
})
