import { describe, expect, it } from 'vitest'
import { canPassThrough, PROVIDERS, providerRow } from './providers.ts'

describe('the provider table', () => {
  it('has a base URL or says the operator must give one, always without a trailing slash', () => {
    for (const [name, row] of Object.entries(PROVIDERS)) {
      if (row.base === null) continue
      expect(() => new URL(row.base as string), name).not.toThrow()
      expect(row.base.endsWith('/'), name).toBe(false)
      expect(row.base.startsWith('https://') || row.keyless === true, `${name} would send a key in the clear`).toBe(true)
    }
  })

  it('gives every provider that needs a key a variable to hold it', () => {
    for (const [name, row] of Object.entries(PROVIDERS)) {
      if (row.keyless !== true) expect(row.keys.length, name).toBeGreaterThan(0)
      for (const variable of [...row.keys, ...(row.bases ?? [])]) expect(variable, name).toMatch(/^[A-Z][A-Z0-9_]*$/)
    }
  })

  it('offers each key variable once, so that one found in the environment names one provider', () => {
    const owners = new Map<string, string>()
    for (const [name, row] of Object.entries(PROVIDERS)) {
      if (row.sharesKey) continue
      for (const variable of row.keys) {
        expect(owners.get(variable), `${variable}: ${name}`).toBeUndefined()
        owners.set(variable, name)
      }
    }
    expect(owners.get('OPENAI_API_KEY')).toBe('openai')
  })

  it('names headers in lower case and paths with a slash', () => {
    for (const [name, row] of Object.entries(PROVIDERS)) {
      for (const header of Object.keys(row.headers ?? {})) expect(header, name).toBe(header.toLowerCase())
      for (const path of Object.values(row.paths ?? {})) expect(path, name).toMatch(/^\//)
    }
  })

  it('is looked up by name alone, not through what every object inherits', () => {
    expect(providerRow('groq')?.base).toBe('https://api.groq.com/openai/v1')
    expect(providerRow('constructor')).toBeUndefined()
    expect(providerRow('__proto__')).toBeUndefined()
  })

  it('lets the bytes of OpenAI pass, and of nobody whose answers must be mended', () => {
    expect(canPassThrough(PROVIDERS['openai'] as never)).toBe(true)
    for (const name of ['groq', 'together_ai', 'xai', 'mistral', 'anthropic', 'mock']) {
      expect(canPassThrough(PROVIDERS[name] as never), name).toBe(false)
    }
  })
})
