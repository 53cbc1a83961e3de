import { describe, expect, it } from 'vitest'
import type { Deployment } from '../../proto/deployment.ts'
import { answer, chat, deployment, JSON_TYPE, make, STREAM } from '../handle.testkit.ts'

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

  it.each([
    [{ provider: 'watsonx', apiKey: null }, 'WATSONX_APIKEY'],
    [{ provider: 'watsonx', apiBase: null, apiKey: null, settings: { token: 't' } }, 'api_base'],
    [{ provider: 'databricks', apiBase: null }, 'api_base'],
    [{ provider: 'snowflake', apiBase: null }, 'api_base'],
    [{ provider: 'cloudflare', apiKey: null }, 'CLOUDFLARE_API_KEY'],
  ])('%j is refused with what is missing, before anything is sent', async (fields, missing) => {
    const world = make([deployment('one', fields)], { numRetries: 0 })
    const client = world.call(chat)
    await client.done
    expect(world.sent).toHaveLength(0)
    expect(client.text).toContain(missing)
  })
})
