import { describe, expect, it } from 'vitest'
import type { Deployment } from '../proto/deployment.ts'
import { DEFAULT_ROUTING, type RoutingSettings } from '../proto/routing.ts'
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
    expect(events[0]).toMatchObject({ outcome: 'success', requestedModel: 'gpt', modelGroup: 'c' })
    expect(events[0]?.attempts).toHaveLength(5)
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
    expect(JSON.parse(client.text).error.message).toContain('LiteLLM Retried: 1 times')
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
