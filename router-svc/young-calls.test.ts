import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'

/** Folders and files every call goes through. */
const HOT = [
  'edge',
  'shared/bus',
  'shared/http/client.ts',
  'router-svc/handle.ts',
  'router-svc/serve.ts',
  'router-svc/try-route.ts',
  'router-svc/attempt.ts',
]
/** Sockets live long, and are few. */
const LONG_LIVED = new Set(['edge/realtime.ts'])
const WRITTEN_INTO_A_PROPERTY = /[\w)\]]\.#?\w+ (?:\?\?)?= (?:async )?(?:\([^()]*\)|\w+)(?:: [\w<>[\] |]+)? =>/

function sources(): string[] {
  const root = join(import.meta.dirname, '..')
  const files = HOT.flatMap((path) =>
    path.endsWith('.ts') ? [path] : readdirSync(join(root, path)).map((name) => `${path}/${name}`),
  )
  return files
    .filter((path) => /(?<!\.test|\.suite|testing)\.ts$/.test(path) && !LONG_LIVED.has(path))
    .map((path) => join(root, path))
}

it('writes no function straight into a property on the path of a call: V8 makes it old at once, and the call it sees with it', () => {
  expect('stream.onCancel = (reason) => stop(reason)').toMatch(WRITTEN_INTO_A_PROPERTY)
  const found = sources().flatMap((path) =>
    readFileSync(path, 'utf8')
      .split('\n')
      .flatMap((line, index) => (WRITTEN_INTO_A_PROPERTY.test(line) ? [`${path}:${index + 1} ${line.trim()}`] : [])),
  )
  expect(found).toEqual([])
})
