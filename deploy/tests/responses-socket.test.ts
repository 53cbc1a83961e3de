import { once } from 'node:events'
import OpenAI from 'openai'
import type { ResponsesClientEvent } from 'openai/resources/responses/responses'
import { ResponsesWS } from 'openai/resources/responses/ws'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { startUpstream, type Upstream } from '../../loadtest/upstream.ts'
import { type Gateway, type LedgerRow, MODES, openGateway } from './gateway.ts'

type Event = Record<string, unknown>
type Response = OpenAI.Responses.Response

const PRICES = 'input_cost_per_token: 0.000001, output_cost_per_token: 0.000002'
const LOOKUP = { type: 'function' as const, name: 'lookup_0', parameters: { type: 'object', properties: {} }, strict: false }

/** OpenAI's own client, and what it heard. */
class Client {
  readonly ws: ResponsesWS
  readonly events: Event[] = []
  readonly closed: Promise<number>
  #wake: () => void = () => undefined
  #code = 0
  #trouble = ''

  constructor(url: string, key: string) {
    this.ws = new ResponsesWS(new OpenAI({ baseURL: `${url}/v1`, apiKey: key, maxRetries: 0 }), {})
    this.ws.on('event', (event) => {
      this.events.push(event as unknown as Event)
      this.#wake()
    })
    this.ws.on('error', (error) => {
      this.#trouble = error.message
      this.#wake()
    })
    this.closed = new Promise((resolve) =>
      this.ws.on('close', (code) => {
        this.#code = code
        this.#wake()
        resolve(code)
      }),
    )
  }

  async until(check: (events: Event[]) => boolean): Promise<void> {
    while (!check(this.events)) {
      if (this.#code !== 0)
        throw new Error(`closed with ${this.#code} ${this.#trouble}: ${JSON.stringify(this.events).slice(0, 800)}`)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  /** Asks, and resolves with the last event of the answer. */
  async ask(fields: object): Promise<Event> {
    const from = this.events.length
    this.ws.send({ type: 'response.create', ...fields } as ResponsesClientEvent)
    const isLast = ({ type }: Event): boolean =>
      type === 'error' || /^response\.(completed|incomplete|failed)$/.test(String(type))
    await this.until((events) => events.slice(from).some(isLast))
    return this.events.slice(from).find(isLast) as Event
  }

  async answer(fields: object): Promise<Response> {
    const last = await this.ask(fields)
    expect(last['type'], JSON.stringify(last)).toBe('response.completed')
    return last['response'] as Response
  }
}

function configFor(upstream: string): string {
  return `
model_list:
  - model_name: chat
    litellm_params: { model: openai_like/gpt-x, api_base: ${upstream}/v1, api_key: sk-up, ${PRICES} }
  - model_name: claude
    litellm_params: { model: anthropic/claude-sonnet-4-5, api_base: ${upstream}, api_key: sk-up, ${PRICES} }
router_settings: { disable_cooldowns: true }
general_settings: { master_key: sk-master }
`
}

type Enough = (rows: LedgerRow[]) => boolean

async function rowsOf(gateway: Gateway, key: string, atLeast: number | Enough, limit = 10_000): Promise<LedgerRow[]> {
  const enough: Enough = typeof atLeast === 'number' ? (rows) => rows.length >= atLeast : atLeast
  const until = Date.now() + limit
  for (;;) {
    const rows = (await gateway.admin('GET', `/spend/logs?api_key=${await gateway.hash(key)}`)) as LedgerRow[]
    if (enough(rows) || Date.now() > until) return rows
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** A router that has just started on a busy machine may turn the first calls away as one that is behind. */
async function warmed(gateway: Gateway, key: string): Promise<void> {
  for (let tries = 0; tries < 40; tries += 1) {
    const answer = await fetch(`${gateway.url}/v1/responses`, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'chat', input: 'hello' }),
    })
    await answer.text()
    if (answer.ok) return
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
}

describe.each(MODES)('%s', (mode) => {
  let upstream: Upstream
  let gateway: Gateway
  let key: string
  const clients: Client[] = []

  beforeAll(async () => {
    upstream = await startUpstream()
    gateway = await openGateway(mode, { config: configFor(upstream.url) })
    await warmed(gateway, await gateway.generateKey({}))
  }, 120_000)
  afterEach(() => {
    for (const { ws } of clients.splice(0)) ws.close()
  })
  afterAll(async () => {
    await gateway?.stop()
    await upstream?.stop()
  })

  async function connect(fields: Record<string, unknown> = {}): Promise<Client> {
    key = await gateway.generateKey(fields)
    const client = new Client(gateway.url, key)
    clients.push(client)
    return client
  }

  const sentTo = (id: string): { messages: { role: string; content: unknown }[] } =>
    JSON.parse(upstream.served(id)[0]?.body ?? '{}') as never

  describe.each([
    ['chat', 'openai_like'],
    ['claude', 'anthropic'],
  ])('model %s', (model, provider) => {
    it.each([true, false])('goes on from its last response with store: %s, and books each as POST does', async (store) => {
      const client = await connect()
      const id = `ws-${mode}-${model}-${store}`
      const first = await client.answer({ model, store, input: 'hello [[upstream prompt=100,completion=10,chunks=3]]' })
      expect(client.events.map(({ type }) => type).slice(0, 4)).toEqual([
        'response.created',
        'response.in_progress',
        'response.output_item.added',
        'response.content_part.added',
      ])
      expect(client.events.map((event) => event['sequence_number'])).toEqual(client.events.map((_, index) => index))
      const second = await client.answer({
        model,
        store,
        previous_response_id: first.id,
        input: `again [[upstream prompt=200,completion=20,chunks=2,id=${id}]]`,
      })
      expect(second.previous_response_id).toBe(first.id)
      const third = await client.answer({ model, store, previous_response_id: second.id, input: 'and again' })
      expect(third.id).not.toBe(second.id)
      expect(sentTo(id).messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'user'])
      const rows = await rowsOf(gateway, key, 3)
      expect(rows).toHaveLength(3)
      for (const row of rows)
        expect(row).toMatchObject({ call_type: 'aresponses', status: 'success', custom_llm_provider: provider })
      expect(new Set(rows.map((row) => row['session_id'])).size).toBe(1)
      const tokens = rows.map((row) => [row.prompt_tokens, row.completion_tokens])
      expect(tokens).toContainEqual([100, 10])
      expect(tokens).toContainEqual([200, 20])
      for (const row of rows) expect(row.spend).toBeCloseTo((row.prompt_tokens + 2 * row.completion_tokens) / 1e6, 12)
    })

    it('takes a tool’s result', async () => {
      const client = await connect()
      const id = `ws-tool-${mode}-${model}`
      const first = await client.answer({
        model,
        store: false,
        input: 'hello [[upstream tools=1,chunks=0]]',
        tools: [LOOKUP],
      })
      const [call] = first.output
      if (call?.type !== 'function_call') throw new Error(`no call but ${call?.type}`)
      const second = await client.answer({
        model,
        store: false,
        previous_response_id: first.id,
        input: [{ type: 'function_call_output', call_id: call.call_id, output: `found [[upstream chunks=2,id=${id}]]` }],
        tools: [LOOKUP],
      })
      expect(second.status).toBe('completed')
      expect(sentTo(id).messages).toHaveLength(3)
    })
  })

  it('tells of what fails in events, and goes on', async () => {
    const client = await connect()
    expect(await client.ask({ model: 'nothing', input: 'x' })).toMatchObject({
      type: 'error',
      status: 400,
      error: { type: 'invalid_request_error', param: 'model' },
    })
    expect(await client.ask({ model: 'chat', input: 'x [[upstream fail=400,message=too%20long]]' })).toMatchObject({
      status: 400,
      error: { message: expect.stringContaining('too long') },
    })
    const broken = await client.ask({ model: 'chat', input: 'x [[upstream chunks=6,fault=cut]]' })
    expect(broken['type']).not.toBe('response.completed')
    expect(await client.ask({ model: 'chat', input: 'x', previous_response_id: 'resp_unknown' })).toMatchObject({
      type: 'error',
    })
    client.ws.send({ type: 'response.steer' } as never)
    await client.until((events) => JSON.stringify(events.at(-1)).includes('response.steer'))
    expect(client.events.at(-1)).toMatchObject({ status: 400, error: { type: 'invalid_request_error', param: 'type' } })
    expect((await client.answer({ model: 'chat', input: 'well' })).status).toBe('completed')
  })

  it('makes one response at a time, and stops the one whose client leaves', async () => {
    const client = await connect()
    const id = `ws-left-${mode}`
    client.ws.send({
      type: 'response.create',
      model: 'chat',
      input: `long [[upstream id=${id},chunks=500,interval=20,prompt=50]]`,
    } as ResponsesClientEvent)
    await client.until((events) => events.some(({ type }) => type === 'response.output_text.delta'))
    client.ws.send({ type: 'response.create', model: 'chat', input: 'x', stream_id: 'b' } as ResponsesClientEvent)
    await client.until((events) => events.some(({ type }) => type === 'error'))
    expect(client.events.find(({ type }) => type === 'error')).toMatchObject({
      stream_id: 'b',
      error: { code: 'response_in_progress' },
    })
    client.ws.close()
    await upstream.when(() => upstream.served(id)[0]?.outcome === 'aborted')
    const rows = await rowsOf(gateway, key, 1)
    expect(rows).toHaveLength(1)
    expect(rows[0]?.completion_tokens).toBeGreaterThan(0)
  })

  it('refuses a response over budget and leaves the connection open', async () => {
    const cost = 100 / 1e6 + (2 * 100) / 1e6
    const client = await connect({ max_budget: cost * 1.5 })
    const body = { model: 'chat', max_output_tokens: 100, input: 'x [[upstream prompt=100,completion=100]]' }
    let last: Event = {}
    let paid = 0
    for (let asked = 0; asked < 4; asked += 1) {
      last = await client.ask(body)
      if (last['type'] === 'response.completed') paid += 1
    }
    expect(last).toMatchObject({ type: 'error', error: { type: 'budget_exceeded' } })
    expect(paid).toBeGreaterThan(0)
    expect(paid).toBeLessThanOrEqual(2)
    expect(client.ws.socket.readyState).toBe(WebSocket.OPEN)
  })

  it('shares what it stores with POST, and forgets what it does not store when a turn fails', async () => {
    const client = await connect()
    const stored = await client.answer({ model: 'chat', input: 'hello' })
    const openai = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: key, maxRetries: 0 })
    const posted = await openai.responses.create({ model: 'chat', input: 'x', previous_response_id: stored.id })
    const body = { model: 'chat', store: false }
    const after = await client.answer({ ...body, input: 'y', previous_response_id: posted.id })
    const id = `ws-mixed-${mode}`
    const last = await client.answer({ ...body, input: `z [[upstream id=${id}]]`, previous_response_id: after.id })
    expect(sentTo(id).messages.filter(({ role }) => role === 'user')).toHaveLength(4)
    expect(await client.ask({ ...body, input: 'x [[upstream fail=400]]', previous_response_id: last.id })).toMatchObject({
      type: 'error',
    })
    expect(await client.ask({ ...body, input: 'x', previous_response_id: last.id })).toMatchObject({
      type: 'error',
      status: 400,
      error: { code: 'previous_response_not_found' },
    })
  })

  it('answers what it was warmed up for, and books the answer alone', async () => {
    const client = await connect()
    const id = `ws-warm-${mode}`
    const warm = await client.answer({ model: 'claude', generate: false, input: 'long ago' })
    expect(warm.output).toEqual([])
    await client.answer({ model: 'claude', previous_response_id: warm.id, input: `now [[upstream id=${id}]]` })
    expect(JSON.stringify(sentTo(id).messages)).toContain('long ago')
    expect(await rowsOf(gateway, key, 1)).toHaveLength(1)
  })

  it('tells who may not connect in a plain answer', async () => {
    const socket = new WebSocket(`${gateway.url.replace('http', 'ws')}/openai/v1/responses`)
    const [, response] = (await once(socket, 'unexpected-response')) as [unknown, import('node:http').IncomingMessage]
    expect(response.statusCode).toBe(401)
    response.resume()
  })
})

describe('a cluster that loses what it runs on', () => {
  let upstream: Upstream
  let gateway: Gateway
  let key: string

  beforeAll(async () => {
    upstream = await startUpstream()
    gateway = await openGateway('cluster', { config: configFor(upstream.url), routers: 1 })
    await warmed(gateway, await gateway.generateKey({}))
  }, 120_000)
  afterAll(async () => {
    await gateway?.stop()
    await upstream?.stop()
  })

  /** A client whose second response of so many words is under way, 25 ms a word. */
  async function midway(id: string, words = 60): Promise<Client> {
    key = await gateway.generateKey({})
    let client = new Client(gateway.url, key)
    // A gateway that has just started on a busy machine turns connections away; nothing was said on them then.
    for (let tries = 1; ; tries += 1) {
      try {
        await client.answer({ model: 'chat', input: 'x [[upstream prompt=30,completion=5]]' })
        break
      } catch (thrown) {
        if (tries === 5 || client.events.length > 0) throw thrown
        client = new Client(gateway.url, key)
      }
    }
    const input = `x [[upstream id=${id},chunks=${words},interval=25,prompt=70,completion=${words}]]`
    client.ws.send({ type: 'response.create', model: 'chat', input } as ResponsesClientEvent)
    const begun = client.events.length
    await client.until((events) => events.slice(begun).some(({ type }) => type === 'response.output_text.delta'))
    return client
  }

  it('ends the response under way before a router that leaves closes the connection', async () => {
    const client = await midway('ws-drain')
    const killed = gateway.cluster?.kill('router', 0, 'SIGTERM')
    expect(await client.closed).toBe(1001)
    expect(client.events.at(-1)).toMatchObject({ type: 'response.completed' })
    await killed
    await gateway.cluster?.restart('router', 0)
    await warmed(gateway, await gateway.generateKey({}))
    const rows = await rowsOf(gateway, key, 2)
    expect(rows.map((row) => [row.status, row.prompt_tokens, row.completion_tokens]).sort()).toEqual([
      ['success', 30, 5],
      ['success', 70, 60],
    ])
  }, 90_000)

  it('tells the client of a router that died, and books what that one could not', async () => {
    // Fifteen seconds: on a busy machine the blow must not come after the end.
    const client = await midway('ws-killed', 600)
    await gateway.cluster?.kill('router', 0)
    expect(await client.closed).toBe(1011)
    expect(client.events.at(-1)).toMatchObject({ type: 'error', status: expect.any(Number), error: { type: 'server_error' } })
    // Nobody has started a router again: what is booked is what the edge knew.
    const isLost = ({ status }: LedgerRow): boolean => status !== 'success'
    const lost = (await rowsOf(gateway, key, (rows) => rows.some(isLost), 30_000)).find(isLost)
    expect(lost?.completion_tokens).toBeGreaterThan(0)
    expect(lost?.completion_tokens).toBeLessThan(600)
    await gateway.cluster?.restart('router', 0)
    await warmed(gateway, await gateway.generateKey({}))
    // The response before it may have stood in the dead router's spool only: its next process publishes it, and nothing twice.
    await rowsOf(gateway, key, 2)
    const rows = await rowsOf(gateway, key, 3, 2_000)
    expect(rows).toHaveLength(2)
    expect(rows.filter((row) => !isLost(row))).toMatchObject([{ prompt_tokens: 30, completion_tokens: 5 }])
  }, 90_000)
})
