import { describe, expect, it } from 'vitest'
import type { DialectName } from '../../proto/endpoints.ts'
import type { ChatChunk } from '../canonical/chat.ts'
import { entries as anthropicEntries, recordings as anthropicRecordings } from '../providers/anthropic/recordings.testkit.ts'
import { entries, haveRecordings, recordings } from '../providers/openai/recordings.suite.ts'
import { cuts, decodePieces, foldChunks } from '../providers/provider.suite.ts'
import type { Provider } from '../providers/provider.ts'
import {
  anthropicStream,
  callOf,
  cut,
  openaiStream,
  play,
  readAnthropic,
  readOpenAI,
  resumeAfter,
  routeTo,
} from './failover.testkit.ts'
import { OverlapCutter } from './overlap.ts'

interface Recorded {
  name: string
  provider: string
  request: Record<string, unknown>
  frames: Buffer[]
}

/** Recorded chats that stream one choice. */
function streams(): Recorded[] {
  const found: Recorded[] = []
  for (const [folder, provider] of [
    ['openai', 'openai'],
    ['groq', 'groq'],
    ['deepseek', 'deepseek'],
  ] as const) {
    for (const entry of entries(folder)) {
      if (entry.mode !== 'chat') continue
      for (const file of entry.files) {
        for (const { request, stream, status } of recordings(folder, file, 'chat')) {
          if (stream === null || status >= 400) continue
          found.push({ name: `${folder}/${file}`, provider, request, frames: framesOf(stream) })
        }
      }
    }
  }
  for (const entry of anthropicEntries('anthropic')) {
    for (const file of entry.files) {
      for (const { stream } of anthropicRecordings('anthropic', file)) {
        if (stream !== null)
          found.push({ name: `anthropic/${file}`, provider: 'anthropic', request: {}, frames: framesOf(stream) })
      }
    }
  }
  return found
}

function framesOf(stream: string): Buffer[] {
  return stream
    .split(/(?<=\n\n|\r\n\r\n)/)
    .filter((frame) => frame.trim() !== '')
    .map((frame) => Buffer.from(frame))
}

/** The canonical chunks of the first frames, read apart from what is tested. */
function chunksOf(provider: Provider, frames: readonly Buffer[]): ChatChunk[] {
  const decoder = provider.chat?.decodeStream?.({ id: 'x', created: 1, model: 'm', request: {} })
  if (decoder === undefined) throw new Error('chats are not streamed')
  return decodePieces<ChatChunk>(decoder as never, frames).chunks
}

const PLAIN = new Set(['role', 'content', 'reasoning_content', 'thinking_blocks'])

/** Whether nothing but text and thinking was said: judged again, from the whole chunks. */
function isPlain(chunks: readonly ChatChunk[]): boolean {
  return chunks.every((chunk) =>
    chunk.choices.every(
      ({ index, delta, finish_reason: finish }) =>
        index === 0 &&
        finish === null &&
        Object.entries(delta).every(
          ([name, value]) => PLAIN.has(name) || value === '' || (Array.isArray(value) && value.length === 0),
        ),
    ),
  )
}

const OTHER_BLOCK = /"content_block": ?\{[^{}]*"type": ?"(?!text"|thinking"|redacted_thinking")/

function isOtherBlock(frame: Buffer): boolean {
  return OTHER_BLOCK.test(frame.toString())
}

/** The request itself rules it out, or another choice does. */
function isAsked(request: Record<string, unknown>): boolean {
  const format = request['response_format'] as { type?: string } | undefined
  const several = typeof request['n'] === 'number' && request['n'] > 1
  return !several && request['logprobs'] !== true && (format?.type ?? 'text') === 'text' && request['audio'] === undefined
}

const available = haveRecordings()
if (!available)
  it('no recordings are beside this checkout, so none is read here (CI must have them)', () =>
    expect(process.env['CI']).toBeUndefined())
const all = available ? streams() : []
const USAGE = { prompt_tokens: 100, completion_tokens: 50, total_tokens: 150 }

/** Cuts are tried at about so many places of a recording. */
const PLACES = 12

describe.each<[DialectName, typeof readOpenAI]>([
  ['openai-chat', readOpenAI],
  ['anthropic', readAnthropic],
])('a recorded stream to a client of %s', (dialect, read) => {
  it.each(all)('that dies anywhere goes on elsewhere or fails: $name', ({ provider, request, frames }) => {
    const asked = {
      response_format: request['response_format'],
      n: request['n'],
      logprobs: request['logprobs'],
      audio: request['audio'],
    }
    const first = routeTo(provider, 'first')
    const text = foldChunks(chunksOf(first.provider, frames)).choices.get(0)?.content ?? ''
    const step = Math.max(1, Math.floor(frames.length / PLACES))
    for (let count = 1; count < frames.length; count += step) {
      const call = callOf(dialect, asked)
      const seen = chunksOf(first.provider, frames.slice(0, count))
      const died = play(call, first, frames.slice(0, count))
      if (died.reader.done) continue
      const goesOn = resumeAfter(call, died, first)
      // Bytes of a block without a canonical place are with the client before the decoder has the whole of it.
      const other = dialect === 'anthropic' && provider === 'anthropic' && frames.slice(0, count).some(isOtherBlock)
      expect(goesOn, `after ${count} frames`).toBe(isAsked(request) && isPlain(seen) && !other)
      if (!goesOn || call.resume === null) continue
      const sent = foldChunks(seen).choices.get(0)?.content ?? ''
      expect(call.resume.text).toBe(sent)
      if (died.bytes === '') continue

      const rest = sent.slice(-30) + text.slice(sent.length)
      const second = count % 2 === 0 ? routeTo('openai', 'second') : routeTo('anthropic', 'second', 'claude-opus-4-6')
      const pieces = cut(rest, 7)
      const events =
        count % 2 === 0
          ? openaiStream(pieces, { usage: USAGE })
          : anthropicStream(pieces, { input_tokens: USAGE.prompt_tokens, output_tokens: USAGE.completion_tokens })
      const before = call.attempts[0]?.usage
      const resumed = play(call, second, events, true)
      expect(resumed.error).toBeNull()
      const said = read(died.bytes + resumed.bytes + resumed.reader.last())
      const cutter = new OverlapCutter(sent, sent.trim() === '' ? 'space' : 'any')
      expect(said.text).toBe(sent + cutter.push(rest) + cutter.end())
      expect(said.roles).toBe(1)
      expect([...said.ids]).toHaveLength(1)
      expect(said.finishes).toHaveLength(1)
      expect(said.terminators).toBe(1)
      expect(said.notes).toEqual([{ failover: { from: 'first', to: 'second', model: 'group', after_characters: sent.length } }])
      expect(resumed.reader.usage()).toMatchObject({ input: 100, output: 50, estimated: false })
      const told = said.usages.at(-1) as Record<string, number>
      expect(told['completion_tokens'] ?? told['output_tokens']).toBe(50 + (before?.output ?? 0))
    }
  })
})

describe('what went by of a recorded stream that passes through', () => {
  it.each(all.filter(({ provider }) => provider === 'openai' || provider === 'anthropic'))(
    'is the same text in any pieces: $name',
    ({ provider, frames }) => {
      const route = routeTo(provider, 'first')
      // Up to the last frame before something else than text.
      let count = 0
      while (
        count < frames.length &&
        isPlain(chunksOf(route.provider, frames.slice(0, count + 1))) &&
        !isOtherBlock(frames[count] as Buffer)
      )
        count += 1
      const bytes = Buffer.concat(frames.slice(0, count))
      const text = foldChunks(chunksOf(route.provider, frames.slice(0, count))).choices.get(0)?.content ?? ''
      for (const pieces of cuts(bytes, count + 1)) {
        const { reader } = play(callOf(provider === 'openai' ? 'openai-chat' : 'anthropic', {}), route, pieces)
        expect(reader.continuation()?.text).toBe(text)
      }
    },
  )
})

it('many recorded streams are read here', () => {
  expect(all.length).toBeGreaterThan(available ? 60 : -1)
})
