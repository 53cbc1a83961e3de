import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import type { Result } from './report.ts'
import { keepPartial, partialOf } from './unfinished.ts'

it('resumes a run of the same commit only, and tries again what time or a missing setup left out', () => {
  const folder = mkdtempSync(join(tmpdir(), 'turnpike-unfinished-'))
  const file = join(folder, 'deep/unfinished.json')
  expect(partialOf('abc', file)).toEqual({})
  const machine = { cpu: 'test', cores: 2, memory: 1, kernel: '6', node: 'v22', load: 0 }
  const run: Result = {
    at: '2026-01-01',
    commit: 'abc',
    machine,
    topologies: { embedded: 'abc' },
    measured: [],
    calibrations: [],
    absent: [{ topology: 'portkey', setup: 'full', why: 'none' }],
    skipped: ['held on cluster'],
  }
  keepPartial(run, file)
  expect(partialOf('abc', file)).toEqual({ ...run, absent: [], skipped: [] })
  expect(partialOf('def', file)).toEqual({})
  rmSync(folder, { recursive: true })
})
