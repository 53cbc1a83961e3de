import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../../shared/errors.ts'
import type { ChatChunk, ChatDelta, ChatResponse } from '../../canonical/chat.ts'
import { decodeRequest } from './request.ts'
import { encodeResponse } from './response.ts'
import { arrayFrames, GenerateStreamEncoder } from './stream.ts'

type Fields = Record<string, unknown>

function response(message: Fields, finish = 'stop', more: Fields = {}): ChatResponse {
  return {
    id: 'r',
    object: 'chat.completion',
    created: 1,
    model: 'upstream',
    choices: [{ index: 0, message: { role: 'assistant', content: null, ...message }, finish_reason: finish, ...more }],
  }
}

const parts = (answer: Fields) => (answer['candidates'] as { content: { parts: Fields[] } }[])[0]?.content.parts ?? []

function chunk(delta: ChatDelta, finish: string | null = null, more: Fields = {}): ChatChunk {
  return {
    id: 'r',
    object: 'chat.completion.chunk',
    created: 1,
    model: 'upstream',
    choices: [{ index: 0, delta, finish_reason: finish }],
    ...more,
  }
}

/** The answers of a stream of chunks. */
function streamed(...chunks: ChatChunk[]): Fields[] {
  const encoder = new GenerateStreamEncoder({ model: 'alias' }, arrayFrames(false))
  return JSON.parse(chunks.map((one) => encoder.push(one)).join('') + encoder.end()) as Fields[]
}

const call = (id: string, text: string) => ({ id, type: 'function', function: { name: 'f', arguments: text } })

describe('an answer for a Gemini client', () => {
  it('has thoughts, text and calls, each signature at its part', () => {
    const answer = encodeResponse(
      response({
        reasoning_content: 'hm',
        content: 'Look.',
        tool_calls: [{ ...call('a', '{"x":1}'), provider_specific_fields: { thought_signature: 'c2ln' } }, call('b', '')],
        provider_specific_fields: { thought_signatures: ['dGV4dA=='] },
      }),
      'alias',
    )
    expect(parts(answer)).toEqual([
      { text: 'hm', thought: true },
      { text: 'Look.', thoughtSignature: 'dGV4dA==' },
      { functionCall: { id: 'a', name: 'f', args: { x: 1 } }, thoughtSignature: 'c2ln' },
      { functionCall: { id: 'b', name: 'f', args: {} } },
    ])
    expect(answer).toMatchObject({ modelVersion: 'alias', responseId: 'r', candidates: [{ finishReason: 'STOP' }] })
  })

  it.each([
    ['stop', 'STOP'],
    ['tool_calls', 'STOP'],
    ['length', 'MAX_TOKENS'],
    ['content_filter', 'SAFETY'],
  ])('says of %s that it is %s', (finish, expected) => {
    expect(encodeResponse(response({ content: 'a' }, finish), 'm')['candidates']).toMatchObject([{ finishReason: expected }])
  })

  it('refuses arguments that are no JSON object, unless the limit cut them off', () => {
    for (const text of ['{"x":', '[1]', 'no']) {
      expect(() => encodeResponse(response({ tool_calls: [call('a', text)] }, 'tool_calls'), 'm')).toThrow(GatewayError)
      expect(parts(encodeResponse(response({ tool_calls: [call('a', text)] }, 'length'), 'm'))).toEqual([
        { functionCall: { id: 'a', name: 'f', args: {} } },
      ])
    }
  })

  it('counts thoughts apart from the answer, and says what was cached and of which kind', () => {
    const usage = {
      prompt_tokens: 10,
      completion_tokens: 7,
      total_tokens: 17,
      prompt_tokens_details: { cached_tokens: 4, image_tokens: 3 },
      completion_tokens_details: { reasoning_tokens: 5 },
    }
    expect(encodeResponse({ ...response({ content: 'a' }), usage }, 'm')['usageMetadata']).toEqual({
      promptTokenCount: 10,
      candidatesTokenCount: 2,
      thoughtsTokenCount: 5,
      cachedContentTokenCount: 4,
      totalTokenCount: 17,
      promptTokensDetails: [{ modality: 'IMAGE', tokenCount: 3 }],
    })
  })

  it('carries what Anthropic signed there and back, whole and streamed', () => {
    const block = { type: 'thinking' as const, thinking: 'hm', signature: 'c2ln' }
    const whole = parts(encodeResponse(response({ reasoning_content: 'hm', thinking_blocks: [block], content: 'a' }), 'm'))
    const pieces = streamed(
      chunk({ reasoning_content: 'h' }),
      chunk({ reasoning_content: 'm' }),
      chunk({ thinking_blocks: [block] }),
      chunk({ content: 'a' }),
      chunk({}, 'stop'),
    ).flatMap(parts)
    for (const said of [whole, pieces]) {
      const { messages } = decodeRequest({ model: 'm', contents: [{ role: 'model', parts: said }] })
      expect(messages).toEqual([{ role: 'assistant', content: 'a', thinking_blocks: [block] }])
    }
  })
})

describe('a stream for a Gemini client', () => {
  it('tells a call when it is whole, and the end only at the end', () => {
    const answers = streamed(
      chunk({ role: 'assistant', content: '' }),
      chunk({ tool_calls: [{ index: 0, id: 'a', function: { name: 'f', arguments: '{"x"' } }] }),
      chunk({ tool_calls: [{ index: 0, function: { arguments: ':1}' } }] }),
      chunk({ tool_calls: [{ index: 1, id: 'b', function: { name: 'g', arguments: '' } }] }),
      chunk({}, 'tool_calls'),
      { ...chunk({}), choices: [], usage: { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 } },
    )
    expect(answers.flatMap(parts).filter((part) => part['functionCall'] !== undefined)).toEqual([
      { functionCall: { id: 'a', name: 'f', args: { x: 1 } } },
      { functionCall: { id: 'b', name: 'g', args: {} } },
    ])
    expect(answers.map(({ candidates }) => (candidates as Fields[])[0]?.['finishReason'])).toEqual([undefined, undefined, 'STOP'])
    expect(answers.at(-1)).toMatchObject({ usageMetadata: { totalTokenCount: 3 } })
  })

  it('goes on in an array that another one began, and ends one that never began', () => {
    expect(new GenerateStreamEncoder({ model: 'm' }, arrayFrames(true)).push(chunk({ content: 'a' }))).toMatch(/^,\r\n\{/)
    expect(arrayFrames(false).end()).toBe('[]')
    const broken = new GenerateStreamEncoder({ model: 'm' }, arrayFrames(false))
    const text = broken.push(chunk({ content: 'a' })) + broken.error(new GatewayError('provider_truncated'))
    expect(JSON.parse(text)).toMatchObject([{ candidates: [{}] }, { error: { status: expect.any(String) } }])
  })

  it('says that a prompt was blocked', () => {
    const promptFeedback = { blockReason: 'SAFETY' }
    const answers = streamed(chunk({ provider_specific_fields: { promptFeedback } }), chunk({}, 'content_filter'))
    expect(answers).toEqual([{ promptFeedback, modelVersion: 'alias', responseId: 'r' }])
  })
})
