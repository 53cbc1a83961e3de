import { createServer, type Socket } from 'node:net'
import { type Clock, systemClock } from '../shared/clock.ts'
import { type MessageHead, MessageReader } from './http-message.ts'
import { RequestBody } from './request-body.ts'
import { Reply } from './upstream-reply.ts'
import { emptyStats, type ServedCall, type Shop, type UpstreamStats } from './upstream-stats.ts'

export type { ServedCall, UpstreamStats } from './upstream-stats.ts'

/**
 * The scripted provider: OpenAI (`…/chat/completions`, `…/completions`, `…/embeddings`, `…/models`) and Anthropic (`…/messages`,
 * `…/messages/count_tokens`), whole and streamed, behaving as `script.ts` says. Tests and load use the same one. What it served is
 * kept per script `id`, so a test can hold it against the ledger. `GET /stats`, `GET /stats?id=…` and `DELETE /stats` answer the
 * same over HTTP when it runs as its own process: `node loadtest/upstream.ts --port 9000`. Traces (`POST /v1/traces`) are taken and forgotten.
 */

export interface UpstreamOptions {
  /** 0: any free port. */
  port?: number
  host?: string
  clock?: Clock
}

export interface Upstream {
  /** `http://host:port`, without `/v1`. */
  url: string
  port: number
  stats(): UpstreamStats
  /** Every call that came with this script id, in order of arrival. */
  served(id: string): ServedCall[]
  /** Resolves when `test` holds, tried after each change; rejects after `limit` milliseconds (default 5,000). */
  when(test: (stats: UpstreamStats) => boolean, limit?: number): Promise<void>
  /** While true nothing listens: connections are refused, and those open are reset. */
  refuse(on: boolean): Promise<void>
  /** Forgets counts and records. */
  reset(): void
  stop(): Promise<void>
}

/** Most pipelined bytes kept while an answer is under way. */
const PIPELINE_LIMIT = 1024 * 1024
/** First byte of a TLS connection (RFC 8446 §5.1); no method begins with it. */
const TLS_HANDSHAKE = 0x16
const CONTINUE = Buffer.from('HTTP/1.1 100 Continue\r\n\r\n')

/** Starts a scripted provider on its own port. Rejects when the port is taken. */
export async function startUpstream(options: UpstreamOptions = {}): Promise<Upstream> {
  const host = options.host ?? '127.0.0.1'
  const waiters = new Set<() => void>()
  const shop: Shop = {
    clock: options.clock ?? systemClock,
    stats: emptyStats(),
    calls: new Map(),
    attempts: new Map(),
    answers: new Map(),
    changed: () => {
      for (const waiter of waiters) waiter()
    },
  }
  const sockets = new Set<Socket>()
  const server = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket)
    shop.stats.connections += 1
    shop.stats.open += 1
    socket.on('close', () => {
      sockets.delete(socket)
      shop.stats.open -= 1
      shop.changed()
    })
    new Connection(shop, socket)
  })
  const listen = (port: number): Promise<void> =>
    new Promise((resolve, reject) => {
      server.once('error', reject)
      // The backlog of a test that opens ten thousand connections at once; the kernel caps it at somaxconn.
      server.listen({ port, host, backlog: 16_384 }, () => {
        server.off('error', reject)
        resolve()
      })
    })
  const close = (): Promise<void> =>
    new Promise((resolve) => {
      server.close(() => resolve())
      for (const socket of sockets) socket.resetAndDestroy()
    })
  await listen(options.port ?? 0)
  const address = server.address()
  const port = address !== null && typeof address === 'object' ? address.port : 0

  return {
    url: `http://${host}:${port}`,
    port,
    stats: () => ({ ...shop.stats, usage: { ...shop.stats.usage } }),
    served: (id) => shop.calls.get(id) ?? [],
    when: (test, limit = 5_000) =>
      new Promise((resolve, reject) => {
        const check = (): void => {
          if (!test(shop.stats)) return
          waiters.delete(check)
          clearTimeout(timer)
          resolve()
        }
        const timer = setTimeout(() => {
          waiters.delete(check)
          reject(new Error(`not so within ${limit} ms: ${JSON.stringify(shop.stats)}`))
        }, limit)
        waiters.add(check)
        check()
      }),
    refuse: async (on) => {
      if (on === !server.listening) return
      if (on) await close()
      else await listen(port)
    },
    reset: () => {
      const { open, active } = shop.stats
      Object.assign(shop.stats, emptyStats(), { open, active, peak: active })
      shop.calls.clear()
      shop.attempts.clear()
    },
    stop: async () => {
      if (server.listening) await close()
    },
  }
}

/** One client connection: reads a call, answers it, reads the next. */
class Connection {
  readonly #shop: Shop
  readonly #socket: Socket
  readonly #reader: MessageReader
  #head: MessageHead | null = null
  #body: RequestBody | null = null
  #reply: Reply | null = null

  constructor(shop: Shop, socket: Socket) {
    this.#shop = shop
    this.#socket = socket
    this.#reader = new MessageReader('request', {
      onHead: (head) => this.#begin(head),
      onData: (bytes) => this.#body?.add(bytes),
      onEnd: () => this.#answer(),
    })
    socket.on('data', (bytes) => this.#take(bytes))
    socket.on('error', () => {})
    socket.on('close', () => this.#left())
    // A caller that closes its side has left: gateways abort with FIN, and a stalled answer would never notice otherwise.
    socket.on('end', () => this.#left())
  }

  #take(bytes: Buffer): void {
    this.#shop.stats.bytesIn += bytes.length
    try {
      // As servers do that are asked for TLS where they speak none: their answer is no record of it, and the handshake fails.
      if (this.#head === null && bytes[0] === TLS_HANDSHAKE) throw new Error('TLS')
      this.#reader.push(bytes)
    } catch {
      this.#shop.stats.unreadable += 1
      this.#socket.end('HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n')
      return
    }
    if (this.#reply !== null && this.#reader.waiting > PIPELINE_LIMIT) this.#socket.pause()
  }

  #begin(head: MessageHead): void {
    const { stats } = this.#shop
    this.#head = head
    this.#body = new RequestBody()
    stats.requests += 1
    stats.active += 1
    if (stats.active > stats.peak) stats.peak = stats.active
    if (head.headers.get('expect')?.toLowerCase() === '100-continue') this.#socket.write(CONTINUE)
  }

  #answer(): void {
    const head = this.#head as MessageHead
    const body = this.#body as RequestBody
    this.#reader.hold()
    this.#reply = new Reply(this.#shop, this.#socket, head, body, () => {
      this.#reply = null
      this.#head = null
      this.#body = null
      this.#socket.resume()
      if (head.keepAlive) this.#reader.release()
      else this.#socket.end()
    })
    this.#reply.start()
  }

  #left(): void {
    if (this.#head === null) return
    if (this.#reply !== null) this.#reply.abort()
    else {
      // Left before the whole call was there.
      this.#shop.stats.active -= 1
      this.#shop.stats.aborted += 1
    }
    this.#head = null
    this.#shop.changed()
  }
}

if (import.meta.main === true || process.argv[1] === import.meta.filename) {
  const flag = process.argv.indexOf('--port')
  const upstream = await startUpstream({ port: flag < 0 ? 0 : Number(process.argv[flag + 1]) })
  console.log(JSON.stringify({ url: upstream.url, pid: process.pid }))
}
