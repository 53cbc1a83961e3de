import { describe, expect, it } from 'vitest'
import { NO_TOKENS } from '../../proto/usage.ts'
import { GatewayError } from '../../shared/errors.ts'
import type { ChatRequest } from '../canonical/chat.ts'
import { target } from '../providers/gemini/encode.testkit.ts'
import { allRecordings, haveRecordings } from '../providers/gemini/recordings.testkit.ts'
import { providerOf } from '../providers/index.ts'
import { anthropicCount, geminiCount } from './token-count.ts'

const CONTEXT = { id: 'x', created: 1, model: 'm', request: {} }

function sent(provider: string, request: ChatRequest, base: string): { url: string; body: unknown } {
  const upstream = providerOf(provider)?.count_tokens?.encodeRequest(request, target({ provider, model: 'upstream', base }))
  return { url: upstream?.url ?? '', body: JSON.parse(String(upstream?.body)) }
}

describe('a count for Anthropic’s clients', () => {
  const asked = {
    model: 'm',
    system: 'Be brief.',
    messages: [{ role: 'user', content: 'hi' }],
    tools: [{ name: 'f', input_schema: { type: 'object' } }],
  }

  it('needs no limit of the answer, and Anthropic is told none', () => {
    const canonical = anthropicCount.decodeRequest({ ...asked, temperature: 0.5, metadata: { user_id: 'u' } })
    const { url, body } = sent('anthropic', canonical, 'https://api.anthropic.com')
    expect(url).toBe('https://api.anthropic.com/v1/messages/count_tokens')
    expect(body).toEqual({ ...asked, model: 'upstream', system: [{ type: 'text', text: 'Be brief.' }] })
  })

  it('names what is wrong, a limit too', () => {
    for (const [body, place] of [
      [{ ...asked, messages: [] }, 'messages'],
      [{ ...asked, max_tokens: 0 }, 'max_tokens'],
    ] as const) {
      expect(() => anthropicCount.decodeRequest(body)).toThrow(expect.objectContaining({ param: place }))
    }
  })

  it('is answered in its words', () => {
    expect(anthropicCount.encodeResponse({ tokens: 5, billing: NO_TOKENS }, 'm')).toBe('{"input_tokens":5}')
    expect(() => anthropicCount.encodeStream({ model: 'm', includeUsage: false })).toThrow(GatewayError)
  })
})

describe('a count for Google’s clients', () => {
  const contents = [{ role: 'user', parts: [{ text: 'hi' }] }]

  it('is of contents, or of a whole request with its instructions and tools', () => {
    const tools = [{ functionDeclarations: [{ name: 'f' }] }]
    const base = 'https://generativelanguage.googleapis.com/v1beta'
    const whole = geminiCount.decodeRequest({ model: 'm', generateContentRequest: { model: 'models/other', contents, tools } })
    expect(sent('gemini', whole, base)).toEqual({
      url: `${base}/models/upstream:countTokens`,
      body: { generateContentRequest: { model: 'models/upstream', contents, tools } },
    })
    expect(sent('gemini', geminiCount.decodeRequest({ model: 'm', contents }), base).body).toEqual({
      generateContentRequest: { model: 'models/upstream', contents },
    })
  })
})

describe.skipIf(!haveRecordings())('counts recorded from Gemini', () => {
  const recorded = allRecordings().filter(({ url, status }) => url.endsWith(':countTokens') && status === 200)

  it('come to the client as they were given', () => {
    expect(recorded.length).toBeGreaterThanOrEqual(2)
    for (const { body } of recorded) {
      const count = providerOf('gemini')?.count_tokens?.decodeResponse(Buffer.from(body as string), {}, CONTEXT)
      expect(count).toMatchObject({ billing: NO_TOKENS })
      // Vertex also counts characters.
      const { totalBillableCharacters: _, ...told } = JSON.parse(body as string) as Record<string, unknown>
      expect(JSON.parse(geminiCount.encodeResponse(count as never, 'm'))).toEqual(told)
    }
  })
})
