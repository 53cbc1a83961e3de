import { expect, it } from 'vitest'
import { NO_TOKENS, type UsageEvent } from '../../proto/usage.ts'
import { WIRE_VERSION } from '../../proto/version.ts'
import { GatewayError, toWire } from '../../shared/errors.ts'
import type { AnswerStream } from './answer-stream.ts'
import { createDesk } from './desk.ts'
import { collect } from './events.ts'
import type { Serving } from './serving.ts'

/** A router as the test plays it. */
function setup() {
  const held: { stream: AnswerStream; finished: () => void }[] = []
  const busy: boolean[] = []
  const desk = createDesk({ onCall: undefined, busy: (some) => busy.push(some), complain: () => {} })
  const serving: Pick<Serving, 'serve'> = {
    serve: (stream, finished) => void held.push({ stream: stream as AnswerStream, finished }),
  }
  const ask = () => desk.open(serving, { endpoint: 'acompletion', body: { model: 'm' }, form: false })
  const last = async () => {
    // The body is made before the call is handed in.
    await Promise.resolve()
    return held.at(-1) as (typeof held)[number]
  }
  return { desk, ask, last, busy }
}

function event(callId: string, fields: Partial<UsageEvent> = {}): UsageEvent {
  const usage = { ...NO_TOKENS, input: 1 }
  const attempt = {
    index: 0,
    deploymentId: 'd',
    provider: 'p',
    model: 'm',
    apiBase: null,
    startedAt: 1,
    firstTokenAt: null,
    endedAt: 2,
  }
  return {
    callId,
    endpoint: 'acompletion',
    stream: false,
    requestedModel: 'm',
    modelGroup: 'm',
    tags: [],
    outcome: 'success',
    status: 200,
    startedAt: 1,
    firstTokenAt: null,
    endedAt: 5,
    attempts: [
      { ...attempt, outcome: 'partial', usage, cost: 3 },
      { ...attempt, index: 1, outcome: 'success', usage, cost: 4 },
    ],
    ...fields,
  } as UsageEvent
}

const HEAD = { v: WIRE_VERSION, status: 200, headers: {} }

it('an answer is whole however many parts it comes in, and its cost is that of all attempts', async () => {
  const { desk, ask, last, busy } = setup()
  const asking = ask()
  const { stream, finished } = await last()
  stream.start(HEAD)
  const begun = await asking
  const whole = collect(begun.stream)
  for (const part of ['a', 'b', 'c']) stream.data(Buffer.from(part))
  expect(begun.slot.report).toBeNull()
  desk.booked(event(stream.id))
  stream.end()
  finished()
  expect(Buffer.from(await whole).toString()).toBe('abc')
  expect(begun.slot.report).toMatchObject({ cost: 7, duration: 4, provider: 'p' })
  expect(busy).toEqual([true, false])
})

it('a fault of the router is told with its cause', async () => {
  const { desk, ask, last } = setup()
  const asking = ask()
  const { stream, finished } = await last()
  const cause = new TypeError('x is not a function')
  desk.caused(stream.id, cause)
  desk.booked(event(stream.id, { outcome: 'failure', status: 500, error: toWire(new GatewayError('internal')) }))
  stream.whole({ ...HEAD, status: 500 }, Buffer.from('{"error":{}}'))
  finished()
  await expect(asking).rejects.toMatchObject({ code: 'internal', name: 'InternalServerError', cause })
})

it('a call that was never booked still ends with an error of this library', async () => {
  const { ask, last } = setup()
  const refused = ask()
  ;(await last()).stream.refuse(toWire(new GatewayError('bad_request', 'no such endpoint')))
  await expect(refused).rejects.toMatchObject({ name: 'BadRequestError', model: 'm', message: 'no such endpoint' })
  const broken = ask()
  const { stream } = await last()
  stream.start(HEAD)
  const { stream: reading } = await broken
  stream.data(Buffer.from('part'))
  stream.fail(toWire(new GatewayError('internal')))
  expect(Buffer.from((await reading.read()) as Uint8Array).toString()).toBe('part')
  await expect(reading.read()).rejects.toMatchObject({ name: 'InternalServerError' })
})

it('a reader that does not read stops the router at its window, and lets it go on at half of it', async () => {
  const { ask, last } = setup()
  const asking = ask()
  const { stream } = await last()
  let resumed = 0
  stream.onWritable = () => {
    resumed += 1
  }
  stream.start(HEAD)
  const { stream: reading } = await asking
  const part = new Uint8Array(16 * 1024)
  expect([1, 2, 3, 4].map(() => stream.data(part))).toEqual([true, true, true, false])
  await reading.read()
  expect(resumed).toBe(0)
  await reading.read()
  expect(resumed).toBe(1)
  expect(stream.data(part)).toBe(true)
})

it('closing ends what runs, and is done when that is booked', async () => {
  const { desk, ask, last } = setup()
  const asking = ask()
  const { stream, finished } = await last()
  const reasons: string[] = []
  stream.onCancel = (reason) => reasons.push(reason)
  let closed = false
  const closing = desk.close().then(() => {
    closed = true
  })
  await expect(asking).rejects.toMatchObject({ code: 'cancelled' })
  expect([closed, reasons]).toEqual([false, ['closed']])
  finished()
  await closing
  await expect(ask()).rejects.toMatchObject({ code: 'cancelled' })
})
