import { describe, expect, it } from 'vitest'
import { chat, deployment, make } from '../handle.testkit.ts'

/** Whole calls, so that what a row and an adapter say together reaches the wire: address, key, framing. Bytes after the vendors' documents. */
function called(fields: Parameters<typeof deployment>[1], request: object) {
  const gateway = make([deployment('one', fields)], { numRetries: 0 })
  const client = gateway.call({ ...chat, ...request })
  const [upstream] = gateway.sent
  if (upstream === undefined) throw new Error(`nothing was sent: ${client.error?.message}`)
  return { ...gateway, client, upstream, answer: respond(upstream) }
}

function respond(upstream: {
  sink: { head(status: number, headers: Record<string, string>): void; data(bytes: Uint8Array): void; end(): void }
}) {
  return (type: string, ...pieces: (string | Uint8Array)[]) => {
    upstream.sink.head(200, { 'content-type': type })
    for (const piece of pieces) upstream.sink.data(Buffer.from(piece))
    upstream.sink.end()
  }
}

describe('a whole call', () => {
  it('streams bare text, a character cut in two', async () => {
    const { client, upstream, answer, events } = called({ provider: 'nlp_cloud', model: 'm', apiBase: null }, { stream: true })
    expect(upstream.request).toMatchObject({
      url: 'https://api.nlpcloud.io/v1/gpu/m/generation',
      headers: { authorization: 'Token k' },
    })
    const bytes = Buffer.from('Gr\u00fc\u00df')
    answer('application/octet-stream', bytes.subarray(0, 3), bytes.subarray(3))
    await client.done
    expect(client.text).toContain('"Gr"')
    expect(client.text).toContain('\u00fc')
    expect(client.text).toContain('"finish_reason":"stop"')
    expect(client.text).toContain('[DONE]')
    expect(events[0]?.outcome).toBe('success')
  })

  it('takes JSON in place of bare text for the error it is', async () => {
    const { client, answer, events } = called({ provider: 'bytez', model: 'a/b', apiBase: null }, { stream: true })
    answer('application/json', '{"error":"no such model","output":null}')
    await client.done
    expect(events[0]?.outcome).toBe('failure')
    expect(client.text + JSON.stringify(client.error)).toContain('no such model')
  })

  it('streams in one piece what answers whole', async () => {
    const { client, answer, events } = called(
      { provider: 'petals', model: 'a/b', apiBase: 'http://swarm/api/v1/generate' },
      { stream: true },
    )
    answer('application/json', '{"ok":true,"outputs":"Hello"}')
    await client.done
    expect(client.text).toContain('"Hello"')
    expect(events[0]?.outcome).toBe('success')
  })

  it('knows from the address that tensors are meant', async () => {
    const { client, upstream, answer, events } = called(
      { provider: 'triton', model: 'm', apiBase: 'http://triton/v2/models/m/infer', apiKey: null },
      { stream: true },
    )
    expect(upstream.request.headers['authorization']).toBeUndefined()
    expect(String(upstream.request.body)).toContain('"datatype":"BYTES"')
    answer('application/json', '{"outputs":[{"name":"text_output","datatype":"BYTES","shape":[1],"data":["Hello"]}]}')
    await client.done
    expect(client.text).toContain('"Hello"')
    expect(events[0]?.outcome).toBe('success')
  })

  it('is read where OpenAI’s bytes are at an address of their own', async () => {
    const { client, upstream, answer } = called({ provider: 'clarifai', model: 'u.a.m', apiBase: null }, {})
    expect(upstream.request.url).toBe('https://api.clarifai.com/v2/ext/openai/v1/chat/completions')
    expect(JSON.parse(String(upstream.request.body)).model).toBe('https://clarifai.com/u/a/models/m')
    answer(
      'application/json',
      '{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}',
    )
    await client.done
    expect(client.text).toContain('"Hello"')
  })
})
