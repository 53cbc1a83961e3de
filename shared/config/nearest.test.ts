import { describe, expect, it } from 'vitest'
import { editDistance, nearest } from './nearest.ts'

describe('editDistance', () => {
  it('counts insertions, deletions, replacements and swaps', () => {
    expect(editDistance('rpm', 'rpm')).toBe(0)
    expect(editDistance('modle', 'model')).toBe(1)
    expect(editDistance('mdel', 'model')).toBe(1)
    expect(editDistance('kitten', 'sitting')).toBe(3)
    expect(editDistance('', 'abc')).toBe(3)
  })
})

describe('nearest', () => {
  it('finds the name that was meant and nothing far away', () => {
    expect(nearest('databse_url', ['database_url', 'master_key'])).toEqual(['database_url'])
    expect(nearest('maxTokens', ['max_tokens'])).toEqual(['max_tokens'])
    expect(nearest('Master-Key', ['master_key'])).toEqual(['master_key'])
    expect(nearest('callbacks', ['database_url', 'master_key'])).toEqual([])
  })
})
