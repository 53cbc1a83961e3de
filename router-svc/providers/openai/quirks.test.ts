import { describe, expect, it } from 'vitest'
import type { ChatRequest } from '../../canonical/chat.ts'
import { providerOf } from '../index.ts'
import { PLAIN_TARGET } from '../plain-target.ts'
import { decodePieces } from '../provider.suite.ts'
import type { Provider, Target } from '../provider.ts'

const hello: ChatRequest['messages'] = [{ role: 'user', content: 'Hi' }]

function sent(provider: string, asked: Partial<ChatRequest>): Record<string, unknown> {
  const target: Target = {
    ...PLAIN_TARGET,
    provider,
    model: 'm',
    base: providerOf(provider)?.base ?? '',
  }
  const upstream = providerOf(provider)?.chat?.encodeRequest({ model: 'g', messages: hello, ...asked }, target)
  return JSON.parse(String(upstream?.body)) as Record<string, unknown>
}

describe('what single providers are particular about', () => {
  it('Mistral knows neither developers nor members of other vendors, and thinks or does not', () => {
    const messages: ChatRequest['messages'] = [
      { role: 'developer', content: 'Be kind.' },
      { role: 'assistant', content: 'Hi', reasoning: 'so', reasoning_content: 'so', annotations: [], refusal: null },
    ]
    expect(sent('mistral', { messages, reasoning_effort: 'low', service_tier: 'auto' })).toEqual({
      model: 'm',
      messages: [
        { role: 'system', content: 'Be kind.' },
        { role: 'assistant', content: 'Hi' },
      ],
      reasoning_effort: 'high',
    })
    expect(sent('mistral', { reasoning_effort: 'minimal' })['reasoning_effort']).toBe('none')
  })

  it('Moonshot gets the nearest temperature it takes', () => {
    expect(sent('moonshot', { temperature: 1.5 })['temperature']).toBe(1)
    expect(sent('moonshot', { temperature: 0.1 })['temperature']).toBe(0.1)
    expect(sent('moonshot', { temperature: 0.1, n: 2 })['temperature']).toBe(0.3)
    expect(sent('groq', { temperature: 1.5 })['temperature']).toBe(1.5)
  })

  it('Perplexity’s vectors are bytes, whatever a client would like; asked by its own names it answers in its own form', () => {
    const { embedding, base } = providerOf('perplexity') as Provider & Required<Pick<Provider, 'embedding'>>
    const target: Target = {
      ...PLAIN_TARGET,
      provider: 'perplexity',
      model: 'm',
      base: base ?? '',
    }
    const bytes = Buffer.from(Int8Array.from([-128, 0, 127])).toString('base64')
    const asked = (form: object) => {
      const request = { model: 'g', input: 'Hi', ...form }
      const { body } = embedding.encodeRequest(request, target)
      const answer = Buffer.from(JSON.stringify({ data: [{ embedding: bytes }] }))
      const read = embedding.decodeResponse(answer, {}, { id: '', created: 1, model: 'm', request })
      return { sent: JSON.parse(String(body)).encoding_format, read: read.data[0]?.embedding }
    }
    const floats = Buffer.from(Float32Array.from([-128, 0, 127]).buffer).toString('base64')
    expect(asked({})).toEqual({ sent: undefined, read: [-128, 0, 127] })
    expect(asked({ encoding_format: 'float' })).toEqual({ sent: undefined, read: [-128, 0, 127] })
    expect(asked({ encoding_format: 'base64' })).toEqual({ sent: undefined, read: floats })
    expect(asked({ encoding_format: 'base64_int8' })).toEqual({ sent: 'base64_int8', read: bytes })
  })

  it('Bedrock’s models by OpenAI’s protocol are asked through the Responses API where a deployment says so', () => {
    const mantle = providerOf('bedrock_mantle')
    const served = mantle?.serve?.('responses/openai.gpt-oss-120b', { baseModel: null, settings: {}, info: {} } as never)
    const target = {
      ...PLAIN_TARGET,
      provider: 'bedrock_mantle',
      model: 'm',
      base: 'https://m.test/v1',
    }
    const sent = served?.provider?.chat?.encodeRequest({ model: 'g', messages: hello }, target as unknown as Target)
    expect([served?.model, sent?.url]).toEqual(['openai.gpt-oss-120b', 'https://m.test/v1/responses'])
    expect(mantle?.serve?.('openai.gpt-oss-120b', { baseModel: null, settings: {}, info: {} } as never)?.provider).toBeNull()
  })

  it('Moonshot is asked to call a tool, which it cannot be told', () => {
    const body = sent('moonshot', { tool_choice: 'required', tools: [{ type: 'function', function: { name: 'f' } }] })
    expect(body).not.toHaveProperty('tool_choice')
    expect(body['messages']).toEqual([...hello, { role: 'user', content: expect.stringContaining('tool') }])
    expect(sent('moonshot', { tool_choice: 'auto' })).toMatchObject({ tool_choice: 'auto', messages: hello })
  })

  it('Fireworks has fewer efforts and takes no cache markers', () => {
    expect(sent('fireworks_ai', { reasoning_effort: 'xhigh' })['reasoning_effort']).toBe('high')
    expect(sent('fireworks_ai', { reasoning_effort: 'medium' })['reasoning_effort']).toBe('medium')
    const marked = { type: 'text', text: 'Hi', cache_control: { type: 'ephemeral' as const } }
    const body = sent('fireworks_ai', { messages: [{ role: 'user', content: [marked], cache_control: { type: 'ephemeral' } }] })
    expect(body['messages']).toEqual([{ role: 'user', content: [{ type: 'text', text: 'Hi' }] }])
  })

  it('Cerebras gets its thinking back under its own name', () => {
    const messages = [...hello, { role: 'assistant', content: 'Yes', reasoning_content: 'so' }, ...hello]
    expect(sent('cerebras', { messages })['messages']).toEqual([
      ...hello,
      { role: 'assistant', content: 'Yes', reasoning: 'so' },
      ...hello,
    ])
  })

  it.each([
    ['deepseek', 'insufficient_system_resource'],
    ['zai', 'network_error'],
  ])('%s breaks off with %s, which is a failure and no end', (provider, reason) => {
    const chat = providerOf(provider)?.chat
    const context = { id: 'i', created: 1, model: 'm', request: {} }
    const choice = { index: 0, finish_reason: reason }
    const whole = Buffer.from(JSON.stringify({ choices: [{ ...choice, message: { role: 'assistant', content: 'I' } }] }))
    expect(() => chat?.decodeResponse(whole, {}, context)).toThrow(expect.objectContaining({ code: 'provider_unavailable' }))
    const decoder = chat?.decodeStream?.(context)
    if (decoder === undefined) throw new Error('no stream')
    const events = [{ choices: [{ index: 0, delta: { content: 'I' } }] }, { choices: [{ ...choice, delta: {} }] }]
    const { error } = decodePieces(decoder, [Buffer.from(events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join(''))])
    expect(error).toMatchObject({ code: 'provider_unavailable', retryable: true })
  })
})
