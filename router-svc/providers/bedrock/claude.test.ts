import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { awsEvent, awsException } from '../../aws-event-stream.testkit.ts'
import { AwsEventStreamParser } from '../../aws-event-stream.ts'
import type { ChatChunk, ChatRequest } from '../../canonical/chat.ts'
import { decodeRequest } from '../../dialects/anthropic/request.ts'
import { chat, deployment, JSON_TYPE, make, settled } from '../../handle.testkit.ts'
import { fold } from '../anthropic/fold.testkit.ts'
import { problemsOf, serviceModel } from '../aws-service-model.testkit.ts'
import { haveRecordings } from '../openai/recordings.suite.ts'
import { cuts } from '../provider.suite.ts'
import type { DecodeContext } from '../provider.ts'
import { CLAUDE } from './claude.ts'
import { target } from './recordings.testkit.ts'
import type { Fields } from './wire.ts'

const MODEL = 'us.anthropic.claude-haiku-4-5-20251001-v1:0'
const FOLDER = new URL('../../../../shared/fixtures/bedrock/', import.meta.url)

/** An exchange in Anthropic's words that went through InvokeModel; whole, streamed, or both. */
interface Recorded {
  file: string
  request: Fields
  whole: Fields | null
  events: Fields[] | null
}

function recorded(): Recorded[] {
  return readdirSync(fileURLToPath(FOLDER)).flatMap((file) => {
    if (!file.endsWith('.json')) return []
    const data = JSON.parse(readFileSync(new URL(file, FOLDER), 'utf8')) as Fields
    if (data['format'] === 'http-exchanges/1') {
      const exchanges = data['exchanges'] as {
        request: { url: string; body: Fields }
        response: { status: number; body: unknown }
      }[]
      return exchanges
        .filter(({ request }) => /claude.*\/invoke$/.test(request.url))
        .map(({ request, response: { body } }) => {
          const whole = (typeof body === 'string' ? JSON.parse(body) : body) as Fields
          return { file, request: request.body, whole, events: null }
        })
    }
    if (!file.includes('bedrock-anthropic')) return []
    return ['', 'followup_'].flatMap((turn) => {
      const request = data[`${turn}request`] as Fields | undefined
      if (request === undefined) return []
      const events = (data[`${turn}response_streaming`] ?? null) as Fields[] | null
      return [{ file, request, whole: (data[`${turn}response`] ?? null) as Fields | null, events }]
    })
  })
}

function context(request: ChatRequest): DecodeContext {
  return { id: 'made', created: 1, model: MODEL, request }
}

function framed(events: readonly unknown[]): Uint8Array {
  return Buffer.concat(
    events.map((event) => awsEvent('chunk', { bytes: Buffer.from(JSON.stringify(event)).toString('base64'), p: 'abc' })),
  )
}

function streamed(request: ChatRequest, pieces: Iterable<Uint8Array>) {
  const parser = new AwsEventStreamParser()
  const decoder = CLAUDE.decodeStream?.(context(request))
  if (decoder === undefined) throw new Error('no stream')
  const chunks: ChatChunk[] = []
  for (const piece of pieces) for (const event of parser.push(piece)) chunks.push(...decoder.push(event))
  chunks.push(...decoder.end())
  expect(decoder.done).toBe(true)
  return fold(chunks)
}

describe.skipIf(!haveRecordings())('Claude through InvokeModel, as it was recorded', () => {
  const all = haveRecordings() ? recorded() : []

  it('is found in the recordings', () => {
    expect(all.length).toBeGreaterThanOrEqual(4)
    expect(all.some(({ events }) => events !== null)).toBe(true)
  })

  it.each(all)('$file: the request of an Anthropic client arrives as it was', ({ request }) => {
    const { anthropic_version: version, ...body } = request
    const canonical = decodeRequest({ ...structuredClone(body), model: 'asked' })
    const sent = CLAUDE.encodeRequest(canonical, target({ model: MODEL }))
    expect(problemsOf(serviceModel('bedrock-runtime'), 'InvokeModel', sent)).toEqual([])
    // Blocks are what one text stands for.
    expect(blocked(JSON.parse(String(sent.body)))).toEqual(blocked({ anthropic_version: version, ...body }))
  })

  it.each(all.filter(({ whole }) => whole !== null))('$file: the answer is read as it was', ({ request, whole }) => {
    const canonical = decodeRequest({ ...structuredClone(request), model: 'asked' })
    const answer = CLAUDE.decodeResponse(Buffer.from(JSON.stringify(whole)), {}, context(canonical))
    const { content, usage } = whole as { content: Fields[]; usage: Record<string, number> }
    expect(answer.choices[0]?.message.content ?? '').toBe(content.map((block) => block['text'] ?? '').join(''))
    const calls = content.filter(({ type }) => type === 'tool_use')
    expect((answer.choices[0]?.message.tool_calls ?? []).map(({ id }) => id)).toEqual(calls.map(({ id }) => id))
    expect(answer.usage?.completion_tokens).toBe(usage['output_tokens'])
    const read = usage['cache_read_input_tokens'] ?? 0
    expect(answer.usage?.prompt_tokens).toBe((usage['input_tokens'] ?? 0) + read + (usage['cache_creation_input_tokens'] ?? 0))
  })

  it.each(all.filter(({ events }) => events !== null))(
    '$file: the stream is the same however it is cut',
    ({ request, events }) => {
      const canonical = decodeRequest({ ...structuredClone(request), model: 'asked', stream: true })
      const bytes = framed(events ?? [])
      const whole = streamed(canonical, [bytes])
      const texts = (events ?? []).map(({ delta }) => (delta as Fields | undefined)?.['text'] ?? '')
      expect(whole.message.content ?? '').toBe(texts.join(''))
      expect(whole.finish).not.toBeNull()
      expect(whole.usage?.completion_tokens).toBeGreaterThan(0)
      for (const pieces of cuts(bytes, 7)) expect(streamed(canonical, pieces)).toEqual(whole)
      expect(() => streamed(canonical, [framed((events ?? []).slice(0, -1))])).toThrow('before it was complete')
    },
  )
})

/** A body whose texts are blocks. */
function blocked({ messages, system, ...body }: Fields): Fields {
  const turns = (messages as { role: string; content: unknown }[]).map(({ role, content }) => ({
    role,
    content: typeof content === 'string' ? [{ type: 'text', text: content }] : content,
  }))
  const said = typeof system === 'string' ? [{ type: 'text', text: system }] : system
  return { ...body, ...(said === undefined ? {} : { system: said }), messages: turns }
}

function body(request: Partial<ChatRequest>, model = `invoke/${MODEL}`, settings: Fields = {}) {
  const messages = [{ role: 'user', content: 'hi' }]
  const sent = CLAUDE.encodeRequest({ model: 'm', messages, max_tokens: 10, ...request }, target({ model, settings }))
  expect(
    problemsOf(serviceModel('bedrock-runtime'), 'InvokeModelWithResponseStream', sent).filter((one) => !one.startsWith('path')),
  ).toEqual([])
  return { ...sent, body: JSON.parse(String(sent.body)) as Fields }
}

describe.skipIf(!haveRecordings())('the request for Claude through InvokeModel', () => {
  it('is made where the operator asks for it or the client speaks Anthropic’s protocol, and Converse’s else', () => {
    const base = 'https://bedrock-runtime.us-east-1.amazonaws.com/model/us.anthropic.claude-haiku-4-5-20251001-v1%3A0'
    expect(body({}).url).toBe(`${base}/invoke`)
    expect(body({ stream: true }).url).toBe(`${base}/invoke-with-response-stream`)
    expect(body({ anthropic: {} }, MODEL).url).toBe(`${base}/invoke`)
    const converse = CLAUDE.encodeRequest({ model: 'm', messages: [{ role: 'user', content: 'hi' }] }, target({ model: MODEL }))
    expect(converse.url).toBe(`${base}/converse`)
    expect(body({ stream: true }).body).toEqual({
      anthropic_version: 'bedrock-2023-05-31',
      max_tokens: 10,
      messages: [{ role: 'user', content: 'hi' }],
    })
  })

  it('holds the betas Bedrock knows and no others', () => {
    const betas = ['claude-code-20250219', 'context-1m-2025-08-07', 'advanced-tool-use-2025-11-20', 'oauth-2025-04-20']
    expect(body({ anthropic_beta: betas }).body['anthropic_beta']).toEqual([
      'context-1m-2025-08-07',
      'tool-search-tool-2025-10-19',
    ])
    expect(body({ anthropic_beta: ['oauth-2025-04-20'] }).body['anthropic_beta']).toBeUndefined()
  })

  it('says in headers what is the service’s own', () => {
    const guardrailConfig = { guardrailIdentifier: 'abc123', guardrailVersion: '1', trace: 'enabled' }
    const sent = body({ performanceConfig: { latency: 'optimized' }, service_tier: 'priority' }, undefined, { guardrailConfig })
    expect(sent.headers).toEqual({
      'content-type': 'application/json',
      'x-amzn-bedrock-guardrailidentifier': 'abc123',
      'x-amzn-bedrock-guardrailversion': '1',
      'x-amzn-bedrock-trace': 'ENABLED',
      'x-amzn-bedrock-performanceconfig-latency': 'optimized',
      'x-amzn-bedrock-service-tier': 'priority',
    })
    expect(Object.keys(sent.body).sort()).toEqual(['anthropic_version', 'max_tokens', 'messages'])
  })

  it('refuses the web search that only Anthropic has', () => {
    expect(() => body({ web_search_options: {} })).toThrow('web_search_options')
    expect(body({ web_search_options: {}, drop_params: true }).body['tools']).toBeUndefined()
  })
})

describe('an Anthropic client of a deployment on Bedrock', () => {
  const settings = { aws_region_name: 'us-east-1' }
  const claude = deployment('one', { provider: 'bedrock', model: MODEL, apiBase: null, apiKey: 'k', settings })
  const thinking = { type: 'thinking', thinking: 'hm', signature: 'c2ln' }
  const asked = {
    model: 'gpt',
    max_tokens: 2000,
    thinking: { type: 'enabled', budget_tokens: 1024 },
    messages: [
      { role: 'user', content: [{ type: 'text', text: 'look', cache_control: { type: 'ephemeral' } }] },
      { role: 'assistant', content: [thinking, { type: 'tool_use', id: 't1', name: 'look', input: {} }] },
      { role: 'user', content: [{ type: 'tool_result', tool_use_id: 't1', content: 'there' }] },
    ],
    tools: [{ name: 'look', input_schema: { type: 'object', properties: {} } }],
  }
  const events = [
    {
      type: 'message_start',
      message: {
        id: 'msg_1',
        type: 'message',
        role: 'assistant',
        model: 'c',
        content: [],
        usage: { input_tokens: 9, output_tokens: 1 },
      },
    },
    { type: 'content_block_start', index: 0, content_block: { type: 'thinking', thinking: '', signature: '' } },
    { type: 'content_block_delta', index: 0, delta: { type: 'thinking_delta', thinking: 'hm' } },
    { type: 'content_block_delta', index: 0, delta: { type: 'signature_delta', signature: 'c2ln' } },
    { type: 'content_block_stop', index: 0 },
    { type: 'content_block_start', index: 1, content_block: { type: 'text', text: '' } },
    { type: 'content_block_delta', index: 1, delta: { type: 'text_delta', text: 'hello' } },
    { type: 'content_block_stop', index: 1 },
    { type: 'message_delta', delta: { stop_reason: 'end_turn', stop_sequence: null }, usage: { output_tokens: 7 } },
    { type: 'message_stop', 'amazon-bedrock-invocationMetrics': { inputTokenCount: 9, outputTokenCount: 7 } },
  ]

  it('is answered in its own protocol, signatures and all, and its request goes out in it', async () => {
    const { sent, call, events: booked } = make([claude])
    const client = call({ ...asked, stream: true }, { endpoint: 'anthropic_messages' })
    await settled()
    expect(JSON.parse(String(sent[0]?.request.body))).toEqual({
      anthropic_version: 'bedrock-2023-05-31',
      max_tokens: 2000,
      thinking: asked.thinking,
      messages: asked.messages,
      tools: asked.tools,
    })
    sent[0]?.sink.head(200, { 'content-type': 'application/vnd.amazon.eventstream' })
    sent[0]?.sink.data(framed(events))
    sent[0]?.sink.end()
    await client.done
    expect(client.error).toBeNull()
    expect(client.text).toContain('"signature":"c2ln"')
    expect(client.text).toContain('"text":"hello"')
    expect(client.text.trimEnd().endsWith('data: {"type":"message_stop"}')).toBe(true)
    expect(booked.at(-1)).toMatchObject({ attempts: [{ usage: { input: 9, output: 7, estimated: false } }] })
  })

  it('is told of an exception among the frames', async () => {
    const { sent, call } = make([claude], { numRetries: 0 })
    const client = call({ ...asked, stream: true }, { endpoint: 'anthropic_messages' })
    await settled()
    sent[0]?.sink.head(200, { 'content-type': 'application/vnd.amazon.eventstream' })
    const whole = [framed(events.slice(0, 7)), awsException('throttlingException', { message: 'slow down' })]
    sent[0]?.sink.data(Buffer.concat(whole))
    sent[0]?.sink.end()
    await client.done
    expect(client.text + JSON.stringify(client.error?.message)).toContain('slow down')
    expect(client.text).not.toContain('message_stop')
  })

  it('leaves OpenAI’s clients of the same deployment with Converse', async () => {
    const { sent, call } = make([claude])
    const client = call(chat)
    await settled()
    expect(sent[0]?.request.url).toMatch(/\/converse$/)
    sent[0]?.sink.head(200, JSON_TYPE)
    const output = { message: { role: 'assistant', content: [{ text: 'hello' }] } }
    sent[0]?.sink.data(
      Buffer.from(JSON.stringify({ output, stopReason: 'end_turn', usage: { inputTokens: 1, outputTokens: 2 } })),
    )
    sent[0]?.sink.end()
    await client.done
    expect(JSON.parse(client.text)).toMatchObject({ choices: [{ message: { content: 'hello' } }] })
  })
})
