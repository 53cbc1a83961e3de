import { describe, expect, it } from 'vitest'
import type { Deployment } from '../../proto/deployment.ts'
import { azureCredential } from './azure.ts'
import type { Grant, Tokens } from './tokens.ts'

function headers(
  given: { apiKey?: string; token?: string; key?: string; env?: Record<string, string> },
  url = 'https://res.openai.azure.com/openai/v1/chat/completions',
): unknown {
  const settings = given.token === undefined ? {} : { azure_ad_token: given.token }
  const deployment = { apiKey: given.apiKey ?? null, settings } as unknown as Deployment
  const open = (sealed: string) => sealed.replace('sealed:', '')
  const made = azureCredential(deployment, { key: given.key ?? given.apiKey ?? null, open, env: given.env ?? {} })
  return 'problem' in made ? made.problem : made.headers({ method: 'POST', url, headers: {}, body: '' }, 0)
}

describe('the credential of Azure', () => {
  it('is a key in its own header, and as a bearer token where a serverless endpoint is called', () => {
    expect(headers({ apiKey: 'k' })).toEqual({ 'api-key': 'k' })
    expect(headers({ key: 'k' }, 'https://res.services.ai.azure.com/models/chat/completions')).toEqual({ 'api-key': 'k' })
    expect(headers({ key: 'k' }, 'https://llama.eastus.models.ai.azure.com/v1/chat/completions')).toEqual({
      authorization: 'Bearer k',
    })
  })

  it('is the token a deployment names, opened, before a key of the environment but not before one of its own', () => {
    expect(headers({ token: 'sealed:t' })).toEqual({ authorization: 'Bearer t' })
    expect(headers({ token: 'sealed:Bearer t', key: 'k' })).toEqual({ authorization: 'Bearer t' })
    expect(headers({ token: 'sealed:t', apiKey: 'k' })).toEqual({ 'api-key': 'k' })
  })

  it('is the token of the environment where there is nothing else', () => {
    expect(headers({ env: { AZURE_AD_TOKEN: 't' } })).toEqual({ authorization: 'Bearer t' })
    expect(headers({ key: 'k', env: { AZURE_AD_TOKEN: 't' } })).toEqual({ 'api-key': 'k' })
    expect(headers({ env: { AZURE_AD_TOKEN: '' } })).toMatch(/^no credential is configured/)
  })

  const application = { tenant_id: 'tenant', client_id: 'client', client_secret: 'sealed:secret' }
  const fromEnv = { AZURE_TENANT_ID: 'tenant', AZURE_CLIENT_ID: 'client', AZURE_CLIENT_SECRET: 'secret' }

  it('is a token fetched for an application, of the deployment or of the environment', async () => {
    const form = {
      grant_type: 'client_credentials',
      client_id: 'client',
      client_secret: 'secret',
      scope: 'https://cognitiveservices.azure.com/.default',
    }
    const url = 'https://login.microsoftonline.com/tenant/oauth2/v2.0/token'
    const asked: unknown[] = []
    const tokens: Tokens = {
      of(grant) {
        asked.push(grant.request(0))
        return (now) => (now === 0 ? Promise.resolve('fetched') : 'held')
      },
      kept: () => {
        throw new Error('only tokens of a grant are asked for')
      },
    }
    const { client_secret: _, ...part } = application
    for (const [settings, env, key] of [
      [application, {}, 'k'],
      [{}, fromEnv, null],
      [part, { AZURE_CLIENT_SECRET: 'secret' }, 'k'],
    ] as const) {
      const deployment = { apiKey: null, settings } as unknown as Deployment
      const made = azureCredential(deployment, { key, open: (sealed) => sealed.replace('sealed:', ''), env, tokens })
      if ('problem' in made) throw new Error(made.problem)
      expect(asked.pop()).toEqual({ url, form })
      const request = { method: 'POST', url: 'https://res.openai.azure.com/', headers: {}, body: '' } as const
      expect(await made.headers(request, 0)).toEqual({ authorization: 'Bearer fetched' })
      expect(made.headers(request, 1)).toEqual({ authorization: 'Bearer held' })
    }
  })

  it('asks another authority and for another scope where that is said', () => {
    const asked: Grant[] = []
    const tokens: Tokens = {
      of(grant) {
        asked.push(grant)
        return () => 't'
      },
      kept: () => {
        throw new Error('only tokens of a grant are asked for')
      },
    }
    const deployment = { apiKey: null, settings: { azure_scope: 'https://ai.azure.com/.default' } } as unknown as Deployment
    const env = { ...fromEnv, AZURE_AUTHORITY_HOST: 'https://login.microsoftonline.us/' }
    azureCredential(deployment, { key: null, open: (text) => text, env, tokens })
    expect(asked[0]?.request(0)).toMatchObject({
      url: 'https://login.microsoftonline.us/tenant/oauth2/v2.0/token',
      form: { scope: 'https://ai.azure.com/.default' },
    })
  })

  it('says what is missing of an application, and what is not served', () => {
    const problem = (settings: object, env = {}) => {
      const deployment = { apiKey: null, settings } as unknown as Deployment
      const made = azureCredential(deployment, { key: 'k', open: (text) => text, env })
      return 'problem' in made ? made.problem : null
    }
    expect(problem({ client_id: 'x' })).toBe('tenant_id, client_id and client_secret belong together, and one is missing')
    expect(problem({ azure_ad_token: 'oidc/google/x' })).toMatch(/oidc/)
    expect(problem(application)).toBe('tokens of Entra ID cannot be fetched here')
  })
})
