import { describe, expect, it } from 'vitest'
import { objectUrl, servesObjects } from './object-apis.ts'
import type { Target } from './provider.ts'

const target = (provider: string, base: string, apiVersion: string | null = null) => ({ provider, base, apiVersion }) as Target

describe('objectUrl', () => {
  it.each([
    ['openai', 'https://api.openai.com/v1', null, 'https://api.openai.com/v1/files/f'],
    ['openai', 'http://host/proxy/v1/', null, 'http://host/proxy/v1/files/f'],
    ['azure', 'https://x.openai.azure.com', null, 'https://x.openai.azure.com/openai/files/f?api-version=2024-10-21'],
    [
      'azure',
      'https://x.openai.azure.com',
      '2025-01-01-preview',
      'https://x.openai.azure.com/openai/files/f?api-version=2025-01-01-preview',
    ],
    [
      'azure',
      'https://x.openai.azure.com/openai/deployments/gpt',
      '2024-10-21',
      'https://x.openai.azure.com/openai/files/f?api-version=2024-10-21',
    ],
    ['azure', 'https://x.openai.azure.com/openai/v1', '2024-10-21', 'https://x.openai.azure.com/openai/v1/files/f'],
    ['azure', 'https://x.openai.azure.com', 'preview', 'https://x.openai.azure.com/openai/v1/files/f?api-version=preview'],
  ])('of %s at %s (%s) is %s', (provider, base, version, url) => {
    expect(objectUrl(target(provider, base, version), '/files/f').href).toBe(url)
  })
})

describe('servesObjects', () => {
  it('knows what is of OpenAI’s form and what is not', () => {
    expect(servesObjects('azure', 'assistants')).toBe(true)
    expect(servesObjects('groq', 'batches')).toBe(true)
    expect(servesObjects('mistral', 'batches')).toBe(false)
    expect(servesObjects('gemini', 'files')).toBe(false)
    expect(servesObjects('toString', 'files')).toBe(false)
  })
})
