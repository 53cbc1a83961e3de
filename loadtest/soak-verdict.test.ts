import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { warningsOf } from './soak-log.ts'
import { bodiesOf, edited, MIX, soakConfig } from './soak-mix.ts'
import { lows, type Point, secondHalf, trendOf } from './soak-series.ts'
import { judge, type ProcessSeries, type SoakFacts } from './soak-verdict.ts'

const MB = 1024 * 1024

/** A figure every half minute for half an hour. */
function series(value: (minute: number) => number): Point[] {
  return Array.from({ length: 61 }, (_, index) => ({ minute: index / 2, value: value(index / 2) }))
}

const STEADY: ProcessSeries = {
  heap: series((minute) => 60 * MB + (minute < 10 ? minute * 2 * MB : 20 * MB) + (Math.round(minute * 2) % 3) * 0.4 * MB),
  anonymous: series((minute) => 200 * MB + (Math.round(minute * 2) % 5) * 12 * MB),
  files: { before: 40, most: 900, after: 41 },
}

function facts(changes: Partial<SoakFacts> = {}): SoakFacts {
  return {
    processes: { 'router-0': STEADY },
    failed: { 'unary: status 503': 0 },
    problems: [],
    left: { 'calls on edges': 0, 'leases in Redis': 0 },
    books: [{ what: 'dollars', provider: 1.25, ledger: 1.25 }],
    ...changes,
  }
}

function failing(changes: Partial<SoakFacts>): string[] {
  return judge(facts(changes))
    .filter(({ good }) => !good)
    .map(({ what }) => what)
}

describe('the trend of a series', () => {
  it('is the line that the points lie on', () => {
    fc.assert(
      fc.property(
        fc.double({ min: -1e3, max: 1e3, noNaN: true }),
        fc.double({ min: -1e3, max: 1e3, noNaN: true }),
        (slope, start) => {
          const trend = trendOf(series((minute) => start + slope * minute))
          expect(trend.slope).toBeCloseTo(slope, 6)
          expect(trend.error).toBeLessThan(1e-6)
        },
      ),
    )
  })

  it('has the standard error of the text books', () => {
    // y = 1, 3, 2, 5, 4 over x = 0 … 4: slope 0.8, residual sum 3.6, error √(3.6 / 3 / 10).
    const trend = trendOf([1, 3, 2, 5, 4].map((value, minute) => ({ minute, value })))
    expect(trend.slope).toBeCloseTo(0.8, 12)
    expect(trend.error).toBeCloseTo(Math.sqrt(0.12), 12)
  })

  it('is none for fewer than three points', () => {
    expect(trendOf([])).toEqual({ slope: 0, error: 0, points: 0 })
    expect(trendOf([{ minute: 1, value: 5 }])).toMatchObject({ slope: 0, points: 1 })
  })

  it('is taken of the second half in time, and of the lows where garbage comes and goes', () => {
    const points = series((minute) => minute)
    expect(secondHalf(points)).toHaveLength(31)
    expect(secondHalf(points)[0]?.minute).toBe(15)
    const saw = series((minute) => (Math.round(minute * 2) % 3) * 10)
    expect(lows(saw, 3).every(({ value }) => value === 0)).toBe(true)
    expect(lows(saw, 3)).toHaveLength(20)
  })
})

describe('the verdict of a soak', () => {
  it('is good for a process that fills its caches, makes garbage and gives back what it opened', () => {
    expect(failing({})).toEqual([])
  })

  it('finds a leak of a megabyte a minute in the heap, under garbage', () => {
    const heap = series((minute) => 60 * MB + minute * MB + (Math.round(minute * 2) % 3) * 2 * MB)
    expect(failing({ processes: { edge: { ...STEADY, heap } } })).toEqual(['heap of edge'])
  })

  it('finds memory that grows outside the heap', () => {
    const anonymous = series((minute) => 200 * MB + minute * 2 * MB + (Math.round(minute * 2) % 5) * 12 * MB)
    expect(failing({ processes: { edge: { ...STEADY, anonymous } } })).toEqual(['memory of edge'])
  })

  it('says nothing about a run that is too short', () => {
    const short = { ...STEADY, heap: STEADY.heap.slice(0, 6), anonymous: STEADY.anonymous.slice(0, 6) }
    expect(failing({ processes: { edge: short } })).toEqual(['heap of edge', 'memory of edge'])
  })

  it('finds files that stay open', () => {
    expect(failing({ processes: { edge: { ...STEADY, files: { before: 40, most: 900, after: 44 } } } })).toEqual([
      'open files of edge',
    ])
  })

  it('finds one stream that is left, one lease, one failed call, one key that was refused', () => {
    expect(failing({ left: { 'calls at the provider': 1 } })).toEqual(['calls at the provider'])
    expect(failing({ left: { 'leases in Redis': 1 } })).toEqual(['leases in Redis'])
    expect(failing({ failed: { 'unary: status 500': 1 } })).toEqual(['failed calls'])
    expect(failing({ problems: ['a key deleted was answered 200 instead of 401'] })).toEqual(['changes meanwhile'])
  })

  it('finds a ledger that is a nano-dollar or a call off', () => {
    expect(failing({ books: [{ what: 'dollars', provider: 1.25, ledger: 1.250000001 + 1e-9 }] })).toEqual(['dollars'])
    expect(failing({ books: [{ what: 'calls', provider: 1_000, ledger: 1_001 }] })).toEqual(['calls'])
  })
})

describe('the mix', () => {
  it('is whole, and each part is asked for in its own words', () => {
    expect(MIX.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1, 12)
    const bodies = MIX.flatMap(bodiesOf)
    expect(new Set(bodies.map((body) => body)).size).toBeGreaterThan(200)
    for (const body of bodies) expect(JSON.parse(body)).toHaveProperty('messages')
  })

  it('changes its configuration at each turn, and only that line', () => {
    const config = soakConfig('http://127.0.0.1:1')
    expect(edited(config, 1)).not.toBe(config)
    expect(edited(config, 2)).toBe(config)
  })
})

describe('the log of a gateway', () => {
  it('is read for warnings, with or without the process in front', () => {
    const text = [
      '{"level":30,"msg":"fine"}',
      '{"level":40,"msg":"behind"}',
      '[router-0] {"level":50,"msg":"behind"}',
      'Debugger listening on ws://127.0.0.1:1',
      '{ not json',
    ].join('\n')
    expect(warningsOf(text)).toEqual({ behind: 2 })
  })
})
