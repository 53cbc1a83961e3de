import { describe, expect, it } from 'vitest'
import { AwsEventStreamParser } from '../../aws-event-stream.ts'
import type { ChatChunk, ResponseMessage, Usage } from '../../canonical/chat.ts'
import { haveRecordings } from '../openai/recordings.suite.ts'
import { cuts, foldChunks } from '../provider.suite.ts'
import type { DecodeContext } from '../provider.ts'
import { decodeError } from './errors.ts'
import { canonicalOf, type Recording, recordings, target } from './recordings.testkit.ts'
import { encodeRequest } from './request.ts'
import { decodeResponse } from './response.ts'
import { ConverseStream } from './stream.ts'
import { type Fields, isFields, text } from './wire.ts'

const CONTEXT: DecodeContext = { id: 'made', created: 1, model: 'asked', request: {} }
const FINISH: Record<string, string> = {
  end_turn: 'stop',
  tool_use: 'tool_calls',
  max_tokens: 'length',
  guardrail_intervened: 'content_filter',
}

/** What a client is told, whichever way the answer came. */
interface Said {
  content: string
  reasoning: string
  thinking: unknown[]
  calls: unknown[]
  finish: string | null
  usage: Usage | null | undefined
}

function whole(body: string): Said {
  const { choices, usage } = decodeResponse(Buffer.from(body), {}, CONTEXT)
  const { message, finish_reason: finish } = choices[0] as { message: ResponseMessage; finish_reason: string }
  const { content, reasoning_content: reasoning = '', thinking_blocks: thinking = [], tool_calls: calls = [] } = message
  return { content: content ?? '', reasoning, thinking, calls, finish, usage }
}

function streamed(pieces: Iterable<Uint8Array>): Said {
  const parser = new AwsEventStreamParser()
  const decoder = new ConverseStream(CONTEXT)
  const chunks: ChatChunk[] = []
  for (const piece of pieces) for (const event of parser.push(piece)) chunks.push(...decoder.push(event))
  chunks.push(...decoder.end())
  const { choices, usage } = foldChunks(chunks)
  const choice = choices.get(0)
  if (choice === undefined) throw new Error('nothing was said')
  expect(choice.roles).toBe(1)
  const thinking = chunks.flatMap((chunk) => chunk.choices.flatMap(({ delta }) => delta.thinking_blocks ?? []))
  const { content, reasoning, toolCalls: calls, finish } = choice
  return { content, reasoning, thinking, calls, finish, usage }
}

/** The whole answer a stream amounts to, put together without the decoder. */
function assembled(stream: Uint8Array): Fields {
  const blocks: Record<number, Fields> = {}
  const answer: Fields = {}
  for (const { event, data } of new AwsEventStreamParser().push(stream)) {
    const payload = JSON.parse(data) as Fields
    const index = payload['contentBlockIndex'] as number
    if (event === 'contentBlockStart') blocks[index] = payload['start'] as Fields
    if (event === 'messageStop' || event === 'metadata') Object.assign(answer, payload)
    if (event !== 'contentBlockDelta') continue
    blocks[index] ??= {}
    const block = blocks[index]
    const delta = payload['delta'] as { text?: string; toolUse?: { input: string }; reasoningContent?: Fields }
    if (delta.text !== undefined) block['text'] = text(block['text']) + delta.text
    if (delta.toolUse !== undefined) {
      const use = block['toolUse'] as Fields
      use['input'] = text(use['input']) + delta.toolUse.input
    }
    if (delta.reasoningContent?.['redactedContent'] !== undefined) block['reasoningContent'] = delta.reasoningContent
    else if (delta.reasoningContent !== undefined) {
      block['reasoningContent'] ??= { reasoningText: { text: '' } }
      const { reasoningText: reasoning } = block['reasoningContent'] as { reasoningText: Fields }
      for (const name of ['text', 'signature'])
        if (delta.reasoningContent[name] !== undefined)
          reasoning[name] = text(reasoning[name]) + text(delta.reasoningContent[name])
    }
  }
  for (const block of Object.values(blocks))
    if (isFields(block['toolUse'])) block['toolUse']['input'] = JSON.parse(text(block['toolUse']['input']) || '{}')
  return { ...answer, output: { message: { role: 'assistant', content: Object.values(blocks) } } }
}

function compare(said: Said, raw: Fields): void {
  const { content } = (raw['output'] as { message: { content: Fields[] } }).message
  expect(said.content).toBe(content.map((block) => text(block['text'])).join(''))
  const uses = content.flatMap(({ toolUse: use }) => (isFields(use) && use['type'] !== 'server_tool_use' ? [use] : []))
  const calls = said.calls as { id: string; type: string; function: { name: string; arguments: string } }[]
  expect(
    calls.map(({ id, type, function: { name, arguments: input } }) => ({ id, type, name, input: JSON.parse(input) })),
  ).toEqual(uses.map((use) => ({ id: use['toolUseId'], type: 'function', name: use['name'], input: use['input'] })))
  const thoughts = content.flatMap(({ reasoningContent: thought }) => (isFields(thought) ? [thought] : []))
  expect(said.thinking.length).toBe(thoughts.length)
  const told = thoughts.map(({ reasoningText: thought }) => (isFields(thought) ? text(thought['text']) : ''))
  expect(said.reasoning).toBe(told.join(''))
  for (const [at, { reasoningText: thought, redactedContent: redacted }] of thoughts.entries()) {
    const block = said.thinking[at] as Fields
    expect(block['data']).toBe(redacted)
    expect(block['signature']).toBe(isFields(thought) ? thought['signature'] : undefined)
  }
  expect(said.finish).toBe(FINISH[text(raw['stopReason'])])
  const counts = raw['usage'] as Record<string, number>
  const cached = (counts['cacheReadInputTokens'] ?? 0) + (counts['cacheWriteInputTokens'] ?? 0)
  expect(said.usage?.prompt_tokens).toBe((counts['inputTokens'] as number) + cached)
  expect(said.usage?.completion_tokens).toBe(counts['outputTokens'])
  expect(said.usage?.total_tokens).toBe(counts['totalTokens'])
  expect(said.usage?.cache_read_input_tokens).toBe(counts['cacheReadInputTokens'] ?? 0)
}

/** What means the same however it is written: nothing, an empty list, a schema as text. */
function spelled(given: Fields): Fields {
  const request = structuredClone(given)
  for (const turn of request['messages'] as { content: Fields[] }[])
    for (const { toolResult: result } of turn.content) if (isFields(result)) result['status'] ??= 'success'
  for (const name of ['system', 'inferenceConfig', 'additionalModelRequestFields']) {
    const value = request[name]
    if (isFields(value) || Array.isArray(value)) if (Object.keys(value).length === 0) delete request[name]
  }
  const format = (request['outputConfig'] as Fields | undefined)?.['textFormat'] as
    | { structure: { jsonSchema: Fields } }
    | undefined
  if (format !== undefined) format.structure.jsonSchema['schema'] = JSON.parse(text(format.structure.jsonSchema['schema']))
  return request
}

describe.skipIf(!haveRecordings())('recordings of Bedrock', () => {
  const all = haveRecordings() ? recordings() : []
  const answers = all.filter(({ status, body }) => status === 200 && body !== null) as (Recording & { body: string })[]
  const streams = all.filter(({ stream }) => stream !== null) as (Recording & { stream: Uint8Array })[]

  it('are there', () => {
    expect(answers.length).toBeGreaterThanOrEqual(40)
    expect(streams.length).toBeGreaterThanOrEqual(20)
  })

  for (const [index, { file, body }] of answers.entries())
    it(`read whole: ${file} (${index})`, () => compare(whole(body), JSON.parse(body) as Fields))

  const complete = streams.filter(({ stream }) => Buffer.from(stream).includes('metadata'))
  for (const [index, { file, stream }] of complete.entries())
    it(`read the same however they are cut: ${file} (${index})`, () => {
      const [first, ...others] = cuts(stream, 7 + index).map(streamed)
      compare(first as Said, assembled(stream))
      for (const other of others) expect(other).toEqual(first)
    })

  // Four were shortened by hand, and lost their metadata.
  it('are no success without their metadata', () => {
    const cut = streams.filter((recording) => !complete.includes(recording))
    expect(cut.length).toBe(4)
    for (const { stream } of cut) expect(() => streamed([stream])).toThrow('before it was complete')
  })

  for (const [index, { file, stream }] of complete.entries())
    it(`never look whole without their last frame: ${file} (${index})`, () => {
      expect(() => streamed([stream.subarray(0, -1)])).toThrow()
    })

  const accepted = all.filter(({ status, request }) => status === 200 && request !== null) as (Recording & { request: Fields })[]
  for (const [index, { file, request, model }] of accepted.entries())
    it(`come out the same from an OpenAI client: ${file} (${index})`, () => {
      const sent = encodeRequest(canonicalOf(request), target({ model, allowedOpenaiParams: ['tool_choice'] }))
      expect(spelled(JSON.parse(String(sent.body)) as Fields)).toEqual(spelled(request))
      expect(sent.url).toBe(`https://bedrock-runtime.us-east-1.amazonaws.com/model/${encodeURIComponent(model)}/converse`)
    })

  it('that are errors say what they are', () => {
    const errors = all
      .filter(({ status }) => status >= 400)
      .map(({ status, headers, body }) => decodeError(status, headers, body ?? ''))
    expect(errors.map(({ code }) => code).sort()).toEqual([
      'provider_authentication',
      'provider_bad_request',
      'provider_bad_request',
    ])
    for (const { message } of errors) expect(message).toMatch(/^litellm\.\w+: BedrockException - \{/)
  })
})
