import { describe, expect, it } from 'vitest'
import { SseParser } from '../../../shared/http/sse.ts'
import { createSequence } from '../../../shared/sequence.ts'
import type { ResponseMessage, Usage } from '../../canonical/chat.ts'
import { decodeError } from './errors.ts'
import { context, decodePieces, decodeText, fold } from './fold.testkit.ts'
import { entries, fileNames, haveRecordings, type Recording, recordings } from './recordings.testkit.ts'
import { decodeResponse } from './response.ts'
import { type Block, type Fields, isFields } from './wire.ts'

/** An answer as the gateway reads it, whichever way it came, beside what the provider said. */
interface Answer {
  message: ResponseMessage
  finish: string | null
  usage: Usage
  raw: Fields
}

const FINISH: Record<string, string> = { end_turn: 'stop', stop_sequence: 'stop', tool_use: 'tool_calls', max_tokens: 'length' }

function decodeBody(body: string): Answer {
  const response = decodeResponse(Buffer.from(body), {}, context())
  const choice = response.choices[0]
  if (choice === undefined || !response.usage) throw new Error('no choice or no usage')
  return { message: choice.message, finish: choice.finish_reason, usage: response.usage, raw: JSON.parse(body) as Fields }
}

function decodeRecording(recording: Recording): Answer {
  if (recording.body !== null) return decodeBody(recording.body)
  const stream = recording.stream ?? ''
  const { message, finish, usage } = fold(decodeText(stream))
  if (usage === null) throw new Error('no usage')
  return { message, finish, usage, raw: assembled(stream) }
}

/** The whole message a stream amounts to, put together without the adapter. */
function assembled(stream: string): Fields {
  const parser = new SseParser()
  const message: Fields = {}
  const blocks: Block[] = []
  const inputs: string[] = []
  const events = [...parser.push(Buffer.from(stream)), ...parser.end()]
  for (const event of events) {
    const payload = JSON.parse(event.data) as Fields & {
      type: string
      index: number
      delta: Fields
      content_block: Block
      message: Fields
    }
    if (payload.type === 'message_start') Object.assign(message, payload.message)
    if (payload.type === 'content_block_start') blocks[payload.index] = { ...payload.content_block }
    if (payload.type === 'message_delta') {
      Object.assign(message, payload.delta, { usage: { ...(message['usage'] as Fields), ...(payload['usage'] as Fields) } })
      if (payload['context_management'] !== undefined) message['context_management'] = payload['context_management']
    }
    if (payload.type !== 'content_block_delta') continue
    const block = blocks[payload.index] as Block
    const { type, ...delta } = payload.delta
    if (type === 'input_json_delta') inputs[payload.index] = (inputs[payload.index] ?? '') + String(delta['partial_json'])
    else if (type === 'citations_delta')
      block['citations'] = [...((block['citations'] as unknown[] | undefined) ?? []), delta['citation']]
    else for (const [field, value] of Object.entries(delta)) block[field] = `${String(block[field] ?? '')}${String(value)}`
  }
  for (const [index, input] of inputs.entries()) if (input) (blocks[index] as Block)['input'] = JSON.parse(input) as unknown
  return { ...message, content: blocks }
}

function blocksOf(answer: Answer, type: string): Block[] {
  return (answer.raw['content'] as Block[]).filter((block) => block.type === type)
}

/** Arguments as values: a streamed call keeps the provider's white space. */
function withParsedArguments(message: ResponseMessage): unknown {
  return {
    ...message,
    tool_calls: message.tool_calls?.map((call) => ({
      ...call,
      function: { ...call.function, arguments: JSON.parse(call.function?.arguments ?? '') as unknown },
    })),
  }
}

function* cut(bytes: Uint8Array, seed: number): Generator<Uint8Array> {
  const next = createSequence(seed)
  for (let at = 0; at < bytes.length; ) {
    const end = Math.min(bytes.length, at + 1 + Math.floor(next() * 200))
    yield bytes.subarray(at, end)
    at = end
  }
}

function* single(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 1) yield bytes.subarray(at, at + 1)
}

describe.skipIf(!haveRecordings())('recorded answers', () => {
  const all = entries('anthropic')
  const chats = all.filter((entry) => entry.shows.startsWith('messages') && !entry.shows.includes('HTTP'))
  const streams = [
    ...fileNames('anthropic').flatMap((file) => recordings('anthropic', file)),
    ...fileNames('translation').flatMap((file) => recordings('translation', file)),
  ].filter((recording) => recording.stream !== null)

  it('cover the folder', () => {
    expect(chats.length).toBeGreaterThanOrEqual(48)
    expect(streams.length).toBeGreaterThanOrEqual(35)
    expect(new Set(all.flatMap((entry) => entry.files))).toEqual(new Set(fileNames('anthropic')))
  })

  for (const entry of chats) {
    it(`show what ORIGIN.md says: ${entry.files[0]}`, () => {
      const answers = entry.files
        .flatMap((file) => recordings('anthropic', file))
        .filter(({ status }) => status < 400)
        .map(decodeRecording)
      expect(answers.length).toBeGreaterThan(0)
      const says = (what: string): boolean => entry.shows.includes(what)
      const finishes = (/finish: ([\w, ]+)/.exec(entry.shows)?.[1] ?? '')
        .split(', ')
        .flatMap((reason) => FINISH[reason.trim()] ?? [])
      expect(new Set(answers.map((answer) => answer.finish))).toEqual(new Set(finishes))
      const calls = answers.map((answer) => answer.message.tool_calls?.length ?? 0)
      expect(calls).toEqual(answers.map((answer) => blocksOf(answer, 'tool_use').length))
      expect(calls.some((count) => count > 0)).toBe(says('tool call;'))
      expect(answers.some((answer) => (answer.usage.prompt_tokens_details?.cached_tokens ?? 0) > 0)).toBe(
        says('cached tokens in usage'),
      )
      expect(answers.some((answer) => (answer.usage.prompt_tokens_details?.cache_write_tokens ?? 0) > 0)).toBe(
        says('cache-write tokens'),
      )
      if (says('citations')) {
        expect(answers.some((answer) => (answer.message.annotations?.length ?? 0) > 0)).toBe(true)
        expect(answers.some((answer) => answer.message.provider_specific_fields?.['citations'] !== undefined)).toBe(true)
      }
      const thinks = answers.some((answer) => (answer.message.reasoning_content ?? '') !== '')
      expect(thinks).toBe(says('thinking/reasoning content'))
      for (const item of (/items: ([\w, ]+)/.exec(entry.shows)?.[1] ?? '').split(', ').filter((name) => name !== '')) {
        const kept = answers.flatMap((answer) => [
          ...((answer.message.provider_specific_fields?.['content_blocks'] as Block[] | undefined) ?? []),
          ...(answer.message.thinking_blocks ?? []),
        ])
        expect(kept.map((block) => block.type)).toContain(item.trim())
      }
      if (!says('streamed'))
        expect(entry.files.flatMap((file) => recordings('anthropic', file)).every(({ stream }) => stream === null)).toBe(true)
    })
  }

  for (const entry of chats) {
    it(`lose nothing: ${entry.files[0]}`, () => {
      for (const recording of entry.files.flatMap((file) => recordings('anthropic', file))) {
        const answer = decodeRecording(recording)
        const { message, usage, raw } = answer
        expect(message.content ?? '').toBe(
          blocksOf(answer, 'text')
            .map((block) => block['text'])
            .join(''),
        )
        expect(message.thinking_blocks ?? []).toEqual([...blocksOf(answer, 'thinking'), ...blocksOf(answer, 'redacted_thinking')])
        const placed = ['text', 'thinking', 'redacted_thinking', 'tool_use']
        const others = (raw['content'] as Block[]).filter((block) => !placed.includes(block.type))
        expect(message.provider_specific_fields?.['content_blocks'] ?? []).toEqual(others)
        const counts = raw['usage'] as Record<string, number>
        expect(usage.completion_tokens).toBe(counts['output_tokens'])
        expect(usage.prompt_tokens).toBe(
          (counts['input_tokens'] ?? 0) + (counts['cache_read_input_tokens'] ?? 0) + (counts['cache_creation_input_tokens'] ?? 0),
        )
        expect(usage.total_tokens).toBe(usage.prompt_tokens + usage.completion_tokens)
        for (const call of message.tool_calls ?? []) expect(isFields(JSON.parse(call.function?.arguments ?? ''))).toBe(true)
      }
    })
  }

  for (const [index, recording] of streams.entries()) {
    it(`read the same however the bytes arrive: ${recording.file} (${index})`, () => {
      const bytes = Buffer.from(recording.stream ?? '')
      const whole = decodePieces([bytes])
      expect(whole.length).toBeGreaterThan(2)
      expect(decodePieces(single(bytes))).toEqual(whole)
      for (const seed of [1, 2, 3]) expect(decodePieces(cut(bytes, seed)), `seed ${seed}`).toEqual(whole)
    })

    it(`fold to the whole message: ${recording.file} (${index})`, () => {
      const folded = fold(decodeText(recording.stream ?? ''))
      const whole = decodeBody(JSON.stringify(assembled(recording.stream ?? '')))
      expect(withParsedArguments(folded.message)).toEqual(withParsedArguments(whole.message))
      expect(folded.finish).toBe(whole.finish)
      expect(folded.usage).toEqual(whole.usage)
    })
  }

  it('of other clients’ requests decode too', () => {
    const pairs = fileNames('translation').flatMap((file) => recordings('translation', file))
    expect(pairs.length).toBeGreaterThanOrEqual(30)
    for (const recording of pairs) {
      const answer = decodeRecording(recording)
      expect(answer.finish, recording.file).toBe(FINISH[String(answer.raw['stop_reason'])])
      expect(answer.message.tool_calls?.length ?? 0, recording.file).toBe(blocksOf(answer, 'tool_use').length)
    }
  })

  it('that are errors say which', () => {
    const failed = entries('anthropic').filter((entry) => entry.shows.includes('HTTP'))
    const codes = failed.flatMap((entry) =>
      entry.files
        .flatMap((file) => recordings('anthropic', file, true))
        .map(({ status, body }) => decodeError(status, {}, body ?? '')),
    )
    expect(codes.map((error) => [error.code, error.status, error.providerCode])).toEqual([
      ['provider_authentication', 401, 'authentication_error'],
      ['provider_not_found', 404, 'not_found_error'],
    ])
    expect(codes[0]?.message).toMatch(/^litellm\.AuthenticationError: AnthropicException - .*invalid x-api-key/)
  })
})
