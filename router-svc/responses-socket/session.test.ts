import { describe, expect, it } from 'vitest'
import type { CallMessage } from '../../proto/call.ts'
import type { WireError } from '../../proto/errors.ts'
import type { IncomingStream } from '../../shared/bus/bus.ts'
import { encodeSocketMessage, SocketMessageParser } from '../../shared/bus/socket-messages.ts'
import { testClock } from '../../shared/clock.ts'
import { GatewayError, toWire } from '../../shared/errors.ts'
import { identity } from '../handle.testkit.ts'
import { CONNECTION_LIMIT, IDLE_LIMIT, ResponsesSession } from './session.ts'

type Event = Record<string, unknown>
const HEAD = { v: 1, status: 200, headers: { 'content-type': 'text/event-stream' } }

/** A connection whose client and whose router the test plays. */
function scene(headers: Record<string, string> = {}) {
  const clock = testClock()
  const told: (Event | string)[] = []
  const granted: number[] = []
  const calls: IncomingStream[] = []
  const state = { keepsUp: true, done: 0, ids: 0, ended: false, failed: null as WireError | null }
  const parser = new SocketMessageParser(1_000_000)
  let take: (part: Uint8Array | null) => void = () => undefined
  const head: CallMessage = {
    ...{ v: 1, callId: 'connection', take: 1, endpoint: 'aresponses_websocket', identity, headers },
    carried: { method: 'GET', path: '/v1/responses', query: '', params: {}, pattern: '/v1/responses' },
  }
  const incoming = {
    head,
    deadline: 6_000_000,
    closed: false,
    onWritable: null as (() => void) | null,
    onCancel: null as ((reason: string) => void) | null,
    start: ({ status }: { status: number }) => void told.push(`start ${status}`),
    data(bytes: Uint8Array) {
      for (const one of parser.push(bytes)) {
        if (one.kind === 'close') told.push(`close ${one.code}`)
        else if (one.kind === 'booking') told.push(`booking ${one.payload.length}`)
        else told.push(JSON.parse(Buffer.from(one.payload).toString()) as Event)
      }
      return state.keepsUp
    },
    end() {
      state.ended = true
    },
    fail(error: WireError) {
      state.failed = error
    },
    receive(taker: typeof take) {
      take = taker
      return (bytes: number) => void granted.push(bytes)
    },
  }
  const session = new ResponsesSession(
    {
      clock,
      take: (stream) => void calls.push(stream),
      newId: () => `call-${++state.ids}`,
      ownId: (_call, key) => `resp_own_${key}`,
    },
    incoming as unknown as IncomingStream,
    () => {
      state.done += 1
    },
  )
  session.start()
  const say = (event: object): void => take(encodeSocketMessage({ kind: 'text', payload: Buffer.from(JSON.stringify(event)) }))
  return {
    ...{ clock, told, granted, calls, state, incoming, session, say },
    part: (bytes: Uint8Array | null) => take(bytes),
    create: (fields: object = {}) => say({ type: 'response.create', model: 'm', input: 'x', ...fields }),
    bodyOf: (index: number) => JSON.parse(Buffer.from(calls[index]?.body as Uint8Array).toString()) as Event,
    headOf: (index: number) => (calls[index] as IncomingStream).head as CallMessage,
    last: () => told.at(-1),
  }
}

function sse(event: Event): Buffer {
  return Buffer.from(`event: ${event['type']}\ndata: ${JSON.stringify(event)}\n\n`)
}

const completed = (id: string, fields: object = {}): Event => ({
  type: 'response.completed',
  response: { id, output: [], previous_response_id: null, ...fields },
})

function finish(stream: IncomingStream | undefined, id: string): void {
  stream?.start(HEAD)
  stream?.data(sse(completed(id)))
  stream?.end()
}

describe('a connection of a Responses client', () => {
  it('makes a call of each message, under its own id and that of the connection, and passes the events on in order', () => {
    const { create, calls, told, bodyOf, headOf } = scene({ 'idempotency-key': 'k', 'user-agent': 'u' })
    create({ store: false })
    expect(headOf(0)).toMatchObject({
      ...{ callId: 'call-1', endpoint: 'aresponses', identity },
      headers: { 'user-agent': 'u', 'x-litellm-session-id': 'connection' },
    })
    expect(headOf(0).carried).toBeUndefined()
    expect(headOf(0).headers['idempotency-key']).toBeUndefined()
    expect(bodyOf(0)).toEqual({ model: 'm', input: 'x', store: false, stream: true })
    const bytes = Buffer.concat([sse({ type: 'response.created', response: { id: 'r1' } }), sse({ type: 'delta', delta: 'é' })])
    calls[0]?.start({ ...HEAD, booking: Buffer.from('owed') })
    for (const byte of bytes) calls[0]?.data(Buffer.from([byte]))
    calls[0]?.data(sse(completed('r1')))
    calls[0]?.end()
    expect(told).toEqual([
      'start 101',
      'booking 4',
      { type: 'response.created', response: { id: 'r1' } },
      { type: 'delta', delta: 'é' },
      completed('r1'),
      'booking 0',
    ])
  })

  it('reads the provider no further while the client is behind, nor the client', () => {
    const { create, calls, state, incoming, granted } = scene()
    create()
    const before = granted.length
    calls[0]?.start(HEAD)
    state.keepsUp = false
    expect(calls[0]?.data(sse({ type: 'delta' }))).toBe(false)
    create()
    expect(granted).toHaveLength(before)
    let resumed = 0
    ;(calls[0] as IncomingStream).onWritable = () => {
      resumed += 1
    }
    state.keepsUp = true
    incoming.onWritable?.()
    expect([resumed, granted.length]).toEqual([1, before + 1])
    expect(calls[0]?.data(sse({ type: 'delta' }))).toBe(true)
  })

  it('names what it goes on from as the client did, where only the connection knows it', () => {
    const { create, calls, bodyOf, last } = scene()
    create({ store: false })
    finish(calls[0], 'r1')
    create({ previous_response_id: 'r1', input: 'y', store: false, stream_id: 'lane' })
    expect(bodyOf(1)).toMatchObject({ input: [{ role: 'user' }, { role: 'user' }] })
    expect(bodyOf(1)['previous_response_id']).toBeUndefined()
    calls[1]?.start(HEAD)
    calls[1]?.data(sse(completed('r2')))
    expect(last()).toEqual({ ...completed('r2', { previous_response_id: 'r1' }), stream_id: 'lane' })
  })

  it('begins anew after a turn that failed', () => {
    const { create, calls, bodyOf, last } = scene()
    create({ store: false })
    finish(calls[0], 'r1')
    create({ previous_response_id: 'r1' })
    calls[1]?.whole({ ...HEAD, status: 500 }, Buffer.from('{"error":{"message":"no","type":"server_error"}}'))
    expect(last()).toBe('booking 0')
    create({ previous_response_id: 'r1' })
    expect(bodyOf(2)['previous_response_id']).toBe('r1')
  })

  it('is told of refusals and of streams that break off, once each', () => {
    const { create, calls, told } = scene()
    create()
    calls[0]?.refuse(toWire(new GatewayError('overloaded')))
    create()
    calls[1]?.start(HEAD)
    calls[1]?.fail(toWire(new GatewayError('provider_error', 'broke off')))
    calls[1]?.end()
    const errors = told.filter((one) => typeof one !== 'string' && one['type'] === 'error')
    expect(errors).toMatchObject([{ status: 503 }, { error: { message: expect.stringContaining('broke off') } }])
    create()
    expect(calls).toHaveLength(3)
  })

  it('makes one response at a time, and takes the next as soon as the last event is out', () => {
    const { create, calls, last } = scene()
    create()
    create()
    expect(last()).toMatchObject({ type: 'error', error: { code: 'response_in_progress' } })
    calls[0]?.start(HEAD)
    calls[0]?.data(sse(completed('r1')))
    create({ input: 'next' })
    expect(calls).toHaveLength(1)
    calls[0]?.end()
    expect(calls).toHaveLength(2)
  })

  it('remembers what it is warmed up with, and asks nobody', () => {
    const { create, calls, told, bodyOf } = scene()
    create({ generate: false, input: 'be brief', instructions: 'i' })
    expect(calls).toHaveLength(0)
    expect(told.slice(1)).toMatchObject([
      { type: 'response.created', response: { id: 'resp_own_call1', status: 'in_progress' } },
      { type: 'response.completed', response: { status: 'completed', output: [], usage: { total_tokens: 0 } } },
    ])
    create({ previous_response_id: 'resp_own_call1', input: 'go' })
    expect((bodyOf(0)['input'] as unknown[]).length).toBe(2)
    create({ generate: false, model: '' })
  })

  it('stops the call of a client that leaves, and hears no more of it', () => {
    const { create, calls, state, part, told } = scene()
    create()
    let reason = ''
    ;(calls[0] as IncomingStream).onCancel = (why) => {
      reason = why
    }
    calls[0]?.start(HEAD)
    part(encodeSocketMessage({ kind: 'close', code: 1000, reason: '' }))
    part(null)
    expect(reason).not.toBe('')
    expect([state.done, state.ended, calls[0]?.closed]).toEqual([1, true, true])
    const before = told.length
    calls[0]?.data(sse(completed('late')))
    calls[0]?.end()
    expect(told).toHaveLength(before)
  })

  it('ends with 1001 when the gateway drains, after the response under way', () => {
    const { create, calls, session, told, state } = scene()
    create()
    session.part()
    expect(state.done).toBe(0)
    finish(calls[0], 'r1')
    expect(told.slice(-3)).toEqual([completed('r1'), 'booking 0', 'close 1001'])
    expect(state.done).toBe(1)
    const other = scene()
    other.create()
    other.session.end()
    expect([other.last(), other.calls[0]?.closed, other.state.done]).toEqual(['close 1001', true, 1])
  })

  it('ends after its longest time, between two responses, and says so', () => {
    const { create, calls, clock, told, state } = scene()
    clock.advance(IDLE_LIMIT - 1)
    create()
    clock.advance(CONNECTION_LIMIT)
    expect(state.done).toBe(0)
    finish(calls[0], 'r1')
    expect(told.slice(-2)).toMatchObject([
      { type: 'error', status: 400, error: { code: 'websocket_connection_limit_reached', type: 'invalid_request_error' } },
      'close 1001',
    ])
    expect([state.done, clock.pending]).toEqual([1, 0])
  })

  it('ends when nothing is asked for long, and not while it answers', () => {
    const { create, calls, clock, state } = scene()
    create()
    clock.advance(IDLE_LIMIT + 1)
    finish(calls[0], 'r1')
    expect([state.done, clock.pending]).toEqual([0, 2])
    const silent = scene()
    silent.clock.advance(IDLE_LIMIT - 1)
    expect(silent.state.done).toBe(0)
    silent.clock.advance(1)
    expect([silent.state.done, silent.last(), silent.clock.pending]).toEqual([1, 'close 1001', 0])
  })

  it('refuses binary messages, and bytes that are no messages end it', () => {
    const { part, last, state } = scene()
    part(encodeSocketMessage({ kind: 'binary', payload: Buffer.from('x') }))
    expect(last()).toMatchObject({ type: 'error', error: { type: 'invalid_request_error' } })
    part(Buffer.from([9, 0, 0, 0, 0]))
    expect([state.failed?.code, state.done]).toEqual(['stream_gap', 1])
  })
})
