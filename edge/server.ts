import type {
  AppOptions,
  HttpRequest,
  HttpResponse,
  TemplatedApp,
  us_listen_socket,
  us_socket,
  us_socket_context_t,
  WebSocket,
} from 'uWebSockets.js'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { CLOSE, SOCKET_MESSAGE_MAX, SWITCHING_PROTOCOLS } from '../proto/sockets.ts'
import type { Clock, Timer } from '../shared/clock.ts'
import { GatewayError } from '../shared/errors.ts'
import type { Log } from '../shared/log.ts'
import type { Exchange, Handler } from './exchange.ts'
import { createHeaderLines } from './header-lines.ts'
import type { Upgrade } from './socket.ts'
import { type ExchangeHost, type RequestHead, SocketExchange, tooLarge } from './socket-exchange.ts'
import { protocolsOf, WebSocketOfClient } from './web-socket.ts'

export interface ServerSettings {
  host: string
  /** 0 = any free port. */
  port: number
  /** PEM texts. */
  tls: { key: string; cert: string } | null
  /** Largest request body, bytes. */
  bodyLimit: number
  /** Largest request line and headers together, bytes. The first server of a process decides. */
  headerLimit: number
  /** Milliseconds a body may take before 408, plus a second per 16 KB that did arrive. */
  bodyTimeout: number
  /** Milliseconds a client may leave its answer unread before it is cut. */
  stallTimeout: number
  /** Milliseconds idle connections are left open at draining, for a request that may be on its way. */
  idleGrace: number
  /** Milliseconds WebSockets go on at draining before they are closed with 1001, unless they end by themselves. */
  socketGrace: number
}

export interface ServerDeps {
  settings: ServerSettings
  clock: Clock
  log: Log
  handler: Handler
  /** Which headers of a request are copied (each costs 0.5 µs); null = all. Default: all. */
  copies?: Copies
  /** Headers for every answer to a request; null for none. */
  extraHeaders?: (exchange: Exchange) => Readonly<Record<string, string>> | null
  /** Absent = no path takes WebSockets. */
  sockets?: Sockets
}

export interface Sockets {
  /** Whether a path takes WebSockets; requests to become one elsewhere are requests like others. */
  takes(path: string): boolean
  handler(exchange: Exchange, upgrade: Upgrade): void
}

export type Copies = (method: string, path: string) => ((name: string) => boolean) | null

export interface Server {
  readonly port: number
  /** Exchanges not yet answered, and open connections. */
  readonly running: number
  readonly connections: number
  /**
   * Stops listening; requests on open connections are still served, with `connection: close`. Resolves when no connection is left,
   * when nothing runs after `idleGrace`, or after `limit` milliseconds.
   */
  drain(limit: number): Promise<void>
  /** Cuts what is left. */
  stop(): void
}

/** Below uWS's own timer, which runs out after 8 to 12 seconds. Milliseconds. */
const TEND_INTERVAL = 4000
/** LIBUS_LISTEN_EXCLUSIVE_PORT */
const EXCLUSIVE_PORT = 1
/** Read here, whatever the handler wants. */
const FRAMING_HEADERS: ReadonlySet<string> = new Set(['content-length', 'transfer-encoding'])
/** Keeps uWS from naming itself in every answer. Undocumented, from its source. */
const NO_MARK = '999999990007'
/** SHA-256 of the native binaries we have run the tests with, by platform, architecture and ABI. */
const BINARIES: Readonly<Record<string, string>> = {
  linux_x64_127: '8cabc918bbf9a07323e54f89a33882491080b2eb35df0607f473ccdb1f3c31af',
}

/**
 * HTTP/1.1 over uWebSockets.js. What its parser decides by itself, with fixed texts: 400 for broken framing, 431 for large headers, 505
 * for HTTP/1.0, `100 Continue` when asked; a connection without a complete request for 8 to 12 seconds is closed. It cannot hold back a
 * pipelined request while an earlier one is being answered: such a connection is cut, so answers never get mixed up. It takes a bare line
 * feed for the end of a chunk's size line, and whatever two bytes for the end of its data: so the answer to a request in chunks ends its
 * connection, and nobody's next request is read from where such a body may not have ended.
 *
 * Throws when the port is taken, or the native binary is not the recorded one.
 */
export async function createServer(deps: ServerDeps): Promise<Server> {
  const { settings, clock, log } = deps
  checkBinary(log)
  // uWS reads this once, when its binary is loaded; there is no other way to set it.
  process.env['UWS_HTTP_MAX_HEADERS_SIZE'] ??= String(settings.headerLimit)
  const uws = await import('uWebSockets.js')
  const { _cfg: configure } = uws as { _cfg?: (key: string) => void }
  configure?.(NO_MARK)

  const app = settings.tls === null ? uws.App() : createTlsApp(uws.SSLApp, settings.tls)
  const state = { running: 0, connections: 0, draining: false }
  let onChange = () => {}
  const tender = createTender(clock)
  const host: ExchangeHost = {
    bodyLimit: settings.bodyLimit,
    bodyTimeout: settings.bodyTimeout,
    stallTimeout: settings.stallTimeout,
    get draining() {
      return state.draining
    },
    monotonic: () => clock.monotonic(),
    headerLines: createHeaderLines(),
    extraHeaders: deps.extraHeaders ?? (() => null),
    tend: (exchange) => tender.add(exchange),
    untend: (exchange) => tender.remove(exchange),
    finished: () => {
      state.running -= 1
      onChange()
    },
  }
  const countConnection = (_res: HttpResponse, change: number) => {
    state.connections += change
    onChange()
  }
  app.filter(countConnection)
  const copies = deps.copies ?? (() => null)
  const sockets = new Set<WebSocketOfClient>()
  const keeper: SocketKeeper = {
    keep(socket) {
      sockets.add(socket)
      state.running += 1
    },
    lose(socket) {
      if (!sockets.delete(socket)) return
      state.running -= 1
      onChange()
    },
  }
  if (deps.sockets !== undefined) {
    const { takes, handler } = deps.sockets
    app.ws<Upgraded>('/*', {
      ...socketLimits(settings),
      upgrade(res, req, context) {
        if (!takes(req.getUrl())) {
          req.setYield(true)
          return
        }
        state.running += 1
        acceptSocket(res, req, context, host, keeper, handler)
      },
      open: (ws) => ws.getUserData().socket.opened(ws as WebSocket<Upgraded>),
      message: (ws, bytes, isBinary) => ws.getUserData().socket.received(bytes, isBinary),
      drain: (ws) => ws.getUserData().socket.drained(),
      close: (ws, code) => ws.getUserData().socket.ended(code),
    })
  }
  app.any('/*', (res, req) => {
    state.running += 1
    accept(res, req, host, copies, deps.handler)
  })
  const socket = await listen(app, settings)
  const port = uws.us_socket_local_port(socket as unknown as us_socket)
  let listening = true
  const close = () => {
    if (listening) uws.us_listen_socket_close(socket)
    listening = false
  }

  return {
    port,
    get running() {
      return state.running
    },
    get connections() {
      return state.connections
    },
    drain(limit) {
      state.draining = true
      close()
      return new Promise((resolve) => {
        let graceOver = false
        const check = () => {
          if (state.connections === 0 || (graceOver && state.running === 0)) done()
        }
        const grace = clock.after(Math.min(settings.idleGrace, limit), () => {
          graceOver = true
          check()
        })
        const parting = new Set([...sockets].filter((socket) => socket.part()))
        const leaving = clock.after(Math.min(settings.socketGrace, limit), () => {
          for (const socket of [...sockets]) if (!parting.has(socket)) socket.leave(CLOSE.goingAway)
        })
        const last = clock.after(limit, done)
        function done() {
          grace.cancel()
          leaving.cancel()
          last.cancel()
          onChange = () => {}
          resolve()
        }
        onChange = check
        check()
      })
    },
    stop() {
      close()
      tender.stop()
      for (const socket of [...sockets]) socket.leave(CLOSE.goingAway)
      app.close()
    },
  }
}

/** Turns a uWS request into an exchange. The request object dies with this call, so everything is copied here. */
function accept(res: HttpResponse, req: HttpRequest, host: ExchangeHost, copies: Copies, handler: Handler): void {
  const method = req.getCaseSensitiveMethod()
  const path = req.getUrl()
  const wanted = copies(method, path)
  const headers = headersOf(req, (name) => wanted === null || wanted(name) || FRAMING_HEADERS.has(name))
  const length = bodyLength(headers)
  const head: RequestHead = {
    method,
    path,
    query: req.getQuery() ?? '',
    headers,
    bodyLength: length instanceof GatewayError ? 0 : length,
  }
  const exchange = new SocketExchange(res, host, head)
  res.onAborted(() => exchange.aborted())
  if (length instanceof GatewayError) {
    // Later: uWS would go on to what follows in the same packet, which nobody knows to be a request. Unanswered, it cuts instead.
    setImmediate(() => exchange.refuse(length, true))
    return
  }
  if (length !== null && length > host.bodyLimit) {
    exchange.refuse(tooLarge(host.bodyLimit), false)
    return
  }
  if (length !== null) {
    if (length !== 0) res.onData((chunk, last) => exchange.receive(chunk, last))
    handler(exchange)
    return
  }
  // Later, for the same reason: where chunks end is what proxies disagree about, and uWS reads them loosely. Nor may a part of the body be
  // answered while the packet it came in is read.
  res.onData((chunk, last) => {
    const part = chunk.slice(0)
    setImmediate(() => exchange.receive(part, last))
  })
  setImmediate(() => {
    if (!exchange.closed) handler(exchange)
  })
}

function headersOf(req: HttpRequest, wanted: (name: string) => boolean): Record<string, string> {
  const headers: Record<string, string> = {}
  req.forEach((name, value) => {
    if (!wanted(name)) return
    const before = headers[name]
    headers[name] = before === undefined ? value : `${before}, ${value}`
  })
  return headers
}

/** uWS copies the members of what it is given, so the socket is one. */
interface Upgraded {
  socket: WebSocketOfClient
}

/** What of sockets the server counts. */
interface SocketKeeper {
  keep(socket: WebSocketOfClient): void
  lose(socket: WebSocketOfClient): void
}

/** uWS pings a socket that is silent for long, and closes it when nothing comes back; seconds, of which it knows 8 to 960. */
function socketLimits({ stallTimeout }: ServerSettings) {
  return {
    maxPayloadLength: SOCKET_MESSAGE_MAX,
    // What is sent is bounded by the credit of its stream: this is for the case that it is not.
    maxBackpressure: 2 * SOCKET_MESSAGE_MAX,
    idleTimeout: Math.min(960, Math.max(8, Math.round(stallTimeout / 1000))),
    sendPingsAutomatically: true,
  }
}

/** Turns a request to become a WebSocket into an exchange that may be answered, or upgraded later. */
function acceptSocket(
  res: HttpResponse,
  req: HttpRequest,
  context: us_socket_context_t,
  host: ExchangeHost,
  keeper: SocketKeeper,
  handler: Sockets['handler'],
): void {
  const headers = headersOf(req, () => true)
  const { 'sec-websocket-key': key = '', 'sec-websocket-extensions': extensions = '' } = headers
  const protocols = protocolsOf(headers['sec-websocket-protocol'])
  // May hold a credential, and nobody behind needs it.
  delete headers['sec-websocket-protocol']
  const head: RequestHead = { method: 'GET', path: req.getUrl(), query: req.getQuery() ?? '', headers, bodyLength: 0 }
  const exchange = new SocketExchange(res, host, head)
  res.onAborted(() => exchange.aborted())
  if (host.draining) {
    exchange.refuse(new GatewayError('draining'), true)
    return
  }
  handler(exchange, {
    protocols,
    accept(protocol, answered, events) {
      if (!exchange.release()) return null
      const socket: WebSocketOfClient = new WebSocketOfClient(events, () => keeper.lose(socket))
      keeper.keep(socket)
      res.cork(() => {
        res.writeStatus(`${SWITCHING_PROTOCOLS} Switching Protocols`)
        for (const name in answered) res.writeHeader(name, answered[name] as string)
      })
      // Not in the cork: uWS looks afterwards whether the answer of `res` closes its connection, and where the memory of `res` has become the
      // socket's that is a bit at random. One handshake in thirty was closed with 1006 right after it. Its warning on stderr is wrong here.
      res.upgrade<Upgraded>({ socket }, key, protocol ?? '', extensions, context)
      return socket
    },
  })
}

/**
 * The announced length of a body: 0 for none, null for chunks. An error where proxies disagree about what follows (RFC 9112 §6.3): uWS
 * takes the first of two lengths and ignores codings it does not know.
 */
function bodyLength(headers: Readonly<Record<string, string>>): number | null | GatewayError {
  const coding = headers['transfer-encoding']
  if (coding !== undefined) {
    return coding.toLowerCase() === 'chunked'
      ? null
      : new GatewayError('bad_request', 'Only the chunked transfer coding is supported.')
  }
  const length = headers['content-length']
  if (length === undefined) return 0
  return /^\d{1,15}$/.test(length)
    ? Number(length)
    : new GatewayError('bad_request', 'The content-length header is not one number.')
}

function listen(app: TemplatedApp, { host, port }: ServerSettings): Promise<us_listen_socket> {
  return new Promise((resolve, reject) => {
    // The published types lack the form with host and options. Without the option two processes would share one port unnoticed.
    const listenExclusively = app.listen as unknown as (
      host: string,
      port: number,
      options: number,
      done: (socket: us_listen_socket | false) => void,
    ) => void
    listenExclusively.call(app, host, port, EXCLUSIVE_PORT, (socket) => {
      if (socket === false) reject(new Error(`cannot listen on ${host}:${port}: the port is taken or not allowed`))
      else resolve(socket)
    })
  })
}

/** uWS takes file names only, so the texts lie in a private folder while it reads them. Throws when they are no key and certificate. */
function createTlsApp(create: (options: AppOptions) => TemplatedApp, { key, cert }: { key: string; cert: string }): TemplatedApp {
  const folder = mkdtempSync(join(tmpdir(), 'edge-'))
  try {
    const [keyFile, certFile] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    writeFileSync(keyFile, key, { mode: 0o600 })
    writeFileSync(certFile, cert, { mode: 0o600 })
    return create({ key_file_name: keyFile, cert_file_name: certFile })
  } catch (cause) {
    throw new Error('the TLS key and certificate cannot be used', { cause })
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** Calls `tend` of the exchanges that need it, on one timer that runs only while there are any. */
function createTender(clock: Clock): {
  add(exchange: SocketExchange): void
  remove(exchange: SocketExchange): void
  stop(): void
} {
  const tended = new Set<SocketExchange>()
  let timer: Timer | null = null
  const rest = () => {
    timer?.cancel()
    timer = null
  }
  return {
    add(exchange) {
      tended.add(exchange)
      timer ??= clock.every(TEND_INTERVAL, () => {
        for (const one of tended) one.tend()
        if (tended.size === 0) rest()
      })
    },
    remove: (exchange) => void tended.delete(exchange),
    stop: rest,
  }
}

/** Refuses a native binary that is not the recorded one; says so where none is recorded. */
function checkBinary(log: Log): void {
  const name = `${process.platform}_${process.arch}_${process.versions.modules}`
  const folders = createRequire(import.meta.url).resolve.paths('uWebSockets.js') ?? []
  const file = folders.map((folder) => join(folder, 'uWebSockets.js', 'dist', 'bin', `uws_${name}.node`)).find(existsSync)
  const expected = BINARIES[name]
  if (file === undefined || expected === undefined) {
    log.warn({ binary: name }, 'no checksum is recorded for the uWebSockets.js binary of this platform')
    return
  }
  const actual = createHash('sha256').update(readFileSync(file)).digest('hex')
  if (actual !== expected) throw new Error(`${file} has SHA-256 ${actual}, not the recorded ${expected}: reinstall it`)
}
