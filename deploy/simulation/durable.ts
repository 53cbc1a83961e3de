import { Batches } from '../../shared/bus/batches.ts'
import type { ConsumeOptions, Service } from '../../shared/bus/bus.ts'
import { silentLog } from '../../shared/log.ts'
import type { SimulatedProcess, World } from './world.ts'

/** As the real bus is set up (shared/bus/nats.ts). Milliseconds, and messages a consumer takes ahead. */
const ACK_WAIT = 10_000
const PULLED_MAX = 64
const DUPLICATE_WINDOW = 120_000

/** A message of the stream: waiting, or given to `taker` until its acknowledgement is overdue. */
interface Message {
  sequence: number
  text: string
  taker: Taker | null
  /** Rises with every delivery: what a former one says about it is late. */
  delivery: number
  deadline: number
  /** Not before. */
  notBefore: number
}

interface Taker {
  process: SimulatedProcess
  outstanding: number
  stopped: boolean
  receive(message: Message, delivery: number): void
}

/** How long a word takes between a process and the stream, and whether it gets there: null = it is lost. */
export interface Path {
  toStream(process: SimulatedProcess, what: string): number | null
  fromStream(process: SimulatedProcess, what: string): number | null
}

/** A work queue with explicit acknowledgement, as JetStream keeps one: at least once, in no promised order after a redelivery. */
export interface Durable {
  /** What arrived at the stream; false = it was there already. */
  store(id: string, text: string): boolean
  consume(process: SimulatedProcess, options: ConsumeOptions, handle: (events: unknown[]) => Promise<void>): Service
  /** Nothing waits and nothing is being handled. */
  readonly empty: boolean
  /** After everything stored so far, and whether all before such a mark is acknowledged; without one: all there is. */
  readonly mark: number
  consumed(before?: number): boolean
  /** Messages delivered more than once. */
  readonly redelivered: number
  /** For sabotage: every stored message is delivered to consumers as this says. */
  alter: ((events: unknown[]) => unknown[]) | null
  stop(): void
}

export function createDurable(world: World, path: Path): Durable {
  const messages: Message[] = []
  const takers: Taker[] = []
  const seen = new Map<string, number>()
  let sequence = 0
  let turn = 0
  let redelivered = 0

  function offer(): void {
    for (const message of messages) {
      if (message.taker !== null || message.notBefore > world.now) continue
      const free = takers.filter((taker) => !taker.stopped && !taker.process.dead && taker.outstanding < PULLED_MAX)
      if (free.length === 0) return
      turn += 1
      give(message, free[turn % free.length] as Taker)
    }
  }

  function give(message: Message, taker: Taker): void {
    message.taker = taker
    message.delivery += 1
    if (message.delivery > 1) redelivered += 1
    message.deadline = world.now + ACK_WAIT
    taker.outstanding += 1
    const delivery = message.delivery
    watch(message, delivery)
    const delay = path.fromStream(taker.process, `delivery ${message.sequence}`)
    if (delay !== null)
      world.after(delay, taker.process, `delivery ${message.sequence}/${delivery}`, () => taker.receive(message, delivery))
  }

  function watch(message: Message, delivery: number): void {
    world.after(message.deadline - world.now, null, `ack wait ${message.sequence}`, () => {
      if (message.delivery !== delivery || message.taker === null) return
      if (message.deadline > world.now) watch(message, delivery)
      else giveBack(message, 0)
    })
  }

  function giveBack(message: Message, pause: number): void {
    if (message.taker !== null) message.taker.outstanding -= 1
    message.taker = null
    message.notBefore = world.now + pause
    if (pause > 0) world.after(pause, null, `again ${message.sequence}`, offer)
    else offer()
  }

  const durable: Durable = {
    alter: null,
    store(id, text) {
      const before = seen.get(id)
      if (before !== undefined && world.now - before < DUPLICATE_WINDOW) return false
      seen.set(id, world.now)
      sequence += 1
      messages.push({ sequence, text, taker: null, delivery: 0, deadline: 0, notBefore: 0 })
      offer()
      return true
    },
    consume(process, options, handle) {
      const batches = new Batches(process.clock, silentLog, options, handle)
      const say = (message: Message, delivery: number, what: string, run: () => void): void => {
        const delay = path.toStream(process, what)
        if (delay === null) return
        world.after(delay, null, `${process.name} ${what} ${message.sequence}`, () => {
          if (message.delivery === delivery && message.taker === taker) run()
        })
      }
      const taker: Taker = {
        process,
        outstanding: 0,
        stopped: false,
        receive(message, delivery) {
          const { events } = JSON.parse(message.text) as { events: unknown[] }
          batches.add({
            events: durable.alter === null ? events : durable.alter(events),
            done: () =>
              say(message, delivery, 'ack', () => {
                taker.outstanding -= 1
                message.taker = null
                messages.splice(messages.indexOf(message), 1)
                offer()
              }),
            again: (pause) => say(message, delivery, 'nak', () => giveBack(message, pause)),
            alive: () =>
              say(message, delivery, 'alive', () => {
                message.deadline = world.now + ACK_WAIT
              }),
          })
        },
      }
      takers.push(taker)
      process.onKill(() => {
        taker.stopped = true
      })
      world.after(0, null, 'pull', offer)
      return {
        async stop() {
          taker.stopped = true
          await batches.stop()
        },
      }
    },
    get empty() {
      return messages.length === 0
    },
    get mark() {
      return sequence + 1
    },
    consumed: (before = Number.POSITIVE_INFINITY) => messages.every((message) => message.sequence >= before),
    get redelivered() {
      return redelivered
    },
    stop() {
      messages.length = 0
      takers.length = 0
    },
  }
  return durable
}
