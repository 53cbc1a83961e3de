import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ACCEPT_LIMIT, BEAT_IDLE, BEAT_LIMIT, BODY_CREDIT, FRAME, type FrameKind, type OpenMessage } from '../../proto/frames.ts'
import { subjects } from '../../proto/subjects.ts'
import { DeadlineWheel, testClock } from '../clock.ts'
import { silentLog } from '../log.ts'
import type { BodySource, IncomingStream, ReplySink, StreamHandler } from './bus.ts'
import { CONNECTION, SERVES, SWEEP_INTERVAL } from './fleet.ts'
import { type Link, Streams } from './stream.ts'
import { WindowPool } from './window.ts'

interface Frame {
  to: 'opener' | 'server'
  id: string
  kind: FrameKind
  seq: number
  payload: unknown
}

/** Both ends of streams with a wire between them that delivers when told. */
function pair(handler: StreamHandler, poolSize?: number) {
  const clock = testClock()
  const wire: Frame[] = []
  const offers: OpenMessage[] = []
  /** To whom each offer went, beside the queue group. */
  const addressed: (string | null)[] = []
  const state = { writable: true }
  /** What the beats of both say. */
  const told: { router: Record<string, number>; edge: Record<string, number> } = {
    router: { [CONNECTION]: 0 },
    edge: { [CONNECTION]: 0 },
  }
  const link = (id: string): Link => ({
    id,
    subjects: subjects(),
    clock,
    wheel: new DeadlineWheel(clock),
    log: silentLog,
    inlineMax: 1_000,
    acceptHold: 0,
    lossy: true,
    get writable() {
      return state.writable
    },
    offer(_subject, message, to) {
      addressed.push(to)
      offers.push(message)
      return true
    },
    toOpener: (address, kind, seq, payload) => void wire.push({ to: 'opener', id: address.id, kind, seq, payload }),
    toServer: (_servedBy, streamId, kind, seq, payload) => void wire.push({ to: 'server', id: streamId, kind, seq, payload }),
    cancelAnywhere: (streamId, reason) =>
      void wire.push({ to: 'server', id: streamId, kind: FRAME.cancel, seq: 0, payload: reason }),
  })
  const opener = new Streams(link('edge-1'), new WindowPool(poolSize))
  const server = new Streams(link('router-1'))
  const deliver = () => {
    for (const message of offers.splice(0)) server.offered(message, handler)
    const frame = wire.shift()
    if (frame?.to === 'opener') opener.forOpener(frame.id, frame.kind, frame.seq, frame.payload)
    else if (frame !== undefined) server.forServer(frame.id, frame.kind, frame.seq, frame.payload)
    return frame
  }
  const settle = () => {
    while (deliver() !== undefined || offers.length > 0);
  }
  /** Time passes for both processes, whose beats are heard. */
  const pass = (milliseconds: number) => {
    for (let at = 0; at < milliseconds; at += SWEEP_INTERVAL) {
      clock.advance(SWEEP_INTERVAL)
      opener.fleet.heard('router', 'router-1', told.router)
      server.fleet.heard('edge', 'edge-1', told.edge)
      opener.sweep()
      server.sweep()
      settle()
    }
  }
  return { clock, wire, offers, addressed, opener, server, deliver, settle, pass, state, told }
}

function recorder() {
  const bytes: Uint8Array[] = []
  const heard: string[] = []
  const sink: ReplySink = {
    start: () => void heard.push('start'),
    data: (part) => void bytes.push(part),
    end: () => void heard.push('end'),
    error: (error) => void heard.push(error.code),
  }
  return { sink, heard, bytes, all: () => Buffer.concat(bytes) }
}

/** Milliseconds a deadline may be late: the wheel turns in steps. */
const WHEEL_TICKS = 100
const OPTIONS = { head: { take: 1 }, body: new Uint8Array(0), deadline: 600_000 }
const OK = { v: 1, status: 200, headers: {} }

describe('stream', () => {
  it('delivers the same bytes in order, however they are cut and however credit flows', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 30_000 }),
        fc.array(fc.integer({ min: 1, max: 9_000 }), { minLength: 1, maxLength: 20 }),
        fc.array(fc.integer({ min: 1, max: 5_000 }), { minLength: 1, maxLength: 20 }),
        fc.integer({ min: 2_048, max: 100_000 }),
        fc.boolean(),
        (bytes, cuts, reads, poolSize, heedful) => {
          let served: IncomingStream | undefined
          const { opener, settle } = pair((stream) => {
            served = stream
          }, poolSize)
          const { sink, heard, bytes: got, all } = recorder()
          const stream = opener.open('x', { ...OPTIONS, id: 'a' }, sink)
          settle()
          const source = served
          if (source === undefined) throw new Error('not served')
          let at = 0
          let cut = 0
          const produce = () => {
            while (at < bytes.length) {
              const size = Math.min(cuts[cut++ % cuts.length] ?? 1, bytes.length - at)
              const more = source.data(bytes.slice(at, at + size))
              at += size
              if (!more && heedful) return
            }
            source.end()
          }
          source.start(OK)
          source.onWritable = heedful ? produce : null
          produce()
          settle()
          let read = 0
          let turn = 0
          for (let consumed = 0; heard.at(-1) !== 'end'; turn++) {
            const arrived = got.reduce((sum, part) => sum + part.length, 0)
            read = Math.min(reads[turn % reads.length] ?? 1, arrived - consumed)
            if (read === 0) throw new Error(`stuck after ${consumed} of ${bytes.length}`)
            consumed += read
            stream.consumed(read)
            settle()
          }
          expect(Buffer.compare(all(), bytes)).toBe(0)
          expect(heard).toEqual(['start', 'end'])
          expect(opener.running).toBe(0)
          expect(opener.pool.used).toBe(0)
        },
      ),
    )
  })

  it('delivers a body in parts the same and in order, however it is cut', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 700_000 }), { minLength: 1, maxLength: 8 }),
        fc.boolean(),
        async (sizes, endsWithLast) => {
          let served: IncomingStream | undefined
          const { opener, settle } = pair((stream) => {
            served = stream
          })
          const parts = sizes.map((size, n) => new Uint8Array(size).fill(n + 1))
          let paused = false
          let next = 0
          let push: (part: Uint8Array | null) => void = () => {}
          const body: BodySource = {
            first: new Uint8Array(500).fill(99),
            pull(sink) {
              push = sink
              return {
                pause: () => {
                  paused = true
                },
                resume: () => {
                  paused = false
                },
              }
            },
          }
          opener.open('x', { ...OPTIONS, id: 'a', body }, recorder().sink)
          settle()
          const collected = served?.collect(10_000_000)
          let ended = false
          for (let turns = 0; !ended; turns++) {
            settle()
            if (turns > 1_000) throw new Error('the source stays paused')
            if (paused) continue
            const part = parts[next++]
            if (part !== undefined) push(part)
            if (part === undefined || (endsWithLast && next === parts.length)) {
              push(null)
              ended = true
            }
          }
          settle()
          expect(Buffer.compare((await collected) ?? Buffer.alloc(0), Buffer.concat([body.first, ...parts]))).toBe(0)
        },
      ),
      { numRuns: 40 },
    )
  })

  it('holds at most the body credit until the body is collected', () => {
    const { opener, wire, settle, deliver } = pair(() => {})
    opener.open('x', { ...OPTIONS, id: 'a', body: new Uint8Array(8_000_000) }, recorder().sink)
    let sent = 0
    deliver()
    deliver()
    for (const frame of wire) if (frame.kind === FRAME.body) sent += (frame.payload as Uint8Array).length
    expect(sent).toBeGreaterThan(0)
    settle()
    expect(sent).toBeLessThanOrEqual(BODY_CREDIT)
  })

  it('beats on a silent stream, and lives as long as its deadline', () => {
    const { opener, pass } = pair((stream) => stream.start(OK))
    const { sink, heard } = recorder()
    opener.open('x', { ...OPTIONS, id: 'a' }, sink)
    pass(599_000)
    expect(heard).toEqual(['start'])
    pass(2_000)
    expect(heard).toEqual(['start', 'deadline_exceeded'])
  })

  it('notices a lost end, after which no frame would ever come', () => {
    let served: IncomingStream | undefined
    const { opener, server, wire, pass, settle } = pair((stream) => {
      served = stream
      stream.start(OK)
    })
    const { sink, heard } = recorder()
    opener.open('x', { ...OPTIONS, id: 'a' }, sink)
    settle()
    served?.end()
    expect(wire.pop()?.kind).toBe(FRAME.end)
    expect(server.running).toBe(0)
    pass(3 * BEAT_IDLE)
    expect(heard).toEqual(['start', 'lost_router'])
  })

  it('notices a lost credit, though nothing follows it', () => {
    let served: IncomingStream | undefined
    const { opener, wire, settle, pass } = pair((stream) => {
      served = stream
      stream.start(OK)
    })
    const { sink, heard } = recorder()
    const stream = opener.open('x', { ...OPTIONS, id: 'a' }, sink)
    settle()
    served?.data(new Uint8Array(64 * 1024))
    settle()
    stream.consumed(64 * 1024)
    expect(wire.pop()?.kind).toBe(FRAME.credit)
    pass(3 * BEAT_IDLE)
    expect(heard).toEqual(['start', 'stream_gap'])
    expect(served?.closed).toBe(true)
  })

  describe('after a connection was lost', () => {
    /** A started stream and the losses that both sides' beats tell of. */
    function started(router: Record<string, number> = { [CONNECTION]: 0 }) {
      let served: IncomingStream | undefined
      const scene = pair((stream) => {
        served = stream
        stream.start(OK)
      })
      scene.told.router = router
      scene.opener.fleet.heard('router', 'router-1', router)
      scene.server.fleet.heard('edge', 'edge-1', scene.told.edge)
      const { sink, heard } = recorder()
      const stream = scene.opener.open('x', { ...OPTIONS, id: 'a' }, sink)
      scene.settle()
      return { ...scene, heard, stream, served: served as unknown as IncomingStream }
    }

    for (const whose of ['router', 'edge'] as const) {
      const back = ({ told, opener, server, settle }: ReturnType<typeof started>) => {
        const own = whose === 'router' ? server : opener
        own.reconnected()
        told[whose] = { [CONNECTION]: (told[whose][CONNECTION] ?? 0) + 1 }
        if (whose === 'router') opener.fleet.heard('router', 'router-1', told.router)
        else server.fleet.heard('edge', 'edge-1', told.edge)
        settle()
      }

      it(`an end that was lost is noticed as soon as a lost process would be, when it was the ${whose}'s`, () => {
        const scene = started()
        scene.served.end()
        expect(scene.wire.pop()?.kind).toBe(FRAME.end)
        back(scene)
        scene.pass(BEAT_LIMIT - SWEEP_INTERVAL)
        expect(scene.heard).toEqual(['start'])
        scene.pass(2 * SWEEP_INTERVAL)
        expect(scene.heard).toEqual(['start', 'lost_router'])
      })

      it(`a stream that lost nothing goes on, and a cancel that was lost is told again, when it was the ${whose}'s`, () => {
        const scene = started()
        back(scene)
        scene.pass(3 * BEAT_IDLE)
        expect(scene.heard).toEqual(['start'])
        scene.stream.cancel('client left')
        scene.wire.pop()
        expect(scene.served.closed).toBe(false)
        back(scene)
        expect(scene.served.closed).toBe(true)
      })
    }

    it('a credit on its way when a process returns is no gap', () => {
      const scene = started()
      scene.served.data(new Uint8Array(64 * 1024))
      scene.settle()
      const before = scene.wire.length
      scene.stream.consumed(64 * 1024)
      expect(scene.wire.length).toBe(before + 1)
      // Twice: each connection was cut, and the credit arrives after both have said so.
      const credit = scene.wire.pop() as Frame
      scene.server.reconnected()
      scene.server.reconnected()
      scene.settle()
      scene.wire.push(credit)
      scene.pass(3 * BEAT_IDLE)
      expect(scene.heard).toEqual(['start'])
    })

    it('nothing is expected of a version that does not say what it serves', () => {
      const scene = started({})
      scene.opener.reconnected()
      scene.pass(BEAT_LIMIT + SWEEP_INTERVAL)
      expect(scene.heard).toEqual(['start'])
    })
  })

  it('stops a server whose cancel was lost at its next beat', () => {
    let reason = ''
    const { opener, wire, settle, pass } = pair((stream) => {
      stream.onCancel = (why) => {
        reason = why
      }
      stream.start(OK)
    })
    const stream = opener.open('x', { ...OPTIONS, id: 'a' }, recorder().sink)
    settle()
    stream.cancel('client left')
    expect(wire.pop()?.kind).toBe(FRAME.cancel)
    pass(2 * BEAT_IDLE)
    expect(reason).toBe('no longer wanted')
  })

  it('turns away a message of a newer version, so that a newer member may take it', () => {
    const served: string[] = []
    const { offers, opener, settle } = pair((stream) => served.push(stream.id))
    const { sink, heard } = recorder()
    opener.open('x', { ...OPTIONS, id: 'a' }, sink)
    for (const message of offers) message.v = 99
    settle()
    expect(served).toEqual(['a~2'])
    expect(heard).toEqual([])
  })

  it('is offered a third time when two takers were frozen, and no more', () => {
    const served: unknown[] = []
    const { clock, offers, opener, settle } = pair((stream) => {
      served.push({ id: stream.id, head: stream.head })
      stream.whole(OK, Buffer.from('late'))
    })
    const { sink, heard, all } = recorder()
    opener.open('x', { ...OPTIONS, id: 'a' }, sink)
    for (let frozen = 0; frozen < 2; frozen += 1) {
      expect(offers.splice(0)).toHaveLength(1)
      clock.advance(ACCEPT_LIMIT + WHEEL_TICKS)
    }
    settle()
    expect(served).toEqual([{ id: 'a~3', head: { take: 3 } }])
    expect(heard).toEqual(['start', 'end'])
    expect(all().toString()).toBe('late')

    const other = recorder()
    opener.open('x', { ...OPTIONS, id: 'b' }, other.sink)
    for (let frozen = 0; frozen < 3; frozen += 1) {
      expect(offers.splice(0)).toHaveLength(1)
      clock.advance(ACCEPT_LIMIT + WHEEL_TICKS)
    }
    expect(offers).toEqual([])
    expect(other.heard).toEqual(['no_router'])
  })

  describe('whose queue group has a frozen member', () => {
    const serves = { [SERVES]: ' x ' }
    /** A second passes, in which `beating` beat and the others do not. */
    const second = ({ clock, opener }: ReturnType<typeof pair>, beating: string[]) => {
      for (const id of beating) opener.fleet.heard('router', id, serves)
      for (let sweep = 0; sweep < 1_000 / SWEEP_INTERVAL; sweep += 1) {
        clock.advance(SWEEP_INTERVAL)
        opener.sweep()
      }
    }

    it('is offered again to a member whose beats come, past the group', () => {
      const world = pair(() => undefined)
      second(world, ['frozen', 'well'])
      for (const id of ['a', 'b', 'c', 'd']) world.opener.open('x', { ...OPTIONS, id }, recorder().sink)
      expect(world.addressed.splice(0)).toEqual([null, null, null, null])
      for (let time = 0; time < 3; time += 1) second(world, ['well'])
      expect(world.addressed).toEqual(['well', 'well', 'well', 'well'])
    })

    it('goes past the group at once while a member is silent, until it is heard again or has said goodbye', () => {
      const world = pair(() => undefined)
      const open = (id: string): string | null | undefined => {
        world.opener.open('x', { ...OPTIONS, id }, recorder().sink).cancel('seen')
        return world.addressed.pop()
      }
      second(world, ['frozen', 'well'])
      expect(open('a')).toBeNull()
      for (let time = 0; time < 20; time += 1) second(world, ['well'])
      expect(open('b')).toBe('well')
      second(world, ['frozen', 'well'])
      expect(open('c')).toBeNull()
      for (let time = 0; time < 20; time += 1) second(world, ['well'])
      expect(open('d')).toBe('well')
      world.opener.fleet.left('frozen')
      second(world, ['well'])
      expect(open('e')).toBeNull()
    })

    it('goes to the group after all when the member it was sent to has left', () => {
      const world = pair(() => undefined)
      const { sink, heard } = recorder()
      second(world, ['frozen', 'well'])
      for (let time = 0; time < 3; time += 1) second(world, ['well'])
      world.opener.open('x', { ...OPTIONS, id: 'a' }, sink)
      world.opener.nobody('a')
      expect(world.addressed).toEqual(['well', null])
      expect(heard).toEqual([])
    })

    it('is not offered again to a member that refused it, is draining or not ready', () => {
      const refusing = pair((stream) => stream.refuse({ code: 'overloaded', message: 'behind' }))
      for (const id of ['router-1', 'other']) refusing.opener.fleet.heard('router', id, serves)
      refusing.opener.fleet.heard('router', 'leaving', { ...serves, draining: true })
      refusing.opener.fleet.heard('router', 'full', { ...serves, ready: false })
      for (const id of ['a', 'b', 'c', 'd']) refusing.opener.open('x', { ...OPTIONS, id }, recorder().sink)
      refusing.addressed.splice(0)
      refusing.settle()
      expect(refusing.addressed).toEqual(['other', 'other', 'other', 'other'])
    })

    it('is cancelled wherever it lies when nobody has accepted it in time', () => {
      const cancelled: string[] = []
      const served: string[] = []
      const world = pair((stream) => {
        served.push(stream.id)
        stream.onCancel = (reason) => cancelled.push(`${stream.id}: ${reason}`)
      })
      world.opener.open('x', { ...OPTIONS, id: 'a' }, recorder().sink)
      world.clock.advance(ACCEPT_LIMIT + WHEEL_TICKS)
      // All of it was held up on the way.
      world.settle()
      expect(served).toEqual(['a', 'a~2'])
      expect(cancelled).toEqual(['a: no accept'])
    })
  })

  it('is not offered a third time once two takers have answered, frozen ones aside', () => {
    const served: string[] = []
    const { clock, offers, opener, settle } = pair((stream) => {
      served.push(stream.id)
      stream.refuse({ code: 'overloaded', message: 'full' })
    })
    const { sink, heard } = recorder()
    opener.open('x', { ...OPTIONS, id: 'a' }, sink)
    settle()
    expect(served).toEqual(['a', 'a~2'])
    expect(heard).toEqual(['overloaded'])

    const other = recorder()
    opener.open('x', { ...OPTIONS, id: 'b' }, other.sink)
    offers.splice(0)
    clock.advance(ACCEPT_LIMIT + WHEEL_TICKS)
    settle()
    expect(served.slice(2)).toEqual(['b~2', 'b~3'])
    expect(other.heard).toEqual(['overloaded'])
  })

  it('ignores frames of kinds it does not know', () => {
    let served: IncomingStream | undefined
    const { opener, server, settle, wire } = pair((stream) => {
      served = stream
      stream.start(OK)
    })
    const { sink, heard } = recorder()
    opener.open('x', { ...OPTIONS, id: 'a' }, sink)
    settle()
    opener.forOpener('a', 42 as FrameKind, 2, null)
    server.forServer('a', 42 as FrameKind, 0, null)
    served?.end()
    for (const frame of wire) frame.seq += 1
    settle()
    expect(heard).toEqual(['start', 'end'])
  })

  it('makes producers wait while the link is behind', () => {
    let served: IncomingStream | undefined
    const { opener, server, settle, state } = pair((stream) => {
      served = stream
      stream.start(OK)
    })
    const { sink, bytes } = recorder()
    opener.open('x', { ...OPTIONS, id: 'a' }, sink)
    settle()
    let writable = 0
    if (served !== undefined) {
      served.onWritable = () => {
        writable += 1
      }
    }
    state.writable = false
    expect(served?.data(new Uint8Array(10))).toBe(false)
    settle()
    expect(bytes.length).toBe(1)
    state.writable = true
    server.writable()
    expect(writable).toBe(1)
    expect(served?.data(new Uint8Array(10))).toBe(true)
  })

  it('leaves no timer and no stream behind', () => {
    const { opener, server, settle, clock } = pair((stream) => stream.whole(OK, new Uint8Array(5)))
    for (let n = 0; n < 100; n++) opener.open('x', { ...OPTIONS, id: `s${n}` }, recorder().sink)
    settle()
    expect([opener.running, server.running, clock.pending]).toEqual([0, 0, 0])
  })
})
