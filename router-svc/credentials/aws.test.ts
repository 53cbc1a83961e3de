import { describe, expect, it } from 'vitest'
import { deployment } from '../handle.testkit.ts'
import { bedrockCredential } from './aws.ts'
import type { Credential } from './credential.ts'

const KEYS = { aws_access_key_id: 'AKID', aws_secret_access_key: 'sealed-secret' }
const NOW = Date.parse('2026-01-02T03:04:05Z')

function made(
  fields: { settings?: Record<string, unknown>; apiKey?: string | null; model?: string },
  env: Record<string, string> = {},
  key: string | null = fields.apiKey ?? null,
): Credential | { problem: string } {
  const given = deployment('one', {
    provider: 'bedrock',
    model: 'amazon.nova-micro-v1:0',
    apiBase: null,
    apiKey: null,
    ...fields,
  })
  return bedrockCredential(given, { key, open: (text) => text.replace('sealed-', ''), env })
}

async function headersOf(credential: Credential | { problem: string }, url?: string): Promise<Record<string, string>> {
  if ('problem' in credential) throw new Error(credential.problem)
  const address = url ?? `${credential.base}/model/amazon.nova-micro-v1%3A0/converse`
  const headers = { 'content-type': 'application/json', 'x-trace': 'any' }
  return credential.headers({ method: 'POST', url: address, headers, body: '{}' }, NOW)
}

describe('the credential for Bedrock', () => {
  it('signs with the keys of the deployment, opened, for the region of the host', async () => {
    const settings = { ...KEYS, aws_region_name: 'eu-west-1' }
    const signed = await headersOf(made({ settings }))
    expect(signed['x-amz-date']).toBe('20260102T030405Z')
    expect(signed['authorization']).toContain('Credential=AKID/20260102/eu-west-1/bedrock/aws4_request')
    expect(signed['authorization']).not.toContain('x-trace')
    const open = await headersOf(made({ settings: { ...settings, aws_secret_access_key: 'secret' } }))
    expect(open['authorization']).toBe(signed['authorization'])
    const elsewhere = await headersOf(made({ settings }), 'https://bedrock-runtime.us-gov-west-1.amazonaws.com/model/x/converse')
    expect(elsewhere['authorization']).toContain('/us-gov-west-1/bedrock/')
    const proxied = await headersOf(made({ settings }), 'http://proxy.test/model/x/converse')
    expect(proxied['authorization']).toContain('/eu-west-1/bedrock/')
  })

  it('carries a session token, and takes all three from the environment when the deployment has none', async () => {
    const env = { AWS_ACCESS_KEY_ID: 'ENV', AWS_SECRET_ACCESS_KEY: 's', AWS_SESSION_TOKEN: 'token', AWS_REGION: 'us-east-2' }
    const signed = await headersOf(made({}, env))
    expect(signed['authorization']).toContain('Credential=ENV/')
    expect(signed['x-amz-security-token']).toBe('token')
    expect((await headersOf(made({ settings: KEYS }, env)))['x-amz-security-token']).toBeUndefined()
  })

  it('is an API key where one is given, but not the environment’s before keys of the deployment', async () => {
    const env = { AWS_REGION: 'us-east-2' }
    expect(await headersOf(made({ apiKey: 'k', settings: KEYS }, env))).toEqual({ authorization: 'Bearer k' })
    expect(await headersOf(made({}, env, 'from-env'))).toEqual({ authorization: 'Bearer from-env' })
    expect((await headersOf(made({ settings: KEYS }, env, 'from-env')))['authorization']).toContain('AWS4-HMAC-SHA256')
  })

  it('knows the region from the settings, the model’s name or the environment, in this order', () => {
    const env = { AWS_REGION: 'us-east-2', AWS_REGION_NAME: 'us-west-1' }
    const arn = 'arn:aws:bedrock:ap-south-1:123456789012:inference-profile/x'
    const base = (fields: Parameters<typeof made>[0]) => (made({ apiKey: 'k', ...fields }, env) as Credential).base
    expect(base({ settings: { aws_region_name: 'eu-west-3' }, model: arn })).toBe(
      'https://bedrock-runtime.eu-west-3.amazonaws.com',
    )
    expect(base({ model: arn })).toBe('https://bedrock-runtime.ap-south-1.amazonaws.com')
    expect(base({ settings: { model_id: arn } })).toBe('https://bedrock-runtime.ap-south-1.amazonaws.com')
    expect(base({ model: 'us-west-2/anthropic.claude-v2' })).toBe('https://bedrock-runtime.us-west-2.amazonaws.com')
    expect(base({})).toBe('https://bedrock-runtime.us-west-1.amazonaws.com')
    expect(base({ settings: { aws_region_name: 'cn-north-1' } })).toBe('https://bedrock-runtime.cn-north-1.amazonaws.com.cn')
    expect(base({ settings: { aws_bedrock_runtime_endpoint: 'https://vpc.test/' } })).toBe('https://vpc.test')
  })

  it('takes the region from a host of AWS, and from no other', () => {
    const settings = (endpoint: string) => ({ ...KEYS, aws_bedrock_runtime_endpoint: endpoint })
    const vpc = 'https://vpce-1.bedrock-runtime.eu-west-2.vpce.amazonaws.com'
    expect((made({ settings: settings(vpc) }) as Credential).base).toBe(vpc)
    expect(made({ settings: settings('https://proxy.test') })).toMatchObject({
      problem: expect.stringContaining('no AWS region'),
    })
  })

  it('says what is missing, what belongs together and what is not served, and no secret', () => {
    const env = { AWS_REGION: 'us-east-2' }
    const problem = (settings: Record<string, unknown>) => (made({ settings }, env) as { problem: string }).problem
    expect(problem({})).toContain('no AWS credentials')
    expect(problem({ aws_access_key_id: 'a' })).toContain('aws_secret_access_key is missing')
    expect(problem({ aws_secret_access_key: 'hush' })).toBe('aws_access_key_id is missing beside aws_secret_access_key')
    expect(problem({ ...KEYS, aws_web_identity_token: 'hush' })).toBe('aws_role_name is missing beside aws_web_identity_token')
    expect(problem({ ...KEYS, aws_role_name: 'arn', aws_session_name: 'a b' })).toContain('aws_session_name must be')
    expect(problem({ ...KEYS, aws_region_name: 'evil.test/x' })).toContain('is not the name of a region')
  })
})
