import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { answerText } from '../../loadtest/answer-text.ts'
import { parseScript, type Script } from '../../loadtest/script.ts'
import { type ServedCall, startUpstream, type Upstream } from '../../loadtest/upstream.ts'
import type { Database } from '../../shared/db/db.ts'
import { createPostgres } from '../../shared/db/postgres.ts'
import { SseParser } from '../../shared/http/sse.ts'
import { silentLog } from '../../shared/log.ts'
import { type Ending, type Expected, FAULTS, type Fault, STALL } from './fault-table.ts'
import { type Gateway, MODES, openGateway } from './gateway.ts'

const PROTOCOLS = ['openai', 'anthropic'] as const
type Protocol = (typeof PROTOCOLS)[number]

/** One fault as one client meets it. */
interface Case {
  fault: Fault
  client: Protocol
  provider: Protocol
  stream: boolean
  /** Its script id, unique in a run. */
  id: string
  script: string
  expected: Expected
}

/** What the client of one call saw. */
interface Seen {
  callId: string
  status: number
  headers: Headers
  text: string
  finish: string | null
  /** The error envelope, of the answer or of an event in the stream. */
  error: { message?: string; type?: string; code?: string } | null
  terminated: boolean
  elapsed: number
  /** How late timers of this process ran meanwhile: what the machine took, not the gateway. */
  late: number
}

/** What came of a case: its last run, and the script id of that. */
interface Run {
  id: string
  seen: Seen[]
}

interface Entry {
  call_id: string
  calls: number
  outcome: string
  status: number
  input_tokens: string
  output_tokens: string
  estimated: boolean
  cost_nano: string
}

/** Calls at once: few while time limits are held to, for they mean something only on cores that have time; then as many as make a short run. */
const AT_ONCE = { timed: 6, other: 16 }

describe.each(MODES)('%s', (mode) => {
  let upstream: Upstream
  let gateway: Gateway
  let database: Database
  let key: string
  const results = new Map<string, Promise<Run>>()
  const cases = allCases(mode)

  beforeAll(async () => {
    upstream = await startUpstream()
    gateway = await openGateway(mode, { config: configFor(upstream) })
    database = createPostgres({ url: gateway.databaseUrl, log: silentLog })
    key = await gateway.generateKey({})
    const warm = { fault: FAULTS[0] as Fault, client: 'openai', stream: false, script: 'chunks=1' } as const
    for (const provider of PROTOCOLS) {
      for (let count = 0; count < 4; count += 1) await call({ ...warm, provider } as unknown as Case, `warm-${mode}`)
    }
    startAll()
  }, 120_000)
  afterAll(async () => {
    await Promise.allSettled(results.values())
    await database?.close()
    await gateway?.stop()
    await upstream?.stop()
  }, 60_000)

  /** Runs every case, so many at once; each test then waits for its own. */
  function startAll(): void {
    const begin = new Map<string, () => void>()
    for (const one of cases) {
      const turn = new Promise<void>((resolve) => begin.set(one.id, resolve))
      const result = turn.then(() => runOf(one))
      result.catch(() => {})
      results.set(one.id, result)
    }
    const run = async (waiting: Case[], lanes: number): Promise<void> => {
      const lane = async (): Promise<void> => {
        for (let one = waiting.shift(); one !== undefined; one = waiting.shift()) {
          begin.get(one.id)?.()
          await results.get(one.id)?.catch(() => {})
        }
      }
      await Promise.all(Array.from({ length: lanes }, lane))
    }
    const [timed, other] = [cases.filter(isTimed), cases.filter((one) => !isTimed(one))]
    void run(timed, AT_ONCE.timed).then(() => run(other, AT_ONCE.other))
  }

  /** A gateway that is late is late every time; a machine that is busy is not. */
  async function runOf(one: Case): Promise<Run> {
    for (let time = 1; ; time += 1) {
      const id = `${one.id}-${time}`
      const seen: Seen[] = []
      for (let count = 0; count < (one.fault.repeat ?? 1); count += 1) seen.push(await call(one, id))
      if (time === 3 || seen.every((each) => inTime(one.expected, each))) return { id, seen }
    }
  }

  async function call(one: Case, id: string): Promise<Seen> {
    const { fault, client, stream } = one
    const headers: Record<string, string> = {
      'content-type': 'application/json',
      authorization: `Bearer ${key}`,
      'x-litellm-num-retries': String(fault.retries),
      'x-litellm-timeout': String(fault.timeout),
    }
    if (fault.streamTimeout !== undefined) headers['x-litellm-stream-timeout'] = String(fault.streamTimeout)
    const content = `hello [[upstream@bad fail=401]] [[upstream id=${id},${one.script}]]`
    const body = { model: groupOf(one), messages: [{ role: 'user', content }], max_tokens: 4_000, stream }
    const lateness = watchTimers()
    const begun = performance.now()
    const response = await fetch(`${gateway.url}${client === 'openai' ? '/v1/chat/completions' : '/v1/messages'}`, {
      method: 'POST',
      headers,
      body: JSON.stringify(body),
      // Nothing may hang: the longest case is over in three seconds.
      signal: AbortSignal.timeout(15_000),
    })
    const bytes = Buffer.from(await response.arrayBuffer())
    const elapsed = performance.now() - begun
    const seen: Seen = {
      callId: response.headers.get('x-litellm-call-id') ?? '',
      status: response.status,
      headers: response.headers,
      text: '',
      finish: null,
      error: null,
      terminated: false,
      elapsed,
      late: lateness(),
    }
    if ((response.headers.get('content-type') ?? '').includes('event-stream')) READ_STREAM[client](seen, bytes)
    else READ_WHOLE[client](seen, JSON.parse(bytes.toString('utf8')))
    return seen
  }

  async function entriesOf(callId: string): Promise<Entry[]> {
    const until = performance.now() + 15_000
    for (;;) {
      const rows = await database.query<Entry & Record<string, unknown>>(
        'select call_id, calls, outcome, status, input_tokens, output_tokens, estimated, cost_nano from ledger where call_id = $1',
        [callId],
      )
      if (rows.length > 0 || performance.now() > until) return rows
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  it.each(cases.map((one) => [titleOf(one), one] as const))(
    'ends, calls and bills as the table says: %s',
    async (_title, one) => {
      const { id, seen } = (await results.get(one.id)) as Run
      for (const each of seen) {
        checkEnding(one, each)
        if (one.script.startsWith('fail=') && one.expected.ending.kind === 'error') checkHeaders(one, each, id)
        expect(each.elapsed).toBeGreaterThanOrEqual(one.expected.least)
        expect(inTime(one.expected, each), `${each.elapsed} ms, ${each.late} ms of them the machine's`).toBe(true)
      }
      const served = upstream.served(id)
      expect(served.length).toBeGreaterThanOrEqual(one.expected.calls[0])
      expect(served.length).toBeLessThanOrEqual(one.expected.calls[1])
      if (one.fault.group === 'pair') {
        expect(served.filter(({ site }) => site === 'good')).toHaveLength(1)
        expect(served.filter(({ site }) => site === 'bad').length).toBeLessThanOrEqual(1)
      }
      for (const { callId } of seen) checkBill(one, await entriesOf(callId), served)
    },
    30_000,
  )

  it('leaves nothing running', async () => {
    await Promise.allSettled(results.values())
    // Those that ignore an abort go on for their three seconds, the others must have been let go.
    await upstream.when(({ active }) => active === 0, 10_000)
    const metrics = await (await fetch(`${gateway.url}/metrics`)).text()
    // The request that asks is one itself.
    expect(Number(/^litellm_in_flight_requests (\d+)/m.exec(metrics)?.[1])).toBeLessThanOrEqual(1)
    const health = await fetch(`${gateway.url}/health/readiness`)
    expect(health.status).toBe(200)
  }, 30_000)
})

/** Every fault for every client, provider and kind of answer. */
function allCases(mode: string): Case[] {
  const cases: Case[] = []
  for (const [index, fault] of FAULTS.entries()) {
    for (const client of PROTOCOLS) {
      for (const provider of PROTOCOLS) {
        for (const stream of [false, true]) {
          const { script, anthropicScript, streamScript } = fault
          const own = (provider === 'anthropic' ? anthropicScript : undefined) ?? (stream ? (streamScript ?? script) : script)
          const streamed = provider === 'anthropic' ? (fault.anthropicStream ?? fault.stream) : fault.stream
          const id = `f${index}-${mode}-${client}-${provider}-${stream ? 'stream' : 'whole'}`
          cases.push({ fault, client, provider, stream, id, script: own, expected: stream ? streamed : fault.whole })
        }
      }
    }
  }
  return cases
}

function isTimed({ expected }: Case): boolean {
  return expected.deadline !== null
}

function titleOf({ fault, client, provider, stream }: Case): string {
  return `${fault.name}, ${stream ? 'streamed' : 'whole'}, ${client} client of ${provider}`
}

function groupOf({ fault, provider }: Case): string {
  return fault.group === 'plain' ? provider : `${provider}-${fault.group}`
}

function checkEnding(one: Case, seen: Seen): void {
  const { ending } = one.expected
  const told = JSON.stringify({ status: seen.status, error: seen.error, finish: seen.finish, text: seen.text.slice(0, 80) })
  const whole = textOf(one)
  switch (ending.kind) {
    case 'answer':
      expect(seen.status, told).toBe(200)
      expect(seen.error).toBeNull()
      expect(seen.text === whole, told).toBe(true)
      expect(seen.terminated).toBe(true)
      expect(seen.finish).toBe(FINISH[one.client][ending.finish ?? 'stop'])
      return
    case 'error':
      expect(seen.status, told).toBe(statusFor(one.client, ending.status))
      checkError(one.client, ending, seen)
      expect(seen.headers.get('retry-after')).toBe(ending.retryAfter ?? null)
      return
    case 'event':
      expect(seen.status, told).toBe(200)
      checkError(one.client, ending, seen)
      expect(seen.text.length).toBeGreaterThan(0)
      expect(whole.startsWith(seen.text), told).toBe(true)
      expect(seen.terminated).toBe(false)
  }
}

/** Anthropic's clients know 529 for what is 503 elsewhere. */
function statusFor(client: Protocol, status: number): number {
  return client === 'anthropic' && status === 503 ? 529 : status
}

function checkError(client: Protocol, ending: Exclude<Ending, { kind: 'answer' }>, { error }: Seen): void {
  expect(error?.message).toMatch(new RegExp(`^litellm\\.${ending.class}: `))
  expect(error?.type).toBeTruthy()
  if (client === 'openai') expect(error?.code).toBe(String(ending.status))
  // What the adapters say holds no stack and no page of a proxy.
  expect(error?.message).not.toMatch(/<html|node_modules|\n {4}at /)
}

/** The provider's own headers, under a name that says whose they are. */
function checkHeaders({ provider, script }: Case, { headers }: Seen, id: string): void {
  const name = provider === 'openai' ? 'llm_provider-x-request-id' : 'llm_provider-request-id'
  expect(headers.get(name)).toBe(`req_${id}`)
  expect(headers.get('llm_provider-retry-after')).toBe(/\bretry=(\d+)/.exec(script)?.[1] ?? null)
}

function inTime({ deadline }: Expected, { elapsed, late }: Seen): boolean {
  return deadline === null || elapsed <= deadline + 100 + late
}

function checkBill(one: Case, entries: readonly Entry[], served: readonly ServedCall[]): void {
  const { billed, ending, entries: booked = 1 } = one.expected
  expect(entries).toHaveLength(booked)
  const [entry, ...others] = entries.toSorted((a, b) => Number(a.estimated) - Number(b.estimated)) as [Entry, ...Entry[]]
  for (const other of others) expect(other.estimated).toBe(true)
  const numbers = { input: Number(entry.input_tokens), output: Number(entry.output_tokens), cost: Number(entry.cost_nano) }
  expect(entry.calls).toBe(1)
  expect(entry.outcome).toBe({ answer: 'success', error: 'failure', event: 'partial' }[ending.kind])
  if (ending.kind !== 'answer') expect(entry.status).toBe(ending.status)
  if (billed === 'nothing') {
    expect({ ...numbers, estimated: entry.estimated }).toEqual({ input: 0, output: 0, cost: 0, estimated: false })
    return
  }
  expect(entry.estimated).toBe(billed === 'estimated')
  expect(numbers.cost).toBe(numbers.input * 1_000 + numbers.output * 2_000)
  if (billed === 'reported') {
    const usage = served.at(-1)?.usage
    expect(numbers).toMatchObject({ input: usage?.prompt, output: usage?.completion })
    return
  }
  expect(numbers.input).toBeGreaterThan(5)
  expect(numbers.input).toBeLessThan(200)
  // Characters are a quarter to a whole token each, at the least and the most.
  expect(numbers.output).toBeGreaterThanOrEqual(one.stream || ending.kind === 'answer' ? 1 : 0)
  const generated = served.map((call) => Math.max(call.generated, call.text))
  expect(numbers.output).toBeLessThanOrEqual(Math.max(textOf(one).length, ...generated))
}

/** The text of the whole answer, by the script. */
function textOf({ script, stream }: Case): string {
  const { chunks, size, faults, text: kind }: Readonly<Script> = parseScript(script, () => 2)
  let text = ''
  for (let index = 0; index < chunks; index += 1) {
    const piece = answerText(index * size, size, kind)
    text += stream && faults.has('dup') ? piece + piece : piece
  }
  return text
}

const FINISH: Record<Protocol, Record<string, string>> = {
  openai: { stop: 'stop', content_filter: 'content_filter' },
  anthropic: { stop: 'end_turn', content_filter: 'refusal' },
}

type Fields = Record<string, unknown>

const READ_WHOLE: Record<Protocol, (seen: Seen, body: Fields) => void> = {
  openai(seen, body) {
    seen.error = (body['error'] ?? null) as Seen['error']
    const [choice] = (body['choices'] ?? []) as { message: { content: string }; finish_reason: string }[]
    if (choice === undefined) return
    seen.text = choice.message.content
    seen.finish = choice.finish_reason
    seen.terminated = true
  },
  anthropic(seen, body) {
    if (body['type'] === 'error') {
      seen.error = body['error'] as Seen['error']
      return
    }
    seen.text = (body['content'] as { text?: string }[]).map(({ text }) => text ?? '').join('')
    seen.finish = body['stop_reason'] as string
    seen.terminated = true
  },
}

const READ_STREAM: Record<Protocol, (seen: Seen, bytes: Uint8Array) => void> = {
  openai(seen, bytes) {
    for (const { data } of new SseParser().push(bytes)) {
      if (data === '[DONE]') seen.terminated = true
      if (data === '' || data === '[DONE]') continue
      const chunk = JSON.parse(data) as {
        error?: Seen['error']
        choices?: { delta: { content?: string }; finish_reason?: string }[]
      }
      if (chunk.error !== undefined) seen.error = chunk.error
      for (const { delta, finish_reason } of chunk.choices ?? []) {
        seen.text += delta.content ?? ''
        seen.finish = finish_reason ?? seen.finish
      }
    }
  },
  anthropic(seen, bytes) {
    for (const { event, data } of new SseParser().push(bytes)) {
      const fields = JSON.parse(data) as { error?: Seen['error']; delta?: { text?: string; stop_reason?: string } }
      if (event === 'message_stop') seen.terminated = true
      if (event === 'error') seen.error = fields.error ?? null
      if (event === 'content_block_delta') seen.text += fields.delta?.text ?? ''
      if (event === 'message_delta') seen.finish = fields.delta?.stop_reason ?? seen.finish
    }
  },
}

/** How long timers of this process were late, in sum, until asked: what the machine takes from a gateway that shares it. */
function watchTimers(): () => number {
  let late = 0
  let due = performance.now() + 10
  const look = (): void => {
    late += Math.max(0, performance.now() - due)
    due = performance.now() + 10
  }
  const timer = setInterval(look, 10)
  return () => {
    clearInterval(timer)
    look()
    return late
  }
}

function configFor({ url, port }: Upstream): string {
  const bases: Record<Fault['group'], string[]> = {
    plain: [url],
    refused: ['http://127.0.0.1:1'],
    unresolved: ['http://provider.invalid'],
    tls: [`https://127.0.0.1:${port}`],
    pair: [`${url}/@bad`, `${url}/@good`],
  }
  const entries: string[] = []
  for (const provider of PROTOCOLS) {
    for (const [group, list] of Object.entries(bases)) {
      for (const base of list) {
        const name = group === 'plain' ? provider : `${provider}-${group}`
        const api = provider === 'openai' ? `${base}/v1` : base
        entries.push(
          `  - { model_name: ${name}, litellm_params: { model: ${provider}/scripted, api_base: '${api}', api_key: k, input_cost_per_token: 0.000001, output_cost_per_token: 0.000002 } }`,
        )
      }
    }
  }
  return `
model_list:
${entries.join('\n')}
router_settings: { num_retries: 0, disable_cooldowns: true }
turnpike_settings: { stall_timeout: ${STALL / 1000} }
`
}
