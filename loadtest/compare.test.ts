import { describe, expect, it } from 'vitest'
import { compare } from './compare.ts'
import type { Figures } from './metrics.ts'
import { figure, type Result, table } from './report.ts'

function result(figures: Figures): Result {
  const measured = [
    {
      topology: 'embedded',
      scenario: 'unary-32',
      figures,
      alone: {},
      cpuBy: { gateway: 70, client: 20 },
      memoryBy: {},
      errors: {},
    },
  ]
  const machine = { cpu: 'test', cores: 2, memory: 1, kernel: '6', node: 'v22', load: 0 }
  return {
    at: '2026-01-01',
    commit: 'abc',
    machine,
    topologies: { embedded: 'abc', cluster: 'missing: no' },
    measured,
    calibrations: [],
    absent: [],
    skipped: [],
  }
}

describe('the comparison of two results', () => {
  it('knows which way is worse, and forgives wall time more than CPU time', () => {
    const changes = compare(result({ cpu: 100, perSecond: 1_000, p99: 500 }), result({ cpu: 120, perSecond: 800, p99: 400 }), 15)
    expect(Object.fromEntries(changes.map(({ metric, worse, beyond }) => [metric, [Math.round(worse), beyond]]))).toEqual({
      cpu: [20, true],
      perSecond: [20, false],
      p99: [-20, false],
    })
    expect(compare(result({ cpu: 100 }), result({ cpu: 114 }), 15).some(({ beyond }) => beyond)).toBe(false)
  })

  it('takes failures out of nothing for worse, and leaves out figures that only one result has', () => {
    expect(compare(result({ failed: 0 }), result({ failed: 1, cpu: 5 }), 15)).toMatchObject([{ metric: 'failed', beyond: true }])
    const other = { ...result({ cpu: 9 }), measured: [] }
    expect(compare(other, result({ cpu: 9 }), 15)).toEqual([])
  })
})

describe('the table', () => {
  it('has a row for each figure and a column for each topology that was measured', () => {
    const lines = table(result({ cpu: 71.25, perSecond: 12_345.6, failed: 0 })).split('\n')
    const cells = lines.map((line) => line.split('|').map((cell) => cell.trim()))
    expect(cells[0]).toEqual(['', 'scenario', 'figure', 'embedded', ''])
    expect(cells.slice(2).map((row) => [row[2], row[3]])).toEqual([
      ['calls per second, /s', '12,346'],
      ['CPU per call, all its processes, µs', '71.3'],
      ['CPU per call by process, µs', 'gateway 70.0, client 20.0'],
    ])
    expect(new Set(lines.map((line) => line.length)).size).toBe(1)
  })

  it('shows three digits or so', () => {
    expect([undefined, 0.1234, 12.34, 1234.5].map(figure)).toEqual(['', '0.12', '12.3', '1,235'])
  })
})
