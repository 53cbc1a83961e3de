import { request } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { StartHead } from '../proto/call.ts'
import type { WireError } from '../proto/errors.ts'
import type { Bus, OutgoingStream } from '../shared/bus/bus.ts'
import { silentLog } from '../shared/log.ts'
import { type AccountingFixture, event, MASTER_KEY, startAccounting } from './gateway-fixture.ts'
import { createLedger } from './ledger/book.ts'

interface Answer {
  head: StartHead | null
  text: string
  error: WireError | null
  pieces: number
}

let gateway: AccountingFixture
let edge: Bus
let opened = 0

beforeAll(async () => {
  gateway = await startAccounting(process.env['TURNPIKE_TEST_POSTGRES_URL'])
  edge = gateway.hub.join('edge')
  const ledger = createLedger({ db: gateway.test.db, price: () => ({ cost: 1, rateVersion: 'r' }), log: silentLog })
  await ledger.book(Array.from({ length: 3000 }, (_, index) => event({ callId: `call-${index}` })))
})
afterAll(() => gateway.close())

/** Sends a management request through the bus as an edge does. `grant` false: takes nothing back, so credit runs out. */
function tunnel(
  method: string,
  url: string,
  options: {
    body?: Uint8Array
    headers?: Record<string, string>
    grant?: boolean
    onStart?: (stream: OutgoingStream) => void
  } = {},
): Promise<Answer> {
  const answer: Answer = { head: null, text: '', error: null, pieces: 0 }
  const decoder = new TextDecoder()
  return new Promise((resolve) => {
    const body = options.body ?? new Uint8Array()
    const head = {
      v: 1,
      callId: `c${opened}`,
      method,
      url,
      headers: { authorization: `Bearer ${MASTER_KEY}`, ...options.headers },
    }
    const stream = edge.open(
      edge.subjects.admin,
      { id: `stream-${opened++}`, head, body, deadline: 10_000 },
      {
        start(start) {
          answer.head = start
          options.onStart?.(stream)
        },
        data(bytes) {
          answer.pieces += 1
          answer.text += decoder.decode(bytes, { stream: true })
          if (options.grant !== false) stream.consumed(bytes.byteLength)
        },
        end: () => resolve(answer),
        error(error) {
          answer.error = error
          resolve(answer)
        },
      },
    )
  })
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)

describe('the tunnel', () => {
  it('refuses methods and addresses that are none, and takes no host for a path', async () => {
    for (const method of ['TRACE', 'CONNECT', '/', 'a b'])
      expect(await tunnel(method, '/key/list')).toMatchObject({ error: { code: 'bad_request' } })
    expect(await tunnel('GET', 'http://[')).toMatchObject({ error: { code: 'bad_request' } })
    expect(await tunnel('GET', '//[/key/list')).toMatchObject({ error: null, head: { status: 404 } })
  })

  it('answers like the own listener', async () => {
    for (const path of ['/key/list', '/nothing', '/openapi.json', '/routes', '/', '/key/list?size=0']) {
      const direct = await gateway.call('GET', path)
      const carried = await tunnel('GET', path)
      expect([path, carried.head?.status, carried.text]).toEqual([path, direct.status, direct.text])
      expect(carried.head?.headers['content-type']).toBe(direct.headers.get('content-type'))
    }
  })

  it('carries a body, and checks who sends it', async () => {
    const made = await tunnel('POST', '/key/generate', { body: bytes('{"key_alias":"carried"}') })
    expect(made.head?.status).toBe(200)
    expect(JSON.parse(made.text)).toMatchObject({ key_alias: 'carried' })
    const refused = await tunnel('POST', '/key/generate', { body: bytes('{}'), headers: { authorization: 'Bearer sk-nobody' } })
    expect(refused.head?.status).toBe(401)
  })

  it('refuses a body that is too large without reading it all', async () => {
    const refused = await tunnel('POST', '/key/generate', { body: new Uint8Array(11 * 1024 * 1024) })
    expect(refused.head?.status ?? refused.error?.code).toSatisfy((value: unknown) => value === 413 || value === 'body_too_large')
  })

  it('streams a long answer in pieces, whole and in order', async () => {
    const direct = await gateway.call('GET', '/spend/logs')
    const carried = await tunnel('GET', '/spend/logs')
    expect(carried.pieces).toBeGreaterThan(10)
    expect(carried.text).toBe(direct.text)
    expect(JSON.parse(carried.text)).toHaveLength(3000)
  })

  it('stops reading the ledger when the client leaves, and lends no connection for ever', async () => {
    await new Promise<void>((resolve) => {
      void tunnel('GET', '/spend/logs', {
        grant: false,
        onStart: (stream) => {
          stream.cancel('client closed')
          resolve()
        },
      })
    })
    for (let call = 0; call < 15; call++) expect((await gateway.call('GET', '/key/list')).status).toBe(200)
  })

  it('answers a request that makes no sense instead of falling over', async () => {
    const answers = await Promise.all([tunnel('TRACE', '/key/list'), tunnel('GET', 'http://['), tunnel('G E T', '/')])
    for (const { head, error } of answers) expect(head?.status ?? error?.code).toBeDefined()
    expect((await gateway.call('GET', '/key/list')).status).toBe(200)
  })
})

describe('both doors', () => {
  it('answer an unknown route with 404 in the envelope, and another method with 405 and what is allowed', async () => {
    expect(await gateway.call('GET', '/nothing/here')).toMatchObject({
      status: 404,
      body: { error: { type: 'not_found_error', param: null, code: '404' } },
    })
    const wrong = await gateway.call('GET', '/key/generate')
    expect(wrong).toMatchObject({ status: 405, body: { error: { code: '405' } } })
    expect(wrong.headers.get('allow')).toBe('POST')
  })

  it('do not take paths out of the folder of the page', async () => {
    const status = (path: string) =>
      new Promise((resolve) => {
        request({ port: gateway.accounting.port, host: '127.0.0.1', path }, (response) =>
          resolve(response.resume().statusCode),
        ).end()
      })
    expect(await status('/swagger/../../package.json')).toBe(404)
    expect(await status('/swagger/package.json')).toBe(404)
    expect(await status('/swagger/swagger-ui.css')).toBe(200)
  })
})

describe('the page', () => {
  it('describes every route that is not a page in OpenAPI 3.1', async () => {
    const document = (await gateway.call('GET', '/openapi.json', undefined, null)).body as {
      openapi: string
      paths: Record<string, Record<string, { responses: Record<string, unknown>; requestBody?: unknown }>>
      components: { securitySchemes: unknown }
    }
    expect(document.openapi).toBe('3.1.0')
    expect(document.components.securitySchemes).toEqual({ key: { type: 'http', scheme: 'bearer' } })
    expect(Object.keys(document.paths)).toEqual(
      expect.arrayContaining([
        '/key/generate',
        '/key/info',
        '/key/list',
        '/key/update',
        '/key/delete',
        '/key/block',
        '/spend/logs',
        '/model/info',
        '/health/readiness',
      ]),
    )
    expect(document.paths['/key/generate']?.['post']?.requestBody).toMatchObject({
      content: { 'application/json': { schema: { properties: { max_budget: expect.anything(), models: expect.anything() } } } },
    })
    expect(Object.keys(document.paths['/key/info']?.['get']?.responses ?? {})).toEqual(
      expect.arrayContaining(['200', '401', '422']),
    )
  })

  it('loads nothing from anywhere else', async () => {
    const page = await gateway.call('GET', '/', undefined, null)
    expect(page.headers.get('content-type')).toContain('text/html')
    expect(page.text).not.toMatch(/https?:/)
    for (const [, path] of page.text.matchAll(/(?:src|href)="([^"]+)"/g)) {
      expect((await gateway.call('GET', `/${path}`, undefined, null)).status, path).toBe(200)
    }
  })
})
