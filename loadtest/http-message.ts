/**
 * HTTP/1.1 messages off a socket (RFC 9112), for both sides of a load test: a request reader for the scripted provider and a
 * response reader for the load client. `node:http` costs about 40 µs per call on each side; next to a gateway that aims at 80 µs,
 * the measuring must not outweigh the measured. Incremental: input may be cut anywhere.
 *
 * States: head → length | chunked (size → data → line end … → trailers) | close → head.
 */

export interface MessageHead {
  /** Requests: the method. Responses: the version. */
  method: string
  /** Requests: the target as sent. Responses: the reason. */
  target: string
  /** Responses: the status. Requests: 0. */
  status: number
  /** Lower-case names; repeated fields joined with `, `. */
  headers: Map<string, string>
  /** Whether the connection may carry another message after this one. */
  keepAlive: boolean
}

export interface MessageHandler {
  onHead(head: MessageHead): void
  /** A view into the input, HTTP framing removed. */
  onData(bytes: Buffer): void
  onEnd(): void
}

/** The peer does not speak HTTP, or stopped in the middle of a message. */
export class MessageError extends Error {}

const EMPTY = Buffer.alloc(0)
const HEAD_END = Buffer.from('\r\n\r\n')
const LINE_END = Buffer.from('\r\n')
/** Bytes of a head. Node's own limit is 16 KB; providers answer with less. */
const HEAD_LIMIT = 64 * 1024
/** Bytes of a chunk-size line with its extensions, or of one trailer line. */
const LINE_LIMIT = 8 * 1024

type State = 'head' | 'length' | 'size' | 'data' | 'data-end' | 'trailers' | 'close'

export class MessageReader {
  readonly #side: 'request' | 'response'
  readonly #handler: MessageHandler
  #state: State = 'head'
  #input: Buffer = EMPTY
  /** Body bytes still to come in states `length` and `data`. */
  #left = 0
  #held = false
  #running = false

  constructor(side: 'request' | 'response', handler: MessageHandler) {
    this.#side = side
    this.#handler = handler
  }

  /** Takes bytes as they come. Throws MessageError when they are not HTTP/1.1; the connection is then useless. */
  push(bytes: Buffer): void {
    this.#input = this.#input.length === 0 ? bytes : Buffer.concat([this.#input, bytes])
    this.#run()
  }

  /** The peer closed its side. Completes a body that ends with the connection; throws MessageError inside any other message. */
  finish(): void {
    if (this.#state === 'close') {
      this.#state = 'head'
      this.#handler.onEnd()
      return
    }
    if (this.#state !== 'head' || this.#input.length > 0) throw new MessageError('connection closed inside a message')
  }

  /** Stops before the next message (a pipelined one waits its turn); bytes given meanwhile are kept. */
  hold(): void {
    this.#held = true
  }

  release(): void {
    this.#held = false
    this.#run()
  }

  /** Bytes waiting behind `hold`, or of a head not yet complete. */
  get waiting(): number {
    return this.#input.length
  }

  // A handler may call `release` from inside `onEnd`; the flag turns that recursion into another turn of this loop, so that a
  // thousand pipelined requests do not become a thousand stack frames.
  #run(): void {
    if (this.#running) return
    this.#running = true
    try {
      while (!this.#held && this.#input.length > 0 && this.#step());
    } finally {
      this.#running = false
    }
  }

  /** One step of the state machine; false when it needs more input. */
  #step(): boolean {
    switch (this.#state) {
      case 'head':
        return this.#head()
      case 'length':
      case 'data':
        return this.#body()
      case 'size':
        return this.#size()
      case 'data-end': {
        if (this.#input.length < 2) return false
        if (this.#input[0] !== 13 || this.#input[1] !== 10) throw new MessageError('chunk is longer than its size')
        this.#input = this.#input.subarray(2)
        this.#state = 'size'
        return true
      }
      case 'trailers': {
        const line = this.#line()
        if (line === null) return false
        if (line === '') this.#end()
        return true
      }
      case 'close': {
        const bytes = this.#input
        this.#input = EMPTY
        this.#handler.onData(bytes)
        return false
      }
    }
  }

  #head(): boolean {
    const end = this.#input.indexOf(HEAD_END)
    if (end < 0) {
      if (this.#input.length > HEAD_LIMIT) throw new MessageError(`head larger than ${HEAD_LIMIT} bytes`)
      return false
    }
    const head = parseHead(this.#input.toString('latin1', 0, end), this.#side)
    this.#input = this.#input.subarray(end + 4)
    // 1xx answers precede the real one (RFC 9110 §15.2).
    if (this.#side === 'response' && head.status < 200) return true
    const chunked = head.headers.get('transfer-encoding')?.toLowerCase().endsWith('chunked') ?? false
    const length = head.headers.get('content-length')
    if (length !== undefined && !/^\d+$/.test(length)) throw new MessageError('content-length is not a number')
    this.#left = Number(length ?? 0)
    const bodiless = this.#side === 'response' && (head.status === 204 || head.status === 304)
    const untilClose = this.#side === 'response' && !chunked && length === undefined && !bodiless
    if (untilClose) head.keepAlive = false
    this.#state = chunked ? 'size' : untilClose ? 'close' : 'length'
    this.#handler.onHead(head)
    if (!chunked && !untilClose && (bodiless || this.#left === 0)) this.#end()
    return true
  }

  #body(): boolean {
    const bytes = this.#input.length > this.#left ? this.#input.subarray(0, this.#left) : this.#input
    this.#input = this.#input.subarray(bytes.length)
    this.#left -= bytes.length
    const done = this.#left === 0
    if (done && this.#state === 'data') this.#state = 'data-end'
    this.#handler.onData(bytes)
    if (done && this.#state === 'length') this.#end()
    return true
  }

  #size(): boolean {
    const line = this.#line()
    if (line === null) return false
    // Chunk extensions after `;` are allowed and mean nothing to us (RFC 9112 §7.1.1).
    const digits = line.split(';', 1)[0]?.trim() ?? ''
    if (!/^[0-9a-fA-F]{1,12}$/.test(digits)) throw new MessageError('chunk size is not a hexadecimal number')
    this.#left = Number.parseInt(digits, 16)
    this.#state = this.#left === 0 ? 'trailers' : 'data'
    return true
  }

  #line(): string | null {
    const end = this.#input.indexOf(LINE_END)
    if (end < 0) {
      if (this.#input.length > LINE_LIMIT) throw new MessageError(`line longer than ${LINE_LIMIT} bytes`)
      return null
    }
    const line = this.#input.toString('latin1', 0, end)
    this.#input = this.#input.subarray(end + 2)
    return line
  }

  #end(): void {
    this.#state = 'head'
    this.#handler.onEnd()
  }
}

function parseHead(text: string, side: 'request' | 'response'): MessageHead {
  const lines = text.split('\r\n')
  const [first = '', second = '', ...others] = (lines[0] ?? '').split(' ')
  const version = side === 'request' ? others.join(' ') : first
  if (!version.startsWith('HTTP/1.')) throw new MessageError('not an HTTP/1.1 message')
  const headers = new Map<string, string>()
  for (let index = 1; index < lines.length; index += 1) {
    const line = lines[index] as string
    const colon = line.indexOf(':')
    if (colon <= 0) throw new MessageError('header line without a name')
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim()
    const before = headers.get(name)
    headers.set(name, before === undefined ? value : `${before}, ${value}`)
  }
  const connection = headers.get('connection')?.toLowerCase() ?? ''
  return {
    method: first,
    target: side === 'request' ? second : others.join(' '),
    status: side === 'request' ? 0 : Number(second),
    headers,
    keepAlive: version.endsWith('1.0') ? connection.includes('keep-alive') : !connection.includes('close'),
  }
}
