import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { PROVIDERS } from '../../../shared/catalog/providers.ts'
import { awsEvent, awsException } from '../../aws-event-stream.testkit.ts'
import { AwsEventStreamParser } from '../../aws-event-stream.ts'
import type { ChatChunk, ChatRequest } from '../../canonical/chat.ts'
import { problemsOf, serviceModel } from '../aws-service-model.testkit.ts'
import { haveRecordings } from '../openai/recordings.suite.ts'
import { cuts, foldChunks } from '../provider.suite.ts'
import type { DecodeContext, Provider, Target } from '../provider.ts'
import { bedrock } from './index.ts'
import { canonicalOf, target } from './recordings.testkit.ts'
import type { Fields } from './wire.ts'

const BEDROCK = bedrock('bedrock', PROVIDERS['bedrock'] as { keys: readonly string[] })
const CONTEXT: DecodeContext = { id: 'made', created: 1, model: 'm', request: {} }

/** The provider as it serves a deployment of this model. */
function served(model: string, settings: Fields = {}): Provider {
  return BEDROCK.serve?.(model, { baseModel: null, settings, info: {} } as never).provider ?? BEDROCK
}

function sent(model: string, request: Partial<ChatRequest>, to: Partial<Target> = {}) {
  const asked = { model: 'm', messages: [{ role: 'user', content: 'hi' }], ...request }
  const upstream = served(model, to.settings as Fields).chat?.encodeRequest(asked, target({ model, ...to }))
  if (upstream === undefined) throw new Error('no chat')
  return { ...upstream, body: JSON.parse(String(upstream.body)) as Fields }
}

function read(model: string, answer: unknown) {
  const response = served(model).chat?.decodeResponse(Buffer.from(JSON.stringify(answer)), {}, CONTEXT)
  const [choice] = response?.choices ?? []
  return { content: choice?.message.content, finish: choice?.finish_reason, usage: response?.usage }
}

function streamed(model: string, pieces: Iterable<Uint8Array>) {
  const parser = new AwsEventStreamParser()
  const decoder = served(model).chat?.decodeStream?.(CONTEXT)
  if (decoder === undefined) throw new Error('no stream')
  const chunks: ChatChunk[] = []
  for (const piece of pieces) for (const event of parser.push(piece)) chunks.push(...decoder.push(event))
  chunks.push(...decoder.end())
  const { choices, usage } = foldChunks(chunks)
  const { content, finish } = choices.get(0) ?? {}
  return { content, finish, usage }
}

const framed = (events: readonly unknown[]): Uint8Array =>
  Buffer.concat(events.map((event) => awsEvent('chunk', { bytes: Buffer.from(JSON.stringify(event)).toString('base64') })))
const METRICS = { inputTokenCount: 4, outputTokenCount: 2, invocationLatency: 9, firstByteLatency: 1 }
const COUNTED = { prompt_tokens: 4, completion_tokens: 2, total_tokens: 6 }
const ARN = 'arn:aws:bedrock:us-east-1:123456789012:imported-model/abc'

describe('a model asked through InvokeModel', () => {
  it('is one its route names; any other goes through Converse', () => {
    const path = (model: string, stream = false) => new URL(sent(model, { stream }).url).pathname
    expect(path('invoke/meta.llama3-1-8b-instruct-v1:0')).toBe('/model/meta.llama3-1-8b-instruct-v1%3A0/invoke')
    expect(path(`llama/${ARN}`, true)).toBe(`/model/${encodeURIComponent(ARN)}/invoke-with-response-stream`)
    expect(path('meta.llama3-1-8b-instruct-v1:0')).toMatch(/\/converse$/)
    expect(path('converse/amazon.nova-micro-v1:0')).toMatch(/\/converse$/)
  })

  it.each([
    ['invoke/meta.llama3-1-8b-instruct-v1:0', 'prompt', 'max_gen_len'],
    [`deepseek_r1/${ARN}`, 'prompt', 'max_tokens'],
    [`qwen3/${ARN}`, 'prompt', 'max_gen_len'],
    ['invoke/mistral.mistral-7b-instruct-v0:2', 'prompt', 'max_tokens'],
    ['invoke/ai21.j2-mid-v1', 'prompt', 'max_tokens'],
    [`openai/${ARN}`, 'messages', 'max_tokens'],
    ['invoke/openai.gpt-oss-20b-1:0', 'messages', 'max_tokens'],
  ])('%s gets %s and %s', (model, input, limit) => {
    const { body, headers } = sent(
      model,
      { max_tokens: 9, temperature: 0.5, stream: true },
      { settings: { guardrailConfig: { guardrailIdentifier: 'g', guardrailVersion: '1' } } },
    )
    expect(Object.keys(body).sort()).toEqual([input, limit, 'temperature'].sort())
    expect(headers['x-amzn-bedrock-guardrailidentifier']).toBe('g')
  })

  it('is shown a conversation as its maker writes one, or as the operator says', () => {
    const messages = [
      { role: 'system', content: 'be brief' },
      { role: 'user', content: 'hi' },
    ]
    expect(sent(`llama/${ARN}`, { messages }).body['prompt']).toBe(
      '<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nbe brief<|eot_id|>' +
        '<|start_header_id|>user<|end_header_id|>\n\nhi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n',
    )
    expect(sent(`qwen2/${ARN}`, {}).body['prompt']).toBe('<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n')
    expect(sent(`deepseek_r1/${ARN}`, {}).body['prompt']).toBe('<｜begin▁of▁sentence｜><｜User｜>hi<｜Assistant｜><think>\n')
    const roles = { user: { pre_message: 'Q: ', post_message: ' A:' } }
    const settings = { roles, initial_prompt_value: '', final_prompt_value: '' }
    expect(sent(`llama/${ARN}`, {}, { settings }).body['prompt']).toBe('Q: hi A:')
  })

  it('refuses tools by name where it only continues a text, and takes them in OpenAI’s body', () => {
    const tools = [{ type: 'function', function: { name: 'f', parameters: {} } }]
    expect(() => sent(`llama/${ARN}`, { tools })).toThrow("['tools']")
    expect(sent(`openai/${ARN}`, { tools }).body['tools']).toEqual(tools)
  })

  it('of Amazon gets Converse’s words in a body of its own', () => {
    const { body } = sent('invoke/amazon.nova-lite-v1:0', { max_tokens: 5, top_k: 20, service_tier: 'priority' })
    expect(body).toEqual({
      schemaVersion: 'messages-v1',
      messages: [{ role: 'user', content: [{ text: 'hi' }] }],
      inferenceConfig: { maxTokens: 5, topK: 20 },
    })
  })

  it.each([
    [
      `llama/${ARN}`,
      { generation: 'hello', prompt_token_count: 4, generation_token_count: 2, stop_reason: 'length' },
      'length',
      COUNTED,
    ],
    [`deepseek_r1/${ARN}`, { choices: [{ text: 'hello', stop_reason: 'stop' }] }, 'stop', undefined],
    ['invoke/mistral.mistral-7b-instruct-v0:2', { outputs: [{ text: 'hello', stop_reason: 'stop' }] }, 'stop', undefined],
    [
      'invoke/amazon.titan-text-express-v1',
      { inputTextTokenCount: 4, results: [{ tokenCount: 2, outputText: 'hello', completionReason: 'CONTENT_FILTERED' }] },
      'content_filter',
      COUNTED,
    ],
    [
      'invoke/openai.gpt-oss-20b-1:0',
      { choices: [{ index: 0, message: { role: 'assistant', content: 'hello' }, finish_reason: 'stop' }], usage: COUNTED },
      'stop',
      COUNTED,
    ],
  ])('%s answers %j', (model, answer, finish, usage) => {
    expect(read(model, answer)).toEqual({ content: 'hello', finish, usage })
  })

  it('is refused in the words of the service, also inside a 200', () => {
    expect(() => read(`openai/${ARN}`, { message: 'Malformed input request' })).toThrow('BedrockException')
  })

  it.each([
    [
      `llama/${ARN}`,
      [
        { generation: 'hel', stop_reason: null },
        { generation: 'lo', stop_reason: 'stop', 'amazon-bedrock-invocationMetrics': METRICS },
      ],
    ],
    [
      `openai/${ARN}`,
      [
        { choices: [{ index: 0, delta: { role: 'assistant', content: 'hel' } }] },
        { choices: [{ index: 0, delta: { content: 'lo' }, finish_reason: 'stop' }], 'amazon-bedrock-invocationMetrics': METRICS },
      ],
    ],
    [
      'invoke/amazon.nova-lite-v1:0',
      [
        { messageStart: { role: 'assistant' } },
        { contentBlockDelta: { delta: { text: 'hello' }, contentBlockIndex: 0 } },
        { 'amazon-bedrock-guardrailAction': 'NONE', contentBlockStop: { contentBlockIndex: 0 } },
        { messageStop: { stopReason: 'end_turn' } },
        { metadata: { usage: { inputTokens: 4, outputTokens: 2 } }, 'amazon-bedrock-invocationMetrics': METRICS },
      ],
    ],
  ])('%s streams, and is not whole without its end', (model, events) => {
    expect(streamed(model, [framed(events)])).toMatchObject({ content: 'hello', finish: 'stop', usage: { ...COUNTED } })
    expect(() => streamed(model, [framed(events.slice(0, -1))])).toThrow('before it was complete')
    const broken = awsException('modelStreamErrorException', { message: 'broken' })
    expect(() => streamed(model, [framed(events.slice(0, 1)), broken])).toThrow('BedrockException')
  })
})

describe('a model that thinks before it answers', () => {
  const model = `deepseek_r1/${ARN}`
  const events = (pieces: readonly string[]) => [
    ...pieces.map((generation) => ({ generation, stop_reason: null })),
    { generation: '', stop_reason: 'stop', 'amazon-bedrock-invocationMetrics': METRICS },
  ]
  const told = (pieces: readonly string[]) => {
    const decoder = served(model).chat?.decodeStream?.(CONTEXT)
    const parsed = new AwsEventStreamParser().push(framed(events(pieces)))
    const { choices } = foldChunks(parsed.flatMap((event) => decoder?.push(event) ?? []))
    const { content, reasoning, finish } = choices.get(0) ?? {}
    return { content, reasoning, finish }
  }

  it('is read apart, whole and streamed, however the tag is cut and whether it opens it again', () => {
    for (const begin of ['', '<think>']) {
      const response = served(model).chat?.decodeResponse(
        Buffer.from(JSON.stringify({ choices: [{ text: `${begin}hm, so</think>\n\nhello`, stop_reason: 'stop' }] })),
        {},
        CONTEXT,
      )
      expect(response?.choices[0]?.message).toMatchObject({ content: 'hello', reasoning_content: 'hm, so' })
      expect(told([`${begin}hm,`, ' so</th', 'ink>', '\n\n', 'hel', 'lo'])).toEqual({
        content: 'hello',
        reasoning: 'hm, so',
        finish: 'stop',
      })
    }
    expect(told(['hm, so'])).toEqual({ content: '', reasoning: 'hm, so', finish: 'stop' })
  })
})

interface Exchange {
  request: { url: string; headers: Record<string, string[]>; body: Fields }
  response: { status: number; body: string | Fields; stream?: string | null }
}

describe.skipIf(!haveRecordings())('what was recorded of InvokeModel', () => {
  const folder = new URL('../../../../shared/fixtures/bedrock/', import.meta.url)
  const all: { file: string; model: string; exchange: Exchange }[] = []
  for (const file of haveRecordings() ? readdirSync(fileURLToPath(folder)) : []) {
    if (!file.endsWith('.json')) continue
    const data = JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as { exchanges?: Exchange[] }
    for (const exchange of data.exchanges ?? []) {
      const id = /\/model\/([^/]+)\/invoke/.exec(exchange.request.url)?.[1]
      if (id === undefined || /claude|embed/.test(id)) continue
      all.push({ file, model: `invoke/${decodeURIComponent(id)}`, exchange })
    }
  }

  it('is of several makers', () => {
    expect(new Set(all.map(({ model }) => model)).size).toBeGreaterThanOrEqual(4)
  })

  it.each(all.filter(({ exchange }) => !exchange.response.stream))('$file: is read as it was', ({ model, exchange }) => {
    const { body } = exchange.response
    const answer = (typeof body === 'string' ? JSON.parse(body) : body) as {
      results?: { outputText: string }[]
      choices?: { text: string }[]
      completions?: { data: { text: string } }[]
    }
    const said = read(model, answer)
    const words = answer.results?.[0]?.outputText ?? answer.choices?.[0]?.text ?? answer.completions?.[0]?.data.text
    expect(words).toBeTypeOf('string')
    expect(said.content).toBe(words)
    expect(said.finish).toMatch(/^(stop|length|content_filter)$/)
  })

  it.each(all.filter(({ exchange }) => exchange.response.stream))(
    '$file: streams the same however it is cut',
    ({ model, exchange }) => {
      const bytes = Buffer.from(exchange.response.body as string, 'base64')
      const whole = streamed(model, [bytes])
      expect(whole.content).not.toBe('')
      expect(whole.finish).toMatch(/^(stop|length|content_filter)$/)
      expect(whole.usage?.completion_tokens).toBeGreaterThan(0)
      for (const pieces of cuts(bytes, 3)) expect(streamed(model, pieces)).toEqual(whole)
    },
  )

  it('is Nova’s request, encoded again', () => {
    const nova = all.filter(({ model }) => model.includes('nova'))
    expect(nova.length).toBeGreaterThan(0)
    for (const { model, exchange } of nova) {
      const { schemaVersion, inferenceConfig, ...body } = exchange.request.body
      const { topK, ...inference } = inferenceConfig as Fields
      const canonical = {
        ...canonicalOf({ ...body, inferenceConfig: inference }),
        ...(topK === undefined ? {} : { top_k: topK }),
      }
      expect(sent(model, canonical).body).toEqual({ schemaVersion, ...body, inferenceConfig: { ...inference, topK } })
    }
  })

  it('is what the description of the service allows', () => {
    const model = serviceModel('bedrock-runtime')
    for (const name of ['invoke/amazon.nova-lite-v1:0', 'invoke/mistral.mistral-7b-instruct-v0:2', `openai/${ARN}`]) {
      const { body, ...request } = sent(name, {})
      expect(problemsOf(model, 'InvokeModel', { ...request, body: JSON.stringify(body) })).toEqual([])
    }
  })
})
