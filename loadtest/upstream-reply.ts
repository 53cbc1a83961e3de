import type { Socket } from 'node:net'
import type { Protocol, Question, StatedUsage } from './answer-text.ts'
import { type Answer, answer, type Frame } from './answers.ts'
import type { MessageHead } from './http-message.ts'
import type { RequestBody } from './request-body.ts'
import { parseScript, type Script, ScriptError, scriptText } from './script.ts'
import { emptyStats, type ServedCall, type Shop } from './upstream-stats.ts'

/** Frames without a wait share a write up to this size. */
const WRITE_SIZE = 64 * 1024
/** Milliseconds between the last bytes and a reset. Arriving together they look like a clean end to libuv, which reads POLLHUP as one. */
const RESET_DELAY = 5
const ANSWER_CACHE = 256
const RECORD_LIMIT = 100_000
/** Where it is a collector of traces too, which takes everything and keeps nothing (setup `full`). */
const TRACES = '/v1/traces'

/**
 * One answer on its way out. States: waiting (latency, pace) → writing → (paused by a full socket → writing) → ended; `abort` from
 * any of them, which a deaf script ignores.
 */
export class Reply {
  readonly #shop: Shop
  readonly #socket: Socket
  readonly #head: MessageHead
  readonly #body: RequestBody
  readonly #done: () => void
  #frames: Iterator<Frame> | null = null
  #next: Frame | null = null
  #script: Readonly<Script> | null = null
  #record: ServedCall | null = null
  #usage: StatedUsage | null = null
  #failed = false
  #ended = false
  #gone = false

  constructor(shop: Shop, socket: Socket, head: MessageHead, body: RequestBody, done: () => void) {
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
    else if (path === TRACES) this.#own('{}')
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
