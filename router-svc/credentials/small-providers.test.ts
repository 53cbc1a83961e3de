import { describe, expect, it } from 'vitest'
import type { Deployment } from '../../proto/deployment.ts'
import type { HttpClient, OutgoingRequest } from '../../shared/http/client.ts'
import type { CredentialKind } from '../providers/provider.ts'
import { credentialOf } from './index.ts'
import { createTokens } from './tokens.ts'

const NOW = 1_800_000_000_000

interface Given {
  key?: string
  env?: Record<string, string>
  settings?: Record<string, unknown>
  answer?: unknown
  status?: number
}

/** The credential of a kind, and what was asked of its issuer. */
function made(kind: CredentialKind, { key, env = {}, settings = {}, answer = {}, status = 200 }: Given) {
  const asked: OutgoingRequest[] = []
  const http: HttpClient = {
    send(request, sink) {
      asked.push(request)
      queueMicrotask(() => {
        sink.head(status, {})
        sink.data(Buffer.from(JSON.stringify(answer)))
        sink.end()
      })
      return { pause() {}, resume() {}, abort() {}, sent: true }
    },
    close: async () => {},
  }
  const deployment = { apiKey: null, apiBase: null, model: 'm', settings } as unknown as Deployment
  const open = (sealed: string) => sealed
  const credential = credentialOf(
    deployment,
    { type: 'made', kind },
    { key: key ?? null, open, env, tokens: createTokens({ http }) },
  )
  const headers = async (now = NOW) => {
    if ('problem' in credential) throw new Error(credential.problem)
    return await credential.headers({ method: 'POST', url: 'https://p', headers: {}, body: '' }, now)
  }
  return { credential, asked, headers }
}

describe('the credential of Bedrock’s OpenAI endpoint', () => {
  const env = { AWS_REGION: 'eu-west-1' }

  it('is the key as bearer at the region’s host, or a signature for that service', async () => {
    const keyed = made('aws-mantle', { key: 'k', env })
    expect(keyed.credential).toMatchObject({ base: 'https://bedrock-mantle.eu-west-1.api.aws/v1' })
    expect(await keyed.headers()).toEqual({ authorization: 'Bearer k' })
    const signed = made('aws-mantle', { env: { ...env, AWS_ACCESS_KEY_ID: 'AKID', AWS_SECRET_ACCESS_KEY: 's' } })
    expect((await signed.headers())['authorization']).toContain('/eu-west-1/bedrock-mantle/aws4_request')
    expect(made('aws-mantle', { key: 'k' }).credential).toEqual({ problem: expect.stringContaining('AWS_REGION') })
  })
})

describe('the credential of Predibase', () => {
  it('has the tenant in its address', () => {
    const { credential } = made('predibase', { key: 'k', env: { PREDIBASE_TENANT_ID: 't' } })
    const host = 'https://serving.app.predibase.com/t/deployments/v2/llms'
    expect(credential).toMatchObject({ base: host })
    const over = 'baseOver' in credential ? credential.baseOver : undefined
    expect([over?.('https://own'), over?.(host)]).toEqual(['https://own/t/deployments/v2/llms', host])
    expect(
      made('predibase', { key: 'k', settings: { tenant_id: 'own' }, env: { PREDIBASE_TENANT_ID: 't' } }).credential,
    ).toMatchObject({
      base: 'https://serving.app.predibase.com/own/deployments/v2/llms',
    })
  })

  it('says what is missing', () => {
    expect(made('predibase', { key: 'k' }).credential).toEqual({ problem: expect.stringContaining('PREDIBASE_TENANT_ID') })
    expect(made('predibase', {}).credential).toEqual({ problem: expect.stringContaining('PREDIBASE_API_KEY') })
  })
})

describe('the credential of GitHub Copilot', () => {
  it('exchanges the token of GitHub once for as long as it holds', async () => {
    const answer = { token: 'tid=1;exp=2', expires_at: NOW / 1000 + 1500, endpoints: { api: 'https://api.x' } }
    const { headers, asked } = made('github-copilot', { key: 'gho_1', answer })
    expect(await headers()).toEqual({ authorization: 'Bearer tid=1;exp=2' })
    expect(await headers(NOW + 60_000)).toEqual({ authorization: 'Bearer tid=1;exp=2' })
    expect(asked).toHaveLength(1)
    expect(asked[0]).toMatchObject({
      method: 'GET',
      url: 'https://api.github.com/copilot_internal/v2/token',
      headers: { authorization: 'token gho_1', 'editor-version': expect.any(String) },
    })
    await headers(NOW + 1_490_000)
    expect(asked).toHaveLength(2)
  })

  it('takes a token of Copilot as it is', async () => {
    const { headers, asked } = made('github-copilot', { key: 'tid=1;exp=2' })
    expect(await headers()).toEqual({ authorization: 'Bearer tid=1;exp=2' })
    expect(asked).toEqual([])
  })

  it('tells who has no token that nobody logs in here, and never tells a token', async () => {
    expect(made('github-copilot', {}).credential).toEqual({ problem: expect.stringMatching(/device login is interactive/) })
    const { headers } = made('github-copilot', { key: 'gho_secret', status: 403, answer: { message: 'gho_secret' } })
    await expect(headers()).rejects.toMatchObject({
      code: 'provider_authentication',
      message: expect.not.stringContaining('gho_secret'),
    })
  })
})

describe('the credential of GigaChat', () => {
  it('exchanges the authorization key, and reads both ways to tell the end', async () => {
    const { headers, asked } = made('gigachat', {
      key: 'a2V5',
      env: { GIGACHAT_SCOPE: 'GIGACHAT_API_CORP' },
      answer: { access_token: 't', expires_at: NOW + 1_800_000 },
    })
    expect(await headers()).toEqual({ authorization: 'Bearer t' })
    expect(await headers(NOW + 1_000_000)).toEqual({ authorization: 'Bearer t' })
    expect(asked).toHaveLength(1)
    expect(asked[0]).toMatchObject({
      method: 'POST',
      url: 'https://ngw.devices.sberbank.ru:9443/api/v2/oauth',
      body: 'scope=GIGACHAT_API_CORP',
      headers: {
        authorization: 'Basic a2V5',
        rquid: expect.stringMatching(/^[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-8[\da-f]{3}-[\da-f]{12}$/),
      },
    })
    expect(made('gigachat', {}).credential).toEqual({ problem: expect.stringContaining('GIGACHAT_CREDENTIALS') })
  })
})

describe('the credential of SAP', () => {
  it('exchanges the service key and names the resource group', async () => {
    const key = JSON.stringify({ clientid: 'c', clientsecret: 's', url: 'https://auth.test/' })
    const answer = { access_token: 't', expires_in: 3600 }
    const { headers, asked } = made('sap', { key, answer })
    expect(await headers()).toEqual({ authorization: 'Bearer t', 'ai-resource-group': 'default' })
    expect(asked[0]).toMatchObject({ url: 'https://auth.test/oauth/token' })
    const own = made('sap', { key, answer, env: { AICORE_RESOURCE_GROUP: 'mine' } })
    expect(await own.headers()).toMatchObject({ 'ai-resource-group': 'mine' })
  })

  it.each([[undefined], ['no JSON'], ['{"clientid":"c"}'], ['null']])('says that %s is no service key', (key) => {
    expect(made('sap', key === undefined ? {} : { key }).credential).toEqual({
      problem: expect.stringContaining('AICORE_SERVICE_KEY'),
    })
  })
})
