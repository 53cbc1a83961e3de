import { describe, expect, it } from 'vitest'
import { identityOf } from '../testing.ts'
import { credentialOf } from './authenticate.ts'
import { checkIdentity, INFERENCE_GROUPS, MODELS_GROUPS } from './check-identity.ts'

describe('the credential', () => {
  it.each([
    [{ 'x-litellm-api-key': 'sk-1', authorization: 'Bearer sk-2' }, 'sk-1'],
    [{ 'x-litellm-api-key': 'Bearer sk-1' }, 'sk-1'],
    [{ authorization: 'Bearer sk-2', 'api-key': 'sk-3' }, 'sk-2'],
    [{ authorization: 'bearer sk-2' }, 'sk-2'],
    [{ 'api-key': 'sk-3', 'x-api-key': 'sk-4' }, 'sk-3'],
    [{ 'x-api-key': 'sk-4', 'x-goog-api-key': 'sk-5' }, 'sk-4'],
    [{ 'x-goog-api-key': 'sk-5', 'ocp-apim-subscription-key': 'sk-6' }, 'sk-5'],
    [{ 'ocp-apim-subscription-key': 'sk-6' }, 'sk-6'],
  ])('of %j is the first in the order of precedence', (headers, expected) => {
    expect(credentialOf(headers as Record<string, string>, null)).toBe(expected)
  })

  it('is in the configured header alone when one is configured', () => {
    const headers = { 'x-company-key': 'Bearer sk-1', authorization: 'Bearer sk-2' }
    expect(credentialOf(headers, 'X-Company-Key')).toBe('sk-1')
    expect(() => credentialOf({ authorization: 'Bearer sk-2' }, 'X-Company-Key')).toThrow(
      'Authentication Error, No api key passed in.',
    )
  })

  it.each([
    [{}, 401, 'no_credential', 'Authentication Error, No api key passed in.'],
    [{ authorization: '' }, 401, 'no_credential', 'Authentication Error, No api key passed in.'],
    [{ authorization: 'Bearer ' }, 401, 'no_credential', 'Authentication Error, No api key passed in.'],
    [
      { authorization: 'sk-1234' },
      401,
      'malformed_credential',
      'Authentication Error, Malformed API Key passed in. Ensure Key has `Bearer ` prefix.',
    ],
  ])('of %j is an error that clients know', (headers, status, code, message) => {
    try {
      credentialOf(headers as Record<string, string>, null)
      expect.unreachable()
    } catch (error) {
      expect(error).toMatchObject({ status, code, message, type: 'auth_error' })
    }
  })
})

describe('an identity', () => {
  const now = 1_700_000_000_000
  const check = (fields: Parameters<typeof identityOf>[0], path = '/v1/chat/completions', groups = INFERENCE_GROUPS) => {
    try {
      checkIdentity(identityOf(fields), path, groups, now)
      return null
    } catch (error) {
      return error as { status: number; type: string; message: string; param: string | null }
    }
  }

  it('that is blocked, or whose team is, gets 401', () => {
    expect(check({ blocked: true })).toMatchObject({
      status: 401,
      type: 'auth_error',
      message: "Authentication Error, Key is blocked. Update via `/key/unblock` if you're admin.",
    })
    expect(check({ teamBlocked: true, teamId: 't1' })?.message).toMatch(
      /^Authentication Error, Team=t1 is blocked. Update via `\/team\/unblock`/,
    )
  })

  it('expires at its time, not before', () => {
    expect(check({ expires: now + 1 })).toBeNull()
    expect(check({ expires: now })).toMatchObject({ status: 401, type: 'expired_key', param: 'sk-...0001' })
    expect(check({ expires: now })?.message).toMatch(/^Authentication Error - Expired Key. Key Expiry time .* and current time /)
  })

  it.each([
    [['/v1/chat/completions'], true],
    [['/v1/*'], true],
    [['/v1/chat'], true],
    [['/v1/cha'], false],
    [['llm_api_routes'], true],
    [['openai_routes'], true],
    [[], true],
    [['/v1/embeddings'], false],
    [['info_routes'], false],
    [['management_routes', '/key/*'], false],
  ])('with allowed routes %j may call chat completions: %s', (allowedRoutes, allowed) => {
    const error = check({ allowedRoutes })
    if (allowed) {
      expect(error).toBeNull()
      return
    }
    expect(error).toMatchObject({ status: 403, type: 'auth_error' })
    expect(error?.message).toMatch(
      /^Virtual key is not allowed to call this route. Only allowed to call routes: \['.*Tried to call route: \/v1\/chat/,
    )
  })

  it('of an admin viewer may list models but not call them', () => {
    expect(check({ role: 'proxy_admin_viewer' })).toMatchObject({ status: 403 })
    expect(check({ role: 'proxy_admin_viewer' }, '/v1/models', MODELS_GROUPS)).toBeNull()
  })
})
