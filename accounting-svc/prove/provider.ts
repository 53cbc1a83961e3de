import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Clock } from '../../shared/clock.ts'
import type { CallPlan, Stated } from './plan.ts'

/** One request the provider took and would bill: what it stated, null when the answer was cut before it came to that. */
export interface Charge {
  stated: Stated | null
}

/** What the provider did for one call. */
export interface Served {
  /** Requests answered with a 500, which cost nothing. */
  failed: number
  charges: Charge[]
}

/** The provider of the self-test: speaks OpenAI's chat protocol, does what the plan of a call says, and keeps its own books. */
export interface FakeProvider {
  /** Address of its API, for routers. */
  readonly url: string
  readonly served: ReadonlyMap<string, Served>
  /** Requests that were of no planned call. */
  readonly strangers: number
  /** Takes requests that carry this marker. */
  expect(marker: string, plan: CallPlan): void
  stop(): Promise<void>
}

/** Begins the message of a call; its marker follows. */
export const GREETING = 'turnpike-prove '
const LOOPBACK = '127.0.0.1'
/** A request is a few hundred bytes. */
const BODY_LIMIT = 64 * 1024

/** Listens on a free port: of the loopback interface, or of all when routers reach it elsewhere (`host`). Rejects when it cannot. */
export async function startFakeProvider(deps: { host: string; clock: Clock }): Promise<FakeProvider> {
  const { host, clock } = deps
  const plans = new Map<string, CallPlan>()
  const served = new Map<string, Served>()
  let strangers = 0

  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy())
  })
  // The gateway decides how long its connections live.
  server.keepAliveTimeout = 0

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const asked = await markerIn(request)
    const plan = asked === null ? undefined : plans.get(asked)
    if (asked === null || plan === undefined) {
      strangers += 1
      sendJson(response, 404, { error: { message: 'No such call is planned.', type: 'not_found_error' } })
      return
    }
    const record = recordOf(asked)
    if (record.failed < plan.failures) {
      record.failed += 1
      sendJson(response, 500, { error: { message: 'Failing as planned.', type: 'server_error' } }, { 'retry-after-ms': '5' })
      return
    }
    const charge: Charge = { stated: null }
    record.charges.push(charge)
    if (plan.delay > 0) await pause(clock, plan.delay)
    if (response.destroyed) return
    if (plan.stream) await sendStream(clock, response, plan, charge)
    else {
      charge.stated = plan.stated
      sendJson(response, 200, completion(plan))
    }
  }

  function recordOf(marker: string): Served {
    let record = served.get(marker)
    if (record === undefined) {
      record = { failed: 0, charges: [] }
      served.set(marker, record)
    }
    return record
  }

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    if (host === LOOPBACK) server.listen(0, LOOPBACK, resolve)
    else server.listen(0, resolve)
  })
  const { port } = server.address() as AddressInfo
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}/v1`,
    served,
    get strangers() {
      return strangers
    },
    expect: (marker, plan) => void plans.set(marker, plan),
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** The marker in the first message of a chat request; null when it is none of ours. */
async function markerIn(request: IncomingMessage): Promise<string | null> {
  const parts: Buffer[] = []
  let size = 0
  for await (const part of request) {
    size += (part as Buffer).length
    if (size > BODY_LIMIT) return null
    parts.push(part as Buffer)
  }
  const found = new RegExp(`${GREETING}([\\w-]+)`).exec(Buffer.concat(parts).toString('utf8'))
  return found?.[1] ?? null
}

function completion({ stated }: CallPlan): object {
  return {
    ...HEAD,
    object: 'chat.completion',
    choices: [{ index: 0, message: { role: 'assistant', content: ' word'.repeat(stated.output) }, finish_reason: 'stop' }],
    usage: usageOf(stated),
  }
}

/** A word per output token, then usage, then the end. Stops where the client is gone. */
async function sendStream(clock: Clock, response: ServerResponse, plan: CallPlan, charge: Charge): Promise<void> {
  const { stated, pace } = plan
  const chunk = (fields: object): void => {
    response.write(`data: ${JSON.stringify({ ...HEAD, object: 'chat.completion.chunk', ...fields })}\n\n`)
  }
  const choice = (delta: object, finish: string | null = null): object => ({
    choices: [{ index: 0, delta, finish_reason: finish }],
  })
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  chunk(choice({ role: 'assistant', content: '' }))
  for (let token = 0; token < stated.output; token += 1) {
    if (pace > 0) await pause(clock, pace)
    if (response.destroyed) return
    chunk(choice({ content: ' word' }))
  }
  chunk(choice({}, 'stop'))
  charge.stated = stated
  chunk({ choices: [], usage: usageOf(stated) })
  response.end('data: [DONE]\n\n')
}

const HEAD = { id: 'chatcmpl-prove', created: 1_700_000_000, model: 'turnpike-prove' }

function usageOf({ input, cached, output }: Stated): object {
  return {
    prompt_tokens: input,
    completion_tokens: output,
    total_tokens: input + output,
    prompt_tokens_details: { cached_tokens: cached },
  }
}

function sendJson(response: ServerResponse, status: number, body: object, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers })
  response.end(JSON.stringify(body))
}

function pause(clock: Clock, delay: number): Promise<void> {
  return new Promise((resolve) => void clock.after(delay, resolve))
}
