import { describe, expect, it } from 'vitest'
import type { RuntimeSettings } from '../proto/deployment.ts'
import type { Call } from './call.ts'
import { checkRequest } from './check-request.ts'
import { anthropic } from './dialects/anthropic.ts'
import { openaiChat } from './dialects/openai-chat.ts'

const settings = {
  enforcedParams: [],
  serviceAccountEnforcedParams: [],
  enforceUserParam: false,
  rejectClientTags: false,
} as unknown as RuntimeSettings

const HELLO = { model: 'm', messages: [{ role: 'user', content: 'x' }] }

function check(parsed: object, changes: Partial<RuntimeSettings> = {}, identity: object = {}, tags: string[] = []): void {
  const dialect = 'max_tokens' in parsed ? anthropic : openaiChat
  const request = dialect.decodeRequest({ ...HELLO, ...parsed })
  const caller = { enforcedParams: [], metadata: {}, tags: [], ...identity }
  const call = { parsed, dialect, request, identity: caller, options: { tags } }
  checkRequest(call as unknown as Call, { ...settings, ...changes })
}

describe('a request', () => {
  it('must hold what its key, the gateway and service accounts ask for, dotted paths included', () => {
    const asked = ['metadata.generation_name', 'user']
    expect(() => check({ metadata: { generation_name: 'x' }, user: 'u' }, {}, { enforcedParams: asked })).not.toThrow()
    expect(() => check({ metadata: {}, user: 'u' }, {}, { enforcedParams: asked })).toThrow('metadata.generation_name')
    expect(() => check({}, { enforcedParams: ['seed'] })).toThrow('param=seed')
  })

  it('must hold what service accounts owe only when its key is one', () => {
    const owed = { serviceAccountEnforcedParams: ['user'] }
    expect(() => check({}, owed)).not.toThrow()
    expect(() => check({}, owed, { metadata: { service_account_id: 'sa' } })).toThrow('param=user')
  })

  it('must name its user where the operator says so', () => {
    expect(() => check({}, { enforceUserParam: true })).toThrow("'user' param not passed in")
    expect(() => check({ user: 'u' }, { enforceUserParam: true })).not.toThrow()
  })

  it('may name its user in the place Anthropic’s protocol has for it', () => {
    expect(() => check({ max_tokens: 1, metadata: { user_id: 'u' } }, { enforceUserParam: true })).not.toThrow()
    expect(() => check({ max_tokens: 1 }, { enforceUserParam: true })).toThrow("'user' param not passed in")
    expect(() => check({ metadata: { user_id: 'u' } }, { enforceUserParam: true })).toThrow("'user' param not passed in")
  })

  it('may not bring tags of its own where the operator forbids it; its key may', () => {
    expect(() => check({}, { rejectClientTags: true }, { tags: ['own'] }, ['own'])).not.toThrow()
    expect(() => check({}, { rejectClientTags: true }, { tags: ['own'] }, ['own', 'other'])).toThrow('tags')
  })

  it('brings a hundred tags at most beside those of its key', () => {
    const tags = Array.from({ length: 101 }, (_, n) => `tag-${n}`)
    expect(() => check({}, {}, { tags: ['tag-0'] }, tags)).not.toThrow()
    expect(() => check({}, {}, {}, tags)).toThrow(
      expect.objectContaining({ code: 'bad_request', status: 400, param: 'tags', message: expect.stringContaining('100') }),
    )
  })
})
