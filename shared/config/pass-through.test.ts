import { describe, expect, it } from 'vitest'
import { check } from '../schema.ts'
import type { Findings } from './inspect.ts'
import { builtIn, inspectPassThrough, passThroughEndpoint, passThroughOf } from './pass-through.ts'

const sealer = { seal: (text: string) => `sealed(${text})` }

function built(written: Record<string, unknown>) {
  const checked = check(passThroughEndpoint, { path: '/own', target: 'https://target.example/v1', ...written })
  if (!checked.ok) throw new Error(checked.problems.map(({ message }) => message).join())
  return passThroughOf({ pass_through_endpoints: [checked.value] }, sealer).configuredEndpoints?.[0]
}

function problems(...paths: string[]): string[] {
  const findings: Findings = { problems: [], warnings: [], notes: [] }
  inspectPassThrough(findings, { general_settings: { pass_through_endpoints: paths.map((path) => ({ path })) } })
  return findings.problems.map(({ message }) => message)
}

describe('a configured endpoint', () => {
  it('has its headers sealed, and Langfuse’s keys made one', () => {
    const endpoint = built({
      headers: { 'X-Key': 'k', LANGFUSE_PUBLIC_KEY: 'p', LANGFUSE_SECRET_KEY: 's' },
      cost_per_request: '0.5',
    })
    expect(endpoint?.headers).toEqual({
      'x-key': 'sealed(k)',
      authorization: `sealed(Basic ${Buffer.from('p:s').toString('base64')})`,
    })
    expect(endpoint).toMatchObject({ cost: 500_000_000, auth: false, subpaths: false, methods: null })
  })

  it('says where its callers put their keys', () => {
    expect(built({ headers: { litellm_user_api_key: 'X-Their-Key' } })).toMatchObject({ keyHeader: 'x-their-key', headers: {} })
    expect(built({ custom_auth_parser: 'langfuse', methods: ['post'] })).toMatchObject({ keyIn: 'basic', methods: ['POST'] })
  })

  it('has a target on a server and a path below the root', () => {
    expect(() => built({ target: 'file:///etc/passwd' })).toThrow(/address of a server/)
    expect(() => built({ path: 'own' })).toThrow(/begins with a slash/)
    expect(() => built({ path: '/' })).toThrow(/begins with a slash/)
  })
})

describe('the path of a configured endpoint', () => {
  it.each([
    ['/v1/rerank', '/v1/rerank'],
    ['/rerank', '/rerank'],
    ['/openai/x', '/openai/{rest}'],
    ['/v1/files/abc', '/v1/files/{id}'],
    ['/key/generate', '/key'],
    ['/health/mine', '/health'],
    ['/v1/models/x', '/v1/models'],
  ])('%s is in the way of %s', (path, other) => {
    expect(builtIn(path)).toBe(other)
    expect(problems(path)).toEqual([`${path} is in the way of ${other}, which the gateway serves itself`])
  })

  it('may be any other, once', () => {
    expect(problems('/own', '/v1/own', '/bria/tools')).toEqual([])
    expect(problems('/own', '/own')).toEqual(['/own is the path of pass_through_endpoints[0], too'])
  })
})
