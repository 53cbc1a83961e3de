import { describe, expect, it } from 'vitest'
import { numeric } from './numeric.ts'

describe('what a request gives as a number', () => {
  it('is one, or the text of one', () => {
    expect([7, '2048', ' 1.5 ', ''].map(numeric)).toEqual([7, 2048, 1.5, 0])
  })

  it('is none otherwise, and never throws', () => {
    const odd = JSON.parse('[{"toString":1,"valueOf":2},[3],true,null,"many"]') as unknown[]
    expect([...odd, undefined].map(numeric)).toEqual(Array.from({ length: 6 }, () => Number.NaN))
  })
})
