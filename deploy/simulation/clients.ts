import type { Exchange, Handler } from '../../edge/exchange.ts'
import type { Server, ServerDeps } from '../../edge/server.ts'
import type { Random } from './random.ts'
import type { SimulatedProcess, World } from './world.ts'

/** One request as its client makes it. */
export interface Request {
  tag: string
  method: string
  path: string
  headers: Record<string, string>
  body: string
  /** Milliseconds after which it leaves; null = it stays to the end. */
  leaves: number | null
  /** Reads so many bytes in 100 ms; null = as fast as they come. */
  reads: number | null
}

/** What came of it. */
export interface Answer {
  request: Request
  /** Virtual milliseconds. */
  startedAt: number
  endedAt: number | null
  /** `answer`: whole as HTTP has it; `cut`: the connection broke; `refused`: nobody listened; `left`: by the client's own will. */
  how: 'answer' | 'cut' | 'refused' | 'left' | null
  status: number | null
  headers: Record<string, string>
  text: string
}

export interface SimulatedClients {
  /** What `createEdge` listens with in this process. */
  listener(process: SimulatedProcess): (deps: ServerDeps) => Promise<Server>
  send(edge: string, request: Request, done?: (answer: Answer) => void): Answer
  readonly answers: readonly Answer[]
  /** Exchanges that edges have not finished. */
  readonly open: number
}

const LATENCY = 2
/** Bytes after which a socket that nobody reads is full. */
const BUFFER = 2_048
const READ_INTERVAL = 100

interface Door {
  process: SimulatedProcess
  handler: Handler
  exchanges: Set<SimulatedExchange>
  listening: boolean
  onIdle: (() => void) | null
}

export function createSimulatedClients(world: World, random: Random): SimulatedClients {
  const doors = new Map<string, Door>()
  const answers: Answer[] = []
  return {
    answers,
    get open() {
      let open = 0
      for (const { exchanges } of doors.values()) open += exchanges.size
      return open
    },
    listener: (process) => async (deps) => {
      const door: Door = { process, handler: deps.handler, exchanges: new Set(), listening: true, onIdle: null }
      doors.set(process.name, door)
      process.onKill(() => {
        if (doors.get(process.name) === door) doors.delete(process.name)
        for (const exchange of door.exchanges) exchange.hangUp()
      })
      return {
        port: 0,
        get running() {
          return door.exchanges.size
        },
        get connections() {
          return door.exchanges.size
        },
        async drain(limit) {
          door.listening = false
          if (door.exchanges.size === 0) return
          await new Promise<void>((resolve) => {
            const timer = process.clock.after(limit, resolve)
            door.onIdle = () => {
              timer.cancel()
              resolve()
            }
          })
        },
        stop() {
          door.listening = false
          if (doors.get(process.name) === door) doors.delete(process.name)
          for (const exchange of [...door.exchanges]) exchange.cut()
        },
      }
    },
    send(edge, request, done = () => undefined) {
      const answer: Answer = {
        request,
        startedAt: world.now,
        endedAt: null,
        how: null,
        status: null,
        headers: {},
        text: '',
      }
      answers.push(answer)
      const end = (how: NonNullable<Answer['how']>): void => {
        if (answer.how !== null) return
        answer.how = how
        answer.endedAt = world.now
        world.note(`${request.tag} ${how} ${answer.status} ${answer.text.length}`)
        done(answer)
      }
      const door = doors.get(edge)
      if (door === undefined || !door.listening) {
        world.after(LATENCY, null, `${request.tag} refused`, () => end('refused'))
        return answer
      }
      const exchange = new SimulatedExchange(world, random, door, request, answer, end)
      world.after(LATENCY * random.next(), door.process, `request ${request.tag}`, () => {
        // Its client left while it was on its way.
        if (exchange.closed) return
        if (!door.listening) {
          exchange.cut()
          return
        }
        door.exchanges.add(exchange)
        door.handler(exchange)
      })
      // The edge died before it read the request.
      door.process.onKill(() => exchange.hangUp())
      if (request.leaves !== null)
        world.after(request.leaves, null, `${request.tag} leaves`, () => {
          if (answer.how !== null) return
          end('left')
          world.after(LATENCY * random.next(), door.process, `${request.tag} left`, () => exchange.abort())
        })
      return answer
    },
  }
}

class SimulatedExchange implements Exchange {
  readonly method: string
  readonly path: string
  readonly query = ''
  readonly headers: Readonly<Record<string, string>>
  readonly remoteAddress = '192.0.2.1'
  closed = false
  answerHeaders: Readonly<Record<string, string>> = {}
  buffered = 0
  onDrain: ((buffered: number) => void) | null = null
  onAbort: (() => void) | null = null
  readonly #world: World
  readonly #random: Random
  readonly #door: Door
  readonly #request: Request
  readonly #answer: Answer
  readonly #end: (how: NonNullable<Answer['how']>) => void
  #lastAt = 0
  #waiting: Buffer[] = []
  #draining = false
  #ending = false

  constructor(
    world: World,
    random: Random,
    door: Door,
    request: Request,
    answer: Answer,
    end: (how: NonNullable<Answer['how']>) => void,
  ) {
    this.#world = world
    this.#random = random
    this.#door = door
    this.#request = request
    this.#answer = answer
    this.#end = end
    const [path = '/'] = request.path.split('?')
    this.method = request.method
    this.path = path
    this.headers = request.headers
  }

  onBody(part: (bytes: Uint8Array, last: boolean) => void): void {
    const bytes = Buffer.from(this.#request.body)
    this.#world.after(LATENCY * this.#random.next(), this.#door.process, `body ${this.#request.tag}`, () => {
      if (!this.closed) part(bytes, true)
    })
  }

  pauseBody(): void {}
  resumeBody(): void {}

  respond(status: number, headers: Readonly<Record<string, string>>, body: string | Uint8Array): void {
    if (this.closed) return
    this.start(status, headers)
    this.end(body)
  }

  start(status: number, headers: Readonly<Record<string, string>>): void {
    if (this.closed) return
    this.#toClient('head', () => {
      this.#answer.status = status
      this.#answer.headers = { ...this.answerHeaders, ...headers }
    })
  }

  write(bytes: Uint8Array | string): boolean {
    if (this.closed) return true
    const data = Buffer.from(bytes)
    if (this.#request.reads === null) {
      this.#data(data)
      return true
    }
    this.#waiting.push(data)
    this.buffered += data.length
    this.#drain()
    return this.buffered <= BUFFER
  }

  end(bytes?: Uint8Array | string): void {
    if (this.closed) return
    if (bytes !== undefined) this.write(bytes)
    if (this.#waiting.length > 0) {
      this.#ending = true
      return
    }
    this.#finish('answer')
  }

  destroy(): void {
    if (!this.closed) this.#finish('cut')
  }

  cork(run: () => void): void {
    run()
  }

  /** The edge gives the connection up. */
  cut(): void {
    if (this.closed) return
    this.#finish('cut')
    this.onAbort?.()
  }

  /** The client is gone. */
  abort(): void {
    if (this.closed) return
    this.#close()
    this.onAbort?.()
  }

  /** The edge is gone: the client sees it after what was on its way. */
  hangUp(): void {
    if (this.closed) return
    this.closed = true
    this.#toClient('reset', () => this.#end('cut'))
  }

  #finish(how: 'answer' | 'cut'): void {
    this.#close()
    this.#toClient('end', () => this.#end(how))
  }

  #close(): void {
    this.closed = true
    this.#waiting = []
    this.#door.exchanges.delete(this)
    if (this.#door.exchanges.size === 0) this.#door.onIdle?.()
  }

  #data(data: Buffer): void {
    this.#toClient(`data ${data.length}`, () => {
      if (this.#answer.how === null) this.#answer.text += data.toString('latin1')
    })
  }

  #toClient(what: string, run: () => void): void {
    this.#lastAt = Math.max(this.#lastAt, this.#world.now + LATENCY * this.#random.next())
    this.#world.after(this.#lastAt - this.#world.now, null, `${this.#request.tag} ${what}`, run)
  }

  /** The client reads as slowly as it does. */
  #drain(): void {
    if (this.#draining) return
    this.#draining = true
    this.#world.after(READ_INTERVAL, this.#door.process, `${this.#request.tag} reads`, () => {
      this.#draining = false
      if (this.closed) return
      let room = this.#request.reads ?? Number.POSITIVE_INFINITY
      while (room > 0 && this.#waiting.length > 0) {
        const first = this.#waiting[0] as Buffer
        const part = first.subarray(0, room)
        room -= part.length
        this.buffered -= part.length
        this.#data(part)
        if (part.length === first.length) this.#waiting.shift()
        else this.#waiting[0] = first.subarray(part.length)
      }
      if (this.#waiting.length > 0) this.#drain()
      else if (this.#ending) this.#finish('answer')
      this.onDrain?.(this.buffered)
    })
  }
}
