import { defineConfig } from 'vitest/config'

const HEARD = new URL('heard-log.ts', import.meta.url).pathname

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
  },
})
