import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import type { Log } from './log.ts'
import { silentLog } from './log.ts'
import { createRedis, type RedisConnection, RedisReplyError } from './redis.ts'

const url = process.env['TURNPIKE_TEST_REDIS_URL'] ?? ''
const open: { close(): unknown }[] = []

afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close()
})

function connect(options: Partial<Parameters<typeof createRedis>[0]> = {}): RedisConnection {
  const redis = createRedis({ url, log: silentLog, ...options })
  open.push(redis)
  return redis
}

function standing(redis: RedisConnection): Promise<void> {
  return new Promise((resolve) => {
    redis.onReady(resolve)
  })
}

/** Something that listens where a Redis would. `answer` gets each command's text; what it returns is sent. */
async function fakeServer(
  answer: (text: string, socket: Socket) => string | null,
): Promise<{ url: string; server: Server; sockets: Set<Socket> }> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('data', (chunk) => {
      const reply = answer(chunk.toString(), socket)
      if (reply !== null) socket.write(reply)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  open.push({
    close: () => {
      for (const socket of sockets) socket.destroy()
      server.close()
    },
  })
  return { url: `redis://:hunter2@127.0.0.1:${(server.address() as AddressInfo).port}`, server, sockets }
}

/** One `+OK` per command of a handshake. */
function okays(text: string): string {
  return '+OK\r\n'.repeat((text.match(/^\*\d+\r$/gm) ?? []).length)
}

describe('redis', () => {
  it('answers commands and scripts', async () => {
    const redis = connect()
    await standing(redis)
    const key = `test:${randomBytes(6).toString('hex')}`
    expect(redis.ready).toBe(true)
    expect(await redis.call('SET', key, 'å', 'PX', 1000)).toBe('OK')
    expect(await redis.call('GET', key)).toBe('å')
    const sha = await redis.call('SCRIPT', 'LOAD', 'return {KEYS[1], ARGV[1]}')
    expect(await redis.run(sha as string, [key], [9_007_199_254_740_991])).toEqual([key, '9007199254740991'])
  })

  it('tells a server that says no from one that is away', async () => {
    const redis = connect()
    await standing(redis)
    await expect(redis.run('0'.repeat(40), [], [])).rejects.toMatchObject({ name: 'RedisReplyError', code: 'NOSCRIPT' })
    await expect(redis.call('NOSUCH')).rejects.toBeInstanceOf(RedisReplyError)
  })

  it('refuses at once while nothing is connected, and after it was closed', async () => {
    const redis = connect({ url: 'redis://127.0.0.1:1' })
    await expect(redis.call('PING')).rejects.toMatchObject({ code: 'counters_away', retryAfter: 1000 })
    expect(redis.ready).toBe(false)
    await redis.close()
    await expect(redis.call('PING')).rejects.toMatchObject({ code: 'counters_away' })
  })

  it('fails what waits when the connection dies, comes back by itself, and tells so', async () => {
    const fake = await fakeServer((text) => (text.includes('BLOCK-ME') ? null : okays(text)))
    const redis = connect({ url: fake.url })
    await standing(redis)
    const waiting = redis.call('BLOCK-ME')
    const again = new Promise<void>((resolve) => {
      let count = 0
      redis.onReady(() => {
        count += 1
        if (count === 2) resolve()
      })
    })
    for (const socket of fake.sockets) socket.destroy()
    await expect(waiting).rejects.toMatchObject({ code: 'counters_away' })
    await again
    expect(await redis.call('SET', 'a', 'b')).toBe('OK')
  })

  it('gives up a server that does not answer', async () => {
    const fake = await fakeServer((text) => (text.includes('BLOCK-ME') ? null : okays(text)))
    const redis = connect({ url: fake.url, commandLimit: 40 })
    await standing(redis)
    await expect(redis.call('BLOCK-ME')).rejects.toMatchObject({ code: 'counters_away' })
  })

  it('reads a server that cannot serve now as away', async () => {
    const fake = await fakeServer((text) =>
      text.includes('SET-IT') ? "-OOM command not allowed when used memory > 'maxmemory'.\r\n" : okays(text),
    )
    const redis = connect({ url: fake.url })
    await standing(redis)
    await expect(redis.call('SET-IT')).rejects.toMatchObject({ code: 'counters_away' })
  })

  it('never logs a password, not even one that the server repeats', async () => {
    const lines: string[] = []
    const note = (fields: object, text: string): void => void lines.push(JSON.stringify(fields) + text)
    const log: Log = { debug: note, info: note, warn: note, error: note, child: () => log }
    const fake = await fakeServer((text, socket) => {
      socket.end("-ERR unknown command 'AUTH', with args beginning with: 'hunter2'\r\n")
      return text === '' ? '' : null
    })
    const told = new Promise<void>((resolve) => {
      log.warn = (fields, text) => {
        note(fields, text)
        resolve()
      }
    })
    connect({ url: fake.url, log })
    await told
    expect(lines.join('\n')).toContain('Redis is away')
    expect(lines.join('\n')).not.toContain('hunter2')
  })

  it('refuses an address it cannot read without repeating it', () => {
    for (const wrong of ['hunter2', 'http://hunter2@host', 'redis://host/hunter2']) {
      expect(() => createRedis({ url: wrong, log: silentLog })).toThrow(expect.objectContaining({ code: 'bad_request' }))
      expect(() => createRedis({ url: wrong, log: silentLog })).not.toThrow(/hunter2/)
    }
  })
})
