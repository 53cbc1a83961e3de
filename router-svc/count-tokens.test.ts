import { describe, expect, it } from 'vitest'
import { createTokenCounter, roughTokens } from './count-tokens.ts'

const SENTENCE = 'how many carts went through the gate today? '

describe('the token counter', () => {
  it('counts words as o200k does, and special tokens as text', async () => {
    const counter = createTokenCounter()
    expect(await counter.count('')).toBe(0)
    expect(await counter.count('hello world')).toBe(2)
    expect(await counter.count('<|endoftext|>')).toBeGreaterThan(1)
  })

  it('estimates what is too long to count', async () => {
    const long = 'x'.repeat(60_000)
    expect(await createTokenCounter().count(long)).toBe(roughTokens(long.length))
  })

  it('lets other work run between the counts of a burst, and counts each right', async () => {
    const counter = createTokenCounter()
    const text = SENTENCE.repeat(50)
    const alone = await counter.count(text)
    let turns = 0
    let timer = setImmediate(function turn() {
      turns += 1
      timer = setImmediate(turn)
    })
    const counts = await Promise.all(Array.from({ length: 100 }, () => counter.count(text)))
    clearImmediate(timer)
    expect(counts).toEqual(counts.map(() => alone))
    // 220,000 characters at about 20,000 a turn.
    expect(turns).toBeGreaterThanOrEqual(8)
  })
})
