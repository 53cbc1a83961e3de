// A gateway for hostile input, in a process of its own: whatever happens to it is seen from outside. Its log goes to standard output,
// everything else over the channel of its parent.
import process from 'node:process'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createLog } from '../../shared/log.ts'
import { startEmbedded } from '../embedded.ts'

interface Told {
  configFile: string
  dataDirectory: string
  databaseUrl: string | null
}

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
const send = (message: object): void => void process.send?.(message)

process.once('message', async (told: Told) => {
  const gateway = await startEmbedded({
    configFile: told.configFile,
    dataDirectory: told.dataDirectory,
    ...(told.databaseUrl === null ? {} : { databaseUrl: told.databaseUrl }),
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'] },
    host: '127.0.0.1',
    port: 0,
    log: createLog('info', 'fuzzed'),
    postgres: { fsync: 'off', synchronous_commit: 'off' },
  })
  process.on('message', async (asked: 'memory' | 'stop') => {
    if (asked === 'memory') {
      collect()
      collect()
      const { heapUsed, external, rss } = process.memoryUsage()
      send({ held: heapUsed + external, rss })
      return
    }
    await gateway.stop()
    process.exit(0)
  })
  // Its PostgreSQL would outlive it.
  process.on('disconnect', () => void gateway.stop().finally(() => process.exit(1)))
  send({ url: gateway.url, masterKey: gateway.masterKey })
})
