import { afterEach, describe, expect, it } from 'vitest'
import type { StartHead } from '../proto/call.ts'
import { adminIdentity } from '../proto/identity.ts'
import type { IncomingStream } from '../shared/bus/bus.ts'
import { type TestClock, testClock } from '../shared/clock.ts'
import { GatewayError } from '../shared/errors.ts'
import { createMemoryIdempotency } from '../shared/idempotency/memory.ts'
import type { IdempotencyStore } from '../shared/idempotency/store.ts'
import { type Log, silentLog } from '../shared/log.ts'
import { type Call, openCall } from './call.ts'
import { createIdempotency, IDEMPOTENCY_LEASE, type Idempotency, KEPT_ANSWER_MAX } from './idempotency.ts'
import { Reply } from './reply.ts'

const DEADLINE = 600_000
const settled = () => new Promise<void>((resolve) => setImmediate(resolve))

interface Client {
  head: StartHead | null
  text: string
  ended: boolean
  closed: boolean
}

interface Asked {
  key?: string | null
  body?: string
  id?: string
  take?: number
  caller?: string
  endpoint?: string
  model?: string
}

let clock: TestClock
let sequence = 0
const all: Idempotency[] = []
afterEach(() => {
  for (const one of all.splice(0)) one.stop()
  expect(clock.pending).toBe(0)
})

function make(change: (store: IdempotencyStore) => Partial<IdempotencyStore> = () => ({}), log: Log = silentLog) {
  clock = testClock()
  const memory = createMemoryIdempotency({ clock })
  const store = { ...memory, ...change(memory) }
  const idempotency = createIdempotency({ store, clock, log })
  all.push(idempotency)
  return idempotency
}

function callOf(asked: Asked = {}): { call: Call; client: Client; reply: Reply } {
  const client: Client = { head: null, text: '', ended: false, closed: false }
  const add = (bytes: Uint8Array) => {
    client.text += Buffer.from(bytes).toString()
    return true
  }
  const { key = 'key-1', body = '{"model":"gpt"}', id = `call-${sequence++}`, take = 1, caller = 'alice' } = asked
  const incoming = {
    id,
    deadline: DEADLINE,
    head: {
      v: 1,
      callId: id,
      take,
      endpoint: asked.endpoint ?? 'acompletion',
      identity: adminIdentity(caller),
      headers: key === null ? {} : { 'idempotency-key': key },
      ...(asked.model === undefined ? {} : { pathModel: asked.model }),
    },
    get closed() {
      return client.closed || client.ended
    },
    start(head: StartHead) {
      client.head = head
    },
    data: add,
    end() {
      client.ended = true
    },
    whole(head: StartHead, bytes: Uint8Array) {
      client.head = head
      add(bytes)
      client.ended = true
    },
  } as unknown as IncomingStream
  const call = openCall(incoming, clock)
  call.raw = Buffer.from(body)
  return { call, client, reply: new Reply(call) }
}

/** As the router does: replays, or sets the reply to record. */
async function begin(idempotency: Idempotency, asked: Asked = {}) {
  const one = callOf(asked)
  const begun = await idempotency.begin(one.call)
  if (begun?.replay != null) one.reply.whole(begun.replay.status, begun.replay.headers, begun.replay.body)
  else one.reply.recording = begun?.recording ?? null
  return { ...one, replayed: begun?.replay != null }
}

const HEADERS = {
  'content-type': 'application/json',
  'x-litellm-model-id': 'd1',
  'llm_provider-x-request-id': 'r1',
  'x-litellm-response-cost': '0.01',
  'x-litellm-response-duration-ms': '12.000',
  'x-litellm-overhead-duration-ms': '1.000',
  'x-litellm-attempted-retries': '1',
  'x-litellm-key-spend': '1.23',
  'x-ratelimit-remaining-requests': '5',
}

describe('an idempotency key', () => {
  it('that is not sent costs nothing', () => {
    expect(make().begin(callOf({ key: null }).call)).toBeNull()
  })

  it('gives a repeat the whole answer again, free of charge, without what was true of the first only', async () => {
    const idempotency = make()
    const first = await begin(idempotency)
    first.reply.whole(200, { ...HEADERS }, Buffer.from('{"id":"chatcmpl-1"}'))
    await settled()
    expect(first.client).toMatchObject({ text: '{"id":"chatcmpl-1"}', ended: true })
    expect(first.client.head?.headers).toEqual(HEADERS)
    const repeat = await begin(idempotency)
    expect(repeat.replayed).toBe(true)
    expect(repeat.client).toMatchObject({ text: '{"id":"chatcmpl-1"}', ended: true })
    expect(repeat.client.head).toEqual({
      v: 1,
      status: 200,
      headers: {
        'content-type': 'application/json',
        'x-litellm-model-id': 'd1',
        'llm_provider-x-request-id': 'r1',
        'idempotent-replayed': 'true',
        'x-litellm-response-cost': '0',
      },
    })
    expect(idempotency.recording).toBe(0)
  })

  it('gives a repeat every byte of a stream, its end included', async () => {
    const idempotency = make()
    const { reply, client } = await begin(idempotency)
    reply.start({ 'content-type': 'text/event-stream' })
    const bytes = Buffer.from('data: 1\n\n')
    reply.write(bytes)
    // Bytes belong to the bus once written, which may use their memory again.
    bytes.fill(0)
    reply.write(Buffer.from('data: 2\n\n'))
    expect((await begin(idempotency).catch((thrown) => thrown)).code).toBe('idempotency_conflict')
    reply.end('data: [DONE]\n\n')
    await settled()
    expect(client.ended).toBe(true)
    const repeat = await begin(idempotency)
    expect(repeat.client.text).toBe('data: 1\n\ndata: 2\n\ndata: [DONE]\n\n')
    expect(repeat.client.head?.headers['content-type']).toBe('text/event-stream')
  })

  it('has its answer kept before the client sees the end, so that a repeat sent at once finds it', async () => {
    let kept = () => {}
    const idempotency = make((store) => ({
      finish: async (...parameters) => {
        await new Promise<void>((resolve) => {
          kept = resolve
        })
        return store.finish(...parameters)
      },
    }))
    const whole = await begin(idempotency)
    whole.reply.whole(200, {}, Buffer.from('{}'))
    await settled()
    expect(whole.client.ended).toBe(false)
    kept()
    await settled()
    expect(whole.client.ended).toBe(true)
    const stream = await begin(idempotency, { key: 'key-2' })
    stream.reply.start({})
    stream.reply.write(Buffer.from('a'))
    stream.reply.end('b')
    await settled()
    expect(stream.client).toMatchObject({ text: 'ab', ended: false })
    kept()
    await settled()
    expect(stream.client.ended).toBe(true)
  })

  it.each([
    ['body', { body: '{"model":"gpt" }' }],
    ['endpoint', { endpoint: 'atext_completion' }],
    ['model in the path', { model: 'gpt' }],
  ])('with another %s is a conflict', async (_, changed) => {
    const idempotency = make()
    const { reply } = await begin(idempotency)
    const conflict = { code: 'idempotency_conflict', status: 409, message: expect.stringMatching(/another request/) }
    await expect(begin(idempotency, changed)).rejects.toMatchObject({ ...conflict, retryAfter: undefined })
    reply.whole(200, {}, Buffer.from('{}'))
    await settled()
    await expect(begin(idempotency, changed)).rejects.toMatchObject(conflict)
  })

  it('is taken while its call runs, and says when to come back', async () => {
    const idempotency = make()
    await begin(idempotency)
    await expect(begin(idempotency)).rejects.toMatchObject({ code: 'idempotency_conflict', status: 409, retryAfter: 1000 })
  })

  it('belongs to its caller', async () => {
    const idempotency = make()
    const { reply } = await begin(idempotency)
    reply.whole(200, {}, Buffer.from('{"secret":1}'))
    await settled()
    const other = await begin(idempotency, { caller: 'mallory' })
    expect(other.replayed).toBe(false)
    expect(other.client.text).toBe('')
  })

  it.each([
    ['a refusal', (reply: Reply) => reply.fail(new GatewayError('rate_limited'), {}, '')],
    [
      'an error in the stream',
      (reply: Reply) => {
        reply.start({})
        reply.write(Buffer.from('data: 1\n\n'))
        reply.fail(new GatewayError('provider_truncated'), {}, 'data: {"error":{}}\n\n')
      },
    ],
    ['the leaving of the client', (reply: Reply) => reply.drop()],
  ])('is free again after %s', async (_, fail) => {
    const idempotency = make()
    const { reply } = await begin(idempotency)
    fail(reply)
    await settled()
    expect(idempotency.recording).toBe(0)
    const next = await begin(idempotency)
    expect(next.replayed).toBe(false)
    next.reply.whole(200, {}, Buffer.from('{"second":true}'))
    await settled()
    expect((await begin(idempotency)).client.text).toBe('{"second":true}')
  })

  it('keeps an answer that came after its client had left', async () => {
    const idempotency = make()
    const { reply, client } = await begin(idempotency)
    reply.start({})
    reply.write(Buffer.from('a'))
    client.closed = true
    reply.write(Buffer.from('b'))
    reply.end('c')
    await settled()
    expect(client.text).toBe('a')
    expect((await begin(idempotency)).client.text).toBe('abc')
  })

  it('of a further take of the same call goes on, and the first take spoils nothing', async () => {
    const idempotency = make()
    const first = await begin(idempotency, { id: 'call-a' })
    const second = await begin(idempotency, { id: 'call-a', take: 2 })
    expect(second.replayed).toBe(false)
    first.reply.drop()
    await settled()
    await expect(begin(idempotency)).rejects.toMatchObject({ retryAfter: 1000 })
    second.reply.whole(200, {}, Buffer.from('{"take":2}'))
    await settled()
    expect((await begin(idempotency)).client.text).toBe('{"take":2}')
  })

  it('stays known when its answer is too large to keep', async () => {
    const idempotency = make()
    const { reply, client } = await begin(idempotency)
    reply.start({})
    for (let megabyte = 0; megabyte < 9; megabyte += 1) reply.write(Buffer.alloc(1024 * 1024, 'x'))
    reply.end()
    await settled()
    expect(client.text.length).toBeGreaterThan(KEPT_ANSWER_MAX)
    await expect(begin(idempotency)).rejects.toMatchObject({ status: 409, message: expect.stringMatching(/too large to keep/) })
  })

  it.each(['', 'x'.repeat(256), 'a\u0007', 'ü'])('must be 1 to 255 printable characters: not %j', (key) => {
    const idempotency = make()
    expect(() => idempotency.begin(callOf({ key }).call)).toThrow(expect.objectContaining({ code: 'bad_request' }))
  })

  it('may be of any printable characters', async () => {
    expect((await begin(make(), { key: ` ~${'k'.repeat(253)}` })).replayed).toBe(false)
  })

  it('stays taken for as long as its call runs, but not past the deadline of the call', async () => {
    const idempotency = make()
    await begin(idempotency)
    clock.advance(10 * IDEMPOTENCY_LEASE - 1)
    await expect(begin(idempotency)).rejects.toMatchObject({ retryAfter: 1000 })
    // It never ended, which is a fault; the key is free all the same.
    clock.advance(DEADLINE + 2 * IDEMPOTENCY_LEASE)
    expect(idempotency.recording).toBe(0)
    expect((await begin(idempotency)).replayed).toBe(false)
  })

  it('is refused while the store is away, because the promise could not be kept', async () => {
    const away = async (): Promise<never> => {
      throw new GatewayError('counters_away')
    }
    const idempotency = make(() => ({ begin: away }))
    await expect(begin(idempotency)).rejects.toMatchObject({ code: 'counters_away', status: 503 })
  })

  it('does not cost a client the answer when the store goes away meanwhile, and the log says so', async () => {
    const warned: string[] = []
    const log = { ...silentLog, warn: (_: unknown, text: string) => warned.push(text) } as unknown as Log
    const away = async (): Promise<never> => {
      throw new GatewayError('counters_away')
    }
    const idempotency = make(() => ({ finish: away, abandon: away, renew: away }), log)
    const { reply, client } = await begin(idempotency)
    clock.advance(20_000)
    await settled()
    reply.whole(200, {}, Buffer.from('{}'))
    const failing = await begin(idempotency, { key: 'key-2' })
    failing.reply.fail(new GatewayError('rate_limited'), {}, '')
    await settled()
    expect(client.text).toBe('{}')
    expect(failing.client.head?.status).toBe(429)
    expect(warned).toEqual([
      expect.stringMatching(/not renewed/),
      expect.stringMatching(/not kept/),
      expect.stringMatching(/stays taken/),
    ])
  })
})
