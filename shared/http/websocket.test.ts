import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import fc from 'fast-check'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { type WebSocket, WebSocketServer } from 'ws'
import { systemClock, testClock } from '../clock.ts'
import type { GatewayError } from '../errors.ts'
import { type ClientSocket, createSockets } from './websocket.ts'
import { encodeClientFrame, FrameError, ServerFrameParser } from './websocket-frames.ts'

const closing: (() => void)[] = []

afterEach(() => {
  for (const close of closing.splice(0)) close()
})

async function listen(serve: (socket: WebSocket) => void): Promise<string> {
  const http: Server = createServer((_request, response) =>
    response.writeHead(403, { 'content-type': 'text/plain' }).end('not you'),
  )
  const server = new WebSocketServer({ server: http, path: '/socket', maxPayload: 64 * 1024 * 1024 })
  server.on('connection', serve)
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  closing.push(() => {
    for (const client of server.clients) client.terminate()
    server.close()
    http.close()
    http.closeAllConnections()
  })
  return `http://127.0.0.1:${(http.address() as AddressInfo).port}`
}

/** What a socket tells, as one line each. */
interface Heard {
  lines: string[]
  socket: ClientSocket
  until(pattern: RegExp): Promise<string>
}

function open(url: string, { clock = systemClock, messageLimit = 4_000_000, timeout = 5_000 } = {}): Heard {
  const lines: string[] = []
  let wake: () => void = () => undefined
  const say = (line: string): void => {
    lines.push(line)
    wake()
  }
  const socket = createSockets({ clock })(
    { url, headers: { 'x-one': '1' }, protocols: [], timeout, messageLimit },
    {
      opened: () => say('opened'),
      refused: (status, _headers, body) => say(`refused ${status} ${Buffer.from(body).toString()}`),
      message: (kind, payload) => say(`${kind} ${payload.length}`),
      drained: () => say('drained'),
      closed: (code, reason) => say(`closed ${code} ${reason}`),
      failed: ({ code }: GatewayError) => say(`failed ${code}`),
    },
  )
  closing.push(() => socket.destroy())
  return {
    lines,
    socket,
    async until(pattern) {
      for (;;) {
        const found = lines.find((line) => pattern.test(line))
        if (found !== undefined) return found
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    },
  }
}

describe('a socket to a provider', () => {
  it('sends and hears messages of any size, also cut into frames, and answers pings', async () => {
    const url = await listen((socket) => {
      socket.on('message', (data: Buffer, isBinary: boolean) => {
        socket.ping()
        socket.send(data.subarray(0, 10), { binary: isBinary, fin: false })
        socket.send(data.subarray(10), { binary: isBinary, fin: true })
      })
      socket.once('pong', () => socket.send('pong came'))
    })
    const { socket, until, lines } = open(`${url}/socket`)
    await until(/opened/)
    for (const size of [100, 126, 65_535, 65_536, 2_000_000]) {
      socket.send('binary', new Uint8Array(size))
      await until(new RegExp(`^binary ${size}$`))
    }
    socket.send('text', Buffer.from('grüß dich, Welt'))
    await until(/^text 17$/)
    expect(lines).toContain('text 9')
  })

  it("that is refused tells the provider's answer", async () => {
    const { until } = open(`${await listen(() => undefined)}/elsewhere`)
    expect(await until(/refused|failed|opened/)).toMatch(/^refused 400/)
  })

  it('that cannot be opened fails: nobody listens, or nobody answers in time', async () => {
    const silent = createTcpServer(() => undefined)
    silent.listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    const late = open(`http://127.0.0.1:${port}/`, { timeout: 50 })
    expect(await late.until(/failed/)).toBe('failed provider_timeout')
    silent.close()
    const gone = open('http://127.0.0.1:1/')
    expect(await gone.until(/failed/)).toBe('failed provider_connection')
  })

  it("hears the server's close code, and tells its own", async () => {
    const codes: number[] = []
    const url = await listen((socket) => {
      socket.on('close', (code) => codes.push(code))
      socket.on('message', () => socket.close(4001, 'enough'))
    })
    const first = open(`${url}/socket`)
    await first.until(/opened/)
    first.socket.send('text', Buffer.from('end'))
    expect(await first.until(/closed/)).toBe('closed 4001 enough')
    const second = open(`${url}/socket`)
    await second.until(/opened/)
    second.socket.close(1000, 'bye')
    await vi.waitFor(() => expect(codes).toEqual([4001, 1000]), { timeout: 5_000, interval: 5 })
    expect(second.lines).toEqual(['opened'])
  })

  it('that breaks off, or sends more than is taken, fails', async () => {
    const url = await listen((socket) => {
      socket.on('message', (data: Buffer) => {
        if (data.toString() === 'die') socket.terminate()
        else socket.send(Buffer.alloc(2_000))
      })
    })
    const first = open(`${url}/socket`)
    await first.until(/opened/)
    first.socket.send('text', Buffer.from('die'))
    expect(await first.until(/failed/)).toBe('failed provider_truncated')
    const second = open(`${url}/socket`, { messageLimit: 1_000 })
    await second.until(/opened/)
    second.socket.send('text', Buffer.from('more'))
    expect(await second.until(/failed/)).toBe('failed provider_malformed')
  })

  it('that is silent for a minute, pings unanswered, fails', async () => {
    const clock = testClock()
    let server: WebSocket | null = null
    const url = await listen((socket) => {
      server = socket
      socket.pause()
    })
    const { until } = open(`${url}/socket`, { clock })
    await until(/opened/)
    expect(server).not.toBeNull()
    for (let beats = 0; beats < 4; beats += 1) clock.advance(20_000)
    expect(await until(/failed/)).toBe('failed provider_timeout')
  })
})

describe('frames', () => {
  it('of a client are unmasked by their mask alone, and of a server are read however they are cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 6 }),
        fc.array(fc.nat(600), { maxLength: 12 }),
        (payloads, cuts) => {
          // A frame without its mask is a server's.
          const bytes = Buffer.concat(
            payloads.map((payload) => served(encodeClientFrame('binary', payload, Uint8Array.of(0, 0, 0, 0)))),
          )
          const at = [0, ...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length]
          const parser = new ServerFrameParser(1_000)
          const frames = at.slice(1).flatMap((end, index) => parser.push(bytes.subarray(at[index], end)))
          expect(frames.map((frame) => ('payload' in frame ? [...frame.payload] : null))).toEqual(payloads.map((one) => [...one]))
        },
      ),
    )
  })

  it.each([
    ['masked', [0x81, 0x81, 0, 0, 0, 0, 65]],
    ['of an extension', [0xc1, 1, 65]],
    ['of an unknown kind', [0x83, 0]],
    ['that continue nothing', [0x80, 0]],
    ['of control in parts', [0x09, 0]],
    ['too long', [0x82, 126, 255, 255]],
  ])('%s are refused', (_, bytes) => {
    expect(() => new ServerFrameParser(1_000).push(Uint8Array.from(bytes))).toThrow(FrameError)
  })
})

function served(frame: Uint8Array): Uint8Array {
  const bytes = Buffer.from(frame)
  const size = ((bytes[1] as number) & 0x7f) === 126 ? 4 : 2
  bytes[1] = (bytes[1] as number) & 0x7f
  return Buffer.concat([bytes.subarray(0, size), bytes.subarray(size + 4)])
}
