import { connect, type Socket } from 'node:net'
import { type FuzzedGateway, MOCKED, sessionOn } from './gateway.ts'
import { createRandom, cutAtRandom, mutateBytes, type Random } from './mutate.ts'
import type { Case, Target } from './target.ts'

/** Milliseconds a connection is watched for an answer to what may not even be a whole request, and for one to what is. */
const PATIENCE = 60
const ANSWER_LIMIT = 8000
/** And within which a connection is closed whose request is refused; one that is given up is after 8 s and more. */
const RESET_LIMIT = 2000
/** Stands for the key in what is kept: every gateway has another. */
const KEY = 'sk-FUZZ-KEY'

/**
 * What one case is. `answers`: the statuses a whole, unambiguous case must be answered with, in their order; null = anything that is no
 * failure of ours, within what its requests may have. `cuts`: seed of the pieces it is written in; `end`: how the client leaves.
 */
interface Head {
  answers: readonly number[] | null
  cuts: number
  end: 'wait' | 'half' | 'reset'
}

/** Requests as bytes on a socket, against a running gateway. */
export const http: Target = {
  name: 'http',
  about: 'HTTP over raw sockets: framing lies, smuggling shapes, odd heads, pipelines, partial writes, resets',
  deadline: ANSWER_LIMIT + 2000,
  inProcess: false,
  memoryLimit: 48 * 1024 * 1024,
  async open({ gateway: started }) {
    const gateway = await started()
    // Of a case with an answer every byte is needed.
    const divisible = ({ head: { answers } }: Case): boolean => answers === null
    return { ...sessionOn(gateway, { make: makeCase, run: (one) => run(gateway, one) }), divisible }
  },
}

const CALL = JSON.stringify({ model: MOCKED, messages: [{ role: 'user', content: 'Hi' }] })
/** A request inside another's body: if it is ever answered, something was smuggled. */
const HIDDEN = `GET /health/liveliness HTTP/1.1\r\nHost: h\r\n\r\n`
const CHUNKED = `${CALL.length.toString(16)}\r\n${CALL}\r\n0\r\n\r\n`

const head = (line: string, ...headers: string[]): string => `${[line, 'Host: h', ...headers].join('\r\n')}\r\n\r\n`
const post = (...headers: string[]): string =>
  head('POST /v1/chat/completions HTTP/1.1', `Authorization: Bearer ${KEY}`, 'Content-Type: application/json', ...headers)

/** Valid requests, to be mutated. */
const VALID: readonly string[] = [
  head('GET /health/liveliness HTTP/1.1'),
  head('GET /v1/models HTTP/1.1', `Authorization: Bearer ${KEY}`),
  post(`Content-Length: ${CALL.length}`) + CALL,
  post('Transfer-Encoding: chunked') + CHUNKED,
  post('Expect: 100-continue', `Content-Length: ${CALL.length}`) + CALL,
  head('OPTIONS /v1/models HTTP/1.1', 'Origin: http://a', 'Access-Control-Request-Method: POST'),
  head(
    'GET /v1/realtime?model=mock HTTP/1.1',
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version: 13',
    `Authorization: Bearer ${KEY}`,
  ),
  `${head(
    'POST /v1/audio/transcriptions HTTP/1.1',
    `Authorization: Bearer ${KEY}`,
    'Content-Type: multipart/form-data; boundary=b',
    'Content-Length: 57',
  )}--b\r\ncontent-disposition: form-data; name="a"\r\n\r\n1\r\n--b--`,
  head('GET /key/info HTTP/1.1', `Authorization: Bearer ${KEY}`),
]

/** Requests on which servers have disagreed where one ends. Whatever follows the first head must never be answered as a request of its own. */
const AMBIGUOUS: readonly string[] = [
  post(`Content-Length: ${CHUNKED.length}`, 'Transfer-Encoding: chunked') + CHUNKED,
  `${post('Transfer-Encoding: chunked', 'Content-Length: 4')}0\r\n\r\n${HIDDEN}`,
  `${post('Content-Length: 4', 'Transfer-Encoding: chunked')}0\r\n\r\n${HIDDEN}`,
  post('Content-Length: 0', `Content-Length: ${HIDDEN.length}`) + HIDDEN,
  post(`Content-Length: ${HIDDEN.length}, 0`) + HIDDEN,
  post('Content-Length: +0') + HIDDEN,
  post('Content-Length: -1') + HIDDEN,
  post('Content-Length: 0x10') + HIDDEN,
  post('Content-Length: 1e1') + HIDDEN,
  post('Content-Length: ') + HIDDEN,
  post('Content-Length : 0') + HIDDEN,
  post('Content-Length\t: 0') + HIDDEN,
  `${post('Transfer-Encoding: xchunked')}0\r\n\r\n${HIDDEN}`,
  `${post('Transfer-Encoding: chunked, identity')}0\r\n\r\n${HIDDEN}`,
  `${post('Transfer-Encoding: identity, chunked')}0\r\n\r\n${HIDDEN}`,
  `${post('Transfer-Encoding: chunked', 'Transfer-Encoding: identity')}0\r\n\r\n${HIDDEN}`,
  `${post('Transfer-Encoding: identity', 'Transfer-Encoding: chunked')}0\r\n\r\n${HIDDEN}`,
  `${post('Transfer-Encoding : chunked', 'Content-Length: 4')}0\r\n\r\n${HIDDEN}`,
  `${post('Transfer-Encoding:\u000bchunked', 'Content-Length: 4')}0\r\n\r\n${HIDDEN}`,
  `${post(' Transfer-Encoding: chunked', 'Content-Length: 4')}0\r\n\r\n${HIDDEN}`,
  `${post('X: y\r\n Transfer-Encoding: chunked', 'Content-Length: 4')}0\r\n\r\n${HIDDEN}`,
  `${post('Transfer-Encoding:\r\n chunked', 'Content-Length: 4')}0\r\n\r\n${HIDDEN}`,
  `${post('X: y\nTransfer-Encoding: chunked', 'Content-Length: 4')}0\r\n\r\n${HIDDEN}`,
  `${post('X: y\rTransfer-Encoding: chunked', 'Content-Length: 4')}0\r\n\r\n${HIDDEN}`,
  post('X: \u0000', 'Content-Length: 0') + HIDDEN,
  `${post('Transfer-Encoding: chunked')}-1\r\n\r\n0\r\n\r\n${HIDDEN}`,
  `${post('Transfer-Encoding: chunked')}10000000000000000\r\n\r\n0\r\n\r\n${HIDDEN}`,
  `${post('Transfer-Encoding: chunked')}0x0\r\n\r\n${HIDDEN}`,
  `${post('Transfer-Encoding: chunked')}g\r\n\r\n${HIDDEN}`,
  `${post('Transfer-Encoding: chunked')}2\r\n{}XX0\r\n\r\n${HIDDEN}`,
  `${post('Transfer-Encoding: chunked')}2\n{}\n0\n\n${HIDDEN}`,
  `${post('Transfer-Encoding: chunked')}2;a\nb\r\n{}\r\n0\r\n\r\n${HIDDEN}`,
]

const HEADERS: readonly string[] = [
  'Host: other',
  'Connection: close',
  'Connection: keep-alive, Upgrade',
  'Upgrade: h2c',
  'HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA',
  'Upgrade: websocket',
  'Expect: 100-continue',
  'Expect: 200',
  'Transfer-Encoding: chunked',
  'Content-Length: 5',
  'Content-Length: 99999999999999999999',
  'Content-Encoding: gzip',
  'Content-Type: \u00ff',
  'Range: bytes=0-',
  'X-Forwarded-For: 1.2.3.4, \u0000',
  'Authorization: Basic Og==',
  'Authorization: Bearer',
  `Authorization: Bearer ${'k'.repeat(3000)}`,
  'X-Api-Key: ',
  'Cookie: a=b',
  `X-Long: ${'v'.repeat(20_000)}`,
  `${'n'.repeat(9000)}: v`,
  `X-Litellm-Timeout: NaN`,
  'X-Litellm-Num-Retries: -1',
  'X-Litellm-Tags: ,,,',
  'Idempotency-Key: \u0001',
  'X-Run-Cap: 1e999',
  'Traceparent: 00-0-0-0',
  'X-Turnpike-Config: {',
  'X-Portkey-Config: [[[',
  'X-Portkey-Metadata: "',
  'Cache-Control: no-cache, ttl=x',
  'X-Litellm-Call-Id: \ta',
  '__proto__: a',
  'constructor: b',
  ': empty',
  'nocolon',
  '\u00e9: a',
  'a b: c',
  'A\u0000: b',
  ...[50, 120, 500].map((count) => Array.from({ length: count }, (_, at) => `X-${at}: ${at}`).join('\r\n')),
]
const LINES: readonly string[] = [
  'GET http://other/v1/models HTTP/1.1',
  'GET //v1/models HTTP/1.1',
  'GET /%00 HTTP/1.1',
  'GET /%ff%fe HTTP/1.1',
  'GET /../../etc/passwd HTTP/1.1',
  'GET /v1/models/%2e%2e%2f HTTP/1.1',
  'GET /v1/models HTTP/1.0',
  'GET /v1/models HTTP/2.0',
  'GET /v1/models HTTP/9',
  'GET /v1/models',
  'get /v1/models HTTP/1.1',
  'PRI * HTTP/2.0',
  'CONNECT a:1 HTTP/1.1',
  'TRACE / HTTP/1.1',
  'OPTIONS * HTTP/1.1',
  'GET  /v1/models HTTP/1.1',
  'GET /v1/models\tHTTP/1.1',
  'GET /v1/mo dels HTTP/1.1',
  `GET /${'a'.repeat(9000)} HTTP/1.1`,
  `GET /?${'a=b&'.repeat(3000)} HTTP/1.1`,
  'GET /v1/models?%=%%zz HTTP/1.1',
  'HEAD /v1/chat/completions HTTP/1.1',
  'DELETE /v1/chat/completions HTTP/1.1',
  'POST /openai/deployments/%E0%A4%A/chat/completions HTTP/1.1',
  'POST /v1beta/models/:generateContent HTTP/1.1',
  'POST /engines/__proto__/chat/completions HTTP/1.1',
  '\u0000 / HTTP/1.1',
  ' HTTP/1.1',
  '',
  'GET /metrics HTTP/1.1',
  'GET /swagger/../../x HTTP/1.1',
  'GET /v1/files/%2F/content HTTP/1.1',
  'GET /v1/responses/resp_%00 HTTP/1.1',
  'GET /spend/logs?request_id=%00 HTTP/1.1',
  'GET /key/info?key=%ED%A0%80 HTTP/1.1',
]

function makeCase(random: Random): Case {
  const cuts = random.int(1000)
  const end = random.pick(['wait', 'wait', 'wait', 'half', 'reset'] as const)
  const made = (text: string | Uint8Array, answers: Head['answers'] = null): Case => ({
    head: { answers, cuts, end } satisfies Head,
    body: typeof text === 'string' ? Buffer.from(text, 'latin1') : text,
  })
  switch (random.int(6)) {
    case 0:
      return made(random.pick(AMBIGUOUS))
    case 1: {
      // Whole and in order: each is answered.
      const many = Array.from({ length: random.pick([1, 1, 1, 2, 3]) }, () => VALID[random.int(2)] as string)
      return { ...made(many.join(''), null), head: { answers: many.length === 1 ? [200] : null, cuts, end: 'wait' } }
    }
    case 2: {
      const [line, ...rest] = random.pick(VALID).split('\r\n')
      return made(
        [
          random.chance(0.5) ? random.pick(LINES) : line,
          ...rest.toSpliced(1, 0, ...Array.from({ length: random.int(4) }, () => random.pick(HEADERS))),
        ].join('\r\n'),
      )
    }
    case 3:
      return made(random.pick(VALID) + random.pick([...VALID, ...AMBIGUOUS]))
    default:
      return made(mutateBytes(Buffer.from(random.pick(random.chance(0.7) ? VALID : AMBIGUOUS), 'latin1'), random))
  }
}

interface Heard {
  text: string
  /** Milliseconds until it was closed; null = it was not. */
  closed: number | null
  /** Milliseconds until the first byte; null = there was none. */
  first: number | null
}

async function run(gateway: FuzzedGateway, { head: raw, body }: Case): Promise<string | null> {
  const { answers, cuts, end } = raw as unknown as Head
  const bytes = Buffer.from(Buffer.from(body).toString('latin1').replaceAll(KEY, gateway.key), 'latin1')
  const heard = await converse(
    gateway.port,
    cutAtRandom(bytes, createRandom(cuts)),
    end,
    answers === null ? PATIENCE : ANSWER_LIMIT,
    answers?.length ?? 0,
  )
  return (
    wrong(heard, Buffer.from(body).toString('latin1'), answers, end) ??
    gateway.leak(heard.text) ??
    gateway.complaints()[0] ??
    null
  )
}

/** Writes the pieces, and hears what comes until the connection closes, enough answers came, or nothing does for `patience` milliseconds. */
function converse(port: number, pieces: Uint8Array[], end: Head['end'], patience: number, wanted: number): Promise<Heard> {
  return new Promise((resolve) => {
    const heard: Heard = { text: '', closed: null, first: null }
    const socket: Socket = connect({ port, host: '127.0.0.1', noDelay: true })
    let timer: NodeJS.Timeout | undefined
    const done = (): void => {
      clearTimeout(timer)
      if (end === 'reset') socket.resetAndDestroy()
      else socket.destroy()
      resolve(heard)
    }
    const wait = (): void => {
      clearTimeout(timer)
      timer = setTimeout(done, patience)
    }
    const startedAt = performance.now()
    wait()
    socket.on('data', (data) => {
      heard.first ??= performance.now() - startedAt
      heard.text += data.toString('latin1')
      if (wanted > 0 && statuses(heard.text).length >= wanted && bodyOf(heard.text) !== null) done()
      else wait()
    })
    socket.on('error', () => undefined)
    socket.on('close', () => {
      heard.closed = performance.now() - startedAt
      done()
    })
    socket.on('connect', () => {
      for (const piece of pieces) socket.write(piece)
      if (end === 'half') socket.end()
      if (end === 'reset') setTimeout(done, 2)
    })
  })
}

/** Statuses of the answers in what was heard; `100 Continue` is none. */
function statuses(text: string): number[] {
  return [...text.matchAll(/(?:^|(?<=[\s\S]))HTTP\/1\.1 (\d{3}) /g)]
    .map(([, status]) => Number(status))
    .filter((status) => status !== 100)
}

/** The body of the last answer, whole; null while it is not. */
function bodyOf(text: string): string | null {
  const at = text.lastIndexOf('\r\n\r\n')
  const length = /content-length: (\d+)/i.exec(text.slice(text.lastIndexOf('HTTP/1.1')))
  return at >= 0 && (length === null || text.length - at - 4 >= Number(length[1])) ? text.slice(at + 4) : null
}

function wrong(heard: Heard, sent: string, answers: Head['answers'], end: Head['end']): string | null {
  const found = statuses(heard.text)
  if (heard.text !== '' && !/^HTTP\/1\.1 \d{3} /.test(heard.text)) return `not an HTTP answer: ${heard.text.slice(0, 100)}`
  const failed = found.find((status) => status >= 500 && status !== 505)
  if (failed !== undefined) return `status ${failed}: ${heard.text.slice(0, 300)}`
  // Its parser takes a request line that comes in two pieces, cut at its end, for another version (https://github.com/uNetworking/uWebSockets/issues/1776).
  // What it writes then is lost where pieces that nobody reads come after it: the connection is reset.
  const isCut = found[0] === 505 || (found.length === 0 && heard.closed !== null && heard.closed < RESET_LIMIT)
  if (answers !== null && end === 'wait' && !isCut && JSON.stringify(found) !== JSON.stringify(answers))
    return `answered ${JSON.stringify(found)} in place of ${JSON.stringify(answers)}`
  // As many answers as requests were written, whichever way heads are counted.
  const lines = sent.match(/HTTP\/\d/g)?.length ?? 0
  // What stands behind a request and is none is refused, and its connection closed: one answer more.
  const isRefused = found.length > 1 && [400, 505].includes(found.at(-1) as number) && heard.closed !== null
  if (found.length > Math.max(1, lines + (isRefused ? 1 : 0)))
    return `${found.length} answers to ${lines} requests: ${heard.text.slice(0, 200)}`
  // The request hidden in a body is answered by this path alone.
  if (AMBIGUOUS.includes(sent) && /I'm alive|"alive"/.test(heard.text))
    return `a hidden request was answered: ${heard.text.slice(0, 400)}`
  return null
}
