import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { afterEach, describe, expect, it } from 'vitest'
import { type Clock, systemClock, testClock } from '../shared/clock.ts'
import { silentLog } from '../shared/log.ts'
import { EDGE_DEFAULTS } from './edge.ts'
import type { Exchange, Handler } from './exchange.ts'
import { createServer, type Server, type ServerSettings } from './server.ts'
import { connectRaw, type RawClient, requestText } from './testing.ts'

const servers: Server[] = []
const clients: RawClient[] = []

interface Options {
  settings?: Partial<ServerSettings>
  clock?: Clock
  extraHeaders?: (exchange: Exchange) => Record<string, string>
}

async function serve(handler: Handler, options: Options = {}): Promise<Server> {
  const server = await createServer({
    settings: { ...EDGE_DEFAULTS, host: '127.0.0.1', port: 0, idleGrace: 0, ...options.settings },
    clock: options.clock ?? systemClock,
    log: silentLog,
    handler,
    ...(options.extraHeaders === undefined ? {} : { extraHeaders: options.extraHeaders }),
  })
  servers.push(server)
  return server
}

async function connect(server: Server): Promise<RawClient> {
  const client = await connectRaw(server.port)
  clients.push(client)
  return client
}

async function start(handler: Handler, options: Options = {}): Promise<RawClient> {
  return connect(await serve(handler, options))
}

afterEach(() => {
  for (const client of clients.splice(0)) client.end()
  for (const server of servers.splice(0)) server.stop()
})

/** Answers with the number of body bytes, later. */
const countBody: Handler = (exchange) => {
  let size = 0
  exchange.onBody((bytes, last) => {
    size += bytes.length
    if (last) setImmediate(() => exchange.respond(200, {}, `got ${size}`))
  })
}
const hello: Handler = (exchange) => exchange.respond(200, { 'content-type': 'text/plain' }, `hello ${exchange.query}`)

describe('a request', () => {
  it('is handed over with method, path, query and headers as sent, repeated ones joined', async () => {
    let seen: Exchange | null = null
    const client = await start((exchange) => {
      seen = exchange
      exchange.respond(200, {}, 'ok')
    })
    client.send('PATCH /a%2Fb?x=1&y=%20 HTTP/1.1\r\nHost: h\r\nX-One: 1\r\nx-one: 2\r\n\r\n')
    await client.until(/ok$/)
    expect(seen).toMatchObject({ method: 'PATCH', path: '/a%2Fb', query: 'x=1&y=%20', headers: { host: 'h', 'x-one': '1, 2' } })
  })

  it('ten times in one packet is answered in order when answers are at hand', async () => {
    const client = await start(hello)
    client.send(Array.from({ length: 10 }, (_, index) => requestText('GET', `/?${index}`)).join(''))
    await client.until(/hello 9$/)
    expect([...client.received.matchAll(/hello (\d)/g)].map((found) => found[1]).join('')).toBe('0123456789')
  })

  it('behind one still being answered cuts the connection, so that answers are never mixed up', async () => {
    let aborted = 0
    const client = await start((exchange) => {
      exchange.onAbort = () => {
        aborted += 1
      }
    })
    client.send(requestText('GET', '/slow') + requestText('GET', '/next'))
    expect(await client.closed()).toBe('')
    expect(aborted).toBe(1)
  })

  it('with a method nobody knows reaches the handler as it is', async () => {
    const client = await start((exchange) => exchange.respond(200, {}, exchange.method))
    client.send(requestText('BREW', '/'))
    await client.until(/BREW$/)
  })

  it('with a line that is not HTTP never reaches the handler', async () => {
    let handled = false
    const client = await start(() => {
      handled = true
    })
    client.send('GET / FTP/1.0\r\nhost: a\r\n\r\n')
    expect(await client.closed()).toMatch(/^HTTP\/1.1 505 /)
    expect(handled).toBe(false)
  })

  it('over HTTP/1.0 is told the version is not supported', async () => {
    const client = await start(hello)
    client.send('GET / HTTP/1.0\r\nhost: a\r\n\r\n')
    expect(await client.closed()).toMatch(/^HTTP\/1.1 505 /)
  })

  it('with more than 64 KB of headers gets 431, one with 32 KB is served', async () => {
    const large = await start(hello)
    large.send(requestText('GET', '/', { 'x-large': 'a'.repeat(70_000) }))
    expect(await large.closed()).toMatch(/^HTTP\/1.1 431 /)
    const fair = await start(hello)
    fair.send(requestText('GET', '/', { 'x-large': 'a'.repeat(32_000) }))
    await fair.until(/hello $/)
  })

  it.each([
    ['two lengths', 'content-length: 3\r\ncontent-length: 5\r\n'],
    ['a length that is no number', 'content-length: 1e3\r\n'],
    ['a negative length', 'content-length: -1\r\n'],
    ['both a length and chunks', 'content-length: 3\r\ntransfer-encoding: chunked\r\n'],
    ['a coding other than chunked', 'transfer-encoding: gzip, chunked\r\n'],
  ])('with %s gets 400 and its connection closed, whatever follows', async (_case, header) => {
    let handled = 0
    const client = await start((exchange) => {
      handled += 1
      countBody(exchange)
    })
    client.send(`POST / HTTP/1.1\r\nhost: a\r\n${header}\r\nabcGET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n`)
    expect(await client.closed()).toMatch(/^(HTTP\/1.1 400 Bad Request|$)/)
    const alone = await start(countBody)
    alone.send(`POST / HTTP/1.1\r\nhost: a\r\n${header}\r\n`)
    expect(await alone.closed()).toMatch(/^HTTP\/1.1 400 Bad Request/)
    expect(handled).toBe(0)
  })
})

describe('a body', () => {
  it('in chunks arrives whole', async () => {
    const client = await start(countBody)
    client.send(requestText('POST', '/', { 'transfer-encoding': 'chunked' }))
    client.send('3\r\nabc\r\n')
    client.send('2\r\nde\r\n0\r\n\r\n')
    expect(await client.closed()).toMatch(/connection: close.*got 5$/is)
  })

  it('in chunks is the last of its connection, for where it ends is what proxies disagree about', async () => {
    const handled: string[] = []
    const handler: Handler = (exchange) => {
      handled.push(exchange.path)
      if (exchange.path === '/stream') {
        exchange.start(200, {})
        exchange.write('streamed')
        setImmediate(() => exchange.end())
      } else exchange.respond(200, {}, 'at once')
    }
    const server = await serve(handler)
    for (const [path, end] of [
      ['/whole', '0\r\n\r\n'],
      ['/whole', '3;\nabc\r\n0\r\n\r\n'],
      ['/whole', '3\nabc\n0\n\n'],
      ['/whole', '\r\nabc\r\n0\r\n\r\n'],
      ['/whole', '3\r\nabcX\r\n0\r\n\r\n'],
      ['/stream', '0\r\n\r\n'],
    ] as const) {
      handled.length = 0
      const client = await connect(server)
      const head = requestText('POST', path, { 'transfer-encoding': 'chunked' })
      client.send(`${head}${end}${requestText('GET', '/smuggled')}`)
      await client.closed()
      const alone = await connect(server)
      alone.send(`${head}0\r\n\r\n`)
      await alone.until(/connection: close/i)
      expect(handled).not.toContain('/smuggled')
      expect(handled.at(-1)).toBe(path)
    }
  })

  it('in chunks, answered as soon as it is whole, is the last of its connection though its end shares a packet with what follows', async () => {
    const handled: string[] = []
    const server = await serve((exchange) => {
      handled.push(exchange.path)
      exchange.onBody((_, last) => {
        if (last) exchange.respond(200, {}, 'at once')
      })
    })
    const client = await connect(server)
    client.send(`${requestText('POST', '/whole', { 'transfer-encoding': 'chunked' })}2\r\n{}`)
    // The end is sent once the handler has the request.
    while (handled.length === 0) await new Promise((resolve) => setImmediate(resolve))
    client.send(`XX0\r\n\r\n${requestText('GET', '/smuggled')}`)
    await client.closed()
    expect(handled).toEqual(['/whole'])
  })

  it('followed by trailers ends its connection: uWS does not read them', async () => {
    const client = await start(countBody)
    client.send(`${requestText('POST', '/', { 'transfer-encoding': 'chunked' })}3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n`)
    await client.closed()
  })

  it('is asked for when the client expects that', async () => {
    const client = await start(countBody)
    client.send(requestText('POST', '/', { expect: '100-continue', 'content-length': '3' }))
    await client.until(/^HTTP\/1.1 100 Continue\r\n\r\n/)
    client.send('abc')
    await client.until(/HTTP\/1.1 200 OK.*got 3$/s)
  })

  it('that comes before it is asked for waits: one part is held, the rest stays in the socket', async () => {
    let exchange: Exchange | null = null
    const client = await start((given) => {
      exchange = given
    })
    const size = 8 * 1024 * 1024
    client.send(requestText('POST', '/', { 'content-length': String(size) }))
    client.send(Buffer.alloc(size, 97))
    await client.until(/^$/)
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(client.socket.writableLength).toBeGreaterThan(0)
    countBody(exchange as unknown as Exchange)
    await client.until(new RegExp(`got ${size}$`))
  })

  it('paused while its last part comes in leaves the connection fit for the next request', async () => {
    const client = await start((exchange) => {
      let size = 0
      let answered = false
      exchange.onBody((bytes, last) => {
        size += bytes.length
        exchange.pauseBody()
        if (last) answered = true
        setTimeout(() => (answered ? exchange.respond(200, {}, `got ${size}`) : exchange.resumeBody()), 20)
      })
    })
    client.send(`${requestText('POST', '/', { 'content-length': '5' })}abc`)
    client.send('de')
    await client.until(/got 5$/)
    client.send(requestText('POST', '/', {}, 'next'))
    await client.until(/got 4$/)
  })

  it('announced over the limit gets 413 before it is read, and a client in the middle of sending can read that', async () => {
    const client = await start(countBody, { settings: { bodyLimit: 100_000 } })
    client.send(requestText('POST', '/', { 'content-length': '150000' }))
    client.send(Buffer.alloc(150_000, 97))
    await client.until(/^HTTP\/1.1 413 .*"code":"413"\}\}$/s)
    client.send(requestText('POST', '/', {}, 'ok'))
    await client.until(/got 2$/)
  })

  it('far over the limit gets 413 and its connection closed', async () => {
    const client = await start(countBody, { settings: { bodyLimit: 1_000 } })
    client.send(requestText('POST', '/', { 'content-length': '1000000000' }))
    expect(await client.closed()).toMatch(/^HTTP\/1.1 413 .*connection: close.*"code":"413"\}\}$/is)
  })

  it('in chunks past the limit gets 413, and the handler hears that it is over', async () => {
    let aborted = 0
    let began = () => {}
    const handled = new Promise<void>((resolve) => {
      began = resolve
    })
    const client = await start(
      (exchange) => {
        exchange.onAbort = () => {
          aborted += 1
        }
        countBody(exchange)
        began()
      },
      { settings: { bodyLimit: 1_000 } },
    )
    client.send(requestText('POST', '/', { 'transfer-encoding': 'chunked' }))
    await handled
    client.send(`800\r\n${'a'.repeat(0x800)}\r\n`)
    expect(await client.closed()).toMatch(/^HTTP\/1.1 413 .*"code":"413"\}\}$/is)
    expect(aborted).toBe(1)
  })

  it('that stops arriving gets 408 after its time, and no sooner', async () => {
    const clock = testClock()
    let began = () => {}
    const arriving = new Promise<void>((resolve) => {
      began = resolve
    })
    const client = await start((exchange) => exchange.onBody(() => began()), { clock, settings: { bodyTimeout: 10_000 } })
    client.send(`${requestText('POST', '/', { 'content-length': '10' })}abc`)
    await arriving
    clock.advance(8_000)
    expect(client.received).toBe('')
    clock.advance(4_000)
    expect(await client.closed()).toMatch(/^HTTP\/1.1 408 .*connection: close.*"code":"408"\}\}$/is)
  })

  it('answered early is thrown away, and the connection serves the next request', async () => {
    const client = await start((exchange) => {
      if (exchange.path === '/refuse') exchange.respond(401, {}, 'no')
      else hello(exchange)
    })
    client.send(`${requestText('POST', '/refuse', { 'content-length': '6' })}abc`)
    await client.until(/no$/)
    client.send(`def${requestText('GET', '/?next')}`)
    await client.until(/hello next$/)
  })
})

describe('an answer', () => {
  it('to HEAD has the length of the body and no body', async () => {
    const client = await start(hello)
    client.send(requestText('HEAD', '/?x'))
    await client.until(/^HTTP\/1.1 200 OK\r\n.*content-length: 7\r\n.*\r\n\r\n/is)
    client.send(requestText('GET', '/?y'))
    await client.until(/hello y$/)
    expect(client.received).not.toContain('hello x')
  })

  it('with status 204 has no length', async () => {
    const client = await start((exchange) => exchange.respond(204, {}, ''))
    client.send(requestText('GET', '/'))
    await client.until(/\r\n\r\n$/)
    expect(client.received).not.toMatch(/content-length/i)
  })

  it('begun and ended in one tick goes out whole, with a length', async () => {
    const client = await start((exchange) => {
      exchange.start(201, { a: 'b' })
      exchange.write('one ')
      exchange.end('two')
    })
    client.send(requestText('GET', '/'))
    await client.until(/^HTTP\/1.1 201 Created\r\na: b\r\n.*content-length: 7\r\n\r\none two$/is)
  })

  it('keeps headers apart whatever a value holds, and leaves framing headers to the server', async () => {
    const headers = {
      'x-model': 'a\r\nx-evil: 1\r\n\r\n',
      'bad name': '1',
      'content-length': '999',
      connection: 'close',
      'x-last': 'é',
    }
    const client = await start((exchange) => exchange.respond(200, headers, 'ok'))
    client.send(requestText('GET', '/'))
    await client.until(/ok$/)
    expect(client.received).toContain('x-model: a  x-evil: 1    \r\n')
    expect(client.received).not.toMatch(/\nx-evil|bad name|999|connection: close/)
    expect(Buffer.from(client.received, 'latin1').toString()).toContain('x-last: é\r\n')
  })

  it('carries the headers every answer gets', async () => {
    const client = await start(hello, { extraHeaders: (exchange) => ({ 'x-path': exchange.path }) })
    client.send(requestText('GET', '/p'))
    await client.until(/x-path: \/p\r\n/)
  })

  it('of any size reaches a client that reads slowly, byte for byte', async () => {
    const part = Buffer.alloc(256 * 1024)
    for (let index = 0; index < part.length; index++) part[index] = 97 + (index % 26)
    const parts = 60
    const client = await start((exchange) => {
      let sent = 0
      const go = () => {
        while (sent < parts) {
          sent += 1
          if (!exchange.write(part)) return
        }
        exchange.end()
      }
      exchange.onDrain = (buffered) => {
        if (buffered === 0) go()
      }
      exchange.start(200, {})
      go()
    })
    client.socket.pause()
    client.send(requestText('GET', '/'))
    for (let turn = 0; turn < 10; turn++) {
      await new Promise((resolve) => setTimeout(resolve, 5))
      client.socket.resume()
      await new Promise((resolve) => setTimeout(resolve, 1))
      client.socket.pause()
    }
    client.socket.resume()
    await client.untilEnd('\r\n0\r\n\r\n')
    const body = dechunked(client.received)
    expect(body.length).toBe(part.length * parts)
    expect(body).toBe(part.toString('latin1').repeat(parts))
  })

  it('ended while the socket is behind still arrives whole', async () => {
    const size = 12_000_000
    const client = await start((exchange) => {
      exchange.start(200, {})
      exchange.write('a')
      setImmediate(() => {
        expect(exchange.write(Buffer.alloc(size, 98))).toBe(false)
        expect(exchange.write('c')).toBe(false)
        expect(exchange.buffered).toBe(size + 1)
        exchange.end('d')
      })
    })
    client.socket.pause()
    client.send(requestText('GET', '/'))
    await new Promise((resolve) => setTimeout(resolve, 100))
    client.socket.resume()
    await client.untilEnd('\r\n0\r\n\r\n')
    const body = dechunked(client.received)
    expect(body.length).toBe(size + 3)
    expect(body.slice(-3)).toBe('bcd')
  })

  it('left unread past the limit is cut, and the handler hears of it', async () => {
    const clock = testClock()
    let full = () => {}
    const behind = new Promise<void>((resolve) => {
      full = resolve
    })
    let aborted = false
    const client = await start(
      (exchange) => {
        exchange.onAbort = () => {
          aborted = true
        }
        exchange.start(200, {})
        exchange.write('a')
        setImmediate(() => {
          if (!exchange.write(Buffer.alloc(12_000_000))) full()
        })
      },
      { clock, settings: { stallTimeout: 10_000 } },
    )
    client.socket.pause()
    client.send(requestText('GET', '/'))
    await behind
    clock.advance(8_000)
    expect(aborted).toBe(false)
    clock.advance(4_000)
    expect(aborted).toBe(true)
  })
})

describe('a server', () => {
  it('refuses a port another one listens on', async () => {
    const server = await serve(hello)
    await expect(serve(hello, { settings: { port: server.port } })).rejects.toThrow(/cannot listen/)
  })

  it('draining takes no new connection, ends the running answer in peace and asks the client to go', async () => {
    let exchange: Exchange | null = null
    const server = await serve((given) => {
      exchange = given
    })
    const client = await connect(server)
    client.send(requestText('GET', '/'))
    while (exchange === null) await new Promise((resolve) => setImmediate(resolve))
    const drained = server.drain(10_000)
    await expect(connectRaw(server.port)).rejects.toThrow()
    ;(exchange as Exchange).respond(200, {}, 'done')
    expect(await client.closed()).toMatch(/connection: close\r\n.*done$/is)
    await drained
    expect(server.running).toBe(0)
  })

  it('draining gives up waiting at its limit', async () => {
    const server = await serve(() => {})
    const client = await connect(server)
    client.send(requestText('GET', '/'))
    while (server.running === 0) await new Promise((resolve) => setImmediate(resolve))
    await server.drain(50)
    expect(server.running).toBe(1)
  })

  it('speaks TLS when given key and certificate', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'edge-tls-'))
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    const subject = ['-subj', '/CN=localhost', '-days', '1']
    execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out', cert, ...subject], {
      stdio: 'ignore',
    })
    const tls = { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') }
    const server = await serve(countBody, { settings: { tls } })
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connectTls({ port: server.port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
        socket.write(requestText('POST', '/', { connection: 'close' }, 'secret'))
      })
      let text = ''
      socket.on('data', (chunk) => {
        text += chunk.toString()
      })
      socket.on('close', () => resolve(text))
      socket.on('error', reject)
    })
    rmSync(folder, { recursive: true })
    expect(answer).toMatch(/^HTTP\/1.1 200 OK.*got 6$/s)
  })

  it('does not start with a certificate that is none', async () => {
    await expect(serve(hello, { settings: { tls: { key: 'a', cert: 'b' } } })).rejects.toThrow(/TLS key and certificate/)
  })
})

function dechunked(answer: string): string {
  let at = answer.indexOf('\r\n\r\n') + 4
  const parts: string[] = []
  for (;;) {
    const line = answer.indexOf('\r\n', at)
    const size = Number.parseInt(answer.slice(at, line), 16)
    if (size === 0) return parts.join('')
    parts.push(answer.slice(line + 2, line + 2 + size))
    at = line + 2 + size + 2
  }
}
