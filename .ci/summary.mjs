// Prints "N passed, N failed" from a vitest JSON report and the exit codes of the tests and the checks; exits 1 on any failure.
import { readFileSync } from 'node:fs'

const [report, tests, checks] = process.argv.slice(2)
let passed = 0
let failed = 0
try {
  for (const file of JSON.parse(readFileSync(report, 'utf8')).testResults) {
    const outcomes = file.assertionResults.map((test) => test.status)
    passed += outcomes.filter((status) => status === 'passed').length
    // A skipped test counts for neither; deploy/tests/skips.test.ts says which may be.
    const bad = outcomes.filter((status) => status === 'failed').length
    failed += file.status === 'failed' && bad === 0 ? 1 : bad
  }
} catch {
  // No report: the run itself fell over, and nothing passed.
}
if ((tests !== '0' || passed === 0) && failed === 0) failed += 1
if (checks !== '0') failed += 1
process.stdout.write(`${passed} passed, ${failed} failed\n`)
process.exit(failed === 0 ? 0 : 1)
