import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import type { Deployment } from '../../../proto/deployment.ts'
import { createHttpClient } from '../../../shared/http/client.ts'
import { deployment, make } from '../../handle.testkit.ts'

/** Whole calls over real HTTP, against a vendor whose jobs take as long as the test says. */

interface Seen {
  method: string
  path: string
  headers: IncomingMessage['headers']
  body: string
}

interface Vendor {
  url: string
  seen: Seen[]
}

const running: (() => Promise<unknown>)[] = []

afterEach(async () => {
  await Promise.all(running.splice(0).map((stop) => stop()))
})

/** `answer` gives the next answer for what was asked, or writes it itself. */
async function startVendor(
  answer: (seen: Seen, url: string) => object | Buffer | ((response: ServerResponse) => void),
): Promise<Vendor> {
  const vendor: Vendor = { url: '', seen: [] }
  const server = createServer(async (request, response) => {
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part as Buffer)
    const seen = {
      method: request.method ?? '',
      path: request.url ?? '',
      headers: request.headers,
      body: Buffer.concat(parts).toString(),
    }
    vendor.seen.push(seen)
    const given = answer(seen, vendor.url)
    if (typeof given === 'function') return given(response)
    const bytes = Buffer.isBuffer(given)
    response.writeHead(200, { 'content-type': bytes ? 'image/png' : 'application/json' })
    response.end(bytes ? given : JSON.stringify(given))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  vendor.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  running.push(() => {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })
  return vendor
}

function gatewayFor(fields: Partial<Deployment>) {
  const http = createHttpClient()
  running.push(() => http.close())
  return make([deployment('one', { apiKey: 'secret', ...fields })], { numRetries: 0 }, () => ({ http }))
}

const image = (request: object = {}) => ({ model: 'gpt', prompt: 'a cat', ...request })
/** The test's clock runs ahead of real sockets, far ahead on a busy machine; milliseconds. */
const PATIENT = 600_000
const BFL: Partial<Deployment> = { provider: 'black_forest_labs', model: 'flux-pro-1.1', timeout: PATIENT }

/** Lets the test's clock run until `met`; every step waits for a turn of real sockets. */
async function until(clock: { advance(milliseconds: number): void }, met: () => boolean, step = 250): Promise<void> {
  for (let turn = 0; turn < 2000 && !met(); turn++) {
    clock.advance(step)
    await new Promise((resolve) => setImmediate(resolve))
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
  expect(met()).toBe(true)
}

describe('a job at a vendor', () => {
  it('is queued, runs, is done: the client gets the image, the ledger what it cost', async () => {
    const states = ['Queued', 'Pending', 'Processing']
    const vendor = await startVendor(({ method, path }, url) => {
      if (method === 'POST') return { id: '1', polling_url: `${url}/v1/get_result?id=1`, cost: 4 }
      if (path.startsWith('/sample')) return Buffer.from('cat')
      const status = states.shift()
      return status === undefined ? { id: '1', status: 'Ready', result: { sample: `${url}/sample.png` } } : { id: '1', status }
    })
    const { call, clock, events } = gatewayFor({ ...BFL, apiBase: vendor.url })
    const client = call(image({ size: '1024x1024', response_format: 'b64_json' }), { endpoint: 'aimage_generation' })
    await until(clock, () => client.ended)
    await client.done
    expect(JSON.parse(client.text)).toMatchObject({ data: [{ b64_json: Buffer.from('cat').toString('base64') }] })
    expect(client.text).not.toContain('billing')
    expect(vendor.seen.map(({ method, path }) => `${method} ${path.split('?')[0]}`)).toEqual([
      'POST /v1/flux-pro-1.1',
      ...Array(4).fill('GET /v1/get_result'),
      'GET /sample.png',
    ])
    expect(vendor.seen.every(({ headers }) => headers['x-key'] === 'secret')).toBe(true)
    expect(events[0]).toMatchObject({
      outcome: 'success',
      attempts: [{ outcome: 'success', usage: { reportedCost: 40_000_000, units: { 'image_out:1024x1024:standard': 1 } } }],
    })
  })

  it('whose image lies on another host: that host gets no credential', async () => {
    const other = await startVendor(() => Buffer.from('cat'))
    const vendor = await startVendor(({ method }, url) => {
      if (method === 'POST') return { id: '1', polling_url: `${url}/poll` }
      return { status: 'Ready', result: { sample: `${other.url}/x` } }
    })
    const { call, clock, events } = gatewayFor({ ...BFL, apiBase: vendor.url })
    const client = call(image({ response_format: 'b64_json' }), { endpoint: 'aimage_generation' })
    await until(clock, () => client.ended)
    // In the clear, nothing is fetched from another host at all.
    expect(events[0]?.attempts[0]?.error?.code).toBe('provider_malformed')
    expect(other.seen).toEqual([])
    const plain = call(image(), { endpoint: 'aimage_generation' })
    await until(clock, () => plain.ended)
    expect(JSON.parse(plain.text)).toMatchObject({ data: [{ url: `${other.url}/x` }] })
  })

  it('that fails ends the call as a failure in its words', async () => {
    const vendor = await startVendor(({ method }, url) =>
      method === 'POST' ? { id: '1', polling_url: `${url}/poll` } : { status: 'Request Moderated' },
    )
    const { call, clock, events } = gatewayFor({ ...BFL, apiBase: vendor.url })
    const client = call(image(), { endpoint: 'aimage_generation' })
    await until(clock, () => client.ended)
    await client.done
    expect(JSON.parse(client.text)).toMatchObject({ error: { message: expect.stringContaining('Request Moderated') } })
    expect(client.head?.status).toBe(400)
    expect(events[0]).toMatchObject({ outcome: 'failure', error: { code: 'content_policy' } })
  })

  it('that is refused ends it at once', async () => {
    const vendor = await startVendor(() => (response: ServerResponse) => {
      response.writeHead(402, { 'content-type': 'application/json' })
      response.end('{"detail":"Insufficient credits"}')
    })
    const { call, clock, events } = gatewayFor({ ...BFL, apiBase: vendor.url })
    const client = call(image(), { endpoint: 'aimage_generation' })
    await until(clock, () => client.ended)
    expect(client.text).toContain('Insufficient credits')
    expect(events[0]?.error?.code).toBe('provider_quota')
    expect(vendor.seen).toHaveLength(1)
  })

  it('is asked for no more once its client has left', async () => {
    const vendor = await startVendor(({ method }, url) =>
      method === 'POST' ? { id: '1', polling_url: `${url}/poll` } : { status: 'Pending' },
    )
    const { call, clock, events } = gatewayFor({ ...BFL, apiBase: vendor.url })
    const client = call(image(), { endpoint: 'aimage_generation' })
    await until(clock, () => vendor.seen.length >= 3)
    client.stream.onCancel?.('client_gone')
    await client.done
    const asked = vendor.seen.length
    for (let turn = 0; turn < 20; turn++) {
      clock.advance(2000)
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    expect(vendor.seen.length).toBe(asked)
    expect(events[0]?.outcome).toBe('cancelled')
    expect(clock.pending).toBe(0)
  })

  it('that does not end in time ends as a timeout, and is asked for no more', async () => {
    const vendor = await startVendor(({ method }, url) =>
      method === 'POST' ? { id: '1', polling_url: `${url}/poll` } : { status: 'Pending' },
    )
    const { call, clock, events } = gatewayFor({ ...BFL, apiBase: vendor.url, timeout: 10_000 })
    const client = call(image(), { endpoint: 'aimage_generation' })
    await until(clock, () => client.ended)
    await client.done
    const asked = vendor.seen.length
    expect(client.text).toContain('10 s')
    expect(events[0]?.error?.code).toBe('provider_timeout')
    expect(asked).toBeLessThan(10)
    clock.advance(60_000)
    await new Promise((resolve) => setTimeout(resolve, 5))
    expect(vendor.seen.length).toBe(asked)
    expect(events[0]?.outcome).toBe('failure')
  })
})

describe('a prediction of Replicate', () => {
  const REPLICATE: Partial<Deployment> = { provider: 'replicate', model: 'meta/llama-3', timeout: PATIENT }
  const talk = { model: 'gpt', messages: [{ role: 'user', content: 'hi' }] }

  it('is streamed from where it says, with the credential', async () => {
    const vendor = await startVendor(({ method }, url) => {
      if (method === 'POST') return { id: '1', status: 'starting', urls: { get: `${url}/get`, stream: `${url}/stream` } }
      return (response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        response.write('event: output\ndata: Hel\n\nevent: output\ndata: lo\n\n')
        response.end('event: done\ndata: {}\n\n')
      }
    })
    const { call, clock, events } = gatewayFor({ ...REPLICATE, apiBase: `${vendor.url}/v1` })
    const client = call({ ...talk, stream: true })
    await until(clock, () => client.ended, 1)
    await client.done
    expect(client.text).toContain('"Hel"')
    expect(client.text).toContain('"finish_reason":"stop"')
    expect(client.text).toContain('[DONE]')
    expect(vendor.seen[1]).toMatchObject({
      path: '/stream',
      headers: { authorization: 'Bearer secret', accept: 'text/event-stream' },
    })
    expect(events[0]?.outcome).toBe('success')
  })

  it('that has no stream is one all the same to a client that asked for one', async () => {
    const vendor = await startVendor(({ method }, url) =>
      method === 'POST'
        ? { id: '1', status: 'starting', urls: { get: `${url}/get` } }
        : { id: '1', status: 'succeeded', output: ['Hello'], metrics: { input_token_count: 3, output_token_count: 1 } },
    )
    const { call, clock, events } = gatewayFor({ ...REPLICATE, apiBase: `${vendor.url}/v1` })
    const client = call({ ...talk, stream: true })
    await until(clock, () => client.ended)
    await client.done
    expect(client.head?.headers['content-type']).toContain('text/event-stream')
    expect(client.text).toContain('"Hello"')
    expect(client.text).toContain('[DONE]')
    expect(events[0]).toMatchObject({ outcome: 'success', attempts: [{ usage: { input: 3, output: 1, estimated: false } }] })
  })
})
