import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { ROOT } from './sources.ts'

let directory = ''
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'turnpike-ci-'))
})
afterAll(() => rmSync(directory, { recursive: true }))

const MESSAGE = 'AssertionError: expected 1 to be 2\n    at /somewhere/a.test.ts:3:4'

function summary(
  files: [status: string, tests: string[]][] | null,
  tests: number,
  checks: number,
): [lines: string[], code: number | null] {
  const report = join(directory, 'report.json')
  const testResults = files?.map(([status, outcomes]) => ({
    name: join(ROOT, 'shared/a.test.ts'),
    status,
    message: 'Cannot find module\nRequire stack:',
    assertionResults: outcomes.map((outcome, index) => ({
      status: outcome,
      fullName: `a thing does the ${index}th`,
      failureMessages: outcome === 'failed' ? [MESSAGE] : [],
    })),
  }))
  writeFileSync(report, files === null ? '' : JSON.stringify({ testResults }))
  const { stdout, status } = spawnSync(process.execPath, [join(ROOT, '.ci/summary.mjs'), report, String(tests), String(checks)], {
    encoding: 'utf8',
  })
  return [stdout.trimEnd().split('\n'), status]
}

it.each([
  ['everything passed', [['passed', ['passed', 'passed']]], 0, 0, '2 passed, 0 failed', 0],
  ['a test failed', [['failed', ['passed', 'failed']]], 1, 0, '1 passed, 1 failed', 1],
  ['a test was skipped', [['passed', ['passed', 'pending']]], 0, 0, '1 passed, 0 failed', 0],
  ['all tests were skipped', [['passed', ['pending']]], 0, 0, '0 passed, 1 failed', 1],
  ['a file could not be loaded', [['failed', []]], 1, 0, '0 passed, 1 failed', 1],
  ['the checks failed', [['passed', ['passed']]], 0, 1, '1 passed, 1 failed', 1],
  ['the run failed after its tests passed', [['passed', ['passed']]], 1, 0, '1 passed, 1 failed', 1],
  ['there is no report though the run says it went well', null, 0, 0, '0 passed, 1 failed', 1],
  ['there is no report', null, 1, 0, '0 passed, 1 failed', 1],
] as const)('CI reports and exits rightly when %s', (_case, files, tests, checks, line, code) => {
  const [lines, exit] = summary(files as never, tests, checks)
  expect([lines.at(-1), exit]).toEqual([line, code])
  expect(`${lines.length - 1} failed`).toBe(line.split(', ')[1])
})

it('CI says before its last line which tests failed and how each message begins', () => {
  const [lines] = summary(
    [
      ['failed', ['passed', 'failed']],
      ['failed', []],
    ] as never,
    1,
    2,
  )
  expect(lines).toEqual([
    'FAILED shared/a.test.ts: a thing does the 1th: AssertionError: expected 1 to be 2',
    'FAILED shared/a.test.ts: the file itself: Cannot find module',
    'FAILED npm run check: exit code 2',
    '1 passed, 3 failed',
  ])
})
