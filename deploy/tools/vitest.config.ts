import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

const HEARD = new URL('heard-log.ts', import.meta.url).pathname

/**
 * Files that start gateways and servers come first: they take half a minute each and mostly wait. By size alone, which is all a fresh clone
 * knows of them, one of them came last and ran a minute beside an idle worker.
 */
class WholeSystemFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const whole = ({ moduleId }: TestSpecification): boolean => /\/deploy\/|\/nats\.test\.ts$|\/prove\.test\.ts$/.test(moduleId)
    return [...sorted.filter(whole), ...sorted.filter((file) => !whole(file))]
  }
}

export default defineConfig({
  plugins: [
    {
      name: 'heard-log',
      transform: (code: string, id: string) =>
        id.endsWith('/shared/log.ts') ? `import { hear } from '${HEARD}'\n${code}\nhear(silentLog, createLog)\n` : null,
    },
  ],
  root: new URL('../..', import.meta.url).pathname,
  test: {
    include: ['{proto,shared,edge,router-svc,accounting-svc,loadtest,deploy}/**/*.test.ts'],
    globalSetup: [new URL('vitest.setup.ts', import.meta.url).pathname],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Nothing may be skipped or focused without CI noticing: deploy/tests/skips.test.ts and this.
    allowOnly: false,
    passWithNoTests: false,
    pool: 'forks',
    maxWorkers: 2,
    sequence: { sequencer: WholeSystemFirst },
  },
})
