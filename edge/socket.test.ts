import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import { systemClock } from '../shared/clock.ts'
import { silentLog } from '../shared/log.ts'
import { EDGE_DEFAULTS } from './edge.ts'
import type { Exchange } from './exchange.ts'
import { createServer, type Server, type ServerSettings } from './server.ts'
import type { Socket, SocketEvents, Upgrade } from './socket.ts'
import { connectRaw, type RawClient, requestText } from './testing.ts'

const servers: Server[] = []
const clients: (RawClient | WebSocket)[] = []

afterEach(() => {
  for (const client of clients.splice(0)) {
    if (client instanceof WebSocket) client.close()
    else client.end()
  }
  for (const server of servers.splice(0)) server.stop()
})

async function serve(
  handler: (exchange: Exchange, upgrade: Upgrade) => void,
  settings: Partial<ServerSettings> = {},
): Promise<Server> {
  const server = await createServer({
    settings: { ...EDGE_DEFAULTS, host: '127.0.0.1', port: 0, idleGrace: 0, ...settings },
    clock: systemClock,
    log: silentLog,
    handler: (exchange) => exchange.respond(200, {}, `plain ${exchange.method} ${exchange.path}`),
    sockets: { takes: (path) => path === '/socket', handler },
  })
  servers.push(server)
  return server
}

function open(server: Server, path = '/socket', protocols: string[] = []): WebSocket {
  const client = new WebSocket(`ws://127.0.0.1:${server.port}${path}`, protocols)
  client.binaryType = 'arraybuffer'
  clients.push(client)
  return client
}

async function raw(server: Server): Promise<RawClient> {
  const client = await connectRaw(server.port)
  clients.push(client)
  return client
}

const HANDSHAKE = {
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
}

/** Sends back what it hears. */
function echo(_exchange: Exchange, upgrade: Upgrade): void {
  let socket: Socket | null = null
  const events: SocketEvents = {
    message: (kind, payload) => void socket?.send(kind, payload),
    drain() {},
    close() {},
  }
  socket = upgrade.accept(upgrade.protocols[0] ?? null, { 'x-one': '1' }, events)
}

describe('a request to become a WebSocket', () => {
  it('is upgraded later, with headers and the subprotocol chosen, and its messages go both ways', async () => {
    const server = await serve((exchange, upgrade) => setTimeout(() => echo(exchange, upgrade), 20))
    const client = open(server, '/socket', ['one', 'two'])
    await once(client, 'open')
    expect(client.protocol).toBe('one')
    client.send('hello')
    const [text] = (await once(client, 'message')) as [MessageEvent]
    expect(text.data).toBe('hello')
    client.send(new Uint8Array(3_000_000).fill(7))
    const [binary] = (await once(client, 'message')) as [MessageEvent]
    expect((binary.data as ArrayBuffer).byteLength).toBe(3_000_000)
    expect(server).toMatchObject({ running: 1, connections: 1 })
    client.close(1000)
    await once(client, 'close')
    expect(server.running).toBe(0)
  })

  it('elsewhere is a request like others', async () => {
    const client = await raw(await serve(echo))
    client.send(requestText('GET', '/other', HANDSHAKE))
    expect((await client.until(/plain GET \/other$/))[0]).toBeTruthy()
  })

  it('without its key, or by another method, is a request like others', async () => {
    const server = await serve(echo)
    const client = await raw(server)
    client.send(requestText('GET', '/socket'))
    await client.until(/plain GET \/socket$/)
    const other = await raw(server)
    other.send(requestText('POST', '/socket', HANDSHAKE))
    await other.until(/plain POST \/socket$/)
  })

  it('never shows the offered subprotocols among its headers', async () => {
    let seen: Exchange | null = null
    const server = await serve((exchange, upgrade) => {
      seen = exchange
      expect(upgrade.protocols).toEqual(['realtime', 'secret.key'])
      exchange.respond(401, {}, 'no')
    })
    const client = await raw(server)
    client.send(requestText('GET', '/socket?a=1', { ...HANDSHAKE, 'sec-websocket-protocol': 'realtime, secret.key' }))
    await client.until(/401[\s\S]*no$/)
    expect(JSON.stringify((seen as Exchange | null)?.headers)).not.toContain('secret')
  })

  it('that is given up while nobody has decided is told, and cannot be upgraded any more', async () => {
    let decide: () => Socket | null = () => null
    let aborted: () => void = () => undefined
    const gone = new Promise<void>((resolve) => {
      aborted = resolve
    })
    const begun = new Promise<void>((resolve) => {
      void serve((exchange, upgrade) => {
        exchange.onAbort = aborted
        decide = () => upgrade.accept(null, {}, { message() {}, drain() {}, close() {} })
        resolve()
      }).then(async (server) => {
        const client = await raw(server)
        client.send(requestText('GET', '/socket', HANDSHAKE))
        await begun
        client.end()
      })
    })
    await gone
    expect(decide()).toBeNull()
    expect(servers[0]?.running).toBe(0)
  })
})

describe('a socket', () => {
  /** A server whose one session is handed out, with what it hears. */
  async function session(settings: Partial<ServerSettings> = {}) {
    const heard: string[] = []
    let wake: () => void = () => undefined
    let socket: Socket | null = null
    const say = (line: string): void => {
      heard.push(line)
      wake()
    }
    const server = await serve((_exchange, upgrade) => {
      socket = upgrade.accept(
        null,
        {},
        {
          message: (kind, payload) => say(`${kind} ${payload.length}`),
          drain: (buffered) => say(buffered === 0 ? 'drained' : 'draining'),
          close: (code) => say(`close ${code}`),
        },
      )
    }, settings)
    return {
      server,
      get socket(): Socket {
        return socket as unknown as Socket
      },
      async until(line: string) {
        while (!heard.includes(line)) {
          await new Promise<void>((resolve) => {
            wake = resolve
          })
        }
      },
    }
  }

  it('is closed by a message larger than any may be', async () => {
    const one = await session()
    const client = await raw(one.server)
    client.send(requestText('GET', '/socket', HANDSHAKE))
    await client.until(/101 Switching Protocols/)
    // The head of a frame of 17 MB.
    client.send(Uint8Array.from([0x82, 0xff, 0, 0, 0, 0, 0x01, 0x10, 0, 0, 1, 2, 3, 4, 0]))
    await client.closed()
    await one.until('close 1006')
    expect(one.server.running).toBe(0)
  })

  it('says when its client is behind, and when what was kept has gone out', async () => {
    const one = await session()
    const client = await raw(one.server)
    client.send(requestText('GET', '/socket', HANDSHAKE))
    await client.until(/101 Switching Protocols/)
    client.socket.pause()
    const part = new Uint8Array(1024 * 1024)
    let sent = 1
    while (one.socket.send('binary', part) && sent < 30) sent += 1
    expect(sent).toBeLessThan(30)
    expect(one.socket.buffered).toBeGreaterThan(0)
    client.socket.resume()
    await one.until('drained')
    expect(one.socket.buffered).toBe(0)
  })

  it('is closed with 1001 once the server has drained for a while', async () => {
    const one = await session({ socketGrace: 50 })
    const client = open(one.server)
    await once(client, 'open')
    const closed = once(client, 'close') as Promise<[{ code: number; reason: string }]>
    await one.server.drain(5_000)
    const [{ code }] = await closed
    expect(code).toBe(1001)
    await one.until('close 1001')
  })

  it('goes on while the server drains, where its session ends by itself, and is told at once', async () => {
    let socket: Socket | null = null
    const asked: string[] = []
    const server = await serve(
      (_exchange, upgrade) => {
        const part = (): boolean => asked.push('part') > 0
        socket = upgrade.accept(null, {}, { message() {}, drain() {}, close() {}, part })
      },
      { socketGrace: 20 },
    )
    const client = open(server)
    await once(client, 'open')
    const closed = once(client, 'close') as Promise<[{ code: number; reason: string }]>
    const drained = server.drain(10_000)
    expect(asked).toEqual(['part'])
    await new Promise((resolve) => systemClock.after(60, () => resolve(null)))
    expect((socket as Socket | null)?.closed).toBe(false)
    ;(socket as Socket | null)?.close(1001, 'through')
    expect((await closed)[0]).toMatchObject({ code: 1001, reason: 'through' })
    await drained
  })

  it('is closed with the code it is given, and does nothing afterwards', async () => {
    const one = await session()
    const client = open(one.server)
    await once(client, 'open')
    const closed = once(client, 'close') as Promise<[{ code: number; reason: string }]>
    one.socket.close(4001, 'enough')
    const [{ code, reason }] = await closed
    expect([code, reason]).toEqual([4001, 'enough'])
    expect(one.socket.send('text', new Uint8Array(1))).toBe(true)
    one.socket.close(1000, '')
    expect(one.socket).toMatchObject({ closed: true, buffered: 0 })
  })
})
