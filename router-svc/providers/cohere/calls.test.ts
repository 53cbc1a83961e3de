import { describe, expect, it } from 'vitest'
import { chat, deployment, JSON_TYPE, make, STREAM, settled, sse } from '../../handle.testkit.ts'

const COMMAND = deployment('one', { provider: 'cohere_chat', model: 'command-a-03-2025', apiBase: null })
const USAGE = {
  billed_units: { input_tokens: 10, output_tokens: 2 },
  tokens: { input_tokens: 500, output_tokens: 3 },
  cached_tokens: 400,
}
const CALL = { id: 'c1', type: 'function', function: { name: 'look', arguments: '{"at":"x"}' } }

const EVENTS = [
  { type: 'message-start', id: 'r1', delta: { message: { role: 'assistant' } } },
  { type: 'content-start', index: 0, delta: { message: { content: { type: 'text', text: '' } } } },
  { type: 'content-delta', index: 0, delta: { message: { content: { text: 'Hel' } } } },
  { type: 'content-delta', index: 0, delta: { message: { content: { text: 'lo' } } } },
  { type: 'content-end', index: 0 },
  { type: 'message-end', delta: { finish_reason: 'COMPLETE', usage: USAGE } },
]

describe('a call that goes to Cohere', () => {
  it('streams to an OpenAI client, ends as its stream does, and costs what is billed', async () => {
    const { sent, events, call } = make([COMMAND])
    const client = call({ ...chat, stream: true, stream_options: { include_usage: true } })
    await settled()
    expect(sent[0]?.request).toMatchObject({ method: 'POST', headers: { authorization: 'Bearer k' } })
    expect(String(sent[0]?.request.url)).toBe('https://api.cohere.com/v2/chat')
    sent[0]?.sink.head(200, STREAM)
    for (const event of EVENTS) sent[0]?.sink.data(sse(event))
    await client.done
    expect(client.error).toBeNull()
    const lines = client.text.split('\n\n').filter((line) => line !== '')
    expect(lines.at(-1)).toBe('data: [DONE]')
    const chunks = lines.slice(0, -1).map((line) => JSON.parse(line.slice('data: '.length)))
    expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('')).toBe('Hello')
    expect(new Set(chunks.map((chunk) => chunk.model))).toEqual(new Set(['gpt']))
    expect(chunks.at(-1).usage).toMatchObject({ prompt_tokens: 10, completion_tokens: 2, total_tokens: 12 })
    // Two and eight dollars a million tokens, in billionths of a dollar.
    expect(events.at(-1)).toMatchObject({ attempts: [{ usage: { input: 10, output: 2, estimated: false }, cost: 36_000 }] })
  })

  it('is tried again where its stream breaks off before anything was said', async () => {
    const { sent, call, clock } = make([COMMAND], { numRetries: 1 })
    const client = call({ ...chat, stream: true })
    await settled()
    sent[0]?.sink.head(200, STREAM)
    sent[0]?.sink.data(sse({ message: 'overloaded, try later', status_code: 503 }))
    await settled()
    clock.advance(2_000)
    await settled()
    sent[1]?.sink.head(200, STREAM)
    for (const event of EVENTS) sent[1]?.sink.data(sse(event))
    await client.done
    expect([sent.length, client.error]).toEqual([2, null])
    expect(client.text).toContain('"content":"Hel"')
    expect(client.text).not.toContain('overloaded')
  })

  it('answers an Anthropic client’s tools', async () => {
    const { sent, call } = make([COMMAND])
    const client = call(
      {
        model: 'gpt',
        max_tokens: 100,
        system: 'Look first.',
        messages: [{ role: 'user', content: 'What is at x?' }],
        tools: [{ name: 'look', input_schema: { type: 'object', properties: {} } }],
        tool_choice: { type: 'any' },
      },
      { endpoint: 'anthropic_messages' },
    )
    await settled()
    expect(JSON.parse(Buffer.from(sent[0]?.request.body as Uint8Array).toString())).toMatchObject({
      messages: [
        { role: 'system', content: expect.anything() },
        { role: 'user', content: 'What is at x?' },
      ],
      max_tokens: 100,
      tool_choice: 'REQUIRED',
    })
    sent[0]?.sink.head(200, JSON_TYPE)
    const message = { role: 'assistant', tool_plan: 'I will look.', tool_calls: [CALL] }
    sent[0]?.sink.data(Buffer.from(JSON.stringify({ id: 'r1', message, finish_reason: 'TOOL_CALL', usage: USAGE })))
    sent[0]?.sink.end()
    await client.done
    expect(JSON.parse(client.text)).toMatchObject({
      stop_reason: 'tool_use',
      content: [
        { type: 'text', text: 'I will look.' },
        { type: 'tool_use', id: 'c1', name: 'look', input: { at: 'x' } },
      ],
      usage: { input_tokens: 10, output_tokens: 2 },
    })
  })

  it('embeds, in the form that was asked for', async () => {
    const { sent, events, call } = make([deployment('one', { provider: 'cohere', model: 'embed-v4.0', apiBase: null })])
    const client = call({ model: 'gpt', input: ['a'], encoding_format: 'base64' }, { endpoint: 'aembedding' })
    await settled()
    sent[0]?.sink.head(200, JSON_TYPE)
    const answer = { id: 'e1', embeddings: { float: [[0.5]] }, meta: { billed_units: { input_tokens: 4 } } }
    sent[0]?.sink.data(Buffer.from(JSON.stringify(answer)))
    sent[0]?.sink.end()
    await client.done
    expect(String(sent[0]?.request.url)).toBe('https://api.cohere.com/v2/embed')
    expect(JSON.parse(client.text)).toMatchObject({ object: 'list', model: 'gpt', data: [{ index: 0, embedding: 'AAAAPw==' }] })
    expect(events.at(-1)).toMatchObject({ attempts: [{ usage: { input: 4, output: 0 }, cost: 8_000 }] })
  })
})
