import { describe, expect, it } from 'vitest'
import { chat, deployment, make, settled } from '../../handle.testkit.ts'
import { lines } from './encode.testkit.ts'

const NDJSON = { 'content-type': 'application/x-ndjson' }
const said = (content: string) => ({ model: 'qwen3', message: { role: 'assistant', content }, done: false })
const OVER = {
  model: 'qwen3',
  message: { role: 'assistant', content: '' },
  done: true,
  done_reason: 'stop',
  prompt_eval_count: 100,
  eval_count: 50,
}

const local = (id: string) =>
  deployment(id, {
    provider: 'ollama_chat',
    model: 'qwen3',
    apiBase: `http://${id}.test`,
    apiKey: null,
    extraBody: { num_ctx: 8192 },
  })

describe('a call to Ollama', () => {
  it('streams lines in and server-sent events out, without a key, and is reported with its usage', async () => {
    const { sent, events, call } = make([local('one')])
    const client = call({ ...chat, stream: true, stream_options: { include_usage: true } })
    const [upstream] = sent
    expect(upstream?.request.url).toBe('http://one.test/api/chat')
    expect(upstream?.request.headers).not.toHaveProperty('authorization')
    expect(JSON.parse(String(upstream?.request.body))).toEqual({
      model: 'qwen3',
      messages: [{ role: 'user', content: 'hi' }],
      options: { num_ctx: 8192 },
      stream: true,
    })
    upstream?.sink.head(200, NDJSON)
    const bytes = lines(said('hel'), said('lo'), OVER)
    upstream?.sink.data(bytes.subarray(0, 30))
    upstream?.sink.data(bytes.subarray(30))
    upstream?.sink.end()
    await client.done
    expect(client.head?.status).toBe(200)
    const data = client.text
      .split('\n\n')
      .filter((event) => event !== '')
      .map((event) => event.slice('data: '.length))
    expect(data.at(-1)).toBe('[DONE]')
    const chunks = data.slice(0, -1).map((event) => JSON.parse(event))
    expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('')).toBe('hello')
    expect(chunks.at(-1).usage).toMatchObject({ prompt_tokens: 100, completion_tokens: 50 })
    expect(events[0]).toMatchObject({
      outcome: 'success',
      attempts: [{ provider: 'ollama_chat', usage: { input: 100, output: 50 } }],
    })
  })

  it('is booked with the output the server counted and the prompt as estimated, where it counted only the former', async () => {
    const { sent, events, call } = make([local('one')])
    const client = call({ ...chat, stream: true })
    const { prompt_eval_count: _cached, ...rest } = OVER
    sent[0]?.sink.head(200, NDJSON)
    sent[0]?.sink.data(lines(said('hello'), rest))
    sent[0]?.sink.end()
    await client.done
    const usage = events[0]?.attempts[0]?.usage
    expect(usage).toMatchObject({ output: 50, estimated: true })
    expect(usage?.input).toBeGreaterThan(0)
  })

  it('goes to the other server when the first fails under a 200', async () => {
    const { sent, events, call } = make([local('one'), local('two')])
    const client = call({ ...chat, stream: true })
    sent[0]?.sink.head(200, NDJSON)
    sent[0]?.sink.data(lines({ error: 'model runner has unexpectedly stopped' }))
    sent[0]?.sink.end()
    await settled()
    expect(sent[1]?.request.url).toBe('http://two.test/api/chat')
    sent[1]?.sink.head(200, NDJSON)
    sent[1]?.sink.data(lines(said('hello'), OVER))
    sent[1]?.sink.end()
    await client.done
    expect(client.text).toContain('"hello"')
    expect(events[0]?.attempts.map(({ outcome }) => outcome)).toEqual(['failure', 'success'])
  })

  it('sends a key that is configured as bearer', () => {
    const { sent, call } = make([deployment('one', { provider: 'ollama', model: 'gpt-oss:120b', apiBase: 'https://ollama.com' })])
    call(chat)
    expect(sent[0]?.request.headers['authorization']).toBe('Bearer k')
  })
})
