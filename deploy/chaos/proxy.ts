import { connect, createServer, type Server, type Socket } from 'node:net'

/**
 * A TCP proxy in front of one server, for what happens to connections: cut, refused, silent, slow. Bytes are never changed, dropped or
 * reordered; a direction that is slow delivers what it got, later.
 */
export interface TcpProxy {
  readonly port: number
  /** Connections open now. */
  readonly open: number
  /** Resets every open connection, both ends; returns how many. */
  cut(): number
  /** While true nothing listens: connections are refused, and those open were reset. */
  refuse(on: boolean): Promise<void>
  /** While true connections are accepted and carry nothing; what was sent goes on afterwards. */
  silence(on: boolean): void
  /** Delays every byte by `latency` milliseconds and lets `bytesPerSecond` through in each direction of each connection; null = at once. */
  slow(to: Slowness | null): void
  close(): Promise<void>
}

export interface Slowness {
  latency: number
  bytesPerSecond: number
}

/** Bytes a direction holds back before its sender is told to wait, as a socket's buffers would. */
const HELD_MAX = 256 * 1024
/** Bytes delivered at once by a slow direction: a thousandth of a second of a gigabit. */
const PIECE = 64 * 1024

/** The conditions all connections of a proxy share. */
interface Weather {
  slowness: Slowness | null
  silent: boolean
}

/** Starts a proxy on a free loopback port before `port()` of this machine, asked at each connection: a server may come back elsewhere. */
export async function startProxy(port: () => number): Promise<TcpProxy> {
  const weather: Weather = { slowness: null, silent: false }
  const pairs = new Set<Pair>()
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
    const far = connect({ port: port(), host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
    const pair = new Pair(near, far, weather, () => pairs.delete(pair))
    pairs.add(pair)
  })
  await listen(server, 0)
  const address = server.address()
  const own = address !== null && typeof address === 'object' ? address.port : 0
  const cut = (): number => {
    const count = pairs.size
    for (const pair of [...pairs]) pair.reset()
    return count
  }
  const wake = (): void => {
    for (const pair of pairs) pair.wake()
  }
  const refuse = async (on: boolean): Promise<void> => {
    if (on !== server.listening) return
    if (!on) {
      await listen(server, own)
      return
    }
    const closed = new Promise<void>((resolve) => server.close(() => resolve()))
    cut()
    await closed
  }
  return {
    port: own,
    get open() {
      return pairs.size
    },
    cut,
    refuse,
    silence(on) {
      weather.silent = on
      wake()
    },
    slow(to) {
      weather.slowness = to
      wake()
    },
    close: () => refuse(true),
  }
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen({ port, host: '127.0.0.1', backlog: 4096 }, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

/** A client's connection and the one made for it. */
class Pair {
  readonly #near: Socket
  readonly #far: Socket
  readonly #ways: readonly [Way, Way]
  readonly #gone: () => void
  #over = false

  constructor(near: Socket, far: Socket, weather: Weather, gone: () => void) {
    this.#near = near
    this.#far = far
    this.#gone = gone
    this.#ways = [new Way(near, far, weather), new Way(far, near, weather)]
    for (const socket of [near, far]) {
      socket.on('error', () => this.reset())
      socket.on('close', () => {
        if (near.closed && far.closed) this.#end()
        // One that closed without an end was reset; after both ends have ended each closes by itself.
        else if (!socket.readableEnded) this.reset()
      })
    }
  }

  wake(): void {
    for (const way of this.#ways) way.wake()
  }

  reset(): void {
    for (const way of this.#ways) way.stop()
    for (const socket of [this.#near, this.#far]) {
      // A socket that is still connecting cannot be reset.
      if (socket.connecting) socket.destroy()
      else socket.resetAndDestroy()
    }
    this.#end()
  }

  #end(): void {
    if (this.#over) return
    this.#over = true
    this.#gone()
  }
}

/** One direction of a connection: a queue of what came, with the time at which each piece is due. */
class Way {
  readonly #from: Socket
  readonly #to: Socket
  readonly #weather: Weather
  #queue: { bytes: Buffer; at: number }[] = []
  #held = 0
  /** Until when the line is busy with what was queued, milliseconds. */
  #busyUntil = 0
  #ended = false
  #stopped = false
  #timer: NodeJS.Timeout | null = null

  constructor(from: Socket, to: Socket, weather: Weather) {
    this.#from = from
    this.#to = to
    this.#weather = weather
    from.on('data', (bytes) => this.#take(bytes))
    from.on('end', () => {
      this.#ended = true
      this.#deliver()
    })
    to.on('drain', () => this.#deliver())
  }

  /** The weather changed. */
  wake(): void {
    // What was queued under other conditions is due as the new ones say, at the latest.
    if (this.#weather.slowness === null) for (const piece of this.#queue) piece.at = 0
    this.#deliver()
  }

  stop(): void {
    this.#stopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#queue = []
  }

  #take(bytes: Buffer): void {
    const { slowness } = this.#weather
    const now = performance.now()
    for (let from = 0; from < bytes.length; from += PIECE) {
      const piece = bytes.subarray(from, from + PIECE)
      if (slowness === null) this.#queue.push({ bytes: piece, at: 0 })
      else {
        this.#busyUntil = Math.max(this.#busyUntil, now) + (piece.length / slowness.bytesPerSecond) * 1000
        this.#queue.push({ bytes: piece, at: this.#busyUntil + slowness.latency })
      }
    }
    this.#held += bytes.length
    if (this.#held > HELD_MAX) this.#from.pause()
    this.#deliver()
  }

  #deliver(): void {
    if (this.#stopped) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    const now = performance.now()
    while (!this.#weather.silent && !this.#to.writableNeedDrain) {
      const [first] = this.#queue
      if (first === undefined) break
      if (first.at > now) {
        this.#timer = setTimeout(() => this.#deliver(), first.at - now)
        return
      }
      this.#queue.shift()
      this.#held -= first.bytes.length
      this.#to.write(first.bytes)
    }
    if (this.#held <= HELD_MAX && this.#from.isPaused()) this.#from.resume()
    if (this.#ended && this.#queue.length === 0 && !this.#weather.silent) this.#to.end()
  }
}
