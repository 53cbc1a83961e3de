import { describe, expect, it } from 'vitest'
import type { ChatRequest } from '../../canonical/chat.ts'
import { canonicalOf, encode, spelled } from './encode.testkit.ts'
import { fileNames, haveRecordings, type Recording, recordings } from './recordings.testkit.ts'
import type { Block, Fields } from './wire.ts'

describe.skipIf(!haveRecordings())('requests the service accepted', () => {
  const accepted = fileNames('anthropic')
    .flatMap((file) => recordings('anthropic', file))
    .filter((recording): recording is Recording & { request: Fields } => recording.request !== null && recording.status === 200)

  it('are there', () => {
    expect(accepted.length).toBeGreaterThanOrEqual(60)
  })

  for (const [index, { file, request }] of accepted.entries()) {
    it(`come out the same from an OpenAI client: ${file} (${index})`, () => {
      const sent = encode(canonicalOf(request), { model: String(request['model']), allowedOpenaiParams: ['temperature'] })
      expect(spelled(sent)).toEqual(spelled(request))
    })
  }
})

describe.skipIf(!haveRecordings())('chat requests that were translated for the service', () => {
  const pairs = fileNames('translation')
    .filter((file) => file.includes('chat-completions_to_anthropic'))
    .flatMap((file) => recordings('translation', file))

  it('are there', () => {
    expect(pairs.length).toBeGreaterThanOrEqual(13)
  })

  for (const { file, request } of pairs) {
    it(`keep what was asked: ${file}`, () => {
      const client = request as unknown as ChatRequest
      const sent = encode(client, { model: 'claude-sonnet-4-5-20250929', dropParams: true, maxOutputTokens: null })
      expect(sent.model).toBe('claude-sonnet-4-5-20250929')
      expect(sent.max_tokens).toBe(client.max_completion_tokens ?? 64_000)
      expect(sent.messages.length).toBe(client.messages.filter((message) => message.role !== 'system').length)
      expect(sent.tools?.map((tool) => tool['name'])).toEqual(client.tools?.map((tool) => tool.function?.name))
      expect(sent.tool_choice?.['disable_parallel_tool_use']).toBe(client.parallel_tool_calls === false ? true : undefined)
      expect((sent.output_config?.['format'] as Block | undefined)?.type).toBe(client.response_format?.type)
      expect(sent.thinking?.['type']).toBe(client.reasoning_effort ? 'enabled' : undefined)
      expect(Object.keys(sent)).not.toContain('n')
    })
  }
})
