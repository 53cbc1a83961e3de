import { describe, expect, it } from 'vitest'
import { targetOf } from '../config/target.ts'
import { createCatalog } from './catalog.ts'
import { PROVIDERS } from './providers.ts'
import { UNAVAILABLE, unavailable } from './unavailable.ts'

describe('providers that cannot be called', () => {
  it('are in no table twice', () => {
    for (const name of Object.keys(UNAVAILABLE)) expect(Object.hasOwn(PROVIDERS, name), name).toBe(false)
  })

  it('are told with the date their service ended and what to use instead', () => {
    expect(unavailable('lambda_ai')).toContain('2025-09-25')
    expect(unavailable('palm')).toMatch(/2024-10.*gemini/)
    expect(unavailable('custom')).toMatch(/Python.*custom_openai/)
    expect(unavailable('openai')).toBeNull()
    expect(unavailable('constructor')).toBeNull()
  })

  it('are a problem of the configuration that names one', () => {
    const catalog = createCatalog()
    const target = targetOf('anyscale/mistral', null, catalog)
    expect(target).toMatchObject({ kind: 'unknown', problem: expect.stringMatching(/2024-08-01.*custom_openai/) })
    expect(targetOf('some-model', 'github', catalog)).toMatchObject({ problem: expect.stringContaining('2026-07-30') })
  })
})
