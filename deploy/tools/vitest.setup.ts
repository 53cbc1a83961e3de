import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { isAlive } from '../../shared/process-status.ts'
import { stopProcess, workingDirectory } from '../server-process.ts'
import { startNats, startPostgres, startRedis } from '../servers.ts'
import { keepLogs, openOutput, scanOutput } from './secret-scan.ts'

/** Of secrets found. */
const SHOWN = 40
const PREFIX = 'turnpike-test-servers-'
const PACKAGES = join(import.meta.dirname, '../../.turnpike/packages')

/**
 * One real NATS, Redis and PostgreSQL for the whole run, on free ports, their addresses in the environment of every test process.
 * Nothing is kept: PostgreSQL does not even wait for the disk.
 */
export default async function startServers(): Promise<() => Promise<void>> {
  await sweep()
  const directory = join(tmpdir(), `${PREFIX}${process.pid}`)
  mkdirSync(directory, { recursive: true })
  chmodSync(directory, 0o711)
  const output = join(directory, 'output')
  openOutput(output)
  process.env['TURNPIKE_TEST_OUTPUT'] = output
  process.env['NODE_OPTIONS'] =
    `${process.env['NODE_OPTIONS'] ?? ''} --import=${pathToFileURL(join(import.meta.dirname, 'collect-output.mjs'))}`.trim()
  const [nats, redis, postgres] = await Promise.all([
    startNats({ directory: join(directory, 'nats'), open: true }),
    startRedis({ directory: join(directory, 'redis'), packages: PACKAGES, keep: false, note: console.log }),
    startPostgres({
      directory: join(directory, 'postgres'),
      settings: { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', max_connections: '200' },
    }),
  ])
  writeFileSync(join(directory, 'pids'), [nats, redis, postgres].map((server) => server.pid).join('\n'))
  process.env['TURNPIKE_TEST_NATS_URL'] = nats.url
  process.env['TURNPIKE_TEST_REDIS_URL'] = redis.url
  process.env['TURNPIKE_TEST_POSTGRES_URL'] = postgres.url
  return async () => {
    await Promise.all([nats.stop(), redis.stop(), postgres.stop()])
    for (const name of ['nats', 'redis', 'postgres']) keepLogs(join(directory, name))
    const begun = performance.now()
    const { found, files, bytes, secrets } = scanOutput(output)
    const took = ((performance.now() - begun) / 1000).toFixed(1)
    console.log(
      `secrets: ${found.length} found in ${(bytes / 1e6).toFixed(1)} MB that ${files} logs hold, ${secrets} known ones looked for, ${took} s`,
    )
    for (const line of found.slice(0, SHOWN)) console.error(`A secret was written: ${line}`)
    if (found.length > 0) process.exitCode = 1
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Ends the servers of earlier runs that were killed before they could. */
async function sweep(): Promise<void> {
  for (const name of readdirSync(tmpdir())) {
    const runner = /^turnpike-test-servers-(\d+)$/.exec(name)?.[1]
    if (runner === undefined || isAlive(Number(runner))) continue
    const directory = join(tmpdir(), name)
    // A number may belong to a stranger by now; our servers work inside their directory.
    const left = pidsOf(directory).filter((pid) => workingDirectory(pid)?.startsWith(directory))
    for (const pid of left) await stopProcess(pid, 'SIGKILL', 1000)
    rmSync(directory, { recursive: true, force: true })
  }
}

function pidsOf(directory: string): number[] {
  try {
    return readFileSync(join(directory, 'pids'), 'utf8').split('\n').map(Number)
  } catch {
    return []
  }
}
