import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { GatewayError } from '../../shared/errors.ts'
import { createHttpClient, type HttpClient } from '../../shared/http/client.ts'
import { deployment } from '../handle.testkit.ts'
import { bedrockCredential, sagemakerCredential } from './aws.ts'
import type { Credential } from './credential.ts'
import { createTokens, type Tokens } from './tokens.ts'

/** Long before the keys below end. */
const NOW = Date.parse('2026-01-02T03:04:05Z')
const END = '2026-01-02T04:04:05Z'
const HOUR = 3_600_000
const ARN = 'arn:aws:iam::123456789012:role/gateway'

interface Asked {
  method: string
  url: string
  headers: IncomingMessage['headers']
  form: URLSearchParams
}

/** A token service, container and identity issuer in one, on loopback. */
let server: Server
let origin: string
let asked: Asked[]
let answer: (request: Asked, response: ServerResponse) => void
let folder: string
let http: HttpClient
let tokens: Tokens

beforeEach(async () => {
  asked = []
  server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      const form = new URLSearchParams(Buffer.concat(parts).toString())
      const seen = { method: request.method ?? '', url: request.url ?? '', headers: request.headers, form }
      asked.push(seen)
      answer(seen, response)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  folder = mkdtempSync(join(tmpdir(), 'aws-keys-'))
  http = createHttpClient()
  tokens = createTokens({ http })
  answer = sts()
})

afterEach(async () => {
  await http.close()
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  rmSync(folder, { recursive: true, force: true })
})

/** Answers of the token service: keys numbered as they are given. */
function sts(): typeof answer {
  let given = 0
  return ({ form }, response) => {
    given += 1
    const action = form.get('Action')
    const keys = `<AccessKeyId>ASIA${given}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>session${given}</SessionToken>`
    response.setHeader('content-type', 'text/xml')
    response.end(
      `<${action}Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><${action}Result><Credentials>${keys}` +
        `<Expiration>${END}</Expiration></Credentials></${action}Result></${action}Response>`,
    )
  }
}

function made(settings: Record<string, unknown>, env: Record<string, string> = {}, maker = bedrockCredential): Credential {
  const given = deployment('one', {
    provider: 'bedrock',
    model: 'm',
    apiBase: null,
    apiKey: null,
    settings: { aws_region_name: 'eu-west-1', aws_sts_endpoint: origin, ...settings },
  })
  const files = { AWS_SHARED_CREDENTIALS_FILE: join(folder, 'credentials'), AWS_CONFIG_FILE: join(folder, 'config') }
  const all = { ...files, AWS_EC2_METADATA_DISABLED: 'true', ...env }
  const credential = maker(given, { key: null, open: (text) => text.replace('sealed-', ''), env: all, tokens })
  if ('problem' in credential) throw new Error(credential.problem)
  return credential
}

async function signed(credential: Credential, now = NOW): Promise<Record<string, string>> {
  return credential.headers({ method: 'POST', url: `${credential.base}/model/m/converse`, headers: {}, body: '{}' }, now)
}

function keyOf(headers: Record<string, string>): string | undefined {
  return /Credential=(\w+)\//.exec(headers['authorization'] ?? '')?.[1]
}

async function failureOf(credential: Credential): Promise<GatewayError> {
  const thrown: unknown = await signed(credential).then(
    () => null,
    (error: unknown) => error,
  )
  if (thrown instanceof GatewayError) return thrown
  throw new Error('keys were given')
}

describe('keys of a role', () => {
  const keys = { aws_access_key_id: 'AKID', aws_secret_access_key: 'sealed-secret' }

  it('are asked of the token service with the deployment’s own keys, and sign with their session token', async () => {
    const role = { aws_role_name: ARN, aws_session_name: 'mine', aws_external_id: 'outside' }
    const headers = await signed(made({ ...keys, ...role }))
    expect([keyOf(headers), headers['x-amz-security-token']]).toEqual(['ASIA1', 'session1'])
    expect(headers['authorization']).toContain('/eu-west-1/bedrock/aws4_request')
    expect(Object.fromEntries(asked[0]?.form ?? [])).toMatchObject({
      Action: 'AssumeRole',
      RoleArn: ARN,
      RoleSessionName: 'mine',
      ExternalId: 'outside',
    })
    expect(asked[0]?.headers.authorization).toMatch(/Credential=AKID\/\d{8}\/eu-west-1\/sts\//)
  })

  it('are fetched once for all calls and deployments that wait, and ahead of their end while the old ones hold', async () => {
    const [one, two] = [made({ ...keys, aws_role_name: ARN }), made({ ...keys, aws_role_name: ARN })]
    expect((await Promise.all([signed(one), signed(one), signed(two)])).map(keyOf)).toEqual(['ASIA1', 'ASIA1', 'ASIA1'])
    expect(asked).toHaveLength(1)
    expect(keyOf(await signed(one, NOW + HOUR / 2))).toBe('ASIA1')
    expect(asked).toHaveLength(1)
    expect(keyOf(await signed(one, NOW + HOUR - 200_000))).toBe('ASIA1')
    // At their end the call waits for the new ones, which are on their way.
    expect(keyOf(await signed(one, NOW + HOUR - 1000))).toBe('ASIA2')
    expect(asked).toHaveLength(2)
    await signed(made({ ...keys, aws_role_name: `${ARN}2` }))
    expect(asked).toHaveLength(3)
  })

  it('may be SageMaker’s', async () => {
    const credential = made({ ...keys, aws_role_name: ARN }, {}, sagemakerCredential)
    expect(credential.base).toBe('https://runtime.sagemaker.eu-west-1.amazonaws.com')
    expect((await signed(credential))['authorization']).toContain('Credential=ASIA1/20260102/eu-west-1/sagemaker/aws4_request')
  })

  it('are assumed with keys of the environment’s files where the deployment has none', async () => {
    writeFileSync(join(folder, 'credentials'), '[default]\naws_access_key_id = FILE\naws_secret_access_key = s\n')
    await signed(made({ aws_role_name: ARN }))
    expect(asked[0]?.headers.authorization).toContain('Credential=FILE/')
  })

  it('are refused by name, and the next call asks again', async () => {
    const credential = made({ ...keys, aws_role_name: ARN })
    answer = (_, response) => {
      response.statusCode = 403
      response.end(
        '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>AccessDenied</Code>' +
          '<Message>User: arn:aws:iam::1:user/hush is not authorized</Message></Error></ErrorResponse>',
      )
    }
    const error = await failureOf(credential)
    expect([error.code, error.message]).toEqual(['provider_authentication', 'AWS gave no credentials (HTTP 403, AccessDenied).'])
    answer = sts()
    expect(keyOf(await signed(credential))).toBe('ASIA1')
  })

  it('that nobody gives because the service is away are the connection’s error', async () => {
    const error = await failureOf(made({ ...keys, aws_role_name: ARN, aws_sts_endpoint: 'http://127.0.0.1:1' }))
    expect([error.code, error.message]).toEqual(['provider_connection', 'AWS gave no credentials: ECONNREFUSED.'])
  })
})

describe('keys of a web identity', () => {
  const tokenOf = () => asked.at(-1)?.form.get('WebIdentityToken')

  it('are asked for with the token of a file, read anew each time', async () => {
    const path = join(folder, 'token')
    writeFileSync(path, 'first\n')
    const credential = made({ aws_role_name: ARN, aws_web_identity_token: `oidc/file/${path}`, aws_session_name: 'mine' })
    expect(keyOf(await signed(credential))).toBe('ASIA1')
    expect([asked[0]?.form.get('Action'), asked[0]?.form.get('RoleSessionName'), tokenOf()]).toEqual([
      'AssumeRoleWithWebIdentity',
      'mine',
      'first',
    ])
    expect(asked[0]?.headers.authorization).toBeUndefined()
    writeFileSync(path, 'second')
    expect(keyOf(await signed(credential, NOW + HOUR))).toBe('ASIA2')
    expect(tokenOf()).toBe('second')
    await signed(made({ aws_role_name: ARN, aws_web_identity_token: path }))
    expect(tokenOf()).toBe('second')
  })

  it.each([
    ['oidc/env/SOME_TOKEN', { SOME_TOKEN: 'from-env' }, 'from-env'],
    ['SOME_TOKEN', { SOME_TOKEN: 'from-env' }, 'from-env'],
    ['oidc/circleci/', { CIRCLE_OIDC_TOKEN: 'one' }, 'one'],
    ['oidc/circleci_v2/', { CIRCLE_OIDC_TOKEN_V2: 'two' }, 'two'],
    ['eyJh.eyJi.c', {}, 'eyJh.eyJi.c'],
  ])('take the token that %s names', async (named, env, token) => {
    await signed(made({ aws_role_name: ARN, aws_web_identity_token: named }, env))
    expect(tokenOf()).toBe(token)
  })

  it('take the token of the file that a variable names, and of a runner of GitHub', async () => {
    const path = join(folder, 'token')
    writeFileSync(path, 'federated')
    await signed(made({ aws_role_name: ARN, aws_web_identity_token: 'oidc/azure/' }, { AZURE_FEDERATED_TOKEN_FILE: path }))
    expect(tokenOf()).toBe('federated')
    await signed(made({ aws_role_name: ARN, aws_web_identity_token: 'oidc/env_path/WHERE' }, { WHERE: path }))
    expect(tokenOf()).toBe('federated')
    const service = sts()
    answer = (request, response) =>
      request.method === 'GET' ? response.end(JSON.stringify({ value: 'of-the-job' })) : service(request, response)
    const runner = { ACTIONS_ID_TOKEN_REQUEST_URL: `${origin}/id?v=1`, ACTIONS_ID_TOKEN_REQUEST_TOKEN: 'runner' }
    await signed(made({ aws_role_name: ARN, aws_web_identity_token: 'oidc/github/sts.amazonaws.com' }, runner))
    expect(tokenOf()).toBe('of-the-job')
    const question = asked.find(({ method }) => method === 'GET')
    expect([question?.url, question?.headers.authorization]).toEqual(['/id?v=1&audience=sts.amazonaws.com', 'Bearer runner'])
  })

  it('are the environment’s where a cluster gives a service account', async () => {
    const path = join(folder, 'token')
    writeFileSync(path, 'account')
    await signed(made({}, { AWS_WEB_IDENTITY_TOKEN_FILE: path, AWS_ROLE_ARN: ARN, AWS_ROLE_SESSION_NAME: 'pod' }))
    expect([asked[0]?.form.get('RoleArn'), asked[0]?.form.get('RoleSessionName'), tokenOf()]).toEqual([ARN, 'pod', 'account'])
  })

  it.each([
    ['oidc/elsewhere/x', 'aws_web_identity_token knows no issuer "elsewhere".'],
    ['NOT_SET', 'aws_web_identity_token needs an environment variable that is not set.'],
    ['/no/such/file', 'aws_web_identity_token names a file that cannot be read (ENOENT).'],
  ])('say why %s gives no token', async (named, message) => {
    const error = await failureOf(made({ aws_role_name: ARN, aws_web_identity_token: named }))
    expect([error.code, error.message]).toEqual(['provider_authentication', message])
    expect(asked).toEqual([])
  })
})

describe('keys of a stored model', () => {
  const stored = (settings: Record<string, unknown>): unknown =>
    bedrockCredential(
      deployment('one', {
        provider: 'bedrock',
        model: 'm',
        apiBase: null,
        apiKey: null,
        fromDatabase: true,
        settings: { aws_region_name: 'eu-west-1', ...settings },
      }),
      { key: null, open: (text) => text, env: {}, tokens },
    )

  it.each(['/etc/passwd', 'oidc/file//etc/passwd', 'oidc/env/MASTER_KEY', 'MASTER_KEY', 'oidc/google/sts', 'oidc/github/sts'])(
    'send %s of this machine nowhere',
    (named) => {
      const settings = { aws_role_name: ARN, aws_web_identity_token: named, aws_sts_endpoint: origin }
      expect(stored(settings)).toMatchObject({ problem: expect.stringContaining('must be the token itself') })
      expect(stored({ aws_role_name: ARN, aws_web_identity_token: 'head.body.proof' })).not.toHaveProperty('problem')
    },
  )

  it('are not asked for with the machine’s own at an endpoint the model names', () => {
    const settings = { aws_role_name: ARN, aws_sts_endpoint: origin }
    expect(stored(settings)).toMatchObject({ problem: expect.stringContaining('aws_sts_endpoint of a stored model') })
    expect(stored({ ...settings, aws_access_key_id: 'A', aws_secret_access_key: 's' })).not.toHaveProperty('problem')
    expect(stored({ aws_role_name: ARN })).not.toHaveProperty('problem')
  })
})

describe('keys of the shared files', () => {
  it('are those of the profile a deployment names, before any key beside it or in the environment', async () => {
    writeFileSync(join(folder, 'credentials'), '[work]\naws_access_key_id = WORK\naws_secret_access_key = s\n')
    const env = { AWS_ACCESS_KEY_ID: 'ENV', AWS_SECRET_ACCESS_KEY: 's' }
    expect(keyOf(await signed(made({ aws_profile_name: 'work' }, env)))).toBe('WORK')
    expect(keyOf(await signed(made({}, env)))).toBe('ENV')
    expect(keyOf(await signed(made({}, { AWS_PROFILE: 'work' })))).toBe('WORK')
  })

  it('may be those of a role whose source is another profile', async () => {
    writeFileSync(join(folder, 'credentials'), '[base]\naws_access_key_id = BASE\naws_secret_access_key = s\n')
    writeFileSync(join(folder, 'config'), `[profile work]\nrole_arn = ${ARN}\nsource_profile = base\nexternal_id = out\n`)
    expect(keyOf(await signed(made({ aws_profile_name: 'work' })))).toBe('ASIA1')
    expect(asked[0]?.headers.authorization).toContain('Credential=BASE/')
    expect(asked[0]?.form.get('ExternalId')).toBe('out')
  })

  it('that hold no such profile are said to, without its name', async () => {
    const error = await failureOf(made({ aws_profile_name: 'hush' }))
    expect(error.code).toBe('provider_authentication')
    expect(error.message).not.toContain('hush')
  })
})

describe('keys of the place a gateway runs in', () => {
  it('come from the container’s endpoint, with its token', async () => {
    answer = (_, response) => {
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify({ AccessKeyId: 'TASK', SecretAccessKey: 's', Token: 't', Expiration: END }))
    }
    const env = {
      AWS_CONTAINER_CREDENTIALS_FULL_URI: `${origin}/v1/credentials`,
      AWS_CONTAINER_AUTHORIZATION_TOKEN: 'of-the-pod',
    }
    const headers = await signed(made({}, env))
    expect([keyOf(headers), headers['x-amz-security-token']]).toEqual(['TASK', 't'])
    expect([asked[0]?.url, asked[0]?.headers.authorization]).toEqual(['/v1/credentials', 'of-the-pod'])
  })

  it('come from the machine’s metadata, asked with a session of its own', async () => {
    answer = (request, response) => {
      if (request.method === 'PUT') response.end('session')
      else if (request.url?.endsWith('/security-credentials/') === true) response.end('the-role')
      else response.end(JSON.stringify({ AccessKeyId: 'BOX', SecretAccessKey: 's', Token: 't', Expiration: END }))
    }
    vi.stubEnv('AWS_EC2_METADATA_SERVICE_ENDPOINT', origin)
    try {
      const headers = await signed(made({}, { AWS_EC2_METADATA_DISABLED: 'false' }))
      expect([keyOf(headers), headers['x-amz-security-token']]).toEqual(['BOX', 't'])
    } finally {
      vi.unstubAllEnvs()
    }
    expect(asked.map(({ method, url }) => `${method} ${url}`)).toEqual([
      'PUT /latest/api/token',
      'GET /latest/meta-data/iam/security-credentials/',
      'GET /latest/meta-data/iam/security-credentials/the-role',
    ])
    expect(asked[2]?.headers['x-aws-ec2-metadata-token']).toBe('session')
  })

  it('are looked for in all places before their want is told', async () => {
    const error = await failureOf(made({}))
    expect([error.code, error.message]).toEqual([
      'provider_authentication',
      'No AWS credentials were found: neither in the environment nor in shared files, nor from a container or machine.',
    ])
  })
})
