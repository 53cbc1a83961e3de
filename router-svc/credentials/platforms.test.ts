import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Deployment } from '../../proto/deployment.ts'
import { createHttpClient, type HttpClient } from '../../shared/http/client.ts'
import type { UpstreamRequest } from '../providers/provider.ts'
import { cloudflareCredential } from './cloudflare.ts'
import type { Credential } from './credential.ts'
import { databricksCredential } from './databricks.ts'
import type { CredentialMaker } from './index.ts'
import { snowflakeCredential } from './snowflake.ts'
import { createTokens, type Tokens } from './tokens.ts'
import { watsonxCredential } from './watsonx.ts'

const REQUEST: UpstreamRequest = { method: 'POST', url: 'https://x.test/', headers: {}, body: '' }

interface Given {
  apiKey?: string
  apiBase?: string | null
  region?: string
  settings?: Record<string, unknown>
  extraHeaders?: Record<string, string>
  /** Of the environment, as the runtime finds it. */
  key?: string
  env?: Record<string, string>
  tokens?: Tokens
}

function make(maker: CredentialMaker, given: Given): Credential | { problem: string } {
  const { apiKey = null, apiBase = 'https://given.test', settings = {}, extraHeaders = {}, region } = given
  const deployment = {
    apiKey,
    apiBase,
    settings,
    extraHeaders,
    ...(region === undefined ? {} : { region }),
  } as unknown as Deployment
  const key = apiKey ?? given.key ?? null
  return maker(deployment, { key, open: (sealed) => sealed.replace('sealed:', ''), env: given.env ?? {}, tokens: given.tokens })
}

function made(maker: CredentialMaker, given: Given): Credential {
  const credential = make(maker, given)
  if ('problem' in credential) throw new Error(credential.problem)
  return credential
}

function problem(maker: CredentialMaker, given: Given): string {
  const credential = make(maker, given)
  return 'problem' in credential ? credential.problem : ''
}

/** A token service on loopback. */
let server: Server
let http: HttpClient
let tokens: Tokens
let origin: string
let asked: { path: string; authorization: string | undefined; form: string }[]
let answer: { status: number; body: object }

beforeEach(async () => {
  asked = []
  answer = { status: 200, body: { access_token: 'fetched', expires_in: 3600, token_type: 'Bearer' } }
  server = createServer((request, response) => {
    let form = ''
    request.on('data', (piece) => {
      form += piece
    })
    request.on('end', () => {
      asked.push({ path: request.url ?? '', authorization: request.headers.authorization, form })
      response.writeHead(answer.status, { 'content-type': 'application/json' })
      response.end(JSON.stringify(answer.body))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  http = createHttpClient()
  tokens = createTokens({ http })
})

afterEach(async () => {
  await http.close()
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})

describe('the credential of watsonx.ai', () => {
  const env = () => ({ WATSONX_IAM_URL: `${origin}/identity/token` })

  it('is a token of IBM Cloud got for the key, once for all who wait, and kept', async () => {
    const one = made(watsonxCredential, { apiKey: 'secret&', env: env(), tokens })
    const two = made(watsonxCredential, { key: 'secret&', env: env(), tokens })
    expect(await Promise.all([one.headers(REQUEST, 0), two.headers(REQUEST, 0)])).toEqual([
      { authorization: 'Bearer fetched' },
      { authorization: 'Bearer fetched' },
    ])
    expect(asked).toEqual([
      {
        path: '/identity/token',
        authorization: undefined,
        form: 'grant_type=urn%3Aibm%3Aparams%3Aoauth%3Agrant-type%3Aapikey&apikey=secret%26',
      },
    ])
    expect(one.headers(REQUEST, 1_000_000)).toEqual({ authorization: 'Bearer fetched' })
  })

  it('that IBM Cloud refuses says by which code, and nothing of the key', async () => {
    answer = { status: 400, body: { errorCode: 'BXNIM0415E', errorMessage: 'Provided API key hush could not be found.' } }
    const { headers } = made(watsonxCredential, { apiKey: 'hush', env: env(), tokens })
    await expect(headers(REQUEST, 0)).rejects.toMatchObject({
      code: 'provider_authentication',
      message: 'IBM Cloud gave no token: HTTP 400 (BXNIM0415E).',
    })
    answer = { status: 503, body: {} }
    await expect(headers(REQUEST, 0)).rejects.toMatchObject({ code: 'provider_unavailable' })
  })

  it('is a ready token, or a key of Cloud Pak for Data, where there is one; the deployment before the environment', () => {
    const shared = { WATSONX_TOKEN: 'shared', WATSONX_ZENAPIKEY: 'shared-zen' }
    const headers = (given: Given) => made(watsonxCredential, { ...given, tokens }).headers(REQUEST, 0)
    expect(headers({ settings: { token: 'sealed:own' }, apiKey: 'k', env: shared })).toEqual({ authorization: 'Bearer own' })
    expect(headers({ settings: { zen_api_key: 'dTpr' }, env: shared })).toEqual({ authorization: 'ZenApiKey dTpr' })
    expect(headers({ key: 'k', env: shared })).toEqual({ authorization: 'Bearer shared' })
    expect(headers({ key: 'k', env: { WATSONX_ZENAPIKEY: 'shared-zen' } })).toEqual({ authorization: 'ZenApiKey shared-zen' })
    expect(asked).toEqual([])
  })

  it('knows the host of a region, and the project or space of the environment unless the deployment has one', () => {
    const env = { WATSONX_TOKEN: 't', WATSONX_PROJECT_ID: 'p', WATSONX_SPACE_ID: 's', WATSONX_REGION: 'eu-gb' }
    expect(made(watsonxCredential, { env })).toMatchObject({
      base: 'https://eu-gb.ml.cloud.ibm.com',
      settings: { project_id: 'p' },
    })
    expect(made(watsonxCredential, { env, settings: { space_id: 'own', watsonx_region_name: 'jp-tok' } })).toMatchObject({
      base: 'https://jp-tok.ml.cloud.ibm.com',
      settings: {},
    })
    expect(made(watsonxCredential, { region: 'eu-de', env: { WATSONX_TOKEN: 't', WATSONX_SPACE_ID: 's' } })).toMatchObject({
      base: 'https://eu-de.ml.cloud.ibm.com',
      settings: { space_id: 's' },
    })
    expect(made(watsonxCredential, { region: 'eu', env: { WATSONX_TOKEN: 't' } })).not.toHaveProperty('base')
  })

  it('says what is missing or wrong', () => {
    expect(problem(watsonxCredential, {})).toContain('WATSONX_APIKEY')
    expect(problem(watsonxCredential, { apiKey: 'hush' })).toBe('tokens of IBM Cloud cannot be fetched here')
    const env = { WATSONX_TOKEN: 'hush' }
    expect(problem(watsonxCredential, { env, apiBase: null })).toContain('WATSONX_URL')
    expect(problem(watsonxCredential, { env, settings: { watsonx_region_name: 'evil.test/' } })).toContain(
      'not the name of a region',
    )
  })
})

describe('the credential of Databricks', () => {
  const application = { client_id: 'app', client_secret: 'sealed:s:x' }

  it('is a token the workspace gives a service principal, asked for with Basic authentication', async () => {
    const credential = made(databricksCredential, {
      apiBase: `${origin}/serving-endpoints`,
      settings: application,
      key: 'k',
      tokens,
    })
    expect(await credential.headers(REQUEST, 0)).toEqual({ authorization: 'Bearer fetched' })
    expect(asked).toEqual([
      {
        path: '/oidc/v1/token',
        authorization: `Basic ${Buffer.from('app:s:x').toString('base64')}`,
        form: 'grant_type=client_credentials&scope=all-apis',
      },
    ])
    answer = { status: 401, body: { error: 'invalid_client', error_description: 'Client hush is unknown.' } }
    const other = made(databricksCredential, { apiBase: origin, settings: { ...application, client_id: 'other' }, tokens })
    await expect(other.headers(REQUEST, 0)).rejects.toMatchObject({
      code: 'provider_authentication',
      message: 'Databricks gave no token: HTTP 401 (invalid_client).',
    })
  })

  it('is a personal access token of the deployment first, and of the environment after its service principal', async () => {
    const env = { DATABRICKS_CLIENT_ID: 'app', DATABRICKS_CLIENT_SECRET: 's', DATABRICKS_HOST: origin }
    const apiBase = null
    expect(
      made(databricksCredential, { apiKey: 'dapi1', apiBase, settings: application, env, tokens }).headers(REQUEST, 0),
    ).toEqual({
      authorization: 'Bearer dapi1',
    })
    expect(await made(databricksCredential, { key: 'dapi2', apiBase, env, tokens }).headers(REQUEST, 0)).toEqual({
      authorization: 'Bearer fetched',
    })
    expect(
      made(databricksCredential, { key: 'dapi2', apiBase, env: { DATABRICKS_HOST: 'adb-1.7.azuredatabricks.net' } }),
    ).toMatchObject({
      base: 'https://adb-1.7.azuredatabricks.net/serving-endpoints',
    })
  })

  it('says what is missing', () => {
    expect(problem(databricksCredential, {})).toContain('DATABRICKS_CLIENT_SECRET')
    expect(problem(databricksCredential, { apiBase: null, settings: application, tokens })).toContain('no workspace')
    expect(problem(databricksCredential, { settings: { client_id: 'app' }, key: 'k', tokens })).toContain('belong together')
    expect(problem(databricksCredential, { settings: application, apiBase: origin })).toContain('cannot be fetched')
  })
})

describe('the credential of Snowflake', () => {
  const KIND = 'x-snowflake-authorization-token-type'

  it('is a signed token, or one that is marked as an access token, and says which', () => {
    expect(made(snowflakeCredential, { apiKey: 'jwt' }).headers(REQUEST, 0)).toEqual({
      authorization: 'Bearer jwt',
      [KIND]: 'KEYPAIR_JWT',
    })
    expect(made(snowflakeCredential, { key: 'jwt', env: { SNOWFLAKE_JWT: 'jwt' } }).headers(REQUEST, 0)).toMatchObject({
      [KIND]: 'KEYPAIR_JWT',
    })
    const token = { authorization: 'Bearer t', [KIND]: 'PROGRAMMATIC_ACCESS_TOKEN' }
    expect(made(snowflakeCredential, { apiKey: 'pat/t' }).headers(REQUEST, 0)).toEqual(token)
    expect(made(snowflakeCredential, { key: 't', env: { SNOWFLAKE_TOKEN: 't' } }).headers(REQUEST, 0)).toEqual(token)
    const extraHeaders = { 'X-Snowflake-Authorization-Token-Type': 'OAUTH' }
    expect(made(snowflakeCredential, { apiKey: 'o', extraHeaders }).headers(REQUEST, 0)).toEqual({ authorization: 'Bearer o' })
    expect(problem(snowflakeCredential, {})).toContain('SNOWFLAKE_JWT')
  })

  it('knows the host of an account, whose name may have underscores', () => {
    const base = 'https://my-org-acct.snowflakecomputing.com/api/v2/cortex'
    expect(made(snowflakeCredential, { apiKey: 'k', settings: { account_id: 'my_org-acct' } })).toMatchObject({ base })
    expect(made(snowflakeCredential, { apiKey: 'k', env: { SNOWFLAKE_ACCOUNT_ID: 'my_org-acct' } })).toMatchObject({ base })
    expect(made(snowflakeCredential, { apiKey: 'k' })).not.toHaveProperty('base')
    expect(problem(snowflakeCredential, { apiKey: 'k', apiBase: null })).toContain('SNOWFLAKE_ACCOUNT_ID')
    expect(
      made(snowflakeCredential, { apiKey: 'k', apiBase: null, env: { SNOWFLAKE_API_BASE: 'https://x.test' } }),
    ).not.toHaveProperty('base')
  })
})

describe('the credential of Cloudflare', () => {
  it('is a token as it is, and knows the address of an account', () => {
    const credential = made(cloudflareCredential, { apiKey: 'k', env: { CLOUDFLARE_ACCOUNT_ID: 'acct' } })
    expect(credential.base).toBe('https://api.cloudflare.com/client/v4/accounts/acct/ai')
    expect(credential.headers(REQUEST, 0)).toEqual({ authorization: 'Bearer k' })
    expect(
      made(cloudflareCredential, { key: 'k', settings: { account_id: 'own' }, env: { CLOUDFLARE_ACCOUNT_ID: 'acct' } }).base,
    ).toContain('/own/')
    expect(made(cloudflareCredential, { key: 'k' })).not.toHaveProperty('base')
    expect(problem(cloudflareCredential, {})).toContain('CLOUDFLARE_API_KEY')
    expect(problem(cloudflareCredential, { key: 'k', apiBase: null })).toContain('CLOUDFLARE_ACCOUNT_ID')
  })
})
