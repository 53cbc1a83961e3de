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
    const [binary] = (await once(client, 'message')) as [MessageEvent<ArrayBuffer>]
    expect(binary.data.byteLength).toBe(3_000_000)
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
})
