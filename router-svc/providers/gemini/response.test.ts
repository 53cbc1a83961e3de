import { describe, expect, it } from 'vitest'
import { createCatalog } from '../../../shared/catalog/catalog.ts'
import { providerOf } from '../index.ts'
import { decodePieces, foldChunks } from '../provider.suite.ts'
import type { DecodeContext } from '../provider.ts'
import { decodeEmbedding } from './embedding.ts'
import { encode } from './encode.testkit.ts'
import { framed } from './recordings.testkit.ts'
import { decodeResponse } from './response.ts'
import { GenerateStream } from './stream.ts'
import type { Fields, Part } from './wire.ts'

const CONTEXT: DecodeContext = { id: 'chatcmpl-1', created: 1, model: 'gemini-2.5-flash', request: {} }

function decode(answer: unknown, context = CONTEXT) {
  return decodeResponse('gemini', Buffer.from(JSON.stringify(answer)), {}, context)
}

function answerOf(parts: Part[], more: Fields = {}): Fields {
  return { candidates: [{ content: { role: 'model', parts }, finishReason: 'STOP', index: 0, ...more }], usageMetadata: {} }
}

function stream(...payloads: unknown[]) {
  const bytes = Buffer.from(framed(payloads.map((payload) => JSON.stringify(payload))))
  return decodePieces(new GenerateStream('gemini', CONTEXT), [bytes])
}

describe('decodeResponse', () => {
  it('maps every finish reason', () => {
    const finish = (reason: string) => decode(answerOf([{ text: 'a' }], { finishReason: reason })).choices[0]?.finish_reason
    expect(finish('STOP')).toBe('stop')
    expect(finish('MAX_TOKENS')).toBe('length')
    for (const reason of ['SAFETY', 'RECITATION', 'BLOCKLIST', 'PROHIBITED_CONTENT', 'SPII', 'IMAGE_SAFETY'])
      expect(finish(reason)).toBe('content_filter')
    expect(finish('MALFORMED_FUNCTION_CALL')).toBe('stop')
    expect(decode(answerOf([], { finishReason: 'OTHER' })).choices[0]?.message.provider_specific_fields).toEqual({
      finishReason: 'OTHER',
    })
  })

  it('says of a blocked prompt that it was filtered, and why', () => {
    const answer = decode({ promptFeedback: { blockReason: 'PROHIBITED_CONTENT' }, usageMetadata: { promptTokenCount: 4 } })
    expect(answer.choices).toEqual([
      {
        index: 0,
        message: {
          role: 'assistant',
          content: null,
          provider_specific_fields: { promptFeedback: { blockReason: 'PROHIBITED_CONTENT' } },
        },
        finish_reason: 'content_filter',
      },
    ])
    expect(answer.usage?.prompt_tokens).toBe(4)
  })

  it('refuses what is no answer, and reads an error in a success', () => {
    expect(() => decode({})).toThrow(expect.objectContaining({ code: 'provider_malformed' }))
    expect(() => decodeResponse('gemini', Buffer.from('<html>'), {}, CONTEXT)).toThrow(
      expect.objectContaining({ code: 'provider_malformed' }),
    )
    const error = { error: { code: 503, message: 'The model is overloaded.', status: 'UNAVAILABLE' } }
    expect(() => decode([error])).toThrow(expect.objectContaining({ code: 'provider_overloaded' }))
    expect(() => decode(error)).toThrow(/^litellm\.\w+: .*GeminiException - The model is overloaded/)
  })

  it('gives signatures and parts of its own back as they came, when the message is sent again', () => {
    const parts = [
      { text: 'hm', thought: true, thoughtSignature: 'S0' },
      { executableCode: { language: 'PYTHON', code: '1+1' } },
      { codeExecutionResult: { outcome: 'OUTCOME_OK', output: '2' } },
      { text: 'Two.', thoughtSignature: 'S1' },
      { functionCall: { id: 'a', name: 'f', args: { x: 1 } }, thoughtSignature: 'S2' },
      { functionCall: { id: 'b', name: 'f', args: {} } },
    ]
    const message = decode(answerOf(parts)).choices[0]?.message
    expect(message).toMatchObject({ content: 'Two.', reasoning_content: 'hm' })
    expect(message?.thinking_blocks).toEqual([{ type: 'thinking', thinking: 'hm', signature: 'S0' }])
    const again = encode({ messages: [{ role: 'user', content: 'Hi' }, JSON.parse(JSON.stringify(message))] })
    expect(again.contents[1]?.parts).toEqual(parts)
  })

  it('names calls that have no id, each its own', () => {
    const calls = decode(answerOf([{ functionCall: { name: 'f' } }, { functionCall: { name: 'f' } }])).choices[0]?.message
      .tool_calls
    expect(calls?.map(({ id }) => id)).toEqual(['call_1_0_0', 'call_1_0_1'])
    expect(calls?.map((call) => call.function?.arguments)).toEqual(['{}', '{}'])
  })

  it('shows images and sound', () => {
    const image = { inlineData: { mimeType: 'image/png', data: 'AAAA' } }
    const sound = { inlineData: { mimeType: 'audio/L16;rate=24000', data: 'BBBB' } }
    expect(decode(answerOf([image, sound])).choices[0]?.message).toMatchObject({
      content: null,
      images: [{ type: 'image_url', index: 0, image_url: { url: 'data:image/png;base64,AAAA' } }],
      audio: { data: 'BBBB' },
    })
  })

  it('cites by characters what the service counts in bytes', () => {
    const groundingMetadata = {
      webSearchQueries: ['q', 'r'],
      groundingChunks: [{ web: { uri: 'https://a', title: 'A' } }],
      groundingSupports: [{ segment: { startIndex: 4, endIndex: 7, text: 'sky' }, groundingChunkIndices: [0] }],
    }
    const answer = answerOf([{ text: 'äö' }, { text: 'sky' }], { groundingMetadata })
    const whole = decode(answer)
    const place = { start_index: 2, end_index: 5, url: 'https://a', title: 'A' }
    expect(whole.choices[0]?.message.annotations).toEqual([{ type: 'url_citation', url_citation: place }])
    expect(whole['vertex_ai_grounding_metadata']).toEqual([groundingMetadata])
    // Billed by the prompt until Gemini 3, by the query since.
    expect(whole.usage?.server_tool_use).toEqual({ web_search_requests: 1 })
    expect(decode(answer, { ...CONTEXT, model: 'gemini-3-pro-preview' }).usage?.server_tool_use).toEqual({
      web_search_requests: 2,
    })
  })

  it('reads the odds of tokens', () => {
    const logprobsResult = {
      chosenCandidates: [{ token: 'a', logProbability: -0.1 }],
      topCandidates: [{ candidates: [{ token: 'b', logProbability: -2 }] }],
    }
    expect(decode(answerOf([{ text: 'a' }], { logprobsResult })).choices[0]?.logprobs).toEqual({
      content: [{ token: 'a', logprob: -0.1, bytes: [97], top_logprobs: [{ token: 'b', logprob: -2, bytes: [98] }] }],
    })
  })

  it('counts thoughts, tools, caches and kinds', () => {
    const usageMetadata = {
      promptTokenCount: 100,
      toolUsePromptTokenCount: 7,
      cachedContentTokenCount: 40,
      candidatesTokenCount: 10,
      thoughtsTokenCount: 5,
      totalTokenCount: 122,
      promptTokensDetails: [
        { modality: 'TEXT', tokenCount: 30 },
        { modality: 'AUDIO', tokenCount: 70 },
      ],
      cacheTokensDetails: [{ modality: 'AUDIO', tokenCount: 40 }],
      candidatesTokensDetails: [{ modality: 'IMAGE', tokenCount: 10 }],
      trafficType: 'ON_DEMAND',
    }
    expect(decode({ ...answerOf([]), usageMetadata }).usage).toEqual({
      prompt_tokens: 107,
      completion_tokens: 15,
      total_tokens: 122,
      prompt_tokens_details: {
        cached_tokens: 40,
        text_tokens: 30,
        audio_tokens: 70,
        cached_tokens_details: { audio_tokens: 40 },
      },
      completion_tokens_details: { image_tokens: 10, reasoning_tokens: 5 },
      cache_read_input_tokens: 40,
      trafficType: 'ON_DEMAND',
    })
    const inside = { promptTokenCount: 10, candidatesTokenCount: 20, thoughtsTokenCount: 15, totalTokenCount: 30 }
    expect(decode({ ...answerOf([]), usageMetadata: inside }).usage?.completion_tokens).toBe(20)
  })
})

describe('GenerateStream', () => {
  const piece = (text: string, more: Fields = {}) => ({ candidates: [{ content: { parts: [{ text }] }, index: 0, ...more }] })

  it('tells finish and usage once, however often the provider does', () => {
    const counts = (tokens: number) => ({ usageMetadata: { promptTokenCount: 3, candidatesTokenCount: tokens } })
    const { chunks, error } = stream(
      { ...piece('a', { finishReason: 'STOP' }), ...counts(1) },
      { ...piece('b', { finishReason: 'STOP' }), ...counts(2) },
      counts(3),
    )
    expect(error).toBeNull()
    const { choices, usage } = foldChunks(chunks)
    expect(choices.get(0)).toMatchObject({ content: 'ab', finish: 'stop' })
    expect(usage).toMatchObject({ prompt_tokens: 3, completion_tokens: 3 })
    expect(chunks.filter((chunk) => chunk.usage).length).toBe(1)
  })

  it('keeps several candidates apart, and ends only when all have', () => {
    const two = {
      candidates: [piece('a').candidates[0], { content: { parts: [{ text: 'b' }] }, index: 1, finishReason: 'STOP' }],
    }
    expect(stream(two).error).toMatchObject({ code: 'provider_truncated' })
    const { choices } = foldChunks(stream(two, piece('c', { finishReason: 'MAX_TOKENS' })).chunks)
    expect(choices.get(0)).toMatchObject({ content: 'ac', finish: 'length' })
    expect(choices.get(1)).toMatchObject({ content: 'b', finish: 'stop' })
  })

  it('says of a blocked prompt that it was filtered', () => {
    const { chunks, error } = stream({ promptFeedback: { blockReason: 'SAFETY' }, usageMetadata: { promptTokenCount: 4 } })
    expect(error).toBeNull()
    expect(foldChunks(chunks)).toMatchObject({ usage: { prompt_tokens: 4 } })
    expect(foldChunks(chunks).choices.get(0)).toMatchObject({ content: '', finish: 'content_filter' })
  })

  it('is no success when nothing came, when it broke off, when it tells an error', () => {
    expect(stream().error).toMatchObject({ code: 'provider_malformed' })
    expect(stream(piece('a')).error).toMatchObject({ code: 'provider_truncated' })
    expect(stream({ usageMetadata: {} }).error).toMatchObject({ code: 'provider_truncated' })
    const failed = stream(piece('a'), { error: { code: 429, message: 'Slow', status: 'RESOURCE_EXHAUSTED' } })
    expect(failed.error).toMatchObject({ code: 'provider_rate_limited' })
    expect(failed.chunks.length).toBeGreaterThan(0)
  })

  it('puts calls in pieces together, nested values too', () => {
    const part = (functionCall: Fields) => ({ candidates: [{ content: { parts: [{ functionCall }] }, index: 0 }] })
    const args = (jsonPath: string, value: Fields, more = true) =>
      part({ partialArgs: [{ jsonPath, ...value }], ...(more ? { willContinue: true } : {}) })
    const { chunks } = stream(
      part({ name: 'f', willContinue: true }),
      args('$.a.b[0]', { stringValue: 'x' }),
      args('$.a.b[0]', { stringValue: 'y' }),
      args("$['n']", { numberValue: 2 }, false),
      piece('', { finishReason: 'STOP' }),
    )
    const folded = foldChunks(chunks).choices.get(0)
    expect(folded?.finish).toBe('tool_calls')
    expect(folded?.toolCalls.map((call) => JSON.parse(call.function?.arguments ?? '') as unknown)).toEqual([
      { a: { b: ['xy'] }, n: 2 },
    ])
  })
})

describe('the provider', () => {
  it('is in the table, with a key in its own header, and its models have prices', () => {
    const provider = providerOf('gemini')
    expect(provider?.auth).toMatchObject({ type: 'header', name: 'x-goog-api-key' })
    expect(provider?.keyNames).toEqual(['GEMINI_API_KEY', 'GOOGLE_API_KEY', 'PALM_API_KEY'])
    expect(provider?.base).toBe('https://generativelanguage.googleapis.com/v1beta')
    const catalog = createCatalog()
    for (const model of ['gemini-2.5-flash', 'gemini-2.5-pro', 'gemini-3-pro-preview'])
      expect(catalog.prices('gemini', model), model).not.toBeNull()
  })

  it('gives vectors in the form that was asked for', () => {
    const body = Buffer.from(JSON.stringify({ embeddings: [{ values: [1, 2] }] }))
    const read = (format: string) => decodeEmbedding('gemini', body, {}, { ...CONTEXT, request: { encoding_format: format } })
    expect(read('float').data[0]?.embedding).toEqual([1, 2])
    expect(read('base64').data[0]?.embedding).toBe('AACAPwAAAEA=')
  })
})
