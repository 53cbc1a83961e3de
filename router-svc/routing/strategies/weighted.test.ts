import { describe, expect, it } from 'vitest'
import type { Route } from '../../runtime.ts'
import type { ChoiceContext } from './strategy.ts'
import { createWeighted } from './weighted.ts'

const route = (id: string, fields: { weight?: number; rpm?: number | null; tpm?: number | null } = {}): Route =>
  ({ deployment: { id, weight: 1, rpm: null, tpm: null, ...fields } }) as unknown as Route

const weighted = createWeighted()

/** How often each is picked when `random` walks evenly through [0, 1). */
function shares(candidates: Route[], steps = 1_000): Record<string, number> {
  const counts: Record<string, number> = {}
  for (let step = 0; step < steps; step += 1) {
    const { id } = (weighted.choose(candidates, { random: () => step / steps } as ChoiceContext) as Route).deployment
    counts[id] = (counts[id] ?? 0) + 1
  }
  return counts
}

describe('weighted', () => {
  it('spreads evenly when nothing tells the candidates apart', () => {
    expect(shares([route('a'), route('b')])).toEqual({ a: 500, b: 500 })
  })

  it('spreads by weight', () => {
    expect(shares([route('a', { weight: 9 }), route('b', { weight: 1 })])).toEqual({ a: 900, b: 100 })
  })

  it('never picks weight 0 while another is there', () => {
    expect(shares([route('a', { weight: 0 }), route('b')])).toEqual({ b: 1_000 })
  })

  it('picks among zeros when nothing else is there', () => {
    expect(shares([route('a', { weight: 0 }), route('b', { weight: 0 })])).toEqual({ a: 500, b: 500 })
  })

  it('falls back to rpm, then to tpm', () => {
    expect(shares([route('a', { rpm: 30 }), route('b', { rpm: 10 })])).toEqual({ a: 750, b: 250 })
    expect(shares([route('a', { tpm: 10 }), route('b', { tpm: 30 })])).toEqual({ a: 250, b: 750 })
  })
})
