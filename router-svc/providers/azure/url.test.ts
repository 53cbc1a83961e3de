import { describe, expect, it } from 'vitest'
import { PLAIN_TARGET } from '../plain-target.ts'
import type { Target } from '../provider.ts'
import { foundryAddress, openaiAddress, responsesUrl } from './url.ts'

const CHAT = '/chat/completions'
const RESOURCE = 'https://res.openai.azure.com'
const FOUNDRY = 'https://res.services.ai.azure.com'

function target(base: string, apiVersion: string | null = null, model = 'dep'): Target {
  return {
    ...PLAIN_TARGET,
    provider: 'azure',
    model,
    base,
    apiVersion,
  }
}

describe('the address of an Azure OpenAI deployment', () => {
  const at = (base: string, version: string | null = null, route = CHAT, model = 'dep') =>
    openaiAddress(target(base, version, model), route)

  it('is made from the resource, the deployment, the mode and the version', () => {
    expect(at(RESOURCE, '2024-12-01-preview')).toEqual({
      url: `${RESOURCE}/openai/deployments/dep/chat/completions?api-version=2024-12-01-preview`,
      dated: '2024-12-01-preview',
    })
    expect(at(`${RESOURCE}/openai`, '2024-10-21', '/embeddings').url).toBe(
      `${RESOURCE}/openai/deployments/dep/embeddings?api-version=2024-10-21`,
    )
    expect(at('https://proxy.example.test/team/azure', null, '/completions').url).toBe(
      'https://proxy.example.test/team/azure/openai/deployments/dep/completions?api-version=2024-10-21',
    )
  })

  it('takes the last stable version where none is given', () => {
    expect(at(RESOURCE).dated).toBe('2024-10-21')
  })

  it('escapes what a deployment name may not bring into a path', () => {
    expect(at(RESOURCE, null, CHAT, 'a b/../c?x').url).toContain('/deployments/a%20b%2F..%2Fc%3Fx/chat/completions?')
  })

  it('keeps what of it the base already says', () => {
    expect(at(`${RESOURCE}/openai/deployments/other`, '2024-10-21').url).toBe(
      `${RESOURCE}/openai/deployments/other/chat/completions?api-version=2024-10-21`,
    )
    const whole = `${RESOURCE}/openai/deployments/other/chat/completions?api-version=2024-08-01-preview`
    expect(at(whole, '2024-02-01')).toEqual({ url: whole, dated: '2024-08-01-preview' })
    expect(at(whole, null, '/embeddings').url).toBe(
      `${RESOURCE}/openai/deployments/other/embeddings?api-version=2024-08-01-preview`,
    )
    expect(at(whole, null, '/completions').url).toBe(
      `${RESOURCE}/openai/deployments/other/completions?api-version=2024-08-01-preview`,
    )
  })

  it('has no date under /openai/v1, where a dated version would be refused', () => {
    expect(at(`${RESOURCE}/openai/v1`, '2024-10-21')).toEqual({ url: `${RESOURCE}/openai/v1/chat/completions`, dated: null })
    expect(at(`${RESOURCE}/openai/v1/chat/completions`).url).toBe(`${RESOURCE}/openai/v1/chat/completions`)
    expect(at(`${RESOURCE}/openai/v1`, 'preview').url).toBe(`${RESOURCE}/openai/v1/chat/completions?api-version=preview`)
  })

  it('is the undated one when the version says so', () => {
    expect(at(RESOURCE, 'v1').url).toBe(`${RESOURCE}/openai/v1/chat/completions`)
    expect(at(`${RESOURCE}/openai`, 'latest', '/embeddings').url).toBe(`${RESOURCE}/openai/v1/embeddings?api-version=preview`)
  })
})

describe('the address of a Foundry model', () => {
  const at = (base: string, version: string | null = null, route = CHAT) => foundryAddress(target(base, version), route).url

  it('is the route for all models of a Foundry resource, which knows one version', () => {
    const models = `${FOUNDRY}/models/chat/completions?api-version=2024-05-01-preview`
    expect(at(FOUNDRY)).toBe(models)
    expect(at(`${FOUNDRY}/models`)).toBe(models)
    expect(at(`${FOUNDRY}/models/chat/completions`)).toBe(models)
    expect(at(models)).toBe(models)
    expect(at(FOUNDRY, '2025-01-01', '/embeddings')).toBe(`${FOUNDRY}/models/embeddings?api-version=2025-01-01`)
  })

  it('is under /v1 of a serverless endpoint, without a version', () => {
    const host = 'https://mistral.eastus2.models.ai.azure.com'
    for (const base of [host, `${host}/v1`, `${host}/v1/chat/completions`]) expect(at(base)).toBe(`${host}/v1/chat/completions`)
    expect(at('https://proxy.example.test/llama')).toBe('https://proxy.example.test/llama/chat/completions')
  })

  it('is Azure OpenAI’s where the base says so', () => {
    expect(at(`${FOUNDRY}/openai/v1`)).toBe(`${FOUNDRY}/openai/v1/chat/completions`)
    expect(at(FOUNDRY, 'v1')).toBe(`${FOUNDRY}/openai/v1/chat/completions`)
    expect(at(RESOURCE)).toBe(`${RESOURCE}/openai/deployments/dep/chat/completions?api-version=2024-10-21`)
  })
})

describe('the address of the Responses API', () => {
  const at = (base: string, version: string | null = null) => responsesUrl(target(base, version))
  const v1 = `${RESOURCE}/openai/v1/responses`

  it('is beside the deployments, dated where the date knows it', () => {
    expect(at(RESOURCE, '2025-04-01-preview')).toBe(`${RESOURCE}/openai/responses?api-version=2025-04-01-preview`)
    expect(at(`${RESOURCE}/openai/deployments/dep/chat/completions?api-version=2025-04-01-preview`)).toBe(
      `${RESOURCE}/openai/responses?api-version=2025-04-01-preview`,
    )
  })

  it('is the undated one where no date is given, or one from before it was', () => {
    for (const version of [null, 'v1', '2024-10-21', '2025-02-01-preview']) expect(at(RESOURCE, version)).toBe(v1)
    for (const base of [`${RESOURCE}/openai`, `${RESOURCE}/openai/v1`, `${RESOURCE}/openai/v1/responses`])
      expect(at(base)).toBe(v1)
    expect(at(`${RESOURCE}/openai/v1`, '2025-04-01-preview')).toBe(v1)
    expect(at(RESOURCE, 'preview')).toBe(`${v1}?api-version=preview`)
    expect(at(`${FOUNDRY}/models`)).toBe(`${FOUNDRY}/openai/v1/responses`)
  })

  it('keeps the path of a proxy in front of it', () => {
    expect(at('https://proxy.example.test/azure/openai/v1')).toBe('https://proxy.example.test/azure/openai/v1/responses')
    expect(at('https://proxy.example.test/azure')).toBe('https://proxy.example.test/azure/openai/v1/responses')
  })
})
