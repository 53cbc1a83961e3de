import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { startProxy, type TcpProxy } from './proxy.ts'

/** A server that says everything back, behind a proxy. */
describe('the proxy', () => {
  let server: Server
  let port = 0
  let proxy: TcpProxy
  const sockets = new Set<Socket>()

  beforeEach(async () => {
    server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => undefined)
      socket.pipe(socket)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const address = server.address()
    port = typeof address === 'object' && address !== null ? address.port : 0
    proxy = await startProxy(() => port)
  })
  afterEach(async () => {
    for (const socket of sockets) socket.destroy()
    sockets.clear()
    await proxy.close()
    await new Promise((resolve) => server.close(resolve))
    expect(proxy.open).toBe(0)
  })

  async function open(): Promise<Socket> {
    const socket = connect({ port: proxy.port, host: '127.0.0.1' })
    sockets.add(socket)
    await once(socket, 'connect')
    return socket
  }

  /** Sends bytes and the end; what came back until the other end. */
  async function echo(socket: Socket, bytes: Buffer): Promise<Buffer> {
    const parts: Buffer[] = []
    socket.on('data', (part) => parts.push(part))
    socket.end(bytes)
    await once(socket, 'end')
    return Buffer.concat(parts)
  }

  const numbered = (length: number): Buffer => Buffer.from(Uint32Array.from({ length: length / 4 }, (_, index) => index).buffer)

  it('carries bytes both ways unchanged, and the end of each way', async () => {
    const bytes = numbered(4 * 1024 * 1024)
    expect((await echo(await open(), bytes)).equals(bytes)).toBe(true)
  })

  it('delays and narrows without changing or reordering anything', async () => {
    const bytes = numbered(100_000)
    proxy.slow({ latency: 50, bytesPerSecond: 500_000 })
    const begun = performance.now()
    expect((await echo(await open(), bytes)).equals(bytes)).toBe(true)
    // 200 ms for the bytes, which go back while they come, and the latency of both ways.
    expect(performance.now() - begun).toBeGreaterThan(290)
  })

  it('lets what a slow line held go on at once when it is slow no more', async () => {
    proxy.slow({ latency: 60_000, bytesPerSecond: 1_000_000 })
    const answer = echo(await open(), Buffer.from('held'))
    await new Promise((resolve) => setTimeout(resolve, 50))
    proxy.slow(null)
    expect((await answer).toString()).toBe('held')
  })

  it('resets what is open when it cuts, and takes new connections', async () => {
    const socket = await open()
    socket.write('x')
    await once(socket, 'data')
    const error = once(socket, 'error')
    expect(proxy.cut()).toBe(1)
    expect(((await error)[0] as NodeJS.ErrnoException).code).toBe('ECONNRESET')
    expect((await echo(await open(), Buffer.from('again'))).toString()).toBe('again')
  })

  it('refuses connections while told to, on the port it keeps', async () => {
    await proxy.refuse(true)
    await expect(open()).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    await proxy.refuse(false)
    expect((await echo(await open(), Buffer.from('back'))).toString()).toBe('back')
  })

  it('is silent while told to, and loses nothing by it', async () => {
    proxy.silence(true)
    let answered = false
    const answer = echo(await open(), Buffer.from('later')).then((bytes) => {
      answered = true
      return bytes
    })
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(answered).toBe(false)
    proxy.silence(false)
    expect((await answer).toString()).toBe('later')
  })

  it('hangs up on a client when nothing is behind it', async () => {
    port = 1
    const socket = await open()
    await once(socket, 'error').catch(() => undefined)
    expect(socket.destroyed).toBe(true)
  })
})
