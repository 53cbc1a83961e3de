import { describe, expect, it } from 'vitest'
import type { UsageEvent } from '../../proto/usage.ts'
import { encodeSocketMessage, SocketMessageParser } from '../../shared/bus/socket-messages.ts'
import { testClock } from '../../shared/clock.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { Call } from '../call.ts'
import { identity } from '../handle.testkit.ts'
import { noObserver } from '../observe.ts'
import type { Route, RouterRuntime } from '../runtime.ts'
import { type Connected, Tap } from './connect.ts'
import { Session, type SessionEnd } from './session.ts'
import { openTurn } from './turns.ts'

/** A session between a client and a provider that the test plays both. */
function scene(options: { refuse?: () => GatewayError | null; hearing?: boolean; later?: boolean; slowDisk?: boolean } = {}) {
  const clock = testClock()
  const booked: UsageEvent[] = []
  const settled: number[] = []
  const writes: (() => void)[] = []
  const sent: string[] = []
  const told: string[] = []
  const ends: SessionEnd[] = []
  const granted: number[] = []
  const state = { keepsUp: true, paused: false, closed: 0, ids: 0, admitted: 0 }
  const parser = new SocketMessageParser(1_000_000)
  let take: (part: Uint8Array | null) => void = () => undefined
  const incoming = {
    closed: false,
    onWritable: null as (() => void) | null,
    data(bytes: Uint8Array) {
      for (const one of parser.push(bytes))
        told.push(one.kind === 'close' ? `close ${one.code}` : Buffer.from(one.payload).toString())
      return state.keepsUp
    },
    receive(taker: typeof take) {
      take = taker
      return (bytes: number) => void granted.push(bytes)
    },
  }
  const route = {
    model: 'gpt-realtime',
    deployment: { id: 'd1' },
    provider: { name: 'openai' },
    limits: null,
    prices: { rateVersion: 'r', input: 1_000_000_000, output: 2_000_000_000 },
  } as unknown as Route
  const call = {
    message: { callId: 'session', take: 1, headers: {} },
    identity,
    endpoint: { name: 'arealtime' },
    options: { endUser: null, tags: [], metadata: null, sessionId: null },
    requestedModel: 'voice',
    modelGroup: 'voice',
    stream: true,
    incoming,
    attempts: [],
    ticket: null,
  } as unknown as Call
  const admission = {
    admit() {
      const refused = options.refuse?.() ?? null
      if (options.later === true) return refused === null ? Promise.resolve(null) : Promise.reject(refused)
      if (refused !== null) throw refused
      state.admitted += 1
      return null
    },
    enter: async () => null,
    leave() {},
    settle: (_call: Call, cost: number) => void settled.push(cost),
  }
  const deps = {
    clock,
    admission,
    observe: noObserver,
    spool: {
      append(event: UsageEvent, written?: () => void) {
        booked.push(event)
        if (options.slowDisk === true) writes.push(() => written?.())
        else written?.()
      },
    },
    routerId: 'r1',
    newId: () => `turn-${++state.ids}`,
    runtime: () => ({}) as RouterRuntime,
    routeOf: (_route: Route, model: string) => ({ ...route, model, prices: null }),
  }
  const tap = new Tap({ opened() {}, refused() {}, failed() {} })
  tap.opened({})
  const socket = {
    send(_kind: string, payload: Uint8Array) {
      sent.push(Buffer.from(payload).toString())
      return true
    },
    pause: () => {
      state.paused = true
    },
    resume: () => {
      state.paused = false
    },
    close: () => {
      state.closed += 1
    },
    destroy() {},
  }
  const connected: Connected = { route, socket, tap, headers: {}, record: {} as Connected['record'], elapsed: 1 }
  const resolution = { group: 'voice', routes: [route], served: [] }
  const turn = openTurn(call, deps)
  const session = new Session(deps, { call, turn, resolution, connected, hearing: options.hearing ?? false }, (end) =>
    ends.push(end),
  )
  session.start()
  return {
    session,
    clock,
    booked,
    settled,
    writes,
    sent,
    told,
    ends,
    granted,
    state,
    incoming,
    tap,
    fromClient: (text: string) => take(encodeSocketMessage({ kind: 'text', payload: Buffer.from(text) })),
    leaves: () => take(encodeSocketMessage({ kind: 'close', code: 1000, reason: '' })),
    fromProvider: (event: object) => tap.message('text', Buffer.from(JSON.stringify(event))),
    answers(input: number, output: number, status = 'completed') {
      tap.message('text', Buffer.from('{"type":"response.created"}'))
      const usage = { input_tokens: input, output_tokens: output }
      tap.message('text', Buffer.from(JSON.stringify({ type: 'response.done', response: { status, usage } })))
    },
  }
}

describe('a session', () => {
  it('books each answer under an id of its own and the session it belongs to', () => {
    const one = scene()
    one.fromClient('a')
    one.answers(10, 5)
    one.fromClient('b')
    one.answers(20, 7, 'failed')
    expect(one.sent).toEqual(['a', 'b'])
    expect(
      one.booked.map(({ callId, sessionId, outcome, attempts }) => [callId, sessionId, outcome, attempts[0]?.usage?.input]),
    ).toEqual([
      ['turn-1', 'session', 'success', 10],
      ['turn-2', 'session', 'failure', 20],
    ])
    expect(one.booked[0]?.attempts[0]?.cost).toBe(one.settled[0])
    expect(one.granted.length).toBe(2)
  })

  it('tells the client of the end of an answer once its entry is on disk, and keeps the order of what follows', () => {
    const one = scene({ slowDisk: true })
    one.answers(1, 1)
    one.fromProvider({ type: 'anything' })
    expect(one.told).toEqual(['{"type":"response.created"}'])
    for (const write of one.writes) write()
    expect(one.told.map((text) => (JSON.parse(text) as { type: string }).type)).toEqual([
      'response.created',
      'response.done',
      'anything',
    ])
  })

  it('asks again before the first message after an answer, not after the answer itself', () => {
    const one = scene()
    one.fromClient('a')
    one.answers(1, 1)
    expect(one.state.admitted).toBe(0)
    one.fromClient('b')
    one.fromClient('c')
    expect(one.state.admitted).toBe(1)
  })

  it('holds messages back while it asks, and keeps their order', async () => {
    const one = scene({ later: true })
    one.fromClient('a')
    one.answers(1, 1)
    one.fromClient('b')
    one.fromClient('c')
    expect(one.sent).toEqual(['a'])
    expect(one.granted).toHaveLength(1)
    await new Promise((resolve) => setImmediate(resolve))
    expect(one.sent).toEqual(['a', 'b', 'c'])
    expect(one.granted).toHaveLength(2)
  })

  it.each([false, true])('ends with the reason where the caller may not go on (later: %s)', async (later) => {
    const one = scene({ later, refuse: () => new GatewayError('budget_exceeded') })
    one.answers(1, 1)
    one.fromClient('b')
    await new Promise((resolve) => setImmediate(resolve))
    expect(one.sent).toEqual([])
    expect(JSON.parse(one.told.at(-1) as string)).toMatchObject({ type: 'error', error: { type: 'budget_exceeded' } })
    expect(one.ends).toMatchObject([{ error: { code: 'budget_exceeded' }, goodbye: { code: 1008 } }])
    expect(one.state.closed).toBe(1)
  })

  it('lets the provider say what an answer used that the client leaves, and estimates where it does not', () => {
    const one = scene()
    one.fromProvider({ type: 'response.created' })
    one.leaves()
    expect(one.sent).toEqual(['{"type":"response.cancel"}'])
    expect(one.ends).toEqual([])
    one.fromProvider({ type: 'response.done', response: { status: 'cancelled', usage: { input_tokens: 3, output_tokens: 2 } } })
    expect(one.booked).toMatchObject([{ outcome: 'cancelled', attempts: [{ usage: { input: 3, output: 2, estimated: false } }] }])
    expect(one.ends).toHaveLength(1)

    const two = scene()
    two.fromProvider({ type: 'response.created' })
    two.fromProvider({ type: 'response.output_text.delta', delta: 'x'.repeat(4_000) })
    two.leaves()
    two.clock.advance(2_000)
    expect(two.booked).toMatchObject([{ outcome: 'cancelled', attempts: [{ usage: { estimated: true } }] }])
    expect(two.booked[0]?.attempts[0]?.usage?.output).toBeGreaterThan(900)
    expect(two.ends).toHaveLength(1)
  })

  it('books what was heard by the prices of the model that heard', () => {
    const one = scene()
    one.fromProvider({ type: 'session.updated', session: { audio: { input: { transcription: { model: 'whisper-1' } } } } })
    one.fromProvider({ type: 'conversation.item.input_audio_transcription.completed', usage: { type: 'duration', seconds: 2 } })
    expect(one.booked).toMatchObject([
      { attempts: [{ model: 'whisper-1', deploymentId: '', usage: { units: { audio_ms_in: 2_000 } } }] },
    ])
  })

  it('slows the provider down for a client that is behind', () => {
    const one = scene()
    one.state.keepsUp = false
    one.fromProvider({ type: 'anything' })
    expect(one.state.paused).toBe(true)
    one.incoming.onWritable?.()
    expect(one.state.paused).toBe(false)
  })

  it('ends between answers when the router drains, gives back what it holds, and only once', () => {
    const one = scene()
    one.fromProvider({ type: 'response.created' })
    one.session.part()
    expect(one.ends).toEqual([])
    one.fromProvider({ type: 'response.done', response: { usage: { input_tokens: 1, output_tokens: 1 } } })
    expect(one.ends).toMatchObject([{ error: null, goodbye: { code: 1001 } }])
    one.session.end()
    one.tap.closed(1000, '')
    expect([one.ends.length, one.settled.length, one.state.closed]).toEqual([1, 1, 1])
    const idle = scene()
    idle.session.part()
    expect([idle.ends.length, idle.settled, idle.booked]).toEqual([1, [0], []])
  })
})
