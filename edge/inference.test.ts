import { afterEach, describe, expect, it } from 'vitest'
import type { CallMessage } from '../proto/call.ts'
import type { IncomingStream } from '../shared/bus/bus.ts'
import {
  chatText,
  connectRaw,
  deploymentOf,
  KEY,
  type RawClient,
  requestText,
  runtimeOf,
  type Scene,
  type SceneOptions,
  startScene,
} from './testing.ts'

let scene: Scene | null = null
const clients: RawClient[] = []

async function start(options: SceneOptions): Promise<RawClient> {
  scene = await startScene(options)
  return connect()
}

async function connect(): Promise<RawClient> {
  const client = await connectRaw((scene as Scene).edge.port)
  clients.push(client)
  return client
}

afterEach(async () => {
  for (const client of clients.splice(0)) client.end()
  await scene?.stop()
  scene = null
})

const JSON_HEAD = { v: 1, status: 200, headers: { 'content-type': 'application/json' } }
const SSE_HEAD = { v: 1, status: 200, headers: { 'content-type': 'text/event-stream' } }

describe('a call', () => {
  it('reaches the router with identity, endpoint, allowed headers and the exact body, and its answer the client', async () => {
    let seen: { call: CallMessage; body: string } | null = null
    const client = await start({
      runtime: runtimeOf([deploymentOf({})], { ruleHeaders: ['x-region'] }),
      route(stream, call) {
        seen = { call, body: Buffer.from(stream.body ?? []).toString() }
        stream.whole({ ...JSON_HEAD, headers: { ...JSON_HEAD.headers, 'x-litellm-model-id': 'd1' } }, Buffer.from('{"ok":true}'))
      },
    })
    client.send(
      chatText('{"a": 1 }', {
        'x-litellm-tags': 'a,b',
        'x-api-key': 'sk-other',
        'x-stainless-os': 'Linux',
        'idempotency-key': 'k 1',
        cookie: 'a=b',
        traceparent: 't',
        'x-portkey-config': '{}',
        'x-region': 'eu',
        'x-other': 'x',
      }),
    )
    const [answer] = await client.until(/^HTTP.*\r\n\r\n\{"ok":true\}$/s)
    expect(answer).toMatch(/^HTTP\/1.1 200 OK\r\n/)
    expect(answer).toContain('content-type: application/json\r\n')
    expect(answer).toContain('x-litellm-model-id: d1\r\n')
    expect(answer).toContain('x-litellm-version: ')
    expect(answer).toMatch(/content-length: 11\r\n/i)
    expect(answer).toMatch(/x-litellm-call-id: [0-9a-f-]{36}\r\n/)
    const { call, body } = seen as unknown as { call: CallMessage; body: string }
    expect(body).toBe('{"a": 1 }')
    expect(call).toMatchObject({ endpoint: 'acompletion', take: 1, identity: { keyName: 'sk-...0001' }, clientIp: '127.0.0.1' })
    expect(Object.keys(call.headers).sort()).toEqual([
      'idempotency-key',
      'traceparent',
      'x-litellm-tags',
      'x-portkey-config',
      'x-region',
    ])
  })

  it('is told by its client how it shall be called, is billed under an id of ours, and names that are no plain token are ignored', async () => {
    const calls: CallMessage[] = []
    const client = await start({
      route(stream, call) {
        calls.push(call)
        stream.whole(JSON_HEAD, Buffer.from(`{"n":${calls.length}}`))
      },
    })
    client.send(chatText('{}', { 'x-litellm-call-id': 'own-1' }))
    await client.until(/x-litellm-call-id: own-1\r\n.*\{"n":1\}$/s)
    client.send(chatText('{}', { 'x-litellm-call-id': 'a b' }))
    await client.until(/x-litellm-call-id: [0-9a-f-]{36}\r\n.*\{"n":2\}$/s)
    expect(calls.map((call) => call.clientCallId)).toEqual(['own-1', undefined])
    expect(calls[0]?.callId).toMatch(/^[0-9a-f-]{36}$/)
  })

  it('is streamed part by part, and ends when the router ends it', async () => {
    let stream: IncomingStream | null = null
    const client = await start({
      route(incoming) {
        stream = incoming
        incoming.start(SSE_HEAD)
        incoming.data(Buffer.from('data: 1\n\n'))
      },
    })
    client.send(chatText())
    await client.until(/data: 1\n\n/)
    expect(client.received).toContain('Transfer-Encoding: chunked')
    const incoming = stream as unknown as IncomingStream
    incoming.data(Buffer.from('data: 2\n\n'))
    await client.until(/data: 2\n\n/)
    incoming.end()
    await client.until(/\r\n0\r\n\r\n$/)
  })

  it('echoes a sane call id of the client but bills under its own', async () => {
    let id = ''
    const client = await start({
      route(stream, call) {
        id = call.callId
        stream.whole(JSON_HEAD, Buffer.from('{}'))
      },
    })
    client.send(chatText('{}', { 'x-litellm-call-id': 'mine-1' }))
    await client.until(/x-litellm-call-id: mine-1\r\n/)
    expect(id).toMatch(/^[0-9a-f-]{36}$/)
  })

  it('carries the model of a deployment path, and api-version', async () => {
    const calls: CallMessage[] = []
    const client = await start({
      route(stream, call) {
        calls.push(call)
        stream.whole(JSON_HEAD, Buffer.from('{}'))
      },
    })
    const key = { 'api-key': KEY }
    client.send(requestText('POST', '/openai/deployments/a%2Fb/chat/completions?api-version=2024-06-01', key, '{}'))
    await client.until(/\{\}$/)
    expect(calls[0]).toMatchObject({ endpoint: 'acompletion', pathModel: 'a/b', query: { 'api-version': '2024-06-01' } })
  })
})

describe('an error', () => {
  it('before the answer began becomes the envelope with its status and retry-after', async () => {
    const client = await start({
      route: (stream) => stream.fail({ code: 'rate_limited', message: 'Slow down.', retryAfter: 1500 }),
    })
    client.send(chatText())
    const [answer] = await client.until(/^HTTP.*\}\}$/s)
    expect(answer).toMatch(/^HTTP\/1.1 429 Too Many Requests/)
    expect(answer).toContain('retry-after: 2\r\n')
    expect(answer).toMatch(/x-litellm-call-id: /)
    expect(answer).toContain('{"error":{"message":"Slow down.","type":"rate_limit_error","param":null,"code":"429"}}')
  })

  it('inside an event stream is an event, and no [DONE] follows', async () => {
    const client = await start({
      route(stream) {
        stream.start(SSE_HEAD)
        stream.data(Buffer.from('data: 1\n\n'))
        setImmediate(() => stream.fail({ code: 'provider_truncated', message: 'Cut off.' }))
      },
    })
    client.send(chatText())
    await client.until(/\r\n0\r\n\r\n$/)
    expect(client.received).toContain(
      'data: {"error":{"message":"Cut off.","type":"server_error","param":null,"code":"502"}}\n\n',
    )
    expect(client.received).not.toContain('[DONE]')
  })

  it('inside any other answer cuts the connection, so that half an answer is never taken for a whole one', async () => {
    const client = await start({
      route(stream) {
        stream.start(JSON_HEAD)
        stream.data(Buffer.from('{"half":'))
        setTimeout(() => stream.fail({ code: 'provider_truncated', message: 'Cut off.' }), 20)
      },
    })
    client.send(chatText())
    expect(await client.closed()).not.toMatch(/\r\n0\r\n\r\n$/)
  })

  it('is 503 when there is no router', async () => {
    const client = await start({ settings: { callLimit: 100 } })
    client.send(chatText())
    await client.until(/^HTTP\/1.1 503 .*"code":"503"/s)
  })
})

describe('a client that leaves', () => {
  it('in the middle of a stream cancels it', async () => {
    const cancelled = new Promise<string>((resolve) => {
      void start({
        route(stream) {
          stream.onCancel = resolve
          stream.start(SSE_HEAD)
          stream.data(Buffer.from('data: 1\n\n'))
        },
      }).then(async (client) => {
        client.send(chatText())
        await client.until(/data: 1/)
        client.end()
      })
    })
    expect(await cancelled).toBe('client closed the connection')
  })
})
