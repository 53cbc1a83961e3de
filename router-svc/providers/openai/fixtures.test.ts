import { createParser } from 'eventsource-parser'
import { describe, expect, it } from 'vitest'
import { providerRow } from '../../../shared/catalog/providers.ts'
import { GatewayError } from '../../../shared/errors.ts'
import type { ChatChunk, ChatResponse } from '../../canonical/chat.ts'
import type { CompletionChunk, CompletionResponse } from '../../canonical/completion.ts'
import type { EmbeddingResponse } from '../../canonical/embedding.ts'
import { tokensOf } from '../../canonical/usage.ts'
import { PassThroughStream } from '../../pass-through.ts'
import { openai } from '../openai.ts'
import { cuts, decodePieces, foldChunks } from '../provider.suite.ts'
import type { DecodeContext, Provider } from '../provider.ts'
import { type Entry, entries, fileNames, haveRecordings, type Recording, recordings } from './recordings.suite.ts'

/** Folder of the recordings → row of the table. */
const FOLDERS: Readonly<Record<string, string>> = {
  openai: 'openai',
  groq: 'groq',
  deepseek: 'deepseek',
  together: 'together_ai',
  openrouter: 'openrouter',
  vllm: 'vllm',
  // Its OpenAI endpoint, which is reached as any server of that protocol is.
  ollama: 'openai_like',
}

/** What some answer said, whole or streamed, in one form. */
interface Said {
  choices: {
    content: string
    reasoning: string
    tools: { name: string; arguments: string }[]
    finish: string | null
    logprobs: boolean
    cited: boolean
  }[]
  usage: ReturnType<typeof tokensOf> | null
  vectors: number
  error: GatewayError | null
  streamed: boolean
}

const SILENT: Said = { choices: [], usage: null, vectors: 0, error: null, streamed: false }

function contextOf(recording: Recording): DecodeContext {
  return { id: 'fixture', created: 1, model: 'asked', request: recording.request }
}

function decodeWhole(provider: Provider, recording: Recording): Said {
  const text = recording.body as string
  if (recording.status >= 400) return { ...SILENT, error: provider.decodeError(recording.status, {}, text) }
  const body = Buffer.from(text)
  const context = contextOf(recording)
  if (recording.mode === 'embedding') {
    const response = provider.embedding?.decodeResponse(body, {}, context) as EmbeddingResponse
    for (const item of response.data)
      expect(Array.isArray(item.embedding) ? item.embedding.length : item.embedding.length).toBeGreaterThan(0)
    return { ...SILENT, usage: tokensOf(response.usage), vectors: response.data.length }
  }
  if (recording.mode === 'completion') {
    const response = provider.completion?.decodeResponse(body, {}, context) as CompletionResponse
    const choices = response.choices.map((choice) => saidText(choice.text, choice.finish_reason, choice.logprobs))
    return { ...SILENT, choices, usage: response.usage ? tokensOf(response.usage) : null }
  }
  const response = provider.chat?.decodeResponse(body, {}, context) as ChatResponse
  expect(response.object).toBe('chat.completion')
  const choices = response.choices.map(({ message, finish_reason: finish, logprobs }) => ({
    content: message.content ?? '',
    reasoning: message.reasoning_content ?? '',
    tools: (message.tool_calls ?? []).map((call) => call.function ?? { name: '', arguments: '' }),
    finish,
    logprobs: logprobs !== undefined && logprobs !== null,
    cited: (message.annotations?.length ?? 0) > 0,
  }))
  return { ...SILENT, choices, usage: response.usage ? tokensOf(response.usage) : null }
}

function saidText(content: string, finish: string | null, logprobs: unknown): Said['choices'][number] {
  return { content, reasoning: '', tools: [], finish, logprobs: logprobs !== undefined && logprobs !== null, cited: false }
}

function decodeStreamed(provider: Provider, recording: Recording, pieces: Uint8Array[]): Said {
  const context = contextOf(recording)
  if (recording.mode === 'completion') {
    const decoder = provider.completion?.decodeStream?.(context)
    if (decoder === undefined) throw new Error('text completions are not streamed')
    const { chunks, error } = decodePieces<CompletionChunk>(decoder, pieces)
    const choices = new Map<number, Said['choices'][number]>()
    let usage: Said['usage'] = null
    for (const chunk of chunks) {
      if (chunk.usage) usage = tokensOf(chunk.usage)
      for (const choice of chunk.choices) {
        const known = choices.get(choice.index) ?? saidText('', null, null)
        choices.set(choice.index, {
          ...known,
          content: known.content + choice.text,
          finish: choice.finish_reason ?? known.finish,
        })
      }
    }
    return { ...SILENT, choices: [...choices.values()], usage, error, streamed: true }
  }
  const decoder = provider.chat?.decodeStream?.(context)
  if (decoder === undefined) throw new Error('chats are not streamed')
  const { chunks, error } = decodePieces<ChatChunk>(decoder, pieces)
  const cited = chunks.some((chunk) =>
    chunk.choices.some(({ delta }) => ((delta['annotations'] as unknown[] | undefined) ?? []).length > 0),
  )
  const { choices, usage } = foldChunks(chunks)
  expect(new Set(chunks.map((chunk) => chunk.id)).size).toBeLessThan(2)
  return {
    ...SILENT,
    choices: [...choices.values()].map(({ content, reasoning, toolCalls, finish, roles }) => {
      expect(roles).toBeLessThan(2)
      const tools = toolCalls.map((call) => call.function ?? { name: '', arguments: '' })
      return { content, reasoning, tools, finish, logprobs: false, cited }
    }),
    usage: usage === null ? null : tokensOf(usage),
    error,
    streamed: true,
  }
}

function decode(provider: Provider, recording: Recording): Said {
  return recording.stream === null
    ? decodeWhole(provider, recording)
    : decodeStreamed(provider, recording, [Buffer.from(recording.stream)])
}

/** Holds what was decoded against ORIGIN.md's words. */
function check(entry: Entry, said: Said[]): void {
  const choices = said.flatMap((answer) => answer.choices)
  const finish = new Set(choices.map((choice) => choice.finish).filter((reason) => reason !== null))
  if (entry.finish.length > 0) expect([...finish].sort()).toEqual(entry.finish)
  const claims: Record<string, () => void> = {
    streamed: () => expect(said.some((answer) => answer.streamed)).toBe(true),
    'tool call': () => expect(choices.some((choice) => choice.tools.length > 0)).toBe(true),
    'two or more tool calls': () => expect(choices.some((choice) => choice.tools.length > 1)).toBe(true),
    'reasoning tokens in usage': () => expect(said.some((answer) => (answer.usage?.reasoning ?? 0) > 0)).toBe(true),
    'cached tokens in usage': () => expect(said.some((answer) => (answer.usage?.cacheRead ?? 0) > 0)).toBe(true),
    'thinking/reasoning content': () => expect(choices.some((choice) => choice.reasoning !== '')).toBe(true),
    'citations/annotations/grounding': () => expect(choices.some((choice) => choice.cited)).toBe(true),
    'logprobs returned': () => expect(choices.some((choice) => choice.logprobs)).toBe(true),
    'n > 1': () => expect(said.some((answer) => answer.choices.length > 1)).toBe(true),
    'provider error object': () => expect(said.some((answer) => answer.error !== null)).toBe(true),
    'error event inside a 200 stream': () => expect(said.some((answer) => answer.error !== null && answer.streamed)).toBe(true),
  }
  for (const claim of entry.shows) {
    claims[claim]?.()
    const status = /^HTTP (\d+) body$/.exec(claim)?.[1]
    if (status !== undefined) expect(said.some((answer) => answer.error?.status === Number(status))).toBe(true)
  }
  for (const answer of said) {
    for (const tool of answer.choices.flatMap((choice) => choice.tools)) {
      expect(tool.name).not.toBe('')
      expect(() => JSON.parse(tool.arguments)).not.toThrow()
    }
    if (answer.error === null) for (const choice of answer.choices) expect(choice.finish).not.toBeNull()
    if (answer.usage !== null) expect(answer.usage.input).toBeGreaterThan(0)
  }
}

/** A stream through the byte path, read by a parser that is not ours. */
function passThrough(provider: Provider, recording: Recording, pieces: Uint8Array[], includeUsage: boolean) {
  const choices = typeof recording.request['n'] === 'number' ? recording.request['n'] : 1
  const stream = new PassThroughStream({ model: 'alias', includeUsage, choices, readError: provider.decodeError })
  const out: Uint8Array[] = []
  let error: GatewayError | null = null
  try {
    for (const piece of pieces) out.push(stream.push(piece))
    out.push(stream.finish(), Buffer.from(stream.last()))
  } catch (thrown) {
    if (!(thrown instanceof GatewayError)) throw thrown
    error = thrown
  }
  const chunks: Record<string, unknown>[] = []
  let terminated = false
  const parser = createParser({
    onEvent: ({ data }) => {
      if (data === '[DONE]') terminated = true
      else chunks.push(JSON.parse(data) as Record<string, unknown>)
    },
  })
  parser.feed(Buffer.concat(out).toString('utf8'))
  let content = ''
  let usageChunks = 0
  for (const chunk of chunks) {
    if ('model' in chunk) expect(chunk['model']).toBe('alias')
    if (chunk['usage'] !== undefined) usageChunks += 1
    for (const choice of (chunk['choices'] as { text?: string; delta?: { content?: string | null } }[] | undefined) ?? []) {
      content += (recording.mode === 'completion' ? choice.text : choice.delta?.content) ?? ''
    }
  }
  return { error, terminated, content, usageChunks, stream, bytes: Buffer.concat(out).toString('utf8') }
}

const available = haveRecordings()
if (!available)
  it('no recordings are beside this checkout, so none is read here (CI must have them)', () =>
    expect(process.env['CI']).toBeUndefined())

for (const [folder, name] of Object.entries(available ? FOLDERS : {})) {
  const row = providerRow(name)
  if (row === undefined) throw new Error(`no row ${name}`)
  const provider = openai(name, row)
  const known = entries(folder)
  const ours = known.filter((entry) => entry.mode !== null)
  const read = ours.map((entry) => ({
    entry,
    answers: entry.files.flatMap((file) => recordings(folder, file, entry.mode as NonNullable<Entry['mode']>)),
  }))
  /** Ollama's own protocol is recorded under the same words; it is another adapter's. */
  const covered = read.filter(({ answers }) => answers.length > 0)

  describe(`recorded answers of ${folder}`, () => {
    it('are all listed, and some are covered', () => {
      expect(known.flatMap((entry) => entry.files).sort()).toEqual(fileNames(folder).sort())
      expect(covered.length).toBeGreaterThan(0)
      const left = read.filter(({ answers }) => answers.length === 0).map(({ entry }) => entry.files[0])
      // Ollama's native routes (`/api/chat`, `/api/generate`, `/api/embeddings`) are another protocol.
      expect(left).toHaveLength(folder === 'ollama' ? 8 : 0)
    })

    for (const { entry, answers } of covered) {
      it(`decode to what ORIGIN.md says of ${entry.files[0]}`, () => {
        expect(answers.length).toBeGreaterThanOrEqual(entry.count)
        check(
          entry,
          answers.map((answer) => decode(provider, answer)),
        )
      })
    }

    const streams = covered.flatMap(({ answers }) => answers).filter((answer) => answer.stream !== null)
    for (const [number, recording] of streams.entries()) {
      const bytes = Buffer.from(recording.stream as string)

      it(`stream the same in any pieces: ${recording.file} (${number})`, () => {
        const [whole, single, random] = cuts(bytes, number + 1).map((pieces) => decodeStreamed(provider, recording, pieces))
        expect(single).toEqual(whole)
        expect(random).toEqual(whole)
        expect(whole?.choices.length).toBeGreaterThan(0)
      })

      it(`pass through with the same content: ${recording.file} (${number})`, () => {
        const decoded = decodeStreamed(provider, recording, [bytes])
        const passed = cuts(bytes, number + 1).map((pieces) => passThrough(provider, recording, pieces, false))
        for (const one of passed) {
          expect(one.error?.code).toBe(decoded.error?.code)
          expect(one.terminated).toBe(decoded.error === null)
          if (decoded.error === null) expect(one.content).toBe(decoded.choices.map((choice) => choice.content).join(''))
          expect(one.usageChunks).toBe(0)
          if (one.content !== '') expect(one.stream.deltas).toBeGreaterThan(0)
          if (!row.deviates?.includes('usage') && decoded.usage !== null) {
            expect(one.stream.usage === null ? null : tokensOf(one.stream.usage)).toEqual(decoded.usage)
          }
        }
        // An error is thrown at once, at the cost of what came in the same piece.
        if (decoded.error === null) {
          expect(passed[1]?.bytes).toBe(passed[0]?.bytes)
          expect(passed[2]?.bytes).toBe(passed[0]?.bytes)
        }
        const asked = passThrough(provider, recording, [bytes], true)
        expect(asked.content).toBe(passed[0]?.content)
        if (asked.stream.usage !== null) expect(asked.usageChunks).toBeGreaterThan(0)
      })

      it(`are truncated when cut before the end: ${recording.file} (${number})`, () => {
        const text = recording.stream as string
        const first =
          text.indexOf('"finish_reason":"') < 0 ? text.search(/"finish_reason": ?"/) : text.indexOf('"finish_reason":"')
        if (first < 0) return expect(decodeStreamed(provider, recording, [bytes]).error).not.toBeNull()
        const cut = Buffer.from(text.slice(0, text.lastIndexOf('data:', first)))
        if (cut.length === 0) return
        expect(decodeStreamed(provider, recording, [cut]).error?.code).toBe('provider_truncated')
        expect(passThrough(provider, recording, [cut], false).error?.code).toBe('provider_truncated')
      })
    }
  })
}
