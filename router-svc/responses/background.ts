import type { EndpointName } from '../../proto/endpoints.ts'
import type { Clock } from '../../shared/clock.ts'
import { GatewayError, toGatewayError } from '../../shared/errors.ts'
import type { Log } from '../../shared/log.ts'
import { answerHeaders } from '../answer-headers.ts'
import { answeringModel, type Call } from '../call.ts'
import type { ChatRequest, ResponsesClient } from '../canonical/chat.ts'
import type { InputItem, ResponseObject } from '../canonical/responses.ts'
import { errorOf } from '../dialects/openai-responses/error.ts'
import { envelope } from '../dialects/openai-responses/response.ts'
import type { InternalCalls } from '../internal-call.ts'
import { type Fields, isFields } from '../providers/json.ts'
import type { Reply } from '../reply.ts'
import type { KeptResponse } from './kept-response.ts'
import { eventText, isRunning, openingEvents, replayEvents } from './replay.ts'
import { KEEP_DEFAULT, type ResponseStore } from './store.ts'

/**
 * Responses with `background: true` of models whose provider has no such thing: answered as queued, run on here as a call of the same identity and
 * call id, kept in the store of responses, where any router that shares it finds them.
 *
 * States of a response: queued → in_progress → completed | incomplete | failed | cancelled. Whoever finds one running whose lease ran out makes it
 * failed: the router that ran it has died.
 */
export interface Background {
  /** Answers at once and runs on. Rejects with GatewayError `bad_request`, `counters_away`, `overloaded`; then nothing runs. */
  start(call: Call, reply: Reply, input: InputItem[]): Promise<void>
  /** Waits for what runs; what is left after `limit` milliseconds is stopped and becomes failed. Never rejects. */
  drain(limit: number): Promise<void>
}

export interface BackgroundDeps {
  store: ResponseStore
  internal: Pick<InternalCalls, 'run'>
  clock: Clock
  log: Log
}

/** Milliseconds a run is believed in without a sign of its router, and between signs; several may be lost. */
const LEASE = 30_000
const RENEW_EVERY = 10
/** Milliseconds between looks whether somebody cancelled it. */
const LOOK = 1_000
/** Milliseconds one may run. */
const RUN_LIMIT = 3_600_000
/** Milliseconds to write down what became of stopped runs. */
const LAST_WORDS = 2_000

const leaseKey = (key: string): string => `${key}:run`
const wishKey = (key: string): string => `${key}:wish`
/** What a client wants of a response that runs. */
type Wish = 'cancelled' | 'deleted'

interface Run {
  stop(error: GatewayError): void
  done: Promise<ResponseObject>
}

export function createBackground({ store, internal, clock, log }: BackgroundDeps): Background {
  const running = new Set<Run>()

  async function run(call: Call, key: string, kept: KeptResponse, signal: AbortSignal): Promise<ResponseObject> {
    const say = async (response: ResponseObject): Promise<boolean> =>
      store.put(key, JSON.stringify({ ...kept, response } satisfies KeptResponse), KEEP_DEFAULT)
    const stop = new AbortController()
    let wish: Wish | null = null
    let looks = 0
    const look = async (): Promise<void> => {
      looks += 1
      if (looks % RENEW_EVERY === 0) await store.put(leaseKey(key), '1', LEASE)
      wish ??= (await store.get(wishKey(key))) as Wish | null
      if (wish !== null) stop.abort(new GatewayError('cancelled'))
    }
    const looking = clock.every(LOOK, () => {
      look().catch((thrown: unknown) =>
        log.warn({ key, error: (thrown as Error).message }, 'a background run cannot be looked after'),
      )
    })
    let response: ResponseObject = { ...kept.response, status: 'in_progress' }
    try {
      await say(response)
      response = await answered(call, response, AbortSignal.any([signal, stop.signal]))
    } catch (thrown) {
      response = { ...response, status: 'failed', error: errorOf(toGatewayError(thrown)) }
    } finally {
      looking.cancel()
    }
    try {
      wish ??= (await store.get(wishKey(key))) as Wish | null
      if (wish === 'cancelled') response = { ...kept.response, status: 'cancelled' }
      if (wish === 'deleted') await store.delete(key)
      else if (!(await say(response))) {
        const error = { code: 'server_error', message: 'There is no room to keep the answer.' }
        await say({ ...kept.response, status: 'failed', error })
      }
      await Promise.all([store.delete(leaseKey(key)), store.delete(wishKey(key))])
    } catch (thrown) {
      // Its lease runs out, and it becomes failed.
      log.warn({ key, error: (thrown as Error).message }, 'what became of a background run cannot be kept')
    }
    return response
  }

  /** The call itself, made by this router to itself. Rejects with GatewayError. */
  async function answered(call: Call, begun: ResponseObject, signal: AbortSignal): Promise<ResponseObject> {
    const { background: _, stream: __, stream_options: ___, ...body } = call.parsed
    const { 'idempotency-key': ____, ...headers } = call.message.headers
    const { status, body: bytes } = await internal.run({
      identity: call.identity,
      endpoint: call.message.endpoint as EndpointName,
      // Kept by this run alone: the call's own record would for a moment be one that was never in the background.
      body: { ...body, model: call.requestedModel, store: false },
      headers,
      deadline: call.options.timeout ?? RUN_LIMIT,
      callId: call.message.callId,
      signal,
    })
    const answer: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'))
    if (status < 300 && isFields(answer) && Array.isArray(answer['output']))
      return { ...(answer as unknown as ResponseObject), id: begun.id, background: true, store: true }
    const told = isFields(answer) && isFields(answer['error']) ? answer['error']['message'] : null
    const code = status === 429 ? 'rate_limit_exceeded' : 'server_error'
    return { ...begun, status: 'failed', error: { code, message: typeof told === 'string' ? told : 'The response failed.' } }
  }

  return {
    async start(call, reply, input) {
      const client = (call.request as ChatRequest).responses as ResponsesClient
      const [id, key] = [client.id as string, client.key as string]
      if (client.body.store === false) throw unkept()
      const created = Math.floor(clock.now() / 1000)
      const made = envelope({ id, model: answeringModel(call), created, body: client.body })
      const queued: ResponseObject = { ...made, status: 'queued', background: true }
      const kept: KeptResponse = { response: queued, input }
      const headers = answerHeaders(call, null, null, clock.monotonic())
      const leased = await store.put(leaseKey(key), '1', LEASE)
      if (!leased || !(await store.put(key, JSON.stringify(kept), KEEP_DEFAULT)))
        throw new GatewayError('overloaded', 'There is no room to keep a response that runs in the background.')
      const stop = new AbortController()
      const one: Run = { stop: (error) => stop.abort(error), done: run(call, key, kept, stop.signal) }
      running.add(one)
      const done = one.done.finally(() => running.delete(one))
      if (!call.stream) {
        reply.whole(200, { ...headers, 'content-type': 'application/json' }, Buffer.from(JSON.stringify(queued)))
        return
      }
      reply.start({ ...headers, 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })
      const opening = openingEvents(queued).map(
        (event, number): Fields => ({ type: event['type'], sequence_number: number, ...event }),
      )
      reply.write(Buffer.from(eventText(opening)))
      // A client that leaves meanwhile finds the response where it is kept.
      reply.end(eventText(replayEvents(await done), opening.length - 1))
    },

    async drain(limit) {
      const ends = (): Promise<unknown> => Promise.allSettled([...running].map(({ done }) => done))
      await within(clock, limit, ends())
      for (const one of running) one.stop(new GatewayError('draining', 'The router that ran this response was stopped.'))
      await within(clock, LAST_WORDS, ends())
    },
  }
}

async function within(clock: Clock, limit: number, work: Promise<unknown>): Promise<void> {
  await new Promise<void>((resolve) => {
    const timer = clock.after(limit, resolve)
    work.then(() => {
      timer.cancel()
      resolve()
    })
  })
}

function unkept(): GatewayError {
  return new GatewayError('bad_request', 'A response that runs in the background must be stored: leave out store=false.', {
    param: 'store',
  })
}

/** A kept response as it is now: one that runs no more, and was never ended, has failed. */
export async function current(
  store: ResponseStore,
  key: string,
  read: () => Promise<KeptResponse | null>,
): Promise<KeptResponse | null> {
  const found = await read()
  if (found === null || !isRunning(found.response) || (await store.get(leaseKey(key))) !== null) return found
  // It may have ended between the two looks: the lease is given up after the end is written.
  const again = await read()
  if (again === null || !isRunning(again.response)) return again
  const error = { code: 'server_error', message: 'The router that ran this response has gone before it was answered.' }
  const failed: KeptResponse = { ...again, response: { ...again.response, status: 'failed', error } }
  await store.put(key, JSON.stringify(failed), KEEP_DEFAULT)
  return failed
}

/** Asks the router that runs a response to stop it, and says so in what is kept. */
export async function stopRun(store: ResponseStore, key: string, kept: KeptResponse, wish: Wish): Promise<KeptResponse> {
  await store.put(wishKey(key), wish, RUN_LIMIT)
  const stopped: KeptResponse = { ...kept, response: { ...kept.response, status: 'cancelled' } }
  if (wish === 'cancelled') await store.put(key, JSON.stringify(stopped), KEEP_DEFAULT)
  return stopped
}
