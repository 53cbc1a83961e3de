import { describe, expect, it } from 'vitest'
import { toGatewayError } from '../../../shared/errors.ts'
import { SseParser } from '../../../shared/http/sse.ts'
import type { ChatChunk } from '../../canonical/chat.ts'
import { fileNames, haveRecordings, recordings } from '../../providers/anthropic/recordings.testkit.ts'
import { providerOf } from '../../providers/index.ts'
import * as openai from '../../providers/openai/recordings.suite.ts'
import { pieceSizes } from '../../providers/provider.suite.ts'
import { type Folded, fold, gist } from './grammar.testkit.ts'
import { encodeResponse } from './response.ts'
import { MessageStreamEncoder } from './stream.ts'

interface Recorded {
  file: string
  stream: string
  request: Record<string, unknown>
}

/** A provider's recorded bytes as an Anthropic client gets them, the bytes cut into pieces of `sizes`, round and round. */
function translated(provider: string, { stream, request }: Recorded, sizes: readonly number[]): Folded {
  const chat = providerOf(provider)?.chat
  const decoder = chat?.decodeStream?.({ id: 'msg_test', created: 1, model: 'upstream', request: { messages: [], ...request } })
  if (decoder === undefined) throw new Error(`${provider} does not stream`)
  const encoder = new MessageStreamEncoder({ model: 'alias' })
  const parser = new SseParser()
  const bytes = Buffer.from(stream)
  let text = ''
  const push = (chunks: ChatChunk[]): void => {
    for (const chunk of chunks) text += encoder.push(chunk)
  }
  let piece = 0
  try {
    for (let at = 0; at < bytes.length; piece += 1) {
      const size = sizes[piece % sizes.length] as number
      for (const event of parser.push(bytes.subarray(at, at + size))) if (!decoder.done) push(decoder.push(event))
      at += size
    }
    for (const event of parser.end()) if (!decoder.done) push(decoder.push(event))
    push(decoder.end())
  } catch (thrown) {
    return fold(text + encoder.error(toGatewayError(thrown)))
  }
  return fold(text + encoder.end())
}

const PROVIDERS = ['openai', 'groq', 'deepseek', 'mistral', 'openrouter', 'xai', 'together_ai', 'fireworks_ai']
const FOLDERS: Readonly<Record<string, string>> = { together_ai: 'together', fireworks_ai: 'fireworks' }

describe.skipIf(!haveRecordings())('streams recorded from providers of OpenAI’s protocol', () => {
  const recorded = PROVIDERS.flatMap((provider) => {
    const folder = FOLDERS[provider] ?? provider
    return openai
      .fileNames(folder)
      .flatMap((file) => openai.recordings(folder, file, 'chat'))
      .flatMap(({ file, stream, request, status }) =>
        stream === null || status !== 200 || stream.includes('"type":"response.') ? [] : [{ provider, file, stream, request }],
      )
  })

  it('are there', () => {
    expect(recorded.length).toBeGreaterThanOrEqual(20)
  })

  for (const [index, one] of recorded.entries()) {
    it(`reach an Anthropic client in order and whole, however they are cut: ${one.provider} ${one.file} (${index})`, () => {
      const whole = translated(one.provider, one, [one.stream.length])
      expect(whole.end).toBe(/^data: ?\{"error"/m.test(one.stream) ? 'error' : 'stop')
      if (whole.end === 'stop') {
        expect(whole.stop).toMatch(/^(end_turn|tool_use|max_tokens|refusal)$/)
        expect(whole.stop === 'tool_use').toBe(whole.blocks.some((block) => block['type'] === 'tool_use'))
      }
      for (const seed of [1, 2, 3]) expect(translated(one.provider, one, pieceSizes(seed))).toEqual(whole)
      expect(translated(one.provider, one, [1])).toEqual(whole)
    })
  }
})

describe.skipIf(!haveRecordings())('streams recorded from Anthropic', () => {
  const recorded = fileNames('anthropic')
    .flatMap((file) => recordings('anthropic', file))
    .flatMap(({ file, stream, request }) => (stream === null ? [] : [{ file, stream, request: request ?? {} }]))

  it('are there', () => {
    expect(recorded.length).toBeGreaterThanOrEqual(20)
  })

  for (const [index, one] of recorded.entries()) {
    it(`come out of the canonical form as they went in: ${one.file} (${index})`, () => {
      const before = fold(one.stream)
      const after = translated('anthropic', one, [one.stream.length])
      expect(after.end).toBe(before.end)
      expect(after.stop).toBe(before.stop)
      expect(after.message['id']).toBe(before.message['id'])
      expect(sorted(gist(after.blocks))).toEqual(sorted(gist(before.blocks)))
      expect(after.usage).toMatchObject({
        input_tokens: before.usage['input_tokens'],
        output_tokens: before.usage['output_tokens'],
        cache_read_input_tokens: before.usage['cache_read_input_tokens'] ?? 0,
      })
      for (const seed of [1, 2]) expect(translated('anthropic', one, pieceSizes(seed))).toEqual(after)
    })
  }
})

/** Blocks as they are; a call's input may come before or after its `caller` on the wire. */
function sorted(blocks: Record<string, unknown>[]): unknown[] {
  return blocks.map(({ caller, ...block }) => block)
}

describe.skipIf(!haveRecordings())('whole answers recorded from Anthropic', () => {
  const chat = providerOf('anthropic')?.chat
  const recorded = fileNames('anthropic')
    .flatMap((file) => recordings('anthropic', file))
    .filter(({ body, status }) => body !== null && status === 200)

  for (const [index, { file, body, request }] of recorded.entries()) {
    const before = JSON.parse(body as string) as Record<string, unknown>
    if (!Array.isArray(before['content'])) continue
    it(`come out of the canonical form as they went in: ${file} (${index})`, () => {
      const context = { id: 'x', created: 1, model: 'upstream', request: { messages: [], ...request } }
      const response = chat?.decodeResponse(Buffer.from(body as string), {}, context)
      const after = encodeResponse(response as never, 'alias')
      expect(after).toMatchObject({ id: before['id'], model: 'alias', stop_reason: before['stop_reason'] })
      expect(kinds(after['content'])).toEqual(kinds(before['content']))
      expect(after['usage']).toMatchObject(nonNull(before['usage']))
    })
  }
})

/** Blocks by kind: what a whole answer has of each; their order among kinds is the protocol's usual one. */
function kinds(content: unknown): Record<string, unknown[]> {
  const found: Record<string, unknown[]> = {}
  for (const { citations: _citations, caller: _caller, ...block } of gist(content as Record<string, unknown>[])) {
    const kind = String(block['type'])
    const list = found[kind] ?? []
    found[kind] = list
    const last = list[0] as { text?: string } | undefined
    if (kind === 'text' && last !== undefined) last.text = `${last.text}${block['text']}`
    else list.push(block)
  }
  return found
}

function nonNull(usage: unknown): Record<string, unknown> {
  return Object.fromEntries(Object.entries(usage as object).filter(([, value]) => value !== null))
}
