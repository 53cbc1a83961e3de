import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { awsEvent } from '../aws-event-stream.testkit.ts'
import { usageMeter } from './usage-meter.ts'
import { bedrockReader, cohereReader, geminiReader, openaiReader, type UsageReader, watsonxReader } from './usage-readers.ts'

const JSON_TYPE = 'application/json'
const SSE = 'text/event-stream; charset=utf-8'

function read(reader: UsageReader, type: string, bytes: Uint8Array | string, cuts: readonly number[] = [], headers = {}) {
  const whole = Buffer.from(bytes as Uint8Array)
  const meter = usageMeter(reader)
  meter.head?.({ 'content-type': type, ...headers })
  let from = 0
  for (const cut of [...new Set(cuts.map((at) => at % (whole.length + 1)))].sort((a, b) => a - b)) {
    meter.see(whole.subarray(from, cut))
    from = cut
  }
  meter.see(whole.subarray(from))
  return { usage: meter.usage(), model: meter.model }
}

const events = (...list: unknown[]): string => list.map((one) => `data: ${JSON.stringify(one)}\n\n`).join('')
const lines = (...list: unknown[]): string => list.map((one) => JSON.stringify(one)).join('\n')
const converse = Buffer.concat([
  awsEvent('messageStart', {}),
  awsEvent('metadata', { usage: { inputTokens: 7, outputTokens: 3 } }),
])
const part = (value: unknown) => awsEvent('chunk', { bytes: Buffer.from(JSON.stringify(value)).toString('base64') })
const metrics = { 'amazon-bedrock-invocationMetrics': { inputTokenCount: 7, outputTokenCount: 3 } }
const chat = { prompt_tokens: 7, completion_tokens: 3 }
const messages = {
  type: 'message_start',
  message: { model: 'claude', usage: { input_tokens: 7, cache_read_input_tokens: 0, output_tokens: 1 } },
}
const gemini = { usageMetadata: { promptTokenCount: 7, candidatesTokenCount: 3 } }
const cohere = { billed_units: { input_tokens: 7, output_tokens: 3 } }

const SAMPLES: readonly (readonly [string, () => UsageReader, string, Uint8Array | string])[] = [
  ['a chat', openaiReader, JSON_TYPE, JSON.stringify({ model: 'm', usage: chat })],
  ['a streamed chat', openaiReader, SSE, `${events({ choices: [] }, { choices: [], usage: chat })}data: [DONE]\n\n`],
  [
    'a response',
    openaiReader,
    SSE,
    events({ type: 'response.completed', response: { usage: { input_tokens: 7, output_tokens: 3 } } }),
  ],
  ['a message', openaiReader, SSE, events(messages, { type: 'message_delta', usage: { output_tokens: 3 } })],
  ['Gemini whole', geminiReader, JSON_TYPE, JSON.stringify(gemini)],
  ['Gemini as a list', geminiReader, JSON_TYPE, JSON.stringify([{ usageMetadata: { promptTokenCount: 7 } }, gemini])],
  ['Gemini in events', geminiReader, SSE, events({ usageMetadata: { promptTokenCount: 7 } }, gemini)],
  ['Claude at Vertex', geminiReader, SSE, events(messages, { type: 'message_delta', usage: { output_tokens: 3 } })],
  ['Converse', bedrockReader, JSON_TYPE, JSON.stringify({ usage: { inputTokens: 7, outputTokens: 3 } })],
  ['Converse streamed', bedrockReader, 'application/vnd.amazon.eventstream', converse],
  ['a model invoked', bedrockReader, 'application/vnd.amazon.eventstream', Buffer.concat([part({ text: 'x' }), part(metrics)])],
  ['Cohere', cohereReader, JSON_TYPE, JSON.stringify({ usage: cohere })],
  ['Cohere in events', cohereReader, SSE, events({ type: 'message-end', delta: { usage: cohere } })],
  ['Cohere’s first version', cohereReader, JSON_TYPE, JSON.stringify({ text: 'x', meta: cohere })],
  ['Cohere’s first version in lines', cohereReader, JSON_TYPE, lines({ is_finished: false }, { response: { meta: cohere } })],
  [
    'watsonx’s texts',
    watsonxReader,
    JSON_TYPE,
    JSON.stringify({ results: [{ input_token_count: 7, generated_token_count: 3 }] }),
  ],
  ['watsonx’s chats', watsonxReader, JSON_TYPE, JSON.stringify({ model_id: 'granite', usage: chat })],
]

describe('usage of an answer that goes by', () => {
  it.each(SAMPLES)('is read from %s, however it is cut', (_, reader, type, bytes) => {
    fc.assert(
      fc.property(fc.array(fc.nat(), { maxLength: 8 }), (cuts) => {
        expect(read(reader(), type, bytes, cuts).usage).toMatchObject({ input: 7, output: 3, estimated: false })
      }),
      { numRuns: 40 },
    )
  })

  it('is read from the headers of what is invoked', () => {
    const headers = { 'x-amzn-bedrock-input-token-count': '7', 'x-amzn-bedrock-output-token-count': '3' }
    expect(read(bedrockReader(), JSON_TYPE, '{"completion":""}', [], headers).usage).toMatchObject({ input: 7, output: 3 })
  })

  it('counts searches, embeddings and pictures', () => {
    const ranked = { results: [], meta: { billed_units: { search_units: 2 } } }
    expect(read(cohereReader(), JSON_TYPE, JSON.stringify(ranked)).usage).toMatchObject({ units: { query: 2 } })
    const embedded = {
      predictions: [{ embeddings: { statistics: { token_count: 5 } } }, { embeddings: { statistics: { token_count: 6 } } }],
    }
    expect(read(geminiReader(), JSON_TYPE, JSON.stringify(embedded)).usage).toMatchObject({ input: 11 })
    const drawn = { predictions: [{ mimeType: 'image/png', bytesBase64Encoded: '' }] }
    expect(read(geminiReader(), JSON_TYPE, JSON.stringify(drawn)).usage).toMatchObject({ units: { image_out: 1 } })
  })

  it('is estimated where a stream was not asked to tell it, and nothing where nothing was said', () => {
    const said = events({ choices: [{ delta: { content: 'x'.repeat(40) } }] })
    expect(read(openaiReader(5), SSE, said).usage).toMatchObject({ input: 5, output: 10, estimated: true })
    expect(read(openaiReader(5), SSE, events({ choices: [] })).usage).toBeNull()
    expect(read(openaiReader(), SSE, said).usage).toBeNull()
  })

  it('is none of what cannot be read: sound, half a document, bytes compressed unasked', () => {
    expect(read(openaiReader(), 'audio/mpeg', '{"usage":{"prompt_tokens":1}}').usage).toBeNull()
    expect(read(openaiReader(), JSON_TYPE, '{"usage":{"prompt_tokens":1}').usage).toBeNull()
    expect(read(openaiReader(), JSON_TYPE, JSON.stringify({ usage: chat }), [], { 'content-encoding': 'gzip' }).usage).toBeNull()
    expect(read(bedrockReader(), 'application/vnd.amazon.eventstream', 'no frames at all, but long enough').usage).toBeNull()
  })

  it('names the model that answered', () => {
    expect(read(openaiReader(), JSON_TYPE, JSON.stringify({ model: 'gpt-4o-2024-08-06', usage: chat })).model).toBe(
      'gpt-4o-2024-08-06',
    )
  })
})
