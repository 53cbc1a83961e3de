import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { alignModels, type Comparison, compareLines, type Line, PER_NANO, relativeDifference } from './reconcile.ts'

const EXACT = { absolute: 0n, relative: 0n }
const DOLLAR = PER_NANO * 10n ** 9n

const line = (fields: Partial<Line> = {}): Line => ({
  date: '2026-11-21',
  model: 'gpt-4o',
  key: '',
  measure: 'cost',
  amount: DOLLAR,
  ...fields,
})

const lines = fc.array(
  fc.record({
    date: fc.constantFrom('2026-11-20', '2026-11-21'),
    model: fc.constantFrom('a', 'b', ''),
    key: fc.constantFrom('', 'k'),
    measure: fc.constantFrom('cost' as const, 'output_tokens' as const),
    amount: fc.bigInt({ min: -(10n ** 20n), max: 10n ** 30n }),
  }),
  { maxLength: 12 },
)
const tolerances = fc.record({
  absolute: fc.bigInt({ min: 0n, max: 10n ** 20n }),
  relative: fc.bigInt({ min: 0n, max: 2_000_000n }),
})

const sum = (list: readonly Line[], measure: string): bigint =>
  list.filter((item) => item.measure === measure).reduce((all, item) => all + item.amount, 0n)
const nameOf = (row: Omit<Line, 'amount'>): string => `${row.date} ${row.model} ${row.key} ${row.measure}`

describe('compareLines', () => {
  it('loses nothing: rows and totals hold all that went in, each day, model, key and measure once', () => {
    fc.assert(
      fc.property(lines, lines, tolerances, (ours, theirs, tolerance) => {
        const { rows, totals } = compareLines(ours, theirs, tolerance)
        expect(new Set(rows.map(nameOf)).size).toBe(rows.length)
        expect(new Set(rows.map(nameOf))).toEqual(new Set([...ours, ...theirs].map(nameOf)))
        for (const total of totals) {
          expect(total.ours).toBe(sum(ours, total.measure))
          expect(total.theirs).toBe(sum(theirs, total.measure))
          const own = rows.filter((row) => row.measure === total.measure)
          expect(own.reduce((all, row) => all + row.ours - row.theirs, 0n)).toBe(total.ours - total.theirs)
          expect(Object.values(total.counts).reduce((all, count) => all + count, 0)).toBe(own.length)
        }
      }),
    )
  })

  it('does not depend on the order of lines or on how they are cut', () => {
    const cut = (list: Line[]): Line[] =>
      list
        .flatMap((item) => [
          { ...item, amount: item.amount / 3n },
          { ...item, amount: item.amount - item.amount / 3n },
        ])
        .reverse()
    fc.assert(
      fc.property(lines, lines, tolerances, (ours, theirs, tolerance) => {
        expect(compareLines(cut(ours), cut(theirs), tolerance)).toEqual(compareLines(ours, theirs, tolerance))
      }),
    )
  })

  it('is turned round when the sides are, but for what is relative to theirs', () => {
    const turned = ({ rows, totals }: Comparison): Comparison => {
      const status = { match: 'match', differs: 'differs', only_ours: 'only_theirs', only_theirs: 'only_ours' } as const
      return {
        rows: rows.map((row) => ({ ...row, ours: row.theirs, theirs: row.ours, status: status[row.status] })),
        totals: totals.map((total) => ({
          ...total,
          ours: total.theirs,
          theirs: total.ours,
          counts: { ...total.counts, only_ours: total.counts.only_theirs, only_theirs: total.counts.only_ours },
        })),
      }
    }
    fc.assert(
      fc.property(lines, lines, tolerances, (ours, theirs, { absolute }) => {
        const tolerance = { absolute, relative: 0n }
        expect(compareLines(theirs, ours, tolerance)).toEqual(turned(compareLines(ours, theirs, tolerance)))
      }),
    )
  })

  it('finds that anything matches itself, exactly', () => {
    fc.assert(
      fc.property(lines, (same) => {
        expect(compareLines(same, same, EXACT).rows.every((row) => row.status === 'match')).toBe(true)
      }),
    )
  })

  it('finds no fewer matches with more tolerance', () => {
    fc.assert(
      fc.property(lines, lines, tolerances, fc.bigInt({ min: 0n, max: 10n ** 25n }), (ours, theirs, tolerance, more) => {
        const matching = (given: typeof tolerance): Set<string> =>
          new Set(compareLines(ours, theirs, given).rows.flatMap((row) => (row.status === 'match' ? [nameOf(row)] : [])))
        const wider = matching({ absolute: tolerance.absolute + more, relative: tolerance.relative + more })
        for (const name of matching(tolerance)) expect(wider).toContain(name)
      }),
    )
  })

  it('says which side alone has a row, and that a row of 0 is none', () => {
    const { rows } = compareLines(
      [line({ model: 'a' }), line({ model: 'c' })],
      [line({ model: 'b' }), line({ model: 'c', amount: 0n }), line({ model: 'd', amount: 0n })],
      EXACT,
    )
    expect(rows.map((row) => [row.model, row.status])).toEqual([
      ['a', 'only_ours'],
      ['b', 'only_theirs'],
      ['c', 'only_ours'],
      ['d', 'match'],
    ])
  })

  it('matches up to the tolerance and not beyond', () => {
    const statusAt = (ours: bigint, tolerance: { absolute: bigint; relative: bigint }) =>
      compareLines([line({ amount: ours })], [line()], tolerance).rows[0]?.status
    const cent = { absolute: DOLLAR / 100n, relative: 0n }
    expect(statusAt(DOLLAR + DOLLAR / 100n, cent)).toBe('match')
    expect(statusAt(DOLLAR + DOLLAR / 100n + 1n, cent)).toBe('differs')
    const percent = { absolute: 0n, relative: 10_000n }
    expect(statusAt(DOLLAR - DOLLAR / 100n, percent)).toBe('match')
    expect(statusAt(DOLLAR - DOLLAR / 100n - 1n, percent)).toBe('differs')
    // A cent is money: it does not excuse a token.
    const tokens = (amount: bigint) => line({ measure: 'output_tokens', amount })
    expect(compareLines([tokens(11n)], [tokens(10n)], cent).rows[0]?.status).toBe('differs')
  })
})

describe('relativeDifference', () => {
  it('is of their amount, and null where there is none', () => {
    expect(relativeDifference({ ours: 110n, theirs: 100n })).toBe(100_000n)
    expect(relativeDifference({ ours: 90n, theirs: 100n })).toBe(-100_000n)
    expect(relativeDifference({ ours: -90n, theirs: -100n })).toBe(100_000n)
    expect(relativeDifference({ ours: 1n, theirs: 0n })).toBeNull()
  })
})

describe('alignModels', () => {
  const aligned = (ours: string[], theirs: string[]): string[] =>
    alignModels(
      ours.map((model) => line({ model })),
      theirs.map((model) => line({ model })),
    ).map((item) => item.model)

  it('drops a version only where the other side lacks it and has the plain name', () => {
    expect(aligned(['gpt-4o-2024-08-06', 'claude-x-20250514'], ['gpt-4o', 'claude-x'])).toEqual(['gpt-4o', 'claude-x'])
    expect(aligned(['gpt-4o-2024-08-06'], ['gpt-4o', 'gpt-4o-2024-08-06'])).toEqual(['gpt-4o-2024-08-06'])
    expect(aligned(['gpt-4o-2024-08-06'], ['gpt-4'])).toEqual(['gpt-4o-2024-08-06'])
    expect(aligned(['gpt-4o-mini'], ['gpt-4o'])).toEqual(['gpt-4o-mini'])
  })
})
