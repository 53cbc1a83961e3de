import { describe, expect, it } from 'vitest'
import { ERRORS } from '../../proto/errors.ts'
import { PROVIDERS } from '../../shared/catalog/providers.ts'
import { entryOf } from '../../shared/entry.ts'
import { GatewayError } from '../../shared/errors.ts'
import { finishReason as anthropicReason } from './anthropic/answer.ts'
import { finishReason as bedrockReason } from './bedrock/answer.ts'
import { target } from './cohere/encode.testkit.ts'
import { finishReason as cohereReason } from './cohere/response.ts'
import { Choice } from './gemini/answer.ts'
import { providerOf } from './index.ts'
import type { Fields } from './json.ts'
import { mock } from './mock.ts'
import { finishOf as ociReason } from './oci/response.ts'
import { finishReason as openaiReason } from './openai/normalise.ts'
import { sent } from './openai-variant.testkit.ts'
import type { Provider } from './provider.ts'
import { createRefusals } from './refusals.ts'
import { screen } from './responses/parameters.ts'

/** Names that every object has without holding them, whole in lower case: some tables are asked in it. */
const INHERITED = ['constructor', '__proto__', 'valueof']
/** A name no table has. */
const UNKNOWN = 'nosuchname'

describe('an entry of a table', () => {
  it('is found under its own name', () => {
    expect(entryOf({ stop: 1, none: null }, 'stop')).toBe(1)
    expect(entryOf({ stop: 1, none: null }, 'none')).toBeNull()
    expect(entryOf(JSON.parse('{"__proto__":1}') as Record<string, number>, '__proto__')).toBe(1)
  })

  it('is none where the name is only what objects inherit', () => {
    for (const name of [...INHERITED, 'valueOf', 'toString', 'hasOwnProperty', UNKNOWN, ''])
      expect(entryOf({ stop: 1 }, name), name).toBeUndefined()
  })
})

/** The forms of errors that adapters look codes up in. */
const bodies = (code: string): string[] => [
  JSON.stringify({ error: { message: 'No.', code, type: code, status: code } }),
  JSON.stringify({ type: 'error', error: { type: code, message: 'No.' } }),
  JSON.stringify({ errors: [{ code, message: 'No.' }], success: false, trace: 't' }),
  JSON.stringify({ error_code: code, message: 'No.' }),
  JSON.stringify({ code, message: 'No.' }),
  JSON.stringify({ __type: code, message: 'No.' }),
]

describe('an error whose code is the name of something inherited', () => {
  it('is any unknown error, at every provider', () => {
    for (const name of Object.keys(PROVIDERS)) {
      const { decodeError } = providerOf(name) as Provider
      const told = (status: number, body: string) => {
        const { code, status: own, message, type, providerCode } = decodeError(status, {}, body)
        return JSON.stringify({ code, own, message, type, providerCode })
      }
      for (const inherited of INHERITED) {
        for (const [form, body] of bodies(inherited).entries()) {
          for (const status of [200, 400, 503]) {
            const error = decodeError(status, {}, body)
            expect(error, name).toBeInstanceOf(GatewayError)
            expect(Object.keys(ERRORS), name).toContain(error.code)
            expect(told(status, body).replaceAll(inherited, UNKNOWN), name).toBe(told(status, bodies(UNKNOWN)[form] as string))
          }
        }
      }
    }
  })

  it('is one of the mock’s too', () => {
    const request = {
      model: 'mock',
      messages: [{ role: 'user', content: 'Hi' }],
      mock: { fail: { status: 429, code: 'constructor' } },
    }
    const deps = { clock: { now: () => 0 }, random: () => 0.5, callId: 'id' }
    const answer = mock.answer('chat', request, { settings: {}, mockResponse: null }, deps)
    expect(answer).toMatchObject({ kind: 'failure', error: { code: 'provider_rate_limited', providerCode: 'constructor' } })
    const canned = mock.answer(
      'chat',
      { ...request, mock: null, mock_response: 'litellm.constructor' },
      { settings: {}, mockResponse: null },
      deps,
    )
    expect(canned).toMatchObject({ kind: 'whole' })
  })
})

describe('a reason to finish that is the name of something inherited', () => {
  it.each(['constructor', '__proto__'])('is an unknown one: %s', (reason) => {
    expect(openaiReason(reason, false)).toBe(reason)
    expect(ociReason(reason)).toBe(reason)
    expect(cohereReason(reason, 0, undefined)).toBe(reason)
    expect(anthropicReason(reason, 0, false)).toBe('stop')
    expect(bedrockReason(reason, 0, false)).toBe('stop')
    expect(bedrockReason(reason, 1, false)).toBe('tool_calls')
    const choice = new Choice(0, 'id')
    choice.read({ finishReason: reason })
    expect(choice.finishReason).toBe('stop')
  })
})

const ASK = { model: 'asked', messages: [{ role: 'user' as const, content: 'Hi' }] }

const ask = (name: string, fields: Fields): Fields =>
  sent(providerOf(name) as Provider, 'chat', { ...ASK, ...fields }, { model: 'asked', base: 'https://host.test' }).body

describe('a client’s word that is the name of something inherited', () => {
  it.each(['anthropic', 'gemini', 'bedrock', 'cohere'])('as a parameter is one nobody knows: %s', (name) => {
    const body = JSON.stringify(ask(name, { constructor: 'own' }))
    expect(body).toContain('"constructor":"own"')
    const tampered = JSON.parse('{"__proto__":{"top_k":7}}') as Fields
    expect(ask(name, tampered)).toEqual(ask(name, {}))
  })

  it('as a parameter of the Responses API is one nobody knows', () => {
    const request = { ...ASK, ...(JSON.parse('{"__proto__":{"top_k":7},"constructor":"own"}') as Fields) }
    const { rest } = screen(request, target(), createRefusals(request, target()))
    expect(rest).toStrictEqual({ constructor: 'own' })
    expect(rest['top_k']).toBeUndefined()
  })

  it.each(['anthropic', 'gemini', 'cohere'])('is no effort: %s', (name) => {
    expect(() => ask(name, { reasoning_effort: 'constructor' })).toThrow(/reasoning_effort must be/)
  })
})
