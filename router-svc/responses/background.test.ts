import { describe, expect, it } from 'vitest'
import { adminIdentity } from '../../proto/identity.ts'
import { type TestClock, testClock } from '../../shared/clock.ts'
import { GatewayError } from '../../shared/errors.ts'
import { silentLog } from '../../shared/log.ts'
import type { Call } from '../call.ts'
import type { ResponseObject } from '../canonical/responses.ts'
import { fold } from '../dialects/openai-responses/grammar.testkit.ts'
import type { InternalAnswer, InternalRequest } from '../internal-call.ts'
import type { Reply } from '../reply.ts'
import { type Background, createBackground, current, stopRun } from './background.ts'
import type { KeptResponse } from './kept-response.ts'
import { createMemoryResponses } from './memory.ts'
import { eventText, replayEvents } from './replay.ts'
import type { ResponseStore } from './store.ts'

const said = {
  id: 'msg_1',
  type: 'message',
  role: 'assistant',
  status: 'completed',
  content: [{ type: 'output_text', text: 'hi', annotations: [] }],
}

interface Scene {
  clock: TestClock
  store: ResponseStore
  background: Background
  asked: InternalRequest[]
  answer(fields?: Record<string, unknown>, status?: number): void
  /** Answers the first call, and tells what it was answered. */
  start(body?: Record<string, unknown>): Promise<{ whole: ResponseObject | null; text(): string }>
  poll(): Promise<ResponseObject | undefined>
}

function scene(store?: ResponseStore): Scene {
  const clock = testClock()
  const kept = store ?? createMemoryResponses({ clock })
  const asked: InternalRequest[] = []
  let resolve: (answer: InternalAnswer) => void = () => undefined
  const internal = {
    run: (request: InternalRequest) =>
      new Promise<InternalAnswer>((done, fail) => {
        asked.push(request)
        resolve = done
        request.signal?.addEventListener('abort', () => fail(request.signal?.reason))
      }),
  }
  const background = createBackground({ store: kept, internal, clock, log: silentLog })
  return {
    clock,
    store: kept,
    background,
    asked,
    answer(fields = { id: 'resp_inner', object: 'response', status: 'completed', output: [said] }, status = 200) {
      resolve({ status, headers: {}, body: Buffer.from(JSON.stringify(fields)) })
    },
    async start(fields = {}) {
      const body = { model: 'm', input: 'hello', background: true, ...fields }
      const call = {
        identity: adminIdentity('alice'),
        message: { callId: 'c1', endpoint: 'aresponses', headers: { 'idempotency-key': 'k', 'x-other': 'y' } },
        parsed: body,
        request: { model: 'm', messages: [], responses: { body, id: 'resp_1', key: 'k1', unplaced: [] } },
        requestedModel: 'm',
        modelGroup: 'm',
        stream: fields['stream'] === true,
        options: { timeout: null },
        attempts: [],
        ticket: null,
        routing: { defaultPriority: null },
        startedMonotonic: 0,
        incoming: { closed: false },
      } as unknown as Call
      let whole: ResponseObject | null = null
      let text = ''
      const reply = {
        start: () => undefined,
        write: (bytes: Uint8Array) => {
          text += Buffer.from(bytes).toString()
          return true
        },
        end: (last: string) => {
          text += last
        },
        whole: (_: number, __: unknown, bytes: Uint8Array) => {
          whole = JSON.parse(Buffer.from(bytes).toString()) as ResponseObject
        },
      } as unknown as Reply
      const started = background.start(call, reply, [])
      if (fields['stream'] === true) started.catch(() => undefined)
      else await started
      await settled()
      return { whole, text: () => text }
    },
    poll: async () => (await current(kept, 'k1', () => read(kept)))?.response,
  }
}

async function read(store: ResponseStore): Promise<KeptResponse | null> {
  const record = await store.get('k1')
  return record === null ? null : (JSON.parse(record) as KeptResponse)
}

/** Everything that waits for promises alone has gone on. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 50; turn += 1) await Promise.resolve()
}

describe('a response in the background', () => {
  it('goes from queued to in progress to its answer, as the same call without what made it run on', async () => {
    const { start, poll, asked, answer } = scene()
    expect((await start({ stream_options: {} })).whole).toMatchObject({ id: 'resp_1', status: 'queued', background: true })
    expect((await poll())?.status).toBe('in_progress')
    expect(asked[0]).toMatchObject({ callId: 'c1', body: { model: 'm', input: 'hello' }, headers: { 'x-other': 'y' } })
    expect(asked[0]?.body).not.toHaveProperty('background')
    expect(asked[0]?.headers).not.toHaveProperty('idempotency-key')
    answer()
    await settled()
    expect(await poll()).toMatchObject({ id: 'resp_1', status: 'completed', background: true, output: [said] })
  })

  it('lives as long as its router renews it, and has failed once that is gone', async () => {
    const clock = testClock()
    const { start, background: _, ...alive } = scene()
    await start()
    for (let second = 0; second < 120; second += 1) {
      alive.clock.advance(1_000)
      await settled()
    }
    expect((await alive.poll())?.status).toBe('in_progress')

    // What a router left that died: a record, and a lease nobody renews.
    const store = createMemoryResponses({ clock })
    const left: KeptResponse = {
      response: { id: 'resp_1', status: 'in_progress', output: [] } as unknown as ResponseObject,
      input: [],
    }
    await store.put('k1', JSON.stringify(left), 1e9)
    await store.put('k1:run', '1', 30_000)
    expect((await current(store, 'k1', () => read(store)))?.response.status).toBe('in_progress')
    clock.advance(30_001)
    const dead = await current(store, 'k1', () => read(store))
    expect(dead?.response).toMatchObject({
      status: 'failed',
      error: { code: 'server_error', message: expect.stringContaining('has gone') },
    })
    expect((await read(store))?.response.status).toBe('failed')
  })

  it.each([
    ['cancelled', 'cancelled'],
    ['deleted', undefined],
  ] as const)('is stopped when it is %s at another router', async (wish, status) => {
    const { start, store, clock, asked, poll } = scene()
    await start()
    await stopRun(store, 'k1', (await read(store)) as KeptResponse, wish)
    if (wish === 'deleted') await store.delete('k1')
    clock.advance(1_000)
    await settled()
    expect(asked[0]?.signal?.aborted).toBe(true)
    expect((await poll())?.status).toBe(status)
  })

  it('stays cancelled where its answer came all the same', async () => {
    const { start, store, answer, poll } = scene()
    await start()
    await stopRun(store, 'k1', (await read(store)) as KeptResponse, 'cancelled')
    answer()
    await settled()
    expect((await poll())?.status).toBe('cancelled')
  })

  it('fails with what it was answered', async () => {
    const { start, answer, poll } = scene()
    await start()
    answer({ error: { message: 'too many' } }, 429)
    await settled()
    expect(await poll()).toMatchObject({ status: 'failed', error: { code: 'rate_limit_exceeded', message: 'too many' } })
  })

  it('is waited for by a router that stops, and is failed when that takes too long', async () => {
    const { start, background, clock, answer, poll } = scene()
    await start()
    let drained = false
    const draining = background.drain(5_000).then(() => {
      drained = true
    })
    await settled()
    expect(drained).toBe(false)
    clock.advance(5_000)
    await draining
    expect(await poll()).toMatchObject({ status: 'failed', error: { message: expect.stringContaining('was stopped') } })
    answer()
    await settled()
    expect((await poll())?.status).toBe('failed')
  })

  it('is not begun where it cannot be kept', async () => {
    const { start, asked } = scene()
    await expect(start({ store: false })).rejects.toMatchObject({ code: 'bad_request', param: 'store' })
    const full: ResponseStore = { put: async () => false, get: async () => null, delete: async () => false }
    const other = scene(full)
    await expect(other.start()).rejects.toBeInstanceOf(GatewayError)
    expect([...asked, ...other.asked]).toEqual([])
  })

  it('streams its beginning at once and the rest when it is there', async () => {
    const { start, answer } = scene()
    const followed = await start({ stream: true })
    expect(fold(followed.text())).toMatchObject({
      end: 'cut',
      types: ['response.created', 'response.queued', 'response.in_progress'],
    })
    answer()
    await settled()
    expect(fold(followed.text())).toMatchObject({ end: 'completed', text: 'hi' })
  })
})

describe('events of a kept response', () => {
  const response = {
    id: 'resp_1',
    object: 'response',
    status: 'completed',
    output: [
      { id: 'rs_1', type: 'reasoning', summary: [{ type: 'summary_text', text: 'hm' }] },
      {
        id: 'msg_1',
        type: 'message',
        role: 'assistant',
        status: 'completed',
        content: [
          { type: 'output_text', text: 'see', annotations: [{ type: 'url_citation', url: 'https://x' }] },
          { type: 'refusal', refusal: 'no' },
        ],
      },
      { id: 'fc_1', type: 'function_call', call_id: 'c', name: 'f', arguments: '{"a":1}', status: 'completed' },
      { id: 'ctc_1', type: 'custom_tool_call', call_id: 'c', name: 'g', input: 'x' },
      { id: 'ig_1', type: 'image_generation_call', status: 'completed', result: 'AA==' },
    ],
  } as unknown as ResponseObject

  it('are those of a stream, in the order of the protocol', () => {
    const folded = fold(eventText(replayEvents(response)))
    expect(folded).toMatchObject({ end: 'completed', text: 'see', items: response.output })
  })

  it('go on behind any of them', () => {
    const events = replayEvents(response)
    expect(events.map((event) => event['sequence_number'])).toEqual(events.map((_, index) => index))
    expect(eventText(events, 3) + eventText(events, events.length)).toBe(eventText(events.slice(4)))
  })

  it('end as the response did', () => {
    const failed = { ...response, status: 'failed', error: { code: 'server_error', message: 'm' }, output: [] } as ResponseObject
    expect(fold(eventText(replayEvents(failed)))).toMatchObject({ end: 'failed', error: { message: 'm' } })
    expect(replayEvents({ ...failed, status: 'cancelled' }).at(-1)?.['type']).toBe('response.cancelled')
  })
})
