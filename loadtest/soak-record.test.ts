import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { Finding } from './soak-verdict.ts'

interface Record {
  topology: string
  minutes: number
  calls: number
  findings: Finding[]
}

const records = readFileSync(new URL('results/soak.jsonl', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as Record)

describe.each(['embedded', 'cluster'])('the last recorded soak: %s', (topology) => {
  it('ran for half an hour, and nothing failed, grew or was left', () => {
    const last = records.findLast((record) => record.topology === topology)
    expect(last?.minutes).toBeGreaterThanOrEqual(30)
    expect(last?.calls).toBeGreaterThan(100_000)
    expect(last?.findings.length).toBeGreaterThanOrEqual(15)
    expect(last?.findings.filter(({ good }) => !good)).toEqual([])
  })
})
