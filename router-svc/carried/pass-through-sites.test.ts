import { describe, expect, it } from 'vitest'
import { CARRIED } from '../../proto/carried.ts'
import type { Route } from '../runtime.ts'
import { passedHeaders, restOf, withQuery } from './pass-through-request.ts'
import { SITES } from './pass-through-sites.ts'

function at(base: string, given: string | null = base): Route {
  return { apiBase: base, target: { base }, deployment: { apiBase: given } } as unknown as Route
}

const url = (prefix: string, route: Route, rest: string): string | undefined => SITES[prefix]?.url(route, rest)
const AWS = at('https://bedrock-runtime.eu-west-1.amazonaws.com', null)
const VERTEX = at('https://us-central1-aiplatform.googleapis.com/projects/p/locations/us-central1', null)

describe('where prefixes lead', () => {
  it('is known of every pass-through prefix', () => {
    const rows = CARRIED.filter(({ carrier }) => carrier === 'pass-through')
    expect(rows.map(({ path }) => path.slice(1, -'/{rest}'.length)).sort()).toEqual(Object.keys(SITES).sort())
  })

  it.each([
    ['openai', at('https://api.openai.com/v1'), 'v1/files', 'https://api.openai.com/v1/files'],
    [
      'gemini',
      at('https://generativelanguage.googleapis.com/v1beta'),
      'v1beta/models',
      'https://generativelanguage.googleapis.com/v1beta/models',
    ],
    ['cohere', at('https://api.cohere.com/v2/chat'), 'v2/chat', 'https://api.cohere.com/v2/chat'],
    [
      'azure',
      at('https://r.openai.azure.com/openai/deployments/d?api-version=1'),
      'openai/deployments/d/chat/completions',
      'https://r.openai.azure.com/openai/deployments/d/chat/completions',
    ],
    [
      'azure_ai',
      at('https://r.services.ai.azure.com/models'),
      'models/chat/completions',
      'https://r.services.ai.azure.com/models/chat/completions',
    ],
    ['assemblyai', at('https://llm-gateway.assemblyai.com/v1'), 'v2/transcript', 'https://api.assemblyai.com/v2/transcript'],
    [
      'eu.assemblyai',
      at('https://llm-gateway.assemblyai.com/v1'),
      'v2/transcript',
      'https://api.eu.assemblyai.com/v2/transcript',
    ],
    ['bedrock', AWS, 'model/m/converse', 'https://bedrock-runtime.eu-west-1.amazonaws.com/model/m/converse'],
    [
      'bedrock',
      AWS,
      'knowledgebases/k/retrieve',
      'https://bedrock-agent-runtime.eu-west-1.amazonaws.com/knowledgebases/k/retrieve',
    ],
    [
      'bedrock',
      AWS,
      'model/arn%3Aaws%3Abedrock%3Aus-west-2%3A1%3Ainference-profile%2Fx/converse',
      'https://bedrock-runtime.us-west-2.amazonaws.com/model/arn%3Aaws%3Abedrock%3Aus-west-2%3A1%3Ainference-profile%2Fx/converse',
    ],
    [
      'vertex_ai',
      VERTEX,
      'publishers/google/models/m:generateContent',
      'https://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/us-central1/publishers/google/models/m:generateContent',
    ],
    [
      'vertex_ai',
      VERTEX,
      'v1beta1/projects/q/locations/global/publishers/x',
      'https://aiplatform.googleapis.com/v1beta1/projects/q/locations/global/publishers/x',
    ],
    ['vertex_ai/discovery', VERTEX, 'v1/projects/p/x', 'https://discoveryengine.googleapis.com/v1/projects/p/x'],
  ])('%s', (prefix, route, rest, expected) => {
    expect(url(prefix, route, rest)).toBe(expected)
  })

  it.each(['evil.example%2F', 'evil.example%3F', 'evil.example%23', 'x@evil.example%2F', 'us-central1.evil.example%5C', '%zz'])(
    'sends no token to a host that the location %s of a path would make',
    (location) => {
      expect(() => url('vertex_ai', VERTEX, `v1/projects/p/locations/${location}/publishers/google/models/m:predict`)).toThrow(
        'The path names no location',
      )
    },
  )

  it('prefers the place a path names', () => {
    const fit = SITES['vertex_ai']?.fit
    expect(fit?.(VERTEX, 'v1/projects/p/locations/us-central1/x')).toBe(2)
    expect(fit?.(VERTEX, 'v1/projects/p/locations/europe-west4/x')).toBe(1)
    expect(fit?.(VERTEX, 'v1/projects/q/locations/us-central1/x')).toBe(0)
  })
})

describe('a request that is passed on', () => {
  it('keeps the client’s credentials and signatures back, unless they are meant for the provider', () => {
    const headers = {
      authorization: 'a',
      'x-amz-date': 'd',
      'amz-sdk-request': 'r',
      'x-litellm-tags': 't',
      'anthropic-beta': 'b',
      cookie: 'c',
    }
    expect(passedHeaders({ headers })).toEqual({ 'anthropic-beta': 'b' })
    expect(Object.keys(passedHeaders({ headers, ownCredentials: true }))).toEqual([
      'authorization',
      'x-amz-date',
      'amz-sdk-request',
      'anthropic-beta',
    ])
  })

  it('leads nowhere but below its prefix', () => {
    const rest = (path: string) => restOf({ path, pattern: '/openai/{rest}' })
    expect(rest('/openai/v1/files/a%2Fb')).toBe('v1/files/a%2Fb')
    expect(rest('/openai/v1/a..b/.c')).toBe('v1/a..b/.c')
    for (const path of ['/openai/../x', '/openai/v1/%2e%2E/x', '/openai/..', '/openai/v1/..%2fx', '/openai/v1\\..\\x'])
      expect(() => rest(path), path).toThrow(/may not hold/)
  })

  it('has one spelling of its path', () => {
    const rest = (path: string) => restOf({ path, pattern: '/gemini/{rest}' })
    expect(rest('/gemini/v1beta/%6dodel%73/gemini%2D2%2E5:generateContent')).toBe('v1beta/models/gemini-2.5:generateContent')
    expect(rest('/gemini/a%2Fb%20c%3A%40')).toBe('a%2Fb%20c%3A%40')
    for (const path of ['/gemini/v1beta\\models\\m:x', '/gemini/v1beta/models/m:x#/models/n', '/gemini/..;/x'])
      expect(() => rest(path), path).toThrow(/may not hold/)
  })

  it('joins its query to one that is there', () => {
    expect(withQuery('http://a/b?c=1', 'd=2')).toBe('http://a/b?c=1&d=2')
    expect(withQuery('http://a/b', '')).toBe('http://a/b')
  })
})
