import { describe, expect, it } from 'vitest'
import { DEFAULT_ROUTING } from '../proto/routing.ts'
import { GatewayError } from '../shared/errors.ts'
import { answer, chat, delta, deployment, JSON_TYPE, make, STREAM, settled, sse } from './handle.testkit.ts'

describe('a call', () => {
  it('is answered with the client’s model name, its cost and the spend of its key, and reported with its usage', async () => {
    const { sent, events, call } = make()
    const client = call(chat)
    expect(sent[0]?.request.url).toBe('http://one.test/v1/chat/completions')
    expect(sent[0]?.request.headers['authorization']).toBe('Bearer k')
    sent[0]?.sink.head(200, JSON_TYPE)
    sent[0]?.sink.data(answer())
    sent[0]?.sink.end()
    await client.done
    expect(JSON.parse(client.text)).toMatchObject({ model: 'gpt', usage: { total_tokens: 150 } })
    // 100 × $2 and 50 × $8 per million are $0.0006; the key had spent $5.
    expect(client.head).toMatchObject({
      status: 200,
      headers: {
        'x-litellm-response-cost': '0.0006',
        'x-litellm-key-spend': '5.0006',
        'x-litellm-model-id': 'one',
        'x-litellm-attempted-retries': '0',
      },
    })
    expect(events).toHaveLength(1)
    expect(events[0]).toMatchObject({
      outcome: 'success',
      status: 200,
      modelGroup: 'gpt',
      attempts: [
        {
          provider: 'openai',
          deploymentId: 'one',
          outcome: 'success',
          cost: 600_000,
          rateVersion: 'r1',
          usage: { input: 100, output: 50 },
        },
      ],
    })
  })

  it('goes to the other deployment when the first fails, and says so', async () => {
    const { sent, events, call } = make([deployment('one'), deployment('two')])
    const client = call(chat)
    sent[0]?.sink.failed(new GatewayError('provider_connection'))
    await settled()
    expect(sent[1]?.request.url).toBe('http://two.test/v1/chat/completions')
    sent[1]?.sink.head(200, JSON_TYPE)
    sent[1]?.sink.data(answer())
    sent[1]?.sink.end()
    await client.done
    expect(client.head?.headers['x-litellm-attempted-retries']).toBe('1')
    expect(events[0]?.attempts.map(({ outcome }) => outcome)).toEqual(['failure', 'success'])
  })

  it('waits as long as the provider says before it tries the only deployment again', async () => {
    const { clock, sent, call } = make()
    call(chat)
    sent[0]?.sink.head(429, { ...JSON_TYPE, 'retry-after': '3' })
    sent[0]?.sink.data(Buffer.from('{"error":{"message":"slow"}}'))
    sent[0]?.sink.end()
    await settled()
    clock.advance(2_900)
    await settled()
    expect(sent).toHaveLength(1)
    clock.advance(100)
    await settled()
    expect(sent).toHaveLength(2)
  })

  it('is refused without a provider call when its model is unknown, and reported all the same', async () => {
    const { sent, events, call } = make()
    const client = call({ ...chat, model: 'nope' })
    await client.done
    expect(sent).toEqual([])
    expect(client.head?.status).toBe(400)
    expect(JSON.parse(client.text).error).toMatchObject({ code: '400', param: 'model' })
    expect(events[0]).toMatchObject({ outcome: 'failure', requestedModel: 'nope', attempts: [] })
  })

  it('never echoes a body that is not JSON', async () => {
    const { sent, call } = make()
    const client = call('{"model": "gpt", "api_key": sk-123')
    await client.done
    expect(sent).toEqual([])
    expect(client.head?.status).toBe(400)
    expect(client.text).toContain('not valid JSON')
    expect(client.text).not.toContain('sk-123')
  })

  it('stops waiting for an answer that does not come', async () => {
    const { clock, sent, events, call } = make([deployment('one')], { numRetries: 0 })
    const client = call(chat)
    clock.advance(60_200)
    await client.done
    expect(sent[0]?.aborted).toBe(true)
    expect(client.head?.status).toBe(408)
    expect(JSON.parse(client.text).error.type).toBe('timeout_error')
    expect(events[0]?.error?.code).toBe('provider_timeout')
  })

  it('aborts the provider and is reported as cancelled when the client leaves', async () => {
    const { sent, events, call } = make()
    const client = call({ ...chat, stream: true })
    sent[0]?.sink.head(200, STREAM)
    sent[0]?.sink.data(delta('one '))
    sent[0]?.sink.data(delta('two '))
    client.stream.onCancel?.('client closed the connection')
    await client.done
    expect(sent[0]?.aborted).toBe(true)
    expect(events[0]).toMatchObject({
      outcome: 'cancelled',
      status: 499,
      attempts: [{ outcome: 'cancelled', usage: { output: 2, estimated: true } }],
    })
    expect(events[0]?.attempts[0]?.usage?.input).toBeGreaterThan(0)
  })
})

describe('the cost of an answer', () => {
  it('is told in parts that add up to what it was before discount and margin', async () => {
    const prices = {
      rateVersion: 'r',
      input: 2_000_000_000,
      output: 8_000_000_000,
      cacheRead: 500_000_000,
      discount: 100_000,
      margin: 0,
    }
    const { call, sent } = make([deployment('one', { prices })])
    const client = call(chat)
    await settled()
    sent[0]?.sink.head(200, {})
    const usage = {
      prompt_tokens: 1_000,
      completion_tokens: 100,
      total_tokens: 1_100,
      prompt_tokens_details: { cached_tokens: 400 },
    }
    sent[0]?.sink.data(answer({ usage }))
    sent[0]?.sink.end()
    await client.done
    expect(client.head?.headers).toMatchObject({
      'x-litellm-response-cost-input': '0.0012',
      'x-litellm-response-cost-cache-read': '0.0002',
      'x-litellm-response-cost-output': '0.0008',
      'x-litellm-response-cost-original': '0.0022',
      'x-litellm-response-cost-discount-amount': '0.00022',
      'x-litellm-response-cost': '0.00198',
    })
  })
})

describe('a whole answer that breaks off', () => {
  it('is billed for the words that came, however many and whatever is escaped in them', async () => {
    const { sent, events, call } = make([deployment('one')], { numRetries: 0 })
    const client = call(chat)
    sent[0]?.sink.head(200, JSON_TYPE)
    const lines = 'four\\n\\"\\\\'.repeat(1_000_000)
    sent[0]?.sink.data(Buffer.from(`{"choices":[{"message":{"reasoning_content":"so\\\\","content":"${lines}`))
    sent[0]?.sink.failed(new GatewayError('provider_truncated'))
    await client.done
    expect(events).toHaveLength(1)
    const [attempt] = events[0]?.attempts ?? []
    expect(attempt).toMatchObject({ outcome: 'partial', usage: { estimated: true } })
    expect(attempt?.usage?.output).toBeCloseTo((lines.length + 4) / 4, -3)
  })
})

describe('the intent of a call', () => {
  it('is written before the provider is called, and says what to book if nobody ever reports', async () => {
    const { call, intents, sent } = make()
    const client = call({ ...chat, messages: [{ role: 'user', content: 'x'.repeat(400) }] })
    await settled()
    expect(sent).toHaveLength(1)
    expect(intents).toHaveLength(1)
    expect(intents[0]).toMatchObject({ callId: 'call-1', take: 1, outcome: 'unsettled', modelGroup: 'gpt' })
    expect(intents[0]?.attempts[0]).toMatchObject({ deploymentId: 'one', outcome: 'unsettled' })
    expect(intents[0]?.attempts[0]?.usage).toMatchObject({ estimated: true, output: 0 })
    expect(intents[0]?.attempts[0]?.usage?.input).toBeGreaterThan(99)
    sent[0]?.sink.head(200, {})
    sent[0]?.sink.data(answer())
    sent[0]?.sink.end()
    await client.done
  })

  it('is not written for an answer made here', async () => {
    const { call, intents } = make([deployment('one', { mockResponse: 'hello' })])
    await call(chat).done
    expect(intents).toEqual([])
  })
})

describe('a call that is left', () => {
  it('before its answer came is billed for its input, estimated: the provider has it', async () => {
    const { call, events, sent } = make()
    const client = call({ ...chat, messages: [{ role: 'user', content: 'x'.repeat(400) }] })
    await settled()
    client.stream.onCancel?.('client closed the connection')
    await client.done
    expect(sent[0]?.aborted).toBe(true)
    expect(events[0]?.outcome).toBe('cancelled')
    expect(events[0]?.attempts[0]?.usage).toMatchObject({ input: 100, output: 0, estimated: true })
    expect(events[0]?.attempts[0]?.cost).toBe(200_000)
  })
})

describe('a streamed call', () => {
  it('sends what came, keeps the terminator until it is reported, and takes out usage nobody asked for', async () => {
    const { sent, events, call } = make()
    const client = call({ ...chat, stream: true })
    sent[0]?.sink.head(200, STREAM)
    expect(client.head).toBeNull()
    sent[0]?.sink.data(delta('hello'))
    expect(client.head?.headers['content-type']).toBe('text/event-stream')
    sent[0]?.sink.data(delta('', 'stop'))
    sent[0]?.sink.data(
      sse({
        id: 'x',
        object: 'chat.completion.chunk',
        model: 'gpt-4o',
        choices: [],
        usage: { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10 },
      }),
    )
    expect(client.text).not.toContain('usage')
    sent[0]?.sink.data(sse('[DONE]'))
    expect(client.text).not.toContain('[DONE]')
    await client.done
    expect(client.text.endsWith('data: [DONE]\n\n')).toBe(true)
    expect(client.ended).toBe(true)
    expect(events[0]?.attempts[0]?.usage).toMatchObject({ input: 7, output: 3, estimated: false })
  })

  it('pauses the provider while the client is behind, and does not count that as silence', async () => {
    const { clock, sent, call } = make([deployment('one')], { numRetries: 0 })
    const client = call({ ...chat, stream: true })
    sent[0]?.sink.head(200, STREAM)
    client.keepsUp = false
    sent[0]?.sink.data(delta('much'))
    expect(sent[0]?.paused).toBe(true)
    clock.advance(30_000)
    expect(sent[0]?.aborted).toBe(false)
    client.keepsUp = true
    client.stream.onWritable?.()
    expect(sent[0]?.paused).toBe(false)
    clock.advance(4_900)
    expect(sent[0]?.aborted).toBe(false)
    clock.advance(400)
    expect(sent[0]?.aborted).toBe(true)
    await client.done
    expect(client.text).toContain('"error"')
  })

  it('reads the rest of an answer that is complete while the client is behind, so that its connection is free again', async () => {
    const { sent, call } = make()
    const client = call({ ...chat, stream: true })
    sent[0]?.sink.head(200, STREAM)
    client.keepsUp = false
    sent[0]?.sink.data(Buffer.concat([delta('all'), delta('', 'stop'), sse('[DONE]')].map((part) => Buffer.from(part))))
    await client.done
    expect(client.text).toContain('[DONE]')
    expect(sent[0]?.paused).toBe(false)
  })

  it('ends with an error event and without terminator when the provider falls silent, and is billed for what came', async () => {
    const { clock, sent, events, call } = make([deployment('one')], { numRetries: 0 })
    const client = call({ ...chat, stream: true })
    sent[0]?.sink.head(200, STREAM)
    sent[0]?.sink.data(delta('half'))
    clock.advance(5_300)
    await client.done
    expect(client.text).toMatch(/data: {"error":{.*"code":"408".*}}\n\n$/)
    expect(client.text).not.toContain('[DONE]')
    expect(events[0]).toMatchObject({
      outcome: 'partial',
      attempts: [{ outcome: 'partial', usage: { output: 1, estimated: true } }],
    })
  })

  it('is tried again when the provider fails before the first chunk, and not after it where failover is off', async () => {
    const routing = { ...DEFAULT_ROUTING, failover: { enabled: false, max: 0 } }
    const { sent, call } = make([deployment('one'), deployment('two')], { routing })
    const client = call({ ...chat, stream: true })
    sent[0]?.sink.head(200, STREAM)
    sent[0]?.sink.failed(new GatewayError('provider_truncated'))
    await settled()
    expect(sent).toHaveLength(2)
    sent[1]?.sink.head(200, STREAM)
    sent[1]?.sink.data(delta('half'))
    sent[1]?.sink.failed(new GatewayError('provider_truncated'))
    await client.done
    expect(sent).toHaveLength(2)
    expect(client.text).toContain('"error"')
  })

  it('is not taken for complete when the input ends without terminator', async () => {
    const { sent, events, call } = make([deployment('one')], { numRetries: 0 })
    const client = call({ ...chat, stream: true })
    sent[0]?.sink.head(200, STREAM)
    sent[0]?.sink.data(delta('half'))
    sent[0]?.sink.end()
    await client.done
    expect(client.text).toContain('"error"')
    expect(events[0]?.error?.code).toBe('provider_truncated')
  })

  it('tells of an HTML page in place of a stream as a failure of the provider', async () => {
    const { sent, call } = make([deployment('one')], { numRetries: 0 })
    const client = call({ ...chat, stream: true })
    sent[0]?.sink.head(200, { 'content-type': 'text/html' })
    sent[0]?.sink.data(Buffer.from('<html>welcome</html>'))
    sent[0]?.sink.end()
    await client.done
    expect(client.head?.status).toBeGreaterThanOrEqual(500)
  })
})
