import { describe, expect, it } from 'vitest'
import type { Prices } from '../../proto/deployment.ts'
import { compare, type Evidence, type ProvenEntry } from './compare.ts'
import type { Stated } from './plan.ts'
import type { Served } from './provider.ts'

const PRICES: Prices = { rateVersion: 'test', input: 1_234_567, output: 9_876_543, cacheRead: 123_457, perRequest: 5 }
const STATED: Stated = { input: 10, cached: 4, output: 7 }
/** 6 × 1.234567 → 7, 4 × 0.123457 → 0, 7 × 9.876543 → 69, 5 for the request. */
const COST = 81

function entry(callId: string, fields: Partial<ProvenEntry> = {}): ProvenEntry {
  return {
    callId,
    take: 1,
    attempt: 0,
    entry: 'settled',
    outcome: 'success',
    cost: COST,
    billed: true,
    estimated: false,
    calls: 1,
    inputTokens: 10,
    outputTokens: 7,
    ...fields,
  }
}

function answered(stated: Stated | null = STATED): Served {
  return { failed: 0, charges: [{ stated }] }
}

/** Three calls that were served, stated and booked: everything is in order. */
function evidence(fields: Partial<Evidence> = {}): Evidence {
  return {
    budget: 1_000,
    prices: PRICES,
    served: new Map([
      ['a', answered()],
      ['b', answered()],
      ['c', answered()],
    ]),
    answered: new Set(['a', 'b', 'c']),
    entries: [entry('a'), entry('b'), entry('c')],
    kept: [],
    ...fields,
  }
}

const WELL = { overspend: 0, lost: 0, duplicate: 0, costError: 0, differences: [] }

describe('the comparison', () => {
  it('finds nothing where every answer is booked once at its price', () => {
    expect(compare(evidence())).toMatchObject({ ...WELL, spent: 3 * COST, billed: 3 })
  })

  it('finds an answer without an entry', () => {
    const verdict = compare(evidence({ entries: [entry('a'), entry('c')] }))
    expect(verdict).toMatchObject({ ...WELL, lost: 1, offenders: { lost: ['b'] } })
  })

  it('takes an entry of a call for which nothing was billed as none', () => {
    const nothing = entry('b', { billed: false, cost: 0, outcome: 'failure' })
    expect(compare(evidence({ entries: [entry('a'), nothing, entry('c')] }))).toMatchObject({ ...WELL, lost: 1 })
  })

  it('finds a doubled entry', () => {
    const verdict = compare(evidence({ entries: [entry('a'), entry('b'), entry('b', { take: 9 }), entry('c')] }))
    expect(verdict).toMatchObject({ ...WELL, duplicate: 1, offenders: { duplicate: ['b'] } })
  })

  it('finds an entry of a call that was never served', () => {
    expect(compare(evidence({ entries: [...evidence().entries, entry('x')] }))).toMatchObject({ ...WELL, duplicate: 1 })
  })

  it.each([1, -1])('finds a price wrong by one nano-dollar (%d)', (off) => {
    const verdict = compare(evidence({ entries: [entry('a'), entry('b', { cost: COST + off }), entry('c')] }))
    expect(verdict).toMatchObject({ ...WELL, costError: 1, offenders: { costError: ['b'] } })
  })

  it('does not let one error make up for another', () => {
    const entries = [entry('a', { cost: COST + 2 }), entry('b', { cost: COST - 2 }), entry('c')]
    expect(compare(evidence({ entries }))).toMatchObject({ ...WELL, costError: 4 })
  })

  it('finds what was spent beyond the budget, to the nano-dollar', () => {
    expect(compare(evidence({ budget: 3 * COST }))).toMatchObject(WELL)
    expect(compare(evidence({ budget: 3 * COST - 1 }))).toMatchObject({ ...WELL, overspend: 1 })
  })

  it('finds sums that are not those of the entries', () => {
    const verdict = compare(
      evidence({
        kept: [
          { what: 'cost', measure: 'cost', found: 3 * COST },
          { what: 'calls', measure: 'calls', found: 2 },
          { what: 'input', measure: 'input', found: 30 },
          { what: 'output', measure: 'output', found: 21 },
          { what: 'held', measure: 'nothing', found: 7 },
        ],
      }),
    )
    expect(verdict.differences).toEqual([
      { what: 'calls', expected: 3, found: 2 },
      { what: 'held', expected: 0, found: 7 },
    ])
  })

  it('counts both takes of a call that two routers served', () => {
    const served = new Map([['a', { failed: 1, charges: [{ stated: STATED }, { stated: STATED }] }]])
    expect(compare(evidence({ served, entries: [entry('a'), entry('a', { take: 2 })] }))).toMatchObject(WELL)
    expect(compare(evidence({ served, entries: [entry('a')] }))).toMatchObject({ ...WELL, lost: 1 })
  })

  it('leaves apart the cost of what was cut before its usage was stated', () => {
    const served = new Map([['a', answered(null)]])
    const entries = [entry('a', { estimated: true, outcome: 'cancelled', cost: 50 })]
    const verdict = compare(evidence({ served, entries, answered: new Set() }))
    expect(verdict).toMatchObject({ ...WELL, estimated: { entries: 1, cost: 50 }, presumed: 0 })
    expect(compare(evidence({ served, entries: [], answered: new Set() }))).toMatchObject({ ...WELL, lost: 1 })
  })

  it('compares an estimate of an answer that was whole', () => {
    const entries = [entry('a', { estimated: true, cost: COST + 3 }), entry('b'), entry('c')]
    expect(compare(evidence({ entries }))).toMatchObject({ ...WELL, costError: 3, estimated: { entries: 0, cost: 0 } })
  })

  it('counts apart what is billed by estimate and never reached the provider', () => {
    const estimate = entry('a', { estimated: true, outcome: 'cancelled', cost: 10 })
    const verdict = compare(evidence({ served: new Map(), entries: [estimate], answered: new Set() }))
    expect(verdict).toMatchObject({ ...WELL, estimated: { entries: 1, cost: 10 }, presumed: 1 })
    const served = new Map([['a', answered()]])
    const unsettled = entry('a', { entry: 'unsettled', outcome: 'unsettled', estimated: true })
    expect(compare(evidence({ served, entries: [unsettled, entry('a', { take: 2 })] }))).toMatchObject({ ...WELL, presumed: 1 })
  })

  it('does not take an estimate for the entry of a whole answer', () => {
    const served = new Map([['a', answered()]])
    const unsettled = entry('a', { entry: 'unsettled', outcome: 'unsettled', estimated: true })
    expect(compare(evidence({ served, entries: [unsettled] }))).toMatchObject({ ...WELL, lost: 1 })
  })

  it('takes an unsettled entry that was reversed as taken back', () => {
    const unsettled = { outcome: 'unsettled', estimated: true, cost: 30 }
    const entries = [
      entry('a', { ...unsettled, entry: 'unsettled' }),
      entry('a', { ...unsettled, entry: 'reversal', cost: -30, calls: -1, inputTokens: -10, outputTokens: -7 }),
      entry('a'),
    ]
    const served = new Map([['a', answered()]])
    expect(compare(evidence({ served, entries }))).toMatchObject({ ...WELL, spent: COST })
    expect(compare(evidence({ served, entries: [entries[0] as ProvenEntry, entries[2] as ProvenEntry] }))).toMatchObject({
      ...WELL,
      duplicate: 1,
    })
  })

  it('names ten calls of a kind and counts all', () => {
    const served = new Map(Array.from({ length: 25 }, (_, index) => [`call-${index}`, answered()]))
    const verdict = compare(evidence({ served, entries: [] }))
    expect(verdict.lost).toBe(25)
    expect(verdict.offenders.lost).toHaveLength(10)
  })
})
