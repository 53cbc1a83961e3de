import { createHash } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { StartHead } from '../../proto/call.ts'
import type { WireError } from '../../proto/errors.ts'
import { BODY_CREDIT, CREDIT_MAX, CREDIT_START, FRAME, type FrameKind } from '../../proto/frames.ts'
import { QUEUE, type Role } from '../../proto/subjects.ts'
import { GatewayError } from '../errors.ts'
import type { Bus, IncomingStream, OpenOptions, OutgoingStream } from './bus.ts'

/** What the suite needs of an implementation: processes on one bus, and ways to hurt them. */
export interface BusHarness {
  join(role: Role): Promise<Bus>
  /** Stops a process as SIGSTOP does; what is sent to it waits. */
  freeze(bus: Bus): void
  /** `consumed` heeds its mark; else it waits for everything. */
  marks?: boolean
  thaw(bus: Bus): void
  /** Ends a process without a word. */
  kill(bus: Bus): void
  /** Loses the frames it says yes to, from now on. */
  dropFrames(drop: (kind: FrameKind, seq: number, streamId: string) => boolean): void
  /** Waits for a promise while time passes. */
  until<Value>(promise: Promise<Value>): Promise<Value>
  close(): Promise<void>
}

const OK: StartHead = { v: 1, status: 200, headers: { 'content-type': 'text/plain' } }
const OVERLOADED: WireError = { code: 'overloaded', message: 'full' }
const text = new TextEncoder()
const MEGABYTE = 1024 * 1024

/** A request nobody answers: when it fails, what its process sent before has reached the bus, and some 100 ms went by. */
function roundTrip(bus: Bus): Promise<unknown> {
  return bus.request('test.nobody', null, { timeout: 150 }).catch(() => undefined)
}

/** A promise with its handle. */
function later<Value = void>(): { promise: Promise<Value>; resolve: (value: Value) => void } {
  let resolve: (value: Value) => void = () => {}
  const promise = new Promise<Value>((done) => {
    resolve = done
  })
  return { promise, resolve }
}

/** One opened stream and all its sink heard. */
function opening(
  bus: Bus,
  subject: string,
  options: Partial<OpenOptions> = {},
  onData?: (bytes: Uint8Array, stream: OutgoingStream) => void,
) {
  const heard = {
    events: [] as string[],
    servedBy: '',
    head: null as StartHead | null,
    bytes: [] as Uint8Array[],
    error: null as WireError | null,
  }
  const started = later()
  const done = later()
  const record = {
    heard,
    started: started.promise,
    done: done.promise,
    stream: null as unknown as OutgoingStream,
    text: () => Buffer.concat(heard.bytes).toString(),
  }
  record.stream = bus.open(
    subject,
    {
      id: `s${Math.random().toString(36).slice(2)}`,
      head: { v: 1, take: 1, name: 'call' },
      body: text.encode('body'),
      deadline: 30_000,
      ...options,
    },
    {
      accept(servedBy) {
        heard.servedBy = servedBy
      },
      start(head) {
        heard.events.push('start')
        heard.head = head
        started.resolve()
      },
      data(bytes) {
        if (heard.events.at(-1) !== 'data') heard.events.push('data')
        if (onData !== undefined) onData(bytes, record.stream)
        else {
          heard.bytes.push(bytes)
          record.stream.consumed(bytes.length)
        }
      },
      end(payload) {
        heard.events.push(`end ${JSON.stringify(payload)}`)
        done.resolve()
      },
      error(error) {
        heard.events.push(`error ${error.code}`)
        heard.error = error
        done.resolve()
      },
    },
  )
  return record
}

/** Serves a subject, handing each stream to whoever waits for the next one. */
function serving(bus: Bus, subject: string, handler?: (stream: IncomingStream) => void) {
  const first = later<IncomingStream>()
  const streams: IncomingStream[] = []
  const cancelled = later<string>()
  const service = bus.serve(subject, QUEUE.router, (stream) => {
    streams.push(stream)
    stream.onCancel = (reason) => cancelled.resolve(reason)
    handler?.(stream)
    first.resolve(stream)
  })
  return { streams, first: first.promise, cancelled: cancelled.promise, service }
}

/** Sends `size` bytes, at most as fast as the stream lets it; counts what it produced. */
function produce(stream: IncomingStream, size: number, chunk: Uint8Array) {
  const state = { produced: 0, hash: createHash('sha256'), stalls: 0 }
  const pump = () => {
    while (state.produced < size && !stream.closed) {
      const bytes = chunk.subarray(0, Math.min(chunk.length, size - state.produced))
      state.produced += bytes.length
      state.hash.update(bytes)
      if (stream.data(bytes)) continue
      state.stalls += 1
      return
    }
    stream.end(null)
  }
  stream.onWritable = pump
  stream.start(OK)
  pump()
  return state
}

/** The contract of the bus. */
export function busSuite(name: string, make: () => Promise<BusHarness>): void {
  describe(`bus: ${name}`, () => {
    let harness: BusHarness
    let edge: Bus
    let router: Bus
    let subject: string
    const until = <Value>(promise: Promise<Value>) => harness.until(promise)

    beforeEach(async () => {
      harness = await make()
      edge = await harness.join('edge')
      router = await harness.join('router')
      subject = edge.subjects.call('default')
    })
    afterEach(() => harness.close())

    describe('a stream', () => {
      it('carries head, body and deadline to the server and a whole answer back', async () => {
        const seen = serving(router, subject, (stream) => stream.whole(OK, text.encode('answer'), { tokens: 3 }))
        const call = opening(edge, subject, { deadline: 5_000 })
        await until(call.done)
        const [stream] = seen.streams
        expect(stream?.head).toEqual({ v: 1, take: 1, name: 'call' })
        expect(Buffer.from(stream?.body ?? []).toString()).toBe('body')
        expect(stream?.deadline).toBeGreaterThan(4_000)
        expect(stream?.deadline).toBeLessThanOrEqual(5_000)
        expect(stream?.closed).toBe(true)
        expect(call.heard.head).toEqual(OK)
        expect(call.text()).toBe('answer')
        expect(call.heard.events).toEqual(['start', 'data', 'end {"tokens":3}'])
      })

      it('says who took it when the answer does not come at once', async () => {
        const seen = serving(router, subject)
        const call = opening(edge, subject)
        const stream = await until(seen.first)
        stream.start(OK)
        await until(call.started)
        expect(call.heard.servedBy).toBe(router.id)
        stream.end()
        await until(call.done)
      })

      it('delivers data in the order sent', async () => {
        const seen = serving(router, subject)
        const call = opening(edge, subject)
        const stream = await until(seen.first)
        stream.start(OK)
        for (let n = 0; n < 500; n++) stream.data(text.encode(`${n},`))
        stream.end({ last: true })
        await until(call.done)
        expect(call.text()).toBe(Array.from({ length: 500 }, (_, n) => `${n},`).join(''))
        expect(call.heard.events).toEqual(['start', 'data', 'end {"last":true}'])
      })

      it('keeps many streams apart', async () => {
        serving(router, subject, (stream) => {
          const { name: called } = stream.head as { name: string }
          stream.start(OK)
          for (let n = 0; n < 20; n++) stream.data(text.encode(`${called}${n} `))
          stream.end()
        })
        const calls = Array.from({ length: 200 }, (_, n) => opening(edge, subject, { head: { v: 1, name: `call${n}-` } }))
        for (const [n, call] of calls.entries()) {
          await until(call.done)
          expect(call.text()).toBe(Array.from({ length: 20 }, (_, at) => `call${n}-${at} `).join(''))
        }
      })

      it('may answer nothing', async () => {
        serving(router, subject, (stream) => stream.whole({ ...OK, status: 204 }, new Uint8Array(0)))
        const call = opening(edge, subject, { body: new Uint8Array(0) })
        await until(call.done)
        expect(call.heard.head?.status).toBe(204)
        expect(call.heard.events).toEqual(['start', 'end null'])
      })

      it('fails before and after its start with the error of the server', async () => {
        const error: WireError = { code: 'provider_error', message: 'no', status: 529, retryAfter: 50, providerCode: 'x' }
        const early = serving(router, subject, (stream) => stream.fail(error))
        const before = opening(edge, subject)
        await until(before.done)
        expect(before.heard.error).toEqual(error)
        await early.service.stop()
        serving(router, subject, (stream) => {
          stream.start(OK)
          stream.data(text.encode('half'))
          stream.fail(error)
        })
        const after = opening(edge, subject)
        await until(after.done)
        expect(after.text()).toBe('half')
        expect(after.heard.events).toEqual(['start', 'data', 'error provider_error'])
      })

      it('fails as internal when the handler throws, without showing why', async () => {
        serving(router, subject, () => {
          throw new Error('a secret')
        })
        const call = opening(edge, subject)
        await until(call.done)
        expect(call.heard.error?.code).toBe('internal')
        expect(JSON.stringify(call.heard.error)).not.toContain('secret')
      })

      it('is cancelled when its sink throws', async () => {
        const seen = serving(router, subject)
        opening(edge, subject, {}, () => {
          throw new Error('client code')
        })
        const stream = await until(seen.first)
        stream.start(OK)
        stream.data(text.encode('x'))
        expect(await until(seen.cancelled)).toBe('sink failed')
      })

      it('refuses an id that could reach another subject', async () => {
        serving(router, subject)
        const call = opening(edge, subject, { id: 'a.b' })
        await until(call.done)
        expect(call.heard.error?.code).toBe('internal')
      })
    })

    describe('loss', () => {
      it('ends a stream that lost a data frame with stream_gap and stops its server', async () => {
        harness.dropFrames((kind, seq) => kind === FRAME.data && seq === 4)
        const seen = serving(router, subject)
        const call = opening(edge, subject)
        const stream = await until(seen.first)
        stream.start(OK)
        for (let n = 0; n < 10; n++) stream.data(text.encode(`${n}`))
        await until(call.done)
        expect(call.heard.events).toEqual(['start', 'data', 'error stream_gap'])
        expect('0123456789'.startsWith(call.text())).toBe(true)
        expect(await until(seen.cancelled)).toBe('stream_gap')
      })

      it('ends a stream that lost a credit frame with stream_gap at both ends', async () => {
        harness.dropFrames((kind, seq) => kind === FRAME.credit && seq === 0)
        const seen = serving(router, subject, (stream) => void produce(stream, MEGABYTE, new Uint8Array(4_096)))
        const full = later()
        let received = 0
        const call = opening(edge, subject, {}, (bytes) => {
          received += bytes.length
          if (received === CREDIT_START) full.resolve()
        })
        await until(full.promise)
        // Long enough for the reader to count as a slow one, whose next grant comes after the same amount.
        await until(roundTrip(router))
        call.stream.consumed(CREDIT_START / 2)
        call.stream.consumed(CREDIT_START / 2)
        await until(call.done)
        expect(call.heard.error?.code).toBe('stream_gap')
        expect(await until(seen.cancelled)).toBe('stream_gap')
      })

      it('ends a body that lost a part with stream_gap', async () => {
        harness.dropFrames((kind, seq) => kind === FRAME.body && seq === 1)
        const failure = later<GatewayError>()
        serving(router, subject, (stream) => void stream.collect(64 * MEGABYTE).catch(failure.resolve))
        const call = opening(edge, subject, { body: source(8 * MEGABYTE).body })
        expect((await until(failure.promise)).code).toBe('stream_gap')
        await until(call.done)
        expect(call.heard.error?.code).toBe('stream_gap')
      })
    })

    describe('size', () => {
      it('brings 64 MB up, holding no more than the granted body credit', async () => {
        const up = source(64 * MEGABYTE)
        const got = later<Uint8Array>()
        const seen = serving(router, subject, (stream) => {
          expect(stream.body).toBeNull()
        })
        const call = opening(edge, subject, { body: up.body })
        const stream = await until(seen.first)
        await until(up.pausedOnce)
        // Nobody collects yet: the source was stopped one part past the credit.
        expect(up.state.pushed).toBeLessThanOrEqual(BODY_CREDIT + 2 * up.part)
        stream.collect(64 * MEGABYTE).then(got.resolve)
        const body = await until(got.promise)
        expect(body.length).toBe(64 * MEGABYTE)
        expect(createHash('sha256').update(body).digest('hex')).toBe(up.state.hash.digest('hex'))
        expect(up.state.pushedWhilePaused).toBe(0)
        stream.whole(OK, text.encode('got it'))
        await until(call.done)
        expect(call.text()).toBe('got it')
      })

      it('brings a body up that is larger than a message but already held', async () => {
        const body = new Uint8Array(3 * MEGABYTE).map((_, at) => at * 7)
        const got = later<Uint8Array>()
        serving(router, subject, (stream) => {
          stream.collect(4 * MEGABYTE).then((bytes) => {
            got.resolve(bytes)
            stream.whole(OK, text.encode('ok'))
          })
        })
        const call = opening(edge, subject, { body })
        expect(Buffer.compare(await until(got.promise), body)).toBe(0)
        await until(call.done)
      })

      it('hands a body out part by part, and lets no more come than was consumed', async () => {
        const up = source(8 * MEGABYTE)
        const got = later<void>()
        const hash = createHash('sha256')
        let held = 0
        let most = 0
        let release: (() => void) | null = null
        serving(router, subject, (stream) => {
          const consumed = stream.receive((part) => {
            if (part === null) {
              stream.whole(OK, text.encode('heard'))
              got.resolve()
              return
            }
            hash.update(part)
            held += part.length
            most = Math.max(most, held)
            if (release === null) {
              release = () => {
                release = null
                consumed(held)
                held = 0
              }
              setImmediate(() => release?.())
            }
          })
        })
        const call = opening(edge, subject, { body: up.body })
        await until(got.promise)
        await until(call.done)
        expect(call.text()).toBe('heard')
        expect(hash.digest('hex')).toBe(up.state.hash.digest('hex'))
        expect(most).toBeLessThanOrEqual(BODY_CREDIT + 1_000)
      })

      it('hands out a body that came whole, and its end', async () => {
        const parts: (string | null)[] = []
        serving(router, subject, (stream) => {
          stream.receive((part) => parts.push(part === null ? null : Buffer.from(part).toString()))
          stream.whole(OK, new Uint8Array(0))
        })
        await until(opening(edge, subject, { body: text.encode('whole') }).done)
        expect(parts).toEqual(['whole', null])
      })

      it('rejects a body past the limit', async () => {
        const failure = later<GatewayError>()
        serving(router, subject, (stream) => void stream.collect(2 * MEGABYTE).catch(failure.resolve))
        const call = opening(edge, subject, { body: source(8 * MEGABYTE).body })
        expect((await until(failure.promise)).code).toBe('body_too_large')
        call.stream.cancel('done')
      })

      it('brings 64 MB down, never more than the window ahead of the reader', async () => {
        let state: ReturnType<typeof produce> | undefined
        let received = 0
        let ahead = 0
        const hash = createHash('sha256')
        const chunk = new Uint8Array(100_000).map((_, at) => at * 31)
        serving(router, subject, (stream) => {
          state = produce(stream, 64 * MEGABYTE, chunk)
        })
        const call = opening(edge, subject, {}, (bytes, stream) => {
          received += bytes.length
          hash.update(bytes)
          ahead = Math.max(ahead, (state?.produced ?? 0) - received + bytes.length)
          stream.consumed(bytes.length)
        })
        await until(call.done)
        expect(call.heard.events).toEqual(['start', 'data', 'end null'])
        expect(received).toBe(64 * MEGABYTE)
        expect(hash.digest('hex')).toBe(state?.hash.digest('hex'))
        expect(ahead).toBeLessThanOrEqual(CREDIT_MAX + chunk.length)
        expect(state?.stalls).toBeGreaterThan(10)
      })

      it('sends a whole answer larger than the window in parts', async () => {
        const answer = new Uint8Array(2 * MEGABYTE).map((_, at) => at * 13)
        serving(router, subject, (stream) => stream.whole(OK, answer, { n: 1 }))
        const call = opening(edge, subject)
        await until(call.done)
        expect(Buffer.compare(Buffer.concat(call.heard.bytes), answer)).toBe(0)
        expect(call.heard.events.at(-1)).toBe('end {"n":1}')
      })

      it('stops a producer after one window when the reader consumes nothing', async () => {
        let state: ReturnType<typeof produce> | undefined
        let received = 0
        const window = later()
        const seen = serving(router, subject, (stream) => {
          state = produce(stream, 8 * MEGABYTE, new Uint8Array(1_000))
        })
        const call = opening(edge, subject, {}, (bytes) => {
          received += bytes.length
          if (received >= CREDIT_START) window.resolve()
        })
        await until(window.promise)
        // A full round trip to the server and back: whatever was under way has arrived.
        await until(roundTrip(edge))
        expect(received).toBe(CREDIT_START)
        expect(state?.produced).toBeLessThanOrEqual(CREDIT_START + 1_000)
        call.stream.cancel('slow')
        expect(await until(seen.cancelled)).toBe('slow')
      })
    })

    describe('cancelling', () => {
      it('stops the server, and the sink hears nothing more', async () => {
        const seen = serving(router, subject)
        const call = opening(edge, subject)
        const stream = await until(seen.first)
        stream.start(OK)
        await until(call.started)
        call.stream.cancel('client left')
        expect(await until(seen.cancelled)).toBe('client left')
        expect(stream.closed).toBe(true)
        expect(stream.data(text.encode('late'))).toBe(false)
        stream.end()
        expect(call.heard.events).toEqual(['start'])
      })

      it('reaches a server that had not accepted yet', async () => {
        const seen = serving(router, subject, (stream) => {
          if (seen.streams.length === 1) stream.whole(OK, text.encode('served'))
        })
        await until(opening(edge, subject).done)
        const call = opening(edge, subject)
        call.stream.cancel('gone at once')
        await until(seen.cancelled)
        expect(call.heard.events).toEqual([])
      })

      it('rejects the body that was being collected', async () => {
        const failure = later<GatewayError>()
        const seen = serving(router, subject, (stream) => void stream.collect(64 * MEGABYTE).catch(failure.resolve))
        const slow = { first: text.encode('a'), pull: () => ({ pause() {}, resume() {} }) }
        const accepted = later()
        const stream = edge.open(
          subject,
          { id: 'upload', head: {}, body: slow, deadline: 10_000 },
          { accept: () => accepted.resolve(), start() {}, data() {}, end() {}, error() {} },
        )
        await until(seen.first)
        await until(accepted.promise)
        stream.cancel('upload stopped')
        expect((await until(failure.promise)).code).toBe('cancelled')
      })
    })

    describe('taking', () => {
      it('goes to another member when the first refuses', async () => {
        const other = await harness.join('router')
        const first = serving(router, subject, (stream) => {
          void first.service.stop()
          stream.refuse(OVERLOADED)
        })
        const call = opening(edge, subject)
        await until(first.first)
        const second = serving(other, subject, (stream) => stream.whole(OK, text.encode('second')))
        await until(call.done)
        expect(call.text()).toBe('second')
        expect(second.streams[0]?.head).toEqual({ v: 1, take: 2, name: 'call' })
        expect(second.streams[0]?.id).toBe(`${call.stream.id}~2`)
      })

      it('fails with the refusal when the second refuses too', async () => {
        const seen = serving(router, subject, (stream) => stream.refuse(OVERLOADED))
        const call = opening(edge, subject)
        await until(call.done)
        expect(call.heard.error).toEqual(OVERLOADED)
        expect(seen.streams.length).toBe(2)
      })

      it('does not go elsewhere when a call fails as overloaded after it was taken', async () => {
        const seen = serving(router, subject)
        const call = opening(edge, subject)
        const stream = await until(seen.first)
        stream.fail(OVERLOADED)
        await until(call.done)
        expect(call.heard.error).toEqual(OVERLOADED)
        expect(seen.streams.length).toBe(1)
      })

      it('fails with no_router when nobody serves', async () => {
        const call = opening(edge, subject)
        await until(call.done)
        expect(call.heard.events).toEqual(['error no_router'])
      })

      it('waits for a server that comes back within a second', async () => {
        const call = opening(edge, subject)
        await until(roundTrip(router))
        expect(call.heard.events).toEqual([])
        serving(router, subject, (stream) => stream.whole(OK, text.encode('back')))
        await until(call.done)
        expect(call.text()).toBe('back')
      })

      it('moves from a frozen taker to another, and cancels the first when it wakes', async () => {
        const other = await harness.join('router')
        const frozen = serving(router, subject, () => {
          frozen.service.stop().then(() => {
            harness.freeze(router)
            left.resolve()
          })
        })
        const left = later()
        const call = opening(edge, subject, { acceptLimit: 200 })
        await until(left.promise)
        const second = serving(other, subject, (stream) => stream.whole(OK, text.encode('second')))
        await until(call.done)
        expect(call.text()).toBe('second')
        expect(second.streams[0]?.head).toMatchObject({ take: 2 })
        harness.thaw(router)
        await until(frozen.cancelled)
        expect(frozen.streams[0]?.closed).toBe(true)
      })

      it('moves to another when the taker dies before it started', async () => {
        const other = await harness.join('router')
        const dying = serving(router, subject)
        const accepted = later()
        const done = later<string>()
        edge.open(
          subject,
          { id: 'moved', head: { take: 1 }, body: text.encode('kept'), deadline: 20_000 },
          {
            accept: () => accepted.resolve(),
            start() {},
            data: (bytes) => done.resolve(Buffer.from(bytes).toString()),
            end() {},
            error: (error) => done.resolve(error.code),
          },
        )
        await until(accepted.promise)
        await dying.service.stop()
        harness.kill(router)
        const second = serving(other, subject, (stream) => stream.whole(OK, stream.body ?? new Uint8Array(0)))
        expect(await until(done.promise)).toBe('kept')
        expect(second.streams[0]?.head).toEqual({ take: 2 })
      })

      it('is not tried again once body parts have left', async () => {
        const dying = serving(router, subject)
        const up = source(8 * MEGABYTE)
        const call = opening(edge, subject, { body: up.body })
        await until(up.pausedOnce)
        await dying.service.stop()
        harness.kill(router)
        await until(call.done)
        expect(call.heard.error?.code).toBe('lost_router')
      })
    })

    describe('lost processes', () => {
      it('fail the streams they had started with lost_router', async () => {
        const seen = serving(router, subject)
        const call = opening(edge, subject)
        const stream = await until(seen.first)
        stream.start(OK)
        stream.data(text.encode('half'))
        await until(call.started)
        harness.kill(router)
        await until(call.done)
        expect(call.heard.events).toEqual(['start', 'data', 'error lost_router'])
      })

      it('have their calls stopped where they are served', async () => {
        const seen = serving(router, subject)
        opening(edge, subject)
        await until(seen.first)
        harness.kill(edge)
        expect(await until(seen.cancelled)).toBe('edge lost')
      })

      it('that leave in good order are known at once', async () => {
        const seen = serving(router, subject)
        const call = opening(edge, subject)
        const stream = await until(seen.first)
        stream.start(OK)
        await until(call.started)
        await until(router.close())
        await until(call.done)
        expect(call.heard.error?.code).toBe('draining')
        expect(edge.fleet().map((member) => member.id)).not.toContain(router.id)
      })
    })

    describe('draining', () => {
      it('ends running streams and leaves new ones to the others', async () => {
        const seen = serving(router, subject)
        const running = opening(edge, subject)
        const stream = await until(seen.first)
        stream.start(OK)
        const other = await harness.join('router')
        serving(other, subject, (fresh) => fresh.whole(OK, text.encode('other')))
        let drained = false
        const draining = router.drain(20_000).then(() => {
          drained = true
        })
        await until(roundTrip(router))
        for (let n = 0; n < 10; n++) {
          const call = opening(edge, subject)
          await until(call.done)
          expect(call.text()).toBe('other')
        }
        expect(drained).toBe(false)
        stream.data(text.encode('to the end'))
        stream.end()
        await until(running.done)
        await until(draining)
        expect(running.text()).toBe('to the end')
        expect(seen.streams.length).toBe(1)
      })

      it('gives up after its limit', async () => {
        const seen = serving(router, subject)
        opening(edge, subject)
        const stream = await until(seen.first)
        await until(router.drain(100))
        expect(stream.closed).toBe(false)
      })
    })

    describe('deadlines', () => {
      it('end a stream at both ends', async () => {
        const seen = serving(router, subject, (stream) => stream.start(OK))
        const call = opening(edge, subject, { deadline: 300 })
        await until(call.done)
        expect(call.heard.events).toEqual(['start', 'error deadline_exceeded'])
        expect(await until(seen.cancelled)).toBe('deadline_exceeded')
      })
    })

    describe('requests', () => {
      it('are answered', async () => {
        router.respond('test.double', 'q', async (payload) => ({ twice: (payload as { n: number }).n * 2 }))
        expect(await until(edge.request('test.double', { n: 21 }, { timeout: 2_000 }))).toEqual({ twice: 42 })
      })

      it('reject with the code of the responder and without its cause', async () => {
        router.respond('test.fail', 'q', async () => {
          throw new GatewayError('unknown_key', 'no such key', { cause: new Error('table missing') })
        })
        const error = await until(edge.request('test.fail', null, { timeout: 2_000 }).catch((thrown: GatewayError) => thrown))
        expect(error).toMatchObject({ code: 'unknown_key', message: 'no such key', status: 401 })
        expect((error as GatewayError).cause).toBeUndefined()
      })

      it('reject with accounting_away when nobody answers on the subject', async () => {
        const error = await until(edge.request('test.nobody', null, { timeout: 10_000 }).catch((thrown: GatewayError) => thrown))
        expect(error).toMatchObject({ code: 'accounting_away' })
      })

      it('reject with deadline_exceeded when the answer does not come', async () => {
        router.respond('test.slow', 'q', () => new Promise(() => {}))
        const error = await until(edge.request('test.slow', null, { timeout: 400 }).catch((thrown: GatewayError) => thrown))
        expect(error).toMatchObject({ code: 'deadline_exceeded' })
      })

      it('are shared by the members of the queue', async () => {
        const other = await harness.join('accounting')
        let answered = 0
        for (const bus of [router, other]) bus.respond('test.once', 'q', async () => ++answered)
        for (let n = 0; n < 10; n++) await until(edge.request('test.once', null, { timeout: 2_000 }))
        expect(answered).toBe(10)
      })
    })

    describe('changes', () => {
      it('reach every listener of their kind until it stops', async () => {
        const listener = () => {
          const got = later<unknown>()
          return { ...got, all: [] as unknown[] }
        }
        const one = listener()
        const two = listener()
        const stopped = listener()
        edge.onChange('identity', one.resolve)
        router.onChange('identity', two.resolve)
        const service = edge.onChange('identity', (payload) => stopped.all.push(payload))
        edge.onChange('budget', (payload) => stopped.all.push(payload))
        await until(service.stop())
        // Stopped once when its process drains, and again when it ends.
        await until(service.stop())
        // A request after the subscriptions: over a network they are known to the server then.
        await until(roundTrip(router))
        await until(roundTrip(edge))
        router.announce('identity', { keyHash: 'abc' })
        expect(await until(Promise.all([one.promise, two.promise]))).toEqual([{ keyHash: 'abc' }, { keyHash: 'abc' }])
        expect(stopped.all).toEqual([])
      })
    })

    describe('the fleet', () => {
      it('is known by its beats', async () => {
        const other = await harness.join('accounting')
        const known = async () => {
          router.beat({ inFlight: 7, version: '1' })
          for (;;) {
            const ids = edge.fleet().map((member) => member.id)
            if ([edge, router, other].every((bus) => ids.includes(bus.id)) && 'inFlight' in (of(router)?.fields ?? {})) return
            await new Promise((resolve) => setImmediate(resolve))
          }
        }
        const of = (bus: Bus) => edge.fleet().find((member) => member.id === bus.id)
        await until(known())
        expect(of(router)).toMatchObject({ role: 'router', fields: { inFlight: 7, version: '1' } })
        expect(of(router)?.age).toBeLessThan(2_000)
      })
    })

    describe('events', () => {
      it('are handed over in batches, once when all goes well', async () => {
        const seen: unknown[] = []
        let largest = 0
        const all = later()
        router.consume('ledger', { batch: 10, wait: 20 }, async (events) => {
          largest = Math.max(largest, events.length)
          seen.push(...events)
          if (seen.length >= 30) all.resolve()
        })
        const appended = Array.from({ length: 15 }, (_, n) => edge.append('0', [{ id: 2 * n }, { id: 2 * n + 1 }]))
        await until(Promise.all([...appended, all.promise]))
        const ids = (seen as { id: number }[]).map(({ id }) => id).sort((a, b) => a - b)
        expect(ids).toEqual(Array.from({ length: 30 }, (_, n) => n))
        expect(largest).toBeLessThanOrEqual(10)
      })

      it('split an append larger than the batch', async () => {
        const sizes: number[] = []
        const all = later()
        router.consume('ledger', { batch: 10, wait: 20 }, async (events) => {
          sizes.push(events.length)
          if (sizes.reduce((a, b) => a + b) === 25) all.resolve()
        })
        await until(
          Promise.all([
            edge.append(
              '0',
              Array.from({ length: 25 }, (_, id) => ({ id })),
            ),
            all.promise,
          ]),
        )
        expect(Math.max(...sizes)).toBe(10)
      })

      it('come again when handling them failed', async () => {
        const attempts: unknown[][] = []
        const all = later()
        router.consume('ledger', { batch: 10, wait: 10 }, async (events) => {
          attempts.push(events)
          if (attempts.length === 1) throw new Error('database away')
          all.resolve()
        })
        await until(Promise.all([edge.append('0', [{ id: 1 }]), all.promise]))
        expect(attempts).toEqual([[{ id: 1 }], [{ id: 1 }]])
      })

      it('are consumed when they were handled, not while they wait, are being handled or failed', async () => {
        expect(await until(router.consumed('ledger'))).toBe(true)
        const appended = edge.append('0', [{ id: 1 }])
        const [started, release, again] = [later(), later(), later()]
        const turn = () => new Promise<void>((resolve) => setTimeout(resolve, 5))
        let tries = 0
        router.consume('ledger', { batch: 10, wait: 10 }, async () => {
          tries += 1
          if (tries > 1) return again.promise
          started.resolve()
          await release.promise
          throw new Error('database away')
        })
        await until(started.promise)
        expect(await until(router.consumed('ledger'))).toBe(false)
        release.resolve()
        await until(
          (async () => {
            while (tries < 2) {
              expect(await router.consumed('ledger')).toBe(false)
              await turn()
            }
          })(),
        )
        again.resolve()
        await until(appended)
        await until(
          (async () => {
            while (!(await router.consumed('ledger'))) await turn()
          })(),
        )
      })

      it('are consumed up to a mark when those before it were handled, whatever came since', async () => {
        const turn = () => new Promise<void>((resolve) => setTimeout(resolve, 5))
        const [release, handled] = [later(), later()]
        const first = edge.append('0', [{ id: 1 }])
        router.consume('ledger', { batch: 1, wait: 1 }, async ([event]) => {
          if ((event as { id: number }).id === 2) await release.promise
          else handled.resolve()
        })
        await until(handled.promise)
        await until(first)
        const mark = await until(router.appended())
        const second = edge.append('0', [{ id: 2 }])
        if (harness.marks) {
          await until(
            (async () => {
              while (await router.consumed('ledger')) await turn()
              while (!(await router.consumed('ledger', mark))) await turn()
            })(),
          )
          expect(await until(router.consumed('ledger'))).toBe(false)
        }
        release.resolve()
        await until(second)
        await until(
          (async () => {
            while (!(await router.consumed('ledger', mark))) await turn()
          })(),
        )
      })

      it('wait for a consumer, and for the next one when it restarts', async () => {
        const appended = edge.append('0', [{ id: 1 }])
        const failed = later()
        const first = router.consume('ledger', { batch: 10, wait: 10 }, async () => {
          failed.resolve()
          throw new Error('shutting down')
        })
        await until(failed.promise)
        await until(first.stop())
        const got = later<unknown[]>()
        const other = await harness.join('accounting')
        other.consume('ledger', { batch: 10, wait: 10 }, async (events) => got.resolve(events))
        expect(await until(got.promise)).toEqual([{ id: 1 }])
        await until(appended)
      })
    })

    describe('a bucket', () => {
      it('keeps values and mirrors them everywhere', async () => {
        const writer = await router.bucket(router.subjects.runtimeBucket)
        const reader = await edge.bucket(edge.subjects.runtimeBucket)
        expect(await reader.get('runtime')).toBeUndefined()
        const seen: unknown[] = []
        const changed = { at: 0, notify: later() }
        const service = await reader.mirror('runtime', (value) => {
          seen.push(value)
          changed.notify.resolve()
          changed.notify = later()
        })
        expect(seen).toEqual([undefined])
        const write = async (run: () => Promise<void>) => {
          const { promise } = changed.notify
          await run()
          await until(promise)
        }
        await write(() => writer.put('runtime', { revision: 1, names: ['a'] }))
        expect(await reader.get('runtime')).toEqual({ revision: 1, names: ['a'] })
        await write(() => writer.put('runtime', { revision: 2 }))
        await write(() => writer.delete('runtime'))
        expect(seen).toEqual([undefined, { revision: 1, names: ['a'] }, { revision: 2 }, undefined])
        expect(await reader.get('runtime')).toBeUndefined()
        await service.stop()
      })

      it('hands a late mirror the present value before anything else', async () => {
        const bucket = await router.bucket(router.subjects.runtimeBucket)
        const large = { deployments: Array.from({ length: 5_000 }, (_, n) => ({ id: `deployment-${n}`, info: 'x'.repeat(300) })) }
        await bucket.put('runtime', large)
        const seen: unknown[] = []
        await (await edge.bucket(edge.subjects.runtimeBucket)).mirror('runtime', (value) => seen.push(value))
        expect(seen).toEqual([large])
      })
    })
  })
}

/** A body of `size` bytes that pushes as long as it is not paused, in parts. */
function source(size: number, part = 100_000) {
  const first = new Uint8Array(1_000).fill(1)
  const hash = createHash('sha256').update(first)
  const state = { pushed: first.length, pushedWhilePaused: 0, hash }
  const paused = later()
  let isPaused = false
  const body = {
    first,
    pull(push: (bytes: Uint8Array | null) => void) {
      const pump = () => {
        while (!isPaused && state.pushed < size) {
          const bytes = new Uint8Array(Math.min(part, size - state.pushed)).fill(state.pushed % 251)
          state.pushed += bytes.length
          hash.update(bytes)
          push(bytes)
        }
        if (isPaused || state.pushed < size) return
        state.pushed = Number.POSITIVE_INFINITY
        push(null)
      }
      setImmediate(pump)
      return {
        pause() {
          isPaused = true
          paused.resolve()
        },
        resume() {
          isPaused = false
          setImmediate(pump)
        },
      }
    },
  }
  return { body, state, part, pausedOnce: paused.promise }
}
