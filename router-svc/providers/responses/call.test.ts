import { describe, expect, it } from 'vitest'
import { chat, deployment, JSON_TYPE, make, STREAM } from '../../handle.testkit.ts'
import type { Fields } from '../json.ts'
import { encode } from './encode.testkit.ts'
import { framed } from './recordings.testkit.ts'

const output = [
  { type: 'reasoning', id: 'rs_1', summary: [], encrypted_content: 'gAAA' },
  {
    type: 'message',
    id: 'msg_1',
    role: 'assistant',
    status: 'completed',
    content: [{ type: 'output_text', text: 'hello', annotations: [] }],
  },
]
const response = (fields: Fields = {}): Fields => ({
  id: 'resp_1',
  object: 'response',
  created_at: 1,
  status: 'completed',
  model: 'gpt-5-pro-2025',
  error: null,
  output,
  usage: { input_tokens: 100, output_tokens: 50, output_tokens_details: { reasoning_tokens: 20 }, total_tokens: 150 },
  ...fields,
})
const events = [
  { type: 'response.created', response: response({ status: 'in_progress', output: [], usage: null }) },
  { type: 'response.output_text.delta', output_index: 1, content_index: 0, delta: 'hel' },
  { type: 'response.output_text.delta', output_index: 1, content_index: 0, delta: 'lo' },
  { type: 'response.completed', response: response() },
]

function gateway(model = 'gpt-5-pro') {
  return make([deployment('one', { model, baseModel: null })])
}

describe('a call of a model that speaks only Responses', () => {
  it('is asked and answered through it, and billed for what it says', async () => {
    const { sent, events: billed, call } = gateway('responses/gpt-5-mini')
    const client = call(chat)
    const request = sent[0]?.request
    expect(request?.url).toBe('http://one.test/v1/responses')
    expect(JSON.parse(String(request?.body))).toMatchObject({
      model: 'gpt-5-mini',
      input: [{ role: 'user', content: 'hi' }],
      store: false,
    })
    sent[0]?.sink.head(200, JSON_TYPE)
    sent[0]?.sink.data(Buffer.from(JSON.stringify(response())))
    sent[0]?.sink.end()
    await client.done
    const answer = JSON.parse(client.text) as Fields
    expect(answer).toMatchObject({
      object: 'chat.completion',
      choices: [{ message: { content: 'hello' }, finish_reason: 'stop' }],
    })
    expect(answer['usage']).toMatchObject({ prompt_tokens: 100, completion_tokens: 50 })
    expect(billed.at(-1)?.attempts[0]).toMatchObject({ model: 'gpt-5-mini', usage: { input: 100, output: 50, reasoning: 20 } })
  })

  it('streams chunks of a chat, up to its end', async () => {
    const { sent, call } = gateway()
    const client = call({ ...chat, stream: true })
    sent[0]?.sink.head(200, STREAM)
    sent[0]?.sink.data(Buffer.from(framed(events)))
    sent[0]?.sink.end()
    await client.done
    const chunks = client.text
      .split('\n\n')
      .filter((line) => line.startsWith('data: {'))
      .map((line) => JSON.parse(line.slice(6)) as { choices: { delta: { content?: string } }[] })
    expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe('hello')
    expect(client.text.trimEnd().endsWith('data: [DONE]')).toBe(true)
  })

  it('serves clients of Anthropic, of text completions and of Responses alike', async () => {
    const { sent, call } = gateway()
    const message = call({ ...chat, max_tokens: 100 }, { endpoint: 'anthropic_messages' })
    const completion = call({ model: 'gpt', prompt: 'hi' }, { endpoint: 'atext_completion' })
    const own = call({ model: 'gpt', input: 'hi', reasoning: { summary: 'auto' } }, { endpoint: 'aresponses' })
    expect(JSON.parse(String(sent[2]?.request.body))).toMatchObject({
      input: 'hi',
      reasoning: { summary: 'auto' },
    })
    for (const { request, sink } of sent) {
      expect(request.url).toBe('http://one.test/v1/responses')
      sink.head(200, JSON_TYPE)
      sink.data(Buffer.from(JSON.stringify(response())))
      sink.end()
    }
    await Promise.all([message.done, completion.done, own.done])
    expect(JSON.parse(message.text)).toMatchObject({ type: 'message', content: [{ type: 'text', text: 'hello' }] })
    expect(message.text).not.toContain('gAAA')
    expect((JSON.parse(own.text) as Fields)['output']).toMatchObject([
      output[0],
      { type: 'message', content: [{ text: 'hello' }] },
    ])
    expect(JSON.parse(completion.text)).toMatchObject({ object: 'text_completion', choices: [{ text: 'hello' }] })
  })

  it('gets the reasoning back that a client of Responses kept, before the calls it led to', () => {
    const { sent, call } = gateway()
    const reasoning = { type: 'reasoning', summary: [], encrypted_content: 'gBBB' }
    const called = { type: 'function_call', call_id: 'c1', name: 'f', arguments: '{}' }
    const result = { type: 'function_call_output', call_id: 'c1', output: 'r' }
    const first = { role: 'assistant', content: 'Hm.' }
    const input = [{ role: 'user', content: 'hi' }, first, { role: 'user', content: 'go' }, reasoning, called, result]
    call({ model: 'gpt', input }, { endpoint: 'aresponses' })
    expect((JSON.parse(String(sent[0]?.request.body)) as Fields)['input']).toEqual(input)
  })

  it('gets no reasoning whose place is not certain', () => {
    const reasoning = { type: 'reasoning', summary: [], encrypted_content: 'gBBB' }
    const called = { type: 'function_call', call_id: 'c1', name: 'f', arguments: '{}' }
    const responses = { body: { model: 'gpt', input: [reasoning, called] }, id: null, key: null, unplaced: [] }
    const said = { role: 'assistant', content: 'Hm.' }
    expect(encode({ messages: [said], responses })['input']).toEqual([said])
    expect(encode({ messages: [{ role: 'user', content: 'x' }], responses })['input']).toEqual([{ role: 'user', content: 'x' }])
  })
})
