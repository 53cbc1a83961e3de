import { describe, expect, it } from 'vitest'
import type { Figures } from './metrics.ts'
import { between, readmeTable } from './readme-table.ts'
import type { Result } from './report.ts'

const one = (topology: string, scenario: string, figures: Figures) => ({
  topology,
  scenario,
  figures,
  alone: {},
  cpuBy: {},
  memoryBy: {},
  errors: {},
})

const result: Result = {
  at: '2026-01-02T03:04:05.000Z',
  commit: 'abc',
  machine: { cpu: 'test', cores: 2, memory: 8 * 2 ** 30, kernel: '6', node: 'v22', load: 0.1 },
  topologies: { direct: '', embedded: 'abc', portkey: '1.2', litellm: 'missing: no Python' },
  measured: [
    one('direct', 'unary-32', { perSecond: 50_000 }),
    one('embedded', 'unary-32', { perSecond: 12_000, cpu: 80, failed: 0, memoryIdle: 100, memory: 120, memoryAfter: 110 }),
    one('portkey', 'unary-32', { perSecond: 900, cpu: 950, failed: 3 }),
    one('embedded', 'unary-paired', { addedP50: 150, addedP99: 300 }),
  ],
  calibrations: [],
  absent: [],
  skipped: [],
}

describe('the table of the README', () => {
  it('has a column for each gateway that was measured, says what failed, and names the missing', () => {
    const text = readmeTable(result)
    const cells = text
      .split('\n')
      .filter((line) => line.startsWith('|'))
      .map((line) =>
        line
          .split('|')
          .slice(1, -1)
          .map((cell) => cell.trim()),
      )
    expect(cells[0]).toEqual(['', 'embedded', 'portkey'])
    expect(cells.slice(2)).toEqual([
      ['calls/s, 32 connections', '12,000', '900 (3 failed)'],
      ['CPU per call, all processes, µs', '80.0', '950 (3 failed)'],
      ['added latency, 1 connection, p50 / p99, µs', '150 / 300', '–'],
      ['memory before / under load / after, MB', '100 / 120 / 110', '–'],
    ])
    expect(text).toContain('commit abc on 2 cores of test, 8.00 GB')
    expect(text).toContain('Not measured, litellm: no Python.')
  })

  it('takes the place of what stands between its markers, and of nothing else', () => {
    expect(between('a\n<!-- bench:begin -->\nold\n<!-- bench:end -->\nb', 'new')).toBe(
      'a\n<!-- bench:begin -->\n\nnew\n\n<!-- bench:end -->\nb',
    )
    expect(() => between('a', 'new')).toThrow('there are no lines')
  })
})
