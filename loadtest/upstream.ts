import { createHash, type Hash } from 'node:crypto'
import { createServer, type Socket } from 'node:net'
import { type Clock, systemClock } from '../shared/clock.ts'
import { type Answer, answer, type Frame, type Protocol, type Question, type StatedUsage } from './answers.ts'
import { type MessageHead, MessageReader } from './http-message.ts'
import { parseScript, type Script, ScriptError, scriptText } from './script.ts'

/**
 * The scripted provider: OpenAI (`…/chat/completions`, `…/completions`, `…/embeddings`, `…/models`) and Anthropic (`…/messages`,
 * `…/messages/count_tokens`), whole and streamed, behaving as `script.ts` says. Tests and load use the same one. What it served is
 * kept per script `id`, so a test can hold it against the ledger. `GET /stats`, `GET /stats?id=…` and `DELETE /stats` answer the
 * same over HTTP when it runs as its own process: `node loadtest/upstream.ts --port 9000`.
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

export interface UpstreamStats {
  /** Connections accepted so far, and open now. */
  connections: number
  open: number
  /** Calls so far; being read or answered now; most of those at once. */
  requests: number
  active: number
  peak: number
  /** Calls answered to the end; left by the caller before that; failed by script (status, fault). */
  completed: number
  aborted: number
  faulted: number
  /** Connections given up because the peer did not speak HTTP. */
  unreadable: number
  /** Bytes read; bytes handed to sockets; how often a socket was full and the answer waited. */
  bytesIn: number
  bytesOut: number
  pauses: number
  /** Sums of the usage stated in answers. */
  usage: StatedUsage
}

/** One call as it was served. Times are Unix milliseconds. */
export interface ServedCall {
  id: string
  path: string
  /** The `@name` of the path, or empty. */
  site: string
  protocol: Protocol
  model: string
  stream: boolean
  headers: Record<string, string>
  /** The first and last 64 KB of the body when it is larger than 1 MB, otherwise all of it. */
  body: string
  bodyBytes: number
  bodySha256: string
  status: number
  /** `active` until it ends; `faulted`: ended as scripted, by an error status or a fault. */
  outcome: 'active' | 'completed' | 'aborted' | 'faulted'
  startedAt: number
  endedAt: number | null
  /** Text chunks and characters handed to the socket. */
  chunks: number
  text: number
  /** Text chunks made, also after the caller left (fault `deaf`): what a provider may bill. */
  generated: number
  bytesOut: number
  pauses: number
  /** The usage, when it was handed to the socket. */
  usage: StatedUsage | null
}

/** Bodies up to this size are parsed; of larger ones the ends are kept and searched. */
const WHOLE_BODY = 1024 * 1024
const BODY_END = 64 * 1024
/** Most pipelined bytes kept while an answer is under way. */
const PIPELINE_LIMIT = 1024 * 1024
/** Frames without a wait share a write up to this size. */
const WRITE_SIZE = 64 * 1024
/** Milliseconds between the last bytes and a reset. Arriving together they look like a clean end to libuv, which reads POLLHUP as one. */
const RESET_DELAY = 5
const ANSWER_CACHE = 256
const RECORD_LIMIT = 100_000
const CONTINUE = Buffer.from('HTTP/1.1 100 Continue\r\n\r\n')

/** State of one provider, shared by its connections. */
interface Shop {
  clock: Clock
  stats: UpstreamStats
  calls: Map<string, ServedCall[]>
  attempts: Map<string, number>
  answers: Map<string, Answer>
  changed(): void
}

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
  #body: Body | null = null
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
    this.#body = new Body()
    stats.requests += 1
    stats.active += 1
    if (stats.active > stats.peak) stats.peak = stats.active
    if (head.headers.get('expect')?.toLowerCase() === '100-continue') this.#socket.write(CONTINUE)
  }

  #answer(): void {
    const head = this.#head as MessageHead
    const body = this.#body as Body
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

/** A request body: all of it while small, both ends and a running hash when large, so 64 MB cost 128 KB of memory. */
class Body {
  bytes = 0
  #parts: Buffer[] = []
  #tail: Buffer = Buffer.alloc(0)
  #hash: Hash | null = null

  add(bytes: Buffer): void {
    this.bytes += bytes.length
    if (this.#hash === null && this.bytes <= WHOLE_BODY) {
      this.#parts.push(bytes)
      return
    }
    if (this.#hash === null) {
      const start = Buffer.concat(this.#parts)
      this.#hash = createHash('sha256').update(start)
      this.#parts = [Buffer.from(start.subarray(0, BODY_END))]
    }
    this.#hash.update(bytes)
    this.#tail = Buffer.from(Buffer.concat([this.#tail, bytes]).subarray(-BODY_END))
  }

  /** Whether `text` is the whole body. */
  get whole(): boolean {
    return this.#hash === null
  }

  text(): string {
    const only = this.#parts[0]
    if (this.#parts.length === 1 && only !== undefined && this.#tail.length === 0) return only.toString()
    return Buffer.concat([...this.#parts, this.#tail]).toString('utf8')
  }

  /** Call once. */
  sha256(): string {
    return (this.#hash ?? createHash('sha256').update(Buffer.concat(this.#parts))).digest('hex')
  }
}

/**
 * One answer on its way out. States: waiting (latency, pace) → writing → (paused by a full socket → writing) → ended; `abort` from
 * any of them, which a deaf script ignores.
 */
class Reply {
  readonly #shop: Shop
  readonly #socket: Socket
  readonly #head: MessageHead
  readonly #body: Body
  readonly #done: () => void
  #frames: Iterator<Frame> | null = null
  #next: Frame | null = null
  #script: Readonly<Script> | null = null
  #record: ServedCall | null = null
  #usage: StatedUsage | null = null
  #failed = false
  #ended = false
  #gone = false

  constructor(shop: Shop, socket: Socket, head: MessageHead, body: Body, done: () => void) {
    this.#shop = shop
    this.#socket = socket
    this.#head = head
    this.#body = body
    this.#done = done
  }

  start(): void {
    const [path = '', search = ''] = this.#head.target.split('?', 2)
    const protocol = protocolOf(path)
    if (path === '/stats') this.#own(this.#statsBody(search))
    else if (protocol === null) this.#own(ownError('no such path'), 404)
    else this.#scripted(protocol, path)
  }

  #scripted(protocol: Protocol, path: string): void {
    const site = /^\/@([\w-]+)\//.exec(path)?.[1] ?? ''
    try {
      const question = this.#question(protocol, site)
      this.#script = question.script
      this.#keep(question, path, site)
      const { latency } = question.script
      if (latency > 0) this.#shop.clock.after(latency, () => this.#respond(question))
      else this.#respond(question)
    } catch (error) {
      if (!(error instanceof ScriptError)) throw error
      this.#own(ownError(`upstream script: ${error.message}`), 400)
    }
  }

  /** The caller left. */
  abort(): void {
    if (this.#ended || this.#gone) return
    this.#gone = true
    if (this.#script?.faults.has('deaf')) return
    this.#end('aborted')
  }

  #question(protocol: Protocol, site: string): Question {
    const text = this.#body.text()
    let body: Record<string, unknown> = {}
    if (this.#body.whole && text !== '') {
      try {
        body = JSON.parse(text) as Record<string, unknown>
      } catch {
        throw new ScriptError('the body is not JSON')
      }
    } else if (text !== '') {
      body = { model: /"model"\s*:\s*"([^"]*)"/.exec(text)?.[1] ?? '', stream: /"stream"\s*:\s*true/.test(text) }
    }
    const model = typeof body['model'] === 'string' ? body['model'] : 'bench'
    const options = body['stream_options'] as { include_usage?: unknown } | undefined
    const words = scriptText(model, text, this.#head.headers.get('x-upstream-script'), site)
    const script = parseScript(words, (key) => this.#attempt(key))
    const stream = body['stream'] === true && protocol !== 'embedding' && protocol !== 'models' && protocol !== 'count'
    return { protocol, model, stream, includeUsage: options?.include_usage === true, body, script, words }
  }

  #attempt(key: string): number {
    const { attempts } = this.#shop
    const count = (attempts.get(key) ?? 0) + 1
    attempts.set(key, count)
    if (attempts.size > RECORD_LIMIT) attempts.delete(attempts.keys().next().value as string)
    return count
  }

  #keep(question: Question, path: string, site: string): void {
    const { id } = question.script
    if (id === null) return
    const { protocol, model, stream } = question
    this.#record = {
      ...{ id, path, site, protocol, model, stream },
      headers: Object.fromEntries(this.#head.headers),
      body: this.#body.text(),
      bodyBytes: this.#body.bytes,
      bodySha256: this.#body.sha256(),
      ...{ status: 0, outcome: 'active', startedAt: this.#shop.clock.now(), endedAt: null },
      ...{ chunks: 0, text: 0, generated: 0, bytesOut: 0, pauses: 0, usage: null },
    }
    const { calls } = this.#shop
    const before = calls.get(id)
    if (before === undefined) calls.set(id, [this.#record])
    else before.push(this.#record)
    if (calls.size > RECORD_LIMIT) calls.delete(calls.keys().next().value as string)
    this.#shop.changed()
  }

  #respond(question: Question): void {
    const { script } = question
    const { faults } = script
    if (this.#ended || faults.has('hang')) return
    if (faults.has('reset')) this.#finish('reset')
    else if (faults.has('close')) this.#finish('close')
    else if (faults.has('junk')) this.#bare(Buffer.from('220 smtp.example.com ESMTP\r\n\r\n'))
    else if (script.raw !== '') this.#bare(Buffer.from(script.raw, 'base64'))
    else this.#begin(question)
  }

  #begin(question: Question): void {
    const { script } = question
    const reply = this.#cached(question)
    if (this.#record !== null) this.#record.status = reply.status
    if (script.faults.has('head')) {
      this.#bare(reply.head.subarray(0, reply.head.length / 2))
      return
    }
    this.#usage = reply.usage
    this.#failed = script.fail > 0 || script.faults.size > 0
    this.#frames = reply.frames[Symbol.iterator]()
    this.#write([reply.head], reply.head.length)
  }

  /** Answers of calls without an id are the same bytes for the same question; they are made once. */
  #cached(question: Question): Answer {
    const { script, protocol } = question
    const small = script.chunks * (script.size + 300) + script.toolsize < 1024 * 1024
    if (script.id !== null || !small || protocol === 'embedding') return answer(question)
    const flags = `${protocol} ${question.stream ? 's' : ''}${question.includeUsage ? 'u' : ''}`
    // The same words may fail on some calls only.
    const key = `${flags} ${script.fail} ${[...script.faults].join()} ${question.model} ${question.words}`
    const { answers } = this.#shop
    const before = answers.get(key)
    if (before !== undefined) return before
    const made = answer(question)
    made.frames = script.text === 'stamp' ? [...made.frames] : joined(made.frames)
    answers.set(key, made)
    if (answers.size > ANSWER_CACHE) answers.delete(answers.keys().next().value as string)
    return made
  }

  /** Writes frames until one wants to wait, the socket is full, or all are out. */
  #write(batch: Buffer[] = [], size = 0): void {
    let length = size
    for (;;) {
      const frame = this.#take()
      if (frame === null || frame === this.#next) break
      batch.push(frame.stamp === undefined ? frame.bytes : stamped(frame.bytes, frame.stamp))
      length += frame.bytes.length
      this.#count(frame)
      if (frame.action !== undefined) {
        this.#send(batch, length)
        this.#finish(frame.action)
        return
      }
      if (length < WRITE_SIZE) continue
      if (!this.#send(batch, length)) {
        this.#drain()
        return
      }
      batch.length = 0
      length = 0
    }
    this.#send(batch, length)
    if (this.#next !== null) this.#later(this.#next.wait ?? 0)
    else this.#end(this.#failed ? 'faulted' : 'completed')
  }

  /** The next frame, or null at the end; one that wants to wait is put into `#next` first and taken from there after its wait. */
  #take(): Frame | null {
    if (this.#next !== null) {
      const frame = this.#next
      this.#next = null
      return frame
    }
    const step = (this.#frames as Iterator<Frame>).next()
    if (step.done === true) return null
    if (step.value.wait !== null) this.#next = step.value
    return step.value
  }

  #later(wait: number): void {
    const go = (): void => {
      if (this.#ended) return
      if (this.#socket.writableNeedDrain && !this.#gone) this.#drain()
      else this.#write()
    }
    if (wait > 0) this.#shop.clock.after(wait, go)
    else setImmediate(go)
  }

  #drain(): void {
    this.#shop.stats.pauses += 1
    if (this.#record !== null) this.#record.pauses += 1
    this.#shop.changed()
    const go = (): void => {
      this.#socket.off('drain', go)
      this.#socket.off('close', go)
      if (!this.#ended) this.#write()
    }
    this.#socket.on('drain', go)
    this.#socket.on('close', go)
  }

  #send(batch: Buffer[], length: number): boolean {
    if (length === 0 || this.#gone) return true
    this.#shop.stats.bytesOut += length
    if (this.#record !== null) this.#record.bytesOut += length
    return this.#socket.write(batch.length === 1 ? (batch[0] as Buffer) : Buffer.concat(batch, length))
  }

  #count(frame: Frame): void {
    const record = this.#record
    if (record !== null) {
      record.generated += frame.chunks
      if (!this.#gone) {
        record.chunks += frame.chunks
        record.text += frame.text
      }
    }
    if (!frame.usage || this.#gone || this.#usage === null) return
    const sum = this.#shop.stats.usage
    for (const key of USAGE_KEYS) sum[key] += this.#usage[key]
    if (record !== null) record.usage = this.#usage
  }

  /** Sends bytes that are the whole connection from here on. */
  #bare(bytes: Buffer): void {
    this.#send([bytes], bytes.length)
    this.#finish('close')
  }

  #finish(action: 'close' | 'reset' | 'stall'): void {
    // A stalled call stays open, and active, until the caller leaves.
    if (action === 'stall') return
    if (action === 'reset' && this.#socket.bytesWritten > 0) {
      this.#shop.clock.after(RESET_DELAY, () => this.#reset())
    } else if (action === 'reset') {
      this.#reset()
    } else {
      this.#socket.end()
      this.#end('faulted', false)
    }
  }

  #reset(): void {
    this.#socket.resetAndDestroy()
    this.#end('faulted', false)
  }

  #end(outcome: 'completed' | 'aborted' | 'faulted', next = true): void {
    if (this.#ended) return
    this.#ended = true
    const final = this.#gone ? 'aborted' : outcome
    const { stats } = this.#shop
    stats.active -= 1
    stats[final] += 1
    if (this.#record !== null) {
      this.#record.outcome = final
      this.#record.endedAt = this.#shop.clock.now()
    }
    if (next && !this.#gone) this.#done()
    this.#shop.changed()
  }

  /** An answer of this server itself, outside the counts. */
  #own(body: string, status = 200): void {
    const bytes = Buffer.from(body)
    const head = `HTTP/1.1 ${status} Own\r\ncontent-type: application/json\r\ncontent-length: ${bytes.length}\r\n\r\n`
    this.#socket.write(Buffer.concat([Buffer.from(head), bytes]))
    this.#ended = true
    this.#shop.stats.active -= 1
    if (status === 200) this.#shop.stats.requests -= 1
    else this.#shop.stats.faulted += 1
    this.#done()
    this.#shop.changed()
  }

  #statsBody(search: string): string {
    const id = new URLSearchParams(search).get('id')
    const { stats, calls } = this.#shop
    if (this.#head.method === 'DELETE') {
      Object.assign(stats, emptyStats(), { open: stats.open, active: stats.active, requests: 1 })
      calls.clear()
      this.#shop.attempts.clear()
    }
    return JSON.stringify(
      id === null ? { ...stats, requests: stats.requests - 1, active: stats.active - 1 } : (calls.get(id) ?? []),
    )
  }
}

const USAGE_KEYS = ['prompt', 'completion', 'cached', 'written', 'reasoning'] as const

/** A copy with the machine's monotonic time in it. */
function stamped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes)
  copy.write(process.hrtime.bigint().toString().padStart(16, '0'), at, 16, 'latin1')
  return copy
}

/** Frames that may share a write, joined once instead of at every call. */
function joined(frames: Iterable<Frame>): Frame[] {
  const result: Frame[] = []
  let parts: Frame[] = []
  const flush = (): void => {
    const last = parts.at(-1)
    if (last === undefined) return
    const sum = { chunks: 0, text: 0, usage: false }
    for (const part of parts) {
      sum.chunks += part.chunks
      sum.text += part.text
      sum.usage ||= part.usage
    }
    result.push({ ...last, ...sum, bytes: Buffer.concat(parts.map((part) => part.bytes)), wait: parts[0]?.wait ?? null })
    parts = []
  }
  for (const frame of frames) {
    if (frame.wait !== null) flush()
    parts.push(frame)
    if (frame.action !== undefined) flush()
  }
  flush()
  return result
}

function protocolOf(path: string): Protocol | null {
  if (path.endsWith('/chat/completions')) return 'chat'
  if (path.endsWith('/messages')) return 'anthropic'
  if (path.endsWith('/messages/count_tokens')) return 'count'
  if (path.endsWith('/completions')) return 'completion'
  if (path.endsWith('/embeddings')) return 'embedding'
  return path.endsWith('/models') ? 'models' : null
}

function ownError(message: string): string {
  return JSON.stringify({ error: { message, type: 'script_error', param: null, code: null } })
}

function emptyStats(): UpstreamStats {
  return {
    ...{ connections: 0, open: 0, requests: 0, active: 0, peak: 0, completed: 0, aborted: 0, faulted: 0, unreadable: 0 },
    ...{ bytesIn: 0, bytesOut: 0, pauses: 0 },
    usage: { prompt: 0, completion: 0, cached: 0, written: 0, reasoning: 0 },
  }
}

if (import.meta.main === true || process.argv[1] === import.meta.filename) {
  const flag = process.argv.indexOf('--port')
  const upstream = await startUpstream({ port: flag < 0 ? 0 : Number(process.argv[flag + 1]) })
  console.log(JSON.stringify({ url: upstream.url, pid: process.pid }))
}
