import { verify } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { Deployment } from '../../proto/deployment.ts'
import { GatewayError } from '../../shared/errors.ts'
import { createHttpClient } from '../../shared/http/client.ts'
import type { Credential } from './credential.ts'
import { type Answer, type Asked, serverOf, serviceAccountFile } from './google.testkit.ts'
import { googleCredential } from './google.ts'
import { createTokens } from './tokens.ts'

const closing: (() => unknown)[] = []
afterEach(async () => {
  vi.unstubAllEnvs()
  for (const close of closing.splice(0)) await close()
})

interface Given {
  settings?: Record<string, unknown>
  apiKey?: string
  key?: string
  env?: Record<string, string>
  model?: string
  apiBase?: string
  fromDatabase?: boolean
}

function maker() {
  const http = createHttpClient()
  closing.push(() => http.close())
  const tokens = createTokens({ http })
  return ({ settings = {}, apiKey, key, env = {}, model = 'gemini-2.5-pro', apiBase, fromDatabase = false }: Given) =>
    googleCredential(
      { settings, apiKey: apiKey ?? null, model, apiBase: apiBase ?? null, fromDatabase } as unknown as Deployment,
      {
        key: key ?? apiKey ?? null,
        open: (sealed) => sealed.replace('sealed:', ''),
        env,
        tokens,
      },
    )
}

function made(given: Given, make = maker()): Credential {
  const credential = make(given)
  if ('problem' in credential) throw new Error(credential.problem)
  return credential
}

function problem(given: Given): string {
  const credential = maker()(given)
  return 'problem' in credential ? credential.problem : 'none'
}

async function headers(credential: Credential, now = Date.now()): Promise<Record<string, string>> {
  return credential.headers({ method: 'POST', url: 'https://aiplatform.googleapis.com/', headers: {}, body: '' }, now)
}

async function server(answer: (asked: Asked) => Answer | Promise<Answer>) {
  const started = await serverOf(answer)
  closing.push(started.close)
  return started
}

/** Gives `token-1`, `token-2`, …, each for an hour. */
async function issuer() {
  let given = 0
  return server(() => {
    given += 1
    return { body: JSON.stringify({ access_token: `token-${given}`, expires_in: 3599, token_type: 'Bearer' }) }
  })
}

function fileWith(content: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'google-'))
  closing.push(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, 'credentials.json'), content)
  return join(folder, 'credentials.json')
}

async function failure(waited: Promise<unknown>): Promise<GatewayError> {
  try {
    await waited
  } catch (thrown) {
    if (thrown instanceof GatewayError) return thrown
    throw thrown
  }
  throw new Error('it succeeded')
}

describe('the place of a deployment', () => {
  const settings = { vertex_project: 'p', vertex_credentials: JSON.stringify(serviceAccountFile('http://127.0.0.1:1').json) }

  it('is the host and the path of its location', () => {
    const base = (location?: string, model?: string) =>
      made({
        settings: { ...settings, ...(location === undefined ? {} : { vertex_location: location }) },
        ...(model === undefined ? {} : { model }),
      }).base
    expect(base('europe-west4')).toBe('https://europe-west4-aiplatform.googleapis.com/projects/p/locations/europe-west4')
    expect(base('global')).toBe('https://aiplatform.googleapis.com/projects/p/locations/global')
    expect(base('us')).toBe('https://aiplatform.us.rep.googleapis.com/projects/p/locations/us')
    expect(base('eu')).toBe('https://aiplatform.eu.rep.googleapis.com/projects/p/locations/eu')
    expect(base()).toBe('https://us-central1-aiplatform.googleapis.com/projects/p/locations/us-central1')
    expect(base(undefined, 'gemini-3-pro-preview')).toBe('https://aiplatform.googleapis.com/projects/p/locations/global')
  })

  it('is what the deployment says, then its credential, then the environment', () => {
    const base = (own: Record<string, unknown>, env: Record<string, string> = {}) =>
      made({ settings: { vertex_credentials: settings.vertex_credentials, ...own }, env }).base
    const env = { VERTEXAI_PROJECT: 'env-project', VERTEXAI_LOCATION: 'asia-east1' }
    expect(base({ vertex_ai_project: 'own', vertex_ai_location: 'us-east5' }, env)).toMatch(
      /\/projects\/own\/locations\/us-east5$/,
    )
    expect(base({}, env)).toMatch(/asia-east1.*\/projects\/file-project\/locations\/asia-east1$/)
    const { project_id: _, ...rest } = JSON.parse(settings.vertex_credentials) as Record<string, string>
    expect(base({ vertex_credentials: JSON.stringify(rest) }, env)).toMatch(/\/projects\/env-project\//)
    const shared = { GOOGLE_APPLICATION_CREDENTIALS: fileWith(settings.vertex_credentials) }
    expect(made({ env: shared }).base).toMatch(/\/projects\/file-project\//)
    expect(made({ env: { ...shared, ...env } }).base).toMatch(/\/projects\/env-project\//)
  })

  it('stands behind the base URL of a proxy, unless that holds one', () => {
    const { baseOver } = made({ settings })
    expect(baseOver?.('https://proxy.test/vertex/v1')).toBe('https://proxy.test/vertex/v1/projects/p/locations/us-central1')
    expect(baseOver?.('https://proxy.test/v1/projects/x/locations/y')).toBe('https://proxy.test/v1/projects/x/locations/y')
  })

  it('need not be told where the base URL tells it', () => {
    const { project_id: _, ...json } = serviceAccountFile('http://127.0.0.1:1').json
    const nameless = { vertex_credentials: JSON.stringify(json) }
    expect(problem({ settings: nameless, apiBase: 'https://proxy.test' })).toMatch(/^no Google project/)
    expect(problem({ settings: nameless, apiBase: 'https://proxy.test/v1/projects/x/locations/y' })).toBe('none')
  })

  it('is nothing that could lead to another host', () => {
    expect(problem({ settings: { ...settings, vertex_location: 'evil.test/' } })).toMatch(/not the name of a location/)
    expect(problem({ settings: { ...settings, vertex_project: 'p/../q' } })).toMatch(/not the id of a project/)
    const json = JSON.stringify({ ...JSON.parse(settings.vertex_credentials), project_id: 'a/b' })
    expect(problem({ settings: { vertex_credentials: json } })).toMatch(/no Google project is configured/)
  })
})

describe('an API key', () => {
  it('goes in its own header, without a project to the express mode', async () => {
    const express = made({ key: 'AIzaKey' })
    expect(express.base).toBe('https://aiplatform.googleapis.com')
    expect(await headers(express)).toEqual({ 'x-goog-api-key': 'AIzaKey' })
    const bound = made({ apiKey: 'AIzaKey', settings: { vertex_project: 'p', vertex_location: 'europe-west1' } })
    expect(bound.base).toBe('https://europe-west1-aiplatform.googleapis.com/projects/p/locations/europe-west1')
    expect(await headers(made({ apiKey: 'ya29.token' }))).toEqual({ authorization: 'Bearer ya29.token' })
  })

  it('of the environment gives way to credentials somebody configured for Vertex', async () => {
    const { url } = await issuer()
    const credentials = JSON.stringify(serviceAccountFile(url).json)
    for (const given of [{ settings: { vertex_credentials: credentials } }, { env: { VERTEXAI_CREDENTIALS: credentials } }])
      expect((await headers(made({ ...given, key: 'AIzaKey' })))['authorization']).toMatch(/^Bearer token-\d$/)
  })
})

describe('the token of a service account', () => {
  it('is asked for with what the account signed, wherever the JSON came from', async () => {
    const { asked, url } = await issuer()
    const { json, publicKey } = serviceAccountFile(`${url}/token`)
    const source = JSON.stringify(json)
    const places: Given[] = [
      { settings: { vertex_credentials: source } },
      { settings: { vertex_credentials: `sealed:${source}` } },
      { settings: { vertex_credentials: fileWith(source) } },
      { env: { GOOGLE_APPLICATION_CREDENTIALS: fileWith(source) } },
      // As a container's environment often has it.
      { env: { VERTEXAI_CREDENTIALS: JSON.stringify({ ...json, private_key: json['private_key']?.replaceAll('\n', '\\n') }) } },
    ]
    for (const place of places) expect((await headers(made(place)))['authorization']).toBe(`Bearer token-${asked.length}`)
    expect(asked.map(({ method, path }) => [method, path])).toEqual(places.map(() => ['POST', '/token']))
    for (const { body, headers: sent } of asked) {
      expect(sent['content-type']).toBe('application/x-www-form-urlencoded')
      const form = new URLSearchParams(body)
      expect(form.get('grant_type')).toBe('urn:ietf:params:oauth:grant-type:jwt-bearer')
      const [header, claims, signature] = (form.get('assertion') ?? '').split('.') as [string, string, string]
      expect(verify('RSA-SHA256', Buffer.from(`${header}.${claims}`), publicKey, Buffer.from(signature, 'base64url'))).toBe(true)
      expect(JSON.parse(Buffer.from(header, 'base64url').toString())).toEqual({ alg: 'RS256', typ: 'JWT', kid: 'key-1' })
      const said = JSON.parse(Buffer.from(claims, 'base64url').toString()) as Record<string, number>
      expect(said).toMatchObject({
        iss: json['client_email'],
        aud: `${url}/token`,
        scope: 'https://www.googleapis.com/auth/cloud-platform',
      })
      expect((said['exp'] ?? 0) - (said['iat'] ?? 0)).toBe(3600)
    }
  })

  it('is fetched once for all who wait and for every deployment of the account, and again ahead of its end', async () => {
    const { asked, url } = await issuer()
    const settings = { vertex_credentials: JSON.stringify(serviceAccountFile(url).json) }
    const make = maker()
    const one = made({ settings }, make)
    const other = made({ settings: { ...settings, vertex_location: 'global' } }, make)
    const now = Date.now()
    const all = await Promise.all([one, other, one, other, one].map((credential) => headers(credential, now)))
    expect(new Set(all.map(({ authorization }) => authorization))).toEqual(new Set(['Bearer token-1']))
    expect(await headers(one, now + 3_200_000)).toEqual({ authorization: 'Bearer token-1' })
    expect(asked).toHaveLength(1)
    // Within five minutes of its end it is renewed beside the call that noticed.
    expect(await headers(one, now + 3_400_000)).toEqual({ authorization: 'Bearer token-1' })
    await expect.poll(() => headers(other, now + 3_400_001)).toEqual({ authorization: 'Bearer token-2' })
    expect(asked).toHaveLength(2)
  })

  it('that is refused, or not to be had, is an error without a word of the secret', async () => {
    const answers: Answer[] = [
      { status: 400, body: JSON.stringify({ error: 'invalid_grant', error_description: 'Invalid JWT: robot' }) },
      { status: 503, body: 'down' },
    ]
    const { url } = await server(() => answers.shift() as Answer)
    const { json } = serviceAccountFile(url)
    const credential = made({ settings: { vertex_credentials: JSON.stringify(json) } })
    const refused = await failure(headers(credential))
    expect([refused.code, refused.message]).toEqual([
      'provider_authentication',
      'Google gave no token: HTTP 400 (invalid_grant).',
    ])
    expect((await failure(headers(credential))).code).toBe('provider_unavailable')
  })
})

describe('other credential files', () => {
  it('of a user are exchanged by their refresh token, and their quota project is named', async () => {
    const { asked, url } = await issuer()
    const file = { type: 'authorized_user', client_id: 'c', client_secret: 's&', refresh_token: 'r', quota_project_id: 'payer' }
    const folder = join(fileWith(''), '..')
    writeFileSync(join(folder, 'application_default_credentials.json'), JSON.stringify({ ...file, token_uri: url }))
    const credential = made({ env: { CLOUDSDK_CONFIG: folder, VERTEXAI_PROJECT: 'p' } })
    expect(await headers(credential)).toEqual({ authorization: 'Bearer token-1', 'x-goog-user-project': 'payer' })
    expect(Object.fromEntries(new URLSearchParams(asked[0]?.body))).toEqual({
      grant_type: 'refresh_token',
      client_id: 'c',
      client_secret: 's&',
      refresh_token: 'r',
    })
  })

  it('of a workload of another cloud are exchanged, and a service account stands in where one is named', async () => {
    const { asked, url } = await server(({ path }) => ({
      body: JSON.stringify(
        path === '/sts'
          ? { access_token: 'federated', expires_in: 3600, token_type: 'Bearer', issued_token_type: 'x' }
          : { accessToken: 'impersonated', expireTime: new Date(Date.now() + 3_600_000).toISOString() },
      ),
    }))
    const json = {
      type: 'external_account',
      audience: '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/oidc',
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      token_url: `${url}/sts`,
      credential_source: { file: fileWith('subject-token') },
      service_account_impersonation_url: `${url}/v1/projects/-/serviceAccounts/robot@p.iam.gserviceaccount.com:generateAccessToken`,
    }
    const make = maker()
    const credential = made({ settings: { vertex_credentials: JSON.stringify(json), vertex_project: 'p' } }, make)
    const all = await Promise.all([1, 2, 3].map(() => headers(credential)))
    expect(all).toEqual(all.map(() => ({ authorization: 'Bearer impersonated' })))
    expect(asked.map(({ path }) => path)).toEqual(['/sts', new URL(json.service_account_impersonation_url).pathname])
    expect(new URLSearchParams(asked[0]?.body).get('subject_token')).toBe('subject-token')
    expect(asked[1]?.headers.authorization).toBe('Bearer federated')
  })

  it('that cannot be used say what is wrong, never what they hold', async () => {
    const { json } = serviceAccountFile('http://127.0.0.1:1')
    for (const [credentials, words] of [
      ['{"private_key":"hidden"', 'vertex_credentials does not hold a JSON object'],
      ['["hidden"]', 'vertex_credentials is neither JSON nor the path of a file that can be read'],
      ['/nowhere/hidden.json', 'vertex_credentials is neither JSON nor the path of a file that can be read'],
      [{ type: 'hidden' }, 'vertex_credentials: its type is none of Google’s credentials'],
      [{ ...json, private_key: 'hidden' }, 'vertex_credentials: its private_key cannot be read'],
      [{ ...json, client_email: '' }, 'vertex_credentials: client_email is missing'],
      [{ type: 'authorized_user', client_id: 'hidden', client_secret: 'hidden' }, 'vertex_credentials: refresh_token is missing'],
    ] as const) {
      const given = typeof credentials === 'string' ? credentials : JSON.stringify(credentials)
      expect(problem({ settings: { vertex_credentials: given, vertex_project: 'p' } })).toBe(words.replace('’', "'"))
    }
    expect(problem({ env: { GOOGLE_APPLICATION_CREDENTIALS: '/nowhere' } })).toMatch(/^GOOGLE_APPLICATION_CREDENTIALS is neither/)
  })

  it('of a stored model can make the gateway read no file and ask no address of its choice', () => {
    const { json } = serviceAccountFile('http://127.0.0.1:1')
    const external = { type: 'external_account', token_url: 'http://127.0.0.1:1', credential_source: { file: '/etc/passwd' } }
    const stored = (credentials: string) =>
      problem({ settings: { vertex_credentials: credentials, vertex_project: 'p' }, fromDatabase: true })
    const words = 'vertex_credentials of a stored model must be the JSON of a service account or of a user'
    expect(stored(fileWith(JSON.stringify(json)))).toBe(words)
    expect(stored(JSON.stringify(external))).toBe(words)
    expect(stored(JSON.stringify({ type: 'impersonated_service_account', source_credentials: external }))).toBe(words)
    expect(stored(JSON.stringify(json))).toBe('none')
  })

  it('of a library’s making fail without a word of the secret', async () => {
    const { url } = await server(() => ({
      status: 401,
      body: JSON.stringify({ error: 'invalid_client', error_description: 'secret' }),
    }))
    const json = {
      type: 'external_account',
      audience: '//iam.googleapis.com/x',
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      token_url: url,
      credential_source: { file: fileWith('subject-secret') },
    }
    const error = await failure(headers(made({ settings: { vertex_credentials: JSON.stringify(json), vertex_project: 'p' } })))
    expect([error.code, error.message]).toEqual(['provider_authentication', 'Google gave no token: HTTP 401 (invalid_client).'])
    expect(error.cause).toBeUndefined()
  })
})

describe('the account of the machine', () => {
  it('is asked of its metadata server, once for all, where nothing is configured', async () => {
    const { asked, host } = await server(({ path }) => ({
      headers: { 'metadata-flavor': 'Google' },
      body: path.includes('/token') ? JSON.stringify({ access_token: 'machine', expires_in: 3600, token_type: 'Bearer' }) : '{}',
    }))
    vi.stubEnv('GCE_METADATA_HOST', host)
    const credential = made({ env: { VERTEXAI_PROJECT: 'p' } })
    expect(await Promise.all([headers(credential), headers(credential)])).toEqual([
      { authorization: 'Bearer machine' },
      { authorization: 'Bearer machine' },
    ])
    const tokens = asked.filter(({ path }) => path.includes('/service-accounts/default/token'))
    expect(tokens).toHaveLength(1)
    expect(tokens[0]?.headers['metadata-flavor']).toBe('Google')
    expect(problem({})).toBe('no Google project is configured (vertex_project, VERTEXAI_PROJECT)')
  })
})
