import { describe, expect, it } from 'vitest'
import { SseParser } from '../../../shared/http/sse.ts'
import { cuts, decodePieces, foldChunks } from '../provider.suite.ts'
import type { DecodeContext } from '../provider.ts'
import { decodeEmbedding } from './embedding.ts'
import { decodeError } from './errors.ts'
import { allRecordings, chats, haveRecordings, type Recording } from './recordings.testkit.ts'
import { decodeResponse } from './response.ts'
import { GenerateStream } from './stream.ts'
import { type Fields, isFields, objects, type Part, text } from './wire.ts'

function context(request: Fields = {}): DecodeContext {
  return { id: 'chatcmpl-1', created: 1_700_000_000, model: 'gemini-2.5-flash', request }
}

function payloads(recording: Recording): Fields[] {
  if (recording.body !== null) return [JSON.parse(recording.body) as Fields]
  const parser = new SseParser()
  const events = [...parser.push(Buffer.from(recording.stream ?? '')), ...parser.end()]
  return events.filter(({ data }) => data !== '').map(({ data }) => JSON.parse(data) as Fields)
}

/** What the provider said, put together without the adapter. */
function said(recording: Recording): { parts: Part[]; finish: string; usage: Fields } {
  const parts: Part[] = []
  let finish = ''
  let usage: Fields = {}
  for (const payload of payloads(recording)) {
    if (isFields(payload['usageMetadata'])) usage = { ...usage, ...payload['usageMetadata'] }
    for (const candidate of objects(payload['candidates'])) {
      if (isFields(candidate['content'])) parts.push(...objects(candidate['content']['parts']))
      finish = text(candidate['finishReason'], finish)
    }
  }
  return { parts, finish, usage }
}

function words(parts: Part[], thought: boolean): string {
  return parts
    .filter((part) => (part['thought'] === true) === thought)
    .map((part) => text(part['text']))
    .join('')
}

/** Calls as they were made; of one in pieces, its texts and numbers at the top (all that was recorded). */
function callsIn(parts: Part[]): Fields[] {
  const calls: Fields[] = []
  for (const { functionCall: piece } of parts) {
    if (!isFields(piece)) continue
    if (typeof piece['name'] === 'string') calls.push({ name: piece['name'], args: piece['args'] ?? {} })
    const args = calls.at(-1)?.['args'] as Fields
    for (const { jsonPath, stringValue, numberValue } of objects(piece['partialArgs'])) {
      const name = text(jsonPath).slice('$.'.length)
      args[name] = numberValue ?? text(args[name]) + text(stringValue)
    }
  }
  return calls
}

/** As a client gets it, either way. */
function received(recording: Recording) {
  if (recording.body !== null) {
    const response = decodeResponse('gemini', Buffer.from(recording.body), {}, context())
    const { message, finish_reason: finish } = response.choices[0] as (typeof response.choices)[number]
    const calls = message.tool_calls ?? []
    return { content: message.content ?? '', reasoning: message.reasoning_content ?? '', calls, finish, usage: response.usage }
  }
  const { chunks, error } = decodePieces(new GenerateStream('gemini', context()), [Buffer.from(recording.stream ?? '')])
  if (error !== null) throw error
  const { choices, usage } = foldChunks(chunks)
  const choice = choices.get(0)
  if (choice === undefined) throw new Error('no choice')
  const { content, reasoning, toolCalls: calls, finish, roles } = choice
  expect(roles).toBe(1)
  return { content, reasoning, calls, finish, usage }
}

describe.skipIf(!haveRecordings())('recorded answers', () => {
  const all = haveRecordings() ? chats() : []

  it('are many, whole and streamed', () => {
    expect(all.filter(({ body }) => body !== null).length).toBeGreaterThanOrEqual(80)
    expect(all.filter(({ stream }) => stream !== null).length).toBeGreaterThanOrEqual(40)
  })

  for (const [index, recording] of all.entries()) {
    it(`lose nothing: ${recording.file} (${index})`, () => {
      const { parts, finish, usage: raw } = said(recording)
      const answer = received(recording)
      expect(answer.content).toBe(words(parts, false))
      expect(answer.reasoning).toBe(words(parts, true))
      const calls = callsIn(parts)
      expect(answer.calls.map(({ function: named }) => [named?.name, JSON.parse(named?.arguments ?? '') as unknown])).toEqual(
        calls.map((call) => [call['name'], call['args'] ?? {}]),
      )
      expect(new Set(answer.calls.map(({ id }) => id)).size).toBe(calls.length)
      const reason = finish === 'MAX_TOKENS' ? 'length' : calls.length > 0 ? 'tool_calls' : 'stop'
      expect(answer.finish).toBe(reason)
      // The service's own sum: what tools read, thoughts and all.
      expect(answer.usage?.total_tokens).toBe(raw['totalTokenCount'])
      expect(answer.usage?.completion_tokens_details?.reasoning_tokens).toBe(raw['thoughtsTokenCount'])
      expect(answer.usage?.prompt_tokens_details?.cached_tokens).toBe(raw['cachedContentTokenCount'] ?? 0)
    })
  }

  for (const [index, recording] of all.filter(({ stream }) => stream !== null).entries()) {
    it(`read the same however the bytes arrive: ${recording.file} (${index})`, () => {
      const bytes = Buffer.from(recording.stream ?? '')
      const decode = (pieces: Iterable<Uint8Array>) => decodePieces(new GenerateStream('gemini', context()), pieces)
      const whole = decode([bytes])
      expect(whole.error).toBeNull()
      for (const seed of [1, 2, 3]) for (const pieces of cuts(bytes, seed)) expect(decode(pieces)).toEqual(whole)
    })

    it(`that break off before the finish reason are no success: ${recording.file} (${index})`, () => {
      const parser = new SseParser()
      const decoder = new GenerateStream('gemini', context())
      for (const event of parser.push(Buffer.from(recording.stream ?? ''))) {
        if (event.data.includes('finishReason')) break
        decoder.push(event)
      }
      expect(() => decoder.end()).toThrow(
        expect.objectContaining({ code: expect.stringMatching(/^provider_(truncated|malformed)$/) }),
      )
    })
  }

  it('of embeddings are vectors in order', () => {
    const embeddings = allRecordings().filter(({ url, status }) => /mbedContents?$/.test(url) && status === 200)
    expect(embeddings.length).toBeGreaterThanOrEqual(4)
    for (const { body } of embeddings) {
      const raw = JSON.parse(body ?? '') as Fields
      const vectors = objects(raw['embeddings'] ?? [raw['embedding']]).map(({ values }) => values)
      const { data } = decodeEmbedding('gemini', Buffer.from(body ?? ''), {}, context())
      expect(data.map(({ embedding }) => embedding)).toEqual(vectors)
      expect(data.map(({ index }) => index)).toEqual(vectors.map((_, index) => index))
    }
  })

  it('that are errors say which', () => {
    const failed = allRecordings().filter(({ status }) => status >= 400)
    const errors = failed.map(
      ({ file, status, body }) => [file.split('__')[0], decodeError('gemini', status, {}, body ?? '')] as const,
    )
    expect(errors.map(([file, { code, status, retryAfter }]) => [file, code, status, retryAfter])).toEqual([
      ['gemini/error-400', 'provider_authentication', 401, undefined],
      ['gemini/error-404', 'provider_not_found', 404, undefined],
      ['gemini/error-rec', 'provider_rate_limited', 429, 34_400],
      ['vertex/error-400', 'context_window_exceeded', 400, undefined],
    ])
    for (const [, { message }] of errors) expect(message).toMatch(/^litellm\.\w+: (\w+: )?GeminiException - /)
  })
})
