import { describe, expect, it } from 'vitest'
import type { Deployment, RuntimeSnapshot } from '../../proto/deployment.ts'
import { DEFAULT_ROUTING } from '../../proto/routing.ts'
import { testClock } from '../../shared/clock.ts'
import { createSealer } from '../../shared/config/secrets.ts'
import { answer, chat, deployment, JSON_TYPE, make, STREAM, settings } from '../handle.testkit.ts'
import { createStates } from '../routing/states.ts'
import { compileRuntime } from '../runtime.ts'
import { createProviders } from './index.ts'

/** A deployment of each, its call as the provider sees it. */
const CALLS: readonly [Partial<Deployment>, { url: string; headers: Record<string, string>; body: object }][] = [
  [
    {
      provider: 'watsonx',
      model: 'ibm/granite',
      apiBase: null,
      apiKey: null,
      settings: { token: 't', project_id: 'p', watsonx_region_name: 'eu-de' },
    },
    {
      url: 'https://eu-de.ml.cloud.ibm.com/ml/v1/text/chat?version=2024-03-13',
      headers: { authorization: 'Bearer t' },
      body: { model_id: 'ibm/granite', project_id: 'p' },
    },
  ],
  [
    { provider: 'databricks', model: 'databricks-claude', apiBase: 'https://adb.test' },
    {
      url: 'https://adb.test/serving-endpoints/chat/completions',
      headers: { authorization: 'Bearer k' },
      body: { model: 'databricks-claude' },
    },
  ],
  [
    { provider: 'snowflake', model: 'llama', apiBase: null, apiKey: 'pat/k', settings: { account_id: 'org-a_b' } },
    {
      url: 'https://org-a-b.snowflakecomputing.com/api/v2/cortex/v1/chat/completions',
      headers: { authorization: 'Bearer k', 'x-snowflake-authorization-token-type': 'PROGRAMMATIC_ACCESS_TOKEN' },
      body: { model: 'llama' },
    },
  ],
  [
    { provider: 'cloudflare', model: '@cf/meta/llama', apiBase: null, settings: { account_id: 'a' } },
    {
      url: 'https://api.cloudflare.com/client/v4/accounts/a/ai/v1/chat/completions',
      headers: { authorization: 'Bearer k' },
      body: { model: '@cf/meta/llama' },
    },
  ],
]

describe('a call of a platform', () => {
  it.each(CALLS)('%j is proved and answered', async (fields, expected) => {
    const world = make([deployment('one', fields)], { numRetries: 0 })
    const client = world.call(chat)
    await expect.poll(() => world.sent.length).toBe(1)
    const { request, sink } = world.sent[0] as (typeof world.sent)[number]
    expect(request.url).toBe(expected.url)
    expect(request.headers).toMatchObject(expected.headers)
    expect(JSON.parse(request.body as string)).toEqual({ ...expected.body, messages: chat.messages })
    sink.head(200, JSON_TYPE)
    sink.data(answer())
    sink.end()
    await client.done
    expect(JSON.parse(client.text)).toMatchObject({ choices: [{ message: { content: 'hello' } }], usage: { total_tokens: 150 } })
  })

  it('of watsonx.ai that streams ends with a terminator, which IBM does not send', async () => {
    const settings = { token: 't', project_id: 'p' }
    const world = make([
      deployment('one', { provider: 'watsonx', model: 'm', apiBase: 'https://w.test', apiKey: null, settings }),
    ])
    const client = world.call({ ...chat, stream: true })
    await expect.poll(() => world.sent.length).toBe(1)
    const { request, sink } = world.sent[0] as (typeof world.sent)[number]
    expect(request.url).toBe('https://w.test/ml/v1/text/chat_stream?version=2024-03-13')
    const event = (delta: object, finish_reason: string | null) =>
      `id: 1\nevent: message\ndata: ${JSON.stringify({ id: 'c', model_id: 'm', created: 1, choices: [{ index: 0, delta, finish_reason }] })}\n\n`
    sink.head(200, STREAM)
    sink.data(Buffer.from(event({ role: 'assistant', content: 'yes' }, null) + event({ content: '' }, 'stop')))
    sink.end()
    await client.done
    expect(client.text).toContain('"content":"yes"')
    expect(client.text.endsWith('data: [DONE]\n\n')).toBe(true)
  })

  it('of watsonx.ai is booked on the project or space of the environment where the deployment names none', () => {
    const env = { WATSONX_TOKEN: 't', WATSONX_PROJECT_ID: 'p', WATSONX_URL: 'https://w.test/' }
    const own = { apiBase: null, apiKey: null, provider: 'watsonx' }
    const deployments = [deployment('one', own), deployment('two', { ...own, settings: { space_id: 's' } })]
    const states = createStates({ clock: testClock() })
    states.use(deployments, DEFAULT_ROUTING)
    const catalog = { prices: () => null, facts: () => null }
    const snapshot = { v: 1, revision: 1, deployments, settings } as unknown as RuntimeSnapshot
    const { routes } = compileRuntime(snapshot, {
      providers: createProviders(),
      sealer: createSealer(null),
      env,
      catalog,
      states,
    })
    expect(routes.map(({ problem, target }) => [problem, target.base, target.settings])).toEqual([
      [null, 'https://w.test', { project_id: 'p' }],
      [null, 'https://w.test', { space_id: 's' }],
    ])
  })

  it.each([
    [{ provider: 'watsonx', apiKey: null }, 'WATSONX_APIKEY'],
    [{ provider: 'watsonx', apiBase: null, apiKey: null, settings: { token: 't' } }, 'watsonx_region_name'],
    [{ provider: 'databricks', apiBase: null }, 'DATABRICKS_HOST'],
    [{ provider: 'snowflake', apiBase: null }, 'account_id'],
    [{ provider: 'cloudflare', apiKey: null }, 'CLOUDFLARE_API_KEY'],
  ])('%j is refused with what is missing, before anything is sent', async (fields, missing) => {
    const world = make([deployment('one', fields)], { numRetries: 0 })
    const client = world.call(chat)
    await client.done
    expect(world.sent).toHaveLength(0)
    expect(client.text).toContain(missing)
  })
})
