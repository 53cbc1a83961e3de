import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Deployment } from '../../../proto/deployment.ts'
import { awsEvent } from '../../aws-event-stream.testkit.ts'
import { chat, deployment } from '../../handle.testkit.ts'
import { eventStream, fakeService, type Told } from '../http-call.testkit.ts'

const ARN = 'arn:aws:bedrock-agentcore:us-west-2:123456789012:runtime/agent-x'
const SESSION = 'a-session-whose-name-is-long-enough-for-aws'
const AWS = { aws_access_key_id: 'AKIDEXAMPLE', aws_secret_access_key: 'secret' }
const LATER = [
  { role: 'system', content: 'Be brief.' },
  { role: 'user', content: 'one' },
  { role: 'assistant', content: 'two' },
  { role: 'user', content: 'three' },
]

let service: Awaited<ReturnType<typeof fakeService>> | null = null
afterEach(async () => {
  await service?.close()
  service = null
})

/** One call to an agent over the wire; pauses pass at once. */
async function called(fields: Partial<Deployment>, request: object, answer: Parameters<typeof fakeService>[0]) {
  const made = await fakeService(answer)
  service = made
  const gateway = made.gateway([deployment('one', { apiBase: made.base, apiKey: 'k', ...fields })], { numRetries: 0 })
  const client = gateway.call({ ...chat, ...request })
  let over = false
  const done = client.done.then(() => {
    over = true
  })
  while (!over) {
    gateway.clock.advance(100)
    await new Promise((resolve) => setImmediate(resolve))
  }
  await done
  const said = /data: /.test(client.text)
    ? [...client.text.matchAll(/"content":"([^"]*)"/g)].map(([, piece]) => piece).join('')
    : JSON.parse(client.text || '{}').choices?.[0]?.message?.content
  const bodies = made.seen.map(({ body }) => (body === '' ? null : JSON.parse(body)))
  return { client, said, seen: made.seen, bodies, events: gateway.events }
}

describe('an agent on AgentCore', () => {
  beforeAll(() => import('../../../shared/http/aws-signature.ts'))
  const fields = { provider: 'bedrock', model: `agentcore/${ARN}`, apiKey: null, settings: AWS }

  it('is invoked by its ARN, signed for its own service and region, and remembers a session', async () => {
    const request = { messages: LATER, session_id: SESSION, mode: 'fast' }
    const { said, seen, bodies } = await called(fields, request, () => ({
      body: { result: { role: 'assistant', content: [{ text: 'four' }] } },
    }))
    expect(said).toBe('four')
    expect(seen[0]?.path).toBe(`/runtimes/${encodeURIComponent(ARN)}/invocations`)
    expect(seen[0]?.headers['x-amzn-bedrock-agentcore-runtime-session-id']).toBe(SESSION)
    expect(seen[0]?.headers['authorization']).toMatch(/\/us-west-2\/bedrock-agentcore\/aws4_request/)
    expect(bodies[0]).toEqual({ prompt: 'three', mode: 'fast' })
  })

  it('streams its model’s events, says nothing twice, and adds up what its steps used', async () => {
    const delta = (text: string) => ({ event: { contentBlockDelta: { delta: { text } } } })
    const usage = { event: { metadata: { usage: { inputTokens: 5, outputTokens: 2, totalTokens: 7 } } } }
    const answer = () =>
      eventStream(
        { init_event_loop: true },
        delta('Hel'),
        delta('lo'),
        usage,
        `"{'data': 'Hello', 'agent': <object>}"`,
        { message: { role: 'assistant', content: [{ text: 'Hello' }] } },
        delta(' you'),
        usage,
      )
    const { said, events, client } = await called(
      { ...fields, provider: 'bedrock_agentcore', model: ARN },
      { stream: true },
      answer,
    )
    expect(client.error).toBeNull()
    expect(said).toBe('Hello you')
    expect(events[0]?.attempts[0]).toMatchObject({ outcome: 'success', usage: { input: 10, output: 4 } })
    expect(client.text.trimEnd().endsWith('[DONE]')).toBe(true)
  })

  it('may stream where nobody asked, and answer whole where a stream was asked for', async () => {
    const first = await called(fields, {}, () => eventStream('"Hi "', '"there"'))
    expect(first.said).toBe('Hi there')
    await service?.close()
    const second = await called(fields, { stream: true }, () => ({ body: '{\n  "response": "whole"\n}' }))
    expect(second.said).toBe('whole')
  })

  it('that fails inside an answer is an error, and a session too short is refused before anything is sent', async () => {
    const failed = await called(fields, {}, () => eventStream({ error: 'boom', message: 'in a tool' }))
    expect(failed.client.text + JSON.stringify(failed.client.error)).toContain('boom: in a tool')
    expect(failed.events[0]?.outcome).toBe('failure')
    await service?.close()
    const refused = await called(fields, { session_id: 'short' }, () => ({ body: {} }))
    expect(refused.seen).toEqual([])
    expect(refused.client.text + JSON.stringify(refused.client.error)).toContain('33 characters')
  })
})

describe('an agent of Bedrock', () => {
  beforeAll(() => import('../../../shared/http/aws-signature.ts'))

  it('is invoked in a session of the call’s own, and its frames are read whole or as they come', async () => {
    const piece = (text: string) => awsEvent('chunk', { bytes: Buffer.from(text).toString('base64') })
    for (const stream of [false, true]) {
      const body = Buffer.concat([piece('Grü'), awsEvent('trace', { trace: {} }), piece('ß')])
      const told = { type: 'application/vnd.amazon.eventstream', body }
      const { said, seen, bodies } = await called(
        { provider: 'bedrock', model: 'agent/A1/LIVE', apiKey: null, settings: { ...AWS, aws_region_name: 'eu-west-1' } },
        { stream },
        () => told,
      )
      expect(said).toBe('Grüß')
      expect(seen[0]?.path).toBe('/agents/A1/agentAliases/LIVE/sessions/chatcmpl-call-1/text')
      expect(seen[0]?.headers['authorization']).toMatch(/\/eu-west-1\/bedrock\/aws4_request/)
      expect(bodies[0]).toEqual({ inputText: 'hi' })
      await service?.close()
    }
  })
})

describe('an agent of Agent Engine', () => {
  const event = (text: string, rest: object = {}) => ({ content: { role: 'model', parts: [{ text }] }, author: 'a', ...rest })
  const lines = (...events: object[]): Told => ({ body: events.map((one) => JSON.stringify(one)).join('\n') })
  const fields = { provider: 'vertex_ai', apiKey: 'ya29.token' }

  it('is asked by its whole name, for a user and in a session, and steps in pieces are not said twice', async () => {
    const name = 'projects/7/locations/us-east4/reasoningEngines/99'
    const usage_metadata = { prompt_token_count: 3, candidates_token_count: 2, total_token_count: 5 }
    const { said, seen, bodies, events } = await called(
      { ...fields, model: `agent_engine/${name}` },
      { stream: true, user: 'ann', metadata: { session_id: 's1' }, messages: LATER },
      () =>
        lines(event('Hel', { partial: true }), event('lo', { partial: true }), event('Hello', { usage_metadata }), {
          content: { role: 'model', parts: [{ function_call: { name: 'f' } }] },
          usage_metadata,
        }),
    )
    expect(said).toBe('Hello')
    expect(seen[0]?.path).toBe(`/v1/${name}:streamQuery?alt=sse`)
    expect(seen[0]?.headers['authorization']).toBe('Bearer ya29.token')
    expect(bodies[0]).toEqual({
      class_method: 'async_stream_query',
      input: { message: 'three', user_id: 'ann', session_id: 's1' },
    })
    expect(events[0]?.attempts[0]?.usage).toMatchObject({ input: 6, output: 4 })
  })

  it('is asked by its number in the deployment’s project, and a failure among its events is one', async () => {
    const settings = { vertex_project: 'p', vertex_location: 'us-east4' }
    const { client, seen } = await called({ ...fields, provider: 'vertex_ai_agent_engine', model: '99', settings }, {}, () =>
      lines(event('so'), { error_code: 'MALFORMED', error_message: 'no' }),
    )
    expect(seen[0]?.path).toBe('/v1/projects/p/locations/us-east4/reasoningEngines/99:streamQuery?alt=sse')
    expect(client.text + JSON.stringify(client.error)).toContain('MALFORMED: no')
  })
})

describe('an agent of Foundry', () => {
  const fields = { provider: 'azure_ai', model: 'agents/asst_1', apiKey: 'entra' }
  const state = (status: string, rest: object = {}) => ({ id: 'run_1', thread_id: 'th_1', status, ...rest })
  const part = (value: string) => [{ type: 'text', text: { value, annotations: [] } }]

  it('runs on a thread until it is done, and tells the thread', async () => {
    const usage = { prompt_tokens: 5, completion_tokens: 3, total_tokens: 8 }
    const { said, seen, bodies, client, events } = await called(fields, { messages: LATER, max_tokens: 9 }, ({ path }, count) => {
      if (path.includes('/messages')) return { body: { data: [{ role: 'assistant', run_id: 'run_1', content: part('four') }] } }
      return { body: count < 3 ? state(count === 1 ? 'queued' : 'in_progress') : state('completed', { usage }) }
    })
    expect(said).toBe('four')
    expect(seen.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'POST /threads/runs?api-version=2025-05-01',
      'GET /threads/th_1/runs/run_1?api-version=2025-05-01',
      'GET /threads/th_1/runs/run_1?api-version=2025-05-01',
      'GET /threads/th_1/messages?api-version=2025-05-01&run_id=run_1&order=asc&limit=100',
    ])
    expect(seen.map(({ headers }) => headers['authorization'])).toEqual(Array(4).fill('Bearer entra'))
    expect(bodies[0]).toEqual({
      assistant_id: 'asst_1',
      max_completion_tokens: 9,
      additional_instructions: 'Be brief.',
      thread: { messages: LATER.slice(1) },
    })
    expect(JSON.parse(client.text).choices[0].message.provider_specific_fields).toEqual({ thread_id: 'th_1' })
    expect(events[0]?.attempts[0]?.usage).toMatchObject({ input: 5, output: 3 })
  })

  it('goes on in a thread the client names, and streams; a stream that ends before the run did is broken', async () => {
    const named = (event: string, data: unknown) =>
      `event: ${event}\ndata: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`
    const begun = named('thread.run.created', state('queued')) + named('thread.message.delta', { delta: { content: part('fo') } })
    const whole =
      begun +
      named('thread.message.delta', { delta: { content: part('ur') } }) +
      named('thread.run.completed', state('completed', { usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 } })) +
      named('done', '[DONE]')
    const request = { messages: LATER, thread_id: 'th_1', stream: true }
    const { said, seen, bodies, client } = await called(fields, request, () => ({ type: 'text/event-stream', body: whole }))
    expect(said).toBe('four')
    expect(client.text).toContain('"thread_id":"th_1"')
    expect(seen[0]?.path).toBe('/threads/th_1/runs?api-version=2025-05-01')
    expect(bodies[0]).toEqual({ assistant_id: 'asst_1', stream: true, additional_messages: [{ role: 'user', content: 'three' }] })
    await service?.close()
    const broken = await called(fields, request, () => ({ type: 'text/event-stream', body: begun }))
    expect(broken.events[0]?.outcome).toBe('partial')
  })

  it('that fails, or waits for a function, is an error', async () => {
    const last_error = { code: 'rate_limit_exceeded', message: 'slow down' }
    const limited = await called(fields, {}, () => ({ body: state('failed', { last_error }) }))
    expect(limited.events[0]?.attempts[0]?.error).toMatchObject({ code: 'provider_rate_limited' })
    await service?.close()
    const waiting = await called({ ...fields, provider: 'azure_ai_foundry_agents', model: 'asst_1' }, {}, () => ({
      body: state('requires_action'),
    }))
    expect(waiting.events[0]?.attempts[0]?.error?.message).toContain('waits for the result of a function')
  })
})

describe('an agent that speaks A2A', () => {
  const fields = { provider: 'pydantic_ai_agents', model: 'anything' }
  const task = (state: string, rest: object = {}) => ({ kind: 'task', id: 't1', contextId: 'ctx', status: { state }, ...rest })
  const parts = (text: string) => [{ kind: 'text', text }]

  it('is sent a message, and its task is looked at until it is over', async () => {
    for (const stream of [false, true]) {
      const { said, bodies, client } = await called(fields, { messages: LATER, session_id: 'ctx', stream }, (_, count) => ({
        body: {
          jsonrpc: '2.0',
          id: '1',
          result: count < 3 ? task('working') : task('completed', { artifacts: [{ parts: parts('four') }] }),
        },
      }))
      expect(client.error).toBeNull()
      expect(said).toBe('four')
      expect(bodies.map(({ method }) => method)).toEqual(['message/send', 'tasks/get', 'tasks/get'])
      expect(bodies[0].params.message).toMatchObject({ role: 'user', parts: parts('three'), contextId: 'ctx' })
      expect(bodies[1].params).toEqual({ id: 't1' })
      expect(client.text).toContain('"session_id":"ctx"')
      await service?.close()
    }
  })

  it('may answer with a message at once, and its failures are errors', async () => {
    const at = await called(fields, {}, () => ({
      body: { jsonrpc: '2.0', id: '1', result: { kind: 'message', role: 'agent', parts: parts('yes') } },
    }))
    expect(at.said).toBe('yes')
    await service?.close()
    const failed = await called(fields, {}, () => ({
      body: {
        jsonrpc: '2.0',
        id: '1',
        result: task('failed', { status: { state: 'failed', message: { parts: parts('no way') } } }),
      },
    }))
    expect(failed.client.text + JSON.stringify(failed.client.error)).toContain('no way')
    await service?.close()
    const wrong = await called(fields, {}, () => ({
      body: { jsonrpc: '2.0', id: '1', error: { code: -32601, message: 'Method not found' } },
    }))
    expect(wrong.client.text + JSON.stringify(wrong.client.error)).toContain('Method not found')
  })
})
