import { expect, it } from 'vitest'
import { GatewayError } from '../../shared/errors.ts'
import type { HttpClient, OutgoingRequest, ResponseSink } from '../../shared/http/client.ts'
import { createTokens, type Grant } from './tokens.ts'

const GRANT: Grant = {
  id: 'one',
  issuer: 'Entra ID',
  request: () => ({ url: 'https://login.test/token', form: { client_id: 'c', client_secret: 's&=', scope: 'x' } }),
}
const HOUR = 3_600_000

/** An issuer whose answers the test gives. */
function issuer() {
  const asked: { request: OutgoingRequest; sink: ResponseSink }[] = []
  const http: HttpClient = {
    send(request, sink) {
      asked.push({ request, sink })
      return { pause() {}, resume() {}, abort() {}, sent: true }
    },
    close: async () => {},
  }
  const answer = (at: number, status: number, body: object) => {
    const { sink } = asked[at] as (typeof asked)[number]
    sink.head(status, {})
    sink.data(Buffer.from(JSON.stringify(body)))
    sink.end()
  }
  const give = (at: number, token: string) => answer(at, 200, { access_token: token, expires_in: 3600 })
  return { asked, answer, give, tokens: createTokens({ http }) }
}

async function failure(waited: string | Promise<string>): Promise<GatewayError> {
  try {
    await waited
  } catch (thrown) {
    if (thrown instanceof GatewayError) return thrown
    throw thrown
  }
  throw new Error('a token was given')
}

it('a token is asked for once for all who wait, and kept for every runtime', async () => {
  const { asked, give, tokens } = issuer()
  const waiting = [tokens.of(GRANT)(0), tokens.of({ ...GRANT })(1)]
  expect(asked.map(({ request }) => [request.method, request.url, request.body])).toEqual([
    ['POST', 'https://login.test/token', 'client_id=c&client_secret=s%26%3D&scope=x'],
  ])
  give(0, 'first')
  expect(await Promise.all(waiting)).toEqual(['first', 'first'])
  expect(tokens.of(GRANT)(HOUR / 2)).toBe('first')
  void tokens.of({ ...GRANT, id: 'two' })(0)
  expect(asked).toHaveLength(2)
})

it('a token is renewed ahead of its end, and nobody waits while the old one holds', async () => {
  const { asked, answer, give, tokens } = issuer()
  const token = tokens.of(GRANT)
  const first = token(0)
  give(0, 'first')
  await first
  expect(token(HOUR - 290_000)).toBe('first')
  expect(token(HOUR - 289_000)).toBe('first')
  expect(asked).toHaveLength(2)
  answer(1, 503, {})
  await new Promise<void>((resolve) => setImmediate(resolve))
  expect(token(HOUR - 265_000)).toBe('first')
  expect(asked).toHaveLength(2)
  expect(token(HOUR - 259_000)).toBe('first')
  give(2, 'second')
  await new Promise<void>((resolve) => setImmediate(resolve))
  expect(token(HOUR - 258_000)).toBe('second')
  expect(asked).toHaveLength(3)
})

it('a token at its end is not used: the call waits for the next', async () => {
  const { give, tokens } = issuer()
  const token = tokens.of(GRANT)
  const first = token(0)
  give(0, 'first')
  await first
  const next = token(HOUR - 20_000)
  give(1, 'second')
  expect(await next).toBe('second')
})

it('a refusal names the code and no more, and the next call asks again', async () => {
  const { asked, answer, give, tokens } = issuer()
  const refused = tokens.of(GRANT)(0)
  answer(0, 401, {
    error: 'invalid_client',
    error_description: "AADSTS7000215: Invalid client secret provided for app 'secret-app'.",
  })
  const error = await failure(refused)
  expect([error.code, error.message]).toEqual([
    'provider_authentication',
    'Entra ID gave no token: HTTP 401 (invalid_client, AADSTS7000215).',
  ])
  const again = tokens.of(GRANT)(5)
  give(1, 'late')
  expect(await again).toBe('late')
  expect(asked).toHaveLength(2)
})

it.each([
  [503, {}, 'provider_unavailable'],
  [200, { access_token: 'x' }, 'provider_authentication'],
  [200, { access_token: '', expires_in: 5 }, 'provider_authentication'],
])('an answer %i of %j is no token but %s', async (status, body, code) => {
  const { answer, tokens } = issuer()
  const waiting = tokens.of(GRANT)(0)
  answer(0, status, body)
  expect((await failure(waiting)).code).toBe(code)
})

it('an issuer that is not reached is the connection’s error', async () => {
  const { asked, tokens } = issuer()
  const waiting = tokens.of(GRANT)(0)
  asked[0]?.sink.failed(new GatewayError('provider_connection'))
  expect((await failure(waiting)).code).toBe('provider_connection')
})
