import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../shared/errors.ts'
import type { CompletionChunk } from '../canonical/completion.ts'
import { chatFromCompletion } from './completion-from-chat.ts'
import { providerOf } from './index.ts'
import { openai } from './openai.ts'
import { PLAIN_TARGET } from './plain-target.ts'
import { decodePieces } from './provider.suite.ts'
import type { DecodeContext, Target } from './provider.ts'

const chatOnly = openai('test', { protocol: 'openai', base: null, keys: [] }).completion
const CONTEXT: DecodeContext = { id: 'x', created: 1, model: 'm', request: { model: 'm', prompt: 'Say' } }
const TARGET: Target = {
  ...PLAIN_TARGET,
  provider: 'test',
  model: 'up',
  base: 'http://h/v1',
}

describe('a text completion of a chat model', () => {
  it('asks a chat', () => {
    const upstream = chatOnly?.encodeRequest({ model: 'm', prompt: 'Say', max_tokens: 3, echo: false, logprobs: 2 }, TARGET)
    expect(upstream?.url).toBe('http://h/v1/chat/completions')
    expect(JSON.parse(upstream?.body as string)).toEqual({
      model: 'up',
      messages: [{ role: 'user', content: 'Say' }],
      max_tokens: 3,
      logprobs: true,
      top_logprobs: 2,
    })
  })

  it('answers with text, whole and streamed', () => {
    const whole = chatOnly?.decodeResponse(
      Buffer.from('{"choices":[{"message":{"content":"hi"},"finish_reason":"length"}],"usage":{"total_tokens":2}}'),
      {},
      CONTEXT,
    )
    expect(whole).toMatchObject({
      object: 'text_completion',
      choices: [{ text: 'hi', index: 0, finish_reason: 'length' }],
      usage: { total_tokens: 2 },
    })
    expect(whole?.choices[0]).not.toHaveProperty('message')
    const decoder = chatOnly?.decodeStream?.(CONTEXT)
    if (decoder === undefined) throw new Error('no stream')
    const events = [
      '{"choices":[{"delta":{"role":"assistant","content":"h"}}]}',
      '{"choices":[{"delta":{"content":"i"}}]}',
      '{"choices":[{"delta":{},"finish_reason":"stop"}]}',
      '[DONE]',
    ]
    const { chunks, error } = decodePieces<CompletionChunk>(decoder, [
      Buffer.from(events.map((event) => `data: ${event}\n\n`).join('')),
    ])
    expect(error).toBeNull()
    expect(decoder.done).toBe(true)
    expect(chunks.map((chunk) => chunk.choices[0]?.text).join('')).toBe('hi')
    expect(chunks.at(-1)?.choices[0]?.finish_reason).toBe('stop')
    expect(chunks[0]?.object).toBe('text_completion')
  })

  it('knows the usage told before its stream broke off', () => {
    const decoder = providerOf('anthropic')?.completion?.decodeStream?.(CONTEXT)
    const message = { id: 'msg_1', type: 'message', role: 'assistant', content: [], usage: { input_tokens: 7, output_tokens: 1 } }
    decoder?.push({ event: 'message_start', data: JSON.stringify({ type: 'message_start', message }) })
    expect(decoder?.usage).toMatchObject({ prompt_tokens: 7 })
    expect(() => decoder?.end()).toThrow(GatewayError)
  })

  it.each([
    [{ prompt: ['a', 'b'] }, 'prompt', 'bad_request'],
    [{ prompt: [1, 2] }, 'prompt', 'bad_request'],
    [{ prompt: 'a', suffix: 'z' }, 'suffix', 'unsupported_parameter'],
    [{ prompt: 'a', echo: true }, 'echo', 'unsupported_parameter'],
    [{ prompt: 'a', best_of: 3 }, 'best_of', 'unsupported_parameter'],
  ])('refuses what a chat cannot do: %j', (fields, param, code) => {
    try {
      chatFromCompletion({ model: 'm', ...fields } as never)
      expect.unreachable()
    } catch (thrown) {
      expect(thrown).toBeInstanceOf(GatewayError)
      expect(thrown).toMatchObject({ param, code })
    }
  })

  it('takes one prompt in a list, and drops what it may', () => {
    expect(chatFromCompletion({ model: 'm', prompt: ['a'], best_of: 3, drop_params: true })).toEqual({
      model: 'm',
      drop_params: true,
      messages: [{ role: 'user', content: 'a' }],
    })
  })
})
