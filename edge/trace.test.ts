import { afterEach, describe, expect, it } from 'vitest'
import type { CallMessage } from '../proto/call.ts'
import { createTracer, type Span, type TracerSettings } from '../shared/tracer.ts'
import { chatText, connectRaw, identityOf, KEY, type RawClient, type Scene, startScene } from './testing.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const CALLER = 'b7ad6b7169203331'
const HEAD = {
  v: 1,
  status: 200,
  headers: { 'content-type': 'application/json', 'x-litellm-model-id': 'd1', 'x-litellm-model-group': 'gpt' },
}

let scene: Scene | null = null
let client: RawClient | null = null
afterEach(async () => {
  client?.end()
  await scene?.stop()
  scene = null
})

/** An edge that traces so, and what it recorded and asked its router. */
async function open(settings: Partial<TracerSettings> = {}, identity = identityOf()) {
  const spans: Span[] = []
  const calls: CallMessage[] = []
  const tracer = createTracer({
    settings: { sampleRate: 0, joins: true, namesCallers: true, forwards: true, ...settings },
    random: () => 0.5,
    output: { write: (span) => void spans.push(span) },
  })
  scene = await startScene({
    tracer,
    identities: { [KEY]: identity },
    route(stream, call) {
      calls.push(call)
      if (call.headers['x-litellm-tags'] === 'fail') stream.refuse({ code: 'rate_limited', message: 'hush' })
      else stream.whole(HEAD, Buffer.from('{}'))
    },
  })
  client = await connectRaw(scene.edge.port)
  return { spans, calls, client }
}

describe('the edge’s spans', () => {
  it('are the call, in its caller’s trace, and who asked; the router is told where to go on', async () => {
    const {
      spans,
      calls,
      client: raw,
    } = await open({}, identityOf({ teamId: 'team', teamAlias: 'crew', userId: 'u', userEmail: 'u@x.test' }))
    raw.send(chatText('{"model":"gpt-test"}', { traceparent: `00-${TRACE}-${CALLER}-01`, 'x-litellm-call-id': 'own' }))
    await raw.until(/\r\n\r\n\{\}/)
    const [root, auth] = spans
    expect(spans).toHaveLength(2)
    expect(calls[0]?.traceparent).toBe(`00-${TRACE}-${root?.spanId}-01`)
    expect(root).toMatchObject({
      name: 'Received Proxy Server Request',
      traceId: TRACE,
      parentId: CALLER,
      kind: 'server',
      failed: false,
    })
    expect(root?.attributes).toEqual({
      'http.request.method': 'POST',
      'http.route': '/v1/chat/completions',
      'http.response.status_code': 200,
      'http.response.body.size': 2,
      'litellm.call_id': 'own',
      'gen_ai.request.model': 'gpt',
      'hidden_params.model_id': 'd1',
      'metadata.user_api_key_hash': identityOf().keyHash,
      'metadata.user_api_key_user_id': 'u',
      'metadata.user_api_key_team_id': 'team',
      'metadata.user_api_key_team_alias': 'crew',
    })
    expect(auth).toMatchObject({ name: 'auth', traceId: TRACE, parentId: root?.spanId, failed: false })
    expect(auth?.startedAt).toBe(root?.startedAt)
    expect(auth?.endedAt).toBeLessThanOrEqual(root?.endedAt as number)
  })

  it('are none where the caller records nothing or the draw says no, and then the router hears of no trace', async () => {
    const { spans, calls, client: raw } = await open({ sampleRate: 0.5 })
    for (const traceparent of [`00-${TRACE}-${CALLER}-00`, 'nonsense']) {
      raw.send(chatText('{"model":"gpt-test"}', { traceparent, 'x-litellm-tags': traceparent }))
      await raw.until(/\r\n\r\n\{\}$/)
    }
    expect(spans).toEqual([])
    for (const call of calls) expect(call).not.toHaveProperty('traceparent')
  })

  it('say that a call failed and by which code, never in whose words', async () => {
    const { spans, client: raw } = await open({ sampleRate: 1 })
    raw.send(chatText('{"model":"gpt-test"}', { 'x-litellm-tags': 'fail' }))
    await raw.until(/HTTP\/1.1 429/)
    const [root, auth, failure] = spans
    expect([root?.failed, auth?.failed]).toEqual([true, false])
    expect(failure).toMatchObject({
      name: 'Failed Proxy Server Request',
      parentId: root?.spanId,
      attributes: { 'error.type': 'RateLimitError', 'error.code': 'rate_limited', 'http.response.status_code': 429 },
    })
    expect(JSON.stringify(spans)).not.toContain('hush')
  })

  it('say nothing of the caller where they shall not', async () => {
    const { spans, client: raw } = await open({ sampleRate: 1, namesCallers: false })
    raw.send(chatText())
    await raw.until(/\r\n\r\n\{\}/)
    expect(JSON.stringify(spans)).not.toContain('metadata.')
  })
})
