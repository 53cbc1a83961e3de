// Prints a line for each failure, then "N passed, N failed", from a vitest JSON report and the exit codes of the tests and the checks; exits 1
// on any failure.
import { readFileSync } from 'node:fs'
import { join, relative } from 'node:path'

const ROOT = join(import.meta.dirname, '..')
/** Characters told of a message: one that compares two documents may be of any length. */
const TOLD = 300

const [report, tests, checks] = process.argv.slice(2)
const failures = []
let passed = 0
try {
  for (const file of JSON.parse(readFileSync(report, 'utf8')).testResults) {
    const path = relative(ROOT, file.name)
    passed += file.assertionResults.filter((test) => test.status === 'passed').length
    // A skipped test counts for neither; deploy/tests/skips.test.ts says which may be.
    const bad = file.assertionResults.filter((test) => test.status === 'failed')
    for (const test of bad) failures.push([path, test.fullName, test.failureMessages[0]])
    if (file.status === 'failed' && bad.length === 0) failures.push([path, 'the file itself', file.message])
  }
} catch {
  // No report: the run itself fell over, and nothing passed.
}
if ((tests !== '0' || passed === 0) && failures.length === 0)
  failures.push(['npm test', `exit code ${tests}, ${passed} passed and none is told to have failed`])
if (checks !== '0') failures.push(['npm run check', `exit code ${checks}`])

for (const [where, what, message = ''] of failures) {
  const line = message.split('\n').find((text) => text.trim() !== '') ?? ''
  const parts = [where, what.replace(/\s+/g, ' ').trim(), line.trim().slice(0, TOLD)]
  process.stdout.write(`FAILED ${parts.filter((part) => part !== '').join(': ')}\n`)
}
process.stdout.write(`${passed} passed, ${failures.length} failed\n`)
process.exit(failures.length === 0 ? 0 : 1)
