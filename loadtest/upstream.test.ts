import { createHash } from 'node:crypto'
import { connect } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SseParser } from '../shared/http/sse.ts'
import { answerText } from './answer-text.ts'
import { Connection, callBytes, once } from './connection.ts'
import { startUpstream, type Upstream } from './upstream.ts'

let upstream: Upstream
beforeEach(async () => {
  upstream = await startUpstream()
})
afterEach(() => upstream.stop())

const CHAT = '/v1/chat/completions'
const MESSAGES = '/v1/messages'

function bodyOf(script: string, more: Record<string, unknown> = {}): string {
  return JSON.stringify({ model: 'gpt-x', messages: [{ role: 'user', content: `hello [[upstream ${script}]]` }], ...more })
}

const post = (path: string, script: string, more: Record<string, unknown> = {}) =>
  once({ origin: upstream.url, path, body: bodyOf(script, more) })

const json = async (path: string, script: string, more: Record<string, unknown> = {}) =>
  JSON.parse((await post(path, script, more)).body.toString())

async function events(path: string, script: string, more: Record<string, unknown> = {}) {
  const { body } = await post(path, script, { stream: true, ...more })
  return new SseParser().push(body)
}

/** Sends a call on a bare socket and returns every byte until the connection ends, or `until` says it has seen enough. */
function bytesOf(
  request: Buffer,
  until: (text: string) => boolean = () => false,
): Promise<{ text: string; error: string | null; ended: boolean }> {
  return new Promise((resolve) => {
    let text = ''
    let error: string | null = null
    const socket = connect(upstream.port, '127.0.0.1', () => socket.write(request))
    socket.on('data', (bytes) => {
      text += bytes.toString('latin1')
      if (!until(text)) return
      socket.destroy()
      resolve({ text, error, ended: false })
    })
    socket.on('error', (problem: NodeJS.ErrnoException) => {
      error = problem.code ?? problem.message
    })
    socket.on('close', () => resolve({ text, error, ended: true }))
  })
}

const call = (path: string, script: string, more: Record<string, unknown> = {}) =>
  callBytes({ origin: upstream.url, path, body: bodyOf(script, more) })

describe('answers', () => {
  it('answers a chat with the text and usage of the script', async () => {
    const reply = await json(CHAT, 'chunks=5,size=3,prompt=100,completion=7,cached=40,reasoning=2')
    expect(reply.choices[0].message.content).toBe(answerText(0, 15))
    expect(reply.usage).toMatchObject({ prompt_tokens: 100, completion_tokens: 7, total_tokens: 107 })
    expect(reply.usage.prompt_tokens_details.cached_tokens).toBe(40)
    expect(reply.usage.completion_tokens_details.reasoning_tokens).toBe(2)
  })

  it('streams the same text, usage only when asked for, and ends with [DONE]', async () => {
    const plain = await events(CHAT, 'chunks=5,size=3')
    const asked = await events(CHAT, 'chunks=5,size=3,prompt=9', { stream_options: { include_usage: true } })
    for (const list of [plain, asked]) {
      expect(list.at(-1)?.data).toBe('[DONE]')
      const deltas = list.slice(0, -1).map((event) => JSON.parse(event.data).choices[0]?.delta.content ?? '')
      expect(deltas.join('')).toBe(answerText(0, 15))
    }
    expect(plain.some((event) => event.data.includes('prompt_tokens'))).toBe(false)
    expect(JSON.parse(asked.at(-2)?.data ?? '').usage).toMatchObject({ prompt_tokens: 9, completion_tokens: 5 })
  })

  it('speaks Anthropic, counting cached input beside the rest', async () => {
    const script = 'chunks=3,size=2,think=2,tools=1,prompt=100,cached=60,written=10,completion=9'
    const whole = await json(MESSAGES, script)
    expect(whole.content.map((block: { type: string }) => block.type)).toEqual(['thinking', 'text', 'tool_use'])
    const usage = { input_tokens: 30, cache_read_input_tokens: 60, cache_creation_input_tokens: 10, output_tokens: 9 }
    expect(whole.usage).toEqual(usage)
    const list = (await events(MESSAGES, script)).map((event) => ({ event: event.event, ...JSON.parse(event.data) }))
    expect(list.every((event) => event.event === event.type)).toBe(true)
    expect(list[0].message.usage).toMatchObject({ input_tokens: 30, output_tokens: 1 })
    expect(list.at(-2)).toMatchObject({ type: 'message_delta', delta: { stop_reason: 'tool_use' }, usage: { output_tokens: 9 } })
    expect(list.at(-1)?.type).toBe('message_stop')
    expect(list.flatMap((event) => event.delta?.text ?? []).join('')).toBe(answerText(0, 6))
  })

  it('calls tools with arguments in pieces', async () => {
    const list = await events(CHAT, 'chunks=0,tools=2,toolsize=10,size=3')
    const calls: string[] = ['', '']
    for (const { data } of list.slice(0, -1)) {
      for (const piece of JSON.parse(data).choices[0].delta.tool_calls ?? []) calls[piece.index] += piece.function.arguments
    }
    expect(calls.map((text) => JSON.parse(text).query)).toEqual([answerText(0, 10), answerText(1, 10)])
  })

  it('answers completions, embeddings as floats and base64, models, and 404 elsewhere', async () => {
    const text = await once({ origin: upstream.url, path: '/v1/completions', body: JSON.stringify({ model: 'm', prompt: 'p' }) })
    expect(JSON.parse(text.body.toString()).choices[0].text).toBe(answerText(0, 32))
    const embed = async (more: object) => {
      const body = JSON.stringify({ model: 'm', input: ['a', 'b'], dimensions: 3, ...more })
      return JSON.parse((await once({ origin: upstream.url, path: '/v1/embeddings', body })).body.toString()).data
    }
    const [floats] = await embed({})
    const [packed, second] = await embed({ encoding_format: 'base64' })
    expect(second.index).toBe(1)
    const bytes = Buffer.from(packed.embedding, 'base64')
    expect([0, 4, 8].map((at) => bytes.readFloatLE(at))).toEqual(floats.embedding)
    const models = await once({ origin: upstream.url, path: '/v1/models', method: 'GET' })
    expect(JSON.parse(models.body.toString()).object).toBe('list')
    expect((await once({ origin: upstream.url, path: '/v1/nothing' })).status).toBe(404)
  })

  it('embeds texts the nearer to each other the more words they share, and always in the same way', async () => {
    const input = [
      'what is the capital of France',
      'What is the capital of France? [[upstream id=embedded]]',
      'what is the capital city of France',
      'bake bread at home with yeast',
      [1, 2, 3],
      '',
    ]
    const body = JSON.stringify({ model: 'm', input })
    const embed = async (): Promise<{ embedding: number[] }[]> =>
      JSON.parse((await once({ origin: upstream.url, path: '/v1/embeddings', body })).body.toString()).data
    const data = await embed()
    expect(await embed()).toEqual(data)
    const similar = (a: number, b: number): number => {
      const [one, other] = [data[a]?.embedding ?? [], data[b]?.embedding ?? []]
      return one.reduce((sum, number, at) => sum + number * (other[at] as number), 0)
    }
    expect(input.map((_, index) => similar(index, index))).toEqual(input.map(() => expect.closeTo(1, 5)))
    expect(similar(0, 1)).toBeCloseTo(1, 5)
    expect(similar(0, 2)).toBeGreaterThan(0.85)
    expect(similar(0, 2)).toBeLessThan(0.99)
    expect(Math.abs(similar(0, 3))).toBeLessThan(0.5)
  })

  it('sends unicode text whole, also when writes cut its characters', async () => {
    const list = await events(CHAT, 'chunks=20,size=3,text=unicode,write=7')
    const text = list.slice(0, -1).map((event) => JSON.parse(event.data).choices[0].delta.content ?? '')
    expect(text.join('')).toBe(answerText(0, 60, 'unicode'))
  })

  it('says what is wrong with a script instead of answering happily', async () => {
    const { status, body } = await post(CHAT, 'chnks=3')
    expect(status).toBe(400)
    expect(body.toString()).toContain('no key is called chnks')
  })

  it('waits as told before the head, the first text and between texts', async () => {
    const started = performance.now()
    await post(CHAT, 'latency=40,first=30,chunks=3,interval=20', { stream: true })
    // Timers may fire up to a millisecond early by this clock.
    expect(performance.now() - started).toBeGreaterThanOrEqual(40 + 30 + 2 * 20 - 4)
  })
})

describe('errors', () => {
  it('fails the first calls of an id in the words of each protocol, then answers', async () => {
    const first = await post(CHAT, 'id=e1,fail=429x1,retry=7,message=slow%20down')
    expect(first.status).toBe(429)
    expect(first.headers.get('retry-after')).toBe('7')
    expect(JSON.parse(first.body.toString()).error).toMatchObject({ code: 'rate_limit_exceeded', message: 'slow down' })
    expect((await post(CHAT, 'id=e1,fail=429x1')).status).toBe(200)
    const other = await post(MESSAGES, 'fail=529')
    expect(JSON.parse(other.body.toString())).toMatchObject({ type: 'error', error: { type: 'overloaded_error' } })
    expect(upstream.served('e1').map(({ status, outcome }) => [status, outcome])).toEqual([
      [429, 'faulted'],
      [200, 'completed'],
    ])
  })

  it('sends exact bytes: a body with its type and status, or everything', async () => {
    const exact = Buffer.from([0, 255, 10, 13, 128])
    const reply = await post(CHAT, `body=${exact.toString('base64')},type=audio/mpeg,fail=418`)
    expect([reply.status, reply.headers.get('content-type')]).toEqual([418, 'audio/mpeg'])
    expect(reply.body.equals(exact)).toBe(true)
    const raw = 'HTTP/1.1 299 Odd\r\ncontent-length: 0\r\n\r\n'
    expect((await bytesOf(call(CHAT, `raw=${Buffer.from(raw).toString('base64')}`))).text).toBe(raw)
  })
})

describe('faults', () => {
  it('fails before an answer in each way', async () => {
    expect(await bytesOf(call(CHAT, 'fault=reset'))).toMatchObject({ text: '', error: 'ECONNRESET' })
    expect(await bytesOf(call(CHAT, 'fault=close'))).toEqual({ text: '', error: null, ended: true })
    const head = (await bytesOf(call(CHAT, 'fault=head'))).text
    expect([head.startsWith('HTTP/1.1 200'), head.includes('\r\n\r\n')]).toEqual([true, false])
    expect((await bytesOf(call(CHAT, 'fault=junk'))).text).not.toContain('HTTP')
    expect(upstream.stats()).toMatchObject({ faulted: 4, active: 0 })
  })

  it('never answers, and counts the caller as gone when it leaves', async () => {
    const connection = new Connection(upstream.url)
    connection.call(call(CHAT, 'fault=hang,id=h'), { onEnd: () => {}, onError: () => {} })
    await upstream.when((stats) => stats.active === 1)
    connection.abort()
    await upstream.when((stats) => stats.aborted === 1)
    expect(upstream.served('h')[0]).toMatchObject({ outcome: 'aborted', bytesOut: 0 })
  })

  it('answers 200 with nothing, with HTML, with what is not JSON, with an error', async () => {
    for (const more of [{}, { stream: true }]) {
      expect((await post(CHAT, 'fault=empty', more)).body.length).toBe(0)
      const html = await post(CHAT, 'fault=html', more)
      expect([html.status, html.headers.get('content-type')]).toEqual([200, 'text/html'])
    }
    expect(() => JSON.parse('{"id": nope')).toThrow()
    expect((await post(CHAT, 'fault=malformed')).body.toString()).toBe('{"id": nope')
    expect((await json(CHAT, 'fault=error')).error.type).toBe('server_error')
  })

  it('breaks a stream at the chunk it was told to', async () => {
    const texts = (text: string): number => text.split('"content":"').length - 1 - 1
    const stream = { stream: true }
    const cut = await bytesOf(call(CHAT, 'chunks=6,after=2,fault=cut', stream))
    expect([texts(cut.text), cut.error, cut.text.endsWith('0\r\n\r\n')]).toEqual([2, null, false])
    const stalled = await bytesOf(call(CHAT, 'chunks=6,after=4,fault=stall', stream), (text) => texts(text) === 4)
    expect(stalled.ended).toBe(false)
    const truncated = await post(CHAT, 'chunks=6,after=6,fault=truncate', stream)
    expect([texts(truncated.body.toString()), truncated.body.includes('finish_reason":"stop')]).toEqual([6, false])
    const error = await events(CHAT, 'chunks=6,after=1,fault=error')
    expect(JSON.parse(error.at(-1)?.data ?? '').error.message).toContain('scripted failure')
    const anthropic = await events(MESSAGES, 'chunks=6,after=1,fault=error')
    expect(anthropic.at(-1)?.event).toBe('error')
    const malformed = await events(CHAT, 'chunks=2,fault=malformed')
    expect([malformed.filter(({ data }) => data === '{"id": nope').length, malformed.at(-1)?.data]).toEqual([1, '[DONE]'])
  })

  it('resets a stream in the middle', async () => {
    const reset = await bytesOf(call(CHAT, 'chunks=6,first=5,interval=5,after=3,fault=rst', { stream: true }))
    expect([reset.error, reset.text.includes('[DONE]'), reset.text.split('data:').length]).toEqual(['ECONNRESET', false, 5])
  })

  it('cuts, stalls and truncates a whole answer in its middle', async () => {
    const complete = (await post(CHAT, 'chunks=10')).body.length
    const cut = await bytesOf(call(CHAT, 'chunks=10,fault=cut'))
    expect(cut.text).toContain(`content-length: ${complete}`)
    expect(cut.text.split('\r\n\r\n')[1]?.length).toBe(Math.floor(complete / 2))
    const truncated = await post(CHAT, 'chunks=10,fault=truncate')
    expect(() => JSON.parse(truncated.body.toString())).toThrow(SyntaxError)
    const connection = new Connection(upstream.url)
    const stalled = await new Promise<number>((resolve) => {
      connection.call(call(CHAT, 'chunks=10,fault=stall'), {
        onData: (bytes) => resolve(bytes.length),
        onEnd: () => {},
        onError: () => {},
      })
    })
    expect(stalled).toBe(Math.floor(complete / 2))
    connection.abort()
  })

  it('leaves out the terminator or the usage, and repeats chunks', async () => {
    const usage = { stream_options: { include_usage: true } }
    expect((await events(CHAT, 'fault=no-done')).at(-1)?.data).toContain('finish_reason":"stop')
    expect((await events(CHAT, 'fault=no-usage', usage)).some(({ data }) => data.includes('prompt_tokens'))).toBe(false)
    expect((await json(CHAT, 'fault=no-usage')).usage).toBeUndefined()
    expect((await events(MESSAGES, 'fault=no-usage')).some(({ data }) => data.includes('_tokens'))).toBe(false)
    expect((await events(MESSAGES, 'fault=no-done')).at(-1)?.event).toBe('message_delta')
    const twice = await events(CHAT, 'chunks=3,fault=dup')
    expect(twice.filter(({ data }) => data.includes('"content":"') && !data.includes('"content":""')).length).toBe(6)
  })

  it('stops generating when the caller leaves, unless deaf', async () => {
    for (const [id, fault] of [
      ['heard', ''],
      ['deaf', ',fault=deaf'],
    ] as const) {
      const connection = new Connection(upstream.url)
      await new Promise<void>((resolve) => {
        const script = `id=${id},chunks=8,interval=10${fault}`
        connection.call(call(CHAT, script, { stream: true }), { onData: () => resolve(), onEnd: () => {}, onError: () => {} })
      })
      connection.abort()
      await upstream.when((stats) => stats.active === 0)
      const [served] = upstream.served(id)
      expect(served).toMatchObject({ outcome: 'aborted', usage: null })
      expect(served?.chunks).toBeLessThan(8)
      expect(served?.generated === 8).toBe(fault !== '')
    }
  })

  it('refuses connections on request and listens again on the same port', async () => {
    await upstream.refuse(true)
    await expect(post(CHAT, '')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    await upstream.refuse(false)
    expect((await post(CHAT, '')).status).toBe(200)
  })
})

describe('the record', () => {
  it('keeps what each id got and what it was sent', async () => {
    await once({
      origin: upstream.url,
      path: `/@west${CHAT}`,
      headers: { authorization: 'Bearer fake' },
      body: bodyOf('id=r1,chunks=4,size=5,prompt=50,completion=20', { stream: true, stream_options: { include_usage: true } }),
    })
    const [served] = upstream.served('r1')
    expect(served).toMatchObject({
      site: 'west',
      protocol: 'chat',
      model: 'gpt-x',
      stream: true,
      status: 200,
      outcome: 'completed',
    })
    expect(served).toMatchObject({ chunks: 4, generated: 4, text: 20 })
    expect(served?.usage).toEqual({ prompt: 50, completion: 20, cached: 0, written: 0, reasoning: 0 })
    expect(served?.headers['authorization']).toBe('Bearer fake')
    expect(served?.bodySha256).toBe(
      createHash('sha256')
        .update(served?.body ?? '')
        .digest('hex'),
    )
    expect(upstream.stats().usage).toMatchObject({ prompt: 50, completion: 20 })
    expect(upstream.served('nobody')).toEqual([])
  })

  it('tells the same over HTTP, without counting the question', async () => {
    await post(CHAT, 'id=h1')
    const stats = async (path: string, method = 'GET') =>
      JSON.parse((await once({ origin: upstream.url, path, method })).body.toString())
    expect(await stats('/stats')).toMatchObject({ requests: 1, completed: 1, active: 0 })
    expect((await stats('/stats?id=h1'))[0]).toMatchObject({ id: 'h1', status: 200 })
    await stats('/stats', 'DELETE')
    expect(await stats('/stats')).toMatchObject({ requests: 0, completed: 0 })
    expect(upstream.served('h1')).toEqual([])
  })

  it('takes traces for a collector, without counting them', async () => {
    const { status } = await once({ origin: upstream.url, path: '/v1/traces', body: '{"resourceSpans":[]}' })
    expect(status).toBe(200)
    expect(upstream.stats()).toMatchObject({ requests: 0, completed: 0, active: 0, faulted: 0 })
  })
})

describe('the wire', () => {
  it('answers pipelined requests in order on one connection', async () => {
    const requests = ['a', 'b', 'c'].map((id) => call(CHAT, `id=${id},chunks=1${id === 'a' ? ',latency=15' : ''}`))
    const { text } = await bytesOf(Buffer.concat(requests), (seen) => seen.includes('chatcmpl-c') && seen.endsWith('}'))
    expect([...text.matchAll(/chatcmpl-(\w)/g)].map((match) => match[1])).toEqual(['a', 'b', 'c'])
    expect(upstream.stats().connections).toBe(1)
  })

  it('takes a chunked body, and says 100 when asked', async () => {
    const body = bodyOf('id=c')
    const head = `POST ${CHAT} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n`
    const request = `${head}${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
    const { text, ended } = await bytesOf(Buffer.from(request))
    expect(text.startsWith('HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200')).toBe(true)
    expect(ended).toBe(true)
    expect(upstream.served('c')[0]?.body).toBe(body)
  })

  it('answers 400 to what is not HTTP', async () => {
    expect((await bytesOf(Buffer.from('hello\r\n\r\n'))).text).toContain('HTTP/1.1 400')
    expect(upstream.stats().unreadable).toBe(1)
  })

  it('drains a large request with bounded memory, keeping its size, ends and hash', async () => {
    const filler = 'x'.repeat(64 * 1024 * 1024)
    const body = `{"model":"big","messages":[{"content":"[[upstream id=big]] ${filler}"}],"stream":true}`
    const before = process.memoryUsage().rss
    const reply = await once({ origin: upstream.url, path: CHAT, body })
    // The body itself is in this process three times (text, bytes, call); what the provider adds must not be another one.
    expect(process.memoryUsage().rss - before).toBeLessThan(6 * body.length)
    expect(reply.body.toString()).toContain('[DONE]')
    const [served] = upstream.served('big')
    expect(served).toMatchObject({ model: 'big', stream: true, bodyBytes: body.length })
    expect(served?.body.length).toBeLessThan(200 * 1024)
    expect(served?.bodySha256).toBe(createHash('sha256').update(body).digest('hex'))
  })

  it('waits for a slow reader in the middle of a large answer', async () => {
    const connection = new Connection(upstream.url)
    let bytes = 0
    let begun = (): void => {}
    const head = new Promise<void>((resolve) => {
      begun = resolve
    })
    const ended = new Promise<void>((resolve, reject) => {
      connection.call(call(CHAT, 'id=slow,bytes=64m,size=64k'), {
        onHead: () => {
          connection.pause()
          begun()
        },
        onData: (data) => {
          bytes += data.length
        },
        onEnd: resolve,
        onError: reject,
      })
    })
    await head
    await upstream.when((stats) => stats.pauses > 0)
    const [served] = upstream.served('slow')
    // What the kernel's buffers took, far from the whole.
    expect(served?.bytesOut).toBeLessThan(32 * 1024 * 1024)
    expect(served?.outcome).toBe('active')
    connection.resume()
    await ended
    expect(bytes).toBeGreaterThan(64 * 1024 * 1024)
    expect(served).toMatchObject({ outcome: 'completed', text: 64 * 1024 * 1024 })
    connection.abort()
  })
})
