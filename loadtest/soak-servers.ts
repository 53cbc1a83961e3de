import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { silentLog } from '../shared/log.ts'
import { createRedis } from '../shared/redis.ts'

/** What the servers behind a cluster hold; null where a topology has none of the kind. */
export interface ServersHeld {
  /** Calls the counters hold slots and budget for, or wait to be booked; scopes they remember; bytes of Redis. */
  leases: number | null
  scopes: number | null
  redisBytes: number | null
  /** Messages of usage in JetStream, and what the consumer that lags most has not acknowledged. */
  streamed: number | null
  unconsumed: number | null
  /** Bytes of the routers' spools. */
  spool: number
}

export interface Servers {
  read(): Promise<ServersHeld>
  close(): Promise<void>
}

const NATS_LIMIT = 5_000

/** Finds them by what `servers.ts` of deploy leaves in the data folder: ports and passwords. */
export function openServers(dataDirectory: string, prefix = 'tp'): Servers {
  const redisAt = serverAt(join(dataDirectory, 'redis'))
  const natsAt = serverAt(join(dataDirectory, 'nats'))
  const redis =
    redisAt === null ? null : createRedis({ url: `redis://:${redisAt.password}@127.0.0.1:${redisAt.port}`, log: silentLog })
  return {
    read: async () => {
      const counters = `{${prefix}}:counters`
      const [leases, scopes, memory] =
        redis === null
          ? [null, null, null]
          : await Promise.all([
              redis.call('ZCARD', `${counters}:leases`),
              redis.call('HLEN', `${counters}:state`),
              redis.call('INFO', 'memory'),
            ])
      const usage = natsAt === null ? null : await streamState(natsAt, `${prefix.toUpperCase()}_USAGE`)
      return {
        leases: leases as number | null,
        scopes: scopes as number | null,
        redisBytes: memory === null ? null : Number(/used_memory:(\d+)/.exec(String(memory))?.[1] ?? 0),
        streamed: usage?.messages ?? null,
        unconsumed: usage?.unconsumed ?? null,
        spool: spoolBytes(dataDirectory),
      }
    },
    close: async () => redis?.close(),
  }
}

interface ServerAddress {
  port: number
  password: string
}

function serverAt(home: string): ServerAddress | null {
  if (!existsSync(join(home, 'server.json'))) return null
  const { port } = JSON.parse(readFileSync(join(home, 'server.json'), 'utf8')) as { port: number }
  return { port, password: readFileSync(join(home, 'password'), 'utf8').trim() }
}

/** Bytes of every `.spool` file below: of one process in `spool`, of a cluster in `router-0/spool`, … */
function spoolBytes(directory: string): number {
  let bytes = 0
  for (const folder of [directory, ...readdirSync(directory).map((name) => join(directory, name))]) {
    const spool = join(folder, 'spool')
    if (!existsSync(spool)) continue
    for (const name of readdirSync(spool)) {
      try {
        if (name.endsWith('.spool')) bytes += statSync(join(spool, name)).size
      } catch {
        // Delivered and deleted between listing and looking.
      }
    }
  }
  return bytes
}

/** A stream and its consumers, over JetStream's request API (ADR-1 of NATS) on a connection of its own. */
async function streamState(at: ServerAddress, stream: string): Promise<{ messages: number; unconsumed: number }> {
  const info = (await natsRequest(at, `$JS.API.STREAM.INFO.${stream}`)) as { state?: { messages?: number } }
  const list = (await natsRequest(at, `$JS.API.CONSUMER.LIST.${stream}`)) as {
    consumers?: { num_pending?: number; num_ack_pending?: number }[]
  }
  const left = (list.consumers ?? []).map(({ num_pending = 0, num_ack_pending = 0 }) => num_pending + num_ack_pending)
  return { messages: info.state?.messages ?? 0, unconsumed: Math.max(0, ...left) }
}

/** One request of the NATS protocol, its answer read as JSON. Rejects after 5 s. */
function natsRequest({ port, password }: ServerAddress, subject: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1')
    const inbox = `_INBOX.soak.${process.pid}.${subject.length}`
    let received = ''
    const end = (act: () => void): void => {
      clearTimeout(timer)
      socket.destroy()
      act()
    }
    const timer = setTimeout(() => end(() => reject(new Error(`NATS did not answer ${subject}`))), NATS_LIMIT)
    const options = { verbose: false, pedantic: false, lang: 'soak', version: '1', user: 'turnpike', pass: password }
    socket.write(`CONNECT ${JSON.stringify(options)}\r\nSUB ${inbox} 1\r\nPUB ${subject} ${inbox} 2\r\n{}\r\n`)
    socket.on('error', (error) => end(() => reject(error)))
    socket.on('data', (bytes) => {
      received += bytes.toString('latin1')
      if (received.includes('-ERR')) return end(() => reject(new Error(received.slice(received.indexOf('-ERR')).trim())))
      const head = /\r\nMSG \S+ 1 (?:\S+ )?(\d+)\r\n/.exec(received)
      if (head === null) return
      const from = head.index + head[0].length
      const text = received.slice(from, from + Number(head[1]))
      if (text.length === Number(head[1])) end(() => resolve(JSON.parse(text)))
    })
  })
}
