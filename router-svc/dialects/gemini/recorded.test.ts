import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { SseParser } from '../../../shared/http/sse.ts'
import type { ChatChunk, ChatRequest, ChatResponse } from '../../canonical/chat.ts'
import * as anthropic from '../../providers/anthropic/recordings.testkit.ts'
import { chats, haveRecordings } from '../../providers/gemini/recordings.testkit.ts'
import { providerOf } from '../../providers/index.ts'
import * as openai from '../../providers/openai/recordings.suite.ts'
import { plainGemini } from '../../providers/plain-gemini.ts'
import { PLAIN_TARGET } from '../../providers/plain-target.ts'
import { pieceSizes } from '../../providers/provider.suite.ts'
import { discovery } from './discovery.testkit.ts'
import { decodeRequest } from './request.ts'
import { encodeResponse } from './response.ts'
import { arrayFrames, eventFrames, type Frames, GenerateStreamEncoder } from './stream.ts'

type Fields = Record<string, unknown>

let described: ReturnType<typeof discovery> | null = null
/** Read once, and only where it is there. */
function problems(value: unknown): string[] {
  described ??= discovery()
  return described.problems(value, 'GenerateContentResponse')
}

interface Answer {
  candidates?: { index?: number; content?: { parts?: Fields[] }; finishReason?: string }[]
  usageMetadata?: Record<string, number>
  modelVersion?: string
  promptFeedback?: Fields
  error?: Fields
}

/** A provider's recorded bytes as a Gemini client gets them, cut into pieces of `sizes`, round and round. */
function translated(provider: string, stream: string, request: Fields, sizes: readonly number[], frames: Frames): string {
  const decoder = providerOf(provider)?.chat?.decodeStream?.({
    id: 'id_test',
    created: 1,
    model: 'upstream',
    request: { messages: [], ...request },
  })
  if (decoder === undefined) throw new Error(`${provider} does not stream`)
  const encoder = new GenerateStreamEncoder({ model: 'alias' }, frames)
  const parser = new SseParser()
  const bytes = Buffer.from(stream)
  let text = ''
  const push = (chunks: ChatChunk[]): void => {
    for (const chunk of chunks) text += encoder.push(chunk)
  }
  for (let at = 0, piece = 0; at < bytes.length; piece += 1) {
    const size = sizes[piece % sizes.length] as number
    for (const event of parser.push(bytes.subarray(at, at + size))) if (!decoder.done) push(decoder.push(event))
    at += size
  }
  for (const event of parser.end()) if (!decoder.done) push(decoder.push(event))
  push(decoder.end())
  return text + encoder.end()
}

/** The answers of a stream of events. */
function answers(stream: string): Answer[] {
  const parser = new SseParser()
  return [...parser.push(Buffer.from(stream)), ...parser.end()].map(({ data }) => JSON.parse(data) as Answer)
}

/** What a client makes of them: neighbouring texts of a kind joined, one list a candidate. */
function folded(list: readonly Answer[]): { parts: Record<number, Fields[]>; finish: Record<number, string>; usage: Fields } {
  const parts: Record<number, Fields[]> = {}
  const finish: Record<number, string> = {}
  let usage: Fields = {}
  for (const { candidates = [], usageMetadata } of list) {
    if (usageMetadata !== undefined) usage = usageMetadata
    for (const { index = 0, content, finishReason } of candidates) {
      const own = parts[index] ?? []
      parts[index] = own
      if (finishReason !== undefined) finish[index] = finishReason
      for (const part of content?.parts ?? []) {
        const last = own.at(-1)
        const joins =
          typeof part['text'] === 'string' && typeof last?.['text'] === 'string' && last['thought'] === part['thought']
        if (!joins) {
          if (part['text'] !== '' || part['thoughtSignature'] !== undefined) own.push({ ...part })
          continue
        }
        Object.assign(last, { ...part, text: `${last['text']}${part['text']}` })
      }
    }
  }
  return { parts, finish, usage }
}

const FOLDERS: readonly (readonly [string, string])[] = [
  ['openai', 'openai'],
  ['groq', 'groq'],
  ['deepseek', 'deepseek'],
  ['mistral', 'mistral'],
]

describe.skipIf(!haveRecordings())('streams recorded from providers of other protocols', () => {
  const recorded = [
    ...FOLDERS.flatMap(([provider, folder]) =>
      openai
        .fileNames(folder)
        .flatMap((file) => openai.recordings(folder, file, 'chat'))
        .flatMap(({ file, stream, request, status }) =>
          stream === null || status !== 200 || /"type":"response\.|^data: ?\{"error"/m.test(stream)
            ? []
            : [{ provider, file, stream, request: request as Fields }],
        ),
    ),
    ...anthropic
      .fileNames('anthropic')
      .flatMap((file) => anthropic.recordings('anthropic', file))
      .flatMap(({ file, stream, request }) =>
        stream === null ? [] : [{ provider: 'anthropic', file, stream, request: (request ?? {}) as Fields }],
      ),
  ]

  it('are there', () => {
    expect(recorded.length).toBeGreaterThanOrEqual(40)
  })

  for (const [index, { provider, file, stream, request }] of recorded.entries()) {
    it(`reach a Gemini client whole and as described, however they are cut: ${provider} ${file} (${index})`, () => {
      const whole = translated(provider, stream, request, [stream.length], eventFrames())
      const list = answers(whole)
      for (const answer of list) expect(problems(answer)).toEqual([])
      const told = folded(list)
      expect(Object.keys(told.finish)).toEqual(Object.keys(told.parts))
      // Nobody is told of an end before it.
      for (const answer of list.slice(0, -1)) for (const one of answer.candidates ?? []) expect(one.finishReason).toBeUndefined()
      for (const sizes of [[1], pieceSizes(1), pieceSizes(2)])
        expect(translated(provider, stream, request, sizes, eventFrames())).toBe(whole)
      expect(JSON.parse(translated(provider, stream, request, pieceSizes(3), arrayFrames(false)))).toEqual(list)
    })
  }
})

describe.skipIf(!haveRecordings())('answers recorded from Gemini', () => {
  const gemini = providerOf('gemini')?.chat
  for (const [index, { file, body, stream, request }] of chats().entries()) {
    const context = { id: 'x', created: 1, model: 'gemini-2.5-flash', request: { messages: [], ...request } }
    it(`come out of the canonical form as they went in: ${file} (${index})`, () => {
      const before = folded(stream === null ? [JSON.parse(body as string) as Answer] : answers(stream))
      const after =
        stream === null
          ? folded([
              encodeResponse(gemini?.decodeResponse(Buffer.from(body as string), {}, context) as ChatResponse, 'alias') as Answer,
            ])
          : folded(answers(translated('gemini', stream, request ?? {}, [stream.length], eventFrames())))
      expect(after.finish).toEqual(before.finish)
      // Calls in pieces come out whole.
      if (stream === null || !/willContinue|partialArgs/.test(stream)) {
        for (const index in before.parts) expect(gist(after.parts[index])).toEqual(gist(before.parts[index]))
      }
      for (const name of ['promptTokenCount', 'cachedContentTokenCount', 'thoughtsTokenCount']) {
        if (before.usage['toolUsePromptTokenCount'] === undefined || name !== 'promptTokenCount')
          expect(after.usage[name] ?? 0).toBe(before.usage[name] ?? 0)
      }
    })
  }
})

/** What must survive whatever the order: words, thoughts, calls and every signature. */
function gist(parts: readonly Fields[] = []): unknown {
  const words = (thought: boolean) =>
    parts
      .filter((part) => (part['thought'] === true) === thought)
      .map((part) => part['text'] ?? '')
      .join('')
  const calls = parts.flatMap(({ functionCall }) => {
    const { name, args } = (functionCall ?? {}) as Fields
    return name === undefined ? [] : [{ name, args: args ?? {} }]
  })
  const signed = parts.flatMap(({ thoughtSignature }) => (thoughtSignature === undefined ? [] : [thoughtSignature]))
  return { words: words(false), thoughts: words(true), calls, signed: signed.length > 1 ? signed.at(0) : signed[0] }
}

const TRANSLATIONS = new URL('../../../../shared/fixtures/translation/', import.meta.url)

describe.skipIf(!haveRecordings())('requests of Gemini’s clients that others answered', () => {
  const names = readdirSync(TRANSLATIONS).filter((name) => /google_to_(?:anthropic|chat-completions)/.test(name))

  it('are there', () => {
    expect(names.length).toBeGreaterThanOrEqual(10)
  })

  for (const name of names) {
    it(`are taken, sent on, and their answers are as described: ${name}`, () => {
      const pair = JSON.parse(readFileSync(new URL(name, TRANSLATIONS), 'utf8')) as Fields
      const provider = pair['provider_format'] === 'anthropic' ? 'anthropic' : 'openai'
      const canonical = decodeRequest({ ...(pair['client_request'] as Fields), model: 'm' })
      const plain = plainGemini(canonical, provider === 'anthropic').request
      const adapter = providerOf(provider)?.chat
      const sent = adapter?.encodeRequest(plain as ChatRequest, {
        ...PLAIN_TARGET,
        provider,
        model: provider === 'anthropic' ? 'claude-sonnet-4-5' : 'gpt-5-nano',
        base: 'https://upstream',
      })
      expect(String(sent?.body)).not.toMatch(/"(?:gemini|generationConfig|functionDeclarations|provider_specific_fields)"/)
      const whole = pair['provider_response']
      if (whole === undefined) return
      const context = { id: 'x', created: 1, model: 'm', request: plain }
      const response = adapter?.decodeResponse(Buffer.from(JSON.stringify(whole)), {}, context) as ChatResponse
      const answer = encodeResponse(response, 'm')
      expect(problems(answer)).toEqual([])
      const next = decodeRequest({
        model: 'm',
        contents: [{ role: 'user', parts: [{ text: 'x' }] }, (answer['candidates'] as { content: Fields }[])[0]?.content],
      })
      const said = next.messages.filter(({ role }) => role === 'assistant')
      const [choice] = response.choices
      expect(said.flatMap((message) => message.tool_calls ?? []).map((call) => call.id)).toEqual(
        (choice?.message.tool_calls ?? []).map((call) => call.id),
      )
      expect(said.flatMap((message) => message.thinking_blocks ?? [])).toEqual(choice?.message.thinking_blocks ?? [])
    })
  }
})
