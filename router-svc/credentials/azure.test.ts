import { describe, expect, it } from 'vitest'
import type { Deployment } from '../../proto/deployment.ts'
import { azureCredential } from './azure.ts'

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
})
