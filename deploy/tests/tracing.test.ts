import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Gateway, MODES, openGateway } from './gateway.ts'
import { type ReceivedSpan, startTracingUpstream, type TracingUpstream } from './tracing-upstream.ts'

const CALLER = { trace: '0af7651916cd43dd8448eb211c80319c', span: 'b7ad6b7169203331' }
const JOINED = `00-${CALLER.trace}-${CALLER.span}-01`
const UNSAMPLED = '00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00'
const PROVIDER_KEY = 'sk-provider-secret'
const COLLECTOR_KEY = 'collector-secret'
const SERVER = 2
const CLIENT = 3

function configOf({ url }: TracingUpstream, callbacks: string): string {
  const model = (name: string, path: string) => ({
    model_name: name,
    litellm_params: {
      model: 'openai/gpt-asked',
      api_base: `${url}${path}/v1`,
      api_key: PROVIDER_KEY,
      input_cost_per_token: 1e-6,
      output_cost_per_token: 2e-6,
    },
    model_info: { id: name },
  })
  // YAML holds JSON.
  return JSON.stringify({
    model_list: [model('plain', ''), model('flaky', '/flaky')],
    litellm_settings: { callbacks: [callbacks], num_retries: 1 },
    general_settings: { pass_through_endpoints: [{ path: '/own', target: `${url}/own`, auth: true }] },
    environment_variables: {
      OTEL_EXPORTER: 'http/json',
      OTEL_ENDPOINT: url,
      OTEL_HEADERS: `x-collector=${COLLECTOR_KEY}`,
      OTEL_SERVICE_NAME: 'traced',
      // Spans leave only when the gateway stops: what is lost there would be missed here.
      OTEL_BSP_SCHEDULE_DELAY: '600000',
    },
  })
}

async function ask(
  url: string,
  key: string,
  text: string,
  model: string,
  more: { traceparent?: string; stream?: boolean; path?: string } = {},
) {
  const { traceparent, stream = false, path = '/v1/chat/completions' } = more
  const response = await fetch(`${url}${path}?key=secret-query`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${key}`,
      'content-type': 'application/json',
      'x-litellm-call-id': text,
      ...(traceparent === undefined ? {} : { traceparent }),
    },
    body: JSON.stringify({ model, stream, temperature: 0.5, user: 'customer', messages: [{ role: 'user', content: text }] }),
  })
  await response.text()
  return response.status
}

describe.each(MODES)('tracing, %s', (mode) => {
  let upstream: TracingUpstream
  let gateway: Gateway | null = null
  let key = ''
  const statuses: Record<string, number> = {}

  beforeAll(async () => {
    upstream = await startTracingUpstream()
    gateway = await openGateway(mode, { config: configOf(upstream, 'otel'), routers: 1 })
    const { url } = gateway
    const team = (await gateway.admin('POST', '/team/new', { team_alias: 'crew' })) as { team_id: string }
    key = await gateway.generateKey({ key_alias: 'tracer', team_id: team.team_id })
    statuses['joined'] = await ask(url, key, 'joined', 'plain', { traceparent: JOINED, stream: true })
    statuses['retried'] = await ask(url, key, 'retried', 'flaky')
    statuses['carried'] = await ask(url, key, 'carried', 'plain', { traceparent: JOINED.replace('0af7', '2af7'), path: '/own' })
    statuses['unsampled'] = await ask(url, key, 'unsampled', 'plain', { traceparent: UNSAMPLED })
    statuses['malformed'] = await ask(url, key, 'malformed', 'plain', { traceparent: '00-zz-1-01' })
    statuses['refused'] = await ask(url, 'sk-nobody-knows-this', 'refused', 'plain')
    await gateway.stop()
    gateway = null
  }, 60_000)
  afterAll(async () => {
    await gateway?.stop()
    await upstream?.stop()
  })

  /** The spans of the trace of one call. */
  const traceOf = (text: string): ReceivedSpan[] => {
    const root = upstream.spans.find(({ kind, attributes }) => kind === SERVER && attributes['litellm.call_id'] === text)
    return upstream.spans.filter(({ traceId }) => traceId === root?.traceId)
  }
  const named = (text: string, name: string): ReceivedSpan[] => traceOf(text).filter((span) => span.name === name)
  const one = (text: string, name: string): ReceivedSpan => {
    const found = named(text, name)
    expect(found, `${name} of ${text}`).toHaveLength(1)
    return found[0] as ReceivedSpan
  }

  it('joins the trace of the caller, over edge and router, to the attempt that the provider is told of', () => {
    expect(statuses['joined']).toBe(200)
    const root = one('joined', 'Received Proxy Server Request')
    const auth = one('joined', 'auth')
    const router = one('joined', 'router')
    const attempt = one('joined', 'litellm_request')
    expect(traceOf('joined')).toHaveLength(4)
    expect(root).toMatchObject({ traceId: CALLER.trace, parentId: CALLER.span, kind: SERVER, failed: false, service: 'traced' })
    expect([auth.parentId, router.parentId, attempt.parentId]).toEqual([root.spanId, root.spanId, router.spanId])
    expect(upstream.calls.get('joined')).toEqual([`00-${CALLER.trace}-${attempt.spanId}-01`])
    if (mode === 'cluster') expect(root.at).not.toBe(router.at)
    expect(router.at).toBe(attempt.at)
    for (const span of [auth, router, attempt]) {
      expect(span.startedAt).toBeGreaterThanOrEqual(root.startedAt - 2)
      expect(span.endedAt).toBeLessThanOrEqual(root.endedAt + 2)
    }
  })

  it('says what was asked, who answered and what it cost', () => {
    const root = one('joined', 'Received Proxy Server Request')
    expect(root.attributes).toMatchObject({
      'http.request.method': 'POST',
      'http.route': '/v1/chat/completions',
      'http.response.status_code': 200,
      'metadata.user_api_key_alias': 'tracer',
      'metadata.user_api_key_team_alias': 'crew',
    })
    const attempt = one('joined', 'litellm_request')
    expect(attempt).toMatchObject({ kind: CLIENT, failed: false, events: ['first_token'] })
    expect(attempt.attributes).toMatchObject({
      'gen_ai.system': 'openai',
      'gen_ai.operation.name': 'chat',
      'gen_ai.request.model': 'gpt-asked',
      'gen_ai.request.temperature': 0.5,
      'gen_ai.response.model': 'gpt-served',
      'gen_ai.usage.input_tokens': 11,
      'gen_ai.usage.output_tokens': 5,
      'gen_ai.cost.total_cost': 21e-6,
      'llm.is_streaming': true,
      'llm.user': 'customer',
    })
  })

  it('shows a retry as two attempts, of which the first failed', () => {
    expect(statuses['retried']).toBe(200)
    const root = one('retried', 'Received Proxy Server Request')
    const router = one('retried', 'router')
    expect(root).toMatchObject({ parentId: null, failed: false })
    expect(router.attributes).toMatchObject({ 'router.attempts': 2, 'router.retries': 1 })
    const [first, second] = named('retried', 'litellm_request').sort(
      (a, b) => Number(a.attributes['router.attempt']) - Number(b.attributes['router.attempt']),
    )
    expect(first).toMatchObject({ failed: true, parentId: router.spanId, events: ['exception'] })
    expect(first?.attributes).toMatchObject({ 'error.type': 'InternalServerError', 'http.response.status_code': 500 })
    expect(second).toMatchObject({ failed: false, parentId: router.spanId })
    expect(upstream.calls.get('retried')).toEqual([first, second].map((attempt) => `00-${root.traceId}-${attempt?.spanId}-01`))
  })

  it('tells the server behind a path of the operator’s own too, in place of what the caller said', () => {
    expect(statuses['carried']).toBe(200)
    const root = one('carried', 'Received Proxy Server Request')
    expect(root.parentId).toBe(CALLER.span)
    const attempt = one('carried', 'litellm_request')
    expect(attempt.parentId).toBe(one('carried', 'router').spanId)
    expect(upstream.calls.get('carried')).toEqual([`00-${root.traceId}-${attempt.spanId}-01`])
  })

  it('sends nothing of a call whose caller does not record its trace', () => {
    expect(statuses['unsampled']).toBe(200)
    expect(traceOf('unsampled')).toEqual([])
    expect(upstream.words()).not.toContain('1af7651916cd43dd8448eb211c80319c')
    expect(upstream.calls.get('unsampled')).toEqual([undefined])
  })

  it('begins a trace of its own where the header is malformed', () => {
    expect(one('malformed', 'Received Proxy Server Request').parentId).toBeNull()
  })

  it('ends a refused call with an error, and never asks a router', () => {
    expect(statuses['refused']).toBe(401)
    const root = one('refused', 'Received Proxy Server Request')
    expect(root).toMatchObject({ failed: true, attributes: { 'http.response.status_code': 401 } })
    expect(one('refused', 'Failed Proxy Server Request')).toMatchObject({
      parentId: root.spanId,
      failed: true,
      events: ['exception'],
      attributes: { 'error.type': 'AuthenticationError' },
    })
    expect(named('refused', 'router')).toEqual([])
  })

  it('tells no collector a secret or a word of what was said', () => {
    const words = upstream.words()
    expect(words).toContain(COLLECTOR_KEY)
    for (const secret of [key, PROVIDER_KEY, 'sk-nobody', 'secret-answer', 'secret-refusal', 'secret-query'])
      expect(words).not.toContain(secret)
  })
})

it('leaves the header of a caller at the gateway where tracing is off', async () => {
  const upstream = await startTracingUpstream()
  const gateway = await openGateway('embedded', { config: configOf(upstream, 'prometheus') })
  try {
    expect(await ask(gateway.url, gateway.masterKey, 'off', 'plain', { traceparent: JOINED })).toBe(200)
    expect(upstream.calls.get('off')).toEqual([undefined])
  } finally {
    await gateway.stop()
    await upstream.stop()
  }
  expect(upstream.spans).toEqual([])
}, 30_000)
