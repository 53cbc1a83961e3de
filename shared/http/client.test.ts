import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createTcpServer, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import type { GatewayError } from '../errors.ts'
import { createHttpClient, type HttpClient, type OutgoingCall, type OutgoingRequest } from './client.ts'

const closers: (() => Promise<unknown> | unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

async function httpServer(handler: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(handler)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closers.push(() => new Promise((resolve) => server.close(resolve).closeAllConnections()))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function tcpServer(handler: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>()
  const server = createTcpServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {})
    handler(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closers.push(() => {
    for (const socket of sockets) socket.destroy()
    return new Promise((resolve) => server.close(resolve))
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

function client(): HttpClient {
  const http = createHttpClient()
  closers.push(() => http.close())
  return http
}

interface Seen {
  status: number
  headers: Record<string, string>
  body: Buffer
  error: GatewayError | null
}

function fetchAll(http: HttpClient, url: string, changes: Partial<OutgoingRequest> = {}): Promise<Seen> {
  return new Promise((resolve) => {
    const seen: Seen = { status: 0, headers: {}, body: Buffer.alloc(0), error: null }
    http.send(
      {
        method: 'POST',
        url,
        headers: { 'content-type': 'application/json' },
        body: '{}',
        headersTimeout: 5_000,
        bodyTimeout: 5_000,
        ...changes,
      },
      {
        head: (status, headers) => Object.assign(seen, { status, headers }),
        data: (bytes) => {
          seen.body = Buffer.concat([seen.body, bytes])
        },
        end: () => resolve(seen),
        failed: (error) => resolve({ ...seen, error }),
      },
    )
  })
}

describe('the path of a request', () => {
  it('holds no segment that leads to another one', async () => {
    const paths: string[] = []
    const base = await httpServer(({ url }, response) => {
      paths.push(url ?? '')
      response.end()
    })
    const http = client()
    for (const path of ['/v1/models/..', '/v1/models/../keys', '/v1/./x', '/v1/models/..?a=b'])
      expect((await fetchAll(http, base + path)).error).toMatchObject({ code: 'bad_request' })
    expect(paths).toEqual([])
    for (const path of ['/v1/.well-known', '/v1/..a/b..', '/v1/x?at=/../y']) await fetchAll(http, base + path)
    expect(paths).toEqual(['/v1/.well-known', '/v1/..a/b..', '/v1/x?at=/../y'])
  })
})

describe('the HTTP client', () => {
  it('sends a body and tells head, data and end', async () => {
    const url = await httpServer((request, response) => {
      request.setEncoding('utf8').on('data', (body) => {
        response.setHeader('x-two', ['a', 'b'])
        response.end(`${request.method} ${request.url} ${body}`)
      })
    })
    const seen = await fetchAll(client(), `${url}/v1/x?y=1`, { body: 'hello' })
    expect(seen.error).toBeNull()
    expect(seen.status).toBe(200)
    expect(seen.headers['x-two']).toBe('a, b')
    expect(seen.body.toString()).toBe('POST /v1/x?y=1 hello')
  })

  it('reports a refused connection without the path, which may hold a key', async () => {
    const server = createTcpServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    await new Promise((resolve) => server.close(resolve))
    const { error } = await fetchAll(client(), `http://127.0.0.1:${port}/models?key=secret`)
    expect(error?.code).toBe('provider_connection')
    expect(error?.message).toContain(`127.0.0.1:${port}`)
    expect(error?.message).not.toContain('secret')
  })

  it('says why a connection failed, and nothing of the host behind it', async () => {
    const plain = await tcpServer((socket) => socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')))
    const handshake = await fetchAll(client(), plain.replace('http:', 'https:'))
    expect(handshake.error).toMatchObject({ code: 'provider_connection', message: expect.stringContaining('TLS failed') })
    const unknown = await fetchAll(client(), 'http://provider.invalid/v1')
    expect(unknown.error?.code).toBe('provider_connection')
    expect(unknown.error?.message).toMatch(
      /^Could not reach http:\/\/provider\.invalid: its name (is not known|could not be resolved) \(\w+\)\.$/,
    )
    const reset = await tcpServer((socket) => socket.once('data', () => socket.resetAndDestroy()))
    expect((await fetchAll(client(), reset)).error?.message).toContain('the connection was reset (ECONNRESET)')
    const closed = await tcpServer((socket) => socket.once('data', () => socket.end('HTTP/1.1 200 O')))
    expect((await fetchAll(client(), closed)).error?.message).toContain('the connection was closed before an answer.')
  })

  it('tells a peer that does not speak HTTP from one that cannot be reached', async () => {
    const junk = await tcpServer((socket) => socket.once('data', () => socket.end('220 smtp.example.com ESMTP\r\n\r\n')))
    expect((await fetchAll(client(), junk)).error?.code).toBe('provider_malformed')
    const inside = await tcpServer((socket) =>
      socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n')),
    )
    expect((await fetchAll(client(), inside)).error?.code).toBe('provider_malformed')
  })

  it('tells a connection cut inside the answer from one that never answered', async () => {
    const cut = await tcpServer((socket) =>
      socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf', () => socket.destroy())),
    )
    const seen = await fetchAll(client(), cut)
    expect(seen.status).toBe(200)
    expect(seen.error?.code).toBe('provider_truncated')
    const silent = await tcpServer((socket) => socket.once('data', () => socket.destroy()))
    expect((await fetchAll(client(), silent)).error?.code).toBe('provider_connection')
  })

  it('gives up on a server that accepts and never answers', async () => {
    const url = await tcpServer(() => {})
    expect((await fetchAll(client(), url, { headersTimeout: 100 })).error?.code).toBe('provider_timeout')
  })

  it('gives up on an answer that falls silent', async () => {
    const url = await tcpServer((socket) =>
      socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf')),
    )
    const { error } = await fetchAll(client(), url, { bodyTimeout: 100 })
    expect(error?.code).toBe('provider_timeout')
  })

  it('refuses an address that is none', async () => {
    expect((await fetchAll(client(), 'ht!tp://x y')).error).not.toBeNull()
  })

  it('closes the connection on abort and says nothing more', async () => {
    let closed = () => {}
    const gone = new Promise<void>((resolve) => {
      closed = resolve
    })
    const url = await tcpServer((socket) => {
      socket.once('close', () => closed())
      socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf'))
    })
    const events: string[] = []
    await new Promise<void>((resolve) => {
      const call = client().send(
        { method: 'POST', url, headers: {}, body: '', headersTimeout: 5_000, bodyTimeout: 5_000 },
        {
          head: () => events.push('head'),
          data: () => {
            events.push('data')
            call.abort()
            resolve()
          },
          end: () => events.push('end'),
          failed: () => events.push('failed'),
        },
      )
    })
    await gone
    expect(events).toEqual(['head', 'data'])
  })

  it('says that a request is leaving before its first byte does, on a new connection and on a kept one', async () => {
    const events: string[] = []
    const http = client()
    const url = await httpServer((_, response) => {
      events.push('arrived')
      response.end('{}')
    })
    for (const turn of ['new', 'kept']) await fetchAll(http, url, { leaving: () => events.push(turn) })
    expect(events).toEqual(['new', 'arrived', 'kept', 'arrived'])
    await fetchAll(http, 'http://127.0.0.1:1', { leaving: () => events.push('nowhere') })
    expect(events).toHaveLength(4)
  })

  it('never sends a request that was aborted while it waited for its connection, and says so', async () => {
    let bytes = 0
    const http = client()
    const url = await tcpServer((socket) => socket.on('data', (chunk) => (bytes += chunk.length)))
    const nothing = { head() {}, data() {}, end() {}, failed() {} }
    const request: OutgoingRequest = { method: 'POST', url, headers: {}, body: 'x', headersTimeout: 0, bodyTimeout: 0 }
    const early = http.send(request, nothing)
    early.abort()
    expect(early.sent).toBe(false)
    // Another one to the same place, so that the first has had its turn.
    const late = http.send({ ...request, body: 'second' }, nothing)
    while (bytes === 0) await new Promise((resolve) => setImmediate(resolve))
    expect(late.sent).toBe(true)
    late.abort()
    expect(bytes).toBe(
      `POST / HTTP/1.1\r\nhost: ${new URL(url).host}\r\nconnection: keep-alive\r\ncontent-length: 6\r\n\r\nsecond`.length,
    )
  })

  it('closes the connections of a thousand abandoned requests without keeping a new one waiting for all of them', async () => {
    const count = 1_000
    let closed = 0
    let everyoneClosed = () => {}
    const gone = new Promise<void>((resolve) => {
      everyoneClosed = resolve
    })
    const held = await tcpServer((socket) => {
      socket.once('close', () => {
        closed += 1
        if (closed === count) everyoneClosed()
      })
      socket.once('data', () => socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf'))
    })
    const prompt = await httpServer((_, response) => response.end('here'))
    const http = client()
    const calls: OutgoingCall[] = []
    await Promise.all(
      Array.from({ length: count }, () => {
        return new Promise<void>((resolve) => {
          const request = {
            method: 'POST',
            url: held,
            headers: {},
            body: '',
            headersTimeout: 30_000,
            bodyTimeout: 30_000,
          } as const
          calls.push(http.send(request, { head: () => {}, data: () => resolve(), end: () => {}, failed: () => {} }))
        })
      }),
    )
    for (const call of calls) call.abort()
    const { body } = await fetchAll(http, prompt)
    expect(body.toString()).toBe('here')
    expect(closed).toBeLessThan(count)
    await gone
  })

  it('slows the peer down while paused and takes the rest after resume', async () => {
    const total = 64 * 1024 * 1024
    let written = 0
    const url = await tcpServer((socket) => {
      socket.once('data', () => {
        socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${total}\r\n\r\n`)
        const chunk = Buffer.alloc(1024 * 1024)
        const pump = () => {
          while (written < total) {
            written += chunk.length
            if (!socket.write(chunk)) return
          }
        }
        socket.on('drain', pump)
        pump()
      })
    })
    let received = 0
    let call: ReturnType<HttpClient['send']> | undefined
    const ended = new Promise<void>((resolve, reject) => {
      call = client().send(
        { method: 'POST', url, headers: {}, body: '', headersTimeout: 5_000, bodyTimeout: 30_000 },
        {
          head: () => {},
          data: (bytes) => {
            received += bytes.length
            if (received === bytes.length) call?.pause()
          },
          end: resolve,
          failed: reject,
        },
      )
    })
    // The peer fills the kernel buffers and stops.
    let last = -1
    while (written !== last) {
      last = written
      await new Promise((resolve) => setTimeout(resolve, 200))
    }
    expect(written).toBeLessThan(total / 2)
    expect(received).toBeLessThan(1024 * 1024)
    call?.resume()
    await ended
    expect(received).toBe(total)
  })
})
