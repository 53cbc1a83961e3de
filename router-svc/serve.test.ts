import { describe, expect, it } from 'vitest'
import type { Deployment } from '../proto/deployment.ts'
import { DEFAULT_ROUTING, type RoutingSettings } from '../proto/routing.ts'
import { GatewayError } from '../shared/errors.ts'
import { Ticket } from './admission/ticket.ts'
import { answer, chat, delta, deployment, JSON_TYPE, make, type Sent, STREAM, settled, sse } from './handle.testkit.ts'

const lists = (general: Record<string, string[]>): RoutingSettings['fallbacks'] => ({
  general: Object.fromEntries(Object.entries(general).map(([group, models]) => [group, models.map((model) => ({ model }))])),
  contextWindow: null,
  contentPolicy: null,
})

function gateway(deployments: Deployment[], routing: Partial<RoutingSettings>, numRetries = 0) {
  return make(deployments, { numRetries, routing: { ...DEFAULT_ROUTING, ...routing } })
}

function fail(
  sent: Sent | undefined,
  status: number,
  error: object = { message: 'no' },
  headers: Record<string, string> = {},
): void {
  sent?.sink.head(status, { ...JSON_TYPE, ...headers })
  sent?.sink.data(Buffer.from(JSON.stringify({ error })))
  sent?.sink.end()
}

function succeed(sent: Sent | undefined): void {
  sent?.sink.head(200, JSON_TYPE)
  sent?.sink.data(answer())
  sent?.sink.end()
}

const hosts = (sent: Sent[]): string[] => sent.map(({ request }) => new URL(request.url).hostname.split('.')[0] as string)

describe('an answer whose parts are of other types than its protocol says', () => {
  it('is an error of the provider that another try may better, not one of ours', async () => {
    const { sent, call, clock } = gateway([deployment('one'), deployment('two')], {}, 1)
    const body = { model: 'gpt', max_tokens: 9, stream: true, messages: [{ role: 'user', content: 'hi' }] }
    const client = call(body, { endpoint: 'anthropic_messages' })
    for (const step of [0, 1]) {
      sent[step]?.sink.head(200, STREAM)
      sent[step]?.sink.data(sse({ choices: [{ index: 0, delta: { tool_calls: { not: 'a list' } } }] }))
      await settled()
      clock.advance(1_000)
      await settled()
    }
    await client.done
    expect(sent).toHaveLength(2)
    expect(client.head?.status).toBe(502)
    expect(client.text).toContain('APIResponseValidationError')
  })
})

describe('a model name of a client', () => {
  it('is not repeated in the headers at any length, for clients that take no more than 8 KB of them', async () => {
    const client = make([deployment('one', { modelGroup: 'b' })]).call({ ...chat, model: 'long'.repeat(10_000) })
    await client.done
    expect(client.head?.status).toBe(400)
    expect(client.head?.headers['x-litellm-model-group']).toBe('long'.repeat(64))
  })
})

describe('fallbacks', () => {
  it('are tried in their order once the retries of the group are used, and the answer says how many there were', async () => {
    const { sent, events, call, clock } = gateway(
      [deployment('one'), deployment('two', { modelGroup: 'b' }), deployment('three', { modelGroup: 'c' })],
      { fallbacks: lists({ gpt: ['b', 'c'] }) },
      1,
    )
    const client = call(chat)
    fail(sent[0], 500)
    await settled()
    clock.advance(1_000)
    await settled()
    fail(sent[1], 500)
    await settled()
    fail(sent[2], 503)
    await settled()
    clock.advance(1_000)
    await settled()
    fail(sent[3], 503)
    await settled()
    succeed(sent[4])
    await client.done
    expect(hosts(sent)).toEqual(['one', 'one', 'two', 'two', 'three'])
    expect(client.head?.status).toBe(200)
    expect(client.head?.headers).toMatchObject({
      'x-litellm-attempted-fallbacks': '2',
      'x-litellm-model-group': 'c',
      'x-litellm-model-id': 'three',
    })
    expect(JSON.parse(client.text).model).toBe('c')
    expect(events[0]).toMatchObject({ outcome: 'success', requestedModel: 'gpt', modelGroup: 'c' })
    expect(events[0]?.attempts).toHaveLength(5)
  })

  it('are held for with the fields they replace, and one that the budget refuses leaves the request as it was', async () => {
    const held: unknown[] = []
    const nothing = { lease: 'l', limits: [], scopes: [], tokens: 0, output: 0, bounded: true, metered: false, costOf: null }
    const { sent, call } = make(
      [deployment('one'), deployment('two', { modelGroup: 'b' }), deployment('three', { modelGroup: 'c' })],
      { numRetries: 0 },
      (_, own) => ({
        admission: {
          ...own.admission,
          admit: () => new Ticket(nothing),
          rehold: ({ request }, _runtime, { group }) => held.push([group, request['max_tokens'], request['seed']]) > 1,
          again: () => true,
        },
      }),
    )
    const client = call({ ...chat, max_tokens: 5, fallbacks: [{ model: 'b', max_tokens: 9_000, seed: 1 }, 'c'] })
    fail(sent[0], 500)
    await settled()
    succeed(sent[1])
    await client.done
    expect(held).toEqual([
      ['b', 9_000, 1],
      ['c', 5, undefined],
    ])
    expect(hosts(sent)).toEqual(['one', 'three'])
    const body = JSON.parse(Buffer.from(sent[1]?.request.body as Uint8Array).toString()) as Record<string, unknown>
    expect([body['max_tokens'], body['seed']]).toEqual([5, undefined])
  })

  it('and retries end where no budget has room for one more attempt; the client is told why the last one failed', async () => {
    const nothing = { lease: 'l', limits: [], scopes: [], tokens: 0, output: 0, bounded: true, metered: false, costOf: null }
    let asked = 0
    const { sent, call } = make([deployment('one'), deployment('two'), deployment('three')], { numRetries: 3 }, (_, own) => ({
      admission: { ...own.admission, admit: () => new Ticket(nothing), again: () => ++asked < 2 },
    }))
    const client = call(chat)
    fail(sent[0], 500)
    await settled()
    fail(sent[1], 503, { message: 'gone' })
    await client.done
    expect([sent.length, asked]).toEqual([2, 2])
    expect(client.head?.status).toBe(503)
    expect(client.text).toContain('gone')
  })

  it('that fail too leave the error of the group asked for, with what was tried in its text', async () => {
    const { sent, call } = gateway([deployment('one'), deployment('two', { modelGroup: 'b' })], {
      fallbacks: lists({ gpt: ['b'] }),
    })
    const client = call(chat)
    fail(sent[0], 503, { message: 'first is away' })
    await settled()
    fail(sent[1], 500, { message: 'second is broken' })
    await client.done
    expect(client.head?.status).toBe(503)
    const { message } = JSON.parse(client.text).error
    expect(message).toContain('first is away')
    expect(message).toContain("Received Model Group=gpt\nAvailable Model Group Fallbacks=['b']")
    expect(message).toContain('Error doing the fallback: ')
    expect(message).toContain('second is broken')
  })

  it('of a fallback are its own, and no group is tried twice', async () => {
    const { sent, call } = gateway(
      [deployment('one'), deployment('two', { modelGroup: 'b' }), deployment('three', { modelGroup: 'c' })],
      { fallbacks: lists({ gpt: ['b'], b: ['gpt', 'c'], c: ['b'] }) },
    )
    const client = call(chat)
    for (let index = 0; index < 3; index += 1) {
      fail(sent[index], 500)
      await settled()
    }
    await client.done
    expect(hosts(sent)).toEqual(['one', 'two', 'three'])
    expect(client.head?.status).toBe(500)
  })

  it('may be another model of the same pattern', async () => {
    const { sent, call } = gateway([deployment('one', { modelGroup: 'openai/*', model: '*' })], {
      fallbacks: lists({ 'openai/gpt-4o': ['openai/gpt-4o-mini', 'openai/gpt-4o'] }),
    })
    const client = call({ ...chat, model: 'openai/gpt-4o' })
    fail(sent[0], 500)
    await settled()
    fail(sent[1], 500)
    await client.done
    expect(sent.map(({ request }) => JSON.parse(Buffer.from(request.body as Uint8Array).toString()).model)).toEqual([
      'gpt-4o',
      'gpt-4o-mini',
    ])
  })

  it('stop at max_fallbacks', async () => {
    const { sent, call } = gateway(
      [deployment('one'), deployment('two', { modelGroup: 'b' }), deployment('three', { modelGroup: 'c' })],
      { fallbacks: lists({ gpt: ['b', 'c'] }), maxFallbacks: 1 },
    )
    const client = call(chat)
    fail(sent[0], 500)
    await settled()
    fail(sent[1], 500)
    await client.done
    expect(hosts(sent)).toEqual(['one', 'two'])
  })

  it('for a context window are used for that error, and the general ones for the others', async () => {
    const routing = {
      fallbacks: { ...lists({ gpt: ['b'] }), contextWindow: { gpt: [{ model: 'c' }] } },
    }
    const three = [deployment('one'), deployment('two', { modelGroup: 'b' }), deployment('three', { modelGroup: 'c' })]
    const long = gateway(three, routing)
    long.call(chat)
    fail(long.sent[0], 400, { message: "This model's maximum context length is 8192 tokens", code: 'context_length_exceeded' })
    await settled()
    expect(hosts(long.sent)).toEqual(['one', 'three'])
    const other = gateway(three, routing)
    other.call(chat)
    fail(other.sent[0], 400, { message: 'no such parameter' })
    await settled()
    expect(hosts(other.sent)).toEqual(['one', 'two'])
  })

  it('take a stream that failed before its first chunk, and the client sees one clean stream', async () => {
    const { sent, call } = gateway([deployment('one'), deployment('two', { modelGroup: 'b' })], {
      fallbacks: lists({ '*': ['b'] }),
    })
    const client = call({ ...chat, stream: true })
    fail(sent[0], 502)
    await settled()
    sent[1]?.sink.head(200, STREAM)
    sent[1]?.sink.data(delta('hello', 'stop'))
    sent[1]?.sink.data(sse('[DONE]'))
    await client.done
    expect(client.head?.status).toBe(200)
    expect(client.text).toContain('hello')
    expect(client.text.endsWith('data: [DONE]\n\n')).toBe(true)
  })
})

describe('retries', () => {
  it('of a kind of failure are as many as its policy says, and none where it says none', async () => {
    const { sent, call, clock } = gateway([deployment('one')], { retryPolicy: { BadRequestError: 1, InternalServerError: 0 } }, 5)
    const client = call(chat)
    fail(sent[0], 400)
    await settled()
    clock.advance(1_000)
    await settled()
    expect(sent).toHaveLength(2)
    fail(sent[1], 500)
    await client.done
    expect(sent).toHaveLength(2)
    expect(JSON.parse(client.text).error.message).toContain('LiteLLM Retried: 1 times, LiteLLM Max Retries: 1')
  })

  it('share the time the request itself allows for the whole call', async () => {
    const { sent, call, clock } = gateway([deployment('one')], {}, 5)
    const client = call({ ...chat, timeout: 1 })
    clock.advance(700)
    fail(sent[0], 500)
    await settled()
    // Half a second of waiting would pass the deadline.
    await client.done
    expect(sent).toHaveLength(1)
    expect(client.head?.status).toBe(500)
  })
})

describe('a hedged call', () => {
  const pair = () => gateway([deployment('one'), deployment('two')], { hedgeAfter: 200 })

  it('goes to a second deployment when the first is slow, is answered by whoever is first, and both are booked', async () => {
    const { sent, events, intents, call, clock } = pair()
    const client = call(chat)
    await settled()
    clock.advance(199)
    await settled()
    expect(hosts(sent)).toEqual(['one'])
    clock.advance(1)
    await settled()
    expect(hosts(sent)).toEqual(['one', 'two'])
    expect(intents.at(-1)?.attempts.map(({ index, deploymentId }) => [index, deploymentId])).toEqual([
      [0, 'one'],
      [1, 'two'],
    ])
    succeed(sent[1])
    await client.done
    expect(client.head?.headers['x-litellm-model-id']).toBe('two')
    expect(sent[0]?.aborted).toBe(true)
    expect(events[0]?.attempts.map(({ index, outcome, usage }) => [index, outcome, usage?.estimated])).toEqual([
      [0, 'cancelled', true],
      [1, 'success', false],
    ])
  })

  it('is not sent twice when the first begins in time', async () => {
    const { sent, call, clock } = pair()
    const client = call({ ...chat, stream: true })
    await settled()
    sent[0]?.sink.head(200, STREAM)
    sent[0]?.sink.data(delta('hel'))
    await settled()
    clock.advance(1_000)
    await settled()
    sent[0]?.sink.data(delta('lo', 'stop'))
    sent[0]?.sink.data(sse('[DONE]'))
    await client.done
    expect(hosts(sent)).toEqual(['one'])
    expect(client.text).toContain('lo')
  })

  it('streams from one of the two only, byte for byte', async () => {
    const { sent, call, clock } = pair()
    const client = call({ ...chat, stream: true })
    await settled()
    clock.advance(200)
    await settled()
    sent[0]?.sink.head(200, STREAM)
    sent[1]?.sink.head(200, STREAM)
    sent[0]?.sink.data(delta('first'))
    sent[1]?.sink.data(delta('second'))
    sent[0]?.sink.data(delta(' end', 'stop'))
    sent[0]?.sink.data(sse('[DONE]'))
    await client.done
    expect(client.text).not.toContain('second')
    expect(client.text.match(/\[DONE\]/g)).toHaveLength(1)
    expect(sent[1]?.aborted).toBe(true)
  })

  it('fails only when both fail, and leaves nothing running when the client leaves', async () => {
    const failing = pair()
    const client = failing.call(chat)
    await settled()
    failing.clock.advance(200)
    await settled()
    fail(failing.sent[0], 500)
    await settled()
    expect(client.ended).toBe(false)
    fail(failing.sent[1], 500)
    await client.done
    expect(client.head?.status).toBe(500)

    const leaving = pair()
    const gone = leaving.call(chat)
    await settled()
    leaving.clock.advance(200)
    await settled()
    gone.stream.onCancel?.('left')
    await gone.done
    expect(leaving.sent.map(({ aborted }) => aborted)).toEqual([true, true])
    expect(leaving.events[0]?.attempts).toHaveLength(2)
  })
})

describe('a stream that dies after text was sent', () => {
  const role = sse({
    id: 'first',
    object: 'chat.completion.chunk',
    created: 1,
    model: 'gpt-4o',
    choices: [{ index: 0, delta: { role: 'assistant', content: '' }, finish_reason: null }],
  })
  const half = delta('The quick brown fox ')
  const usage = (prompt: number, completion: number) =>
    sse({
      id: 'y',
      object: 'chat.completion.chunk',
      created: 2,
      model: 'gpt-4o',
      choices: [],
      usage: { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion },
    })
  const textOf = (stream: string) =>
    stream
      .split('\n\n')
      .filter((event) => event.startsWith('data: {'))
      .map((event) => JSON.parse(event.slice(6)).choices?.[0]?.delta?.content ?? '')
      .join('')
  const rest = (sent: Sent | undefined): void => {
    sent?.sink.head(200, STREAM)
    sent?.sink.data(role)
    sent?.sink.data(delta('jumps over the lazy dog.', 'stop'))
    sent?.sink.data(usage(20, 6))
    sent?.sink.data(sse('[DONE]'))
  }

  it('goes on at another deployment in the same stream, nothing said twice, both halves booked', async () => {
    const { sent, events, call } = gateway([deployment('one'), deployment('two')], {}, 1)
    const client = call({ ...chat, stream: true })
    sent[0]?.sink.head(200, STREAM)
    sent[0]?.sink.data(role)
    sent[0]?.sink.data(half)
    sent[0]?.sink.failed(new GatewayError('provider_connection'))
    await settled()
    expect(hosts(sent)).toEqual(['one', 'two'])
    const asked = JSON.parse(String(sent[1]?.request.body)).messages as { role: string; content: string }[]
    expect(asked.some(({ role: who, content }) => who === 'assistant' && content === 'The quick brown fox ')).toBe(true)
    rest(sent[1])
    await client.done
    expect(textOf(client.text)).toBe('The quick brown fox jumps over the lazy dog.')
    expect(client.text.match(/"role":"assistant"/g)).toHaveLength(1)
    expect(client.text.match(/"finish_reason":"stop"/g)).toHaveLength(1)
    expect(client.text.match(/\[DONE\]/g)).toHaveLength(1)
    expect(client.text).toContain('"failover":{"from":"one","to":"two"')
    expect(events[0]).toMatchObject({ outcome: 'success', status: 200 })
    expect(events[0]?.attempts.map(({ outcome, deploymentId }) => [deploymentId, outcome])).toEqual([
      ['one', 'partial'],
      ['two', 'success'],
    ])
    expect(events[0]?.attempts[0]?.usage).toMatchObject({ estimated: true })
    expect(events[0]?.attempts[1]?.usage).toMatchObject({ input: 20, output: 6, estimated: false })
  })

  it('goes on in a fallback group once its own is used up', async () => {
    const { sent, call } = gateway([deployment('one'), deployment('two', { modelGroup: 'b' })], {
      fallbacks: lists({ gpt: ['b'] }),
    })
    const client = call({ ...chat, stream: true })
    sent[0]?.sink.head(200, STREAM)
    sent[0]?.sink.data(half)
    sent[0]?.sink.end()
    await settled()
    expect(hosts(sent)).toEqual(['one', 'two'])
    rest(sent[1])
    await client.done
    expect(textOf(client.text)).toBe('The quick brown fox jumps over the lazy dog.')
  })

  it('ends with an error event and no terminator when nobody can go on', async () => {
    const { sent, events, call } = gateway([deployment('one'), deployment('two', { modelGroup: 'b' })], {
      fallbacks: lists({ gpt: ['b'] }),
    })
    const client = call({ ...chat, stream: true })
    sent[0]?.sink.head(200, STREAM)
    sent[0]?.sink.data(half)
    sent[0]?.sink.end()
    await settled()
    fail(sent[1], 503)
    await client.done
    expect(client.text.match(/"error"/g)).toHaveLength(1)
    expect(client.text).not.toContain('[DONE]')
    expect(client.text.startsWith('data: {')).toBe(true)
    expect(events[0]).toMatchObject({ outcome: 'partial' })
  })

  it('is never continued once a tool call was begun', async () => {
    const { sent, call } = gateway([deployment('one'), deployment('two')], {}, 2)
    const client = call({ ...chat, stream: true })
    sent[0]?.sink.head(200, STREAM)
    sent[0]?.sink.data(half)
    sent[0]?.sink.data(
      sse({
        id: 'first',
        object: 'chat.completion.chunk',
        created: 1,
        model: 'gpt-4o',
        choices: [
          {
            index: 0,
            delta: { tool_calls: [{ index: 0, id: 'call_1', type: 'function', function: { name: 'look', arguments: '{"a' } }] },
            finish_reason: null,
          },
        ],
      }),
    )
    sent[0]?.sink.failed(new GatewayError('provider_connection'))
    await client.done
    expect(hosts(sent)).toEqual(['one'])
    expect(client.text).toContain('"error"')
    expect(client.text).not.toContain('[DONE]')
  })

  it('is continued as often as the settings allow and no more', async () => {
    const { sent, call } = gateway(
      [deployment('one'), deployment('two'), deployment('three')],
      { failover: { enabled: true, max: 1 } },
      5,
    )
    const client = call({ ...chat, stream: true })
    sent[0]?.sink.head(200, STREAM)
    sent[0]?.sink.data(half)
    sent[0]?.sink.end()
    await settled()
    sent[1]?.sink.head(200, STREAM)
    sent[1]?.sink.data(delta('jumps over the lazy dog and then some more. '))
    sent[1]?.sink.end()
    await client.done
    expect(sent).toHaveLength(2)
    expect(client.text.match(/"error"/g)).toHaveLength(1)
    expect(textOf(client.text)).toBe('The quick brown fox jumps over the lazy dog and then some more. ')
  })
})
