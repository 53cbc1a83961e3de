import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connectRaw, type RawClient } from '../../edge/testing.ts'
import { readMemory } from '../../loadtest/cpu.ts'
import { startUpstream, type Upstream } from '../../loadtest/upstream.ts'
import { type Gateway, openGateway } from './gateway.ts'
import { openIdle } from './idle-clients.ts'

const KB = 1024
const MB = 1024 * KB
const CHAT = '/v1/chat/completions'
/** uWS closes a connection without a complete request after 8 to 12 s; more for a machine busy with other work. Milliseconds. */
const UNFINISHED_LIMIT = 20_000
/** Of bodies and of unread answers, shorter than the defaults (30 s, 120 s) so that a test can wait for them. */
const EDGE = { bodyTimeout: 2_000, stallTimeout: 3_000, bodyLimit: 2 * MB }
/** Bytes an idle connection may cost the process; by itself 500 were measured, the rest is what the tests beside it hold meanwhile. */
const IDLE_MEMORY = 8 * KB
const IDLE = 10_000

let provider: Upstream
let gateway: Gateway
const key = 'sk-hostile-http-0001'
const clients: RawClient[] = []

beforeAll(async () => {
  provider = await startUpstream()
  gateway = await openGateway('embedded', {
    config: JSON.stringify({
      model_list: [{ model_name: 'gpt', litellm_params: { model: 'openai/gpt', api_base: `${provider.url}/v1`, api_key: 'k' } }],
    }),
    edge: EDGE,
  })
  await gateway.generateKey({ key })
}, 60_000)
afterAll(async () => {
  for (const client of clients) client.end()
  await gateway?.stop()
  await provider?.stop()
})

const port = () => Number(new URL(gateway.url).port)

async function connect(): Promise<RawClient> {
  const client = await connectRaw(port())
  clients.push(client)
  return client
}

/** A chat's request line and the headers every one has. */
function head(...more: string[]): string {
  const lines = [`POST ${CHAT} HTTP/1.1`, 'host: gateway', `authorization: Bearer ${key}`, ...more]
  return `${lines.join('\r\n')}\r\n\r\n`
}

function chat(script: string, stream = false): string {
  return JSON.stringify({ model: 'gpt', stream, messages: [{ role: 'user', content: `[[upstream ${script}]]` }] })
}

async function served(): Promise<{ status: number; duration: number }> {
  const since = performance.now()
  const response = await fetch(gateway.url + CHAT, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, connection: 'close' },
    body: chat('chunks=1'),
  })
  await response.arrayBuffer()
  return { status: response.status, duration: performance.now() - since }
}

const pause = (delay: number) => new Promise((resolve) => setTimeout(resolve, delay))

/** Answers on a connection, by status, once the server closed it or `limit` passed. */
async function outcome(client: RawClient, limit: number): Promise<{ statuses: number[]; closed: boolean }> {
  const closed = await Promise.race([client.closed().then(() => true), pause(limit).then(() => false)])
  const statuses = [...client.received.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map(([, status]) => Number(status))
  return { statuses, closed }
}

/** What follows it, should somebody take it for a request. */
const HIDDEN = `GET /health/liveliness HTTP/1.1\r\nhost: gateway\r\n\r\n`
const CHUNKED = 'transfer-encoding: chunked'
const BODY = chat('id=smuggled,chunks=1')
const SIZE = BODY.length.toString(16)
const LENGTH = `content-length: ${BODY.length}`
const lines = (...more: string[]) => `${head(...more)}${BODY}`
const chunked = (body: string, ...more: string[]) => `${head(CHUNKED, ...more)}${body}`

/** Those uWS has a word for, or that we do. */
const REFUSED: Record<string, string> = {
  'two equal lengths': lines(LENGTH, LENGTH),
  'two lengths': lines(LENGTH, 'content-length: 0'),
  'a list of lengths': lines(`${LENGTH}, ${BODY.length}`),
  'a length and chunks': `${head(LENGTH, CHUNKED)}0\r\n\r\n`,
  'chunks and a length': `${head(CHUNKED, LENGTH)}0\r\n\r\n`,
  'a coding that is not chunked': `${head('transfer-encoding: identity', LENGTH)}${BODY}`,
  'a coding before chunked': chunked('0\r\n\r\n').replace('chunked', 'gzip, chunked'),
  'chunked twice': chunked('0\r\n\r\n', CHUNKED),
  'chunked and another': chunked('0\r\n\r\n').replace('chunked', 'chunked, identity'),
  'a coding nobody knows': chunked('0\r\n\r\n').replace('chunked', 'xchunked'),
  'a length with a sign': lines(`content-length: +${BODY.length}`),
  'a negative length': lines('content-length: -1'),
  'a length in hexadecimal': lines(`content-length: 0x${SIZE}`),
  'a length past all numbers': lines(`content-length: 18446744073709551616${BODY.length}`),
  'no length in its header': lines('content-length:'),
  'a negative chunk': chunked(`-${SIZE}\r\n${BODY}\r\n0\r\n\r\n`),
  'a chunk in hexadecimal with its mark': chunked(`0x${SIZE}\r\n${BODY}\r\n0\r\n\r\n`),
  'a chunk past all numbers': chunked(`fffffffffffffffff${SIZE}\r\n${BODY}\r\n0\r\n\r\n`),
  'lines that end in a line feed alone': lines(LENGTH).replaceAll('\r\n', '\n'),
  'HTTP/1.0': lines(LENGTH).replace('HTTP/1.1', 'HTTP/1.0'),
  'HTTP/1.2': lines(LENGTH).replace('HTTP/1.1', 'HTTP/1.2'),
  'the preface of HTTP/2': 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
  'no host': lines(LENGTH).replace('host: gateway\r\n', ''),
}
/** Those uWS never takes for complete: it waits for more until its time for a request is over. */
const NEVER_COMPLETE: Record<string, string> = {
  'a blank before the colon': lines(LENGTH, 'transfer-encoding : chunked'),
  'a blank before the colon of its length': lines(`content-length : ${BODY.length}`),
  'a folded line': lines(LENGTH, 'x: a\r\n transfer-encoding: chunked'),
  'a folded coding': lines(LENGTH, 'transfer-encoding:\r\n chunked'),
  'a line feed within a line': lines(LENGTH, 'x: a\ntransfer-encoding: chunked'),
  'a carriage return within a line': lines(LENGTH, 'x: a\rtransfer-encoding: chunked'),
  'a zero byte within a line': lines(LENGTH, 'x: a\0b'),
  'a control character before its coding': lines(LENGTH, 'transfer-encoding:\x0bchunked'),
  'a line without a colon': lines(LENGTH, 'xyz'),
  'a line that begins with a blank': lines(LENGTH).replace('host:', ' host:'),
}
/** Chunks that uWS reads in its own way: nothing behind them may count as a request, whatever becomes of the first. */
const LOOSE: Record<string, string> = {
  'chunks of their own extensions': chunked(`${SIZE};a=b\r\n${BODY}\r\n0\r\n\r\n`),
  'a line feed within an extension': chunked(`${SIZE};\n${BODY}\r\n0\r\n\r\n`),
  'chunks that end in a line feed alone': chunked(`${SIZE}\n${BODY}\n0\n\n`),
  'a chunk longer than it says': chunked(`${SIZE}\r\n${BODY}xx0\r\n\r\n`),
  'an empty size of a chunk': chunked(`\r\n${BODY}\r\n0\r\n\r\n`),
  'blanks behind a size': chunked(`${SIZE}  \r\n${BODY}\r\n0\r\n\r\n`),
  trailers: chunked(`${SIZE}\r\n${BODY}\r\n0\r\n${LENGTH}\r\n\r\n`),
  'chunks as they should be': chunked(`${SIZE}\r\n${BODY}\r\n0\r\n\r\n`),
}

/** Under a name of their own at the provider, which may be asked by them. */
const LOOSELY = Object.entries(LOOSE).map(([name, text]) => [name, text.replace('smuggled', 'loosened')] as const)

/** Together, for each waits for timers of uWS and has nothing else to do. */
describe.concurrent('a connection that hangs', () => {
  it('is cut, whichever part of a request or answer it drags out, while others are served', async () => {
    const drips: NodeJS.Timeout[] = []
    const drip = (client: RawClient, next: () => string, every: number) =>
      drips.push(setInterval(() => client.socket.writable && client.send(next()), every))
    const [silent, headers, body, length, chunks, unread] = (await Promise.all(Array.from({ length: 6 }, connect))) as [
      RawClient,
      RawClient,
      RawClient,
      RawClient,
      RawClient,
      RawClient,
    ]
    // Nothing at all; a header every second; one byte of body every half second, three ways; an answer of 64 MB that nobody reads.
    headers.send(`POST ${CHAT} HTTP/1.1\r\nhost: gateway\r\n`)
    let count = 0
    drip(headers, () => `x-drip-${count++}: a\r\n`, 1_000)
    body.send(head('content-length: 100000'))
    drip(body, () => 'a', 500)
    length.send(head('content-length: 10'))
    length.send('abc')
    chunks.send(head('transfer-encoding: chunked'))
    drip(chunks, () => '1\r\na\r\n', 500)
    unread.socket.pause()
    const long = chat(`id=unread,bytes=${64 * MB},size=65536`, true)
    unread.send(head(`content-length: ${long.length}`) + long)
    const meanwhile = (async () => {
      const all = []
      for (let tries = 0; tries < 5; tries += 1) {
        all.push(await served())
        await pause(1_000)
      }
      return all
    })()
    const ends = await Promise.all([
      outcome(silent, UNFINISHED_LIMIT),
      outcome(headers, UNFINISHED_LIMIT),
      outcome(body, UNFINISHED_LIMIT),
      outcome(length, UNFINISHED_LIMIT),
      outcome(chunks, UNFINISHED_LIMIT),
      provider.when(({ active }) => active === 0, UNFINISHED_LIMIT),
    ])
    for (const timer of drips) clearInterval(timer)
    expect(ends.slice(0, 5)).toEqual([
      { statuses: [], closed: true },
      { statuses: [], closed: true },
      { statuses: [408], closed: true },
      { statuses: [408], closed: true },
      { statuses: [408], closed: true },
    ])
    expect(provider.served('unread')[0]).toMatchObject({ outcome: 'aborted' })
    expect((await meanwhile).map(({ status }) => status)).toEqual([200, 200, 200, 200, 200])
  }, 60_000)

  it('costs little as one of ten thousand that say nothing, and is closed when it is silent for long', async () => {
    await served()
    const before = readMemory(process.pid).rss
    const idle = await openIdle(port(), IDLE)
    try {
      const grown = readMemory(process.pid).rss - before
      const { status, duration } = await served()
      expect(status).toBe(200)
      expect(duration).toBeLessThan(5_000)
      expect(grown / IDLE).toBeLessThan(IDLE_MEMORY)
      const until = performance.now() + UNFINISHED_LIMIT
      while (idle.open > 0 && performance.now() < until) await pause(100)
      expect(idle.open).toBe(0)
    } finally {
      idle.end()
    }
  }, 60_000)

  it('is cut when two servers could see its end in two places, and nothing behind it is a request', async () => {
    const cases = { ...REFUSED, ...NEVER_COMPLETE }
    const ends = await Promise.all(
      Object.entries(cases).map(async ([name, text]) => {
        const client = await connect()
        client.send(Buffer.from(text + HIDDEN, 'latin1'))
        return [name, await outcome(client, UNFINISHED_LIMIT)] as const
      }),
    )
    const wrong = ends.filter(([, { statuses, closed }]) => !closed || statuses.some((status) => ![400, 505].includes(status)))
    expect(wrong).toEqual([])
    expect(ends.filter(([name, { statuses }]) => name in NEVER_COMPLETE && statuses.length > 0)).toEqual([])
    expect(provider.served('smuggled')).toEqual([])
  }, 40_000)

  it('is over with the answer to a request in chunks, so that a proxy that shares connections never gives one the answer of another', async () => {
    const ends = await Promise.all(
      LOOSELY.map(async ([name, text]) => {
        const client = await connect()
        client.send(text + HIDDEN)
        return [name, await outcome(client, UNFINISHED_LIMIT)] as const
      }),
    )
    expect(
      ends.filter(([, { closed, statuses }]) => !closed || statuses.some((status) => ![400, 408, 505].includes(status))),
    ).toEqual([])
    // As a proxy sends it: what it takes for the next request goes out when the first is answered.
    const proxied = await Promise.all(
      LOOSELY.map(async ([name, text]) => {
        const client = await connect()
        client.send(text)
        await client.until(/^HTTP\/1\.1 \d{3}.*\r\n\r\n/s)
        client.send(HIDDEN)
        return [name, client.received.match(/^connection: close\r$/im) !== null, await outcome(client, UNFINISHED_LIMIT)] as const
      }),
    )
    expect(proxied.filter(([, told, { closed, statuses }]) => !told || !closed || statuses.length !== 1)).toEqual([])
    expect(proxied.at(-1)?.[2].statuses).toEqual([200])
  }, 40_000)
})

describe('a flood', () => {
  it('of headers gets 431, as one large one or as thousands of small ones, also when they never end', async () => {
    const small = Array.from({ length: 10_000 }, (_, index) => `x-${index}: a`)
    for (const more of [[`x: ${'a'.repeat(70 * KB)}`], small, [`cookie: ${'a=b; '.repeat(20_000)}`]]) {
      const client = await connect()
      client.send(head(...more))
      expect(await outcome(client, 5_000)).toEqual({ statuses: [431], closed: true })
      const endless = await connect()
      endless.send(`GET / HTTP/1.1\r\n${more.join('\r\n')}`)
      expect((await outcome(endless, 5_000)).closed).toBe(true)
    }
  })

  it('of headers below that size is served', async () => {
    const body = chat('chunks=1')
    const client = await connect()
    client.send(head(...Array.from({ length: 80 }, (_, index) => `x-${index}: a`), `content-length: ${body.length}`) + body)
    await client.until(/^HTTP\/1.1 200 OK/)
  })

  it('of pipelined calls is cut at the first that would have to wait, and one of unread answers when they pile up', async () => {
    const body = chat('chunks=1')
    const calls = await connect()
    calls.send((head(`content-length: ${body.length}`) + body).repeat(1_000))
    expect(await outcome(calls, 5_000)).toEqual({ statuses: [], closed: true })
    const unread = await connect()
    unread.socket.pause()
    const before = readMemory(process.pid).rss
    const requests = Buffer.from('GET /health/liveliness HTTP/1.1\r\nhost: gateway\r\n\r\n'.repeat(1_000))
    for (let sent = 0; sent < 1_000 && unread.socket.writable; sent += 1) {
      if (!unread.socket.write(requests))
        await Promise.race([new Promise((done) => unread.socket.once('drain', done)), unread.closed()])
    }
    expect(unread.socket.writable).toBe(false)
    expect(readMemory(process.pid).rss - before).toBeLessThan(64 * MB)
    expect((await served()).status).toBe(200)
  })
})

describe('a compressed body', () => {
  it('is refused with 415 before it is read, whatever it unpacks to, on calls and on management', async () => {
    const bomb = gzipSync(Buffer.alloc(64 * MB))
    for (const path of [CHAT, '/v1/messages', '/v1/files', '/key/generate']) {
      for (const encoding of ['gzip', 'deflate, gzip', 'br', 'ZSTD']) {
        const client = await connect()
        const headers = head(`content-encoding: ${encoding}`, `content-length: ${bomb.length}`).replace(CHAT, path)
        client.send(headers)
        client.send(bomb)
        await client.until(/^HTTP\/1.1 415 .*content-encoding.*\}$/s)
        client.end()
      }
    }
    const { status } = await fetch(gateway.url + CHAT, {
      method: 'POST',
      headers: { authorization: `Bearer ${key}`, 'content-encoding': 'identity' },
      body: chat('chunks=1'),
    })
    expect(status).toBe(200)
  })
})

describe('a request whose end is uncertain', () => {
  it('is refused in words where nothing follows it', async () => {
    for (const [name, text] of Object.entries(REFUSED)) {
      const client = await connect()
      client.send(Buffer.from(text, 'latin1'))
      const { statuses, closed } = await outcome(client, 5_000)
      expect([name, [[400], [505]].some((words) => words[0] === statuses[0]) && statuses.length === 1, closed]).toEqual([
        name,
        true,
        true,
      ])
    }
    expect(provider.served('smuggled')).toEqual([])
  }, 40_000)
})
