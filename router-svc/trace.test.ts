import { describe, expect, it } from 'vitest'
import { DEFAULT_ROUTING } from '../proto/routing.ts'
import { GatewayError } from '../shared/errors.ts'
import type { Span, Tracer } from '../shared/tracer.ts'
import { answer, chat, delta, deployment, identity, JSON_TYPE, make, STREAM, settled, sse } from './handle.testkit.ts'
import { noObserver } from './observe.ts'
import { createRouterTrace } from './trace.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const EDGE = 'b7ad6b7169203331'
const traceparent = `00-${TRACE}-${EDGE}-01`

function traced(
  deployments = [deployment('one')],
  changes: Parameters<typeof make>[1] = {},
  { namesCallers = true, forwards = true } = {},
) {
  const spans: Span[] = []
  const tracer: Tracer = { begin: () => null, namesCallers, forwards, record: (span) => void spans.push(span) }
  const trace = createRouterTrace(tracer)
  const made = make(deployments, changes, () => ({ observe: trace.observe(noObserver), trace }))
  const named = (name: string) => spans.filter((span) => span.name === name)
  /** Ids of the spans that providers were told, in their order. */
  const told = () => made.sent.map(({ request }) => (request.headers['traceparent'] as string).split('-')[2])
  return { ...made, spans, named, told }
}

describe('the router’s spans', () => {
  it('are the choice under the edge’s span, and under it the attempt that the provider was told of', async () => {
    const { sent, call, named, spans } = traced()
    const client = call({ ...chat, temperature: 0.2, max_tokens: 7, user: 'customer' }, { traceparent, clientCallId: 'own' })
    sent[0]?.sink.head(200, JSON_TYPE)
    sent[0]?.sink.data(answer())
    sent[0]?.sink.end()
    await client.done
    expect(spans).toHaveLength(2)
    const [router] = named('router')
    expect(router).toMatchObject({ traceId: TRACE, parentId: EDGE, failed: false })
    expect(router?.attributes).toMatchObject({ 'router.attempts': 1, 'router.model_group': 'gpt', 'litellm.call_id': 'own' })
    const [attempt] = named('litellm_request')
    expect(attempt).toMatchObject({ traceId: TRACE, parentId: router?.spanId, kind: 'client', failed: false, events: [] })
    expect(sent[0]?.request.headers['traceparent']).toBe(`00-${TRACE}-${attempt?.spanId}-01`)
    expect(attempt?.attributes).toEqual({
      'gen_ai.system': 'openai',
      'gen_ai.operation.name': 'chat',
      'gen_ai.request.model': 'gpt-4o',
      'gen_ai.request.id': 'own',
      'gen_ai.request.temperature': 0.2,
      'gen_ai.request.max_tokens': 7,
      'gen_ai.response.model': 'gpt-4o-2024',
      'gen_ai.response.finish_reasons': ['stop'],
      'gen_ai.usage.input_tokens': 100,
      'gen_ai.usage.output_tokens': 50,
      'gen_ai.usage.total_tokens': 150,
      'gen_ai.usage.cache_read.input_tokens': 0,
      'gen_ai.cost.total_cost': 0.0006,
      'llm.request.type': 'chat',
      'llm.is_streaming': false,
      'llm.user': 'customer',
      'hidden_params.model_id': 'one',
      'router.attempt': 0,
      'router.outcome': 'success',
      'metadata.user_api_key_hash': identity.keyHash,
    })
  })

  it('are none for a call that its edge does not trace, whose provider is told nothing', async () => {
    const { sent, call, spans } = traced()
    // What the client wrote is the edge's to judge.
    const client = call(chat, { headers: { traceparent } })
    sent[0]?.sink.head(200, JSON_TYPE)
    sent[0]?.sink.data(answer())
    sent[0]?.sink.end()
    await client.done
    expect(spans).toEqual([])
    expect(sent[0]?.request.headers).not.toHaveProperty('traceparent')
  })

  it('show a fallback as another attempt of the call under its own id, and no word of the provider’s', async () => {
    const routing = { ...DEFAULT_ROUTING, fallbacks: { ...DEFAULT_ROUTING.fallbacks, general: { gpt: [{ model: 'spare' }] } } }
    const deployments = [deployment('one'), deployment('two', { modelGroup: 'spare' })]
    const { sent, call, named, told } = traced(deployments, { numRetries: 0, routing })
    const client = call(chat, { traceparent })
    sent[0]?.sink.failed(new GatewayError('provider_connection', 'hush: what the client said'))
    await settled()
    sent[1]?.sink.head(200, JSON_TYPE)
    sent[1]?.sink.data(answer())
    sent[1]?.sink.end()
    await client.done
    const attempts = named('litellm_request')
    expect(attempts.map(({ failed, attributes }) => [failed, attributes['error.code']])).toEqual([
      [true, 'provider_connection'],
      [false, undefined],
    ])
    expect(attempts.map(({ spanId }) => spanId)).toEqual(told())
    expect(new Set(attempts.map(({ spanId }) => spanId)).size).toBe(2)
    expect(JSON.stringify(attempts)).not.toContain('hush')
  })

  it('show both attempts of a hedged call, each as its provider was told, and the slower one as no failure', async () => {
    const routing = { ...DEFAULT_ROUTING, hedgeAfter: 200 }
    const { clock, sent, call, named, told } = traced([deployment('one'), deployment('two')], { routing })
    const client = call(chat, { traceparent })
    clock.advance(200)
    await settled()
    sent[1]?.sink.head(200, JSON_TYPE)
    sent[1]?.sink.data(answer())
    sent[1]?.sink.end()
    await client.done
    const attempts = named('litellm_request')
    expect(attempts.map(({ failed, attributes }) => [failed, attributes['router.outcome']])).toEqual([
      [false, 'cancelled'],
      [false, 'success'],
    ])
    expect(attempts.map(({ spanId }) => spanId)).toEqual(told())
  })

  it('tell when a stream began and why it ended, however its bytes were cut', async () => {
    const { clock, sent, call, named } = traced()
    const client = call({ ...chat, stream: true }, { traceparent })
    sent[0]?.sink.head(200, STREAM)
    clock.advance(250)
    sent[0]?.sink.data(delta('he said \\"finish_reason\\":\\"length\\"'))
    for (const byte of delta('', 'stop')) sent[0]?.sink.data(Buffer.from([byte]))
    sent[0]?.sink.data(sse('[DONE]'))
    sent[0]?.sink.end()
    await client.done
    const [attempt] = named('litellm_request')
    expect(attempt?.attributes).toMatchObject({
      'gen_ai.response.time_to_first_chunk': 0.25,
      'gen_ai.response.finish_reasons': ['stop'],
    })
    expect(attempt?.events?.map(({ name }) => name)).toEqual(['first_token'])
  })

  it('end with an error when the call failed, and without when its client left', async () => {
    const failing = traced([deployment('one')], { numRetries: 0 })
    const failed = failing.call(chat, { traceparent })
    failing.sent[0]?.sink.failed(new GatewayError('provider_authentication'))
    await failed.done
    expect(failing.named('router')[0]).toMatchObject({ failed: true, attributes: { 'error.code': 'provider_authentication' } })

    const leaving = traced()
    const left = leaving.call(chat, { traceparent })
    left.stream.onCancel?.('client_gone')
    await left.done
    expect(leaving.named('router')[0]?.failed).toBe(false)
  })

  it('say nothing of the caller, and providers nothing of the trace, where they shall not', async () => {
    const { sent, call, spans } = traced(undefined, {}, { namesCallers: false, forwards: false })
    const client = call(chat, { traceparent })
    sent[0]?.sink.head(200, JSON_TYPE)
    sent[0]?.sink.data(answer())
    sent[0]?.sink.end()
    await client.done
    expect(spans).toHaveLength(2)
    expect(JSON.stringify(spans)).not.toContain('user_api_key')
    expect(sent[0]?.request.headers).not.toHaveProperty('traceparent')
  })

  it('are none for what is no traceparent', async () => {
    const { sent, call, spans } = traced()
    const client = call(chat, { traceparent: 'nonsense' })
    sent[0]?.sink.failed(new GatewayError('provider_authentication'))
    await client.done
    expect(spans).toEqual([])
  })
})
