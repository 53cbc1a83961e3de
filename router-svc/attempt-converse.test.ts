import { describe, expect, it } from 'vitest'
import { proved } from './attempt-converse.ts'
import type { Route } from './runtime.ts'

async function headersAt(base: string, url: string): Promise<Record<string, string>> {
  const route = { target: { base }, headers: { authorization: 'Bearer ours' }, credential: null } as unknown as Route
  return (await proved(route, { method: 'GET', url, headers: {}, body: '' }, 0)).headers
}

describe('an address that an answer names', () => {
  it.each([
    ['https://api.bfl.ai/v1', 'https://api.us1.bfl.ai/v1/get_result?id=1'],
    ['https://api.replicate.com/v1', 'https://stream.replicate.com/v1/x'],
    ['https://api.vendor.co.uk', 'https://jobs.vendor.co.uk/1'],
    ['https://one.openai.azure.com', 'https://one.openai.azure.com/x'],
    ['http://127.0.0.1:1/v1', 'http://127.0.0.1:1/jobs'],
  ])('is asked with our key where it is the provider’s own: %s, %s', async (base, url) => {
    expect(await headersAt(base, url)).toEqual({ authorization: 'Bearer ours' })
  })

  it.each([
    ['https://api.bfl.ai/v1', 'https://api.bfl.ai.evil.example/x'],
    ['https://api.vendor.co.uk', 'https://evil.co.uk/x'],
    ['https://one.openai.azure.com', 'https://evil.eastus.cloudapp.azure.com/x'],
    ['https://bedrock-runtime.eu-west-1.amazonaws.com', 'https://evil.s3.amazonaws.com/x'],
    ['https://mine.run.app', 'https://evil.run.app/x'],
  ])('gets no key of ours where it is somebody else’s: %s, %s', async (base, url) => {
    expect(await headersAt(base, url)).toEqual({})
  })

  it.each([
    'http://cdn.example.com/a.png',
    'http://api.vendor.ai/v1/x',
    'https://169.254.169.254/latest/meta-data',
    'https://10.0.0.1/x',
    'https://[::1]/x',
    'https://localhost/x',
    'https://vault.internal/x',
    'file:///etc/passwd',
  ])('fetches nothing that an answer names inside a network or in the clear: %s', async (url) => {
    await expect(headersAt('https://api.vendor.ai/v1', url)).rejects.toMatchObject({ code: 'provider_malformed' })
  })

  it('fetches in the clear from the deployment’s own server alone', async () => {
    expect(await headersAt('http://10.0.0.5:9000/v1', 'http://10.0.0.5:9000/jobs/1')).toMatchObject({
      authorization: expect.any(String),
    })
    expect(await headersAt('https://api.vendor.ai/v1', 'https://cdn.elsewhere.net/a.png')).toEqual({})
  })
})
