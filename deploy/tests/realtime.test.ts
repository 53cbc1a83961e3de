import { once } from 'node:events'
import OpenAI from 'openai'
import { OpenAIRealtimeWebSocket } from 'openai/realtime/websocket'
import { OpenAIRealtimeWS } from 'openai/realtime/ws'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { type Gateway, type LedgerRow, MODES, openGateway } from './gateway.ts'
import { type RealtimeUpstream, startRealtimeUpstream, startTlsFront } from './realtime-upstream.ts'

const PRICES = {
  input_cost_per_token: 0.000001,
  output_cost_per_token: 0.000002,
  input_cost_per_audio_token: 0.00001,
  output_cost_per_audio_token: 0.00002,
}
/** One answer of the upstream's usual usage: 14 and 28 tokens of text, 27 and 136 of sound. */
const COST = (14 * 1 + 28 * 2 + 27 * 10 + 136 * 20) / 1e6

/** A plain client that keeps what it hears. */
class Client {
  readonly socket: WebSocket
  readonly events: Record<string, unknown>[] = []
  readonly closed: Promise<{ code: number; reason: string }>
  callId = ''
  binary = 0
  #wake: () => void = () => undefined
  #trouble = ''

  constructor(url: string, headers: Record<string, string>, protocols: string[] = []) {
    this.socket = new WebSocket(url, protocols, { headers, maxPayload: 0 })
    this.socket.on('upgrade', (response) => {
      this.callId = String(response.headers['x-litellm-call-id'])
    })
    this.socket.on('error', ({ message }) => {
      this.#trouble = message
    })
    this.socket.on('message', (data: Buffer, isBinary: boolean) => {
      if (isBinary) this.binary += data.length
      else this.events.push(JSON.parse(data.toString()) as Record<string, unknown>)
      this.#wake()
    })
    this.closed = new Promise((resolve) =>
      this.socket.on('close', (code, reason) => {
        this.#trouble ||= `${code} ${reason}`
        this.#wake()
        resolve({ code, reason: String(reason) })
      }),
    )
  }

  /** Resolves once `check` holds. */
  async until(check: (client: Client) => boolean): Promise<void> {
    while (!check(this)) {
      if (this.socket.readyState === WebSocket.CLOSED)
        throw new Error(`closed before: ${this.#trouble} ${JSON.stringify(this.events).slice(0, 500)}`)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  say(event: object): void {
    this.socket.send(JSON.stringify(event))
  }

  count(type: string): number {
    return this.events.filter((event) => event['type'] === type).length
  }
}

describe.each(MODES)('%s', (mode) => {
  let upstream: RealtimeUpstream
  let gateway: Gateway
  let key: string
  const clients: Client[] = []

  beforeAll(async () => {
    upstream = await startRealtimeUpstream()
    const params = { model: 'openai/gpt-realtime', api_base: `${upstream.url}/v1`, api_key: 'sk-upstream', ...PRICES }
    gateway = await openGateway(mode, {
      config: JSON.stringify({
        model_list: [
          { model_name: 'voice', litellm_params: params },
          { model_name: 'other', litellm_params: { model: 'anthropic/claude-sonnet-4-5', api_key: 'k' } },
        ],
        // What the provider does here on purpose shall not take it out of rotation.
        router_settings: { disable_cooldowns: true },
      }),
    })
    key = await gateway.generateKey({ key_alias: `voice-${mode}` })
    // A router that has just started on a busy machine may turn the first calls away as one that is behind.
    for (let tries = 0; tries < 20 && upstream.sessions.length === 0; tries += 1) {
      const client = connect('/v1/realtime?model=voice')
      await client.until(({ events }) => events.length > 0).catch(() => new Promise((resolve) => setTimeout(resolve, 250)))
    }
  }, 120_000)
  afterEach(async () => {
    for (const client of clients.splice(0)) client.socket.terminate()
    upstream.release()
  })
  afterAll(async () => {
    await gateway?.stop()
    await upstream?.stop()
  })

  function connect(
    path: string,
    headers: Record<string, string> = { authorization: `Bearer ${key}` },
    protocols?: string[],
  ): Client {
    const client = new Client(`${gateway.url.replace('http', 'ws')}${path}`, headers, protocols)
    clients.push(client)
    return client
  }

  async function rowsOf(client: Client, atLeast: number, limit = 10_000): Promise<LedgerRow[]> {
    const until = Date.now() + limit
    for (;;) {
      const rows = ((await gateway.admin('GET', `/spend/logs?api_key=${await gateway.hash(key)}`)) as LedgerRow[]).filter(
        (row) => row['session_id'] === client.callId || row.request_id === client.callId,
      )
      if (rows.length >= atLeast || Date.now() > until) return rows
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
  }

  async function refusalOf(client: Client): Promise<{ status: number; body: Record<string, unknown> }> {
    const [, response] = (await once(client.socket, 'unexpected-response')) as [unknown, import('node:http').IncomingMessage]
    let text = ''
    for await (const part of response) text += String(part)
    return { status: response.statusCode as number, body: JSON.parse(text) as Record<string, unknown> }
  }

  it('passes a session through both ways and books each answer at once, and the session without cost', async () => {
    const client = connect('/v1/realtime?model=voice')
    await client.until(({ events }) => events.length > 0)
    const provider = upstream.sessions.at(-1)
    expect(provider?.request.url).toBe('/v1/realtime?model=gpt-realtime')
    expect(provider?.request.headers.authorization).toBe('Bearer sk-upstream')
    client.say({ type: 'response.create' })
    await client.until((one) => one.count('response.done') === 1)
    client.say({ type: 'response.create', play: { transcribe: true } })
    await client.until((one) => one.count('response.done') === 2)
    expect(client.events.map(({ type }) => type).slice(0, 6)).toEqual([
      'session.created',
      'response.created',
      'response.output_text.delta',
      'response.output_audio.delta',
      'response.output_text.done',
      'response.done',
    ])
    // Two answers and what was heard are booked while the session goes on.
    const running = await rowsOf(client, 3)
    expect(running).toHaveLength(3)
    client.socket.close(1000)
    expect(await provider?.closed).toBe(1000)
    const rows = await rowsOf(client, 4)
    expect(rows).toHaveLength(4)
    expect(rows.every((row) => row['call_type'] === 'arealtime' && row.status === 'success')).toBe(true)
    const answers = rows.filter(({ prompt_tokens: tokens }) => tokens === 41)
    expect(answers.map(({ completion_tokens: tokens }) => tokens)).toEqual([164, 164])
    for (const row of answers) expect(row.spend).toBeCloseTo(COST, 9)
    const session = rows.find(({ request_id: id }) => id === client.callId)
    expect(session).toMatchObject({ spend: 0, prompt_tokens: 0 })
    const heard = rows.find(({ prompt_tokens: tokens }) => tokens === 26)
    expect(heard?.['model']).toBe('gpt-4o-mini-transcribe')
  })

  it("is what OpenAI's own clients expect, with a key in a header and in a subprotocol", async () => {
    // They speak to wss alone.
    const front = await startTlsFront(Number(new URL(gateway.url).port))
    const before = process.env['NODE_TLS_REJECT_UNAUTHORIZED']
    process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
    try {
      const openai = new OpenAI({ baseURL: `https://127.0.0.1:${front.port}/v1`, apiKey: key, maxRetries: 0 })
      const server = new OpenAIRealtimeWS({ model: 'voice' }, openai)
      await once(server.socket, 'open')
      const done = new Promise((resolve) => server.on('response.done', resolve))
      server.send({ type: 'response.create' })
      expect(await done).toMatchObject({ response: { status: 'completed' } })
      server.close()
      const known = upstream.sessions.length
      const browser = new OpenAIRealtimeWebSocket({ model: 'voice', dangerouslyAllowBrowser: true }, openai)
      const text = new Promise((resolve) => browser.on('response.output_text.done', resolve))
      await new Promise((resolve) => browser.socket.addEventListener('open', resolve))
      expect(browser.socket.protocol).toBe('realtime')
      browser.send({ type: 'response.create' })
      expect(await text).toMatchObject({ text: 'hello "response.done"' })
      expect(JSON.stringify(upstream.sessions[known]?.request.headers)).not.toContain(key)
      browser.close()
      await upstream.sessions[known]?.closed
    } finally {
      if (before === undefined) delete process.env['NODE_TLS_REJECT_UNAUTHORIZED']
      else process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = before
      front.stop()
    }
  })

  it('carries messages of a megabyte, binary ones too, whole', async () => {
    const client = connect('/v1/realtime?model=voice')
    await client.until(({ events }) => events.length > 0)
    const large = Buffer.alloc(1024 * 1024, 7)
    for (let sent = 0; sent < 8; sent += 1) client.socket.send(large)
    await client.until(({ binary }) => binary === 8 * large.length)
    client.say({ type: 'response.create', play: { delta: 3_000_000 } })
    await client.until((one) => one.count('response.done') === 1)
    const delta = client.events.find(({ type }) => type === 'response.output_audio.delta')
    expect(String(delta?.['delta'])).toHaveLength(3_000_000)
  })

  it('tells who may not open one in plain answers', async () => {
    expect(await refusalOf(connect('/v1/realtime?model=voice', {}))).toMatchObject({ status: 401 })
    expect(await refusalOf(connect('/v1/realtime?model=nothing'))).toMatchObject({
      status: 400,
      body: { error: { param: 'model' } },
    })
    expect(await refusalOf(connect('/v1/realtime'))).toMatchObject({ status: 400 })
    const other = await refusalOf(connect('/v1/realtime?model=other'))
    expect(other.status).toBe(400)
    expect(JSON.stringify(other.body)).toContain('realtime sessions with anthropic are not supported')
    upstream.refuseWith = 404
    const refused = await refusalOf(connect('/v1/realtime?model=voice'))
    expect(refused.status).toBe(404)
    expect(JSON.stringify(refused.body)).toContain('no such model here')
  })

  it('holds back for a client that does not read, and bounds what it keeps', async () => {
    const client = connect('/v1/realtime?model=voice')
    await client.until(({ events }) => events.length > 0)
    client.socket.pause()
    const provider = upstream.sessions.at(-1)?.socket as WebSocket
    const piece = Buffer.alloc(1024 * 1024, 7)
    const pieces = 64
    for (let sent = 0; sent < pieces; sent += 1) provider.send(piece)
    // The provider's side fills up: what the gateway and the kernels hold is less than all of it, and stays so.
    let before = -1
    while (provider.bufferedAmount !== before) {
      before = provider.bufferedAmount
      await new Promise((resolve) => setTimeout(resolve, 300))
    }
    expect(before).toBeGreaterThan(pieces * piece.length * 0.3)
    client.socket.resume()
    await client.until(({ binary }) => binary === pieces * piece.length)
    client.say({ type: 'response.create' })
    await client.until((one) => one.count('response.done') === 1)
  })

  it("closes with the provider's code, and says so where the provider broke off", async () => {
    const client = connect('/v1/realtime?model=voice')
    await client.until(({ events }) => events.length > 0)
    upstream.sessions.at(-1)?.socket.close(4001, 'session expired')
    expect(await client.closed).toEqual({ code: 4001, reason: 'session expired' })
    const second = connect('/v1/realtime?model=voice')
    await second.until(({ events }) => events.length > 0)
    upstream.sessions.at(-1)?.socket.terminate()
    expect(await second.closed).toMatchObject({ code: 1011 })
    expect(second.events.at(-1)).toMatchObject({ type: 'error', error: { type: 'server_error' } })
  })

  it('bills what an answer used whose client does not wait for it', async () => {
    upstream.holding = true
    const client = connect('/v1/realtime?model=voice')
    await client.until(({ events }) => events.length > 0)
    client.say({ type: 'response.create' })
    await client.until((one) => one.count('response.created') === 1)
    client.socket.terminate()
    const provider = upstream.sessions.at(-1)
    expect(await provider?.closed).toBe(1000)
    expect(provider?.heard.at(-1)).toEqual({ type: 'response.cancel' })
    const rows = await rowsOf(client, 2)
    expect(rows.map((row) => [row.prompt_tokens, row.completion_tokens]).sort()).toEqual([
      [0, 0],
      [10, 3],
    ])
  })

  it('ends a session whose budget is used up before its next answer', async () => {
    const poor = await gateway.generateKey({ max_budget: COST * 1.5 })
    const client = connect('/v1/realtime?model=voice', { authorization: `Bearer ${poor}` })
    await client.until(({ events }) => events.length > 0)
    for (let asked = 1; asked < 4 && client.socket.readyState === WebSocket.OPEN; asked += 1) {
      client.say({ type: 'response.create' })
      await client.until((one) => one.count('response.done') === asked || one.count('error') > 0).catch(() => undefined)
    }
    expect(await client.closed).toEqual({ code: 1008, reason: 'budget_exceeded' })
    expect(client.events.at(-1)).toMatchObject({ type: 'error', error: { type: 'budget_exceeded' } })
    expect(client.count('response.done')).toBeLessThanOrEqual(2)
  })

  it('ends the session of a key that is blocked meanwhile', async () => {
    const short = await gateway.generateKey({})
    const client = connect('/v1/realtime?model=voice', { authorization: `Bearer ${short}` })
    await client.until(({ events }) => events.length > 0)
    await gateway.admin('POST', '/key/block', { key: short })
    expect(await client.closed).toEqual({ code: 1008, reason: 'blocked_key' })
  })
  if (mode === 'cluster') {
    it('tells the client when the router of its session dies, and loses nothing that was booked', async () => {
      const client = connect('/v1/realtime?model=voice')
      await client.until(({ events }) => events.length > 0)
      client.say({ type: 'response.create' })
      await client.until((one) => one.count('response.done') === 1)
      const { cluster } = gateway
      await Promise.all([0, 1].map((index) => cluster?.kill('router', index)))
      expect(await client.closed).toMatchObject({ code: 1011 })
      expect(client.events.at(-1)).toMatchObject({ type: 'error' })
      await Promise.all([0, 1].map((index) => cluster?.restart('router', index)))
      // What the dead router had on disk its successor delivers.
      const rows = await rowsOf(client, 2, 30_000)
      expect(rows.map((row) => [row.prompt_tokens, row.completion_tokens]).sort()).toEqual([
        [0, 0],
        [41, 164],
      ])
    }, 90_000)
  }
})
