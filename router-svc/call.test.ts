import { describe, expect, it } from 'vitest'
import { endpoint } from '../proto/endpoints.ts'
import type { IncomingStream } from '../shared/bus/bus.ts'
import { systemClock } from '../shared/clock.ts'
import { type Call, type DecodeSettings, decode, openCall } from './call.ts'

const SETTINGS: DecodeSettings = { allowClientSideCredentials: false, alwaysIncludeStreamUsage: false, customerHeaders: [] }

/** `deep`: what stands for `"DEEP"`, of which no value could be made. */
function decoded(fields: Record<string, unknown>, settings: Partial<DecodeSettings> = {}, name = 'acompletion', deep = ''): Call {
  const head = { v: 1, callId: 'c', take: 1, endpoint: endpoint(name)?.name, identity: { tags: [] }, headers: {} }
  const call = openCall({ head } as unknown as IncomingStream, systemClock)
  const body = { model: 'gpt', messages: [{ role: 'user', content: 'hi' }], ...fields }
  decode(call, Buffer.from(JSON.stringify(body).replace('"DEEP"', deep)), { ...SETTINGS, ...settings })
  return call
}

function refusal(fields: Record<string, unknown>, settings: Partial<DecodeSettings> = {}): unknown {
  try {
    decoded(fields, settings)
    return null
  } catch (thrown) {
    return thrown
  }
}

describe('decode', () => {
  it.each(['api_base', 'base_url', 'api_key', 'user_config'])('refuses %s in a body, without repeating its value', (param) => {
    const error = refusal({ [param]: 'very-secret' })
    expect(error).toMatchObject({ code: 'unsafe_parameter', status: 401, param })
    expect(String((error as Error).message)).toContain(`Rejected Request: ${param} is not allowed in request body`)
    expect(String((error as Error).message)).not.toContain('very-secret')
  })

  it('reads what stands in extra_body as if it stood beside the other fields, which beat it', () => {
    const call = decoded({ extra_body: { num_retries: 4, top_k: 7, model: 'other' } })
    expect(call.options.numRetries).toBe(4)
    expect(call.request).toMatchObject({ model: 'gpt', top_k: 7 })
    expect(call.request).not.toHaveProperty('extra_body')
    expect(refusal({ extra_body: { api_base: 'http://own' } })).toMatchObject({ code: 'unsafe_parameter' })
  })

  it('says that client-side credentials are not supported where the operator allows them', () => {
    expect(refusal({ api_base: 'http://own' }, { allowClientSideCredentials: true })).toMatchObject({
      code: 'bad_request',
      status: 400,
      param: 'api_base',
    })
  })

  it('refuses a body nested so deep that what walks it would fail, and takes one that is nested less', () => {
    const nested = (levels: number) => () =>
      decoded({ metadata: 'DEEP' }, {}, 'acompletion', `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`)
    for (const levels of [20_000, 200])
      expect(nested(levels)).toThrow(
        expect.objectContaining({ code: 'bad_request', message: expect.stringContaining('inside one another') }),
      )
    expect(nested(199)).not.toThrow()
  })

  it('takes null for not given', () => {
    expect(refusal({ api_key: null })).toBeNull()
  })

  it.each([
    ['nothing', {}, false, false],
    ['nothing, and the operator wants it', {}, true, true],
    ['yes', { stream_options: { include_usage: true } }, false, true],
    ['no, and the operator wants it', { stream_options: { include_usage: false } }, true, false],
    ['something else of streams, and the operator wants it', { stream_options: {} }, true, true],
  ])('decides on usage in a stream when the client says %s', (_case, fields, alwaysIncludeStreamUsage, expected) => {
    expect(decoded({ stream: true, ...fields }, { alwaysIncludeStreamUsage }).includeUsage).toBe(expected)
  })

  it('reads what Anthropic’s clients tell the gateway beside the metadata that is the provider’s', () => {
    const fields = { max_tokens: 1, metadata: { user_id: 'u' }, litellm_metadata: { tags: ['t'] } }
    const { options } = decoded(fields, {}, 'anthropic_messages')
    expect(options).toMatchObject({ tags: ['t'], endUser: 'u', metadata: { user_id: 'u', tags: ['t'] } })
    expect(decoded(fields).options.tags).toEqual([])
  })
})
