import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startUpstream, type Upstream } from '../../loadtest/upstream.ts'
import { type Gateway, MODES, openGateway } from './gateway.ts'

/** Calls carried to a provider in its own words, in both modes: bytes unchanged, keys and limits held, usage booked. */
describe.each(MODES)('%s', (mode) => {
  let upstream: Upstream
  let gateway: Gateway
  let key: string

  beforeAll(async () => {
    upstream = await startUpstream()
    const model = { model: 'openai/gpt-4o', api_base: `${upstream.url}/v1`, api_key: 'sk-upstream' }
    gateway = await openGateway(mode, { config: JSON.stringify({ model_list: [{ model_name: 'gpt', litellm_params: model }] }) })
    key = await gateway.generateKey({ key_alias: `native-${mode}` })
  }, 120_000)
  afterAll(async () => {
    await gateway?.stop()
    await upstream?.stop()
  })

  it('answers an OpenAI client behind /openai, whole and streamed, and books what the provider counted', async () => {
    const openai = new OpenAI({ baseURL: `${gateway.url}/openai/v1`, apiKey: key, maxRetries: 0 })
    const messages = [{ role: 'user' as const, content: 'hello [[upstream prompt=70,completion=9,chunks=3]]' }]
    const { data, response } = await openai.chat.completions.create({ model: 'gpt-4o', messages }).withResponse()
    expect(data.usage).toMatchObject({ prompt_tokens: 70, completion_tokens: 9 })
    const [row, ...more] = await gateway.ledger(response.headers.get('x-litellm-call-id') as string)
    expect(more).toEqual([])
    expect(row).toMatchObject({
      call_type: 'pass_through_endpoint',
      custom_llm_provider: 'openai',
      status: 'success',
      prompt_tokens: 70,
      completion_tokens: 9,
    })
    const streamed = await openai.chat.completions
      .create({ model: 'gpt-4o', messages, stream: true, stream_options: { include_usage: true } })
      .withResponse()
    let text = ''
    for await (const chunk of streamed.data) text += chunk.choices[0]?.delta.content ?? ''
    expect(text).not.toBe('')
    const [second] = await gateway.ledger(streamed.response.headers.get('x-litellm-call-id') as string)
    expect(second).toMatchObject({ prompt_tokens: 70, completion_tokens: 9 })
  })

  it('refuses a stranger', async () => {
    const stranger = new OpenAI({ baseURL: `${gateway.url}/openai/v1`, apiKey: 'sk-nobody', maxRetries: 0 })
    await expect(stranger.models.list()).rejects.toMatchObject({ status: 401 })
  })
})
