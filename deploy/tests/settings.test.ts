import { afterAll, beforeAll, expect, it } from 'vitest'
import { startUpstream, type Upstream } from '../../loadtest/upstream.ts'
import { type Gateway, openGateway } from './gateway.ts'

/** What the configuration says about calls is what a client meets. */
let upstream: Upstream
let gateway: Gateway

beforeAll(async () => {
  upstream = await startUpstream()
  gateway = await openGateway('embedded', {
    config: `
model_list:
  - model_name: gpt
    litellm_params: {model: openai/gpt-scripted, api_base: ${upstream.url}/v1, api_key: sk-upstream}
  - model_name: quick
    litellm_params: {model: openai/gpt-scripted, api_base: ${upstream.url}/v1, api_key: sk-upstream, timeout: 0.3}
litellm_settings: {num_retries: 5, request_timeout: 60}
router_settings: {num_retries: 0, timeout: 20, stream_timeout: 4, model_group_alias: {nick: gpt}}
general_settings: {always_include_stream_usage: true}
turnpike_settings: {stall_timeout: 0.3}
`,
  })
}, 120_000)
afterAll(async () => {
  await gateway?.stop()
  await upstream?.stop()
})

function ask(script: string, fields: Record<string, unknown> = {}, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(`${gateway.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${gateway.masterKey}`, 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ model: 'gpt', messages: [{ role: 'user', content: `[[upstream ${script}]]` }], ...fields }),
  })
}

it('num_retries: 0 means one call to the provider, and the one in router_settings beats the other', async () => {
  expect((await ask('id=once,fail=500')).status).toBe(500)
  expect(upstream.served('once')).toHaveLength(1)
})

it('num_retries of a request beats both', async () => {
  expect((await ask('id=twice,fail=500x1', { num_retries: 1 })).status).toBe(200)
  expect(upstream.served('twice')).toHaveLength(2)
})

it.each([
  ['a deployment', { model: 'quick' }],
  ['a request', { timeout: 0.3 }],
])('the timeout of %s ends a call without an answer, as a timeout', async (_whose, fields) => {
  const since = performance.now()
  const answer = await ask('fault=hang', fields)
  expect(performance.now() - since).toBeLessThan(5_000)
  expect(answer.status).toBe(408)
  expect(await answer.json()).toMatchObject({ error: { type: 'timeout_error', code: '408' } })
})

it('stream_timeout ends a stream that does not begin, sooner than the timeout would', async () => {
  const since = performance.now()
  const answer = await ask('fault=hang', { stream: true })
  expect(performance.now() - since).toBeGreaterThan(3_900)
  expect(performance.now() - since).toBeLessThan(8_000)
  expect(answer.status).toBe(408)
  expect(await answer.json()).toMatchObject({ error: { type: 'timeout_error' } })
})

it('stall_timeout ends a stream that falls silent, with an error event and without [DONE]', async () => {
  const since = performance.now()
  const answer = await ask('chunks=10,after=3,fault=stall', { stream: true })
  const text = await answer.text()
  // Before stream_timeout, which no longer holds once a stream has begun.
  expect(performance.now() - since).toBeLessThan(3_900)
  expect(answer.status).toBe(200)
  expect(text).toMatch(/data: \{"error":\{.*"type":"timeout_error".*\}\}\n\n$/)
  expect(text).not.toContain('[DONE]')
})

it('model_group_alias leads to its group', async () => {
  const answer = await ask('chunks=1', { model: 'nick' })
  expect(answer.status).toBe(200)
  expect(answer.headers.get('x-litellm-model-group')).toBe('gpt')
})

it('always_include_stream_usage adds usage to streams that do not ask, and not to those that refuse', async () => {
  const usages = async (fields: Record<string, unknown>) =>
    (await (await ask('chunks=1,completion=9', { stream: true, ...fields })).text()).match(/"completion_tokens":9/g)?.length ?? 0
  expect(await usages({})).toBe(1)
  expect(await usages({ stream_options: { include_usage: false } })).toBe(0)
})

it('an address in a request is refused before the provider hears of it', async () => {
  const answer = await ask('id=own-base', { api_base: upstream.url })
  expect(answer.status).toBe(401)
  expect(await answer.json()).toMatchObject({ error: { type: 'auth_error', param: 'api_base' } })
  expect(upstream.served('own-base')).toHaveLength(0)
})

it('a call is found under the id its client gave it, and billed under another', async () => {
  const answer = await ask('chunks=1,completion=9', {}, { 'x-litellm-call-id': 'my-own-id' })
  expect(answer.headers.get('x-litellm-call-id')).toBe('my-own-id')
  const [row, ...more] = await gateway.ledger('my-own-id')
  expect(more).toEqual([])
  expect(row).toMatchObject({ completion_tokens: 9, metadata: { litellm_call_id: 'my-own-id' } })
  expect(row?.request_id).not.toBe('my-own-id')
})
